// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0

//! How well the packets of one direction arrive: loss, duplicates, reordering, jitter (RFC 3550
//! A.1, A.3, A.8), while several CPUs handle them at once and nobody waits.
//!
//! # What is counted
//!
//! Every packet but the next one expected adds to one counter of a [`Tally`]; loss follows from
//! them ([`Counts::never_arrived`]). It needs no packet count: expected less received (A.3) grows by what a
//! packet passes over, and shrinks by one for each packet that does not raise the highest
//! sequence number. That holds at any distance up to [`sequence::MAX_MISORDER`], where A.1 begins to take
//! packets for those of a source that started anew; only which of them are duplicates is not
//! known beyond [`sequence::WINDOW`].
//!
//! There is no probation of new sources (A.1): it protects a receiver from strangers' packets,
//! which admission keeps from a relay, and it would not count the first packet relayed.
//!
//! One SSRC is measured at a time. A direction that interleaves several (RFC 9143) counts their
//! changes and otherwise little.
//!
//! # Why the counts are exact
//!
//! A packet takes effect in one step: the compare-exchange of the [sequence](sequence::Sequence)
//! word, which holds all that places a packet in its run. A packet whose exchange fails was
//! overtaken and is placed anew. So the counts are those of the packets one after another, in the
//! order of their exchanges, which is the order of arrival as far as there is one. A packet that
//! leaves the word as it is (a duplicate) takes effect where it loaded it.
//!
//! When the SSRC changes, the packet that exchanges the [source](source::Source) word begins a
//! run, and the first packet of the run to exchange the sequence word replaces it whole. The word
//! tells its run, so a packet that finds another run's looks at the source word again:
//!
//! * It is unchanged, so what was found is of an older run. It is replaced.
//! * It has changed, so the packet's own run may be over. The packet begins anew, as one that
//!   arrives only now. If it had begun the run, that has been counted, and it leaves: a run of one
//!   packet has nothing else to count.
//!
//! A packet of the former source may exchange the sequence word until a packet of the new source
//! does; it counts as having arrived before the change. Nothing waits for another CPU: who
//! begins anew does so because somebody else made progress.
//!
//! The [jitter](jitter::Jitter) word follows the same rules. On two CPUs at once, packets may reach
//! it in another order than the sequence word, as they may have arrived.

mod clock;
mod jitter;
pub mod sequence;
mod source;
mod tally;
mod word;

pub use self::{
    clock::Clock,
    sequence::Place,
    tally::{Counts, Tally},
    word::Word,
};

use self::{
    clock::ClockId,
    jitter::{Jitter, Tag},
    sequence::Sequence,
    source::Source,
};
use super::rtp;

/// What is known of the RTP packets of one direction.
#[derive(Debug, Default)]
pub struct Reception<W> {
    source: W,
    sequence: W,
    jitter: W,
}

/// What a packet was, to be [counted](Tally::note).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// It began a run, and was not the first packet of all.
    pub ssrc_changed: bool,
    /// Where it stands in its run.
    pub place: Place,
}

impl Received {
    /// What most packets are.
    pub const NEXT: Self = Self {
        ssrc_changed: false,
        place: Place::Next,
    };
}

/// How things stand at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whose packets arrive.
    pub ssrc: u32,
    /// The highest sequence number.
    pub highest: u16,
    /// Interarrival jitter in timestamp units (RFC 3550 section 6.4.1), at most 2^18.
    pub jitter: u32,
    /// The rate of the timestamps in Hz. `None` when it is an uncommon one that was signalled.
    pub hz: Option<u32>,
}

impl<W: Word> Reception<W> {
    /// Measures a packet that arrived at `arrival`, in nanoseconds of a steady clock. Each wire
    /// packet is to be measured once.
    #[inline]
    pub fn receive(&self, packet: &rtp::Header, clock: Clock, arrival: u64) -> Received {
        if self.receive_next(packet, clock, arrival) {
            Received::NEXT
        } else {
            self.receive_other(packet, clock, arrival)
        }
    }

    /// Measures a packet if it is just the next one, and tells whether it was: the ordinary case of
    /// [`receive`](Self::receive).
    #[inline(always)]
    pub fn receive_next(&self, packet: &rtp::Header, clock: Clock, arrival: u64) -> bool {
        let source = Source(self.source.load());
        let is_next = source.is(packet.ssrc) && self.is_next(source, packet.sequence);
        if is_next {
            let transit = clock.transit(arrival, packet.timestamp);
            self.measure(source, clock.id(), transit);
        }
        is_next
    }

