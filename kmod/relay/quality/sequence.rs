// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0

//! Where a packet stands in its run, by its sequence number (RFC 3550 A.1).

use super::source::Run;

/// A greater jump ahead is not loss but a source that started anew (RFC 3550 A.1).
pub const MAX_DROPOUT: u16 = 3_000;
/// A packet this far behind the highest, or farther, is not late but from a source that started
/// anew (RFC 3550 A.1).
pub const MAX_MISORDER: u16 = 100;
/// So many sequence numbers behind the highest it is remembered whether they arrived.
pub const WINDOW: u16 = 26;

/// Where a packet stands in its run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The first of its run.
    First,
    /// The one after the highest.
    Next,
    /// Further ahead: so many were passed over, 1 to [`MAX_DROPOUT`] - 2.
    Ahead(u16),
    /// Behind the highest, and not known to have arrived before: reordered as RFC 4737 section
    /// 3.3 has it. More than [`WINDOW`] behind, a duplicate counts as this too.
    Reordered,
    /// At most [`WINDOW`] behind the highest, and arrived before (RFC 3611 section 4.6).
    Duplicate,
    /// Too far ahead or behind to belong to the run. It counts as not received unless the packet
    /// after it arrives too.
    Jump,
    /// The packet after a [`Place::Jump`], so the source started anew. Counting goes on here.
    Restart,
}

/// A word: the highest sequence number of a run, which of the [`WINDOW`] before it arrived, and
/// the one that would confirm a restart (`max_seq` and `bad_seq` of RFC 3550 A.1).
///
/// From the lowest bit: highest (16), awaited (16), whether anything is awaited (1), run (5),
/// arrived (26, the lowest is the one just before the highest).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sequence(pub(super) u64);

const HIGHEST_MASK: u64 = 0xffff;
const AWAITED: u32 = 16;
const AWAITED_MASK: u64 = 0xffff << AWAITED;
const IS_AWAITING: u64 = 1 << 32;
const RUN: u32 = 33;
const ARRIVED: u32 = RUN + Run::BITS;
/// All but highest and arrived.
const OTHERS: u64 = ((1 << ARRIVED) - 1) & !HIGHEST_MASK;
const _: () = assert!(ARRIVED + WINDOW as u32 == u64::BITS);

impl Sequence {
    /// A run of one packet.
    pub(super) fn first(run: Run, sequence: u16) -> Self {
        let run = u64::from(run.number() & Run::MASK);
        Self((run << RUN) | u64::from(sequence))
    }

    #[inline(always)]
    pub(super) fn is_of(self, run: Run) -> bool {
        run.is((self.0 >> RUN) as u32)
    }

    /// The highest sequence number.
    #[inline(always)]
    pub(super) fn highest(self) -> u16 {
        self.0 as u16
    }

    /// The word after another packet, if it is the one after the highest and of this run: the
    /// ordinary case of [`is_of`](Self::is_of) and [`receive`](Self::receive). Not when the numbers
    /// begin again from 0, so that adding one to the highest leaves the others alone.
    #[inline(always)]
    pub(super) fn next(self, run: Run, sequence: u16) -> Option<Self> {
        let is_next = u32::from(self.highest()).wrapping_add(1) == u32::from(sequence);
        (is_next && self.is_of(run)).then(|| {
            // Adding what arrived to itself shifts it, and the former highest arrived.
            let arrived = (self.0 >> ARRIVED).wrapping_add(1);
            let word = self.0.wrapping_add(arrived << ARRIVED);
            Self(word.wrapping_add(1))
        })
    }

    /// The word after another packet of the run, and where the packet stands.
    pub(super) fn receive(self, sequence: u16) -> (Self, Place) {
        let ahead = sequence.wrapping_sub(self.highest());
        match (ahead, ahead.wrapping_neg()) {
            (0, _) => (self, Place::Duplicate),
            (1, _) => (self.advanced(sequence, ahead), Place::Next),
            (2..MAX_DROPOUT, _) => {
                let missing = ahead.wrapping_sub(1);
                (self.advanced(sequence, ahead), Place::Ahead(missing))
            }
            (_, behind @ 1..=WINDOW) => {
                let bit = 1 << ARRIVED.wrapping_add(u32::from(behind)).wrapping_sub(1);
                if self.0 & bit != 0 {
                    (self, Place::Duplicate)
                } else {
                    (Self(self.0 | bit), Place::Reordered)
                }
            }
            (_, behind) if behind < MAX_MISORDER => (self, Place::Reordered),
            _ => self.jump(sequence),
        }
    }

    fn advanced(self, sequence: u16, ahead: u16) -> Self {
        // The former highest arrived, what was passed over did not. What is shifted beyond the
        // upper end is forgotten.
        let arrived = ((self.0 >> ARRIVED) << 1) | 1;
        let arrived = arrived
            .checked_shl(u32::from(ahead.wrapping_sub(1)))
            .unwrap_or(0);
        let others = self.0 & OTHERS;
        Self((arrived << ARRIVED) | others | u64::from(sequence))
    }

    fn jump(self, sequence: u16) -> (Self, Place) {
        if self.awaited() == Some(sequence) {
            let run = self.0 & (u64::from(Run::MASK) << RUN);
            return (Self(run | u64::from(sequence)), Place::Restart);
        }
        let awaited = u64::from(sequence.wrapping_add(1)) << AWAITED;
        let others = self.0 & !AWAITED_MASK;
        (Self(others | awaited | IS_AWAITING), Place::Jump)
    }

    fn awaited(self) -> Option<u16> {
        (self.0 & IS_AWAITING != 0).then_some((self.0 >> AWAITED) as u16)
    }
}
