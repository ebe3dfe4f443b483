// SPDX-License-Identifier: MIT OR Apache-2.0

//! Values of single keys, and their text forms.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use clap::ValueEnum;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_with::{DeserializeFromStr, SerializeDisplay};

use crate::tsl::LearningMode;

/// A socket to listen on; its text form is `udp:ADDRESS:PORT` or `unix:/PATH`.
#[derive(Clone, Debug, DeserializeFromStr, PartialEq, Eq, SerializeDisplay)]
pub enum Listen {
    /// Datagrams, on one address of this host.
    Udp(SocketAddr),
    /// A unix stream socket with this absolute path.
    Unix(PathBuf),
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            if path.starts_with('/') {
                return Ok(Self::Unix(path.into()));
            }
            return Err(format!(
                "`{text}` has no absolute path, as unix:/run/lreproxy/lrep-cl.sock has"
            ));
        }
        let address = text
            .strip_prefix("udp:")
            .and_then(|text| text.parse::<SocketAddr>().ok());
        match address {
            Some(address) if address.ip().is_unspecified() => Err(format!(
                "`{text}` names no address: give the one the SIP servers use, since the answers \
                 come from it"
            )),
            Some(address) if address.port() == 0 => Err(format!(
                "`{text}` names no port: SIP servers use 22333 when told none"
            )),
            Some(address) => Ok(Self::Udp(address)),
            None => Err(format!(
                "`{text}` is no socket: allowed are udp:127.0.0.1:22333, udp:[::1]:22333 and \
                 unix:/run/lreproxy/lrep-cl.sock"
            )),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp(address) => write!(f, "udp:{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// An address or a network; its text form is `192.0.2.7` or `192.0.2.0/24`.
#[derive(Clone, Copy, Debug, DeserializeFromStr, PartialEq, Eq, SerializeDisplay)]
pub struct Network(IpNet);

impl Network {
    /// Whether an address belongs to it.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }

    /// Whether all of another network belongs to it.
    pub fn covers(&self, other: &Self) -> bool {
        self.0.contains(&other.0)
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let address = text.parse::<IpAddr>().map(IpNet::from);
        address.or_else(|_| text.parse()).map(Self).map_err(|_| {
            format!("`{text}` is no network: allowed are 192.0.2.7, 192.0.2.0/24 and 2001:db8::/32")
        })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Who may ask a listener over UDP; its text form is that of a network, for every listener, or
/// `LISTENER=NETWORK`.
#[derive(Clone, Debug, DeserializeFromStr, PartialEq, Eq, SerializeDisplay)]
pub struct Allowed {
    /// The only listener that may be asked; every one when not given.
    pub listener: Option<Listen>,
    /// Who may ask.
    pub network: Network,
}

impl Allowed {
    /// Whether it is about this listener.
    pub fn is_about(&self, listen: &Listen) -> bool {
        self.listener.as_ref().is_none_or(|only| only == listen)
    }
}

impl FromStr for Allowed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (listener, network) = match text.rsplit_once('=') {
            Some((listener, network)) => (Some(listener.trim().parse()?), network.trim()),
            None => (None, text),
        };
        Ok(Self {
            listener,
            network: network.parse()?,
        })
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(listener) = &self.listener {
            write!(f, "{listener}=")?;
        }
        self.network.fmt(f)
    }
}

/// Permissions of a file; the text form is octal, as for chmod(1).
#[derive(Clone, Copy, Debug, DeserializeFromStr, PartialEq, Eq, SerializeDisplay)]
pub struct Mode(u32);

impl Mode {
    /// As chmod(2) takes it.
    pub const fn bits(self) -> u32 {
        self.0
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match u32::from_str_radix(text, 8) {
            Ok(mode) if mode <= 0o777 => Ok(Self(mode)),
            _ => Err(format!(
                "`{text}` is no octal file mode: allowed are \"0000\" to \"0777\""
            )),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

/// Whose packets are relayed to the other party.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Admission {
    /// Those from the signalled address and port.
    Signalled,
    /// Those of a party that is learned near to the signalled address.
    Nat,
    /// Those of a party that is learned from whoever sends.
    Open,
}

impl Admission {
    /// What the netlink family calls it.
    pub fn mode(self) -> LearningMode {
        match self {
            Self::Signalled => LearningMode::Signalled,
            Self::Nat => LearningMode::Nat,
            Self::Open => LearningMode::Open,
        }
    }
}

/// The least important messages that are logged.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// What does not work.
    Error,
    /// What looks wrong.
    Warn,
    /// The life of calls.
    Info,
    /// Everything decided.
    Debug,
    /// Everything, libraries included.
    Trace,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}
