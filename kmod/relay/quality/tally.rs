// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0

//! What is counted about packets that are not just the next one.

use super::{Place, Received, Word};

/// Counters of one direction. Ordinary packets do not touch them.
#[derive(Debug, Default)]
pub struct Tally<W> {
    passed_over: W,
    reordered: W,
    duplicates: W,
    jumps: W,
    restarts: W,
    ssrc_changes: W,
}

impl<W: Word> Tally<W> {
    /// Counts a packet.
    #[inline(always)]
    pub fn note(&self, packet: Received) {
        if packet != Received::NEXT {
            self.note_uncommon(packet);
        }
    }

    #[cold]
    #[inline(never)]
    fn note_uncommon(&self, packet: Received) {
        if packet.ssrc_changed {
            self.ssrc_changes.add(1);
        }
        match packet.place {
            Place::First | Place::Next => {}
            Place::Ahead(missing) => self.passed_over.add(missing.into()),
            Place::Reordered => self.reordered.add(1),
            Place::Duplicate => self.duplicates.add(1),
            Place::Jump => self.jumps.add(1),
            Place::Restart => self.restarts.add(1),
        }
    }

    /// What was counted so far.
    pub fn read(&self) -> Counts {
        Counts {
            passed_over: self.passed_over.load(),
            reordered: self.reordered.load(),
            duplicates: self.duplicates.load(),
            jumps: self.jumps.load(),
            restarts: self.restarts.load(),
            ssrc_changes: self.ssrc_changes.load(),
        }
    }
}

/// Values of a [`Tally`], over all runs of a direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Sequence numbers passed over when a packet ahead of the next one arrived.
    pub passed_over: u64,
    /// Packets that arrived behind a later one ([`Place::Reordered`]).
    pub reordered: u64,
    /// Packets that had arrived before ([`Place::Duplicate`]).
    pub duplicates: u64,
    /// Packets far from the others, not counted as received ([`Place::Jump`]).
    pub jumps: u64,
    /// Times that a source started anew ([`Place::Restart`]).
    pub restarts: u64,
    /// Times that another SSRC appeared after the first.
    pub ssrc_changes: u64,
}

impl Counts {
    /// Packets of which no copy arrived.
    #[must_use]
    pub fn never_arrived(&self) -> u64 {
        self.passed_over.saturating_sub(self.reordered)
    }
}
