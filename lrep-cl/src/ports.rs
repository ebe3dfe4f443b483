// SPDX-License-Identifier: MIT OR Apache-2.0

//! Where clients should go on handing out ports.
//!
//! Clients pick the relay ports themselves, by a counter that starts at the `current_port` of
//! our answer to `G`. A client that asks again (it was restarted, or found us silent) must not
//! be sent back to ports of living calls: the answer moves with the ports seen.

use std::collections::{HashMap, VecDeque};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

/// Ports of one call: RTP and RTCP towards the answerer, then towards the offerer.
const BLOCK: u16 = 4;

/// How long ports of an ended call are not recommended, so that late packets of its parties do
/// not reach another call.
pub const QUARANTINE: Duration = Duration::from_secs(60);

/// The ports beyond `end_port` a client may use: it tests its counter before adding the block,
/// so its last block begins at the first value not below `end_port`, at most 3 above it, and has
/// 4 ports.
pub const OVERSHOOT: u16 = 6;

/// Which ports are in use and which come next.
#[derive(Debug)]
pub struct Ports {
    start: u16,
    end: u16,
    /// Each for other clients.
    parts: Vec<Part>,
    /// How many sessions each port belongs to: asked of for every call, so by its number.
    in_use: Vec<u32>,
    /// How many ports belong to any.
    occupied: u32,
    released: HashMap<u16, Instant>,
    /// The same in the order of time, with some that were released again since.
    resting: VecDeque<(Instant, u16)>,
}

/// A part of the range, with clients of its own.
#[derive(Debug)]
struct Part {
    start: u16,
    end: u16,
    /// Whole blocks in it, at least one.
    blocks: u32,
    /// Begin of the block that comes next.
    cursor: u16,
    /// Whether any port was seen; before that the cursor stands for nothing.
    moved: bool,
}

/// What a client is told of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recommended {
    /// First port it may hand out.
    pub start: u16,
    /// It wraps after the first block that begins here or later.
    pub end: u16,
    /// The block it hands out next.
    pub current: u16,
    /// Whether every block has a port in use, this one too.
    pub is_exhausted: bool,
}

impl Ports {
    /// Ports `start` to `end`, in so many parts (one at least); see [`Self::most_parts`].
    pub fn new(start: u16, end: u16, parts: u16) -> Self {
        let all = Part::new(start, end);
        let parts = match u16::try_from(all.blocks).unwrap_or(u16::MAX) / parts.max(1) {
            blocks if parts > 1 && blocks > 0 => (0..parts)
                .map(|part| {
                    let start = start + part * blocks * BLOCK;
                    // A client whose end is a block's begin uses no port beyond that block.
                    Part::new(start, start + (blocks - 1) * BLOCK)
                })
                .collect(),
            _ => vec![all],
        };
        Self {
            start,
            end,
            parts,
            in_use: vec![0; usize::from(u16::MAX) + 1],
            occupied: 0,
            released: HashMap::new(),
            resting: VecDeque::new(),
        }
    }

    /// Into how many parts ports `start` to `end` can be divided.
    pub fn most_parts(start: u16, end: u16) -> u32 {
        Part::new(start, end).blocks
    }

    /// Every port a client with our range may present for RTP or RTCP.
    pub fn acceptable(&self) -> RangeInclusive<u16> {
        self.start..=self.end.saturating_add(OVERSHOOT + 1)
    }

    /// A client has presented a block that begins at `port`: the next one is beyond it.
    pub fn seen(&mut self, port: u16) {
        let acceptable = self.acceptable();
        let beyond = |part: &&mut Part| part.start <= port;
        if let Some(part) = self.parts.iter_mut().rev().find(beyond) {
            if acceptable.contains(&port) {
                part.seen(port);
            }
        }
    }

    /// These ports belong to a session now. A port counts as often as it is occupied, since
    /// several local addresses have it.
    pub fn occupy(&mut self, ports: impl IntoIterator<Item = u16>) {
        for port in ports {
            let sessions = &mut self.in_use[usize::from(port)];
            self.occupied += u32::from(*sessions == 0);
            *sessions += 1;
        }
    }

    /// How many ports there are.
    pub fn size(&self) -> u32 {
        u32::from(self.end - self.start) + 1
    }

    /// How many of them belong to sessions.
    pub fn count(&self) -> u32 {
        self.occupied
    }

    /// The ports of sessions, each as often as it is occupied, in ascending order.
    pub fn in_use(&self) -> Vec<u16> {
        (0..=u16::MAX)
            .flat_map(|port| (0..self.in_use[usize::from(port)]).map(move |_| port))
            .collect()
    }

