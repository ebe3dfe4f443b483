// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0

//! Jitter stays within one timestamp unit of its definition, however long the stream is.

use super::{packet, Both};
use proptest::{collection::vec, prelude::*};
use relay::{
    quality::{Clock, Reception},
    rtp::{parse, Header},
};
use std::sync::atomic::AtomicU64;

const RATES: [u32; 12] = [
    8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 90_000, 1_000, 1_000_000,
];

impl Both {
    fn jitter_error(&self) -> f64 {
        let jitter = self.reception.read().expect("packets arrived").jitter;
        (f64::from(jitter) - self.reference.jitter()).abs()
    }
}

/// Sends packets so many units apart, each delayed by so many nanoseconds, and answers the
/// greatest error on the way.
fn greatest_error(hz: u32, start: (u64, u32), sent: impl Iterator<Item = (u32, u64)>) -> f64 {
    let mut both = Both::default();
    let (clock_start, mut timestamp) = start;
    let mut units = 0_u64;
    let mut greatest = 0_f64;
    for (number, (step, delay)) in sent.enumerate() {
        timestamp = timestamp.wrapping_add(step);
        units += u64::from(step);
        let sent_at = (u128::from(units) * 1_000_000_000 / u128::from(hz)) as u64;
        let arrival = clock_start + sent_at + delay;
        both.receive(packet(1, number as u16, timestamp), hz, arrival);
        greatest = greatest.max(both.jitter_error());
    }
    greatest
}

proptest! {
    #[test]
    fn random_delays_are_averaged_within_a_unit(
        hz in prop::sample::select(&RATES[..]),
        clock_start in prop_oneof![0..u64::MAX / 4, Just(0)],
        timestamp in prop_oneof![any::<u32>(), Just(u32::MAX - 500)],
        sent in vec((0..3_000_u32, 0..200_000_000_u64), 1..500),
    ) {
        let error = greatest_error(hz, (clock_start, timestamp), sent.into_iter());
        prop_assert!(error < 1.0, "{error}");
    }

    #[test]
    fn the_slightest_delays_are(
        hz in prop::sample::select(&RATES[..]),
        clock_start in 0..u64::MAX / 4,
        sent in vec((Just(160_u32), 0..200_000_u64), 1..500),
    ) {
        let error = greatest_error(hz, (clock_start, 0), sent.into_iter());
        prop_assert!(error < 1.0, "{error}");
    }

    #[test]
    fn every_rate_is_measured(hz in 1..10_000_000_u32, sent in vec(0..20_000_000_u64, 1..50)) {
        // Packets 20 ms apart, but at least one unit.
        let step = (hz / 50).max(1);
        let sent = sent.into_iter().map(|delay| (step, delay));
        let error = greatest_error(hz, (77, 99), sent);
        prop_assert!(error < 1.0, "{error}");
    }
}

/// Delays that put every arrival just before and just after the points at which a unit, or a
/// quarter of one, begins: the worst for whoever rounds.
#[test]
fn arrivals_at_the_edges_of_a_unit_do_not_add_up() {
    for hz in RATES {
        let unit = 1_000_000_000 / u64::from(hz);
        for edge in [unit, unit / 2, unit / 4] {
            for around in [1, 2, unit / 16, unit / 8] {
                let sent = (0..4_000).map(|n| (160, edge + if n % 2 == 0 { around } else { 0 }));
                let before = (0..4_000).map(|n| (160, edge - if n % 2 == 0 { around } else { 0 }));
                let error =
                    greatest_error(hz, (0, 0), sent).max(greatest_error(hz, (0, 0), before));
                // What `Jitter` promises: a quarter, an eighth, and half for rounding.
                assert!(
                    error <= 0.875,
                    "{hz} Hz, {around} ns around {edge}: {error}"
                );
            }
        }
    }
}

/// Twelve days of a call, past two turns of the timestamps at 8,000 Hz and of many at 90,000.
#[test]
fn long_streams_do_not_drift() {
    for hz in [8_000, 44_100, 90_000] {
        let step = hz; // One packet a second.
        let sent = (0..1_100_000_u64).map(|n| (step, n.wrapping_mul(0x9e37_79b9) % 30_000_000));
        let error = greatest_error(hz, (1 << 62, 12_345), sent);
        assert!(error <= 0.875, "{hz} Hz: {error}");
    }
}

