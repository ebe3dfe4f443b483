// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0

//! The party at the other end of an endpoint.

use super::{ipv4, ipv6};
use core::net::SocketAddr;

/// One address and port of either family, or nobody while the endpoint is on hold.
///
/// It equals the transport address it was made from, and nobody equals none. An endpoint only meets
/// packets of its own family, so that IPv4 compares what both have: the last 4 bytes and the port,
/// one comparison, which an `enum` or an `Option` would make two of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remote(ipv6::TransportAddress);

impl Remote {
    /// Greater than 48 bits, so no packet comes from here.
    const NOBODY: Self = Self(ipv6::TransportAddress {
        prefix: 0,
        middle: 0,
        last: ipv4::TransportAddress(u64::MAX),
    });

    /// Whether the endpoint is on hold.
    #[must_use]
    pub fn is_nobody(&self) -> bool {
        *self == Self::NOBODY
    }
}

impl From<Option<SocketAddr>> for Remote {
    fn from(remote: Option<SocketAddr>) -> Self {
        match remote {
            None => Self::NOBODY,
            Some(SocketAddr::V6(remote)) => Self(remote.into()),
            Some(SocketAddr::V4(remote)) => Self(ipv6::TransportAddress {
                prefix: 0,
                middle: 0,
                last: remote.into(),
            }),
        }
    }
}

impl PartialEq<ipv4::TransportAddress> for Remote {
    #[inline(always)]
    fn eq(&self, source: &ipv4::TransportAddress) -> bool {
        self.0.last == *source
    }
}

impl PartialEq<ipv6::TransportAddress> for Remote {
    #[inline(always)]
    fn eq(&self, source: &ipv6::TransportAddress) -> bool {
        self.0 == *source
    }
}
