// SPDX-License-Identifier: MIT OR Apache-2.0

//! `lrep-cl sessions`: the session table.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::block_on;
use super::control::Control;
use super::exit::Failure;
use super::format;
use crate::json;
use crate::logging::CallId;
use crate::operator::Request;
use crate::tsl::Tsl;
use crate::tsl::kernel::Kernel;

/// What the kernel module of this host is called.
pub const LOCAL: &str = "local";

/// List the sessions in the kernel, or in the TSLs of the daemon
#[derive(Args, Debug)]
pub struct Sessions {
    #[command(flatten)]
    which: Which,

    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// Which sessions are wanted.
#[derive(Args, Debug)]
pub struct Which {
    /// Those of every TSL of the running daemon, other hosts' too; without it, those in the kernel
    /// of this host, whether the daemon runs or not
    #[arg(long)]
    all: bool,

    /// Only those of this TSL of the running daemon, by its URL
    #[arg(long, value_name = "URL", conflicts_with = "all")]
    tsl: Option<String>,

    /// Only the sessions with this owner tag
    #[arg(long, value_name = "NUMBER")]
    owner: Option<u64>,

    /// Only calls whose Call-ID has this part
    #[arg(long, value_name = "TEXT")]
    call_id: Option<String>,

    /// Only sessions in which this address, or this address and port, appears on any side
    #[arg(long, value_name = "ADDRESS", value_parser = parse_address)]
    address: Option<Address>,

    /// Only sessions that have lived for so long, for example 90s or 2h
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    older_than: Option<Duration>,

    /// Only sessions without a packet for so long
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    idle_for: Option<Duration>,

    #[command(flatten)]
    control: Control,
}

/// An address, with a port or of any port.
#[derive(Clone, Copy, Debug)]
enum Address {
    Any(IpAddr),
    Port(SocketAddr),
}

fn parse_address(text: &str) -> Result<Address, String> {
    let any = text.parse().map(Address::Any);
    any.or_else(|_| text.parse().map(Address::Port))
        .map_err(|_| {
            "allowed are 192.0.2.1, 192.0.2.1:4000, 2001:db8::1, [2001:db8::1]:4000".into()
        })
}

impl Which {
    /// Reads them, in the form of [`json::session`].
    pub fn read(&self) -> Result<Vec<Value>, Failure> {
        let mut sessions = if self.all || self.tsl.is_some() {
            let tsl = self.tsl.clone();
            self.control.lines(&Request::Sessions { tsl })?
        } else {
            let sessions = block_on(async { Ok(Kernel::connect().await?.session_dump().await?) })?;
            let sessions = sessions.iter();
            sessions
                .map(|session| json::session(LOCAL, session))
                .collect()
        };
        sessions.retain(|session| self.fits(session));
        Ok(sessions)
    }

