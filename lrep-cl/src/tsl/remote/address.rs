// SPDX-License-Identifier: MIT OR Apache-2.0

//! Where a host serves its layer.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// A listening socket's address.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Address {
    /// A TCP port; the certificate must be for the host's name or address as it is written here.
    Tcp {
        /// The host: a name, or an address without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// A unix socket's file.
    Unix(PathBuf),
}

/// What is wrong with an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no address: write HOST:PORT (IPv6 addresses in brackets) or unix:/PATH, such as \
     192.0.2.1:22334"
)]
pub struct BadAddress(String);

impl FromStr for Address {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        let bad = || BadAddress(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            let path = PathBuf::from(path);
            return path
                .is_absolute()
                .then_some(Self::Unix(path))
                .ok_or_else(bad);
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
        let port = port.parse().map_err(|_| bad())?;
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let host = match bare {
            Some(address) if address.parse::<IpAddr>().is_ok() => address,
            None if !host.is_empty() && !host.contains([':', '/', '[', ']']) => host,
            _ => return Err(bad()),
        };
        Ok(Self::Tcp {
            host: host.to_owned(),
            port,
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_as_it_is_written() {
        for text in [
            "media1:22334",
            "media1.example.org:1",
            "192.0.2.1:22334",
            "[2001:db8::1]:22334",
            "unix:/run/lreproxy/tsl.sock",
        ] {
            let address: Address = text.parse().expect(text);
            assert_eq!(address.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_an_example() {
        for text in [
            "",
            "media1",
            "media1:",
            "media1:99999",
            ":22334",
            "2001:db8::1",
            "2001:db8::1:22334",
            "[media1]:22334",
            "http://media1:22334",
            "unix:relative",
            "unix:",
        ] {
            let error = text.parse::<Address>().expect_err(text);
            assert!(error.to_string().contains("192.0.2.1:22334"), "{error}");
        }
    }
}
