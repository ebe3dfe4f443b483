// SPDX-License-Identifier: MIT OR Apache-2.0

//! Two endpoints facing each other, and what becomes of a packet that arrives at one of them.

use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;

use relay::admission::{self, Carries, Side};
use relay::learning::{Heard, Mode, Packet, Policy, Rank, Refusal, Source, State, Verdict};
use relay::payload::{self, Class};
use relay::quality::{Clock, Reception, Tally};
use relay::remote::Remote;
use relay::validate::{self, Endpoint, Invalid};
use relay::{ipv4, ipv6, rtcp, rtp};

use super::super::{Counters, DropReason, Learned, Result, Stream, StreamState};
use super::convert;
use super::socket::{Arrived, Header};

/// A moment of a steady clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) ms: u64,
    pub(super) ns: u64,
}

/// Tells what is wrong with a remote of an endpoint, as far as the relay and its host know.
pub(super) type IsElsewhere<'h> =
    dyn Fn(&Endpoint, SocketAddr) -> std::result::Result<Option<()>, Invalid> + 'h;

/// What the relay knows beside the stream.
pub(super) struct Around<'h> {
    pub(super) now: Now,
    pub(super) quality: bool,
    /// Whether packets may be sent to the remote of an endpoint.
    pub(super) is_elsewhere: &'h IsElsewhere<'h>,
}

/// A packet on its way out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Departing {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) header: Header,
}

/// What is counted and kept of one direction.
#[derive(Debug, Default)]
pub(super) struct Leg {
    packets: u64,
    bytes: u64,
    drops: [u64; DropReason::ALL.len()],
    rtcp_packets: u64,
    reception: Reception<AtomicU64>,
    tally: Tally<AtomicU64>,
    admitted_ms: Option<u64>,
    packets_full_at: u64,
    bytes_full_at: u64,
}

impl Leg {
    pub(super) fn dropped(&mut self, reason: DropReason) {
        if let Some(count) = self.drops.get_mut(reason as usize) {
            *count += 1;
        }
    }

    pub(super) fn drops(&self, reason: DropReason) -> u64 {
        self.drops.get(reason as usize).copied().unwrap_or_default()
    }

    pub(super) fn counters(&self) -> Counters {
        Counters {
            packets: self.packets,
            bytes: self.bytes,
            drops: DropReason::ALL.into_iter().zip(self.drops).collect(),
            rtcp_packets: self.rtcp_packets,
        }
    }
}

/// A stream that lives.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) asked: Stream,
    a: Endpoint,
    b: Endpoint,
    known: [State; 2],
    legs: [Leg; 2],
}

impl Live {
    /// A stream as signalled. That its remotes are valid is looked at by [`Live::check`].
    pub(super) fn new(asked: Stream, now: Now) -> Result<Self> {
        let (a, b) = (convert::endpoint(&asked.a)?, convert::endpoint(&asked.b)?);
        let state = |end| State::new(&Policy::new(convert::carries(asked.kind), end), now.ms);
        Ok(Self {
            known: [state(&a), state(&b)],
            asked,
            a,
            b,
            legs: [Leg::default(), Leg::default()],
        })
    }

    /// Counts a packet from one side that was sent to the other.
    pub(super) fn sent(&mut self, side: Side, payload: &[u8]) {
        let is_rtcp =
            convert::carries(self.asked.kind) != Carries::Udp && classify(payload) == Class::Rtcp;
        let leg = self.leg_mut(side);
        leg.packets += 1;
        leg.bytes += payload.len() as u64;
        leg.rtcp_packets += u64::from(is_rtcp);
    }

    /// Whether it can be relayed.
    pub(super) fn check(&self, around: &Around<'_>) -> std::result::Result<(), (Side, Invalid)> {
        for side in [Side::A, Side::B] {
            if self.end(side).learning.mode != Mode::Signalled && self.carries() == Carries::Udp {
                return Err((side, Invalid::Unlearnable));
            }
        }
        validate::stream(&self.a, &self.b, around.is_elsewhere).map(|_| ())
    }

