// SPDX-License-Identifier: GPL-2.0

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

/// Why a packet is not let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The source is not the remote address signalled for this endpoint.
    ForeignSource,
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

/// Which endpoint a packet arrived at when both share one local address and port: the one whose
/// remote sent it. `None` when neither did, a [`Refusal::ForeignSource`].
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

/// Whether a packet that arrived at an endpoint with this `remote` is let through.
///
/// # Errors
///
/// The first [`Refusal`] that applies, the source before the payload: what a stranger sends says
/// nothing about the party.
#[inline(always)]
pub fn admit<T, R: PartialEq<T>>(
    carries: Carries,
    remote: R,
    source: T,
    payload: Class,
) -> Result<(), Refusal> {
    if remote != source {
        return Err(Refusal::ForeignSource);
    }
    match (carries, payload) {
        (Carries::Udp, _) => Ok(()),
        (_, Class::Other) | (Carries::Rtcp, Class::Rtp) => Err(Refusal::Malformed),
        _ => Ok(()),
    }
}
