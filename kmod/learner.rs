// SPDX-License-Identifier: GPL-2.0

//! Endpoints that learn their remote: what becomes of packets from others than a remote that is
//! final.
//!
//! Who may be learned, and when, is decided in [`learning`](crate::relay::learning). Here it is
//! carried out, in the rare case: a source that no endpoint accepts is refused without a lock, and a
//! remote that is final is not seen here at all.
//!
//! What is known of a stream changes under its lock, and so do the flows of its endpoints: a packet
//! that teaches something and a command that signals something else come one after the other, and
//! each publishes flows that say the same for both directions.

use crate::{
    endpoint::{
        Flow,
        Leg, //
    },
    net::{
        lock::PacketLock,
        namespace::Net,
        rcu::{
            RcuArc,
            RcuSlot,
            ReadSide, //
        },
        time, //
    },
    proto::DropReason,
    relay::{
        admission::{
            Carries,
            Side, //
        },
        learning::{
            Packet,
            Policy,
            Rank,
            Refusal,
            Source,
            Verdict, //
        },
        rtp, //
    },
    stream::Known,
    table::Table,
};
use kernel::{
    alloc::AllocError,
    prelude::*, //
};

/// On what terms an endpoint learns.
pub(crate) struct Terms {
    /// From whom, and how.
    pub(crate) policy: Policy,
    /// Which endpoint of its stream it is.
    pub(crate) side: Side,
    /// Who learns for the stream.
    pub(crate) learner: RcuArc<Learner>,
}

/// What the endpoints of a stream have learned.
#[pin_data]
pub(crate) struct Learner {
    net: Net,
    #[pin]
    known: PacketLock<Known>,
    a: RcuSlot<Leg>,
    b: RcuSlot<Leg>,
}

impl Learner {
    /// Makes one that has learned nothing yet.
    pub(crate) fn new(net: Net, known: Known) -> Result<RcuArc<Self>, AllocError> {
        let learner = pin_init!(Self {
            net,
            known <- PacketLock::new(known),
            a: RcuSlot::new(None),
            b: RcuSlot::new(None),
        });
        RcuArc::pin_init(learner, GFP_KERNEL)
    }

    /// What is known at the moment.
    pub(crate) fn known(&self) -> Known {
        self.known.with(|known| *known)
    }

    /// Something else was signalled: publishes what is known then and the flows that say so.
    pub(crate) fn signalled(&self, known: Known, a: RcuArc<Flow>, b: RcuArc<Flow>) {
        let guard = kernel::sync::rcu::read_lock();
        let rcu = ReadSide::from(&guard);
        self.known.with(|current| {
            *current = known;
            for (side, flow) in [(Side::A, a), (Side::B, b)] {
                if let Some(leg) = self.leg(side, rcu) {
                    leg.set_flow(flow);
                }
            }
        });
    }

    fn leg<'r>(&self, side: Side, rcu: ReadSide<'r>) -> Option<&'r Leg> {
        match side {
            Side::A => self.a.load(rcu),
            Side::B => self.b.load(rcu),
        }
    }

    /// Hears a packet at one endpoint. Returns where it arrived when it is let through.
    fn hear_at<'r>(
        &self,
        known: &mut Known,
        at: &Candidate<'r>,
        heard: &Hearing<'_>,
        rcu: ReadSide<'r>,
    ) -> Result<(&'r Leg, &'r Flow), DropReason> {
        if let (Some(gate), Some(rtp)) = (&at.flow.gate, &heard.rtp) {
            gate.admit(rtp)?;
        }
        let (side, policy) = (at.terms.side, &at.terms.policy);
        let is_measured = policy.carries == Carries::Rtp && heard.table.settings().quality;
        let last = at.leg.heard().filter(|_| is_measured);
        let is_own = |source| known.is_own(self.net, heard.table, side, source);
        let before = *known.state(side);
        let now = time::now().as_ms();
        let (state, verdict) = before.hear(policy, &heard.packet, last, is_own, now);
        match verdict {
            Verdict::Relay => {
                known.set_state(side, state);
                Ok((at.leg, at.flow))
            }
            Verdict::Refuse(refusal) => {
                known.set_state(side, state);
                Err(refusal.into())
            }
            Verdict::Adopt | Verdict::Lock => {
                known.set_state(side, state);
                let published = self.publish(known, at, before.remote() != state.remote(), rcu);
                if published.is_err() {
                    known.set_state(side, before);
                }
                published
            }
        }
    }

    /// Publishes what an endpoint has learned: to its packets who is admitted, to those of the
    /// opposite endpoint where they go.
    fn publish<'r>(
        &self,
        known: &Known,
        at: &Candidate<'r>,
        moved: bool,
        rcu: ReadSide<'r>,
    ) -> Result<(&'r Leg, &'r Flow), DropReason> {
        let make = |side, flow: &Flow| {
            let (gate, terms) = (flow.gate.clone(), flow.terms.clone());
            known
                .flow(self.net, side, None, gate, terms, GFP_ATOMIC)
                .map_err(|_| DropReason::NoMemory)
        };
        let side = at.terms.side;
        let flow = make(side, at.flow)?;
        if moved {
            // Without one the session has just ended.
            let opposite = self
                .leg(side.opposite(), rcu)
                .ok_or(DropReason::ForeignSource)?;
            let towards = opposite.flow(rcu).ok_or(DropReason::ForeignSource)?;
            opposite.set_flow(make(side.opposite(), towards)?);
        }
        at.leg.set_flow(flow);
        let flow = at.leg.flow(rcu).ok_or(DropReason::ForeignSource)?;
        Ok((at.leg, flow))
    }
}

