// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0

//! Whatever two CPUs do at once, the counts are those of the packets one after another.

use super::{
    packet,
    reference::{Counted, Receiver},
};
use loom::{
    sync::{
        atomic::{
            AtomicU64,
            Ordering::{AcqRel, Acquire, Relaxed},
        },
        Arc,
    },
    thread,
};
use relay::{
    quality::{Clock, Received, Reception, Tally, Word},
    rtp::Header,
};
use std::collections::HashSet;

/// A word of which every interleaving is tried, and every value that the memory model lets a CPU
/// see.
#[derive(Debug, Default)]
struct Modelled(AtomicU64);

impl Word for Modelled {
    fn load(&self) -> u64 {
        self.0.load(Acquire)
    }

    fn replace(&self, old: u64, new: u64) -> bool {
        self.0.compare_exchange(old, new, AcqRel, Relaxed).is_ok()
    }

    fn add(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }
}

const HZ: u32 = 8_000;

/// SSRC and sequence number of a packet.
type Packet = (u32, u16);

/// Packets are sent 20 ms apart and each is as long on its way as the others of its source: there
/// is no jitter, unless sources are mixed up.
fn steady((ssrc, sequence): Packet) -> (Header, u64) {
    let timestamp = u32::from(sequence) * 160 + (ssrc << 16);
    let arrival = u64::from(sequence) * 20_000_000;
    (packet(ssrc, sequence, timestamp), arrival)
}

/// Each packet is longer on its way than the one sent before it, so the jitter tells which were
/// averaged, and in what order.
fn unsteady((ssrc, sequence): Packet) -> (Header, u64) {
    let number = u64::from(sequence);
    let (header, arrival) = steady((ssrc, sequence));
    (header, arrival + number * number * 1_000_000)
}

/// Every order in which packets of two CPUs can be handled one after another.
fn orders(a: &[Packet], b: &[Packet]) -> Vec<Vec<Packet>> {
    let (Some((a_first, a_rest)), Some((b_first, b_rest))) = (a.split_first(), b.split_first())
    else {
        return vec![[a, b].concat()];
    };
    let then = |first: &Packet, rest: Vec<Vec<Packet>>| -> Vec<Vec<Packet>> {
        let lead = |order: Vec<Packet>| [&[*first], &order[..]].concat();
        rest.into_iter().map(lead).collect()
    };
    [
        then(a_first, orders(a_rest, b)),
        then(b_first, orders(a, b_rest)),
    ]
    .concat()
}

/// Everything but jitter, and jitter.
type Outcome = (Counted, Option<u32>, Option<u16>);

/// What the RFC makes of packets one after another.
fn expected(facts: Facts, packets: &[Packet]) -> (Outcome, f64) {
    let mut reference = Receiver::default();
    for packet in packets {
        let (header, arrival) = facts(*packet);
        reference.receive(&header, HZ, arrival);
    }
    let counted = reference.counted();
    let outcome = (counted, reference.ssrc(), reference.highest());
    (outcome, reference.jitter())
}

type Facts = fn(Packet) -> (Header, u64);

fn handle<W: Word>(facts: Facts, reception: &Reception<W>, packets: &[Packet]) -> Vec<Received> {
    let clock = Clock::new(HZ).unwrap();
    let one = |packet: &Packet| {
        let (header, arrival) = facts(*packet);
        reception.receive(&header, clock, arrival)
    };
    packets.iter().map(one).collect()
}

