// SPDX-License-Identifier: GPL-2.0

//! From a packet's destination to the endpoint that owns it, without hashing.
//!
//! A relay receives on a few local addresses, each with 65,536 UDP ports. Each address has a
//! directly indexed array of its ports in two levels, so a look-up costs the same whatever the
//! number of sessions, and nobody can make it slower by choosing ports.

use crate::{
    endpoint::Leg,
    net::rcu::{
        RcuArc,
        RcuSlot,
        ReadSide, //
    },
    relay::{
        limits::Limits,
        ports::Ranges, //
    },
};
use core::net::{
    IpAddr,
    Ipv4Addr,
    Ipv6Addr,
    SocketAddr, //
};
use kernel::{
    alloc::AllocError,
    prelude::*, //
};

const PAGE: usize = 256;

/// The ports of one local address, in pages of 256 that are made when first used.
#[derive(Zeroable)]
#[repr(transparent)]
pub(crate) struct Ports {
    pages: [RcuSlot<Page>; PAGE],
}

#[derive(Zeroable)]
#[repr(transparent)]
struct Page {
    legs: [RcuSlot<Leg>; PAGE],
}

impl Ports {
    /// An address none of whose ports is used.
    pub(crate) fn new() -> Result<RcuArc<Self>, AllocError> {
        RcuArc::zeroed(GFP_KERNEL)
    }

    /// Who owns a port.
    #[inline(always)]
    pub(crate) fn owner<'r>(&self, port: u16, rcu: ReadSide<'r>) -> Option<&'r Leg> {
        self.slot(port, rcu)?.load(rcu)
    }

    #[inline(always)]
    fn slot<'r>(&self, port: u16, rcu: ReadSide<'r>) -> Option<&'r RcuSlot<Leg>> {
        let [high, low] = port.to_be_bytes();
        let page = self.pages.get(usize::from(high))?.load(rcu)?;
        page.legs.get(usize::from(low))
    }

    /// Makes room for a port, so that [`set_owner`](Self::set_owner) cannot fail. The caller
    /// holds the lock of the namespace's sessions.
    pub(crate) fn prepare(&self, port: u16) -> Result<(), AllocError> {
        let [high, _] = port.to_be_bytes();
        let page = self.pages.get(usize::from(high)).ok_or(AllocError)?;
        let guard = kernel::sync::rcu::read_lock();
        let missing = page.load(ReadSide::from(&guard)).is_none();
        drop(guard);
        if missing {
            page.replace(Some(RcuArc::zeroed(GFP_KERNEL)?));
        }
        Ok(())
    }

    /// Gives a port that was prepared to somebody else, or to nobody. The caller holds the lock of
    /// the namespace's sessions.
    pub(crate) fn set_owner(&self, port: u16, leg: Option<RcuArc<Leg>>) {
        let guard = kernel::sync::rcu::read_lock();
        if let Some(slot) = self.slot(port, ReadSide::from(&guard)) {
            // Whoever was there is released after the packets that still see him.
            slot.replace(leg);
        }
    }
}

/// A local address and its ports.
type Entry<A> = (A, RcuArc<Ports>);

/// What a namespace is told beside its local addresses.
#[derive(Clone, Copy)]
pub(crate) struct Settings {
    /// The ports of the relay, none when they were never set.
    pub(crate) ports: Ranges,
    /// Whether loss, reordering and jitter are measured.
    pub(crate) quality: bool,
    /// How much sessions may hold.
    pub(crate) limits: Limits,
}

/// The local addresses and the settings of a namespace: an immutable snapshot, replaced as a
/// whole when the configuration changes.
pub(crate) struct Table {
    settings: Settings,
    ipv4: KVec<Entry<Ipv4Addr>>,
    ipv6: KVec<Entry<Ipv6Addr>>,
}

impl Table {
    /// Makes a snapshot without addresses.
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            ipv4: KVec::new(),
            ipv6: KVec::new(),
        }
    }

    /// Adds a local address to a snapshot that is being made.
    pub(crate) fn add(&mut self, address: IpAddr, ports: RcuArc<Ports>) -> Result<(), AllocError> {
        match address {
            IpAddr::V4(address) => self.ipv4.push((address, ports), GFP_KERNEL),
            IpAddr::V6(address) => self.ipv6.push((address, ports), GFP_KERNEL),
        }
    }

    /// Everything but the addresses.
    #[inline(always)]
    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The local addresses with their ports, IPv4 first.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = (IpAddr, &RcuArc<Ports>)> {
        let ipv4 = self
            .ipv4
            .iter()
            .map(|(address, ports)| (IpAddr::V4(*address), ports));
        let ipv6 = self
            .ipv6
            .iter()
            .map(|(address, ports)| (IpAddr::V6(*address), ports));
        Iterator::chain(ipv4, ipv6)
    }

    /// The ports of a local address; `None` when the address is not one.
    pub(crate) fn ports(&self, address: IpAddr) -> Option<&RcuArc<Ports>> {
        match address {
            IpAddr::V4(address) => self.ipv4_ports(address),
            IpAddr::V6(address) => self.ipv6_ports(address),
        }
    }

    /// The same, and the number of the address in [`addresses`](Self::addresses).
    pub(crate) fn place(&self, address: IpAddr) -> Option<(usize, &RcuArc<Ports>)> {
        let mut places = (0..).zip(self.addresses());
        let (place, (_, ports)) = places.find(|(_, (local, _))| *local == address)?;
        Some((place, ports))
    }

    /// The ports of a local IPv4 address; `None` when the address is not one.
    #[inline(always)]
    pub(crate) fn ipv4_ports(&self, address: Ipv4Addr) -> Option<&RcuArc<Ports>> {
        find(&self.ipv4, address)
    }

    /// The ports of a local IPv6 address; `None` when the address is not one.
    #[inline(always)]
    pub(crate) fn ipv6_ports(&self, address: Ipv6Addr) -> Option<&RcuArc<Ports>> {
        find(&self.ipv6, address)
    }

    /// Whether packets to this address and port are the relay's even when no session owns them.
    pub(crate) fn is_relay_port(&self, at: SocketAddr) -> bool {
        self.in_range(at.port()) && self.ports(at.ip()).is_some()
    }

    /// Whether packets to this port are the relay's even when no session owns it. Asked only about
    /// packets that no session owns.
    pub(crate) fn in_range(&self, port: u16) -> bool {
        self.settings.ports.contains(port)
    }
}

#[inline(always)]
fn find<A: Copy + Eq>(addresses: &[Entry<A>], address: A) -> Option<&RcuArc<Ports>> {
    // There are a handful: comparing them all is the fastest search.
    addresses
        .iter()
        .find(|(local, _)| *local == address)
        .map(|(_, ports)| ports)
}
