// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0

//! From whom an endpoint may learn its remote.

use super::{
    super::{admission::Carries, policy::Learning, validate::Endpoint},
    source::{are_neighbours, Source},
};

use core::net::{IpAddr, Ipv6Addr};

/// How much signalling is trusted to name the remote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The signalled address and port are the remote's. Nothing is learned.
    #[default]
    Signalled,
    /// The remote may be behind NAT. It is learned from packets whose source is near to what was
    /// signalled.
    Nat,
    /// The remote is learned from whoever sends.
    Open,
}

/// How near a source is to what was signalled. The better one is the lesser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// The signalled address and port.
    Exact,
    /// The signalled address, another port.
    MediaAddress,
    /// The address that signalling came from.
    SignallingAddress,
    /// A neighbour of either: the same /24 (IPv4) or /64 (IPv6).
    Neighbour,
    /// Neither.
    Stranger,
}

/// How a locked endpoint follows a remote that has moved without signalling. RTCP has no sequence
/// numbers, so an endpoint of RTCP does not: it is signalled again when that of its RTP has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roam {
    /// How long the old source must have been silent, in milliseconds.
    pub silence_ms: u32,
    /// How far ahead of the old source's last sequence number the new one's may be.
    pub sequences: u16,
}

/// What was signalled for an endpoint, and what may be made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How much signalling is trusted.
    pub mode: Mode,
    /// What the endpoint carries. Only RTP counts for an endpoint of RTP, only RTCP for one of
    /// RTCP, each of which learns for itself.
    pub carries: Carries,
    /// Address and port for media, of the SDP.
    pub media: Option<Source>,
    /// Where the signalling message itself came from; for an endpoint of RTCP better where its
    /// RTP does.
    pub signalling: Option<Ipv6Addr>,
    /// The only SSRC that counts, where one was signalled (RFC 5576).
    pub ssrc: Option<u32>,
    /// Consistent packets, those of one SSRC with rising sequence numbers, after which an
    /// endpoint locks.
    pub confirmations: u8,
    /// How long after a source was adopted a better one may still displace it, in milliseconds.
    pub window_ms: u32,
    /// How long a source that is not locked may be silent before any other displaces it, in
    /// milliseconds.
    pub silence_ms: u32,
    /// Whether a locked endpoint follows.
    pub roam: Option<Roam>,
    /// Whether the endpoint's own address is loopback, so that its remote's may be.
    pub loopback: bool,
}

impl Policy {
    /// Confirmations for an endpoint of RTP: a tenth of a second of audio.
    pub const RTP_CONFIRMATIONS: u8 = 5;
    /// Confirmations for an endpoint of RTCP, whose packets are seconds apart.
    pub const RTCP_CONFIRMATIONS: u8 = 2;
    /// The window there is where nobody chooses one.
    pub const WINDOW_MS: u32 = 3_000;
    /// The silence there is where nobody chooses one: a dozen packets of audio.
    pub const SILENCE_MS: u32 = 250;

    /// What an endpoint learns by that carries this. While it is on hold it learns nothing.
    #[must_use]
    pub fn new(carries: Carries, endpoint: &Endpoint) -> Self {
        let asked = match endpoint.remote {
            Some(_) => endpoint.learning,
            None => Learning::default(),
        };
        let confirmations = match carries {
            Carries::Rtcp => Self::RTCP_CONFIRMATIONS,
            Carries::Rtp | Carries::Udp => Self::RTP_CONFIRMATIONS,
        };
        Self {
            mode: Self::mode_at(endpoint),
            carries,
            media: endpoint.remote.map(Source::from),
            signalling: asked.signalling.map(|address| match address {
                IpAddr::V4(address) => address.to_ipv6_mapped(),
                IpAddr::V6(address) => address,
            }),
            ssrc: endpoint.receiving.ssrc,
            confirmations: asked.confirmations.unwrap_or(confirmations),
            window_ms: asked.window_ms.unwrap_or(Self::WINDOW_MS),
            silence_ms: asked.silence_ms.unwrap_or(Self::SILENCE_MS),
            roam: asked.roam,
            loopback: endpoint.local.ip().is_loopback(),
        }
    }

    /// How the party of an endpoint is learned: one that was not signalled is not.
    #[must_use]
    pub fn mode_at(endpoint: &Endpoint) -> Mode {
        match endpoint.remote {
            Some(_) => endpoint.learning.mode,
            None => Mode::Signalled,
        }
    }

    /// How near a source is, or `None` when nothing is learned from it whatever happens.
    ///
    /// Needs no state, so a flood of strangers' packets can be refused without looking at any.
    #[must_use]
    pub fn rank(&self, source: Source) -> Option<Rank> {
        let rank = self.nearness(source);
        let worst = match self.mode {
            Mode::Signalled => Rank::Exact,
            Mode::Nat => Rank::Neighbour,
            Mode::Open => Rank::Stranger,
        };
        (rank <= worst).then_some(rank)
    }

    fn nearness(&self, source: Source) -> Rank {
        let media = self.media.map(|media| media.address);
        let is_near = |address| are_neighbours(source.address, address);
        if self.media == Some(source) {
            Rank::Exact
        } else if media == Some(source.address) {
            Rank::MediaAddress
        } else if self.signalling == Some(source.address) {
            Rank::SignallingAddress
        } else if media.is_some_and(is_near) || self.signalling.is_some_and(is_near) {
            Rank::Neighbour
        } else {
            Rank::Stranger
        }
    }
}
