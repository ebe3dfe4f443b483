// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whatever RTP headers say: what is counted adds up.

use std::sync::atomic::AtomicU64;

use arbitrary::Arbitrary;
use relay::quality::{Clock, Place, Reception, Tally};
use relay::rtp;

use crate::structured;

#[derive(Arbitrary, Debug)]
struct Packet {
    /// Few sources, so that runs become long.
    source: u8,
    payload_type: u8,
    /// How far ahead of the one before.
    ahead: i8,
    /// Or anywhere.
    jump: Option<u16>,
    timestamp: u32,
    after: u32,
}

/// Any bytes.
pub fn check(bytes: &[u8]) {
    let Some(packets) = structured::<Vec<Packet>>(bytes) else {
        return;
    };
    let reception: Reception<AtomicU64> = Reception::default();
    let tally: Tally<AtomicU64> = Tally::default();
    let (mut sequence, mut now) = (0_u16, 0_u64);
    let mut places = [0_u64; 4];
    let mut changes = 0;
    for packet in packets {
        sequence = packet
            .jump
            .unwrap_or(sequence.wrapping_add_signed(packet.ahead.into()));
        now += u64::from(packet.after);
        let header = rtp::Header {
            payload_type: packet.payload_type & 0x7f,
            sequence,
            timestamp: packet.timestamp,
            ssrc: u32::from(packet.source % 3),
        };
        let clock = Clock::of_payload_type(header.payload_type);
        let received = reception.receive(&header, clock, now);
        tally.note(received);
        changes += u64::from(received.ssrc_changed);
        let number = match received.place {
            Place::Reordered => 0,
            Place::Duplicate => 1,
            Place::Jump => 2,
            Place::Restart => 3,
            Place::First | Place::Next | Place::Ahead(_) => continue,
        };
        places[number] += 1;
    }
    let counts = tally.read();
    let found = [
        counts.reordered,
        counts.duplicates,
        counts.jumps,
        counts.restarts,
    ];
    assert_eq!((found, counts.ssrc_changes), (places, changes));
    assert!(counts.never_arrived() <= counts.passed_over);
    if let Some(standing) = reception.read() {
        assert!(
            standing.ssrc < 3 && standing.jitter <= 1 << 18,
            "{standing:?}"
        );
    }
}
