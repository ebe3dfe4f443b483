// SPDX-License-Identifier: MIT OR Apache-2.0

//! Rates, of two looks at the same counters.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use serde::Serialize;

/// The counters of a session at one moment, both directions together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Where it is.
    pub tsl: String,
    /// Its number there.
    pub id: u64,
    /// Its call.
    pub call_id: String,
    /// Milliseconds since it was made.
    pub age_ms: u64,
    /// Packets relayed.
    pub packets: u64,
    /// Bytes relayed.
    pub bytes: u64,
    /// Packets that never arrived at the relay.
    pub lost: u64,
    /// Packets that arrived and were not relayed.
    pub dropped: u64,
    /// The worse direction's jitter in microseconds, where it is known.
    pub jitter_us: Option<u64>,
}

/// What was counted when it was looked at last, and when that was.
#[derive(Debug, Default)]
pub struct Seen {
    when: Option<Instant>,
    /// By TSL and number.
    samples: HashMap<(String, u64), Sample>,
}

/// What goes on in the sessions of a TSL, per second.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TslRate {
    /// Its URL.
    pub tsl: String,
    /// Sessions there.
    pub sessions: u64,
    /// Packets relayed.
    pub packets: u64,
    /// Bits relayed, of UDP payload.
    pub bits: u64,
    /// Packets that never arrived.
    pub lost: u64,
    /// Packets that were not relayed.
    pub dropped: u64,
    /// The jitter of the worst direction there in microseconds, where any is known.
    pub jitter_us: Option<u64>,
}

/// What goes on in a session, per second.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CallRate {
    /// Its call.
    pub call_id: String,
    /// Where it is.
    pub tsl: String,
    /// Its number there.
    pub id: u64,
    /// Packets relayed.
    pub packets: u64,
    /// Bits relayed, of UDP payload.
    pub bits: u64,
    /// Packets that never arrived.
    pub lost: u64,
    /// Packets that were not relayed.
    pub dropped: u64,
    /// The worse direction's jitter in microseconds, where it is known.
    pub jitter_us: Option<u64>,
}

