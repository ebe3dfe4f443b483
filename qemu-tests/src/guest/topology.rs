// SPDX-License-Identifier: MIT OR Apache-2.0

//! The network every test gets for itself.
//!
//! ```text
//!   namespace caller            namespace relay              namespace callee
//!  +-----------------+      +-----------------------+      +-----------------+
//!  | wire            |      | west             east |      |            wire |
//!  | 10.1.0.2/24   --+------+-- 10.1.0.1/24         |      |                 |
//!  | fd00:1::2/64    |      |   fd00:1::1/64        |      |                 |
//!  |                 |      |         10.2.0.1/24 --+------+--   10.2.0.2/24 |
//!  |                 |      |        fd00:2::1/64   |      |    fd00:2::2/64 |
//!  +-----------------+      +-----------------------+      +-----------------+
//!      default via west         forwards nothing             default via east
//! ```
//!
//! The relay forwards nothing by itself: what gets from one side to the other was relayed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use anyhow::{Context, Result};

use super::capture::Capture;
use super::lab::Lab;
use super::netns::Namespace;

/// A version of IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Ipv4, Self::Ipv6];

    /// The family of an address.
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::Ipv4,
            IpAddr::V6(_) => Self::Ipv6,
        }
    }

    /// A host of one of the networks drawn above: network 1 is the caller's, 2 the callee's.
    pub const fn address(self, network: u8, host: u8) -> IpAddr {
        match self {
            Self::Ipv4 => IpAddr::V4(Ipv4Addr::new(10, network, 0, host)),
            Self::Ipv6 => IpAddr::V6(Ipv6Addr::new(
                0xfd00,
                network as u16,
                0,
                0,
                0,
                0,
                0,
                host as u16,
            )),
        }
    }

    /// The command of ip(8) that gives a device such an address.
    pub fn add_address(self, network: u8, host: u8, device: &str) -> String {
        let address = self.address(network, host);
        match self {
            Self::Ipv4 => format!("address add {address}/24 dev {device}\n"),
            // Its use need not wait until nobody else turns out to have it (RFC 4862 section 5.4).
            Self::Ipv6 => format!("address add {address}/64 dev {device} nodad\n"),
        }
    }

    /// The command of ip(8) that takes such an address away.
    pub fn delete_address(self, network: u8, host: u8, device: &str) -> String {
        let address = self.address(network, host);
        let bits = match self {
            Self::Ipv4 => 24,
            Self::Ipv6 => 64,
        };
        format!("address del {address}/{bits} dev {device}\n")
    }

    /// Where the settings of this version are, below /proc/sys.
    pub const fn sysctls(self) -> &'static str {
        match self {
            Self::Ipv4 => "net/ipv4",
            Self::Ipv6 => "net/ipv6",
        }
    }

    /// Makes a namespace forward packets or not.
    pub fn set_forwarding(self, namespace: &Namespace, on: bool) -> Result<()> {
        let path = match self {
            Self::Ipv4 => "net/ipv4/ip_forward",
            Self::Ipv6 => "net/ipv6/conf/all/forwarding",
        };
        namespace.set_sysctl(path, if on { "1" } else { "0" })
    }
}

/// The caller's address.
pub const CALLER: IpAddr = Family::Ipv4.address(1, 2);
/// The relay's address on the caller's side.
pub const WEST: IpAddr = Family::Ipv4.address(1, 1);
/// The relay's address on the callee's side.
pub const EAST: IpAddr = Family::Ipv4.address(2, 1);
/// The callee's address.
pub const CALLEE: IpAddr = Family::Ipv4.address(2, 2);

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

    /// All devices.
    pub fn devices(&self) -> [(&Namespace, &'static str); 4] {
        [
            (&self.caller, "wire"),
            (&self.relay, "west"),
            (&self.relay, "east"),
            (&self.callee, "wire"),
        ]
    }

    /// Turns checksum offload of all devices on or off. New devices have it on: they leave
    /// checksums to whoever receives the packet.
    pub fn set_checksum_offload(&self, on: bool) -> Result<()> {
        let state = if on { "on" } else { "off" };
        for (namespace, device) in self.devices() {
            namespace.run("ethtool", &["-K", device, "tx", state])?;
        }
        Ok(())
    }

    /// Sets the largest packet all devices take.
    pub fn set_mtu(&self, mtu: u32) -> Result<()> {
        for (namespace, device) in self.devices() {
            namespace.ip(&format!("link set {device} mtu {mtu}\n"))?;
        }
        Ok(())
    }

    /// Sets the largest packet that fits between the relay and the callee.
    pub fn set_callees_mtu(&self, mtu: u32) -> Result<()> {
        self.relay.ip(&format!("link set east mtu {mtu}\n"))?;
        self.callee.ip(&format!("link set wire mtu {mtu}\n"))
    }

    /// Takes the devices between the relay and the callee away.
    pub fn disconnect_callee(&self) -> Result<()> {
        self.relay.ip("link del east\n")
    }

    /// Puts new devices between the relay and the callee.
    pub fn connect_callee(&self) -> Result<()> {
        connect(&self.relay, "east", 2, &self.callee)
    }
}

/// Builds the network alone, without captures: caller, relay, callee.
pub fn namespaces() -> Result<(Namespace, Namespace, Namespace)> {
    let caller = Namespace::new("caller")?;
    let relay = Namespace::new("relay")?;
    let callee = Namespace::new("callee")?;
    for family in Family::ALL {
        family.set_forwarding(&relay, false)?;
    }
    connect(&relay, "west", 1, &caller)?;
    connect(&relay, "east", 2, &callee)?;
    Ok((caller, relay, callee))
}

/// Connects a party with a device of the relay.
fn connect(relay: &Namespace, device: &str, network: u8, party: &Namespace) -> Result<()> {
    let peer = party.name();
    let addresses = |host, device| {
        Family::ALL
            .map(|family| family.add_address(network, host, device))
            .concat()
    };
    relay.ip(&format!(
        "link add {device} type veth peer name wire netns {peer}\n{}link set {device} up\n",
        addresses(1, device),
    ))?;
    let routes = Family::ALL
        .map(|family| format!("route add default via {}\n", family.address(network, 1)))
        .concat();
    party.ip(&format!(
        "{}link set wire up\n{routes}",
        addresses(2, "wire")
    ))
}

/// A UDP socket inside a namespace.
pub fn udp(namespace: &Namespace, address: SocketAddr) -> Result<UdpSocket> {
    namespace.enter(|| {
        UdpSocket::bind(address).with_context(|| format!("cannot bind a socket to {address}"))
    })
}
