// SPDX-License-Identifier: MIT OR Apache-2.0

//! Where clients should go on handing out ports.
//!
//! Clients pick the relay ports themselves, by a counter that starts at the `current_port` of
//! our answer to `G`. A client that asks again (it was restarted, or found us silent) must not
//! be sent back to ports of living calls: the answer moves with the ports seen. Nor back to ports it
//! has offered to calls that still ring, of which nothing is seen yet: all processes of a client ask
//! when it starts, and the answer to the last one counts for all, calls or no calls meanwhile. So what
//! a client was told is told nobody else for a while. Until a port is seen the place is random, so
//! that nobody can tell from the configuration which ports the next calls get.
//!
//! A client can be told one range only. Where an operator gives several, each is a part of the ports,
//! or several parts when there are more clients than ranges; what is left over is somebody's reserve.

mod part;
mod range;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use ahash::HashMap;

use self::part::{Part, divide};
use self::range::ports_of;
pub use self::range::{BLOCK, OVERSHOOT, Range, list};

/// How long ports of an ended call are not recommended, so that late packets of its parties do
/// not reach another call.
pub const QUARANTINE: Duration = Duration::from_secs(60);

/// Which ports are in use and which come next.
#[derive(Debug)]
pub struct Ports {
    ranges: Vec<Range>,
    /// How many clients there are, one at least, each with parts of its own.
    clients: usize,
    /// In the order of their ports.
    parts: Vec<Part>,
    /// How many sessions each port belongs to: asked of for every call, so by its number.
    in_use: Vec<u32>,
    /// How many ports belong to any.
    occupied: u32,
    released: HashMap<u16, Instant>,
    /// The same in the order of time, with some that were released again since.
    resting: VecDeque<(Instant, u16)>,
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
    /// The ports of these ranges, one at least, for so many clients; see [`Self::most_clients`].
    /// `draw` draws a number below the one it is given.
    pub fn new(ranges: &[Range], clients: u16, draw: &mut dyn FnMut(u32) -> u32) -> Self {
        let clients = u32::from(clients).clamp(1, Self::most_clients(ranges).max(1));
        let mut parts = divide(ranges, clients);
        for part in &mut parts {
            part.cursor = part.block(draw(part.blocks));
        }
        parts.sort_by_key(|part| part.start);
        Self {
            ranges: ranges.to_vec(),
            clients: clients as usize,
            parts,
            in_use: vec![0; usize::from(u16::MAX) + 1],
            occupied: 0,
            released: HashMap::default(),
            resting: VecDeque::new(),
        }
    }

    /// How many clients can have ports of their own of these ranges.
    pub fn most_clients(ranges: &[Range]) -> u32 {
        ranges.iter().map(Range::blocks).sum()
    }

    /// Whether a client that was told of our ports may present this one for RTP or RTCP.
    pub fn accepts(&self, port: u16) -> bool {
        let mut ranges = self.ranges.iter();
        ranges.any(|range| range.owned().contains(&port))
    }

