// SPDX-License-Identifier: GPL-2.0

//! Counters that packets write and controllers read.

use crate::proto::DropReason;
use core::sync::atomic::{
    AtomicU64,
    Ordering::Relaxed, //
};

/// What one direction of a stream has relayed.
///
/// These are the core library's atomics: they compile to one instruction each, where the
/// kernel's are out-of-line calls. Nothing is ordered by them, so the memory models' differences
/// do not matter. What counts packets that were forwarded comes first.
#[derive(Default)]
#[repr(C)]
pub(crate) struct Counters {
    packets: AtomicU64,
    bytes: AtomicU64,
    drops: Drops,
    rtcp_packets: AtomicU64,
}

impl Counters {
    /// Counts packets that were forwarded, `bytes` of UDP payload in all.
    #[inline(always)]
    pub(crate) fn count(&self, packets: u64, bytes: u64) {
        self.packets.fetch_add(packets, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
    }

    /// Counts RTCP packets among those that were forwarded.
    pub(crate) fn count_rtcp(&self, packets: u64) {
        self.rtcp_packets.fetch_add(packets, Relaxed);
    }

    /// The drops of this direction.
    #[inline(always)]
    pub(crate) fn drops(&self) -> &Drops {
        &self.drops
    }

    /// What was counted so far.
    pub(crate) fn read(&self) -> Totals {
        Totals {
            packets: self.packets.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            drops: self.drops.read(),
            rtcp_packets: self.rtcp_packets.load(Relaxed),
        }
    }
}

/// Packets that were not forwarded, by reason: by all but the first, [`DropReason::NoSession`], which
/// no direction has.
#[derive(Default)]
pub(crate) struct Drops([AtomicU64; DropReason::ALL.len() - 1]);

impl Drops {
    #[inline(always)]
    fn of(&self, reason: DropReason) -> Option<&AtomicU64> {
        self.0.get((reason as usize).wrapping_sub(1))
    }

    /// Counts packets.
    #[inline(always)]
    pub(crate) fn count(&self, reason: DropReason, packets: u64) {
        if let Some(counter) = self.of(reason) {
            counter.fetch_add(packets, Relaxed);
        }
    }

    /// What was counted so far for one reason.
    pub(crate) fn get(&self, reason: DropReason) -> u64 {
        self.of(reason).map_or(0, |counter| counter.load(Relaxed))
    }

    /// What was counted so far.
    pub(crate) fn read(&self) -> [u64; DropReason::ALL.len()] {
        DropReason::ALL.map(|reason| self.get(reason))
    }
}

/// Values of counters.
#[derive(Clone, Copy, Default)]
pub(crate) struct Totals {
    /// Packets forwarded.
    pub(crate) packets: u64,
    /// Bytes of UDP payload forwarded.
    pub(crate) bytes: u64,
    /// Packets dropped, by [`DropReason`].
    pub(crate) drops: [u64; DropReason::ALL.len()],
    /// RTCP packets among those forwarded.
    pub(crate) rtcp_packets: u64,
}

impl Totals {
    /// Adds other values.
    pub(crate) fn add(&mut self, other: &Totals) {
        self.packets = self.packets.saturating_add(other.packets);
        self.bytes = self.bytes.saturating_add(other.bytes);
        for (sum, more) in self.drops.iter_mut().zip(other.drops) {
            *sum = sum.saturating_add(more);
        }
        self.rtcp_packets = self.rtcp_packets.saturating_add(other.rtcp_packets);
    }
}
