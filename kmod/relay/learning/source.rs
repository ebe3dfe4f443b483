// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0

//! Who sent a packet, in one form for both families.

use super::super::{ipv4, ipv6};
use core::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// An address, IPv4 as IPv4-mapped IPv6 (RFC 4291 section 2.5.5.2), and a UDP port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// The address.
    pub address: Ipv6Addr,
    /// The port.
    pub port: u16,
}

impl Source {
    /// Whether one host can have this address and port, and whether it is elsewhere: loopback is
    /// only good for a relay that listens there itself.
    pub(super) fn is_usable(self, loopback: bool) -> bool {
        let address = self.address.to_canonical();
        let is_broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
        self.port != 0
            && !address.is_unspecified()
            && !address.is_multicast()
            && !is_broadcast
            && (loopback || !address.is_loopback())
    }
}

/// Whether two addresses are neighbours: of the same family and in the same /24 or /64.
pub(super) fn are_neighbours(a: Ipv6Addr, b: Ipv6Addr) -> bool {
    match (a.to_canonical(), b.to_canonical()) {
        (IpAddr::V4(a), IpAddr::V4(b)) => a.to_bits() >> 8 == b.to_bits() >> 8,
        (IpAddr::V6(a), IpAddr::V6(b)) => a.to_bits() >> 64 == b.to_bits() >> 64,
        _ => false,
    }
}

impl From<SocketAddrV4> for Source {
    fn from(address: SocketAddrV4) -> Self {
        Self {
            address: address.ip().to_ipv6_mapped(),
            port: address.port(),
        }
    }
}

impl From<SocketAddrV6> for Source {
    fn from(address: SocketAddrV6) -> Self {
        Self {
            address: *address.ip(),
            port: address.port(),
        }
    }
}

impl From<SocketAddr> for Source {
    fn from(address: SocketAddr) -> Self {
        match address {
            SocketAddr::V4(address) => address.into(),
            SocketAddr::V6(address) => address.into(),
        }
    }
}

impl From<ipv4::TransportAddress> for Source {
    fn from(address: ipv4::TransportAddress) -> Self {
        SocketAddrV4::from(address).into()
    }
}

impl From<ipv6::TransportAddress> for Source {
    fn from(address: ipv6::TransportAddress) -> Self {
        SocketAddrV6::from(address).into()
    }
}

impl From<Source> for SocketAddr {
    fn from(source: Source) -> Self {
        Self::new(source.address.to_canonical(), source.port)
    }
}
