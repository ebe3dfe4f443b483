// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0

//! A rate lets through what it says in the long run, and one burst at once.

use proptest::prelude::*;
use relay::rate::Rate;

const SECOND: u64 = 1_000_000_000;

/// A bucket with tokens in it, counted with all digits: `burst` nanoseconds' worth of units at
/// most, growing by `rate` a second.
struct Bucket {
    rate: i128,
    burst: i128,
    /// Tokens times a second's nanoseconds; less than none when more was taken than fits in.
    tokens: i128,
    at: u64,
}

impl Bucket {
    fn new(rate: u32, burst_ms: u32, now: u64) -> Self {
        let rate = i128::from(rate);
        let burst = (rate * i128::from(burst_ms) * 1_000_000).max(i128::from(SECOND));
        Self {
            rate,
            burst,
            tokens: burst,
            at: now,
        }
    }

    /// What is missing for so many units at a moment: nothing, or less than that, when they pass.
    fn missing(&mut self, units: u64, now: u64) -> i128 {
        self.tokens = (self.tokens + self.rate * i128::from(now - self.at)).min(self.burst);
        self.at = now;
        cost(units).min(self.burst) - self.tokens
    }

    fn take(&mut self, units: u64) {
        self.tokens -= cost(units);
    }
}

fn cost(units: u64) -> i128 {
    i128::from(units) * i128::from(SECOND)
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
        let (mut full_at, mut now) = (SECOND, SECOND);
        let mut strict = Bucket::new(rate, burst_ms, now);
        // The time of what is taken is rounded down, by less than two nanoseconds each time.
        let mut rounded = 0;
        for (pause, units) in steps {
            now += pause;
            let missing = strict.missing(units, now);
            let next = limit.take(full_at, units, now);
            if let Some(next) = next {
                rounded += 2 * i128::from(rate);
                prop_assert!(missing < rounded, "let through with {missing} missing");
                full_at = next;
                strict.take(units);
            }
            prop_assert!(next.is_some() || missing > 0, "refused with {missing} missing");
        }
    }

    #[test]
    fn no_number_makes_it_fail(rate in any::<u32>(), burst in any::<u32>(), full_at in any::<u64>(), units in any::<u64>(), now in any::<u64>()) {
        if let Some(rate) = Rate::new(rate, burst) {
            let taken = rate.take(full_at, units, now);
            prop_assert!(taken.is_none_or(|next| next >= now));
        }
    }
}
