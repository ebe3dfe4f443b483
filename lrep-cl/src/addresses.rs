// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which addresses are the relay's: those published to clients, and those of its interfaces.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde_with::{DeserializeFromStr, SerializeDisplay};

/// An address the parties are told, and the interface's own address that its packets arrive at.
///
/// Its text form is `ADVERTISED=LOCAL`, for example `203.0.113.5=10.0.0.5`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, SerializeDisplay, DeserializeFromStr)]
pub struct Mapping {
    /// The address that stands in the SDP.
    pub advertised: Ipv4Addr,
    /// The address of an interface of this host.
    pub local: Ipv4Addr,
}

/// A text that is no [`Mapping`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not of the form ADVERTISED=LOCAL with two IPv4 addresses, as in 203.0.113.5=10.0.0.5"
)]
pub struct BadMapping(String);

impl FromStr for Mapping {
    type Err = BadMapping;

    fn from_str(text: &str) -> Result<Self, BadMapping> {
        let parse = || {
            let (advertised, local) = text.split_once('=')?;
            Some(Self {
                advertised: advertised.trim().parse().ok()?,
                local: local.trim().parse().ok()?,
            })
        };
        parse().ok_or_else(|| BadMapping(text.to_owned()))
    }
}

impl fmt::Display for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.advertised, self.local)
    }
}

/// The relay's addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Published to clients as `internal_ip`.
    pub internal: Ipv4Addr,
    /// Published to clients as `external_ip`.
    pub external: Ipv4Addr,
    /// Advertised addresses and what stands behind them.
    pub mappings: Vec<Mapping>,
}

impl Addresses {
    /// The interface's address behind one that a client names; `None` when it is none of ours.
    pub fn local(&self, named: Ipv4Addr) -> Option<Ipv4Addr> {
        let mapped = self
            .mappings
            .iter()
            .find(|mapping| mapping.advertised == named);
        if let Some(mapping) = mapped {
            return Some(mapping.local);
        }
        let published = named == self.internal || named == self.external;
        let behind = self.mappings.iter().any(|mapping| mapping.local == named);
        (published || behind).then_some(named)
    }

    /// The addresses of interfaces that the relay receives on, each once.
    pub fn locals(&self) -> Vec<Ipv4Addr> {
        let published = [self.internal, self.external]
            .into_iter()
            .filter_map(|ip| self.local(ip));
        let behind = self.mappings.iter().map(|mapping| mapping.local);
        let mut locals: Vec<_> = published.chain(behind).collect();
        locals.sort_unstable();
        locals.dedup();
        locals
    }
}

/// Lists the addresses clients may name, for messages.
impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "internal_ip {}, external_ip {}",
            self.internal, self.external
        )?;
        for mapping in &self.mappings {
            write!(
                f,
                ", advertised {} for {}",
                mapping.advertised, mapping.local
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INSIDE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);
    const OUTSIDE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 5);

    #[test]
    fn an_advertised_address_stands_for_the_interface_behind_it() {
        let addresses = Addresses {
            internal: OUTSIDE,
            external: OUTSIDE,
            mappings: vec!["203.0.113.5=10.0.0.5".parse().expect("a mapping")],
        };
        assert_eq!(addresses.local(OUTSIDE), Some(INSIDE));
        assert_eq!(addresses.local(INSIDE), Some(INSIDE));
        assert_eq!(addresses.local(Ipv4Addr::LOCALHOST), None);
        assert_eq!(addresses.locals(), [INSIDE]);
    }

    #[test]
    fn without_mappings_the_published_addresses_are_the_interfaces() {
        let addresses = Addresses {
            internal: INSIDE,
            external: OUTSIDE,
            mappings: Vec::new(),
        };
        assert_eq!(addresses.local(OUTSIDE), Some(OUTSIDE));
        assert_eq!(addresses.locals(), [INSIDE, OUTSIDE]);
    }

    #[test]
    fn a_mapping_reads_back_from_its_text_and_bad_ones_say_what_is_allowed() {
        let mapping: Mapping = "203.0.113.5=10.0.0.5".parse().expect("a mapping");
        assert_eq!(mapping.to_string().parse(), Ok(mapping));
        for bad in ["", "203.0.113.5", "203.0.113.5=", "a=b", "::1=::2"] {
            let error = bad.parse::<Mapping>().expect_err(bad).to_string();
            assert!(error.contains("ADVERTISED=LOCAL"), "{error}");
        }
    }
}
