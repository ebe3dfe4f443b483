// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0

//! Which ports are the relay's, even when no session owns them.

use core::fmt;

/// Most ranges there can be.
pub const RANGES_MAX: usize = 8;

/// Ports that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first one, never 0.
    pub first: u16,
    /// The last one, not below the first.
    pub last: u16,
}

/// Ranges without a port in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ranges {
    /// In the order they were added; the rest is [`NONE`].
    ranges: [Range; RANGES_MAX],
}

/// Why a range is not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// It has port 0, to which nothing is sent.
    Zero(Range),
    /// Its last port is below its first one.
    Reversed(Range),
    /// It has a port in common with one that is there.
    Overlap(Range, Range),
    /// There are as many as there can be.
    TooMany,
}

/// A range without ports.
const NONE: Range = Range { first: 1, last: 0 };

impl Range {
    fn contains(&self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }
}

impl Ranges {
    /// No ports at all.
    pub const EMPTY: Self = Self {
        ranges: [NONE; RANGES_MAX],
    };

    /// With another range.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn with(mut self, added: Range) -> Result<Self, Unfit> {
        if added.first == 0 {
            return Err(Unfit::Zero(added));
        }
        if added.last < added.first {
            return Err(Unfit::Reversed(added));
        }
        let meets = |known: &&Range| known.first <= added.last && added.first <= known.last;
        if let Some(known) = self.iter().find(meets) {
            return Err(Unfit::Overlap(added, *known));
        }
        let free = self.ranges.iter_mut().find(|range| **range == NONE);
        *free.ok_or(Unfit::TooMany)? = added;
        Ok(self)
    }

    /// Those there are.
    pub fn iter(&self) -> impl Iterator<Item = &Range> {
        self.ranges.iter().take_while(|range| **range != NONE)
    }

    /// Whether a port belongs to one of them.
    #[must_use]
    pub fn contains(&self, port: u16) -> bool {
        self.iter().any(|range| range.contains(port))
    }
}

impl Default for Ranges {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

/// The text fits into an extended ack (80 bytes), with the name of an attribute before it.
impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zero(range) => write!(f, "{range} has port 0, which nobody can use"),
            Self::Reversed(range) => write!(f, "the last port of {range} is below the first"),
            Self::Overlap(range, other) => write!(f, "{range} and {other} have ports in common"),
            Self::TooMany => write!(f, "{RANGES_MAX} at most"),
        }
    }
}
