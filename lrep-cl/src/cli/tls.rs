// SPDX-License-Identifier: MIT OR Apache-2.0

//! `lrep-cl tls`: the certificates by which hosts and controllers know each other.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::exit::Failure;
use super::format;
use crate::tls::{Certificate, Directory, Issued, Role, Subject};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Make, renew and show the certificates by which hosts and controllers know each other
///
/// Done on one machine that is kept safe: who has the CA's key can control every host. Each host
/// and each controller then gets three files: the CA's certificate, its own certificate, and the
/// key of that. Only its own key is secret.
#[derive(Args, Debug)]
pub struct Tls {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a certificate authority: ca.pem and ca.key
    Init {
        /// The directory, which is made if need be
        directory: PathBuf,

        /// Days it is valid
        #[arg(long, value_name = "DAYS", default_value_t = 3650)]
        #[arg(value_parser = clap::value_parser!(u32).range(1..=36500))]
        days: u32,

        /// Print JSON instead of text
        #[arg(long)]
        json: bool,
    },
    /// Make a certificate and its key: NAME.pem and NAME.key
    Issue {
        /// The directory of the certificate authority
        directory: PathBuf,

        /// Name of a host, as controllers call it, or of a controller, for --allow-name and logs
        name: String,

        /// What the certificate is for
        #[arg(long, value_enum)]
        role: Role,

        /// Further names and addresses by which controllers call the host
        #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
        address: Vec<String>,

        /// Days it is valid; no longer than the CA's certificate
        #[arg(long, value_name = "DAYS", default_value_t = 365)]
        #[arg(value_parser = clap::value_parser!(u32).range(1..=36500))]
        days: u32,

        /// Print JSON instead of text
        #[arg(long)]
        json: bool,
    },
    /// Make new certificates and keys for the same names, and replace the files
    ///
    /// Without names, for all that expire soon: right for a daily timer. Copy the new files to
    /// their machines; programs that run there use them for the connections they make from then
    /// on. The old ones stay valid until they expire.
    Renew {
        /// The directory of the certificate authority
        directory: PathBuf,

        /// Names of the certificates; all that expire soon when not given
        name: Vec<String>,

        /// What soon is, in days
        #[arg(long, value_name = "DAYS", default_value_t = 30)]
        within: u32,

        /// Days the new ones are valid; no longer than the CA's certificate
        #[arg(long, value_name = "DAYS", default_value_t = 365)]
        #[arg(value_parser = clap::value_parser!(u32).range(1..=36500))]
        days: u32,

        /// Print JSON instead of text
        #[arg(long)]
        json: bool,
    },
    /// Show the certificates of a directory: names, what they are for, until when
    Show {
        /// The directory
        directory: PathBuf,

        /// Print JSON instead of text
        #[arg(long)]
        json: bool,
    },
}

impl Tls {
    /// Does it, and tells what was done.
    pub fn run(&self) -> Result<String, Failure> {
        let now = SystemTime::now();
        match &self.verb {
            Verb::Init {
                directory,
                days,
                json,
            } => {
                let authority = Directory::init(directory, now, DAY * *days)?.authority()?;
                if *json {
                    return Ok(format!("{}\n", made(&authority, now)));
                }
                Ok(format!(
                    "made {}, for all hosts and controllers, and ca.key, which stays here\n",
                    authority.path.display()
                ))
            }
            Verb::Issue {
                directory,
                name,
                role,
                address,
                days,
                json,
            } => {
                let subject = subject(*role, name, address)?;
                let directory = Directory::open(directory)?;
                let issued = directory.issue(&subject, now, DAY * *days)?;
                Ok(match json {
                    true => format!("{}\n", made(&issued, now)),
                    false => line(&issued),
                })
            }
            Verb::Renew {
                directory,
                name,
                within,
                days,
                json,
            } => {
                let names = match name.as_slice() {
                    [] => expiring(Directory::list(directory)?, now, DAY * *within),
                    names => names.to_vec(),
                };
                let directory = Directory::open(directory)?;
                let mut renewed = Vec::new();
                for name in &names {
                    renewed.push(directory.renew(name, now, DAY * *days)?);
                }
                Ok(if *json {
                    let made = renewed.iter().map(|issued| made(issued, now));
                    format!("{}\n", made.collect::<Value>())
                } else if renewed.is_empty() {
                    format!("nothing expires within {within} days\n")
                } else {
                    renewed.iter().map(line).collect()
                })
            }
            Verb::Show { directory, json } => {
                let listed = Directory::list(directory)?;
                Ok(match json {
                    true => {
                        let listed = listed.iter().map(|issued| to_json(issued, now));
                        format!("{}\n", listed.collect::<Value>())
                    }
                    false => table(&listed, now),
                })
            }
        }
    }
}

/// Whom a certificate is for: names and addresses stand in the same list.
fn subject(role: Role, name: &str, others: &[String]) -> Result<Subject, Failure> {
    if role == Role::Controller && !others.is_empty() {
        return Err(Failure::usage(
            "--address is for hosts: nobody calls a controller",
        ));
    }
    let mut names = vec![name.to_owned()];
    let mut addresses = Vec::new();
    for other in others {
        match other.parse::<IpAddr>() {
            Ok(address) => addresses.push(address),
            Err(_) => names.push(other.clone()),
        }
    }
    Ok(Subject {
        role,
        names,
        addresses,
    })
}

