// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0

//! Loss, duplicates, reordering, restarts and changes of the source are counted exactly.

use super::Lost;
use super::{packet, Both};
use proptest::{collection::vec, prelude::*};
use relay::quality::{
    sequence::{MAX_DROPOUT, MAX_MISORDER, WINDOW},
    Place, Received,
};

/// What the network and the sender do to a packet.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Arrives,
    Late(u8),
    Lost,
    Doubled(u8),
}

fn fate(farthest: u8) -> impl Strategy<Value = Fate> {
    prop_oneof![
        12 => Just(Fate::Arrives),
        2 => Just(Fate::Lost),
        2 => (1..=farthest).prop_map(Fate::Late),
        1 => (0..=farthest).prop_map(Fate::Doubled),
    ]
}

/// What becomes of the numbering from a packet on.
#[derive(Clone, Copy, Debug)]
enum Numbering {
    Continues,
    Jumps(u16),
    OtherSource(u32),
}

fn numbering() -> impl Strategy<Value = Numbering> {
    prop_oneof![
        60 => Just(Numbering::Continues),
        1 => any::<u16>().prop_map(Numbering::Jumps),
        1 => (0..3_u32).prop_map(Numbering::OtherSource),
    ]
}

/// SSRC and sequence number in the order of arrival.
fn arrivals(first: u16, sent: &[(Fate, Numbering)]) -> Vec<(u32, u16)> {
    let (mut ssrc, mut sequence) = (1, first);
    let mut arrivals = Vec::new();
    for (slot, (fate, numbering)) in sent.iter().enumerate() {
        sequence = sequence.wrapping_add(1);
        match numbering {
            Numbering::Continues => {}
            Numbering::Jumps(by) => sequence = sequence.wrapping_add(*by),
            Numbering::OtherSource(other) => ssrc = *other,
        }
        let mut arrive = |late: u8| arrivals.push((slot + usize::from(late), ssrc, sequence));
        match *fate {
            Fate::Arrives => arrive(0),
            Fate::Late(slots) => arrive(slots),
            Fate::Lost => {}
            Fate::Doubled(slots) => {
                arrive(0);
                arrive(slots);
            }
        }
    }
    arrivals.sort_by_key(|(slot, ..)| *slot);
    arrivals.into_iter().map(|(_, s, n)| (s, n)).collect()
}

fn assert_equal_all_along(arrivals: &[(u32, u16)]) {
    let mut both = Both::default();
    for (ssrc, sequence) in arrivals {
        both.receive(packet(*ssrc, *sequence, 0), 8_000, 0);
        both.assert_equal();
    }
}

proptest! {
    #[test]
    fn impaired_streams_are_counted_as_the_rfc_does(
        first: u16,
        sent in vec((fate(24), numbering()), 1..400),
    ) {
        assert_equal_all_along(&arrivals(first, &sent));
    }

    #[test]
    fn however_late_packets_are(first: u16, sent in vec((fate(200), numbering()), 1..400)) {
        assert_equal_all_along(&arrivals(first, &sent));
    }

    #[test]
    fn even_arbitrary_numbers_are(
        numbers in vec(prop_oneof![any::<u16>(), 0..200_u16, 65_400..=u16::MAX, 2_900..3_200_u16], 1..200),
    ) {
        let arrivals: Vec<_> = numbers.into_iter().map(|number| (7, number)).collect();
        assert_equal_all_along(&arrivals);
    }

    /// A loss-free stream that was cut by bursts, as wireless links make them.
    #[test]
    fn bursts_are_counted_to_the_packet(bursts in vec((1..400_u16, 0..2_998_u16), 1..80)) {
        let mut both = Both::default();
        let mut sequence = 65_000_u16;
        let mut lost = 0;
        for (arriving, missing) in bursts {
            for _ in 0..arriving {
                both.sequence(sequence);
                sequence = sequence.wrapping_add(1);
            }
            // The last burst is not noticed before another packet comes.
            both.assert_equal();
            assert_eq!(both.tally.read().lost(), lost);
            sequence = sequence.wrapping_add(missing);
            lost += i64::from(missing);
        }
    }
}

