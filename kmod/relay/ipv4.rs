// SPDX-License-Identifier: GPL-2.0

//! UDP over IPv4: what the two headers say, and how they are rewritten.

mod rewrite;

pub use self::rewrite::Rewrite;

use super::{admission::Refusal, field::read};
use core::{
    fmt,
    net::{Ipv4Addr, SocketAddrV4},
};

/// Bytes of an IPv4 header without options (RFC 791 section 3.1).
pub const IP_HEADER: usize = 20;
/// Bytes of a UDP header (RFC 768).
pub const UDP_HEADER: usize = 8;
/// Bytes of both, the part of a packet that is read and rewritten.
pub const HEADERS: usize = IP_HEADER + UDP_HEADER;

// Where the fields are, from the start of the IPv4 header: RFC 791 section 3.1, RFC 768.
const TYPE_OF_SERVICE: usize = 1;
const TOTAL_LENGTH: usize = 2;
const FLAGS_AND_OFFSET: usize = 6;
const TTL: usize = 8;
const IP_CHECKSUM: usize = 10;
const SOURCE_ADDRESS: usize = 12;
const DESTINATION_ADDRESS: usize = 16;
const SOURCE_PORT: usize = IP_HEADER;
const DESTINATION_PORT: usize = IP_HEADER + 2;
const UDP_LENGTH: usize = IP_HEADER + 4;
const UDP_CHECKSUM: usize = IP_HEADER + 6;

/// Version 4, five 32-bit words of header (RFC 791 section 3.1).
const VERSION_4_NO_OPTIONS: u8 = 0x45;
/// UDP in the protocol field (RFC 768).
const UDP: u8 = 17;

/// Whether the packet is a whole UDP datagram behind an IPv4 header without options: not a
/// fragment, neither the first (More Fragments) nor a later one (offset).
#[inline(always)]
#[must_use]
pub fn is_candidate(ip: &[u8; IP_HEADER]) -> bool {
    // Flags, fragment offset, TTL and protocol are the four bytes from FLAGS_AND_OFFSET on.
    const MASK: u32 = u32::from_ne_bytes([0x3f, 0xff, 0, 0xff]);
    const WHOLE_UDP: u32 = u32::from_ne_bytes([0, 0, 0, UDP]);
    let word = u32::from_ne_bytes(read::<FLAGS_AND_OFFSET, 4, IP_HEADER>(ip));
    word & MASK == WHOLE_UDP && ip[0] == VERSION_4_NO_OPTIONS
}

/// Where the packet was sent, which decides whether the rest of it is looked at.
#[inline(always)]
#[must_use]
pub fn destination(ip: &[u8; IP_HEADER]) -> Ipv4Addr {
    Ipv4Addr::from(read::<DESTINATION_ADDRESS, 4, IP_HEADER>(ip))
}

/// An IPv4 address and a UDP port, in wire order: comparing two is one instruction.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TransportAddress(u64);

impl TransportAddress {
    #[inline(always)]
    fn from_wire(address: [u8; 4], port: [u8; 2]) -> Self {
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

/// The party at the other end of an endpoint: one address, or nobody while it is on hold.
///
/// It equals the [`TransportAddress`] it was made from, and nobody equals none. Asking is one
/// comparison, which `Option` would make two of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remote(TransportAddress);

impl Remote {
    /// Greater than 48 bits, so no packet comes from here.
    const NOBODY: Self = Self(TransportAddress(u64::MAX));
}

impl From<Option<SocketAddrV4>> for Remote {
    fn from(remote: Option<SocketAddrV4>) -> Self {
        remote.map_or(Self::NOBODY, |remote| Self(remote.into()))
    }
}

impl PartialEq<TransportAddress> for Remote {
    #[inline(always)]
    fn eq(&self, source: &TransportAddress) -> bool {
        self.0 == *source
    }
}

/// What the headers say, as far as the relay decides by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arriving {
    /// Who sent it.
    pub source: TransportAddress,
    /// Where it was sent: one of our local addresses, if it is ours.
    pub destination: TransportAddress,
    /// Type of service: the DSCP and the ECN bits (RFC 2474, RFC 3168).
    pub type_of_service: u8,
    /// Whether routers must drop the packet rather than fragment it (RFC 791 section 3.1).
    pub dont_fragment: bool,
    /// Time to live.
    pub ttl: u8,
    /// Bytes of the packet, the IPv4 header included.
    pub total_length: u16,
    /// Bytes of the datagram, the UDP header included, as its sender claims.
    pub udp_length: u16,
}

/// Reads the headers of a [candidate](is_candidate). Nothing is checked.
#[inline(always)]
#[must_use]
pub fn parse(headers: &[u8; HEADERS]) -> Arriving {
    Arriving {
        source: TransportAddress::from_wire(
            read::<SOURCE_ADDRESS, 4, HEADERS>(headers),
            read::<SOURCE_PORT, 2, HEADERS>(headers),
        ),
        destination: TransportAddress::from_wire(
            read::<DESTINATION_ADDRESS, 4, HEADERS>(headers),
            read::<DESTINATION_PORT, 2, HEADERS>(headers),
        ),
        type_of_service: headers[TYPE_OF_SERVICE],
        dont_fragment: headers[FLAGS_AND_OFFSET] & 0x40 != 0,
        ttl: headers[TTL],
        total_length: u16::from_be_bytes(read::<TOTAL_LENGTH, 2, HEADERS>(headers)),
        udp_length: u16::from_be_bytes(read::<UDP_LENGTH, 2, HEADERS>(headers)),
    }
}

impl Arriving {
    /// Whether anything of the time to live is left after the hop through the relay. Else the
    /// packet is dropped and ICMP Time Exceeded is due (RFC 1812 section 5.3.1).
    #[inline(always)]
    #[must_use]
    pub fn ttl_allows_forwarding(&self) -> bool {
        self.ttl > 1
    }

    /// Bytes of the UDP payload, from 0 to 65,507.
    ///
    /// # Errors
    ///
    /// [`Refusal::Malformed`] when the length in the UDP header is less than that header (RFC 768)
    /// or more than the IPv4 packet holds.
    #[inline(always)]
    pub fn payload_length(&self) -> Result<u16, Refusal> {
        let fits = u32::from(self.udp_length) + IP_HEADER as u32 <= u32::from(self.total_length);
        match self.udp_length.checked_sub(UDP_HEADER as u16) {
            Some(length) if fits => Ok(length),
            _ => Err(Refusal::Malformed),
        }
    }
}
