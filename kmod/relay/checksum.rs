// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0

//! Incremental update of the Internet checksum (RFC 1624), for any header of any family.
//!
//! The arithmetic is that of ones' complement, modulo 65,535 with two zeros, 0x0000 and 0xffff.
//! It gives the same bytes in either byte order (RFC 1071 section 2 (B)), so 16-bit words are
//! loaded and stored as they lie in memory.

use core::ops::Add;

/// By how much a ones' complement sum grows when some of the bytes below it change.
///
/// # Invariants
///
/// Never 0x0000: no change is 0xffff. So adding to a sum of anything but zeros never makes 0x0000,
/// exactly as summing everything anew never does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delta(u16);

impl Delta {
    /// From what the bytes were to what they become. They start at an even place of the sum.
    #[must_use]
    pub fn between<const OLD: usize, const NEW: usize>(old: &[u8; OLD], new: &[u8; NEW]) -> Self {
        const { assert!(OLD % 2 == 0 && NEW % 2 == 0) };
        // HC' = ~(~HC + ~m + m'), RFC 1624 section 3 equation 3: the part that does not need HC.
        let removed = words(old).map(|word| !word);
        // INVARIANT: A sum that starts at 0xffff never becomes 0x0000.
        Self(removed.chain(words(new)).fold(0xffff, ones_complement_add))
    }

    /// A sum (not complemented) of the changed bytes, from that of the old bytes.
    #[inline]
    #[must_use]
    pub fn add_to(self, sum: u16) -> u16 {
        ones_complement_add(sum, self.0)
    }

    /// A checksum (the complement of a sum) of the changed bytes, from that of the old bytes.
    ///
    /// Answers 0x0000 and never 0xffff when the new sum is zero, as an IPv4 header has it.
    #[inline]
    #[must_use]
    pub fn subtract_from(self, checksum: u16) -> u16 {
        // HC' = HC - ~m - m', RFC 1624 section 4 equation 4.
        let (difference, borrow) = checksum.overflowing_sub(self.0);
        difference.wrapping_sub(u16::from(borrow))
    }
}

/// Both changes at once.
impl Add for Delta {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        // INVARIANT: Neither is 0x0000, so the sum is not.
        Self(ones_complement_add(self.0, other.0))
    }
}

/// The checksum of an IPv4 header whose checksum field is zero (RFC 791 section 3.1).
#[must_use]
pub fn of_header<const N: usize>(header: &[u8; N]) -> u16 {
    const { assert!(N % 2 == 0) };
    !words(header).fold(0, ones_complement_add)
}

#[inline]
fn ones_complement_add(a: u16, b: u16) -> u16 {
    let (sum, carry) = a.overflowing_add(b);
    sum.wrapping_add(u16::from(carry))
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u16> + '_ {
    bytes
        .chunks_exact(2)
        .filter_map(|pair| pair.try_into().ok())
        .map(u16::from_ne_bytes)
}