    /// A session has given these ports back.
    pub fn release(&mut self, ports: impl IntoIterator<Item = u16>, now: Instant) {
        let rested = |since: Instant| now.saturating_duration_since(since) >= QUARANTINE;
        while let Some((since, port)) = self.resting.front().copied().filter(|&(at, _)| rested(at))
        {
            self.resting.pop_front();
            if self.released.get(&port) == Some(&since) {
                self.released.remove(&port);
            }
        }
        for port in ports {
            let sessions = &mut self.in_use[usize::from(port)];
            match *sessions {
                0 => continue,
                1 => {
                    self.occupied -= 1;
                    self.released.insert(port, now);
                    self.resting.push_back((now, port));
                }
                _ => {}
            }
            *sessions -= 1;
        }
    }

    /// Whether no block is free in the part that this port belongs to.
    pub fn is_exhausted(&self, port: u16, now: Instant) -> bool {
        let part = self.parts.iter().rposition(|part| part.start <= port);
        self.recommend(part.unwrap_or(0), now).is_exhausted
    }

    /// The block to recommend to the clients of a part: the first from its cursor on of which no port
    /// is in use or was so a short while ago, else the first without one in use, else the cursor.
    pub fn recommend(&self, part: usize, now: Instant) -> Recommended {
        // There is one at least.
        let part = &self.parts[part.min(self.parts.len() - 1)];
        let free = |block: &u16| !ports_of(*block).any(|port| self.in_use[usize::from(port)] > 0);
        let rested = |block: &u16| {
            !ports_of(*block).any(|port| {
                self.released
                    .get(&port)
                    .is_some_and(|since| now.saturating_duration_since(*since) < QUARANTINE)
            })
        };
        let best = part.order().find(|block| free(block) && rested(block));
        let best = best.or_else(|| part.order().find(free));
        Recommended {
            start: part.start,
            end: part.end,
            current: best.unwrap_or(part.cursor),
            is_exhausted: best.is_none(),
        }
    }
}

impl Part {
    fn new(start: u16, end: u16) -> Self {
        Self {
            start,
            end,
            blocks: ((u32::from(end - start) + 1).div_ceil(u32::from(BLOCK))).max(1),
            cursor: start,
            moved: false,
        }
    }

    /// Calls are answered in another order than they were offered, so a port up to half the range
    /// behind the cursor is an older offer and leaves it alone. The first port ever seen says
    /// where the client is.
    fn seen(&mut self, port: u16) {
        let current = u32::from(self.cursor - self.start) / u32::from(BLOCK);
        let seen = (u32::from(port - self.start) / u32::from(BLOCK)) % self.blocks;
        let ahead = (seen + self.blocks - current) % self.blocks;
        if ahead <= self.blocks / 2 || !self.moved {
            self.moved = true;
            self.cursor = self.block((seen + 1) % self.blocks);
        }
    }

    /// The begins of its blocks, the cursor's first.
    fn order(&self) -> impl Iterator<Item = u16> + '_ {
        let first = u32::from(self.cursor - self.start) / u32::from(BLOCK);
        (0..self.blocks).map(move |step| self.block((first + step) % self.blocks))
    }

    fn block(&self, index: u32) -> u16 {
        // Blocks are counted inside the range, so this stays below `end`.
        self.start + u16::try_from(index * u32::from(BLOCK)).unwrap_or(0)
    }
}