    /// Whether `other` is this stream with other remotes.
    pub(super) fn is_same_place(&self, other: &Stream) -> bool {
        self.asked.kind == other.kind
            && self.a.local == other.a.local
            && self.b.local == other.b.local
    }

    /// Takes new signalling over from `new`, a stream at the same place.
    pub(super) fn signal(&mut self, new: Self, now: Now) {
        let carries = new.carries();
        for (known, end) in self.known.iter_mut().zip([&new.a, &new.b]) {
            *known = known.signalled_again(&Policy::new(carries, end), now.ms);
        }
        (self.asked, self.a, self.b) = (new.asked, new.a, new.b);
        for leg in &mut self.legs {
            (leg.packets_full_at, leg.bytes_full_at) = (0, 0);
        }
    }

    /// The local endpoints, each once.
    pub(super) fn locals(&self) -> impl Iterator<Item = SocketAddr> + use<> {
        let second = (self.a.local != self.b.local).then_some(self.b.local);
        [Some(self.a.local), second].into_iter().flatten()
    }

    /// Whether both parties are known.
    pub(super) fn is_open(&self) -> bool {
        self.a.remote.is_some() && self.b.remote.is_some()
    }

    pub(super) fn admitted_ms(&self) -> Option<u64> {
        self.legs.iter().filter_map(|leg| leg.admitted_ms).max()
    }

    pub(super) fn leg(&self, side: Side) -> &Leg {
        let [a, b] = &self.legs;
        match side {
            Side::A => a,
            Side::B => b,
        }
    }

    pub(super) fn leg_mut(&mut self, side: Side) -> &mut Leg {
        let [a, b] = &mut self.legs;
        match side {
            Side::A => a,
            Side::B => b,
        }
    }

    fn end(&self, side: Side) -> &Endpoint {
        match side {
            Side::A => &self.a,
            Side::B => &self.b,
        }
    }

    fn known(&self, side: Side) -> &State {
        let [a, b] = &self.known;
        match side {
            Side::A => a,
            Side::B => b,
        }
    }

    fn set_known(&mut self, side: Side, state: State) {
        let [a, b] = &mut self.known;
        match side {
            Side::A => *a = state,
            Side::B => *b = state,
        }
    }

    fn carries(&self) -> Carries {
        convert::carries(self.asked.kind)
    }

    fn policy(&self, side: Side) -> Policy {
        Policy::new(self.carries(), self.end(side))
    }

    fn party(&self, side: Side) -> Endpoint {
        Endpoint {
            remote: self.known(side).remote().map(SocketAddr::from),
            ..*self.end(side)
        }
    }

    /// Whether somebody's packets are expected: the party's, or those of one to be learned.
    pub(super) fn expects_somebody(&self, side: Side) -> bool {
        self.end(side).remote.is_some()
    }

    /// The endpoints at a local address and port.
    fn sides_at(&self, local: SocketAddr) -> impl Iterator<Item = Side> + use<> {
        let a = (self.a.local == local).then_some(Side::A);
        let b = (self.b.local == local).then_some(Side::B);
        [a, b].into_iter().flatten()
    }

    /// Decides on a packet that arrived at `local`. Where it arrived comes with the decision; what
    /// departs is counted when it is sent.
    pub(super) fn arrive(
        &mut self,
        local: SocketAddr,
        packet: &Arrived<'_>,
        around: &Around<'_>,
    ) -> (Side, std::result::Result<Departing, DropReason>) {
        let side = match self.facing(local, packet.source) {
            Some(side) => Ok(side),
            None => self.stranger(local, packet, around),
        };
        let fallback = self.sides_at(local).next().unwrap_or(Side::A);
        let decided = side.map(|side| (side, self.forward(side, packet, around)));
        let (side, departing) = match decided {
            Ok((side, departing)) => (side, departing),
            Err(reason) => (fallback, Err(reason)),
        };
        if let Err(reason) = departing {
            self.leg_mut(side).dropped(reason);
        }
        (side, departing)
    }