/// The names of the certificates that the authority could renew and that expire soon.
fn expiring(listed: Vec<Issued>, now: SystemTime, within: Duration) -> Vec<String> {
    listed
        .into_iter()
        .filter(|issued| !issued.certificate.roles.is_empty())
        .filter(|issued| {
            issued
                .certificate
                .left(now)
                .is_none_or(|left| left <= within)
        })
        .map(|issued| issued.file_name().to_owned())
        .collect()
}

fn line(issued: &Issued) -> String {
    format!(
        "made {} and {}, valid until {}\n",
        issued.path.display(),
        issued.key().display(),
        date(&issued.certificate)
    )
}

/// `2027-01-31`, in UTC.
fn date(certificate: &Certificate) -> String {
    let time = humantime::format_rfc3339_seconds(certificate.not_after).to_string();
    time.split('T').next().unwrap_or_default().to_owned()
}

fn days_left(certificate: &Certificate, now: SystemTime) -> Option<u64> {
    certificate
        .left(now)
        .map(|left| left.as_secs() / DAY.as_secs())
}

fn role(certificate: &Certificate) -> String {
    if certificate.authority {
        return "CA".to_owned();
    }
    let roles: Vec<_> = certificate.roles.iter().map(Role::to_string).collect();
    match roles.is_empty() {
        true => "-".to_owned(),
        false => roles.join(", "),
    }
}

fn table(listed: &[Issued], now: SystemTime) -> String {
    let rows = listed.iter().map(|issued| {
        let certificate = &issued.certificate;
        let addresses = certificate.addresses.iter().map(IpAddr::to_string);
        let names: Vec<_> = certificate.names.iter().cloned().chain(addresses).collect();
        vec![
            issued.file_name().to_owned(),
            role(certificate),
            date(certificate),
            match days_left(certificate, now) {
                Some(days) => format::number(days),
                None => "expired".to_owned(),
            },
            names.join(", "),
        ]
    });
    let header = ["FILE", "FOR", "UNTIL", "DAYS LEFT", "NAMES"];
    format!("{}\n", format::table(&header, &["DAYS LEFT"], rows))
}

/// A certificate as JSON: when it ends in UTC, and whole days until then, none when it has ended.
fn to_json(issued: &Issued, now: SystemTime) -> Value {
    let certificate = &issued.certificate;
    json!({
        "file": issued.path,
        "role": role(certificate).to_lowercase(),
        "names": certificate.names,
        "addresses": certificate.addresses,
        "not_after": humantime::format_rfc3339_seconds(certificate.not_after).to_string(),
        "days_left": days_left(certificate, now),
    })
}

/// One that was made just now, with the file of its key.
fn made(issued: &Issued, now: SystemTime) -> Value {
    let mut told = to_json(issued, now);
    told["key"] = json!(issued.key());
    told
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::cli::dispatch;

    fn tls(arguments: &[&str]) -> Value {
        let arguments = [&["lrep-cl", "tls"], arguments, &["--json"]].concat();
        let arguments: Vec<_> = arguments.into_iter().map(Into::into).collect();
        let text = dispatch(&arguments).expect("done");
        serde_json::from_str(&text).expect("JSON")
    }

    #[test]
    fn what_was_made_is_told_in_json() {
        let base = tempfile::tempdir().expect("a directory");
        let path = base.path().join("ca");
        let directory = path.to_str().expect("a path");
        let file = |name: &str| json!(path.join(name));
        let is_there = |file: &Value| Path::new(file.as_str().expect("a path")).exists();

        let made = tls(&["init", directory, "--days", "10"]);
        assert_eq!(
            (&made["file"], &made["role"]),
            (&file("ca.pem"), &json!("ca"))
        );
        assert!(is_there(&made["key"]), "{made}");
        let until = made["not_after"].as_str().expect("a time");
        humantime::parse_rfc3339(until).expect("a time");

        let address = ["--address", "192.0.2.10,media1.example.org"];
        let issue = [
            "issue", directory, "media1", "--role", "host", "--days", "5",
        ];
        let made = tls(&[&issue[..], &address[..]].concat());
        assert_eq!(made["file"], file("media1.pem"));
        assert_eq!(made["key"], file("media1.key"));
        assert_eq!(made["role"], "host");
        assert_eq!(made["names"], json!(["media1", "media1.example.org"]));
        assert_eq!(made["addresses"], json!(["192.0.2.10"]));
        assert!(
            made["days_left"].as_u64().is_some_and(|days| days <= 5),
            "{made}"
        );

        let renewed = tls(&["renew", directory, "--days", "8"]);
        assert_eq!(renewed[0]["file"], file("media1.pem"));
        assert!(renewed[0]["not_after"].as_str() > made["not_after"].as_str());
        assert_eq!(tls(&["renew", directory, "--within", "1"]), json!([]));

        let listed = tls(&["show", directory]);
        let files: Vec<_> = [0, 1].map(|at| listed[at]["file"].clone()).to_vec();
        assert_eq!(files, [file("ca.pem"), file("media1.pem")]);
    }
}
