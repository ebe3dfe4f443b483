// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0

//! Who an endpoint's remote is, when signalling may not know.
//!
//! Behind NAT, a party sends from another address and port than it signals, and is to be sent to
//! where it sends from (symmetric RTP, RFC 4961). Whoever believes the first packet that comes
//! sends calls to strangers (RFC 7362 section 5). Here a source must be near to what was
//! signalled ([`Rank`]), and who is nearer comes first:
//!
//! 1. The first acceptable source is adopted at once: packets go to it, and its own are relayed.
//! 2. A better one displaces it at once, any other only when it falls silent.
//! 3. After [`Policy::confirmations`] consistent packets the endpoint locks. Then nobody
//!    displaces the remote but, for as long as [`Policy::window_ms`], a better one that is just
//!    as consistent. A [`Neighbour`](Rank::Neighbour) or a [`Stranger`](Rank::Stranger) has only
//!    its network to show and remains displaceable by a better one.
//! 4. New signalling [opens](State::signalled_again) a lock. So does, where allowed, a remote that
//!    [moved](Roam): silent at its old source, sending the same SSRC and the sequence numbers
//!    that follow from a new acceptable one.
//!
//! Only what the endpoint [carries](Policy::carries) counts: RTCP, STUN, DTLS and what is too short
//! for its own header never make anybody the remote of RTP.
//!
//! # What that promises
//!
//! In the modes [`Signalled`](Mode::Signalled) and [`Nat`](Mode::Nat), nobody outside of the
//! networks that signalling named receives or injects a packet, whatever it knows and sends. A
//! party is learned whatever anybody sends from a worse rank. Two exceptions are left to
//! signalling (keys, SSRC): who shares the party's rank, as behind the same NAT, and sends first
//! and steadily is taken for it; and who has the address that signalling came from keeps a
//! party out that sends from a better place, when it locked longer than the window before.
//! In the mode [`Open`](Mode::Open) everybody has at least the last rank, so who is first
//! receives all until somebody nearer has sent [`Policy::confirmations`] packets, and for good if
//! nobody is nearer.
//!
//! # How it is run
//!
//! While an endpoint [is locked](State::is_locked), packets from its remote need no more than a
//! comparison. Every other packet is heard here, one after another (under a lock), after
//! [`Policy::rank`] has found its source acceptable, which needs no lock.

mod candidate;
mod policy;
mod source;

pub use self::{
    policy::{Mode, Policy, Rank, Roam},
    source::Source,
};

use self::candidate::Candidate;
use super::{admission::Carries, payload::Class};

/// What is known of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Who sent it.
    pub source: Source,
    /// What it is.
    pub class: Class,
    /// Its SSRC, if it is RTP or RTCP.
    pub ssrc: u32,
    /// Its sequence number, if it is RTP.
    pub sequence: u16,
}

/// What the remote sent last, of which nothing is heard here while the endpoint is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// When it was, in milliseconds.
    pub at: u64,
    /// Its SSRC.
    pub ssrc: u32,
    /// Its highest sequence number.
    pub sequence: u16,
}

/// What becomes of a packet, as far as its source decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is from the remote.
    Relay,
    /// It is from the remote, which its source has just become.
    Adopt,
    /// It is from the remote, and the endpoint has just locked; its source may have become the
    /// remote just now, too.
    Lock,
    /// It is not let through.
    Refuse(Refusal),
}

/// Why a packet is not let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Nothing is learned from its source now.
    ForeignSource,
    /// Its source may be learned, but not from such a packet.
    DoesNotCount,
    /// Its source may become the remote, and has not sent enough for it.
    Unconfirmed,
    /// Its source is no address that can be sent to, or the relay's own.
    UnusableSource,
}

/// What an endpoint has learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    remote: Option<Candidate>,
    is_locked: bool,
    /// Who is about to displace a locked remote.
    contender: Option<Candidate>,
}

impl State {
    /// Nothing is learned yet; nobody is sent to and nobody is let through. In the mode
    /// [`Signalled`](Mode::Signalled) there is nothing to learn.
    #[must_use]
    pub fn new(policy: &Policy, now: u64) -> Self {
        match policy.mode {
            Mode::Signalled => Self::signalled(policy.media, now),
            Mode::Nat | Mode::Open => Self {
                remote: None,
                is_locked: false,
                contender: None,
            },
        }
    }

    /// The remote is the signalled one, if there is any, and nothing is to be learned.
    #[must_use]
    pub fn signalled(remote: Option<Source>, now: u64) -> Self {
        Self {
            remote: remote.map(|source| Candidate {
                source,
                rank: Rank::Exact,
                ssrc: 0,
                sequence: 0,
                consistent: 0,
                since: now,
                heard: now,
            }),
            is_locked: true,
            contender: None,
        }
    }

    /// After new signalling. The remote stays for the moment if it is still acceptable, so that
    /// media go on, but it has to be confirmed anew.
    #[must_use]
    pub fn signalled_again(self, policy: &Policy, now: u64) -> Self {
        let anew = Self::new(policy, now);
        if anew.is_locked {
            return anew;
        }
        let still = |remote: Candidate| {
            Some(Candidate {
                rank: policy.rank(remote.source)?,
                consistent: 0,
                since: now,
                heard: now,
                ..remote
            })
        };
        Self {
            remote: self.remote.and_then(still),
            ..anew
        }
    }