/// Handles `a` and `b` on two CPUs after `before`, in every way that can be; or, where that would
/// take too long, in every way in which a CPU is interrupted at most `preemptions` times.
fn assert_exact(
    facts: Facts,
    before: &[Packet],
    (a, b): (&[Packet], &[Packet]),
    preemptions: Option<usize>,
) {
    let (before, a, b) = (before.to_vec(), a.to_vec(), b.to_vec());
    let after_before = |order: Vec<Packet>| expected(facts, &[&before[..], &order[..]].concat());
    let (outcomes, jitters): (HashSet<_>, Vec<_>) =
        orders(&a, &b).into_iter().map(after_before).unzip();
    let mut model = loom::model::Builder::new();
    model.preemption_bound = preemptions;
    model.check(move || {
        let reception = Arc::new(Reception::<Modelled>::default());
        let first = handle(facts, &reception, &before);
        let other = {
            let (reception, b) = (reception.clone(), b.clone());
            thread::spawn(move || handle(facts, &reception, &b))
        };
        let one = handle(facts, &reception, &a);
        let other = other.join().unwrap();

        // Adding to counters commutes, so it need not be interleaved.
        let tally = Tally::<std::sync::atomic::AtomicU64>::default();
        let all = first.iter().chain(&one).chain(&other);
        all.for_each(|received| tally.note(*received));
        let standing = reception.read().unwrap();
        let outcome = (
            tally.read().into(),
            Some(standing.ssrc),
            Some(standing.highest),
        );
        let packets = (&before, &a, &b);
        assert!(
            outcomes.contains(&outcome),
            "{packets:?} made {outcome:?}, not one of {outcomes:?}"
        );
        let jitter = f64::from(standing.jitter);
        assert!(
            jitters.iter().any(|allowed| (allowed - jitter).abs() < 1.0),
            "{packets:?} made {jitter}, not one of {jitters:?}"
        );
    });
}

/// All pairs of one packet on either CPU.
fn assert_all_pairs_exact(before: &[Packet], packets: &[Packet]) {
    for a in packets {
        for b in packets {
            assert_exact(steady, before, (&[*a], &[*b]), None);
        }
    }
}

const A: u32 = 1;
const B: u32 = 2;
const C: u32 = 3;

#[test]
fn two_packets_of_one_source_at_once_are_counted_exactly() {
    let before = [(A, 10), (A, 11), (A, 14)];
    // The next, ahead, far ahead, late, late again, duplicate, a jump and its confirmation.
    let numbers = [15, 16, 50, 12, 13, 14, 11, 9, 5_000, 5_001, 5_002];
    assert_all_pairs_exact(&before, &numbers.map(|number| (A, number)));
}

#[test]
fn a_restart_while_others_arrive_is_counted_exactly() {
    let before = [(A, 10), (A, 5_000)];
    let numbers = [11, 12, 2_500, 3_010, 5_000, 5_001, 5_002, 7_900, 9_000];
    assert_all_pairs_exact(&before, &numbers.map(|number| (A, number)));
}

#[test]
fn two_sources_at_once_are_counted_exactly() {
    assert_all_pairs_exact(&[(A, 10)], &[(A, 11), (A, 13), (B, 500), (B, 502), (C, 11)]);
    assert_all_pairs_exact(&[], &[(A, 11), (A, 13), (B, 500)]);
}

#[test]
fn several_packets_on_either_cpu_are_counted_exactly() {
    for (a, b) in [
        ([11, 13], [12, 14]),
        ([11, 11], [12, 10]),
        ([5_000, 11], [5_001, 5_002]),
    ] {
        let (a, b) = (a.map(|number| (A, number)), b.map(|number| (A, number)));
        assert_exact(steady, &[(A, 10)], (&a, &b), Some(2));
    }
}

#[test]
fn jitter_misses_no_packet() {
    assert_exact(unsteady, &[(A, 10)], (&[(A, 11)], &[(A, 12)]), None);
    assert_exact(unsteady, &[(A, 10)], (&[(A, 12)], &[(A, 12)]), None);
    let (a, b) = ([(A, 11), (A, 13)], [(A, 12), (A, 14)]);
    assert_exact(unsteady, &[(A, 10)], (&a, &b), Some(2));
}

#[test]
fn sources_that_change_back_and_forth_are_counted_exactly() {
    for (a, b) in [
        ([(A, 11), (A, 12)], [(B, 500), (B, 502)]),
        ([(B, 500), (A, 12)], [(A, 11), (B, 501)]),
        ([(B, 500), (C, 7)], [(B, 501), (A, 11)]),
    ] {
        assert_exact(steady, &[(A, 10)], (&a, &b), Some(1));
        assert_exact(steady, &[(A, 10)], (&a, &b[..1]), Some(2));
    }
}
