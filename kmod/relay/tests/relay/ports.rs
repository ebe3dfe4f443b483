// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0

//! Ranges of ports have none in common, and the ports of them all are the relay's.

use proptest::prelude::*;
use relay::ports::{Range, Ranges, Unfit, RANGES_MAX};

fn range(first: u16, last: u16) -> Range {
    Range { first, last }
}

#[test]
fn what_is_wrong_with_a_range_is_named() {
    let known = Ranges::EMPTY
        .with(range(20_000, 29_999))
        .expect("the first one");
    for (wrong, text) in [
        (range(0, 5), "0-5 has port 0, which nobody can use"),
        (
            range(40_000, 39_999),
            "the last port of 40000-39999 is below the first",
        ),
        (
            range(29_999, 40_000),
            "29999-40000 and 20000-29999 have ports in common",
        ),
        (
            range(1, u16::MAX),
            "1-65535 and 20000-29999 have ports in common",
        ),
        (
            range(25_000, 25_000),
            "25000-25000 and 20000-29999 have ports in common",
        ),
    ] {
        let unfit = known.with(wrong).expect_err(text);
        assert_eq!(unfit.to_string(), text);
        // With the longest name of an attribute it is a part of.
        assert!(format!("port-range: {unfit}").len() < 80);
    }
}

#[test]
fn there_are_no_more_than_eight() {
    let mut ranges = Ranges::EMPTY;
    for number in 1..=8 {
        ranges = ranges
            .with(range(number * 100, number * 100))
            .expect("room");
    }
    assert_eq!(ranges.iter().count(), RANGES_MAX);
    assert_eq!(ranges.with(range(900, 900)), Err(Unfit::TooMany));
    assert_eq!(Unfit::TooMany.to_string(), "8 at most");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::cases(2000)))]

    #[test]
    fn a_port_is_the_relays_when_it_is_in_a_range_that_was_taken(
        wanted in proptest::collection::vec((0..40u16, 0..40u16), 0..12),
    ) {
        let mut ranges = Ranges::EMPTY;
        let mut known = std::collections::BTreeSet::new();
        let mut taken = 0;
        for (first, last) in wanted {
            let ports = first..=last;
            let fits = first > 0 && !ports.is_empty() && taken < RANGES_MAX;
            let is_free = ports.clone().all(|port| !known.contains(&port));
            match ranges.with(range(first, last)) {
                Ok(more) => {
                    prop_assert!(fits && is_free);
                    ranges = more;
                    known.extend(ports);
                    taken += 1;
                }
                Err(_) => prop_assert!(!(fits && is_free)),
            }
        }
        prop_assert_eq!(ranges.iter().count(), taken);
        for port in 0..=50 {
            prop_assert_eq!(ranges.contains(port), known.contains(&port));
        }
    }
}
