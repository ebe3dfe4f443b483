// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which of several TSLs a new call goes to.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::hash::Hasher;

use siphasher::sip::SipHasher24;

/// How new calls are distributed. The numbers are those of the key `lrep_alg`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// 0: the first in the order of the configuration, as long as it can be used.
    #[default]
    Linear,
    /// 1: one after the other.
    RoundRobin,
    /// 2: one after the other, each as often as its weight says.
    Weighted,
    /// 3: the one with the fewest sessions for its weight.
    LeastSessions,
    /// 4: the one that relays the fewest packets per second for its weight.
    LeastPacketRate,
    /// 5: by a hash of the Call-ID, so that several controllers choose alike.
    CallId,
}

impl Algorithm {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 6] = [
        Self::Linear,
        Self::RoundRobin,
        Self::Weighted,
        Self::LeastSessions,
        Self::LeastPacketRate,
        Self::CallId,
    ];

    /// The algorithm of this number.
    pub fn of(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

/// A TSL that a call may go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// Its place in the configuration.
    pub index: usize,
    /// Its URL: alike in all controllers that are to choose alike.
    pub name: &'a str,
    /// How many calls it is to get in proportion to others; zero for none.
    pub weight: u32,
    /// Sessions that live there.
    pub sessions: u64,
    /// Packets it relays per second.
    pub packet_rate: u64,
}

/// Chooses, and remembers whose turn it is.
#[derive(Debug, Default)]
pub struct Balancer {
    algorithm: Algorithm,
    /// Round robin: the place after the one chosen last.
    turn: usize,
    /// Weighted: what each is owed, by place. The one that is owed most is next and pays the sum of
    /// all weights, which spreads its turns evenly (smooth weighted round robin).
    owed: HashMap<usize, i64>,
}

impl Balancer {
    /// One that chooses by this algorithm.
    pub fn new(algorithm: Algorithm) -> Self {
        Self {
            algorithm,
            ..Self::default()
        }
    }

