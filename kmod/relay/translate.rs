// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0

//! From the headers of one version of IP to those of the other (RFC 7915).
//!
//! The UDP header stays where it is and the IP header before it is replaced. Both pseudo headers
//! sum the same length and protocol, so the checksum changes by the addresses and ports only, and
//! the payload is not read.

use super::{
    checksum::{self, Delta},
    field::{concatenate, read, write},
    ipv4, ipv6, udp,
};
use core::net::{SocketAddrV4, SocketAddrV6};

/// What the field of the UDP checksum holds after a translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// What it held before: a checksum, or (when told so) the pseudo header's sum.
    AsBefore,
    /// The pseudo header's sum, where there was no checksum before, which IPv6 does not allow
    /// (RFC 8200 section 8.1): the device has to complete it (`CHECKSUM_PARTIAL`).
    Partial,
}

/// Changes of the sums over what both versions have in the pseudo header and the UDP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Deltas {
    /// Of the pseudo header's sum: addresses.
    pseudo_sum: Delta,
    /// Of the UDP checksum: addresses and ports, the opposite way.
    udp_checksum: Delta,
}

impl Deltas {
    fn apply(self, checksum: [u8; 2], partial: bool) -> [u8; 2] {
        let delta = if partial {
            self.pseudo_sum
        } else {
            self.udp_checksum
        };
        delta.add_to(u16::from_ne_bytes(checksum)).to_ne_bytes()
    }
}

/// IPv4 in, IPv6 out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4ToIpv6 {
    leaving: [u8; 36],
    deltas: Deltas,
    /// Sum of the new addresses, to begin a pseudo header's sum with.
    addresses: Delta,
}

impl Ipv4ToIpv6 {
    /// From the source and destination packets arrive with to those they leave with.
    #[must_use]
    pub fn new(
        arriving: (SocketAddrV4, SocketAddrV4),
        leaving: (SocketAddrV6, SocketAddrV6),
    ) -> Self {
        let old = ipv4::rewrite::addresses_and_ports(arriving);
        let new = ipv6::rewrite::addresses_and_ports(leaving);
        let new_addresses = ipv6::rewrite::addresses(leaving);
        Self {
            leaving: new,
            deltas: Deltas {
                pseudo_sum: Delta::between(&ipv4::rewrite::addresses(arriving), &new_addresses),
                udp_checksum: Delta::between(&new, &old),
            },
            addresses: Delta::between(&[], &new_addresses),
        }
    }

    /// The new headers of a packet that arrived as told to [`Ipv4ToIpv6::new`] and may be
    /// forwarded (RFC 7915 section 4.1). `partial` as for [`ipv4::Rewrite::apply`].
    #[inline(always)]
    #[must_use]
    pub fn apply(
        &self,
        headers: &[u8; ipv4::HEADERS],
        partial: bool,
    ) -> ([u8; ipv6::HEADERS], Checksum) {
        let class = headers[ipv4::TYPE_OF_SERVICE];
        let room = u16::from_be_bytes(read::<{ ipv4::TOTAL_LENGTH }, 2, { ipv4::HEADERS }>(
            headers,
        ))
        .saturating_sub(ipv4::IP_HEADER as u16);
        let length = read::<{ ipv4::UDP_LENGTH }, 2, { ipv4::HEADERS }>(headers);
        let checksum = read::<{ ipv4::UDP_CHECKSUM }, 2, { ipv4::HEADERS }>(headers);
        let (checksum, state) = if checksum == [0, 0] && !partial {
            let rest = Delta::between(&[], &[length[0], length[1], 0, udp::PROTOCOL]);
            // The sum of nothing is 0xffff here, the other way to say zero.
            let sum = (self.addresses + rest).add_to(0xffff);
            (sum.to_ne_bytes(), Checksum::Partial)
        } else {
            (self.deltas.apply(checksum, partial), Checksum::AsBefore)
        };

        // Version, traffic class, and a flow label of zero.
        let first = [(ipv6::VERSION << 4) | (class >> 4), class << 4, 0, 0];
        let [high, low] = room.to_be_bytes();
        let hops = headers[ipv4::TTL].wrapping_sub(1);
        let second = [high, low, udp::PROTOCOL, hops];
        let udp: [u8; 4] = concatenate(&length, &checksum);
        let fixed: [u8; 8] = concatenate(&first, &second);
        let before: [u8; 44] = concatenate(&fixed, &self.leaving);
        (concatenate(&before, &udp), state)
    }
}

