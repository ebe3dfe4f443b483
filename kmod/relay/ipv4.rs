// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0

//! UDP over IPv4: what the two headers say, and how they are rewritten.

pub(super) mod rewrite;

pub use self::rewrite::{mark, Rewrite};

use super::{arriving::Arriving, field::read, udp};
use core::{
    fmt,
    net::{Ipv4Addr, SocketAddrV4},
};

/// Bytes of an IPv4 header without options (RFC 791 section 3.1).
pub const IP_HEADER: usize = 20;
/// Bytes of both, the part of a packet that is read and rewritten.
pub const HEADERS: usize = IP_HEADER + udp::HEADER;

// Where the fields are, from the start of the IPv4 header: RFC 791 section 3.1, RFC 768.
pub(super) const TYPE_OF_SERVICE: usize = 1;
pub(super) const TOTAL_LENGTH: usize = 2;
pub(super) const FLAGS_AND_OFFSET: usize = 6;
pub(super) const TTL: usize = 8;
pub(super) const PROTOCOL: usize = 9;
pub(super) const IP_CHECKSUM: usize = 10;
pub(super) const SOURCE_ADDRESS: usize = 12;
const DESTINATION_ADDRESS: usize = 16;
const SOURCE_PORT: usize = IP_HEADER;
const DESTINATION_PORT: usize = IP_HEADER + 2;
pub(super) const UDP_LENGTH: usize = IP_HEADER + 4;
pub(super) const UDP_CHECKSUM: usize = IP_HEADER + udp::CHECKSUM;

/// Version 4, five 32-bit words of header (RFC 791 section 3.1).
pub(super) const VERSION_4_NO_OPTIONS: u8 = 0x45;

/// Routers must not fragment the packet (RFC 791 section 3.1), in the first byte of the field.
pub(super) const DONT_FRAGMENT: u8 = 0x40;

/// Whether the packet is a whole UDP datagram behind an IPv4 header without options: not a
/// fragment, neither the first (More Fragments) nor a later one (offset).
#[inline(always)]
#[must_use]
pub fn is_candidate(ip: &[u8; IP_HEADER]) -> bool {
    // Flags, fragment offset, TTL and protocol are the four bytes from FLAGS_AND_OFFSET on.
    const MASK: u32 = u32::from_ne_bytes([0x3f, 0xff, 0, 0xff]);
    const WHOLE_UDP: u32 = u32::from_ne_bytes([0, 0, 0, udp::PROTOCOL]);
    let word = u32::from_ne_bytes(read::<FLAGS_AND_OFFSET, 4, IP_HEADER>(ip));
    word & MASK == WHOLE_UDP && ip[0] == VERSION_4_NO_OPTIONS
}

/// Where the packet was sent, which decides whether the rest of it is looked at.
#[inline(always)]
#[must_use]
pub fn destination(ip: &[u8; IP_HEADER]) -> Ipv4Addr {
    Ipv4Addr::from(read::<DESTINATION_ADDRESS, 4, IP_HEADER>(ip))
}

/// Whether routers must drop the packet rather than fragment it (RFC 791 section 3.1).
#[inline(always)]
#[must_use]
pub fn dont_fragment(ip: &[u8; IP_HEADER]) -> bool {
    ip[FLAGS_AND_OFFSET] & DONT_FRAGMENT != 0
}

/// An IPv4 address and a UDP port, in wire order: comparing two is one instruction.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TransportAddress(pub(super) u64);

impl TransportAddress {
    #[inline(always)]
    pub(super) fn from_wire(address: [u8; 4], port: [u8; 2]) -> Self {
        let address = u64::from(u32::from_ne_bytes(address));
        let port = u64::from(u16::from_ne_bytes(port));
        Self((port << 32) | address)
    }

    /// The address.
    #[inline(always)]
    #[must_use]
    pub fn address(self) -> Ipv4Addr {
        // Truncation is meant: the address is the lower half.
        Ipv4Addr::from((self.0 as u32).to_ne_bytes())
    }

    /// The port, in the order of the host.
    #[inline(always)]
    #[must_use]
    pub fn port(self) -> u16 {
        // Truncation is meant: the port is the 16 bits above the address.
        u16::from_be((self.0 >> 32) as u16)
    }
}

impl From<SocketAddrV4> for TransportAddress {
    fn from(address: SocketAddrV4) -> Self {
        Self::from_wire(address.ip().octets(), address.port().to_be_bytes())
    }
}

impl From<TransportAddress> for SocketAddrV4 {
    fn from(address: TransportAddress) -> Self {
        Self::new(address.address(), address.port())
    }
}

impl fmt::Debug for TransportAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.address(), self.port())
    }
}

/// Reads the headers of a [candidate](is_candidate). Nothing is checked.
#[inline(always)]
#[must_use]
pub fn parse(headers: &[u8; HEADERS]) -> Arriving<TransportAddress> {
    Arriving {
        source: TransportAddress::from_wire(
            read::<SOURCE_ADDRESS, 4, HEADERS>(headers),
            read::<SOURCE_PORT, 2, HEADERS>(headers),
        ),
        destination: TransportAddress::from_wire(
            read::<DESTINATION_ADDRESS, 4, HEADERS>(headers),
            read::<DESTINATION_PORT, 2, HEADERS>(headers),
        ),
        traffic_class: headers[TYPE_OF_SERVICE],
        hops: headers[TTL],
        room: u16::from_be_bytes(read::<TOTAL_LENGTH, 2, HEADERS>(headers))
            .saturating_sub(IP_HEADER as u16),
        udp_length: u16::from_be_bytes(read::<UDP_LENGTH, 2, HEADERS>(headers)),
        udp_checksum: u16::from_be_bytes(read::<UDP_CHECKSUM, 2, HEADERS>(headers)),
    }
}
