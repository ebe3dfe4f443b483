// SPDX-License-Identifier: MIT OR Apache-2.0

//! Where it is told that a call's media has ceased.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use serde_with::{DeserializeFromStr, SerializeDisplay};

/// A target; its text form is `jsonrpc:ADDRESS:PORT`, `tcp:ADDRESS:PORT` or `unix:/PATH`.
#[derive(Clone, Debug, DeserializeFromStr, PartialEq, Eq, SerializeDisplay)]
pub enum Target {
    /// Kamailio's module jsonrpcs, over UDP: it is to end the dialog.
    JsonRpc(SocketAddr),
    /// Whoever listens there gets the Call-ID and a line feed.
    Line(Place),
}

/// Where a stream leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A TCP socket.
    Tcp(SocketAddr),
    /// A unix stream socket with this absolute path.
    Unix(PathBuf),
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let of = |scheme: &str| text.strip_prefix(scheme);
        let address = |text: &str| {
            let address = text.parse::<SocketAddr>().ok();
            address.filter(|address| address.port() != 0 && !address.ip().is_unspecified())
        };
        let target = if let Some(rest) = of("jsonrpc:") {
            address(rest).map(Self::JsonRpc)
        } else if let Some(rest) = of("tcp:") {
            address(rest).map(Place::Tcp).map(Self::Line)
        } else if let Some(path) = of("unix:") {
            path.starts_with('/')
                .then(|| Self::Line(Place::Unix(path.into())))
        } else {
            None
        };
        target.ok_or_else(|| {
            format!(
                "`{text}` is nobody to tell: allowed are jsonrpc:127.0.0.1:8060, tcp:127.0.0.1:9000 \
                 and unix:/run/sip/timeouts.sock"
            )
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::JsonRpc(address) => write!(f, "jsonrpc:{address}"),
            Self::Line(Place::Tcp(address)) => write!(f, "tcp:{address}"),
            Self::Line(Place::Unix(path)) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_reads_back_from_its_text_and_bad_ones_say_what_is_allowed() {
        for text in [
            "jsonrpc:127.0.0.1:8060",
            "tcp:[::1]:9000",
            "unix:/run/a.sock",
        ] {
            assert_eq!(text.parse::<Target>().expect(text).to_string(), text);
        }
        for text in [
            "",
            "jsonrpc:",
            "tcp:127.0.0.1",
            "tcp:0.0.0.0:1",
            "unix:a",
            "http:x:1",
        ] {
            let error = text.parse::<Target>().expect_err(text);
            assert!(error.contains("jsonrpc:127.0.0.1:8060"), "{error}");
        }
    }
}
