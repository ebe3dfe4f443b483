// SPDX-License-Identifier: MIT OR Apache-2.0

//! Recognises retransmitted requests, so that each is carried out once and answered alike.
//!
//! A client that misses an answer sends the same bytes again from the same socket, up to five
//! times in five seconds. The cookie alone is no key: process ids and sequence numbers repeat
//! after a restart of the SIP server and between hosts.

use std::hash::Hash;
use std::time::{Duration, Instant};

use ahash::RandomState;
use hashlink::LinkedHashMap;
use hashlink::linked_hash_map::Entry;

/// How long an answer is kept.
pub const LIFE: Duration = Duration::from_secs(40);

/// What is known of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// Nothing: it is to be carried out, and [`ReplyCache::finish`] called with its answer.
    New,
    /// It is being carried out; its answer will go out once.
    InFlight,
    /// It was answered with these bytes.
    Answered(Vec<u8>),
}

/// Answers by request. `K` identifies a request: who sent it and all its bytes.
#[derive(Debug)]
pub struct ReplyCache<K> {
    capacity: usize,
    /// The ones begun or answered longest ago come first.
    entries: LinkedHashMap<K, State, RandomState>,
    /// How many of them are answered.
    answered: usize,
}

/// How far a request has come.
#[derive(Debug)]
struct State {
    since: Instant,
    answer: Option<Vec<u8>>,
}

impl<K: Eq + Hash> ReplyCache<K> {
    /// A cache of at most `capacity` answers, one at least; requests in flight come on top of these.
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            entries: LinkedHashMap::default(),
            answered: 0,
        }
    }

    /// Looks a request up and marks it as being carried out if it is new.
    pub fn begin(&mut self, key: K, now: Instant) -> Known {
        self.expire(now);
        match self.entries.entry(key) {
            Entry::Occupied(known) => match &known.get().answer {
                Some(answer) => Known::Answered(answer.clone()),
                None => Known::InFlight,
            },
            Entry::Vacant(new) => {
                new.insert(State {
                    since: now,
                    answer: None,
                });
                Known::New
            }
        }
    }

    /// Keeps the answer to a request. The oldest answer makes room when the cache is full.
    pub fn finish(&mut self, key: K, answer: Vec<u8>, now: Instant) {
        while self.answered >= self.capacity.max(1) {
            match self.entries.pop_front() {
                Some((_, state)) if state.answer.is_some() => self.answered -= 1,
                // Who waits for an answer is not forgotten.
                Some((key, state)) => {
                    let state = State {
                        since: now,
                        ..state
                    };
                    self.entries.insert(key, state);
                }
                None => break,
            }
        }
        let state = State {
            since: now,
            answer: Some(answer),
        };
        let before = self.entries.insert(key, state);
        if before.is_none_or(|state| state.answer.is_none()) {
            self.answered += 1;
        }
    }

    /// The answers that are kept, oldest first, and since when.
    pub fn answers(&self) -> impl Iterator<Item = (&K, &[u8], Instant)> {
        self.entries
            .iter()
            .filter_map(|(key, state)| Some((key, state.answer.as_deref()?, state.since)))
    }

    fn expire(&mut self, now: Instant) {
        let is_old = |since: Instant| now.saturating_duration_since(since) >= LIFE;
        while let Some((_, state)) = self
            .entries
            .front()
            .filter(|(_, state)| is_old(state.since))
        {
            self.answered -= usize::from(state.answer.is_some());
            self.entries.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &[u8] = b"1_0 S OK";

    fn answered() -> Known {
        Known::Answered(ANSWER.to_vec())
    }

    #[test]
    fn a_retransmission_is_answered_alike_and_carried_out_once() {
        let now = Instant::now();
        let mut cache = ReplyCache::new(8);
        assert_eq!(cache.begin("a", now), Known::New);
        assert_eq!(cache.begin("a", now), Known::InFlight);
        cache.finish("a", ANSWER.to_vec(), now);
        for _ in 0..4 {
            assert_eq!(cache.begin("a", now), answered());
        }
        assert_eq!(cache.begin("b", now), Known::New);
    }

    #[test]
    fn an_answer_is_kept_for_at_least_35_seconds_and_then_forgotten() {
        let now = Instant::now();
        let mut cache = ReplyCache::new(8);
        cache.begin("a", now);
        cache.finish("a", ANSWER.to_vec(), now);
        assert_eq!(cache.begin("a", now + Duration::from_secs(35)), answered());
        assert_eq!(cache.begin("a", now + LIFE), Known::New);
    }

    #[test]
    fn a_full_cache_forgets_its_oldest_answer_only() {
        let now = Instant::now();
        let mut cache = ReplyCache::new(2);
        for key in ["a", "b", "c"] {
            cache.begin(key, now);
            cache.finish(key, ANSWER.to_vec(), now);
        }
        assert_eq!(cache.begin("b", now), answered());
        assert_eq!(cache.begin("c", now), answered());
        assert_eq!(cache.begin("a", now), Known::New);
    }

    #[test]
    fn a_full_cache_forgets_nobody_who_waits() {
        let now = Instant::now();
        let mut cache = ReplyCache::new(1);
        cache.begin("a", now);
        for key in ["b", "c"] {
            cache.begin(key, now);
            cache.finish(key, ANSWER.to_vec(), now);
        }
        assert_eq!(cache.begin("a", now), Known::InFlight);
        cache.finish("a", ANSWER.to_vec(), now);
        let kept: Vec<_> = cache.answers().map(|(key, ..)| *key).collect();
        assert_eq!(kept, ["a"]);
    }

    #[test]
    fn an_answer_that_is_given_anew_is_kept_once() {
        let now = Instant::now();
        let mut cache = ReplyCache::new(2);
        for answer in [b"1", b"2"] {
            cache.finish("a", answer.to_vec(), now);
        }
        cache.finish("b", b"3".to_vec(), now);
        let kept: Vec<_> = cache.answers().map(|(_, answer, _)| answer).collect();
        assert_eq!(kept, [b"2", b"3"]);
    }

    #[test]
    fn nothing_is_left_behind_when_all_has_expired() {
        let now = Instant::now();
        let mut cache = ReplyCache::new(100);
        for key in 0..50 {
            cache.begin(key, now);
            cache.finish(key, ANSWER.to_vec(), now);
        }
        cache.begin(99, now + LIFE);
        assert_eq!((cache.entries.len(), cache.answered), (1, 0));
    }
}
