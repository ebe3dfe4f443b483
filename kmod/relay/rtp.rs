// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0

//! The fixed header of RTP (RFC 3550 section 5.1).

use super::field::read;

/// Bytes of the fixed header.
pub const HEADER: usize = 12;

// Where the fields are.
const MARKER_AND_PAYLOAD_TYPE: usize = 1;
const SEQUENCE: usize = 2;
const TIMESTAMP: usize = 4;
const SSRC: usize = 8;

/// What the header says, as far as the relay measures and decides by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Payload type, 0 to 127.
    pub payload_type: u8,
    /// Sequence number.
    pub sequence: u16,
    /// Timestamp, in units of the payload's clock.
    pub timestamp: u32,
    /// Synchronization source.
    pub ssrc: u32,
}

/// Reads the header of a payload of the class [`Rtp`](super::payload::Class::Rtp). Nothing is
/// checked.
#[inline(always)]
#[must_use]
pub fn parse(header: &[u8; HEADER]) -> Header {
    Header {
        payload_type: header[MARKER_AND_PAYLOAD_TYPE] & 0x7f,
        sequence: u16::from_be_bytes(read::<SEQUENCE, 2, HEADER>(header)),
        timestamp: u32::from_be_bytes(read::<TIMESTAMP, 4, HEADER>(header)),
        ssrc: u32::from_be_bytes(read::<SSRC, 4, HEADER>(header)),
    }
}

/// The header at the end of the bytes that are up to it.
#[inline(always)]
#[must_use]
pub fn at_end_of<const N: usize>(start: &[u8; N]) -> &[u8; HEADER] {
    const { assert!(N >= HEADER) };
    match start.last_chunk() {
        Some(header) => header,
        None => &[0; HEADER],
    }
}
