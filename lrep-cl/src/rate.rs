// SPDX-License-Identifier: MIT OR Apache-2.0

//! How often something may happen: token buckets, as the generic cell rate algorithm keeps them
//! (ITU-T I.371, annex A), in one number each.

use std::net::IpAddr;
use std::num::NonZero;
use std::time::{Duration, Instant};

use ahash::HashMap;

/// What may be saved up: the tokens of this long.
const BURST: Duration = Duration::from_secs(1);

/// Sources that are told apart at the same time.
const SOURCES: usize = 4096;

/// Holds as many tokens as a second brings.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    /// Until when the tokens taken so far reach.
    spent_until: Instant,
}

impl Bucket {
    /// A full one.
    pub fn new(now: Instant) -> Self {
        Self { spent_until: now }
    }

    /// Takes a token, of which there come `rate` per second; whether there was one.
    pub fn take(&mut self, rate: NonZero<u32>, now: Instant) -> bool {
        let spent_until = self.spent_until.max(now);
        if spent_until + BURST / rate.get() > now + BURST {
            return false;
        }
        self.spent_until = spent_until + BURST / rate.get();
        true
    }

    fn is_full(&self, now: Instant) -> bool {
        self.spent_until <= now
    }
}

/// A bucket for each source.
#[derive(Debug, Default)]
pub struct Sources {
    buckets: HashMap<IpAddr, Bucket>,
}

impl Sources {
    /// Takes a token of this source; whether there was one. Nobody has one when too many sources
    /// have spent theirs.
    pub fn take(&mut self, source: IpAddr, rate: NonZero<u32>, now: Instant) -> bool {
        if self.buckets.len() >= SOURCES && !self.buckets.contains_key(&source) {
            self.buckets.retain(|_, bucket| !bucket.is_full(now));
            if self.buckets.len() >= SOURCES {
                return false;
            }
        }
        let bucket = self.buckets.entry(source).or_insert(Bucket::new(now));
        bucket.take(rate, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: NonZero<u32> = NonZero::new(100).expect("not zero");

    fn taken(take: impl FnMut() -> bool, times: usize) -> usize {
        std::iter::repeat_with(take)
            .take(times)
            .filter(|taken| *taken)
            .count()
    }

    #[test]
    fn a_second_of_tokens_can_be_saved_and_no_more() {
        let now = Instant::now();
        let mut bucket = Bucket::new(now);
        assert_eq!(taken(|| bucket.take(RATE, now), 1000), 100);
        let later = now + Duration::from_millis(50);
        assert_eq!(taken(|| bucket.take(RATE, later), 1000), 5);
        let much_later = now + Duration::from_secs(60);
        assert_eq!(taken(|| bucket.take(RATE, much_later), 1000), 100);
    }

    #[test]
    fn a_source_spends_only_its_own_tokens() {
        let now = Instant::now();
        let (one, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let mut sources = Sources::default();
        assert_eq!(taken(|| sources.take(one, RATE, now), 1000), 100);
        assert_eq!(taken(|| sources.take(other, RATE, now), 1000), 100);
    }

    #[test]
    fn sources_are_forgotten_when_their_tokens_are_back_and_never_too_many() {
        let now = Instant::now();
        let source = |number: u32| IpAddr::from(number.to_be_bytes());
        let mut sources = Sources::default();
        for number in 0..10_000 {
            let known = (number as usize) < SOURCES;
            assert_eq!(sources.take(source(number), RATE, now), known, "{number}");
        }
        assert_eq!(sources.buckets.len(), SOURCES);
        assert!(sources.take(source(20_000), RATE, now + Duration::from_millis(10)));
        assert_eq!(sources.buckets.len(), 1);
    }
}
