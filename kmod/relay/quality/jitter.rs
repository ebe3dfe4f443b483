// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0

//! Interarrival jitter (RFC 3550 section 6.4.1 and A.8).

use super::{clock::ClockId, source::Run};

/// A word: the transit time of the last packet and the jitter so far.
///
/// From the lowest bit: transit (32, quarters of a timestamp unit), jitter (24, times 16 as in
/// A.8, of quarters), the clock and the run ([`Tag`]). 0 before the first packet.
///
/// # How exact
///
/// Against section 6.4.1 in real numbers: cutting an arrival to quarters makes a difference D less
/// than 1/4 unit wrong, and so the mean. Rounding J/16 makes each step at most 1/128 unit wrong,
/// of which 15/16 remain at each following one, at most 1/8 in all. Rounding to whole units adds
/// at most 1/2: less than 1 altogether, however long the stream is. In whole units, as A.8 is
/// written, the same sum is 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Jitter(pub(super) u64);

const ESTIMATE_MAX: u32 = (1 << 24) - 1;

/// Of what a jitter is: in the upper 8 of 32 bits, the low 4 of a run's number and a clock's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag(u32);

impl Tag {
    #[inline(always)]
    pub(super) fn new(run: Run, clock: ClockId) -> Self {
        // The upper bits of the number fall off.
        Self((run.number() << 28) | (clock.0 << 24))
    }
}

/// Two packets whose transits differ by this many quarters, 2^22 units (46 s at 90,000 Hz, 9
/// minutes at 8,000), or more: the source set its timestamps anew. That is no jitter; RFC 3550
/// does not speak of it.
const NEW_TIMESTAMPS: u32 = 1 << 24;

impl Jitter {
    /// After the first packet of a run, or with another clock.
    pub(super) fn first(tag: Tag, transit: u32) -> Self {
        Self::new(tag, 0, transit)
    }

    #[inline(always)]
    fn new(tag: Tag, estimate: u32, transit: u32) -> Self {
        Self((u64::from(tag.0 | estimate) << 32) | u64::from(transit))
    }

    /// The jitter as it is kept, if it is of this run and clock.
    #[inline(always)]
    fn estimate(self, tag: Tag) -> Option<u32> {
        let estimate = (self.0 >> 32) as u32 ^ tag.0;
        (estimate <= ESTIMATE_MAX).then_some(estimate)
    }

    /// The word after another packet. `None` when the word is of another run or clock.
    #[inline(always)]
    pub(super) fn receive(self, tag: Tag, transit: u32) -> Option<Self> {
        let mut estimate = self.estimate(tag)?;
        // A.8: d = transit - s->transit; if (d < 0) d = -d;
        let difference = transit.wrapping_sub(self.0 as u32) as i32;
        let difference = difference.unsigned_abs();
        if difference < NEW_TIMESTAMPS {
            // A.8: s->jitter += d - ((s->jitter + 8) >> 4); no step leaves 25 bits.
            estimate = estimate
                .wrapping_add(difference)
                .wrapping_sub(estimate.wrapping_add(8) >> 4)
                .min(ESTIMATE_MAX);
        }
        Some(Self::new(tag, estimate, transit))
    }

    pub(super) fn is_of(self, tag: Tag) -> bool {
        self.estimate(tag).is_some()
    }

    /// The jitter in timestamp units, at most 2^18.
    pub(super) fn units(self) -> u32 {
        // 16 times, of quarters: 64 to the unit.
        let estimate = (self.0 >> 32) as u32 & ESTIMATE_MAX;
        estimate.wrapping_add(32) >> 6
    }

    /// What it was measured with.
    pub(super) fn clock(self) -> ClockId {
        ClockId((self.0 >> 56) as u32 & 0x0f)
    }
}
