// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0

//! UDP over IPv6: what the two headers say, and how they are rewritten.

pub(super) mod rewrite;

pub use self::rewrite::{mark, Rewrite};

use super::{arriving::Arriving, field::read, udp};
use core::{
    fmt,
    net::{Ipv6Addr, SocketAddrV6},
};

/// Bytes of the fixed IPv6 header (RFC 8200 section 3).
pub const IP_HEADER: usize = 40;
/// Bytes of it and the UDP header, the part of a packet that is read and rewritten.
pub const HEADERS: usize = IP_HEADER + udp::HEADER;
/// Bytes of the packet every link must take (RFC 8200 section 5).
pub const LEAST_MTU: u32 = 1280;

// Where the fields are, from the start of the IPv6 header: RFC 8200 section 3, RFC 768.
pub(super) const PAYLOAD_LENGTH: usize = 4;
pub(super) const NEXT_HEADER: usize = 6;
pub(super) const HOP_LIMIT: usize = 7;
pub(super) const SOURCE_ADDRESS: usize = 8;
const DESTINATION_ADDRESS: usize = 24;
const SOURCE_PORT: usize = IP_HEADER;
const DESTINATION_PORT: usize = IP_HEADER + 2;
pub(super) const UDP_LENGTH: usize = IP_HEADER + 4;
pub(super) const UDP_CHECKSUM: usize = IP_HEADER + udp::CHECKSUM;

/// The upper half of the first byte (RFC 8200 section 3).
pub(super) const VERSION: u8 = 6;

/// Whether the packet is a UDP datagram right behind a fixed IPv6 header: neither a fragment nor
/// anything else with extension headers.
#[inline(always)]
#[must_use]
pub fn is_candidate(ip: &[u8; IP_HEADER]) -> bool {
    ip[NEXT_HEADER] == udp::PROTOCOL && ip[0] >> 4 == VERSION
}

/// Where the packet was sent, which decides whether the rest of it is looked at.
#[inline(always)]
#[must_use]
pub fn destination(ip: &[u8; IP_HEADER]) -> Ipv6Addr {
    Ipv6Addr::from(read::<DESTINATION_ADDRESS, 16, IP_HEADER>(ip))
}

/// An IPv6 address and a UDP port, in wire order: comparing two is three instructions.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TransportAddress {
    /// The first 8 bytes of the address.
    pub(super) prefix: u64,
    /// The next 4 bytes.
    pub(super) middle: u32,
    /// The last 4 bytes and the port, as in [`ipv4::TransportAddress`](super::ipv4).
    pub(super) last: super::ipv4::TransportAddress,
}

impl TransportAddress {
    #[inline(always)]
    fn from_wire(address: [u8; 16], port: [u8; 2]) -> Self {
        Self {
            prefix: u64::from_ne_bytes(read::<0, 8, 16>(&address)),
            middle: u32::from_ne_bytes(read::<8, 4, 16>(&address)),
            last: super::ipv4::TransportAddress::from_wire(read::<12, 4, 16>(&address), port),
        }
    }

    /// The address.
    #[inline(always)]
    #[must_use]
    pub fn address(self) -> Ipv6Addr {
        let [a, b, c, d, e, f, g, h] = self.prefix.to_ne_bytes();
        let [i, j, k, l] = self.middle.to_ne_bytes();
        let [m, n, o, p] = self.last.address().octets();
        Ipv6Addr::from([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p])
    }

    /// The port, in the order of the host.
    #[inline(always)]
    #[must_use]
    pub fn port(self) -> u16 {
        self.last.port()
    }
}

impl From<SocketAddrV6> for TransportAddress {
    fn from(address: SocketAddrV6) -> Self {
        Self::from_wire(address.ip().octets(), address.port().to_be_bytes())
    }
}

impl From<TransportAddress> for SocketAddrV6 {
    fn from(address: TransportAddress) -> Self {
        Self::new(address.address(), address.port(), 0, 0)
    }
}

impl fmt::Debug for TransportAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}]:{}", self.address(), self.port())
    }
}

/// Reads the headers of a [candidate](is_candidate). Nothing is checked.
#[inline(always)]
#[must_use]
pub fn parse(headers: &[u8; HEADERS]) -> Arriving<TransportAddress> {
    Arriving {
        source: TransportAddress::from_wire(
            read::<SOURCE_ADDRESS, 16, HEADERS>(headers),
            read::<SOURCE_PORT, 2, HEADERS>(headers),
        ),
        destination: TransportAddress::from_wire(
            read::<DESTINATION_ADDRESS, 16, HEADERS>(headers),
            read::<DESTINATION_PORT, 2, HEADERS>(headers),
        ),
        // Version, traffic class and flow label share the first word.
        traffic_class: (headers[0] << 4) | (headers[1] >> 4),
        hops: headers[HOP_LIMIT],
        room: u16::from_be_bytes(read::<PAYLOAD_LENGTH, 2, HEADERS>(headers)),
        udp_length: u16::from_be_bytes(read::<UDP_LENGTH, 2, HEADERS>(headers)),
        udp_checksum: u16::from_be_bytes(read::<UDP_CHECKSUM, 2, HEADERS>(headers)),
    }
}