/// The rates since these counters were seen last, or since a session was made: of the TSLs by name,
/// and of the sessions, the busiest first.
pub fn rates(samples: &[Sample], seen: &mut Seen, now: Instant) -> (Vec<TslRate>, Vec<CallRate>) {
    let since_ms = seen.when.map(|when| {
        let elapsed = now.saturating_duration_since(when).as_millis();
        u64::try_from(elapsed).unwrap_or(u64::MAX)
    });
    let mut tsls: BTreeMap<&str, TslRate> = BTreeMap::new();
    let mut calls = Vec::with_capacity(samples.len());
    for sample in samples {
        let before = seen.samples.get(&(sample.tsl.clone(), sample.id));
        let elapsed_ms = match (before, since_ms) {
            (Some(_), Some(since_ms)) => since_ms,
            _ => sample.age_ms,
        };
        let per_second = |of: fn(&Sample) -> u64| {
            let new = of(sample).saturating_sub(before.map_or(0, of));
            let rate = u128::from(new) * 1000 / u128::from(elapsed_ms.max(1));
            u64::try_from(rate).unwrap_or(u64::MAX)
        };
        let call = CallRate {
            call_id: sample.call_id.clone(),
            tsl: sample.tsl.clone(),
            id: sample.id,
            packets: per_second(|sample| sample.packets),
            bits: per_second(|sample| sample.bytes).saturating_mul(8),
            lost: per_second(|sample| sample.lost),
            dropped: per_second(|sample| sample.dropped),
            jitter_us: sample.jitter_us,
        };
        let tsl = tsls.entry(&sample.tsl).or_insert_with(|| TslRate {
            tsl: sample.tsl.clone(),
            ..TslRate::default()
        });
        tsl.sessions += 1;
        for (sum, rate) in [
            (&mut tsl.packets, call.packets),
            (&mut tsl.bits, call.bits),
            (&mut tsl.lost, call.lost),
            (&mut tsl.dropped, call.dropped),
        ] {
            *sum = sum.saturating_add(rate);
        }
        tsl.jitter_us = tsl.jitter_us.max(call.jitter_us);
        calls.push(call);
    }
    calls.sort_by(|a, b| b.packets.cmp(&a.packets).then(a.id.cmp(&b.id)));
    let tsls = tsls.into_values().collect();
    *seen = Seen {
        when: Some(now),
        samples: samples
            .iter()
            .map(|sample| ((sample.tsl.clone(), sample.id), sample.clone()))
            .collect(),
    };
    (tsls, calls)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn sample(id: u64, age_ms: u64, packets: u64) -> Sample {
        Sample {
            tsl: if id < 10 { "local" } else { "grpc:a:1" }.to_owned(),
            id,
            call_id: format!("call-{id}"),
            age_ms,
            packets,
            bytes: packets * 172,
            lost: packets / 10,
            dropped: 0,
            jitter_us: None,
        }
    }

    #[test]
    fn rates_are_means_at_first_and_then_those_since_the_last_look() {
        let now = Instant::now();
        let mut seen = Seen::default();
        let (tsls, calls) = rates(&[sample(1, 2000, 200), sample(2, 500, 100)], &mut seen, now);
        let packets: Vec<_> = calls.iter().map(|call| (call.id, call.packets)).collect();
        assert_eq!(packets, [(2, 200), (1, 100)], "the busiest first");
        assert_eq!((tsls.len(), tsls[0].packets, tsls[0].sessions), (1, 300, 2));
        assert_eq!(calls[1].bits, 100 * 172 * 8);

        let later = now + Duration::from_secs(2);
        // One goes on, one has ended, one is new.
        let samples = [sample(1, 4000, 300), sample(11, 1000, 50)];
        let (tsls, calls) = rates(&samples, &mut seen, later);
        let packets: Vec<_> = calls.iter().map(|call| (call.id, call.packets)).collect();
        assert_eq!(packets, [(1, 50), (11, 50)]);
        assert_eq!(calls[0].lost, 5);
        let names: Vec<_> = tsls.iter().map(|tsl| tsl.tsl.as_str()).collect();
        assert_eq!(names, ["grpc:a:1", "local"]);
    }

    #[test]
    fn a_session_that_was_made_anew_under_its_number_is_no_negative_rate() {
        let now = Instant::now();
        let mut seen = Seen::default();
        rates(&[sample(1, 1000, 500)], &mut seen, now);
        let later = now + Duration::from_secs(1);
        let (_, calls) = rates(&[sample(1, 10, 3)], &mut seen, later);
        assert_eq!(calls[0].packets, 0);
        let (tsls, calls) = rates(&[], &mut seen, later);
        assert!(tsls.is_empty() && calls.is_empty());
    }

    #[test]
    fn a_tsl_has_the_loss_and_the_drops_of_all_its_calls_and_the_worst_jitter() {
        let now = Instant::now();
        let mut seen = Seen::default();
        let at = |id, seconds: u64, jitter_us| Sample {
            lost: 3 * seconds,
            dropped: 5 * id * seconds,
            jitter_us,
            ..sample(id, 1000 * seconds, 50 * seconds)
        };
        // The last is elsewhere; of two nothing is known of jitter.
        let look = |seconds| {
            [
                at(1, seconds, Some(1_500)),
                at(2, seconds, Some(20_250)),
                at(3, seconds, None),
                at(11, seconds, None),
            ]
        };
        let (first, _) = rates(&look(10), &mut seen, now);
        let (tsls, calls) = rates(&look(14), &mut seen, now + Duration::from_secs(4));
        assert_eq!(tsls, first, "each second was like the others");
        let told: Vec<_> = tsls
            .iter()
            .map(|tsl| (tsl.tsl.as_str(), tsl.lost, tsl.dropped, tsl.jitter_us))
            .collect();
        assert_eq!(
            told,
            [("grpc:a:1", 3, 55, None), ("local", 9, 30, Some(20_250))]
        );
        let told: Vec<_> = calls
            .iter()
            .map(|call| (call.id, call.lost, call.dropped, call.jitter_us))
            .collect();
        assert_eq!(
            told,
            [
                (1, 3, 5, Some(1_500)),
                (2, 3, 10, Some(20_250)),
                (3, 3, 15, None),
                (11, 3, 55, None)
            ]
        );
    }
}