    /// One of the candidates, which are in the order of the configuration, for a call; `None` when
    /// there are none with a weight.
    pub fn choose(&mut self, candidates: &[Candidate<'_>], call_id: &[u8]) -> Option<usize> {
        let candidates: Vec<_> = candidates.iter().filter(|one| one.weight > 0).collect();
        let first = candidates.first()?;
        if candidates.len() == 1 {
            return Some(first.index);
        }
        // What is loaded by `load` for a weight of one, compared without dividing.
        let lightest = |load: fn(&Candidate<'_>) -> u64| {
            candidates
                .iter()
                .min_by(|a, b| {
                    let of = |one: &Candidate<'_>, other: &Candidate<'_>| {
                        u128::from(load(one)) * u128::from(other.weight)
                    };
                    of(a, b).cmp(&of(b, a))
                })
                .map(|one| one.index)
        };
        match self.algorithm {
            Algorithm::Linear => Some(first.index),
            Algorithm::RoundRobin => {
                let next = candidates.iter().find(|one| one.index >= self.turn);
                let chosen = next.unwrap_or(first).index;
                self.turn = chosen + 1;
                Some(chosen)
            }
            Algorithm::Weighted => {
                let sum: i64 = candidates.iter().map(|one| i64::from(one.weight)).sum();
                // Whoever cannot be used now saves nothing up.
                self.owed
                    .retain(|index, _| candidates.iter().any(|one| one.index == *index));
                for one in &candidates {
                    *self.owed.entry(one.index).or_insert(0) += i64::from(one.weight);
                }
                let (chosen, owed) = self
                    .owed
                    .iter_mut()
                    .max_by_key(|(index, owed)| (**owed, Reverse(**index)))?;
                *owed -= sum;
                Some(*chosen)
            }
            Algorithm::LeastSessions => lightest(|one| one.sessions),
            Algorithm::LeastPacketRate => lightest(|one| one.packet_rate),
            Algorithm::CallId => candidates
                .iter()
                .max_by(|a, b| score(a, call_id).total_cmp(&score(b, call_id)))
                .map(|one| one.index),
        }
    }
}

/// Weighted rendezvous hashing: each TSL draws a number for the call, the highest wins. A TSL that
/// goes or comes moves only its own calls. SipHash gives the same on every machine.
fn score(one: &Candidate<'_>, call_id: &[u8]) -> f64 {
    let mut hasher = SipHasher24::new();
    hasher.write(one.name.as_bytes());
    hasher.write_u8(0xff);
    hasher.write(call_id);
    // 53 bits and a half, so that it lies between 0 and 1 and is neither.
    let drawn = ((hasher.finish() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    -f64::from(one.weight) / drawn.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 3] = ["kernel", "grpcs:a:1", "grpcs:b:1"];

    fn candidates(weights: [u32; 3]) -> Vec<Candidate<'static>> {
        (0..3)
            .map(|index| Candidate {
                index,
                name: NAMES[index],
                weight: weights[index],
                sessions: 0,
                packet_rate: 0,
            })
            .collect()
    }

    /// How many of 10,000 calls each candidate gets.
    fn shares(balancer: &mut Balancer, candidates: &[Candidate<'_>]) -> [i32; 3] {
        let mut shares = [0; 3];
        for call in 0..10_000 {
            let call_id = format!("{call}-8f3a@198.51.100.7");
            let chosen = balancer.choose(candidates, call_id.as_bytes());
            shares[chosen.expect("a candidate")] += 1;
        }
        shares
    }

    #[test]
    fn nobody_is_chosen_of_nobody_and_a_weight_of_zero_gets_no_calls() {
        for algorithm in Algorithm::ALL {
            let mut balancer = Balancer::new(algorithm);
            assert_eq!(balancer.choose(&[], b"a"), None);
            assert_eq!(balancer.choose(&candidates([0, 0, 0]), b"a"), None);
            let shares = shares(&mut balancer, &candidates([0, 1, 0]));
            assert_eq!(shares, [0, 10_000, 0], "{algorithm:?}");
        }
    }

    #[test]
    fn linear_goes_to_the_first_there_is() {
        let mut balancer = Balancer::new(Algorithm::Linear);
        assert_eq!(
            shares(&mut balancer, &candidates([1, 1, 1])),
            [10_000, 0, 0]
        );
        assert_eq!(balancer.choose(&candidates([1, 1, 1])[1..], b"a"), Some(1));
    }

    #[test]
    fn round_robin_takes_turns_and_skips_who_is_missing() {
        let mut balancer = Balancer::new(Algorithm::RoundRobin);
        let all = candidates([1, 5, 1]);
        let turns: Vec<_> = (0..5)
            .filter_map(|_| balancer.choose(&all, b"same"))
            .collect();
        assert_eq!(turns, [0, 1, 2, 0, 1]);
        let without_the_last = &all[..2];
        let turns: Vec<_> = (0..3)
            .filter_map(|_| balancer.choose(without_the_last, b"same"))
            .collect();
        assert_eq!(turns, [0, 1, 0]);
    }

    #[test]
    fn weights_are_kept_exactly_and_turns_are_spread() {
        let mut balancer = Balancer::new(Algorithm::Weighted);
        let all = candidates([5, 1, 1]);
        let turns: Vec<_> = (0..7).filter_map(|_| balancer.choose(&all, b"a")).collect();
        assert_eq!(turns, [0, 0, 1, 0, 2, 0, 0]);
        let mut balancer = Balancer::new(Algorithm::Weighted);
        assert_eq!(
            shares(&mut balancer, &candidates([5, 3, 2])),
            [5_000, 3_000, 2_000]
        );
    }

    #[test]
    fn the_least_loaded_for_its_weight_is_chosen() {
        let mut all = candidates([1, 2, 1]);
        (all[0].sessions, all[1].sessions, all[2].sessions) = (10, 19, 11);
        (all[0].packet_rate, all[1].packet_rate) = (500, 1_001);
        all[2].packet_rate = 499;
        let choose = |algorithm| Balancer::new(algorithm).choose(&all, b"a");
        assert_eq!(choose(Algorithm::LeastSessions), Some(1));
        assert_eq!(choose(Algorithm::LeastPacketRate), Some(2));
        // Sessions that are counted as they are placed fill up evenly.
        let mut all = candidates([1, 2, 1]);
        let mut balancer = Balancer::new(Algorithm::LeastSessions);
        for _ in 0..10_000 {
            let chosen = balancer.choose(&all, b"a").expect("a candidate");
            all[chosen].sessions += 1;
        }
        assert_eq!(
            [all[0].sessions, all[1].sessions, all[2].sessions],
            [2_500, 5_000, 2_500]
        );
    }

    #[test]
    fn the_hash_keeps_weights_within_two_percent() {
        for weights in [[1, 1, 1], [5, 3, 2], [1, 8, 1]] {
            let sum: u32 = weights.iter().sum();
            let shares = shares(&mut Balancer::new(Algorithm::CallId), &candidates(weights));
            for (share, weight) in shares.into_iter().zip(weights) {
                let promised = i32::try_from(10_000 * weight / sum).expect("small");
                assert!((share - promised).abs() <= 200, "{weights:?}: {shares:?}");
            }
        }
    }

    #[test]
    fn controllers_choose_alike_and_only_the_calls_of_a_missing_one_move() {
        let all = candidates([1, 1, 1]);
        let reordered: Vec<_> = all.iter().rev().copied().collect();
        let mut moved = 0;
        for call in 0..1_000 {
            let call_id = format!("{call}@host");
            let choose = |among: &[Candidate<'_>]| {
                let mut balancer = Balancer::new(Algorithm::CallId);
                balancer.choose(among, call_id.as_bytes())
            };
            let chosen = choose(&all);
            assert_eq!(choose(&reordered), chosen);
            if chosen == Some(0) {
                moved += 1;
            } else {
                assert_eq!(choose(&all[1..]), chosen);
            }
        }
        assert!(moved > 200, "{moved}");
    }

    #[test]
    fn the_hash_is_the_same_everywhere() {
        // As an independent implementation of SipHash-2-4 has them.
        let all = candidates([1, 1, 1]);
        let chosen: Vec<_> = ["a", "b", "c", "d", "e", "f"]
            .iter()
            .filter_map(|call| Balancer::new(Algorithm::CallId).choose(&all, call.as_bytes()))
            .collect();
        assert_eq!(chosen, [1, 2, 0, 0, 2, 1]);
    }
}
