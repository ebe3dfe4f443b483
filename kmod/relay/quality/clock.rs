// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0

//! From nanoseconds to the units of RTP timestamps.

/// Rates in use, in Hz: those of RFC 3551 and of the wide-band audio codecs. A rate is known by
/// its place here, counted from 1.
const RATES: [u32; 10] = [
    8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 90_000,
];

/// A rate that is none of [`RATES`].
const OTHER: u32 = 15;

/// Quarters of a timestamp unit are the finest that is measured.
const QUARTERS: u32 = 4;

/// The rate at which a source's timestamps grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Quarters of a unit in a nanosecond, times 2^64, rounded up.
    quarters: u64,
    id: ClockId,
}

/// Which clock something was measured with, in 4 bits. 0 is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClockId(pub(super) u32);

impl ClockId {
    /// The rate in Hz, if it is one of those in common use.
    pub(super) fn hz(self) -> Option<u32> {
        RATES.get((self.0 as usize).checked_sub(1)?).copied()
    }
}

impl Clock {
    /// The highest rate that can be measured, in Hz. A quarter of a unit is then still longer than
    /// a nanosecond.
    pub const MAX_HZ: u32 = 249_999_999;

    /// The clock of a signalled rate (`a=rtpmap`, RFC 8866 section 6.6). `None` when the rate is 0
    /// or above [`Clock::MAX_HZ`].
    ///
    /// When a source's rate changes, its jitter is measured anew, except from one uncommon rate to
    /// another, which look alike.
    #[must_use]
    pub const fn new(hz: u32) -> Option<Self> {
        if hz == 0 || hz > Self::MAX_HZ {
            return None;
        }
        Some(Self::of(hz))
    }

    /// Division by hand, 32 bits at a time: there is none of 128 bits in the kernel.
    const fn of(hz: u32) -> Self {
        const NANOSECONDS: u64 = 1_000_000_000;
        // Less than NANOSECONDS, so no step overflows.
        let quarters = hz as u64 * QUARTERS as u64;
        let (upper, rest) = (
            (quarters << 32) / NANOSECONDS,
            (quarters << 32) % NANOSECONDS,
        );
        let lower = (rest << 32).div_ceil(NANOSECONDS);
        let mut id = OTHER;
        let mut place = 0;
        while place < RATES.len() {
            if RATES[place] == hz {
                id = place as u32 + 1;
            }
            place += 1;
        }
        Self {
            // Rounding up may carry.
            quarters: (upper << 32).wrapping_add(lower),
            id: ClockId(id),
        }
    }

    /// The clock of a payload type that RFC 3551 tables 4 and 5 assign, 8,000 Hz for every other.
    #[inline]
    #[must_use]
    pub const fn of_payload_type(payload_type: u8) -> Self {
        const HZ_8_000: Clock = Clock::of(8_000);
        const HZ_11_025: Clock = Clock::of(11_025);
        const HZ_16_000: Clock = Clock::of(16_000);
        const HZ_22_050: Clock = Clock::of(22_050);
        const HZ_44_100: Clock = Clock::of(44_100);
        const HZ_90_000: Clock = Clock::of(90_000);
        // Told apart first, since a media path sees little else.
        const NOT_8_000: u64 =
            (1 << 6) | (3 << 10) | (1 << 14) | (3 << 16) | (3 << 25) | (1 << 28) | (15 << 31);
        if payload_type > 63 || (NOT_8_000 >> payload_type) & 1 == 0 {
            return HZ_8_000;
        }
        match payload_type {
            6 => HZ_16_000,
            10 | 11 => HZ_44_100,
            16 => HZ_11_025,
            17 => HZ_22_050,
            _ => HZ_90_000,
        }
    }

    #[inline(always)]
    pub(super) fn id(self) -> ClockId {
        self.id
    }

    /// The relative transit time of RFC 3550 A.8, arrival less timestamp, in quarters of a unit
    /// modulo 2^32. `arrival` is in nanoseconds of any steady clock.
    ///
    /// One multiplication: the upper half of the product is the arrival in quarters. The factor is
    /// less than 2^-64 too great, which makes less than one quarter of a difference after 2^64
    /// nanoseconds, so what is left of the rounding is the fraction of a quarter that is cut off.
    #[inline(always)]
    pub(super) fn transit(self, arrival: u64, timestamp: u32) -> u32 {
        let product = u128::from(arrival).wrapping_mul(u128::from(self.quarters));
        // Truncation is meant: timestamps wrap too.
        let quarters = (product >> 64) as u32;
        quarters.wrapping_sub(timestamp.wrapping_mul(QUARTERS))
    }
}
