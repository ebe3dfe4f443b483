// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0

//! What a controller may ask for at one endpoint, beside its addresses.

use super::{
    admission::Refusal,
    learning::{Mode, Roam},
    quality::Clock,
    rate::Rate,
    rtp,
};
use core::net::IpAddr;

/// Which way packets leave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Output {
    /// Straight to the neighbour where the route lets them.
    #[default]
    Automatic,
    /// By way of everything the host has for packets it forwards.
    Full,
}

/// How packets are sent to an endpoint's party.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sending {
    /// Differentiated services code point, from 0 to 63 (RFC 2474); as it arrived without.
    pub dscp: Option<u8>,
    /// Time to live or hop limit; one less than it arrived with without.
    pub hops: Option<u8>,
    /// Mark of the packets and of their route look-up.
    pub mark: u32,
    /// Index of the device packets leave through, or of the VRF; 0 for any.
    pub device: u32,
    /// Which way they leave.
    pub output: Output,
}

/// How the party's address is found out. What is `None` is left to
/// [`learning::Policy`](super::learning::Policy).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Learning {
    /// How much signalling is trusted.
    pub mode: Mode,
    /// Where the signalling message came from.
    pub signalling: Option<IpAddr>,
    /// Consistent packets after which the address is final, from 1.
    pub confirmations: Option<u8>,
    /// How long a better source may still displace a final one, in milliseconds.
    pub window_ms: Option<u32>,
    /// How long a source that is not final must have been silent to be displaced by any, in
    /// milliseconds.
    pub silence_ms: Option<u32>,
    /// Whether a final address is given up for the one the party has moved to.
    pub roam: Option<Roam>,
}

impl Sending {
    /// The DSCP wanted in the place of the one in a traffic class. The ECN bits are the network's
    /// (RFC 3168) and stay.
    #[inline(always)]
    #[must_use]
    pub fn traffic_class(&self, arrived: u8) -> u8 {
        match self.dscp {
            Some(dscp) => (dscp << 2) | (arrived & 3),
            None => arrived,
        }
    }

    /// Whether headers are to say something else than rewriting makes them say.
    #[must_use]
    pub fn changes_headers(&self) -> bool {
        self.dscp.is_some() || self.hops.is_some()
    }
}

/// A set of RTP payload types: those from 0 to 63, then those from 64 to 127, from the lowest bit on.
///
/// Two words, because one of 128 bits wants to be aligned, and every endpoint has one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayloadTypes([u64; 2]);

impl PayloadTypes {
    /// From bits in little-endian order.
    #[must_use]
    pub fn from_le_bytes(bytes: [u8; 16]) -> Self {
        u128::from_le_bytes(bytes).into()
    }

    /// As bits in little-endian order.
    #[must_use]
    pub fn to_le_bytes(self) -> [u8; 16] {
        let [low, high] = self.0.map(u128::from);
        (low | (high << 64)).to_le_bytes()
    }

    #[inline]
    fn contains(&self, payload_type: u8) -> bool {
        let word = self.0.get(usize::from(payload_type >> 6));
        word.is_some_and(|word| word.wrapping_shr(payload_type.into()) & 1 == 1)
    }
}

impl From<u128> for PayloadTypes {
    fn from(bits: u128) -> Self {
        Self([bits as u64, (bits >> 64) as u64])
    }
}

/// What is admitted from an endpoint's party, beside what all of a stream's packets have to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Receiving {
    /// RTP payload types; all without.
    pub payload_types: Option<PayloadTypes>,
    /// The only synchronisation source; any without.
    pub ssrc: Option<u32>,
    /// Packets a second in the long run.
    pub packets: Option<Rate>,
    /// UDP payload bytes a second in the long run.
    pub bytes: Option<Rate>,
    /// Rate of the RTP timestamps in Hz, from 1 to [`Clock::MAX_HZ`]; by the payload type without.
    pub clock_rate: Option<u32>,
}

impl Receiving {
    /// Whether there are packets that are not admitted.
    #[must_use]
    pub fn is_selective(&self) -> bool {
        let anything = Self {
            clock_rate: self.clock_rate,
            ..Self::default()
        };
        *self != anything
    }

    /// The clock the timestamps were signalled with.
    #[must_use]
    pub fn clock(&self) -> Option<Clock> {
        self.clock_rate.and_then(Clock::new)
    }

    /// Whether an RTP packet is of the kind and the source wanted. Other payloads have neither.
    ///
    /// # Errors
    ///
    /// [`Refusal::PayloadType`] or [`Refusal::ForeignSsrc`].
    #[inline]
    pub fn admit(&self, rtp: &rtp::Header) -> Result<(), Refusal> {
        if let Some(types) = self.payload_types {
            if !types.contains(rtp.payload_type) {
                return Err(Refusal::PayloadType);
            }
        }
        match self.ssrc {
            Some(ssrc) if ssrc != rtp.ssrc => Err(Refusal::ForeignSsrc),
            _ => Ok(()),
        }
    }
}