    fn fits(&self, session: &Value) -> bool {
        let at_least = |key: &str, wanted: Option<Duration>| {
            let known = Duration::from_millis(session[key].as_u64().unwrap_or(0));
            wanted.is_none_or(|wanted| known >= wanted)
        };
        let text = session["call_id"].as_str().unwrap_or_default();
        let part = self.call_id.as_deref().unwrap_or_default();
        self.owner.is_none_or(|owner| session["owner"] == owner)
            && text.contains(part)
            && at_least("age_ms", self.older_than)
            && at_least("idle_ms", self.idle_for)
            && self.address.is_none_or(|address| has(session, address))
    }
}

fn has(session: &Value, address: Address) -> bool {
    let known = |at: &Value| {
        let at = at.as_str().and_then(|at| at.parse::<SocketAddr>().ok());
        at.is_some_and(|at| match address {
            Address::Any(ip) => at.ip() == ip,
            Address::Port(both) => at == both,
        })
    };
    let streams = session["streams"].as_array();
    streams.into_iter().flatten().any(|stream| {
        ["a", "b"].iter().any(|side| {
            let party = &stream[side];
            known(&party["local"]) || known(&party["remote"]) || known(&party["learned"]["remote"])
        })
    })
}

impl Sessions {
    /// Tells the table.
    pub fn run(&self) -> Result<String, Failure> {
        let sessions = self.which.read()?;
        Ok(if self.json {
            format!("{}\n", Value::from(sessions))
        } else if sessions.is_empty() {
            "no sessions\n".to_owned()
        } else {
            let header = [
                "TSL", "ID", "CALL-ID", "OFFERER", "AT", "ANSWERER", "AT", "PACKETS", "BYTES",
                "AGE", "IDLE", "TIMEOUT",
            ];
            let right = ["ID", "PACKETS", "BYTES", "AGE", "IDLE", "TIMEOUT"];
            let table = format::table(&header, &right, sessions.iter().map(row));
            format!("{table}\n")
        })
    }
}

fn row(session: &Value) -> Vec<String> {
    let streams = session["streams"].as_array();
    let rtp = streams
        .into_iter()
        .flatten()
        .find(|stream| stream["kind"] == "rtp");
    let number = |key: &str| session[key].as_u64().unwrap_or(0);
    let party = |side: &str| rtp.map_or_else(String::new, |rtp| remote(&rtp[side]));
    let at = |side: &str| {
        let at = rtp.and_then(|rtp| rtp[side]["local"].as_str());
        at.unwrap_or_default().to_owned()
    };
    vec![
        session["tsl"].as_str().unwrap_or_default().to_owned(),
        number("id").to_string(),
        call_id(session),
        party("a"),
        at("a"),
        party("b"),
        at("b"),
        format::number(number("packets")),
        format::bytes(number("bytes")),
        format::duration(number("age_ms")),
        format::duration(number("idle_ms")),
        format::duration(number("timeout_ms")),
    ]
}

/// The Call-ID, for a terminal.
pub fn call_id(session: &Value) -> String {
    let text = session["call_id"].as_str().unwrap_or_default();
    CallId(text.as_bytes()).to_string()
}

/// A party where packets to it go, or why they go nowhere.
pub fn remote(party: &Value) -> String {
    let Some(remote) = party["remote"].as_str() else {
        return "on hold".to_owned();
    };
    let learned = &party["learned"];
    match (
        party["learning"]["mode"].as_str(),
        learned["remote"].as_str(),
    ) {
        (Some("signalled"), _) => remote.to_owned(),
        (_, None) => "not heard yet".to_owned(),
        (_, Some(remote)) if learned["locked"] == true => format!("{remote} (learned)"),
        (_, Some(remote)) => format!("{remote} (learning)"),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use clap::{Command, FromArgMatches};

    use super::*;
    use crate::tsl::{Endpoint, NewSession, SessionState, Stream, StreamKind};

    /// A session of this TSL, as it is told.
    pub(crate) fn session(tsl: &str) -> Value {
        let at = |text: &str| text.parse().expect("an address and a port");
        let endpoint = |local, remote| Endpoint::new(at(local), Some(at(remote)));
        let new = NewSession {
            label: b"call-1@host".to_vec(),
            owner: 7,
            timeout_ms: 60_000,
            streams: vec![Stream {
                kind: StreamKind::Rtp,
                a: endpoint("10.0.0.5:20002", "192.0.2.1:4000"),
                b: endpoint("10.0.0.5:20000", "192.0.2.2:5000"),
            }],
            replace: true,
        };
        let mut session = SessionState::new(3, &new);
        (session.age_ms, session.idle_ms) = (90_000, 5_000);
        json::session(tsl, &session)
    }

    fn which(args: &[&str]) -> Which {
        let command = Which::augment_args(Command::new("sessions"));
        let matches = command.get_matches_from([&["sessions"], args].concat());
        Which::from_arg_matches(&matches).expect("flags")
    }

    #[test]
    fn each_filter_keeps_what_it_names() {
        for (args, fits) in [
            (&[][..], true),
            (&["--owner", "7"], true),
            (&["--owner", "8"], false),
            (&["--call-id", "call-1"], true),
            (&["--call-id", "call-2"], false),
            (&["--address", "192.0.2.2"], true),
            (&["--address", "192.0.2.2:5000"], true),
            (&["--address", "192.0.2.2:5001"], false),
            (&["--address", "10.0.0.5:20002"], true),
            (&["--address", "2001:db8::1"], false),
            (&["--older-than", "90s"], true),
            (&["--older-than", "2m"], false),
            (&["--idle-for", "5s"], true),
            (&["--idle-for", "6s", "--owner", "7"], false),
        ] {
            assert_eq!(which(args).fits(&session("local")), fits, "{args:?}");
        }
    }

    #[test]
    fn a_row_tells_who_is_where() {
        let row = row(&session("local"));
        let expected = [
            "local",
            "3",
            "call-1@host",
            "192.0.2.1:4000",
            "10.0.0.5:20002",
            "192.0.2.2:5000",
            "10.0.0.5:20000",
            "0",
            "0 B",
            "1m 30s",
            "5s",
            "1m",
        ];
        assert_eq!(row, expected);
    }
}
