// SPDX-License-Identifier: MIT OR Apache-2.0

//! What may be wrong with a host, judged from what was read there. [`crate::cli`] reads it.

pub mod clock;
pub mod daemon;
pub mod device;
pub mod firewall;
pub mod kernels;
pub mod ports;

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::path::Path;

use serde::Serialize;

use self::kernels::Kernel;
use crate::config::ConfigError;
use crate::tsl;

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Nothing is to be done.
    Good,
    /// It works, and could work better.
    Advice,
    /// Calls fail because of it.
    Bad,
}

impl Verdict {
    /// As it is written before a finding.
    pub fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Advice => "advice",
            Self::Bad => "BAD",
        }
    }
}

/// What was found about one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The thing.
    pub about: String,
    /// How bad it is.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// A command that mends it, with what else is to be known behind a `#`.
    pub cure: Option<String>,
}

impl Finding {
    /// Nothing is to be done.
    pub fn good(about: impl Into<String>, found: impl Into<String>) -> Self {
        Self {
            about: about.into(),
            verdict: Verdict::Good,
            found: found.into(),
            cure: None,
        }
    }

    /// It could work better.
    pub fn advice(
        about: impl Into<String>,
        found: impl Into<String>,
        cure: impl Into<String>,
    ) -> Self {
        Self {
            verdict: Verdict::Advice,
            cure: Some(cure.into()),
            ..Self::good(about, found)
        }
    }

    /// Calls fail.
    pub fn bad(
        about: impl Into<String>,
        found: impl Into<String>,
        cure: impl Into<String>,
    ) -> Self {
        Self {
            verdict: Verdict::Bad,
            ..Self::advice(about, found, cure)
        }
    }

    /// It cannot be known, since what this command does was refused; root may see more.
    pub fn unknown(about: impl Into<String>, why: impl fmt::Display, command: &str) -> Self {
        Self::advice(
            about,
            format!("not checked: {why}"),
            format!("sudo {command}"),
        )
    }

    /// It cannot be known without a program of this Debian package.
    pub fn missing(about: impl Into<String>, program: &str, package: &str) -> Self {
        Self::advice(
            about,
            format!("not checked: {program} is not installed"),
            format!("apt-get install {package}"),
        )
    }
}

/// The configuration file, and what is wrong with it.
pub fn configuration(file: &Path, problem: Option<&ConfigError>) -> Finding {
    let path = file.display();
    let Some(problem) = problem else {
        return Finding::good("configuration", path.to_string());
    };
    let cure = match problem {
        ConfigError::Unreadable { error, .. } if error.kind() == io::ErrorKind::NotFound => {
            format!("lrep-cl config example > {path} && editor {path}")
        }
        ConfigError::Unreadable { .. } => format!("sudo lrep-cl config check {path}"),
        _ => format!("editor {path} # then lrep-cl config check {path}"),
    };
    Finding::bad("configuration", problem.to_string(), cure)
}

/// The kernel module, by what it answers; `kernel` is the one that runs, where that is known.
pub fn module(answer: &tsl::Result<tsl::Config>, kernel: Option<&Kernel>) -> Finding {
    let error = match answer {
        Ok(config) => {
            let (version, protocol) = (&config.module_version, config.protocol_version);
            return Finding::good("module", format!("lreproxy {version}, protocol {protocol}"));
        }
        Err(error) => error,
    };
    let absent = kernel.filter(|kernel| !kernel.has_module);
    let cure = match error {
        tsl::Error::ModuleAbsent => match absent {
            Some(kernel) => {
                return Finding::bad(
                    "module",
                    format!("lreproxy was not installed for kernel {}", kernel.release),
                    "make modules && make install && modprobe lreproxy # in the sources of lreproxy",
                );
            }
            None => "modprobe lreproxy",
        },
        tsl::Error::VersionDiffers { .. } => {
            "rmmod lreproxy && modprobe lreproxy # of the same release; ends calls"
        }
        tsl::Error::Permission => "sudo lrep-cl doctor",
        tsl::Error::Refused(_) | tsl::Error::NoAnswer | tsl::Error::Channel(_) => {
            "rmmod lreproxy && modprobe lreproxy # ends calls; journalctl -k -g lreproxy tells more"
        }
    };
    Finding::bad("module", error.to_string(), cure)
}

/// A relay address, and why it is none of this host.
pub fn address(address: Ipv4Addr, problem: Option<&str>) -> Finding {
    match problem {
        None => Finding::good("address", format!("{address} is of this host")),
        Some(problem) => Finding::bad(
            "address",
            problem,
            format!("ip address add {address}/32 dev lo # or correct the file"),
        ),
    }
}

/// Who takes media from the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taker {
    /// The module, before routing.
    Module,
    /// A socket of the relay inside the daemon, as of any program.
    Socket,
}

/// Where devices drop packets that came another way than an answer would go; each with the larger
/// of its own `rp_filter` and the one for all, which is the one that counts: 1 is strict, 2 is loose
/// (Documentation/networking/ip-sysctl.rst).
pub fn reverse_path(taker: Taker, devices: &[(String, u8)]) -> Finding {
    const STRICT: u8 = 1;
    let strict: Vec<_> = devices
        .iter()
        // What comes from this host itself comes the way it went.
        .filter(|(name, filter)| *filter == STRICT && name != "lo")
        .map(|(name, _)| name.as_str())
        .collect();
    match taker {
        Taker::Module => Finding::good(
            "forwarding",
            "media needs neither net.ipv4.ip_forward nor another rp_filter: it is taken before them",
        ),
        Taker::Socket if strict.is_empty() => Finding::good(
            "forwarding",
            "media needs no net.ipv4.ip_forward, and no device has a strict rp_filter",
        ),
        Taker::Socket => Finding::advice(
            "forwarding",
            format!(
                "rp_filter is strict at {}: media of parties that are routed another way is dropped",
                strict.join(", ")
            ),
            // With slashes, since names of devices may have dots.
            format!(
                "sysctl -w net/ipv4/conf/{}/rp_filter=2",
                strict.join("/rp_filter=2 net/ipv4/conf/")
            ),
        ),
    }
}

/// Ranges of ports, in the words of nft too.
fn listed(ports: &[RangeInclusive<u16>]) -> String {
    let ranges = ports
        .iter()
        .map(|range| format!("{}-{}", range.start(), range.end()));
    ranges.collect::<Vec<_>>().join(", ")
}
