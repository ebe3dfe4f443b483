// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0

//! Whose packets are measured: the SSRC of the moment and the number of its run.

/// The packets of one SSRC until another appears. The words that measure a run carry its number,
/// so that no packet is ever judged by what another source sent.
///
/// The low 5 bits of the number tell. They are never 0, which is in the words before the first
/// packet. To take one run for another, a CPU would have to stand still between two loads while
/// a multiple of 31 runs pass, or of 16 where only 4 bits are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run(u32);

impl Run {
    pub(super) const BITS: u32 = 5;
    pub(super) const MASK: u32 = (1 << Self::BITS) - 1;

    /// The number, of which the low [`Run::BITS`] count.
    #[inline(always)]
    pub(super) fn number(self) -> u32 {
        self.0
    }

    /// Whether a number that was kept is of this run.
    #[inline(always)]
    pub(super) fn is(self, number: u32) -> bool {
        (number ^ self.0) & Self::MASK == 0
    }
}

/// A word: the SSRC in the upper half; in the lower a number that grows with each change, whose
/// low bits are the [`Run`]. 0 before the first packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Source(pub(super) u64);

impl Source {
    /// Whether a packet of this SSRC belongs to the run.
    #[inline(always)]
    pub(super) fn is(self, ssrc: u32) -> bool {
        (self.0 >> 32) as u32 == ssrc && self.is_any()
    }

    /// Whether there was a packet at all.
    #[inline(always)]
    pub(super) fn is_any(self) -> bool {
        self.0 as u32 != 0
    }

    /// The SSRC, when there was a packet.
    pub(super) fn ssrc(self) -> Option<u32> {
        self.is_any().then_some((self.0 >> 32) as u32)
    }

    /// The run after this one, of another SSRC.
    pub(super) fn changed_to(self, ssrc: u32) -> Self {
        let mut number = (self.0 as u32).wrapping_add(1);
        if number & Run::MASK == 0 {
            number = number.wrapping_add(1);
        }
        Self((u64::from(ssrc) << 32) | u64::from(number))
    }

    #[inline(always)]
    pub(super) fn run(self) -> Run {
        Run(self.0 as u32)
    }
}
