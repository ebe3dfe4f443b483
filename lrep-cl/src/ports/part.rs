// SPDX-License-Identifier: MIT OR Apache-2.0

//! The parts of the ranges that clients have for themselves, and where each is with its own.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::range::{BLOCK, Range, nth_block};

/// How long a call may ring, and its ports not be seen: what proxies grant it at least, their timer C
/// (RFC 3261, section 16.6).
pub const RINGING: Duration = Duration::from_secs(180);

/// The most blocks that are thought to be offered from where a client goes on.
const RUN_MAX: u32 = 64;

/// How many such places are remembered: each process of a client is told one when it starts, and has
/// another by its own count.
const RUNS: usize = 32;

/// A part of a range.
#[derive(Debug)]
pub struct Part {
    /// Whose it is.
    pub client: usize,
    /// Its first port.
    pub start: u16,
    /// Its client wraps after the first block that begins here or later.
    pub end: u16,
    /// Whole blocks in it, at least one.
    pub blocks: u32,
    /// Begin of the block that comes next.
    pub cursor: u16,
    /// Whether any port was seen; before that the cursor stands where chance has put it.
    pub moved: bool,
    /// From which of its blocks on some may have been offered to calls that ring, by the number of blocks
    /// before it, in the order of time.
    offered: VecDeque<(Instant, u32)>,
}

/// Gives each client a part of its own, as large as can be: a range, or an equal share of one. Ranges
/// that are left over go to those who have the least, as a second choice.
pub fn divide(ranges: &[Range], clients: u32) -> Vec<Part> {
    let mut sharers = vec![0; ranges.len()];
    for _ in 0..clients {
        let share = |index: &usize| {
            let others = sharers[*index];
            (ranges[*index].blocks() / (others + 1), Reverse(others))
        };
        // Of equal ones the first.
        if let Some(largest) = (0..ranges.len()).rev().max_by_key(share) {
            sharers[largest] += 1;
        }
    }
    let mut parts: Vec<Part> = Vec::new();
    for (range, &sharers) in ranges.iter().zip(&sharers) {
        match sharers {
            0 => {}
            1 => parts.push(Part::new(parts.len(), range.first, range.end())),
            _ => {
                let blocks = range.blocks() / sharers;
                for share in 0..sharers {
                    let start = nth_block(range.first, share * blocks);
                    // A client whose end is a block's begin uses no port beyond that block.
                    let end = nth_block(start, blocks.saturating_sub(1));
                    parts.push(Part::new(parts.len(), start, end));
                }
            }
        }
    }
    for (range, _) in ranges
        .iter()
        .zip(&sharers)
        .filter(|(_, sharers)| **sharers == 0)
    {
        let has = |client: &usize| -> u32 {
            let own = parts.iter().filter(|part| part.client == *client);
            own.map(|part| part.blocks).sum()
        };
        let least = (0..clients as usize).min_by_key(has).unwrap_or(0);
        parts.push(Part::new(least, range.first, range.end()));
    }
    parts
}

impl Part {
    fn new(client: usize, start: u16, end: u16) -> Self {
        let size = u32::from(end.saturating_sub(start)) + 1;
        Self {
            client,
            start,
            end,
            blocks: size.div_ceil(u32::from(BLOCK)),
            cursor: start,
            moved: false,
            offered: VecDeque::new(),
        }
    }

    /// Calls are answered in another order than they were offered, so a port up to half the range
    /// behind the cursor is an older offer and leaves it alone. The first port ever seen says
    /// where the client is.
    pub fn seen(&mut self, port: u16) {
        let current = self.index(self.cursor);
        let seen = self.index(port) % self.blocks;
        let ahead = (seen + self.blocks - current) % self.blocks;
        if ahead <= self.blocks / 2 || !self.moved {
            self.moved = true;
            self.cursor = self.block((seen + 1) % self.blocks);
        }
    }

    /// The begins of its blocks, the cursor's first.
    pub fn order(&self) -> impl Iterator<Item = u16> + '_ {
        let first = self.index(self.cursor);
        (0..self.blocks).map(move |step| self.block((first + step) % self.blocks))
    }

    /// A client goes on at this block, and may offer it and those after it to calls that ring.
    pub fn offer(&mut self, block: u16, now: Instant) {
        while self.offered.len() >= RUNS
            || self.offered.front().is_some_and(|run| is_over(run, now))
        {
            self.offered.pop_front();
        }
        self.offered.push_back((now, self.index(block)));
    }

    /// Whether a block may have been offered to a call that rings.
    pub fn is_offered(&self, block: u16, now: Instant) -> bool {
        // Of a small part they are fewer, so that some are left.
        let length = (self.blocks / 16).clamp(1, RUN_MAX);
        let index = self.index(block);
        self.offered
            .iter()
            .any(|run| !is_over(run, now) && (index + self.blocks - run.1) % self.blocks < length)
    }

    /// How many of its blocks come before this one.
    fn index(&self, block: u16) -> u32 {
        u32::from(block - self.start) / u32::from(BLOCK)
    }

    /// Its block that so many others come before.
    pub fn block(&self, index: u32) -> u16 {
        nth_block(self.start, index)
    }
}

/// Whether calls that were offered blocks then have ceased to ring.
fn is_over((since, _): &(Instant, u32), now: Instant) -> bool {
    now.saturating_duration_since(*since) >= RINGING
}
