// SPDX-License-Identifier: MIT OR Apache-2.0

//! Ports that the kernel gives to sockets which ask for any (`ip_local_port_range`), and those it
//! leaves out (`ip_local_reserved_ports`, Documentation/networking/ip-sysctl.rst).
//!
//! A resolver whose socket was given a relay port would never see its answers while a call has that
//! port.

use std::fs;
use std::io;
use std::ops::RangeInclusive;

const RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";
const RESERVED: &str = "/proc/sys/net/ipv4/ip_local_reserved_ports";

/// What the kernel gives away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ephemeral {
    given: RangeInclusive<u16>,
    reserved: Vec<RangeInclusive<u16>>,
}

impl Ephemeral {
    /// As this network namespace has it.
    pub fn read() -> io::Result<Self> {
        let (given, reserved) = (fs::read_to_string(RANGE)?, fs::read_to_string(RESERVED)?);
        let parsed = Self::parse(&given, &reserved);
        parsed.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "cannot be read"))
    }

    /// As the kernel writes it in both files.
    pub fn parse(given: &str, reserved: &str) -> Option<Self> {
        let mut bounds = given.split_whitespace().map(str::parse);
        let (first, last) = (bounds.next()?.ok()?, bounds.next()?.ok()?);
        let ranges = reserved.trim().split(',').filter(|range| !range.is_empty());
        let range = |range: &str| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            Some(first.parse().ok()?..=last.parse().ok()?)
        };
        Some(Self {
            given: first..=last,
            reserved: ranges.map(range).collect::<Option<_>>()?,
        })
    }

    /// Whether a socket may be given one of these ports.
    pub fn meets(&self, ports: &[RangeInclusive<u16>]) -> bool {
        let is_reserved = |port: &u16| self.reserved.iter().any(|range| range.contains(port));
        let mut ports = ports.iter().cloned().flatten();
        ports.any(|port| self.given.contains(&port) && !is_reserved(&port))
    }

    /// What to write so that these ports are reserved, too.
    pub fn reserving(&self, ports: &[RangeInclusive<u16>]) -> String {
        let ranges = self.reserved.iter().chain(ports);
        let ranges = ranges.map(|range| match (range.start(), range.end()) {
            (first, last) if first == last => first.to_string(),
            (first, last) => format!("{first}-{last}"),
        });
        ranges.collect::<Vec<_>>().join(",")
    }

    /// What to type so that these ports are reserved, too.
    pub fn cure(&self, ports: &[RangeInclusive<u16>]) -> String {
        let value = self.reserving(ports);
        format!("sysctl -w net.ipv4.ip_local_reserved_ports={value}")
    }

    /// Reserves these ports, too.
    pub fn reserve(&self, ports: &[RangeInclusive<u16>]) -> io::Result<()> {
        fs::write(RESERVED, self.reserving(ports))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ephemeral(given: &str, reserved: &str) -> Ephemeral {
        Ephemeral::parse(given, reserved).expect("as the kernel writes it")
    }

    #[test]
    fn only_ports_that_are_given_away_and_not_reserved_are_met() {
        let usual = ephemeral("32768\t60999\n", "\n");
        assert!(!usual.meets(&[20000..=30007]));
        assert!(usual.meets(&[20000..=30007, 32760..=32770]));
        let wide = ephemeral("1024\t65535\n", "8080,20000-30007\n");
        assert!(!wide.meets(&[20000..=30007, 8080..=8080]));
        assert!(wide.meets(&[8080..=8080, 20000..=30008]));
    }

    #[test]
    fn what_is_reserved_stays_so() {
        let ephemeral = ephemeral("1024\t65535\n", "8080,9000-9010\n");
        assert_eq!(
            ephemeral.cure(&[20000..=30007, 40000..=49999]),
            "sysctl -w net.ipv4.ip_local_reserved_ports=8080,9000-9010,20000-30007,40000-49999"
        );
    }

    #[test]
    fn this_kernel_says_it_so() {
        Ephemeral::read().expect("readable");
    }

    #[test]
    fn what_the_kernel_would_never_write_is_not_guessed_at() {
        for (given, reserved) in [("", ""), ("1", ""), ("1 2", "x"), ("1 2", "3-")] {
            assert_eq!(Ephemeral::parse(given, reserved), None);
        }
    }
}