/// Runs whose highest number is the last, after an ordinary stretch and after others.
fn histories() -> Vec<Vec<u16>> {
    let mut histories = vec![vec![0], vec![65_535], vec![65_534, 0], vec![50, 40, 45, 51]];
    histories.push((64_960..65_000).collect());
    histories.push((0..60).map(|n| n * 2).collect());
    // A jump that awaits its confirmation.
    histories.push(vec![10, 11, 30_000]);
    histories.push(vec![10, 11, 30_000, 12, 40_000]);
    histories
}

#[test]
fn every_step_from_every_state_is_that_of_the_rfc() {
    for history in histories() {
        for number in 0..=u16::MAX {
            let mut both = Both::default();
            for earlier in &history {
                both.sequence(*earlier);
            }
            both.sequence(number);
            both.assert_equal();
        }
    }
}

fn place(history: &[u16], number: u16) -> Place {
    let mut both = Both::default();
    for earlier in history {
        both.sequence(*earlier);
    }
    both.sequence(number).place
}

#[test]
fn the_limits_are_where_they_are_said_to_be() {
    let history: Vec<u16> = (0..1_000).collect();
    assert_eq!(place(&[], 5), Place::First);
    assert_eq!(place(&history, 1_000), Place::Next);
    assert_eq!(place(&history, 1_001), Place::Ahead(1));
    let farthest = 999 + MAX_DROPOUT - 1;
    assert_eq!(place(&history, farthest), Place::Ahead(MAX_DROPOUT - 2));
    assert_eq!(place(&history, farthest + 1), Place::Jump);
    assert_eq!(place(&history, 999), Place::Duplicate);
    assert_eq!(place(&history, 999 - WINDOW), Place::Duplicate);
    // It has arrived, but that is forgotten.
    assert_eq!(place(&history, 999 - WINDOW - 1), Place::Reordered);
    assert_eq!(place(&history, 999 - MAX_MISORDER + 1), Place::Reordered);
    assert_eq!(place(&history, 999 - MAX_MISORDER), Place::Jump);
}

#[test]
fn what_was_passed_over_may_arrive_once() {
    for behind in 1..=WINDOW {
        let highest = 1_000;
        let late = highest - behind;
        let mut both = Both::default();
        for number in 900..late {
            both.sequence(number);
        }
        both.sequence(highest);
        assert_eq!(both.sequence(late).place, Place::Reordered, "{behind}");
        assert_eq!(both.sequence(late).place, Place::Duplicate, "{behind}");
        both.assert_equal();
        let counts = both.tally.read();
        assert_eq!(counts.never_arrived(), u64::from(behind) - 1);
        assert_eq!(counts.lost(), i64::from(behind) - 2);
    }
}

#[test]
fn an_ordinary_stream_touches_no_counter() {
    let mut both = Both::default();
    both.sequence(65_000);
    // Three times around, or once over the edge.
    for step in 1..if cfg!(miri) { 1_000 } else { 200_000_u32 } {
        let sequence = (65_000 + step) as u16;
        assert_eq!(both.sequence(sequence), Received::NEXT);
    }
    assert_eq!(both.tally.read(), Default::default());
}

#[test]
fn a_source_that_starts_anew_needs_two_packets_in_sequence() {
    let mut both = Both::default();
    for (number, place) in [
        (10, Place::First),
        (11, Place::Next),
        (20_000, Place::Jump),
        (12, Place::Next),
        (20_002, Place::Jump),
        (20_003, Place::Restart),
        (20_004, Place::Next),
        // The old numbering is foreign now.
        (13, Place::Jump),
        (14, Place::Restart),
    ] {
        assert_eq!(both.sequence(number).place, place, "{number}");
        both.assert_equal();
    }
    assert_eq!(both.tally.read().lost(), 0);
}

#[test]
fn a_source_of_ssrc_0_is_one_like_any_other() {
    let mut both = Both::default();
    for sequence in [1, 2, 4] {
        both.receive(packet(0, sequence, 0), 8_000, 0);
        both.assert_equal();
    }
    assert_eq!(both.tally.read().lost(), 1);
}

#[test]
fn sources_that_alternate_lose_nothing() {
    let mut both = Both::default();
    for number in 0..1_000_u16 {
        for ssrc in [5, 6] {
            both.receive(packet(ssrc, number.wrapping_mul(ssrc as u16), 0), 8_000, 0);
            both.assert_equal();
        }
    }
    let counts = both.tally.read();
    assert_eq!((counts.ssrc_changes, counts.lost()), (1_999, 0));
}
