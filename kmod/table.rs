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

/// The local addresses of a family.
///
/// A packet's address is looked for in the slot it is hashed to, which mostly tells of one that is
/// not local, too. Of several that belong to one slot all but the first are in the list only.
#[repr(C)]
struct Addresses<A> {
    slots: [Slot<A>; SLOTS],
    list: KVec<Entry<A>>,
}

const SLOTS: usize = 16;

struct Slot<A> {
    /// The first address of the slot, any while there is none.
    address: A,
    /// Whether there are others.
    is_shared: bool,
    /// The first address' ports.
    ports: Option<RcuArc<Ports>>,
}

impl<A: Address> Addresses<A> {
    fn new() -> Self {
        Self {
            slots: [const {
                Slot {
                    address: A::ANY,
                    is_shared: false,
                    ports: None,
                }
            }; SLOTS],
            list: KVec::new(),
        }
    }

    fn add(&mut self, address: A, ports: RcuArc<Ports>) -> Result<(), AllocError> {
        self.list.push((address, ports.clone()), GFP_KERNEL)?;
        if let Some(slot) = self.slots.get_mut(address.slot()) {
            if slot.ports.is_none() {
                (slot.address, slot.ports) = (address, Some(ports));
            } else {
                slot.is_shared = true;
            }
        }
        Ok(())
    }

    /// Looks in the slot only.
    #[inline(always)]
    fn glance(&self, address: A) -> Glance<'_> {
        match self.slots.get(address.slot()) {
            Some(slot) if slot.address == address => match &slot.ports {
                Some(ports) => Glance::Local(ports),
                None => Glance::Foreign,
            },
            Some(slot) if slot.is_shared => Glance::Unclear,
            _ => Glance::Foreign,
        }
    }

    fn find(&self, address: A) -> Option<&RcuArc<Ports>> {
        self.list
            .iter()
            .find(|(local, _)| *local == address)
            .map(|(_, ports)| ports)
    }
}

/// What is known of an address at first sight.
pub(crate) enum Glance<'t> {
    /// It is local, and these are its ports.
    Local(&'t RcuArc<Ports>),
    /// It is not local.
    Foreign,
    /// It has to be looked for.
    Unclear,
}

/// An address of a family.
trait Address: Copy + Eq {
    /// One that is nobody's.
    const ANY: Self;

    /// Its slot, less than [`SLOTS`]. Multiplying by the golden ratio brings all bits into the
    /// highest. Local addresses are the operator's: nobody else chooses which of them meet.
    fn slot(self) -> usize;
}

impl Address for Ipv4Addr {
    const ANY: Self = Self::UNSPECIFIED;

    #[inline(always)]
    fn slot(self) -> usize {
        let hash = u32::from_ne_bytes(self.octets()).wrapping_mul(0x9e37_79b1);
        (hash >> (u32::BITS - SLOTS.ilog2())) as usize
    }
}

impl Address for Ipv6Addr {
    const ANY: Self = Self::UNSPECIFIED;

    #[inline(always)]
    fn slot(self) -> usize {
        let bits = u128::from_ne_bytes(self.octets());
        let hash = (bits as u64).wrapping_add((bits >> 64) as u64);
        let hash = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (hash >> (u64::BITS - SLOTS.ilog2())) as usize
    }
}

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
///
/// All packets look at the addresses of IPv4, which come first.
#[repr(C)]
pub(crate) struct Table {
    ipv4: Addresses<Ipv4Addr>,
    ipv6: Addresses<Ipv6Addr>,
    settings: Settings,
}

impl Table {
    /// Makes a snapshot without addresses.
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            ipv4: Addresses::new(),
            ipv6: Addresses::new(),
        }
    }

    /// Adds a local address to a snapshot that is being made.
    pub(crate) fn add(&mut self, address: IpAddr, ports: RcuArc<Ports>) -> Result<(), AllocError> {
        match address {
            IpAddr::V4(address) => self.ipv4.add(address, ports),
            IpAddr::V6(address) => self.ipv6.add(address, ports),
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
            .list
            .iter()
            .map(|(address, ports)| (IpAddr::V4(*address), ports));
        let ipv6 = self
            .ipv6
            .list
            .iter()
            .map(|(address, ports)| (IpAddr::V6(*address), ports));
        Iterator::chain(ipv4, ipv6)
    }

    /// The ports of a local address; `None` when the address is not one.
    pub(crate) fn ports(&self, address: IpAddr) -> Option<&RcuArc<Ports>> {
        match address {
            IpAddr::V4(address) => self.ipv4.find(address),
            IpAddr::V6(address) => self.ipv6.find(address),
        }
    }

    /// The same, and the number of the address in [`addresses`](Self::addresses).
    pub(crate) fn place(&self, address: IpAddr) -> Option<(usize, &RcuArc<Ports>)> {
        let mut places = (0..).zip(self.addresses());
        let (place, (_, ports)) = places.find(|(_, (local, _))| *local == address)?;
        Some((place, ports))
    }

    /// Whether an IPv4 address is local.
    #[inline(always)]
    pub(crate) fn glance_ipv4(&self, address: Ipv4Addr) -> Glance<'_> {
        self.ipv4.glance(address)
    }

    /// Whether an IPv6 address is local.
    #[inline(always)]
    pub(crate) fn glance_ipv6(&self, address: Ipv6Addr) -> Glance<'_> {
        self.ipv6.glance(address)
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