    /// The endpoint whose locked remote sent a packet.
    fn facing(&self, local: SocketAddr, source: SocketAddr) -> Option<Side> {
        let remote = |side: Side| {
            let is_here = self.end(side).local == local && self.known(side).is_locked();
            Remote::from(self.party(side).remote.filter(|_| is_here))
        };
        let (a, b) = (remote(Side::A), remote(Side::B));
        match source {
            SocketAddr::V4(source) => {
                admission::direction(a, b, ipv4::TransportAddress::from(source))
            }
            SocketAddr::V6(source) => {
                admission::direction(a, b, ipv6::TransportAddress::from(source))
            }
        }
    }

    /// Where a packet of nobody's locked remote arrived, if it is let through.
    fn stranger(
        &mut self,
        local: SocketAddr,
        packet: &Arrived<'_>,
        around: &Around<'_>,
    ) -> std::result::Result<Side, DropReason> {
        let source = Source::from(packet.source);
        // The lesser is heard first: who is known already, then who is nearer to what was
        // signalled, then who has nobody yet.
        let order = |side: Side| {
            let policy = self.policy(side);
            let rank = policy
                .rank(source)
                .filter(|_| policy.mode != Mode::Signalled)?;
            let remote = self.known(side).remote();
            Some((remote != Some(source), rank, remote.is_some()))
        };
        let mut candidates: Vec<((bool, Rank, bool), Side)> = self
            .sides_at(local)
            .filter_map(|side| Some((order(side)?, side)))
            .collect();
        candidates.sort_by_key(|(order, _)| *order);
        let mut candidates = candidates.into_iter();
        let ((_, rank, _), first) = candidates.next().ok_or(DropReason::ForeignSource)?;
        match (self.hear(first, packet, around), candidates.next()) {
            (Err(DropReason::ForeignSource), Some(((_, equal, _), second))) if equal == rank => {
                self.hear(second, packet, around).map(|()| second)
            }
            (result, _) => result.map(|()| first),
        }
    }

    fn hear(
        &mut self,
        side: Side,
        packet: &Arrived<'_>,
        around: &Around<'_>,
    ) -> std::result::Result<(), DropReason> {
        let class = classify(packet.payload);
        let header = rtp_header(class, packet.payload);
        if let Some(header) = &header {
            let asked = &self.end(side).receiving;
            asked.admit(header).map_err(of_admission)?;
        }
        let ssrc = match packet.payload.first_chunk() {
            Some(start) if class == Class::Rtcp => rtcp::ssrc(start),
            _ => header.map_or(0, |header| header.ssrc),
        };
        let heard = Packet {
            source: packet.source.into(),
            class,
            ssrc,
            sequence: header.map_or(0, |header| header.sequence),
        };
        let policy = self.policy(side);
        let leg = self.leg(side);
        let is_measured = policy.carries == Carries::Rtp && around.quality;
        let last = match (leg.reception.read(), leg.admitted_ms) {
            (Some(standing), Some(at)) if is_measured => Some(Heard {
                at,
                ssrc: standing.ssrc,
                sequence: standing.highest,
            }),
            _ => None,
        };
        let opposite = self.party(side.opposite());
        let is_own = |source: Source| {
            let party = Endpoint {
                remote: Some(source.into()),
                ..*self.end(side)
            };
            validate::is_ambiguous(&party, &opposite)
                || validate::remote(&party, opposite.local, around.is_elsewhere).is_err()
        };
        let before = *self.known(side);
        let (after, verdict) = before.hear(&policy, &heard, last, is_own, around.now.ms);
        self.set_known(side, after);
        match verdict {
            Verdict::Relay | Verdict::Adopt | Verdict::Lock => Ok(()),
            Verdict::Refuse(refusal) => Err(of_learning(refusal)),
        }
    }

