// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0

//! From the headers a packet arrived with to those it leaves with.

use super::{
    super::{
        checksum::Delta,
        field::{concatenate, read, write},
        udp::ports,
    },
    HEADERS, HOP_LIMIT, SOURCE_ADDRESS, UDP_CHECKSUM,
};
use core::net::SocketAddrV6;

/// What the relay does to the headers of every packet of one direction, computed once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// Addresses and ports, as they stand in the headers.
    leaving: [u8; 36],
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
        arriving: (SocketAddrV6, SocketAddrV6),
        leaving: (SocketAddrV6, SocketAddrV6),
    ) -> Self {
        Self {
            leaving: addresses_and_ports(leaving),
            pseudo_sum: Delta::between(&addresses(arriving), &addresses(leaving)),
            udp_checksum: Delta::between(
                &addresses_and_ports(leaving),
                &addresses_and_ports(arriving),
            ),
        }
    }

    /// Rewrites addresses, ports, hop limit and the checksum of a packet that arrived as told to
    /// [`Rewrite::new`], [may be forwarded](super::Arriving::hops_allow_forwarding) and has a UDP
    /// checksum, as every one must (RFC 8200 section 8.1).
    ///
    /// `partial` tells that the UDP checksum field only holds the sum of the pseudo header, not
    /// complemented, for the device to complete (`CHECKSUM_PARTIAL` of `include/linux/skbuff.h`).
    /// A checksum that was wrong stays wrong: the receiver is to see it.
    #[inline(always)]
    pub fn apply(&self, headers: &mut [u8; HEADERS], partial: bool) {
        write::<SOURCE_ADDRESS, 36, HEADERS>(headers, self.leaving);
        headers[HOP_LIMIT] = headers[HOP_LIMIT].wrapping_sub(1);

        let checksum = u16::from_ne_bytes(read::<UDP_CHECKSUM, 2, HEADERS>(headers));
        let delta = if partial {
            self.pseudo_sum
        } else {
            self.udp_checksum
        };
        write::<UDP_CHECKSUM, 2, HEADERS>(headers, delta.add_to(checksum).to_ne_bytes());
    }
}

/// Changes the traffic class and the hop limit of a header.
#[inline]
pub fn mark(headers: &mut [u8; HEADERS], traffic_class: u8, hops: u8) {
    headers[0] = (headers[0] & 0xf0) | (traffic_class >> 4);
    headers[1] = (headers[1] & 0x0f) | (traffic_class << 4);
    headers[HOP_LIMIT] = hops;
}

/// Both addresses, as in the header.
pub(in super::super) fn addresses((source, destination): (SocketAddrV6, SocketAddrV6)) -> [u8; 32] {
    concatenate(&source.ip().octets(), &destination.ip().octets())
}

/// As in the headers, where the ports follow the addresses.
pub(in super::super) fn addresses_and_ports(flow: (SocketAddrV6, SocketAddrV6)) -> [u8; 36] {
    concatenate(&addresses(flow), &ports(flow.0.port(), flow.1.port()))
}
