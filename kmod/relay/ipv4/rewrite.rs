// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0

//! From the headers a packet arrived with to those it leaves with.

use super::{
    super::{
        checksum::Delta,
        field::{concatenate, read, write},
        udp::ports,
    },
    HEADERS, IP_CHECKSUM, PROTOCOL, SOURCE_ADDRESS, TTL, TYPE_OF_SERVICE, UDP_CHECKSUM,
};
use core::net::SocketAddrV4;

/// What the relay does to the headers of every packet of one direction, computed once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// Addresses and ports, as they stand in the headers.
    leaving: [u8; 12],
    /// Change of the IPv4 header's sum: addresses and one hop.
    ip_sum: Delta,
    /// Change of the UDP pseudo header's sum: addresses.
    pseudo_sum: Delta,
    /// Change of the UDP checksum: addresses and ports. A checksum is the complement of a sum, so
    /// it changes the opposite way.
    udp_checksum: Delta,
}

impl Rewrite {
    /// From the source and destination packets arrive with to those they leave with.
    #[must_use]
    pub fn new(
        arriving: (SocketAddrV4, SocketAddrV4),
        leaving: (SocketAddrV4, SocketAddrV4),
    ) -> Self {
        let addresses = Delta::between(&addresses(arriving), &addresses(leaving));
        // The TTL is the upper byte of its word: whatever it is, one less is 0x0100 less.
        let one_hop = Delta::between(&[1, 0], &[0, 0]);
        Self {
            leaving: addresses_and_ports(leaving),
            ip_sum: addresses + one_hop,
            pseudo_sum: addresses,
            udp_checksum: Delta::between(
                &addresses_and_ports(leaving),
                &addresses_and_ports(arriving),
            ),
        }
    }

    /// Rewrites addresses, ports, TTL and both checksums of a packet that arrived as told to
    /// [`Rewrite::new`] and [may be forwarded](super::Arriving::hops_allow_forwarding).
    ///
    /// `partial` tells that the UDP checksum field only holds the sum of the pseudo header, not
    /// complemented, for the device to complete (`CHECKSUM_PARTIAL` of `include/linux/skbuff.h`).
    /// A checksum that was wrong stays wrong: the receiver is to see it.
    #[inline(always)]
    pub fn apply(&self, headers: &mut [u8; HEADERS], partial: bool) {
        write::<SOURCE_ADDRESS, 12, HEADERS>(headers, self.leaving);
        headers[TTL] = headers[TTL].wrapping_sub(1);

        let checksum = u16::from_ne_bytes(read::<IP_CHECKSUM, 2, HEADERS>(headers));
        let checksum = self.ip_sum.subtract_from(checksum);
        write::<IP_CHECKSUM, 2, HEADERS>(headers, checksum.to_ne_bytes());

        let checksum = u16::from_ne_bytes(read::<UDP_CHECKSUM, 2, HEADERS>(headers));
        let checksum = if partial {
            self.pseudo_sum.add_to(checksum)
        } else if checksum == 0 {
            // The sender made none (RFC 768).
            0
        } else {
            // Never 0, which would say that there is none: RFC 768 sends 0xffff for it, and adding
            // to what is not 0 makes just that.
            self.udp_checksum.add_to(checksum)
        };
        write::<UDP_CHECKSUM, 2, HEADERS>(headers, checksum.to_ne_bytes());
    }
}

/// Changes the type of service and the TTL of a header.
#[inline]
pub fn mark(headers: &mut [u8; HEADERS], type_of_service: u8, ttl: u8) {
    let (version, protocol) = (headers[0], headers[PROTOCOL]);
    let old = [version, headers[TYPE_OF_SERVICE], headers[TTL], protocol];
    let delta = Delta::between(&old, &[version, type_of_service, ttl, protocol]);
    headers[TYPE_OF_SERVICE] = type_of_service;
    headers[TTL] = ttl;
    let checksum = u16::from_ne_bytes(read::<IP_CHECKSUM, 2, HEADERS>(headers));
    let checksum = delta.subtract_from(checksum);
    write::<IP_CHECKSUM, 2, HEADERS>(headers, checksum.to_ne_bytes());
}

/// Both addresses, as in the header.
pub(in super::super) fn addresses((source, destination): (SocketAddrV4, SocketAddrV4)) -> [u8; 8] {
    concatenate(&source.ip().octets(), &destination.ip().octets())
}

/// As in the headers, where the ports follow the addresses.
pub(in super::super) fn addresses_and_ports(flow: (SocketAddrV4, SocketAddrV4)) -> [u8; 12] {
    concatenate(&addresses(flow), &ports(flow.0.port(), flow.1.port()))
}
