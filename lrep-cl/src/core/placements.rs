// SPDX-License-Identifier: MIT OR Apache-2.0

//! Where calls are: a call stays with the TSL it was given to.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ahash::HashMap;

/// The TSL of each call, by Call-ID, until it was not asked for a while.
#[derive(Debug)]
pub struct Placements {
    life: Duration,
    places: HashMap<Arc<[u8]>, (usize, Instant)>,
    /// When each is forgotten, the next one first.
    ends: BTreeSet<(Instant, Arc<[u8]>)>,
}

impl Placements {
    /// None yet; each is kept for `life` after it was last touched, with room for `size` at first.
    pub fn new(life: Duration, size: usize) -> Self {
        Self {
            life,
            places: HashMap::with_capacity_and_hasher(size, Default::default()),
            ends: BTreeSet::new(),
        }
    }

    /// Each is kept for this long from now on, after it was touched.
    pub fn set_life(&mut self, life: Duration) {
        self.life = life;
    }

    /// Where the call is.
    pub fn get(&self, call_id: &[u8]) -> Option<usize> {
        self.places.get(call_id).map(|(tsl, _)| *tsl)
    }

    /// The call is at this TSL, and was asked for just now.
    pub fn touch(&mut self, call_id: &[u8], tsl: usize, now: Instant) {
        let key = match self.places.remove_entry(call_id) {
            Some((key, (_, end))) => {
                self.ends.remove(&(end, Arc::clone(&key)));
                key
            }
            None => call_id.into(),
        };
        let end = now + self.life;
        self.ends.insert((end, Arc::clone(&key)));
        self.places.insert(key, (tsl, end));
    }

    /// Forgets what was not asked for long enough.
    pub fn expire(&mut self, now: Instant) {
        while self.ends.first().is_some_and(|(end, _)| *end <= now) {
            if let Some((_, key)) = self.ends.pop_first() {
                self.places.remove(&key);
            }
        }
    }

    /// When [`Self::expire`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        self.ends.first().map(|(end, _)| *end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_stays_where_it_is_until_nobody_asked_for_its_life() {
        let now = Instant::now();
        let life = Duration::from_secs(3600);
        let mut placements = Placements::new(life, 0);
        placements.touch(b"a", 1, now);
        placements.touch(b"b", 2, now);
        assert_eq!(
            (placements.get(b"a"), placements.get(b"c")),
            (Some(1), None)
        );
        placements.touch(b"a", 3, now + life / 2);
        placements.expire(now + life);
        assert_eq!(
            (placements.get(b"a"), placements.get(b"b")),
            (Some(3), None)
        );
        assert_eq!(placements.deadline(), Some(now + life / 2 + life));
        placements.expire(now + life * 2);
        assert_eq!((placements.places.len(), placements.ends.len()), (0, 0));
        assert_eq!(placements.deadline(), None);
    }
}
