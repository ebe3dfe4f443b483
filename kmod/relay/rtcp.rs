// SPDX-License-Identifier: GPL-2.0

//! The beginning all RTCP packets have in common (RFC 3550 section 6.4).

use super::field::read;

/// Bytes of it.
pub const HEADER: usize = 8;

// Where the field is.
const SSRC: usize = 4;

/// The synchronization source of whoever sent a payload of the class
/// [`Rtcp`](super::payload::Class::Rtcp). Nothing is checked.
#[must_use]
pub fn ssrc(header: &[u8; HEADER]) -> u32 {
    u32::from_be_bytes(read::<SSRC, 4, HEADER>(header))
}