/// IPv6 in, IPv4 out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6ToIpv4 {
    leaving: [u8; 12],
    deltas: Deltas,
}

impl Ipv6ToIpv4 {
    /// From the source and destination packets arrive with to those they leave with.
    #[must_use]
    pub fn new(
        arriving: (SocketAddrV6, SocketAddrV6),
        leaving: (SocketAddrV4, SocketAddrV4),
    ) -> Self {
        let old = ipv6::rewrite::addresses_and_ports(arriving);
        let new = ipv4::rewrite::addresses_and_ports(leaving);
        Self {
            leaving: new,
            deltas: Deltas {
                pseudo_sum: Delta::between(
                    &ipv6::rewrite::addresses(arriving),
                    &ipv4::rewrite::addresses(leaving),
                ),
                udp_checksum: Delta::between(&new, &old),
            },
        }
    }

    /// The new headers of a packet that arrived as told to [`Ipv6ToIpv4::new`], may be forwarded
    /// and has a UDP checksum (RFC 7915 section 5.1). `partial` as for [`ipv6::Rewrite::apply`].
    ///
    /// IPv6 is not fragmented on its way, so neither is what becomes of it: Don't Fragment is set,
    /// and the identification is zero, as RFC 6864 section 4.1 allows then.
    #[inline(always)]
    #[must_use]
    pub fn apply(&self, headers: &[u8; ipv6::HEADERS], partial: bool) -> [u8; ipv4::HEADERS] {
        let class = (headers[0] << 4) | (headers[1] >> 4);
        let length = u16::from_be_bytes(read::<{ ipv6::PAYLOAD_LENGTH }, 2, { ipv6::HEADERS }>(
            headers,
        ))
        .saturating_add(ipv4::IP_HEADER as u16);
        let checksum = read::<{ ipv6::UDP_CHECKSUM }, 2, { ipv6::HEADERS }>(headers);
        let checksum = self.deltas.apply(checksum, partial);

        let mut new = [0; ipv4::HEADERS];
        new[0] = ipv4::VERSION_4_NO_OPTIONS;
        new[ipv4::TYPE_OF_SERVICE] = class;
        write::<{ ipv4::TOTAL_LENGTH }, 2, { ipv4::HEADERS }>(&mut new, length.to_be_bytes());
        new[ipv4::FLAGS_AND_OFFSET] = ipv4::DONT_FRAGMENT;
        new[ipv4::TTL] = headers[ipv6::HOP_LIMIT].wrapping_sub(1);
        new[ipv4::PROTOCOL] = udp::PROTOCOL;
        write::<{ ipv4::SOURCE_ADDRESS }, 12, { ipv4::HEADERS }>(&mut new, self.leaving);
        let header = read::<0, { ipv4::IP_HEADER }, { ipv4::HEADERS }>(&new);
        let sum = checksum::of_header(&header).to_ne_bytes();
        write::<{ ipv4::IP_CHECKSUM }, 2, { ipv4::HEADERS }>(&mut new, sum);
        let length = read::<{ ipv6::UDP_LENGTH }, 2, { ipv6::HEADERS }>(headers);
        write::<{ ipv4::UDP_LENGTH }, 2, { ipv4::HEADERS }>(&mut new, length);
        write::<{ ipv4::UDP_CHECKSUM }, 2, { ipv4::HEADERS }>(&mut new, checksum);
        new
    }
}
