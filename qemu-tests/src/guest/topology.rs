// SPDX-License-Identifier: MIT OR Apache-2.0

//! The network every test gets for itself.
//!
//! ```text
//!   namespace caller            namespace relay              namespace callee
//!  +-----------------+      +-----------------------+      +-----------------+
//!  | wire            |      | west             east |      |            wire |
//!  | 10.1.0.2/24   --+------+-- 10.1.0.1/24         |      |                 |
//!  |                 |      |         10.2.0.1/24 --+------+--   10.2.0.2/24 |
//!  +-----------------+      +-----------------------+      +-----------------+
//!        default via 10.1.0.1    ip_forward = 0       default via 10.2.0.1
//! ```
//!
//! The relay forwards nothing by itself: what gets from one side to the other was relayed.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};

use anyhow::{Context, Result};

use super::capture::Capture;
use super::lab::Lab;
use super::netns::Namespace;

/// The caller's address.
pub const CALLER: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 2);
/// The relay's address on the caller's side.
pub const WEST: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
/// The relay's address on the callee's side.
pub const EAST: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 1);
/// The callee's address.
pub const CALLEE: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 2);

/// Three namespaces in a row, and what arrives at both ends.
pub struct Topology {
    /// What arrives at the caller.
    pub at_caller: Capture,
    /// What arrives at the callee.
    pub at_callee: Capture,
    /// The calling party.
    pub caller: Namespace,
    /// The called party.
    pub callee: Namespace,
    /// The relay between them.
    pub relay: Namespace,
}

impl Topology {
    /// Builds the network.
    pub fn new(lab: &Lab) -> Result<Self> {
        let (caller, relay, callee) = namespaces()?;
        let at_caller = lab.capture(&caller, "wire")?;
        let at_callee = lab.capture(&callee, "wire")?;
        Ok(Self {
            at_caller,
            at_callee,
            caller,
            callee,
            relay,
        })
    }

    /// Turns checksum offload of all devices on or off. New devices have it on: they leave
    /// checksums to whoever receives the packet.
    pub fn set_checksum_offload(&self, on: bool) -> Result<()> {
        let state = if on { "on" } else { "off" };
        for (namespace, device) in [
            (&self.caller, "wire"),
            (&self.relay, "west"),
            (&self.relay, "east"),
            (&self.callee, "wire"),
        ] {
            namespace.run("ethtool", &["-K", device, "tx", state])?;
        }
        Ok(())
    }
}

/// Builds the network alone, without captures: caller, relay, callee.
pub fn namespaces() -> Result<(Namespace, Namespace, Namespace)> {
    let caller = Namespace::new("caller")?;
    let relay = Namespace::new("relay")?;
    let callee = Namespace::new("callee")?;
    relay.ip("link add west type veth peer name wire netns caller\n\
         link add east type veth peer name wire netns callee\n\
         address add 10.1.0.1/24 dev west\n\
         address add 10.2.0.1/24 dev east\n\
         link set west up\n\
         link set east up\n")?;
    caller.ip("address add 10.1.0.2/24 dev wire\n\
         link set wire up\n\
         route add default via 10.1.0.1\n")?;
    callee.ip("address add 10.2.0.2/24 dev wire\n\
         link set wire up\n\
         route add default via 10.2.0.1\n")?;
    relay.set_sysctl("net/ipv4/ip_forward", "0")?;
    Ok((caller, relay, callee))
}

/// A UDP socket inside a namespace.
pub fn udp(namespace: &Namespace, address: SocketAddrV4) -> Result<UdpSocket> {
    namespace.enter(|| {
        UdpSocket::bind(address).with_context(|| format!("cannot bind a socket to {address}"))
    })
}
