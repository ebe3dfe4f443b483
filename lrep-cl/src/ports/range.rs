// SPDX-License-Identifier: MIT OR Apache-2.0

//! Ports that follow each other, and the blocks of them that calls get.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde_with::{DeserializeFromStr, SerializeDisplay};

/// Ports of one call: RTP and RTCP towards the answerer, then towards the offerer.
pub const BLOCK: u16 = 4;

/// The ports beyond `end_port` a client may use: it tests its counter before adding the block,
/// so its last block begins at the first value not below `end_port`, at most 3 above it, and has
/// 4 ports.
pub const OVERSHOOT: u16 = 6;

/// Ports of a relay that follow each other; the text form is `20000-29999`.
#[derive(Clone, Copy, Debug, DeserializeFromStr, PartialEq, Eq, SerializeDisplay)]
pub struct Range {
    /// The first one.
    pub first: u16,
    /// The last one, as the operator names it.
    pub last: u16,
    /// How many more are the relay's.
    pub(super) beyond: u16,
}

impl Range {
    /// Those that a client uses whose module was given these as `start_port` and `end_port`: more than
    /// they say.
    pub fn of_client(start: u16, end: u16) -> Self {
        Self {
            first: start,
            last: end,
            beyond: OVERSHOOT + 1,
        }
    }

    /// All ports that are the relay's.
    pub fn owned(&self) -> RangeInclusive<u16> {
        self.first..=self.last.saturating_add(self.beyond)
    }

    /// How many ports the operator names.
    pub fn size(&self) -> u32 {
        u32::from(self.last.saturating_sub(self.first)) + 1
    }

    /// Whole blocks in it.
    pub fn blocks(&self) -> u32 {
        if self.beyond > 0 {
            self.size().div_ceil(u32::from(BLOCK))
        } else {
            self.size() / u32::from(BLOCK)
        }
    }

    /// What a client is told as its end. One that is a block's begin makes that block the last.
    pub(super) fn end(&self) -> u16 {
        if self.beyond > 0 {
            return self.last;
        }
        nth_block(self.first, self.blocks().saturating_sub(1))
    }
}

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let range = text.split_once('-').and_then(|(first, last)| {
            Some(Self {
                first: first.trim().parse().ok()?,
                last: last.trim().parse().ok()?,
                beyond: 0,
            })
        });
        range.ok_or_else(|| {
            format!("`{text}` is no range of ports: allowed are 20000-29999 and the like")
        })
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

/// Ranges as they are told to people.
pub fn list(ranges: &[Range]) -> String {
    let ranges: Vec<_> = ranges.iter().map(ToString::to_string).collect();
    ranges.join(", ")
}

/// Begin of the block that so many others come before.
pub(super) fn nth_block(start: u16, others: u32) -> u16 {
    // Blocks are counted inside of ranges.
    let offset = u16::try_from(others * u32::from(BLOCK)).unwrap_or(0);
    start.saturating_add(offset)
}

/// The ports of a block.
pub(super) fn ports_of(block: u16) -> impl Iterator<Item = u16> {
    (0..BLOCK).filter_map(move |offset| block.checked_add(offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_reads_back_from_its_text_and_ends_where_it_says() {
        let range: Range = "20000-29999".parse().expect("a range");
        assert_eq!(range.to_string(), "20000-29999");
        assert_eq!(range.owned(), 20000..=29999);
        assert_eq!(
            (range.size(), range.blocks(), range.end()),
            (10_000, 2500, 29_996)
        );
        assert_eq!(Range::of_client(20000, 30000).owned(), 20000..=30007);
        for text in [
            "",
            "20000",
            "20000-",
            "-20000",
            "20000-70000",
            "a-b",
            "1-2-3",
        ] {
            let error = text.parse::<Range>().expect_err(text);
            assert!(error.contains("20000-29999"), "{error}");
        }
    }
}
