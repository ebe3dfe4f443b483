// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0

//! What becomes of the headers of a direction's packets, for all pairs of families.

use super::{
    ipv4, ipv6,
    translate::{Ipv4ToIpv6, Ipv6ToIpv4},
};
use core::net::SocketAddr;

/// The rewriting of a direction, by the family packets arrive with and the one they leave with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rewrite {
    /// IPv4 in place.
    Ipv4(ipv4::Rewrite),
    /// IPv6 in place.
    Ipv6(ipv6::Rewrite),
    /// IPv4's header replaced.
    Ipv4ToIpv6(Ipv4ToIpv6),
    /// IPv6's header replaced.
    Ipv6ToIpv4(Ipv6ToIpv4),
}

impl Rewrite {
    /// From the source and destination packets arrive with to those they leave with. `None` when
    /// the addresses of a pair are of different families.
    #[must_use]
    pub fn new(
        arriving: (SocketAddr, SocketAddr),
        leaving: (SocketAddr, SocketAddr),
    ) -> Option<Self> {
        use SocketAddr::{V4, V6};
        Some(match (arriving, leaving) {
            ((V4(a), V4(b)), (V4(c), V4(d))) => Self::Ipv4(ipv4::Rewrite::new((a, b), (c, d))),
            ((V6(a), V6(b)), (V6(c), V6(d))) => Self::Ipv6(ipv6::Rewrite::new((a, b), (c, d))),
            ((V4(a), V4(b)), (V6(c), V6(d))) => Self::Ipv4ToIpv6(Ipv4ToIpv6::new((a, b), (c, d))),
            ((V6(a), V6(b)), (V4(c), V4(d))) => Self::Ipv6ToIpv4(Ipv6ToIpv4::new((a, b), (c, d))),
            _ => return None,
        })
    }

    /// By how many bytes packets become longer.
    #[inline(always)]
    #[must_use]
    pub fn growth(&self) -> i32 {
        let growth = ipv6::IP_HEADER as i32 - ipv4::IP_HEADER as i32;
        match self {
            Self::Ipv4(_) | Self::Ipv6(_) => 0,
            Self::Ipv4ToIpv6(_) => growth,
            Self::Ipv6ToIpv4(_) => -growth,
        }
    }
}