#[test]
fn what_is_no_jitter_is_not_averaged() {
    let mut both = Both::default();
    let mut arrival = 0;
    let mut send = |both: &mut Both, sequence, timestamp| {
        arrival += 20_000_000;
        both.receive(packet(1, sequence, timestamp), 8_000, arrival);
    };
    for n in 0..100 {
        send(&mut both, n, u32::from(n) * 160);
    }
    // The source sets its timestamps anew.
    for n in 100..200 {
        send(&mut both, n, 0x7000_0000 + u32::from(n) * 160);
    }
    assert_eq!(both.reception.read().unwrap().jitter, 0);
    // Silence of a minute, in which they stood still, is jitter.
    send(&mut both, 200, 0x7000_0000 + 200 * 160 - 60 * 8_000);
    assert_eq!(both.reception.read().unwrap().jitter, 60 * 8_000 / 16);
}

#[test]
fn jitter_beyond_what_is_kept_stays_there() {
    let reception = Reception::<AtomicU64>::default();
    let clock = Clock::new(8_000).unwrap();
    // Every second packet comes nearly nine minutes too late.
    for n in 0..1_000_u16 {
        let arrival = if n % 2 == 0 { 0 } else { 520_000_000_000 };
        reception.receive(&packet(1, n, 0), clock, arrival);
    }
    assert_eq!(reception.read().unwrap().jitter, 1 << 18);
}

#[test]
fn a_new_source_starts_without_jitter() {
    let mut both = Both::default();
    for n in 0..50 {
        both.receive(packet(1, n, 0), 8_000, u64::from(n) * 20_000_000);
    }
    assert!(both.reception.read().unwrap().jitter > 100);
    both.receive(packet(2, 7, 0xdead_beef), 8_000, 1_000_000_000);
    assert_eq!(both.reception.read().unwrap().jitter, 0);
    both.receive(packet(2, 8, 0xdead_beef + 160), 8_000, 1_020_000_000);
    assert_eq!(both.reception.read().unwrap().jitter, 0);
}

#[test]
fn another_rate_starts_without_jitter() {
    let reception = Reception::<AtomicU64>::default();
    for (n, hz) in [(0, 8_000), (1, 8_000), (2, 90_000), (3, 7)] {
        let clock = Clock::new(hz).unwrap();
        reception.receive(&packet(1, n, 0), clock, u64::from(n) * 20_000_000);
        let standing = reception.read().unwrap();
        assert_eq!(standing.jitter, if n == 1 { 10 } else { 0 });
        assert_eq!(standing.hz, (hz != 7).then_some(hz));
    }
}

/// RFC 3551 tables 4 and 5.
#[test]
fn payload_types_have_the_clocks_that_were_assigned() {
    for payload_type in 0..128 {
        let hz = match payload_type {
            6 => 16_000,
            10 | 11 => 44_100,
            16 => 11_025,
            17 => 22_050,
            14 | 25 | 26 | 28 | 31 | 32 | 33 | 34 => 90_000,
            _ => 8_000,
        };
        let clock = Clock::of_payload_type(payload_type);
        assert_eq!(Some(clock), Clock::new(hz), "{payload_type}");
    }
}

#[test]
fn only_rates_that_can_be_measured_make_clocks() {
    assert_eq!(Clock::new(0), None);
    assert!(Clock::new(1).is_some());
    assert!(Clock::new(Clock::MAX_HZ).is_some());
    assert_eq!(Clock::new(Clock::MAX_HZ + 1), None);
    assert_eq!(Clock::new(u32::MAX), None);
}

/// RFC 3550 section 5.1, bit by bit.
#[test]
fn the_fields_of_a_header_are_where_the_rfc_has_them() {
    let header = [
        0x80,
        0x80 | 101,
        0x12,
        0x34,
        0xde,
        0xad,
        0xbe,
        0xef,
        0xca,
        0xfe,
        0xf0,
        0x0d,
    ];
    assert_eq!(
        parse(&header),
        Header {
            payload_type: 101,
            sequence: 0x1234,
            timestamp: 0xdead_beef,
            ssrc: 0xcafe_f00d,
        }
    );
}
