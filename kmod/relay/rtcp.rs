// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0

//! The beginning all RTCP packets have in common (RFC 3550 section 6.4).

use super::field::read;

/// Bytes of it.
pub const HEADER: usize = 8;

// Where the fields are.
const PACKET_TYPE: usize = 1;
const SSRC: usize = 4;

/// Whether a packet begins with a sender report or a receiver report (RFC 3550 sections 6.4.1 and
/// 6.4.2), as every compound packet does (section 6.1).
#[must_use]
pub fn is_report(header: &[u8; HEADER]) -> bool {
    let [packet_type] = read::<PACKET_TYPE, 1, HEADER>(header);
    matches!(packet_type, 200 | 201)
}

/// The synchronization source of whoever sent a payload of the class
/// [`Rtcp`](super::payload::Class::Rtcp). Nothing is checked.
#[must_use]
pub fn ssrc(header: &[u8; HEADER]) -> u32 {
    u32::from_be_bytes(read::<SSRC, 4, HEADER>(header))
}
