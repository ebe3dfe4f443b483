// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0

//! RFC 3550 as it is written: the algorithms of appendix A in their own words, jitter as section
//! 6.4.1 defines it, in real numbers. It keeps everything that ever arrived.

use super::Lost;
use relay::{quality::Counts, rtp::Header};
use std::collections::HashSet;

const RTP_SEQ_MOD: u32 = 1 << 16;

/// `struct source` of appendix A.1, without probation.
struct Source {
    max_seq: u16,
    cycles: u32,
    base_seq: u32,
    bad_seq: u32,
    received: u32,
    /// Extended sequence numbers.
    arrived: HashSet<i64>,
}

enum Update {
    Valid,
    Invalid,
    Resync,
}

impl Source {
    /// `init_seq` of A.1.
    fn new(seq: u16) -> Self {
        Self {
            max_seq: seq,
            cycles: 0,
            base_seq: seq.into(),
            bad_seq: RTP_SEQ_MOD + 1,
            received: 0,
            arrived: HashSet::new(),
        }
    }

    /// `update_seq` of A.1. What a resync forgets is to be read before it.
    fn update(&mut self, seq: u16) -> Update {
        const MAX_DROPOUT: u32 = 3000;
        const MAX_MISORDER: u32 = 100;
        let udelta = u32::from(seq.wrapping_sub(self.max_seq));
        if udelta < MAX_DROPOUT {
            // in order, with permissible gap
            if seq < self.max_seq {
                // Sequence number wrapped - count another 64K cycle.
                self.cycles += RTP_SEQ_MOD;
            }
            self.max_seq = seq;
        } else if udelta <= RTP_SEQ_MOD - MAX_MISORDER {
            // the sequence number made a very large jump
            if u32::from(seq) == self.bad_seq {
                return Update::Resync;
            }
            self.bad_seq = (u32::from(seq) + 1) & (RTP_SEQ_MOD - 1);
            return Update::Invalid;
        }
        self.received += 1;
        Update::Valid
    }

    fn extended_max(&self) -> i64 {
        i64::from(self.cycles + u32::from(self.max_seq))
    }

    /// `expected - s->received` of A.3.
    fn lost(&self) -> i64 {
        self.extended_max() - i64::from(self.base_seq) + 1 - i64::from(self.received)
    }
}

/// One direction: its sources one after another.
#[derive(Default)]
pub struct Receiver {
    ssrc: Option<u32>,
    source: Option<Source>,
    lost_before: i64,
    duplicates: u64,
    reordered: u64,
    jumps: u64,
    restarts: u64,
    ssrc_changes: u64,
    last: Option<(u64, u32)>,
    jitter: f64,
}

/// Everything that is counted, loss as in A.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Counted {
    pub lost: i64,
    pub duplicates: u64,
    pub reordered: u64,
    pub jumps: u64,
    pub restarts: u64,
    pub ssrc_changes: u64,
}

impl From<Counts> for Counted {
    fn from(counts: Counts) -> Self {
        Self {
            lost: counts.lost(),
            duplicates: counts.duplicates,
            reordered: counts.reordered,
            jumps: counts.jumps,
            restarts: counts.restarts,
            ssrc_changes: counts.ssrc_changes,
        }
    }
}

impl Receiver {
    /// A packet arrives, at a time in nanoseconds, with timestamps of `hz`.
    pub fn receive(&mut self, packet: &Header, hz: u32, arrival: u64) {
        if self.ssrc != Some(packet.ssrc) {
            self.ssrc_changes += u64::from(self.ssrc.is_some());
            self.ssrc = Some(packet.ssrc);
            self.start_anew(packet.sequence);
            self.last = None;
            self.jitter = 0.0;
        }
        let source = self.source.as_mut().unwrap();
        let highest = source.extended_max();
        let is_first = source.received == 0;
        match source.update(packet.sequence) {
            Update::Invalid => {
                self.jumps += 1;
                return;
            }
            Update::Resync => {
                self.restarts += 1;
                self.start_anew(packet.sequence);
                let source = self.source.as_mut().unwrap();
                source.update(packet.sequence);
                source.arrived.insert(source.extended_max());
            }
            Update::Valid if is_first || source.extended_max() > highest => {
                source.arrived.insert(source.extended_max());
            }
            Update::Valid => self.tell_apart(packet.sequence),
        }
        self.measure(packet.timestamp, hz, arrival);
    }

    fn start_anew(&mut self, seq: u16) {
        self.lost_before = self.lost();
        self.source = Some(Source::new(seq));
    }

    /// Which of the packets that A.1 calls "duplicate or reordered" is which. Farther behind than
    /// is remembered, all count as reordered.
    fn tell_apart(&mut self, seq: u16) {
        let source = self.source.as_mut().unwrap();
        let behind = source.max_seq.wrapping_sub(seq);
        let extended = source.extended_max() - i64::from(behind);
        let has_arrived = !source.arrived.insert(extended);
        if has_arrived && behind <= 26 {
            self.duplicates += 1;
        } else {
            self.reordered += 1;
        }
    }

    /// D(i,j) = (Rj - Ri) - (Sj - Si); J(i) = J(i-1) + (|D(i-1,i)| - J(i-1))/16.
    fn measure(&mut self, timestamp: u32, hz: u32, arrival: u64) {
        if let Some((last_arrival, last_timestamp)) = self.last {
            let elapsed = arrival.wrapping_sub(last_arrival) as i64 as f64;
            let arrived = elapsed * f64::from(hz) / 1e9;
            let sent = f64::from(timestamp.wrapping_sub(last_timestamp) as i32);
            self.jitter += ((arrived - sent).abs() - self.jitter) / 16.0;
        }
        self.last = Some((arrival, timestamp));
    }

    fn lost(&self) -> i64 {
        self.lost_before + self.source.as_ref().map_or(0, Source::lost)
    }

    pub fn counted(&self) -> Counted {
        Counted {
            lost: self.lost(),
            duplicates: self.duplicates,
            reordered: self.reordered,
            jumps: self.jumps,
            restarts: self.restarts,
            ssrc_changes: self.ssrc_changes,
        }
    }

    pub fn ssrc(&self) -> Option<u32> {
        self.ssrc
    }

    pub fn highest(&self) -> Option<u16> {
        self.source.as_ref().map(|source| source.max_seq)
    }

    pub fn jitter(&self) -> f64 {
        self.jitter
    }
}