    /// Where packets to the endpoint go, and the only source that is let through.
    #[must_use]
    pub fn remote(&self) -> Option<Source> {
        self.remote.map(|remote| remote.source)
    }

    /// Whether packets from the remote need not be heard.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.is_locked
    }

    /// Hears a packet: what is known afterwards, and what becomes of the packet.
    ///
    /// `heard` is what the remote sent last while locked, if that is known. `is_own` tells the
    /// addresses and ports that packets must not be sent to: the relay's own ports, and what the
    /// host knows to be its own or no single host's. It is only asked when the answer decides.
    /// `now` is in milliseconds.
    #[must_use]
    pub fn hear(
        self,
        policy: &Policy,
        packet: &Packet,
        heard: Option<Heard>,
        is_own: impl FnOnce(Source) -> bool,
        now: u64,
    ) -> (Self, Verdict) {
        match self.remote {
            Some(remote) if remote.source == packet.source => {
                self.hear_remote(remote, policy, packet, now)
            }
            _ => self.hear_other(policy, packet, heard, is_own, now),
        }
    }

    fn hear_remote(
        self,
        remote: Candidate,
        policy: &Policy,
        packet: &Packet,
        now: u64,
    ) -> (Self, Verdict) {
        if self.is_locked || !counts(policy, packet) {
            return (self, Verdict::Relay);
        }
        self.with_remote(
            remote.heard_again(packet, policy.carries, now),
            policy,
            Verdict::Relay,
        )
    }

    fn hear_other(
        self,
        policy: &Policy,
        packet: &Packet,
        heard: Option<Heard>,
        is_own: impl FnOnce(Source) -> bool,
        now: u64,
    ) -> (Self, Verdict) {
        let refuse = |refusal| (self, Verdict::Refuse(refusal));
        let Some(rank) = policy.rank(packet.source) else {
            return refuse(Refusal::ForeignSource);
        };
        if !counts(policy, packet) {
            return refuse(Refusal::DoesNotCount);
        }
        if !packet.source.is_usable(policy.loopback) {
            return refuse(Refusal::UnusableSource);
        }
        let displaces = match self.remote {
            Some(remote) if self.is_locked => {
                may_displace_locked(&remote, policy, rank, now)
                    || has_moved(policy, packet, heard, now)
            }
            Some(remote) => rank < remote.rank || remote.is_silent(policy.silence_ms, now),
            None => !self.is_locked,
        };
        if !displaces {
            refuse(Refusal::ForeignSource)
        } else if is_own(packet.source) {
            refuse(Refusal::UnusableSource)
        } else if self.is_locked {
            self.contend(policy, packet, rank, now)
        } else {
            self.with_remote(Candidate::new(packet, rank, now), policy, Verdict::Adopt)
        }
    }

    /// Hears a packet of somebody who may displace a locked remote.
    fn contend(self, policy: &Policy, packet: &Packet, rank: Rank, now: u64) -> (Self, Verdict) {
        let contender = match self.contender {
            Some(contender) if contender.source == packet.source => contender
                .is_of(packet)
                .then(|| contender.heard_again(packet, policy.carries, now)),
            // Equals wait for each other, which is not to be for good.
            Some(other) if other.rank <= rank && !other.is_silent(policy.silence_ms, now) => {
                Some(other)
            }
            _ => Some(Candidate::new(packet, rank, now)),
        };
        match contender {
            Some(confirmed) if confirmed.is_confirmed(policy) => {
                let remote = Candidate {
                    since: now,
                    ..confirmed
                };
                self.with_remote(remote, policy, Verdict::Lock)
            }
            contender => (
                Self { contender, ..self },
                Verdict::Refuse(Refusal::Unconfirmed),
            ),
        }
    }

    /// With a remote, locked if it is confirmed.
    fn with_remote(self, remote: Candidate, policy: &Policy, verdict: Verdict) -> (Self, Verdict) {
        let is_locked = remote.is_confirmed(policy);
        let state = Self {
            remote: Some(remote),
            is_locked,
            contender: None,
        };
        (state, if is_locked { Verdict::Lock } else { verdict })
    }
}

/// Whether a remote can be learned from a packet.
fn counts(policy: &Policy, packet: &Packet) -> bool {
    let is_carried = matches!(
        (policy.carries, packet.class),
        (Carries::Rtp, Class::Rtp) | (Carries::Rtcp, Class::Rtcp)
    );
    is_carried && policy.ssrc.is_none_or(|ssrc| ssrc == packet.ssrc)
}

/// Whether a source of this rank may displace a locked remote.
fn may_displace_locked(remote: &Candidate, policy: &Policy, rank: Rank, now: u64) -> bool {
    let is_final = remote.rank < Rank::Neighbour;
    let is_window_open = now.saturating_sub(remote.since) < policy.window_ms.into();
    rank < remote.rank && (is_window_open || !is_final)
}

/// Whether a packet is the locked remote's, from where it has moved.
fn has_moved(policy: &Policy, packet: &Packet, heard: Option<Heard>, now: u64) -> bool {
    let (Some(roam), Some(heard)) = (policy.roam, heard) else {
        return false;
    };
    let ahead = packet.sequence.wrapping_sub(heard.sequence);
    policy.mode != Mode::Signalled
        && packet.ssrc == heard.ssrc
        && (1..=roam.sequences).contains(&ahead)
        && now.saturating_sub(heard.at) >= roam.silence_ms.into()
}
