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
};
use core::net::{
    Ipv4Addr,
    SocketAddrV4, //
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

/// The local addresses and the port range of a namespace: an immutable snapshot, replaced as a
/// whole when the configuration changes.
pub(crate) struct Table {
    port_min: u16,
    port_max: u16,
    addresses: KVec<(Ipv4Addr, RcuArc<Ports>)>,
}

impl Table {
    /// Makes a snapshot.
    pub(crate) fn new(
        port_min: u16,
        port_max: u16,
        addresses: KVec<(Ipv4Addr, RcuArc<Ports>)>,
    ) -> Self {
        Self {
            port_min,
            port_max,
            addresses,
        }
    }

    /// The range's first and last port. 0 and 0 when it was never set.
    pub(crate) fn range(&self) -> (u16, u16) {
        (self.port_min, self.port_max)
    }

    /// The local addresses.
    pub(crate) fn addresses(&self) -> &[(Ipv4Addr, RcuArc<Ports>)] {
        &self.addresses
    }

    /// The ports of a local address; `None` when the address is not one.
    #[inline(always)]
    pub(crate) fn ports(&self, address: Ipv4Addr) -> Option<&RcuArc<Ports>> {
        // There are a handful: comparing them all is the fastest search.
        self.addresses
            .iter()
            .find(|(local, _)| *local == address)
            .map(|(_, ports)| ports)
    }

    /// Whether packets to this address and port are the relay's even when no session owns them.
    pub(crate) fn is_relay_port(&self, at: SocketAddrV4) -> bool {
        self.in_range(at.port()) && self.ports(*at.ip()).is_some()
    }

    /// Whether packets to this port are the relay's even when no session owns it.
    #[inline(always)]
    pub(crate) fn in_range(&self, port: u16) -> bool {
        (self.port_min..=self.port_max).contains(&port) && port != 0
    }
}