/// A learner that publishes to the endpoints of a stream for as long as this exists. They hold it in
/// turn, so it has to let them go.
pub(crate) struct Connected(RcuArc<Learner>);

impl Connected {
    /// Connects it.
    pub(crate) fn new(learner: RcuArc<Learner>, a: &RcuArc<Leg>, b: &RcuArc<Leg>) -> Self {
        learner.a.replace(Some(a.clone()));
        learner.b.replace(Some(b.clone()));
        Self(learner)
    }

    /// The learner.
    pub(crate) fn learner(&self) -> &RcuArc<Learner> {
        &self.0
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.a.replace(None);
        self.0.b.replace(None);
    }
}

/// A packet that is heard.
pub(crate) struct Hearing<'p> {
    /// The table it was found in.
    pub(crate) table: &'p Table,
    /// What it is.
    pub(crate) packet: Packet,
    /// Its header, if it is RTP.
    pub(crate) rtp: Option<rtp::Header>,
}

/// An endpoint that a packet may have arrived at.
struct Candidate<'r> {
    leg: &'r Leg,
    flow: &'r Flow,
    terms: &'r Terms,
    rank: Rank,
}

impl<'r> Candidate<'r> {
    fn new(leg: &'r Leg, source: Source, rcu: ReadSide<'r>) -> Option<Self> {
        let flow = leg.flow(rcu)?;
        let terms = flow.terms.as_deref()?;
        let rank = terms.policy.rank(source)?;
        Some(Self {
            leg,
            flow,
            terms,
            rank,
        })
    }

    /// The lesser is heard first: who is known already, then who is nearer to what was signalled,
    /// then who has nobody yet.
    fn order(&self, known: &Known, source: Source) -> (bool, Rank, bool) {
        let remote = known.state(self.terms.side).remote();
        (remote != Some(source), self.rank, remote.is_some())
    }
}

/// The endpoint that owns a port and the opposite one if it shares it.
fn endpoints<'r>(leg: &'r Leg) -> impl Iterator<Item = &'r Leg> {
    [Some(leg), leg.twin()].into_iter().flatten()
}

/// Whether anything could be learned from this source at all. Takes no lock.
pub(crate) fn is_acceptable(leg: &Leg, source: Source, rcu: ReadSide<'_>) -> bool {
    endpoints(leg).any(|leg| Candidate::new(leg, source, rcu).is_some())
}

/// Hears a packet to a port that `leg` owns. Returns where it arrived when it is let through, else why
/// it is not.
///
/// Of two endpoints that share a port, the packet arrived at the one whose remote sent it. Nobody
/// having done so, it arrived at the one its source is nearer to; between equals, at the one that
/// knows nobody yet, then at `leg`, and when that one refuses to learn from it, at the other. Should
/// that be the wrong one, media are relayed all the same, since both directions lead to the other
/// party.
pub(crate) fn hear<'r>(
    leg: &'r Leg,
    heard: &Hearing<'_>,
    rcu: ReadSide<'r>,
) -> Result<(&'r Leg, &'r Flow), DropReason> {
    let source = heard.packet.source;
    let learner = endpoints(leg)
        .find_map(|leg| Candidate::new(leg, source, rcu))
        .map(|candidate| &candidate.terms.learner)
        .ok_or(DropReason::ForeignSource)?;
    // Who comes at the same moment as another, or as a command, comes again.
    let mut known = learner.known.try_lock(rcu).ok_or(DropReason::Unconfirmed)?;
    // Looked at again, since flows change under the lock.
    let mut candidates = endpoints(leg).filter_map(|leg| Candidate::new(leg, source, rcu));
    let first = candidates.next().ok_or(DropReason::ForeignSource)?;
    let (first, second) = match candidates.next() {
        Some(second) if second.order(&known, source) < first.order(&known, source) => {
            (second, Some(first))
        }
        second => (first, second),
    };
    match (learner.hear_at(&mut known, &first, heard, rcu), second) {
        (Err(DropReason::ForeignSource), Some(second)) if second.rank == first.rank => {
            learner.hear_at(&mut known, &second, heard, rcu)
        }
        (result, _) => result,
    }
}

impl From<Refusal> for DropReason {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::ForeignSource => Self::ForeignSource,
            Refusal::DoesNotCount | Refusal::Unconfirmed => Self::Unconfirmed,
            Refusal::UnusableSource => Self::UnusableSource,
        }
    }
}
