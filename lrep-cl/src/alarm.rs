// SPDX-License-Identifier: MIT OR Apache-2.0

//! Keeps loud messages from flooding the log.

use std::collections::HashMap;
use std::num::NonZero;
use std::time::{Duration, Instant};

/// Shortest time between two messages of one kind.
pub const INTERVAL: Duration = Duration::from_secs(10);

/// How many messages of a kind were not logged since the last one; `None` for none.
pub type Withheld = Option<u64>;

/// When each kind of message was last logged, and how many were withheld since.
#[derive(Debug, Default)]
pub struct Alarms {
    kinds: HashMap<&'static str, (Instant, u64)>,
}

impl Alarms {
    /// Whether a message of this kind is due, and then how many were withheld since the last.
    pub fn due(&mut self, kind: &'static str, now: Instant) -> Option<Withheld> {
        match self.kinds.get_mut(kind) {
            Some((last, withheld)) if now.saturating_duration_since(*last) < INTERVAL => {
                *withheld += 1;
                None
            }
            Some((last, withheld)) => {
                *last = now;
                Some(NonZero::new(std::mem::take(withheld)).map(NonZero::get))
            }
            None => {
                self.kinds.insert(kind, (now, 0));
                Some(None)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_message_of_a_kind_per_interval_tells_how_many_were_withheld() {
        let now = Instant::now();
        let mut alarms = Alarms::default();
        assert_eq!(alarms.due("a", now), Some(None));
        assert_eq!(alarms.due("a", now), None);
        assert_eq!(alarms.due("b", now), Some(None));
        assert_eq!(alarms.due("a", now + INTERVAL / 2), None);
        assert_eq!(alarms.due("a", now + INTERVAL), Some(Some(2)));
        assert_eq!(alarms.due("a", now + INTERVAL * 2), Some(None));
    }
}
