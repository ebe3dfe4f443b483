// SPDX-License-Identifier: MIT OR Apache-2.0

//! The network a point is counted in: the one of the tests, without captures, which would be paid
//! for by the packets.

use std::fs;
use std::net::IpAddr;

use anyhow::{Context, Result};
use serde_json::Value;

use super::flows::Link;
use crate::guest::netns::Namespace;
use crate::guest::raw::hardware_address;
use crate::guest::topology::{Family, namespaces};

/// One end of a link, which has an address of each version of IP.
#[derive(Clone, Copy)]
pub struct Host {
    network: u8,
    host: u8,
}

impl Host {
    const fn new(network: u8, host: u8) -> Self {
        Self { network, host }
    }

    /// Its address.
    pub const fn of(self, family: Family) -> IpAddr {
        family.address(self.network, self.host)
    }
}

/// Who sends.
pub const CALLER: Host = Host::new(1, 2);
/// The relay towards the caller.
pub const WEST: Host = Host::new(1, 1);
/// The relay towards the callee.
pub const EAST: Host = Host::new(2, 1);
/// Who receives.
pub const CALLEE: Host = Host::new(2, 2);

/// Three namespaces in a row. What arrives at the last one is counted and dropped.
pub struct Network {
    /// Where packets are sent.
    pub caller: Namespace,
    /// What they are to get through.
    pub relay: Namespace,
    /// Where they arrive.
    pub callee: Namespace,
    /// From the caller to the relay.
    pub entry: Link,
    /// From the relay to the callee.
    pub exit: Link,
}

impl Network {
    /// Builds the network.
    pub fn new() -> Result<Self> {
        // Hosts say only once, and at once, which groups they belong to (RFC 9777 section 9.1):
        // nothing but the packets of the benchmark arrives while they are counted.
        let path = "/proc/sys/net/ipv6/mld_qrv";
        fs::write(path, "1").with_context(|| format!("cannot write {path}"))?;
        let (caller, relay, callee) = namespaces()?;
        let entry = Link {
            from: hardware_address(&caller, "wire")?,
            to: hardware_address(&relay, "west")?,
        };
        let exit = Link {
            from: hardware_address(&relay, "east")?,
            to: hardware_address(&callee, "wire")?,
        };
        // Neither party answers questions: one only sends, the other drops all that arrives.
        for family in Family::ALL {
            let caller = neighbour(CALLER.of(family), entry.from, "west");
            let callee = neighbour(CALLEE.of(family), exit.to, "east");
            relay.ip(&(caller + &callee))?;
        }
        add_sink(&callee, "wire")?;
        Ok(Self {
            caller,
            relay,
            callee,
            entry,
            exit,
        })
    }

    /// Packets that arrived at the callee.
    pub fn arrived(&self) -> Result<u64> {
        dropped(&self.callee, "wire")
    }

    /// Drops packets where they enter the relay, from now on.
    pub fn close_entry(&self) -> Result<()> {
        add_sink(&self.relay, "west")
    }

    /// Lets packets enter the relay again and returns how many were dropped.
    pub fn open_entry(&self) -> Result<u64> {
        let packets = dropped(&self.relay, "west")?;
        self.relay
            .run("tc", &["qdisc", "del", "dev", "west", "clsact"])?;
        Ok(packets)
    }
}

/// The command of ip(8) that tells a namespace the hardware address of a neighbour.
fn neighbour(address: IpAddr, hardware: [u8; 6], device: &str) -> String {
    let [a, b, c, d, e, f] = hardware;
    format!(
        "neighbour add {address} lladdr {a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x} \
         dev {device} nud permanent\n"
    )
}

/// Drops everything that arrives at a device, before the network layer sees it.
fn add_sink(namespace: &Namespace, device: &str) -> Result<()> {
    namespace.run("tc", &["qdisc", "add", "dev", device, "clsact"])?;
    let filter = [
        "filter", "add", "dev", device, "ingress", "matchall", "action", "drop",
    ];
    namespace.run("tc", &filter).map(|_| ())
}

/// Packets the sink of a device has dropped.
fn dropped(namespace: &Namespace, device: &str) -> Result<u64> {
    let shown = namespace.run(
        "tc",
        &["-s", "-j", "filter", "show", "dev", device, "ingress"],
    )?;
    let filters: Value = serde_json::from_str(&shown).context("tc printed no JSON")?;
    filters
        .as_array()
        .into_iter()
        .flatten()
        .find_map(|filter| filter.pointer("/options/actions/0/stats/packets")?.as_u64())
        .with_context(|| format!("tc shows no sink: {shown}"))
}
