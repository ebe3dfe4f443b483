// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0

//! What the headers of a packet say, as far as the relay decides by it: the same for both
//! versions of IP.

use super::{admission::Refusal, udp};

/// A packet's headers. `A` is the address and port of its family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arriving<A> {
    /// Who sent it.
    pub source: A,
    /// Where it was sent: one of our local addresses, if it is ours.
    pub destination: A,
    /// IPv4's type of service, IPv6's traffic class: the DSCP and the ECN bits (RFC 2474,
    /// RFC 3168).
    pub traffic_class: u8,
    /// IPv4's time to live, IPv6's hop limit.
    pub hops: u8,
    /// Bytes of the packet behind the IP header.
    pub room: u16,
    /// Bytes of the datagram, the UDP header included, as its sender claims.
    pub udp_length: u16,
    /// The field of the UDP checksum.
    pub udp_checksum: u16,
}

impl<A> Arriving<A> {
    /// Whether any hop is left after the one through the relay. Else the packet is dropped and ICMP
    /// Time Exceeded is due (RFC 1812 section 5.3.1, RFC 4443 section 3.3).
    #[inline(always)]
    #[must_use]
    pub fn hops_allow_forwarding(&self) -> bool {
        self.hops > 1
    }

    /// Bytes of the UDP payload, from 0 to 65,527.
    ///
    /// # Errors
    ///
    /// [`Refusal::Malformed`] when the length in the UDP header is less than that header (RFC 768)
    /// or more than the packet holds.
    #[inline(always)]
    pub fn payload_length(&self) -> Result<u16, Refusal> {
        match self.udp_length.checked_sub(udp::HEADER as u16) {
            Some(length) if self.udp_length <= self.room => Ok(length),
            _ => Err(Refusal::Malformed),
        }
    }
}
