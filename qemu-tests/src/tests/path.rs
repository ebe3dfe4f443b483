// SPDX-License-Identifier: MIT OR Apache-2.0

//! The ways a call can take: each party over one version of IP or the other.
//!
//! ```text
//!   caller                        relay                           callee
//!   10.1.0.2:40000  <->  10.1.0.1:20000 | 10.2.0.1:20002  <->  10.2.0.2:41000   RTP
//!   10.1.0.2:40001  <->  10.1.0.1:20001 | 10.2.0.1:20003  <->  10.2.0.2:41001   RTCP
//!                             endpoint a  endpoint b
//! ```
//!
//! Or fd00:1::2, fd00:1::1, fd00:2::1 and fd00:2::2 on either side, with the same ports.

use std::net::SocketAddr;

use crate::guest::packet::Build;
use crate::guest::rtp::rtcp_of;
use crate::guest::topology::Family;

/// Where both parties and the relay receive RTP. RTCP is one port above.
#[derive(Clone, Copy, Debug)]
pub struct Path {
    /// The caller.
    pub caller: SocketAddr,
    /// The relay, for the caller.
    pub west: SocketAddr,
    /// The relay, for the callee.
    pub east: SocketAddr,
    /// The callee.
    pub callee: SocketAddr,
}

impl Path {
    /// Both parties over IPv4.
    pub const IPV4: Self = Self::between(Family::Ipv4, Family::Ipv4);
    /// Both parties over IPv6.
    pub const IPV6: Self = Self::between(Family::Ipv6, Family::Ipv6);
    /// The caller over IPv4, the callee over IPv6.
    pub const IPV4_TO_IPV6: Self = Self::between(Family::Ipv4, Family::Ipv6);
    /// The caller over IPv6, the callee over IPv4.
    pub const IPV6_TO_IPV4: Self = Self::between(Family::Ipv6, Family::Ipv4);

    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::IPV4,
        Self::IPV6,
        Self::IPV4_TO_IPV6,
        Self::IPV6_TO_IPV4,
    ];

    const fn between(west: Family, east: Family) -> Self {
        Self {
            caller: SocketAddr::new(west.address(1, 2), 40_000),
            west: SocketAddr::new(west.address(1, 1), 20_000),
            east: SocketAddr::new(east.address(2, 1), 20_002),
            callee: SocketAddr::new(east.address(2, 2), 41_000),
        }
    }

    /// The same between other ports: those of the n-th of several calls at once.
    pub fn nth(self, number: u16) -> Self {
        let moved = |mut address: SocketAddr| {
            address.set_port(address.port() + 4 * number);
            address
        };
        Self {
            caller: moved(self.caller),
            west: moved(self.west),
            east: moved(self.east),
            callee: moved(self.callee),
        }
    }

    /// The way of a call's RTCP: one port above, everywhere.
    pub fn rtcp(self) -> Self {
        Self {
            caller: rtcp_of(self.caller),
            west: rtcp_of(self.west),
            east: rtcp_of(self.east),
            callee: rtcp_of(self.callee),
        }
    }

    /// The version of IP on the caller's side.
    pub fn west_family(self) -> Family {
        Family::of(self.west.ip())
    }

    /// The version of IP on the callee's side.
    pub fn east_family(self) -> Family {
        Family::of(self.east.ip())
    }

    /// What leaves for the callee when this arrives from the caller.
    pub fn relayed(self, arrived: &Build) -> Build {
        let same = self.west_family() == self.east_family();
        Build {
            from: self.east,
            to: self.callee,
            ttl: arrived.ttl - 1,
            flow_label: if same { arrived.flow_label } else { 0 },
            // What was IPv6 is fragmented nowhere, and needs nothing to know fragments by (RFC 6864
            // section 4.1).
            identification: if same { arrived.identification } else { 0 },
            dont_fragment: arrived.dont_fragment || !same,
            ..arrived.clone()
        }
    }
}
