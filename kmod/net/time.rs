// SPDX-License-Identifier: GPL-2.0

//! The kernel's clocks: `jiffies`, which is coarse and costs nothing, and nanoseconds.
//!
//! C headers: [`include/linux/jiffies.h`](srctree/include/linux/jiffies.h),
//! [`include/linux/timekeeping.h`](srctree/include/linux/timekeeping.h)

use super::bindings;
use kernel::ffi::c_ulong;

/// Now, in the kernel's coarse clock.
#[inline(always)]
pub(crate) fn now() -> Jiffies {
    // SAFETY: `jiffies` is always readable.
    Jiffies(unsafe { (&raw const bindings::jiffies).read_volatile() })
}

/// Now in nanoseconds, in a clock that never stands still or goes back but for the error of a
/// correction under way (`include/linux/timekeeping.h`, `kernel/time/timekeeping.c`).
#[inline(always)]
pub(crate) fn nanoseconds() -> u64 {
    // SAFETY: It can be called from anywhere.
    unsafe { bindings::ktime_get_mono_fast_ns() }
}

/// A span of milliseconds in ticks of the clock, rounded up.
pub(super) fn ms_to_jiffies(ms: u32) -> c_ulong {
    (ms as c_ulong)
        .saturating_mul(bindings::LREP_HZ)
        .div_ceil(1000)
}

/// A moment in the kernel's coarse clock. On 64-bit machines it does not wrap.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Jiffies(c_ulong);

impl Jiffies {
    /// As a plain number, for storing in an atomic.
    #[inline(always)]
    pub(crate) fn as_raw(self) -> u64 {
        self.0 as u64
    }

    /// The reverse of [`as_raw`](Self::as_raw).
    #[inline(always)]
    pub(crate) fn from_raw(raw: u64) -> Self {
        Self(raw as c_ulong)
    }

    /// This moment and a number of milliseconds.
    pub(crate) fn after_ms(self, ms: u32) -> Self {
        Self(self.0.saturating_add(ms_to_jiffies(ms)))
    }

    /// Milliseconds from the beginning of the clock's time.
    pub(crate) fn as_ms(self) -> u64 {
        self.ms_since(Self(0))
    }

    /// Milliseconds from `earlier` to this moment, 0 when `earlier` is later.
    pub(crate) fn ms_since(self, earlier: Self) -> u64 {
        let jiffies = self.0.saturating_sub(earlier.0) as u64;
        jiffies.saturating_mul(1000) / bindings::LREP_HZ as u64
    }
}
