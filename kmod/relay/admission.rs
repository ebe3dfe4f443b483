// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0

//! Which packets are let through.
//!
//! Remotes are anything that compares with the source of a packet, so the rules are the same for every family.

use super::payload::Class;

/// What a stream carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carries {
    /// RTP and what shares its port: multiplexed RTCP (RFC 5761), STUN and DTLS (RFC 7983).
    Rtp,
    /// RTCP on a port of its own, with STUN and DTLS.
    Rtcp,
    /// Anything.
    Udp,
}

/// Why a packet of the remote is not let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The UDP length is wrong, or the payload is not what the stream carries.
    Malformed,
    /// The RTP payload type is not among those wanted.
    PayloadType,
    /// The SSRC is not the one wanted.
    ForeignSsrc,
}

/// One of the two endpoints of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The first.
    A,
    /// The second.
    B,
}

impl Side {
    /// The other one.
    #[must_use]
    pub fn opposite(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// Which endpoint a packet arrived at when both share one local address and port: the one whose
/// remote sent it. `None` when neither did.
#[inline(always)]
#[must_use]
pub fn direction<T, R: PartialEq<T>>(a: R, b: R, source: T) -> Option<Side> {
    if a == source {
        Some(Side::A)
    } else if b == source {
        Some(Side::B)
    } else {
        None
    }
}

/// Whether what a stream carries may have such a payload.
///
/// # Errors
///
/// [`Refusal::Malformed`].
#[inline(always)]
pub fn admit(carries: Carries, payload: Class) -> Result<(), Refusal> {
    match (carries, payload) {
        // First what mostly comes.
        (Carries::Rtp, Class::Rtp) | (Carries::Udp, _) => Ok(()),
        (_, Class::Other) | (Carries::Rtcp, Class::Rtp) => Err(Refusal::Malformed),
        _ => Ok(()),
    }
}
