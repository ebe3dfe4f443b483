// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0

//! A word that packets on several CPUs change at once.

use core::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed},
};

/// 64 bits that change in one step.
pub trait Word {
    /// The value. Who sees a value sees what was done before it was written (acquire).
    fn load(&self) -> u64;

    /// Writes `new` if the value is `old`, and tells whether it did (acquire and release).
    fn replace(&self, old: u64, new: u64) -> bool;

    /// Adds to a counter. Nothing is ordered by it.
    fn add(&self, count: u64);
}

impl Word for AtomicU64 {
    #[inline(always)]
    fn load(&self) -> u64 {
        self.load(Acquire)
    }

    #[inline(always)]
    fn replace(&self, old: u64, new: u64) -> bool {
        self.compare_exchange(old, new, AcqRel, Relaxed).is_ok()
    }

    #[inline(always)]
    fn add(&self, count: u64) {
        self.fetch_add(count, Relaxed);
    }
}
