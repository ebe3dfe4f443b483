// SPDX-License-Identifier: MIT OR Apache-2.0

//! The frames that are sent and what must become of them.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::guest::packet::Build;

/// The first flow's port; each further flow has the next one.
const FIRST_PORT: u16 = 10_000;

/// Most flows there can be.
pub const MOST: usize = 50_000;

/// How a packet brings its UDP checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Checksum {
    /// Complete, as most come from a network.
    Full,
    /// Left for a device to complete (CHECKSUM_PARTIAL of include/linux/skbuff.h), as they come
    /// from a virtual machine or a container of the same host.
    Partial,
}

impl Checksum {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Full, Self::Partial];

    /// As tables and messages call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Partial => "partial",
        }
    }
}

/// Sender and receiver of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Sender.
    pub from: SocketAddr,
    /// Receiver.
    pub to: SocketAddr,
}

/// One stream of packets, before and behind the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// When its packets enter.
    pub entering: Ends,
    /// When they leave.
    pub leaving: Ends,
}

/// Hardware addresses of the two devices a frame travels between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Sender.
    pub from: [u8; 6],
    /// Receiver.
    pub to: [u8; 6],
}

/// What else the IP header of a packet says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ip {
    /// Time to live or hop limit.
    pub ttl: u8,
    /// Whether an IPv4 header says that routers may not fragment it.
    pub dont_fragment: bool,
}

/// The port of a flow, by its number.
pub fn port(flow: usize) -> Result<u16> {
    u16::try_from(flow)
        .ok()
        .filter(|_| flow < MOST)
        .and_then(|flow| flow.checked_add(FIRST_PORT))
        .with_context(|| format!("flow {flow} has no port: there can be {MOST}"))
}

/// The first and the last port of this many flows.
pub fn ports(flows: usize) -> Result<(u16, u16)> {
    Ok((port(0)?, port(flows.saturating_sub(1))?))
}

/// The frame that carries a packet's payload over one link.
pub fn frame(
    link: Link,
    ends: Ends,
    ip: Ip,
    checksum: Checksum,
    payload: &[u8],
) -> Result<Vec<u8>> {
    let datagram = Build {
        ttl: ip.ttl,
        dont_fragment: ip.dont_fragment,
        ..Build::new(ends.from, ends.to, payload)
    };
    match checksum {
        Checksum::Full => datagram.frame(link.from, link.to),
        Checksum::Partial => datagram.partial_frame(link.from, link.to),
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST, port, ports};

    #[test]
    fn every_flow_has_a_port_of_its_own() {
        assert_eq!(ports(1).unwrap(), (10_000, 10_000));
        assert_eq!(ports(MOST).unwrap(), (10_000, 59_999));
        assert!(port(MOST).is_err());
    }
}
