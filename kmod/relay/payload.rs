// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0

//! What a UDP payload is, by its first two bytes.

/// The kinds of payload that share a media port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Media (RFC 3550 section 5).
    Rtp,
    /// Reports about media (RFC 3550 section 6).
    Rtcp,
    /// Connectivity checks (RFC 8489).
    Stun,
    /// Key exchange (RFC 6347, RFC 9147).
    Dtls,
    /// None of these, or too short to be one.
    Other,
}

/// Tells the kinds apart by the first byte (RFC 7983 section 7), RTP and RTCP by the second
/// (RFC 5761 section 4).
///
/// `length` is that of the payload in bytes. Each kind must at least be as long as its own
/// header, so `first_two` may be anything when the payload is shorter than that.
#[inline(always)]
#[must_use]
pub fn classify(first_two: [u8; 2], length: u16) -> Class {
    let [first, second] = first_two;
    match first {
        // RFC 5761 section 4: RTCP packet types 192 to 223, which in RTP would be the payload
        // types 64 to 95 with a marker. RFC 3550 section 6.4.2: 8 bytes are an empty report.
        128..=191 if matches!(second, 192..=223) => at_least(8, length, Class::Rtcp),
        // RFC 3550 section 5.1: the fixed header has 12 bytes.
        128..=191 => at_least(12, length, Class::Rtp),
        // RFC 8489 section 5: the header has 20 bytes.
        0..=3 => at_least(20, length, Class::Stun),
        // RFC 6347 section 4.1: the header of a record has 13 bytes. RFC 9147 section 4 has a
        // shorter one, with 16 bytes or more behind it (section 4.2.3).
        20..=63 => at_least(13, length, Class::Dtls),
        _ => Class::Other,
    }
}

#[inline(always)]
fn at_least(shortest: u16, length: u16, class: Class) -> Class {
    if length >= shortest {
        class
    } else {
        Class::Other
    }
}
