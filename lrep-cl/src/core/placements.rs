// SPDX-License-Identifier: MIT OR Apache-2.0

//! Where calls are: a call stays with the TSL it was given to.

use std::time::{Duration, Instant};

use ahash::RandomState;
use hashlink::LinkedHashMap;

/// Calls that are remembered at most. One that is forgotten is looked for at all TSLs.
const MOST: usize = 1 << 20;

/// The TSL of each call, by Call-ID, until it was not asked for a while.
#[derive(Debug)]
pub struct Placements {
    life: Duration,
    most: usize,
    /// With the time when it was asked for last; what nobody has asked for the longest comes first.
    places: LinkedHashMap<Box<[u8]>, (usize, Instant), RandomState>,
}

impl Placements {
    /// None yet; each is kept for `life` after it was last touched, with room for `size` at first.
    pub fn new(life: Duration, size: usize) -> Self {
        Self {
            life,
            most: MOST,
            places: LinkedHashMap::with_capacity_and_hasher(size, RandomState::default()),
        }
    }

    /// Each is kept for this long after it was last touched.
    pub fn set_life(&mut self, life: Duration) {
        self.life = life;
    }

    /// Where the call is.
    pub fn get(&self, call_id: &[u8]) -> Option<usize> {
        self.places.get(call_id).map(|(tsl, _)| *tsl)
    }

    /// The call is at this TSL, and was asked for just now.
    pub fn touch(&mut self, call_id: &[u8], tsl: usize, now: Instant) {
        let place = (tsl, now);
        match self.places.to_back(call_id) {
            Some(known) => *known = place,
            None => {
                self.places.insert(call_id.into(), place);
                if self.places.len() > self.most {
                    self.places.pop_front();
                }
            }
        }
    }

    /// The call is over.
    pub fn forget(&mut self, call_id: &[u8]) {
        self.places.remove(call_id);
    }

    /// Forgets what was not asked for long enough.
    pub fn expire(&mut self, now: Instant) {
        while self.deadline().is_some_and(|end| end <= now) {
            self.places.pop_front();
        }
    }

    /// When [`Self::expire`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        let (_, (_, touched)) = self.places.front()?;
        Some(*touched + self.life)
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
        assert_eq!((placements.places.len(), placements.deadline()), (0, None));
    }

    #[test]
    fn another_life_counts_for_what_is_there() {
        let now = Instant::now();
        let life = Duration::from_secs(3600);
        let mut placements = Placements::new(life, 0);
        placements.touch(b"a", 1, now);
        placements.set_life(life / 2);
        assert_eq!(placements.deadline(), Some(now + life / 2));
        placements.expire(now + life / 2);
        assert_eq!(placements.get(b"a"), None);
    }

    #[test]
    fn the_call_nobody_asked_for_the_longest_makes_room() {
        let now = Instant::now();
        let mut placements = Placements::new(Duration::from_secs(3600), 0);
        placements.most = 2;
        for call_id in [b"a", b"b", b"a", b"c"] {
            placements.touch(call_id, 1, now);
        }
        let found = [b"a", b"b", b"c"].map(|call_id| placements.get(call_id).is_some());
        assert_eq!(found, [true, false, true]);
    }
}
