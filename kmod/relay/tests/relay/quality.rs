// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0

//! What the relay measures is what RFC 3550 defines.

mod concurrent;
mod counts;
mod jitter;
mod reference;

use self::reference::Receiver;
use relay::{
    quality::{Clock, Counts, Received, Reception, Tally},
    rtp::Header,
};
use std::sync::atomic::AtomicU64;

/// Packets lost as RFC 3550 A.3 counts.
trait Lost {
    /// Expected less received, duplicates and late ones being received. Negative when there are
    /// more duplicates than losses.
    fn lost(&self) -> i64;
}

impl Lost for Counts {
    fn lost(&self) -> i64 {
        self.passed_over as i64 - self.reordered as i64 - self.duplicates as i64
    }
}

/// What is tested beside what it is tested against.
#[derive(Default)]
struct Both {
    reception: Reception<AtomicU64>,
    tally: Tally<AtomicU64>,
    reference: Receiver,
}

impl Both {
    fn receive(&mut self, packet: Header, hz: u32, arrival: u64) -> Received {
        let clock = Clock::new(hz).expect("a rate in use");
        let received = self.reception.receive(&packet, clock, arrival);
        self.tally.note(received);
        self.reference.receive(&packet, hz, arrival);
        received
    }

    /// A packet of which only the sequence number matters.
    fn sequence(&mut self, sequence: u16) -> Received {
        self.receive(packet(1, sequence, 0), 8_000, 0)
    }

    fn assert_equal(&self) {
        assert_eq!(
            reference::Counted::from(self.tally.read()),
            self.reference.counted()
        );
        let standing = self.reception.read();
        assert_eq!(standing.map(|s| s.ssrc), self.reference.ssrc());
        assert_eq!(standing.map(|s| s.highest), self.reference.highest());
    }
}

fn packet(ssrc: u32, sequence: u16, timestamp: u32) -> Header {
    Header {
        payload_type: 0,
        sequence,
        timestamp,
        ssrc,
    }
}