    /// Admits, measures and directs a packet of the party.
    fn forward(
        &mut self,
        side: Side,
        packet: &Arrived<'_>,
        around: &Around<'_>,
    ) -> std::result::Result<Departing, DropReason> {
        let carries = self.carries();
        let here = *self.end(side);
        let there = self.party(side.opposite());
        let class = classify(packet.payload);
        admission::admit(carries, class).map_err(of_admission)?;
        let header = rtp_header(class, packet.payload);
        let leg = self.leg_mut(side);
        if let Some(header) = &header {
            here.receiving.admit(header).map_err(of_admission)?;
        }
        let bytes = packet.payload.len() as u64;
        for (rate, full_at, units) in [
            (here.receiving.packets, &mut leg.packets_full_at, 1),
            (here.receiving.bytes, &mut leg.bytes_full_at, bytes),
        ] {
            if let Some(rate) = rate {
                *full_at = rate
                    .take(*full_at, units, around.now.ns)
                    .ok_or(DropReason::Rate)?;
            }
        }
        if let (Some(header), true) = (&header, carries == Carries::Rtp && around.quality) {
            let signalled = here.receiving.clock();
            let clock = signalled.unwrap_or_else(|| Clock::of_payload_type(header.payload_type));
            let received = leg.reception.receive(header, clock, around.now.ns);
            leg.tally.note(received);
        }
        leg.admitted_ms = Some(around.now.ms);
        let to = there.remote.ok_or(DropReason::Held)?;
        if packet.header.hops <= 1 {
            return Err(DropReason::TtlExceeded);
        }
        let header = Header {
            traffic_class: there.sending.traffic_class(packet.header.traffic_class),
            hops: there.sending.hops.unwrap_or(packet.header.hops - 1),
        };
        Ok(Departing {
            from: there.local,
            to,
            header,
        })
    }

    /// As it is told.
    pub(super) fn state(&self, now: Now) -> StreamState {
        let learned = |side| {
            let learns = self.policy(side).mode != Mode::Signalled;
            self.party(side)
                .remote
                .filter(|_| learns)
                .map(|remote| Learned {
                    remote,
                    locked: self.known(side).is_locked(),
                })
        };
        let quality = |side| {
            let leg = self.leg(side);
            let last = now.ms.saturating_sub(leg.admitted_ms.unwrap_or_default());
            let standing = leg.reception.read()?;
            Some(convert::quality(&standing, &leg.tally.read(), last))
        };
        StreamState {
            stream: self.asked,
            learned_a: learned(Side::A),
            learned_b: learned(Side::B),
            from_a: self.leg(Side::A).counters(),
            from_b: self.leg(Side::B).counters(),
            quality_a: quality(Side::A),
            quality_b: quality(Side::B),
        }
    }
}

fn classify(payload: &[u8]) -> Class {
    let length = u16::try_from(payload.len()).unwrap_or(u16::MAX);
    match payload.first_chunk() {
        Some(start) => payload::classify(*start, length),
        None => Class::Other,
    }
}

fn rtp_header(class: Class, payload: &[u8]) -> Option<rtp::Header> {
    let header = payload.first_chunk().filter(|_| class == Class::Rtp)?;
    Some(rtp::parse(header))
}

fn of_admission(refusal: admission::Refusal) -> DropReason {
    match refusal {
        admission::Refusal::Malformed => DropReason::Malformed,
        admission::Refusal::PayloadType => DropReason::PayloadType,
        admission::Refusal::ForeignSsrc => DropReason::ForeignSsrc,
    }
}

fn of_learning(refusal: Refusal) -> DropReason {
    match refusal {
        Refusal::ForeignSource => DropReason::ForeignSource,
        Refusal::DoesNotCount | Refusal::Unconfirmed => DropReason::Unconfirmed,
        Refusal::UnusableSource => DropReason::UnusableSource,
    }
}
