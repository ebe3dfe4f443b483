// SPDX-License-Identifier: GPL-2.0

//! From the headers a packet arrived with to those it leaves with.

use super::{
    super::{
        checksum::Delta,
        field::{read, write},
    },
    HEADERS, IP_CHECKSUM, SOURCE_ADDRESS, TTL, UDP_CHECKSUM,
};
use core::net::SocketAddrV4;

/// Who sends and who is to receive, at one side of the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Where the packet comes from.
    pub source: SocketAddrV4,
    /// Where it goes to.
    pub destination: SocketAddrV4,
}

impl Flow {
    fn addresses(&self) -> [u8; 8] {
        let [a, b, c, d] = self.source.ip().octets();
        let [e, f, g, h] = self.destination.ip().octets();
        [a, b, c, d, e, f, g, h]
    }

    /// As in the headers, where the ports follow the addresses.
    fn wire(&self) -> [u8; 12] {
        let [a, b, c, d, e, f, g, h] = self.addresses();
        let [i, j] = self.source.port().to_be_bytes();
        let [k, l] = self.destination.port().to_be_bytes();
        [a, b, c, d, e, f, g, h, i, j, k, l]
    }
}

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
    /// From what packets arrive with to what they leave with.
    #[must_use]
    pub fn new(arriving: &Flow, leaving: &Flow) -> Self {
        let addresses = Delta::between(&arriving.addresses(), &leaving.addresses());
        // The TTL is the upper byte of its word: whatever it is, one less is 0x0100 less.
        let one_hop = Delta::between(&[1, 0], &[0, 0]);
        Self {
            leaving: leaving.wire(),
            ip_sum: addresses + one_hop,
            pseudo_sum: addresses,
            udp_checksum: Delta::between(&leaving.wire(), &arriving.wire()),
        }
    }

    /// Rewrites addresses, ports, TTL and both checksums of a packet that arrived as told to
    /// [`Rewrite::new`] and [may be forwarded](super::Arriving::may_be_forwarded).
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