    /// A client has presented a block that begins at `port`: the next one is beyond it.
    pub fn seen(&mut self, port: u16) {
        if !self.accepts(port) {
            return;
        }
        let beyond = |part: &&mut Part| part.start <= port;
        if let Some(part) = self.parts.iter_mut().rev().find(beyond) {
            part.seen(port);
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
        self.ranges.iter().map(Range::size).sum()
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

    /// How many ports are occupied more often than by those who hold them, which these ports are.
    pub fn leaked(&self, held: impl IntoIterator<Item = u16>) -> u32 {
        let mut left = self.in_use.clone();
        for port in held {
            let sessions = &mut left[usize::from(port)];
            *sessions = sessions.saturating_sub(1);
        }
        left.into_iter()
            .map(|sessions| u32::from(sessions > 0))
            .sum()
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
    pub fn is_exhausted(&self, port: u16) -> bool {
        let mut parts = self.parts.iter().rev();
        let part = parts.find(|part| part.start <= port);
        part.is_some_and(|part| self.free(part).next().is_none())
    }

    /// Has this client go on where [`Self::recommend`] says, and nobody be sent there after it.
    pub fn tell(&mut self, client: usize, now: Instant) -> Recommended {
        let client = client.min(self.clients - 1);
        // Where it is by its own count, calls may ring whose ports were not seen.
        let own = self.parts.iter_mut().filter(|part| part.client == client);
        for part in own.filter(|part| part.moved) {
            part.offer(part.cursor, now);
        }
        let told = self.recommend(client, now);
        let mut parts = self.parts.iter_mut();
        if let Some(part) = parts.find(|part| part.start == told.start) {
            part.offer(told.current, now);
        }
        told
    }

    /// Whether every block that this client may be told has a port in use.
    pub fn is_used_up(&self, client: usize) -> bool {
        let client = client.min(self.clients - 1);
        let mut own = self.parts.iter().filter(|part| part.client == client);
        own.all(|part| self.free(part).next().is_none())
    }

    /// What to recommend to this client: of its parts the one with the most free blocks.
    pub fn recommend(&self, client: usize, now: Instant) -> Recommended {
        let client = client.min(self.clients - 1);
        let mut own = self.parts.iter().filter(|part| part.client == client);
        // Every client has a part.
        let first = own.next().unwrap_or(&self.parts[0]);
        let roomiest = own.fold((None, first), |(room, best), next| {
            // Counting takes long, and mostly there is nothing to compare.
            let room = room.unwrap_or_else(|| self.room(best, now));
            let other = self.room(next, now);
            if other > room {
                (Some(other), next)
            } else {
                (Some(room), best)
            }
        });
        self.look(roomiest.1, now)
    }

    /// Looks through a part for the block to recommend: the first from its cursor on of which no port
    /// is in use or was so a short while ago, and which no call can have been offered; else the first
    /// that may have been offered, else the first without one in use, else the cursor.
    fn look(&self, part: &Part, now: Instant) -> Recommended {
        let is_rested = |block: &u16| self.is_rested(*block, now);
        let best = self
            .free(part)
            .find(|block| !part.is_offered(*block, now) && is_rested(block))
            .or_else(|| self.free(part).find(is_rested))
            .or_else(|| self.free(part).next());
        Recommended {
            start: part.start,
            end: part.end,
            current: best.unwrap_or(part.cursor),
            is_exhausted: best.is_none(),
        }
    }

    /// How many blocks of a part are free and have rested, and how many are free.
    fn room(&self, part: &Part, now: Instant) -> (usize, usize) {
        let rested = self.free(part).filter(|block| self.is_rested(*block, now));
        (rested.count(), self.free(part).count())
    }

    /// The blocks of a part without a port in use, those from its cursor on first.
    fn free<'a>(&'a self, part: &'a Part) -> impl Iterator<Item = u16> + 'a {
        let is_used = |port: u16| self.in_use[usize::from(port)] > 0;
        part.order()
            .filter(move |block| !ports_of(*block).any(is_used))
    }

    /// Whether no port of a block was in use a short while ago.
    fn is_rested(&self, block: u16, now: Instant) -> bool {
        !ports_of(block).any(|port| {
            self.released
                .get(&port)
                .is_some_and(|since| now.saturating_duration_since(*since) < QUARANTINE)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::part::RINGING;
    use super::*;
    use proptest::prelude::*;

    fn block(start: u16) -> [u16; 4] {
        [start, start + 1, start + 2, start + 3]
    }

    /// Ports of which the first come first.
    fn begun(start: u16, end: u16, clients: u16) -> Ports {
        Ports::new(&[Range::of_client(start, end)], clients, &mut |_| 0)
    }

    fn ranges(texts: &[&str]) -> Vec<Range> {
        texts.iter().map(|text| text.parse().expect(text)).collect()
    }

    fn current(ports: &Ports, now: Instant) -> u16 {
        ports.recommend(0, now).current
    }

    #[test]
    fn it_starts_at_the_start_and_moves_beyond_the_highest_port_seen() {
        let now = Instant::now();
        let mut ports = begun(20000, 30000, 1);
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
        let mut ports = begun(20000, 30000, 1);
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
        let mut ports = begun(20002, 30000, 1);
        ports.seen(20005);
        assert_eq!(current(&ports, now), 20006);
        ports.seen(20008);
        assert_eq!(current(&ports, now), 20010);
    }

    #[test]
    fn it_wraps_inside_the_range() {
        let now = Instant::now();
        let mut ports = begun(20000, 20015, 1);
        ports.seen(20008);
        assert_eq!(current(&ports, now), 20012);
        ports.seen(20012);
        assert_eq!(current(&ports, now), 20000);
        // The block that begins at the first value not below the end.
        let mut ports = begun(20000, 20016, 1);
        ports.seen(20008);
        ports.seen(20016);
        assert_eq!(current(&ports, now), 20000);
    }

    #[test]
    fn it_skips_ports_in_use_and_ports_just_released() {
        let now = Instant::now();
        let mut ports = begun(20000, 30000, 1);
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
        let mut ports = begun(20000, 20007, 1);
        ports.occupy(block(20000));
        ports.occupy(block(20004));
        assert_eq!(current(&ports, now), 20000);
        ports.release(block(20004), now);
        assert_eq!(current(&ports, now), 20004);
    }

    #[test]
    fn a_port_used_on_two_addresses_is_free_after_both_are_released() {
        let now = Instant::now();
        let mut ports = begun(20000, 30000, 1);
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
        let mut ports = begun(20000, 30000, 1);
        ports.seen(40000);
        ports.seen(1024);
        assert_eq!(current(&ports, now), 20000);
        assert!(ports.accepts(30006));
        assert!(!ports.accepts(30008));
    }

    #[test]
    fn parts_share_no_port_and_go_on_by_themselves() {
        let now = Instant::now();
        let mut ports = begun(20000, 20047, 3);
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
    fn before_a_port_was_seen_chance_decides_and_then_no_more() {
        let now = Instant::now();
        let range = [Range::of_client(20000, 30000)];
        let mut asked = Vec::new();
        let mut ports = Ports::new(&range, 1, &mut |below| {
            asked.push(below);
            1234
        });
        assert_eq!(asked, [2501]);
        assert_eq!(current(&ports, now), 20000 + 4 * 1234);
        // It is the same for all workers of a SIP server, and free.
        assert_eq!(current(&ports, now), 20000 + 4 * 1234);
        ports.occupy([20000 + 4 * 1234]);
        assert_eq!(current(&ports, now), 20000 + 4 * 1235);
        ports.seen(20000);
        assert_eq!(current(&ports, now), 20004);
    }

    #[test]
    fn each_part_of_a_range_begins_where_chance_says() {
        let now = Instant::now();
        let mut numbers = 0..;
        let ports = Ports::new(&ranges(&["20000-20047"]), 3, &mut |_| {
            numbers.next().unwrap_or_default()
        });
        let currents: Vec<_> = (0..3)
            .map(|client| ports.recommend(client, now).current)
            .collect();
        assert_eq!(currents, [20000, 20020, 20040]);
    }

    #[test]
    fn one_client_is_told_the_range_with_the_most_free_blocks() {
        let now = Instant::now();
        let mut ports = Ports::new(&ranges(&["40000-40015", "20000-20019"]), 1, &mut |_| 0);
        assert_eq!(ports.size(), 36);
        let told = |ports: &Ports, now| {
            let told = ports.recommend(0, now);
            (told.start, told.end, told.current)
        };
        assert_eq!(told(&ports, now), (20000, 20016, 20000));
        ports.seen(20000);
        ports.occupy(block(20000));
        // Of equal ones the lower.
        assert_eq!(told(&ports, now), (20000, 20016, 20004));
        ports.seen(20004);
        ports.occupy(block(20004));
        assert_eq!(told(&ports, now), (40000, 40012, 40000));
        // What has just become free is worth less than what has rested.
        ports.release(block(20000), now);
        ports.release(block(20004), now);
        assert_eq!(told(&ports, now), (40000, 40012, 40000));
        assert_eq!(told(&ports, now + QUARANTINE), (20000, 20016, 20008));
        for port in (20000..20020).step_by(4) {
            ports.occupy(block(port));
        }
        assert!(ports.is_exhausted(20000) && !ports.is_exhausted(40000));
        assert!(!ports.recommend(0, now).is_exhausted);
    }

    #[test]
    fn ports_between_ranges_are_nobodys() {
        let mut ports = Ports::new(&ranges(&["20000-20007", "20016-20023"]), 1, &mut |_| 0);
        for (port, is_ours) in [
            (19_999, false),
            (20_007, true),
            (20_008, false),
            (20_016, true),
        ] {
            assert_eq!(ports.accepts(port), is_ours, "{port}");
        }
        ports.seen(20_008);
        assert_eq!(current(&ports, Instant::now()), 20_000);
    }

    #[test]
    fn clients_get_ranges_of_their_own_before_they_share_one() {
        let now = Instant::now();
        let told = |texts: &[&str], clients| {
            let ports = Ports::new(&ranges(texts), clients, &mut |_| 0);
            (0..usize::from(clients))
                .map(|client| {
                    let told = ports.recommend(client, now);
                    (told.start, told.end)
                })
                .collect::<Vec<_>>()
        };
        let two = ["20000-20799", "30000-30399"];
        assert_eq!(told(&two, 2), [(20000, 20796), (30000, 30396)]);
        assert_eq!(
            told(&two, 3),
            [(20000, 20396), (20400, 20796), (30000, 30396)]
        );
        let three = ["20000-20003", "30000-30399", "40000-40799"];
        // Who has the least has a second choice, which it is told as long as that is the better one.
        assert_eq!(told(&three, 2), [(30000, 30396), (40000, 40796)]);
        let ports = Ports::new(&ranges(&three), 2, &mut |_| 0);
        assert_eq!(ports.parts[0].client, 0);
    }

    #[test]
    fn ports_that_nobody_holds_are_counted() {
        let mut ports = begun(20000, 20007, 1);
        // Two addresses have the same ports.
        ports.occupy(block(20000));
        ports.occupy(block(20000));
        ports.occupy([20004]);
        let twice = || block(20000).into_iter().chain(block(20000));
        assert_eq!(ports.leaked(twice().chain([20004])), 0);
        assert_eq!(ports.leaked(twice()), 1);
        assert_eq!(ports.leaked(block(20000)), 5);
        // One that is held and was never occupied hides none.
        assert_eq!(ports.leaked(twice().chain([20005])), 1);
    }

    #[test]
    fn that_no_block_is_free_is_told() {
        let now = Instant::now();
        let mut ports = begun(20000, 20007, 1);
        ports.occupy([20001]);
        assert!(!ports.recommend(0, now).is_exhausted);
        ports.occupy([20006]);
        assert!(ports.recommend(0, now).is_exhausted);
    }

    #[test]
    fn whoever_asks_next_is_sent_beyond_what_may_have_been_offered() {
        let now = Instant::now();
        let mut ports = begun(20000, 30000, 1);
        let far = 4 * 64;
        assert_eq!(ports.tell(0, now).current, 20000);
        // Nothing was seen of what the client has offered since.
        assert_eq!(ports.tell(0, now).current, 20000 + far);
        ports.seen(20000 + far);
        assert_eq!(ports.tell(0, now).current, 20004 + 2 * far);
        // One that counts by itself has nothing to do with what it is told.
        ports.seen(25000);
        assert_eq!(ports.tell(0, now).current, 25004 + far);
        assert_eq!(ports.tell(0, now + RINGING).current, 25004 + far);
    }

    #[test]
    fn when_all_may_have_been_offered_the_place_is_as_good_as_any() {
        let now = Instant::now();
        let mut ports = begun(20000, 20012, 1);
        let mut told = || ports.tell(0, now).current;
        assert_eq!(
            [told(), told(), told(), told()],
            [20000, 20004, 20008, 20012]
        );
        assert_eq!(told(), 20000);
        // Better one that may ring than one whose last call has just ended.
        ports.occupy(block(20000));
        ports.release(block(20000), now);
        assert_eq!(ports.tell(0, now).current, 20004);
        assert!(!ports.tell(0, now).is_exhausted);
    }

    proptest! {
        /// Whenever its processes ask, a client that hands out no more blocks in between than are thought
        /// of never offers one twice.
        #[test]
        fn no_block_is_offered_twice_while_processes_ask(
            draw in 0u32..2501,
            steps in proptest::collection::vec((0usize..=64, 0usize..=64), 1..15),
        ) {
            let now = Instant::now();
            let mut ports = Ports::new(&[Range::of_client(20000, 30000)], 1, &mut |_| draw);
            let mut offered = std::collections::HashSet::new();
            let mut counter = ports.tell(0, now).current;
            for (calls, answered) in steps {
                let mut own = Vec::new();
                for _ in 0..calls {
                    prop_assert!(offered.insert(counter), "{counter} is offered twice");
                    own.push(counter);
                    counter = if counter >= 30000 { 20000 } else { counter + BLOCK };
                }
                for port in own.into_iter().take(answered) {
                    ports.seen(port);
                    ports.occupy(ports_of(port));
                }
                counter = ports.tell(0, now).current;
            }
        }

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
            let ports = begun(start, start + size, parts);
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

        /// The same with several ranges, whose ends are never passed.
        #[test]
        fn clients_stay_inside_of_the_ranges_and_never_meet(
            sizes in proptest::collection::vec((4u16..200, 0u16..50), 1..9),
            clients in 1u16..12,
            seed: u32,
            steps in proptest::collection::vec(0usize..12, 1..300),
        ) {
            let mut next = 20_000;
            let mut ranges = Vec::new();
            for (size, gap) in sizes {
                let first = next + 2 * gap;
                ranges.push(Range { first, last: first + size - 1, beyond: 0 });
                next = first + size + size % 2;
            }
            let clients = clients.min(Ports::most_clients(&ranges).try_into().unwrap_or(u16::MAX));
            let ports = Ports::new(&ranges, clients, &mut |below| seed % below);
            let is_inside = |port: u16| {
                ranges.iter().any(|range| (range.first..=range.last).contains(&port))
            };
            let now = Instant::now();
            let mut whose = HashMap::new();
            let mut counters = HashMap::new();
            for client in steps {
                let client = client % usize::from(clients);
                let told = ports.recommend(client, now);
                let counter = counters.entry(client).or_insert(told.current);
                prop_assert_eq!((*counter - told.start) % BLOCK, 0);
                prop_assert_eq!(*counter % 2, 0);
                for port in ports_of(*counter) {
                    prop_assert!(is_inside(port) && ports.accepts(port));
                    prop_assert_eq!(*whose.entry(port).or_insert(client), client);
                }
                *counter = if *counter >= told.end { told.start } else { *counter + BLOCK };
            }
            // No part has a port of another.
            let mut last = 0;
            for part in &ports.parts {
                prop_assert!(part.start > last);
                last = part.end + BLOCK - 1;
                prop_assert!(is_inside(part.start) && is_inside(last));
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
            let mut ports = begun(start, end, 1);
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