fn ports_of(block: u16) -> impl Iterator<Item = u16> {
    (0..BLOCK).filter_map(move |offset| block.checked_add(offset))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn block(start: u16) -> [u16; 4] {
        [start, start + 1, start + 2, start + 3]
    }

    fn current(ports: &Ports, now: Instant) -> u16 {
        ports.recommend(0, now).current
    }

    #[test]
    fn it_starts_at_the_start_and_moves_beyond_the_highest_port_seen() {
        let now = Instant::now();
        let mut ports = Ports::new(20000, 30000, 1);
        assert_eq!(current(&ports, now), 20000);
        ports.seen(20000);
        assert_eq!(current(&ports, now), 20004);
        ports.seen(20040);
        ports.seen(20012);
        assert_eq!(current(&ports, now), 20044);
    }

    #[test]
    fn the_first_port_seen_says_where_the_client_is() {
        let now = Instant::now();
        let mut ports = Ports::new(20000, 30000, 1);
        ports.seen(29000);
        assert_eq!(current(&ports, now), 29004);
        ports.seen(28000);
        assert_eq!(current(&ports, now), 29004);
        ports.seen(20000);
        assert_eq!(current(&ports, now), 20004);
    }

    #[test]
    fn it_stays_aligned_to_the_start_whatever_a_client_presents() {
        let now = Instant::now();
        let mut ports = Ports::new(20002, 30000, 1);
        ports.seen(20005);
        assert_eq!(current(&ports, now), 20006);
        ports.seen(20008);
        assert_eq!(current(&ports, now), 20010);
    }

    #[test]
    fn it_wraps_inside_the_range() {
        let now = Instant::now();
        let mut ports = Ports::new(20000, 20015, 1);
        ports.seen(20008);
        assert_eq!(current(&ports, now), 20012);
        ports.seen(20012);
        assert_eq!(current(&ports, now), 20000);
        // The block that begins at the first value not below the end.
        let mut ports = Ports::new(20000, 20016, 1);
        ports.seen(20008);
        ports.seen(20016);
        assert_eq!(current(&ports, now), 20000);
    }

    #[test]
    fn it_skips_ports_in_use_and_ports_just_released() {
        let now = Instant::now();
        let mut ports = Ports::new(20000, 30000, 1);
        ports.occupy(block(20000));
        ports.occupy([20007]);
        assert_eq!(current(&ports, now), 20008);
        ports.release(block(20000), now);
        assert_eq!(current(&ports, now), 20008);
        assert_eq!(current(&ports, now + QUARANTINE), 20000);
    }

    #[test]
    fn when_all_are_resting_a_free_one_is_better_than_none() {
        let now = Instant::now();
        let mut ports = Ports::new(20000, 20007, 1);
        ports.occupy(block(20000));
        ports.occupy(block(20004));
        assert_eq!(current(&ports, now), 20000);
        ports.release(block(20004), now);
        assert_eq!(current(&ports, now), 20004);
    }

    #[test]
    fn a_port_used_on_two_addresses_is_free_after_both_are_released() {
        let now = Instant::now();
        let mut ports = Ports::new(20000, 30000, 1);
        ports.occupy(block(20000));
        ports.occupy(block(20000));
        ports.release(block(20000), now);
        assert_eq!(current(&ports, now + QUARANTINE), 20004);
        ports.release(block(20000), now);
        assert_eq!(current(&ports, now + QUARANTINE), 20000);
    }

    #[test]
    fn ports_outside_of_the_range_do_not_move_it() {
        let now = Instant::now();
        let mut ports = Ports::new(20000, 30000, 1);
        ports.seen(40000);
        ports.seen(1024);
        assert_eq!(current(&ports, now), 20000);
        assert!(ports.acceptable().contains(&30006));
        assert!(!ports.acceptable().contains(&30008));
    }

    #[test]
    fn parts_share_no_port_and_go_on_by_themselves() {
        let now = Instant::now();
        let mut ports = Ports::new(20000, 20047, 3);
        let recommended = |start, end, current| Recommended {
            start,
            end,
            current,
            is_exhausted: false,
        };
        assert_eq!(ports.recommend(0, now), recommended(20000, 20012, 20000));
        assert_eq!(ports.recommend(1, now), recommended(20016, 20028, 20016));
        assert_eq!(ports.recommend(2, now), recommended(20032, 20044, 20032));
        ports.seen(20020);
        ports.occupy(block(20020));
        assert_eq!(ports.recommend(0, now).current, 20000);
        assert_eq!(ports.recommend(1, now).current, 20024);
        // The last block of a part is followed by its first.
        ports.seen(20028);
        assert_eq!(ports.recommend(1, now).current, 20016);
    }

    #[test]
    fn that_no_block_is_free_is_told() {
        let now = Instant::now();
        let mut ports = Ports::new(20000, 20007, 1);
        ports.occupy([20001]);
        assert!(!ports.recommend(0, now).is_exhausted);
        ports.occupy([20006]);
        assert!(ports.recommend(0, now).is_exhausted);
    }

    proptest! {
        /// A client hands out the block at its counter, and goes back to the start when that is not
        /// below the end it was told.
        #[test]
        fn clients_that_follow_what_they_are_told_never_meet(
            start in 512u16..16000,
            size in 40u16..2000,
            parts in 2u16..6,
            steps in proptest::collection::vec(0usize..6, 1..300),
        ) {
            let start = start * 2;
            let ports = Ports::new(start, start + size, parts);
            let now = Instant::now();
            let mut whose = HashMap::new();
            let mut counters = HashMap::new();
            for client in steps {
                let client = client % usize::from(parts);
                let told = ports.recommend(client, now);
                let counter = counters.entry(client).or_insert(told.current);
                for port in ports_of(*counter) {
                    prop_assert_eq!(*whose.entry(port).or_insert(client), client);
                    prop_assert!(port <= start + size + OVERSHOOT);
                }
                *counter = if *counter >= told.end { told.start } else { *counter + BLOCK };
            }
        }

        #[test]
        fn the_recommended_port_is_aligned_inside_the_range_and_free_if_any_is(
            start in 512u16..32000,
            size in 4u16..2000,
            events in proptest::collection::vec((any::<bool>(), 0u16..2100), 0..200),
        ) {
            let start = start * 2;
            let end = start.saturating_add(size);
            let now = Instant::now();
            let mut ports = Ports::new(start, end, 1);
            for (occupied, offset) in events {
                let port = start.saturating_add(offset);
                ports.seen(port);
                if occupied {
                    ports.occupy([port]);
                }
            }
            let current = ports.recommend(0, now).current;
            prop_assert!(current >= start && current <= end);
            prop_assert_eq!((current - start) % BLOCK, 0);
            let free = |port: u16| (0..BLOCK).all(|n| ports.in_use[usize::from(port + n)] == 0);
            let any_free = (start..=end - 3).step_by(4).any(free);
            prop_assert!(free(current) || !any_free);
        }
    }
}
