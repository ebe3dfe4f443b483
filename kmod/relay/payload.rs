// SPDX-License-Identifier: GPL-2.0

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
    /// Key exchange (RFC 9147, RFC 6347).
    Dtls,
    /// None of these, or too short to be one.
    Other,
}

/// As much of a UDP payload as is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    /// The first two bytes; of no meaning when the payload is shorter.
    pub start: [u8; 2],
    /// Bytes of the payload.
    pub length: u16,
}

impl Payload {
    /// Tells the kinds apart by the first byte (RFC 7983 section 7), RTP and RTCP by the second
    /// (RFC 5761 section 4). Each must at least be as long as its own header, so an answer but
    /// `Other` also says that the two bytes were there.
    #[inline(always)]
    #[must_use]
    pub fn class(self) -> Class {
        let [first, second] = self.start;
        match first {
            // RFC 5761 section 4: RTCP packet types 192 to 223; RTP does not use 64 to 95 with the
            // marker bit. RFC 3550 section 6.4.2: an RTCP packet has 8 bytes or more.
            128..=191 if matches!(second, 192..=223) => self.at_least(8, Class::Rtcp),
            // RFC 3550 section 5.1: the fixed header has 12 bytes.
            128..=191 => self.at_least(12, Class::Rtp),
            // RFC 8489 section 5: the header has 20 bytes.
            0..=3 => self.at_least(20, Class::Stun),
            // RFC 6347 section 4.1: the header of a record has 13 bytes. The records of RFC 9147
            // section 4 whose header is shorter hold 16 bytes or more after it (section 4.2.3).
            20..=63 => self.at_least(13, Class::Dtls),
            _ => Class::Other,
        }
    }

    #[inline(always)]
    fn at_least(self, length: u16, class: Class) -> Class {
        if self.length >= length {
            class
        } else {
            Class::Other
        }
    }
}
