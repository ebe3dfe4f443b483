// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0

//! A rate lets through what it says in the long run, and one burst at once.

use proptest::prelude::*;
use relay::rate::Rate;

const SECOND: u64 = 1_000_000_000;

/// A bucket with tokens in it, counted with all digits: `burst` nanoseconds' worth of units at
/// most, growing by `rate` a second.
struct Bucket {
    rate: u128,
    burst: u128,
    /// Tokens times a second's nanoseconds.
    tokens: u128,
    at: u64,
}

impl Bucket {
    fn new(rate: u32, burst_ms: u32) -> Self {
        let rate = u128::from(rate);
        let burst = (rate * u128::from(burst_ms) * 1_000_000).max(u128::from(SECOND));
        Self {
            rate,
            burst,
            tokens: burst,
            at: 0,
        }
    }

    fn take(&mut self, units: u64, now: u64) -> bool {
        self.tokens += self.rate * u128::from(now - self.at);
        self.tokens = self.tokens.min(self.burst);
        self.at = now;
        let cost = u128::from(units) * u128::from(SECOND);
        let enough = self.tokens >= cost;
        if enough {
            self.tokens -= cost;
        }
        enough
    }
}

/// How many of the units asked for one by one are let through.
fn passed(rate: &Rate, asked: impl Iterator<Item = u64>) -> u64 {
    let (mut full_at, mut passed) = (0, 0);
    for now in asked {
        if let Some(next) = rate.take(full_at, 1, now) {
            full_at = next;
            passed += 1;
        }
    }
    passed
}

#[test]
fn a_rate_of_nothing_is_none() {
    assert_eq!(Rate::new(0, 1000), None);
}

#[test]
fn a_steady_stream_at_the_rate_passes_whole_and_twice_the_rate_passes_half() {
    for rate in [1, 7, 50, 1_000, 33_333] {
        let limit = Rate::new(rate, 1000).unwrap();
        let (start, interval) = (5 * SECOND, SECOND / u64::from(rate));
        let count = u64::from(rate) * 20;
        // As exact as the clock: a nanosecond is the smallest interval.
        let steady = (0..count).map(|n| start + n * (interval + 1));
        assert_eq!(passed(&limit, steady), count, "{rate}");
        let twice = (0..2 * count).map(|n| start + n * interval / 2);
        let expected = count + u64::from(rate);
        let passed = passed(&limit, twice);
        assert!(
            passed.abs_diff(expected) <= 1,
            "{rate}: {passed} of {expected}"
        );
    }
}

#[test]
fn a_burst_is_what_it_was_said_to_be() {
    for (rate, burst_ms, at_once) in [(50, 1000, 50), (50, 20, 1), (50, 1, 1), (1000, 250, 250)] {
        let limit = Rate::new(rate, burst_ms).unwrap();
        let now = 77 * SECOND;
        assert_eq!(passed(&limit, (0..2_000).map(|_| now)), at_once);
        assert_eq!((limit.per_second(), limit.burst_ms()), (rate, burst_ms));
    }
}

#[test]
fn what_is_larger_than_a_burst_passes_when_the_bucket_is_full() {
    let limit = Rate::new(8_000, 10).unwrap();
    let full_at = limit.take(0, 1_000, SECOND).unwrap();
    assert_eq!(full_at, SECOND + SECOND / 8);
    assert_eq!(limit.take(full_at, 1, SECOND), None);
    assert!(limit.take(full_at, 1_000, full_at).is_some());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: crate::cases(2_000), ..Default::default() })]

    #[test]
    fn it_decides_as_a_bucket_of_tokens_does(
        rate in 1..100_000_u32,
        burst_ms in 1..5_000_u32,
        steps in prop::collection::vec((0..40_000_000_u64, 1..3_u64), 1..300),
    ) {
        let limit = Rate::new(rate, burst_ms).unwrap();
        // Rounding down the time of a unit lets through one part in a hundred million more.
        let mut strict = Bucket::new(rate, burst_ms);
        let (mut full_at, mut now) = (SECOND, SECOND);
        strict.at = now;
        let (mut passed, mut reference) = (0, 0);
        for (pause, units) in steps {
            now += pause;
            if let Some(next) = limit.take(full_at, units, now) {
                full_at = next;
                passed += units;
            }
            if strict.take(units, now) {
                reference += units;
            }
        }
        // One decision at the edge can go either way.
        prop_assert!(passed.abs_diff(reference) <= 2, "{passed} of {reference}");
    }

    #[test]
    fn no_number_makes_it_fail(rate in any::<u32>(), burst in any::<u32>(), full_at in any::<u64>(), units in any::<u64>(), now in any::<u64>()) {
        if let Some(rate) = Rate::new(rate, burst) {
            let taken = rate.take(full_at, units, now);
            prop_assert!(taken.is_none_or(|next| next >= now));
        }
    }
}
