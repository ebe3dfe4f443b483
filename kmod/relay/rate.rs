// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0

//! A token bucket whose whole state is one number.
//!
//! Instead of tokens that drip, the moment is kept at which the bucket will be full again (the
//! "virtual scheduling" of ITU-T I.371, the generic cell rate algorithm). What is taken moves it
//! further into the future, time moves it nearer, and at most one burst ahead of now it may be. So
//! several CPUs can share a bucket with one compare-and-exchange.

/// So many units a second, and so many of them at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    per_second: u32,
    burst_ms: u32,
    /// Time one unit takes, in 1/1,024 nanoseconds: precise to one millionth for a thousand
    /// million units a second.
    unit: u64,
    /// How far ahead of now the bucket may be, in nanoseconds.
    burst: u64,
}

/// 2^10 parts of a nanosecond.
const FRACTION: u32 = 10;
const NANOSECONDS: u64 = 1_000_000_000;

impl Rate {
    /// A number of units a second, of which those of `burst_ms` milliseconds, but at least one,
    /// may come at once. `None` when there are to be none.
    #[must_use]
    pub fn new(per_second: u32, burst_ms: u32) -> Option<Self> {
        let unit = (NANOSECONDS << FRACTION).checked_div(per_second.into())?;
        Some(Self {
            per_second,
            burst_ms,
            unit,
            burst: u64::from(burst_ms)
                .saturating_mul(1_000_000)
                .max(unit >> FRACTION),
        })
    }

    /// Units a second.
    #[must_use]
    pub fn per_second(&self) -> u32 {
        self.per_second
    }

    /// Milliseconds whose units may come at once.
    #[must_use]
    pub fn burst_ms(&self) -> u32 {
        self.burst_ms
    }

    /// Takes units at a moment in nanoseconds: the moment the bucket is full again, from what it
    /// was before, or `None` when there are not enough in it. A new bucket is full at 0.
    #[inline]
    #[must_use]
    pub fn take(&self, full_at: u64, units: u64, now: u64) -> Option<u64> {
        let cost = self.unit.saturating_mul(units) >> FRACTION;
        let full_at = full_at.max(now).saturating_add(cost);
        // More than a burst can hold goes through a full bucket, or it never would.
        let limit = now.saturating_add(self.burst.max(cost));
        (full_at <= limit).then_some(full_at)
    }
}