    /// Measures a packet that [`receive_next`](Self::receive_next) did not.
    #[inline(always)]
    pub fn receive_other(&self, packet: &rtp::Header, clock: Clock, arrival: u64) -> Received {
        let transit = clock.transit(arrival, packet.timestamp);
        // No reference is given on: the header need not be in memory for other packets.
        self.receive_uncommon(packet.ssrc, packet.sequence, clock.id(), transit)
    }

    /// Takes a packet for the next one of the run if it is that and no other CPU interferes.
    #[inline(always)]
    fn is_next(&self, source: Source, sequence: u16) -> bool {
        let old = Sequence(self.sequence.load());
        match old.next(source.run(), sequence) {
            Some(new) => self.sequence.replace(old.0, new.0),
            None => false,
        }
    }

    #[cold]
    #[inline(never)]
    fn receive_uncommon(&self, ssrc: u32, sequence: u16, clock: ClockId, transit: u32) -> Received {
        let mut ssrc_changed = false;
        let (source, place) = loop {
            let (source, begun) = self.join(ssrc);
            ssrc_changed |= begun == Begun::AfterAnother;
            match self.place(source, sequence) {
                Some(place) => break (source, place),
                None if begun != Begun::No => break (source, Place::First),
                None => {}
            }
        };
        // A.8 is for packets that A.1 takes for valid.
        if place != Place::Jump {
            self.measure(source, clock, transit);
        }
        Received {
            ssrc_changed,
            place,
        }
    }

    /// The run of an SSRC, begun if need be.
    fn join(&self, ssrc: u32) -> (Source, Begun) {
        loop {
            let source = Source(self.source.load());
            if source.is(ssrc) {
                return (source, Begun::No);
            }
            let begun = source.changed_to(ssrc);
            if self.source.replace(source.0, begun.0) {
                let how = if source.is_any() {
                    Begun::AfterAnother
                } else {
                    Begun::First
                };
                return (begun, how);
            }
        }
    }

    /// Places a packet in its run. `None` when the run is over.
    fn place(&self, source: Source, sequence: u16) -> Option<Place> {
        loop {
            let old = Sequence(self.sequence.load());
            let (new, place) = if old.is_of(source.run()) {
                old.receive(sequence)
            } else if self.is_still(source) {
                (Sequence::first(source.run(), sequence), Place::First)
            } else {
                return None;
            };
            if new == old || self.sequence.replace(old.0, new.0) {
                return Some(place);
            }
        }
    }

    /// Takes a packet into the jitter of its run, unless that is over.
    #[inline(always)]
    fn measure(&self, source: Source, clock: ClockId, transit: u32) {
        let tag = Tag::new(source.run(), clock);
        let old = Jitter(self.jitter.load());
        match old.receive(tag, transit) {
            Some(new) if self.jitter.replace(old.0, new.0) => {}
            _ => self.measure_uncommon(source, tag, transit),
        }
    }

    #[cold]
    #[inline(never)]
    fn measure_uncommon(&self, source: Source, tag: Tag, transit: u32) {
        loop {
            let old = Jitter(self.jitter.load());
            let new = match old.receive(tag, transit) {
                Some(new) => new,
                None if self.is_still(source) => Jitter::first(tag, transit),
                None => return,
            };
            if self.jitter.replace(old.0, new.0) {
                return;
            }
        }
    }

    fn is_still(&self, source: Source) -> bool {
        self.source.load() == source.0
    }

    /// How things stand. `None` before the first packet, and while the SSRC changes.
    pub fn read(&self) -> Option<Standing> {
        let source = Source(self.source.load());
        let sequence = Sequence(self.sequence.load());
        let jitter = Jitter(self.jitter.load());
        let clock = jitter.clock();
        let tag = Tag::new(source.run(), clock);
        let is_of_run = sequence.is_of(source.run()) && jitter.is_of(tag);
        Some(Standing {
            ssrc: source.ssrc()?,
            highest: is_of_run.then(|| sequence.highest())?,
            jitter: jitter.units(),
            hz: clock.hz(),
        })
    }
}

/// Whether a packet began its run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Begun {
    No,
    First,
    AfterAnother,
}
