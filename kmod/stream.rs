// SPDX-License-Identifier: GPL-2.0

//! Two endpoints facing each other: as they were signalled, as they are known by now, and as packets
//! see them.

use crate::{
    endpoint::{
        Flow,
        Forward,
        Leg, //
    },
    gate::Gate,
    learner::{
        Connected,
        Learner,
        Terms, //
    },
    net::{
        namespace::Net,
        rcu::RcuArc,
        route::{
            NoRoute,
            Route, //
        },
        time, //
    },
    proto::StreamKind,
    relay::{
        admission::{
            Carries,
            Side, //
        },
        learning::{
            Mode,
            Policy,
            Source,
            State, //
        },
        validate::{
            self,
            Endpoint,
            Invalid, //
        },
    },
    table::Table,
};
use core::net::SocketAddr;
use kernel::{
    alloc::{
        AllocError,
        Flags, //
    },
    prelude::*, //
};

/// Two endpoints facing each other, as signalled.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stream {
    /// What is carried.
    pub(crate) kind: StreamKind,
    /// One endpoint.
    pub(crate) a: Endpoint,
    /// The other one.
    pub(crate) b: Endpoint,
}

impl Stream {
    /// Whether both endpoints have the same local address and port.
    fn is_shared(&self) -> bool {
        self.a.local == self.b.local
    }

    /// The local endpoints, each once.
    pub(crate) fn locals(&self) -> impl Iterator<Item = SocketAddr> {
        let second = (!self.is_shared()).then_some(self.b.local);
        [Some(self.a.local), second].into_iter().flatten()
    }

    /// Whether it can be relayed in a namespace, as far as its remotes decide, and by which routes.
    ///
    /// # Errors
    ///
    /// The endpoint and what is wrong with it.
    pub(crate) fn validate(&self, net: Net, table: &Table) -> Result<Routes, (Side, Invalid)> {
        for side in [Side::A, Side::B] {
            let learns = self.endpoint(side).learning.mode != Mode::Signalled;
            if learns && self.carries() == Carries::Udp {
                return Err((side, Invalid::Unlearnable));
            }
        }
        let [a, b] = validate::stream(&self.a, &self.b, is_elsewhere(net, table))?;
        Ok(Routes { a, b })
    }

    /// Whether both parties are known.
    pub(crate) fn is_open(&self) -> bool {
        self.a.remote.is_some() && self.b.remote.is_some()
    }

    /// Bytes of memory that packets' view of it takes, with the routes it keeps.
    fn memory(&self) -> usize {
        let direction = RcuArc::<Leg>::SIZE + RcuArc::<Flow>::SIZE + RcuArc::<Route>::SIZE;
        [Side::A, Side::B].into_iter().fold(0, |sum: usize, side| {
            let gate = match self.endpoint(side).receiving.is_selective() {
                true => RcuArc::<Gate>::SIZE,
                false => 0,
            };
            let terms = match Policy::mode_at(self.endpoint(side)) {
                Mode::Signalled => 0,
                Mode::Nat | Mode::Open => RcuArc::<Terms>::SIZE,
            };
            sum.saturating_add(direction)
                .saturating_add(gate)
                .saturating_add(terms)
        })
    }

    /// Whether `other` is this stream with other remotes.
    pub(crate) fn is_same_place(&self, other: &Stream) -> bool {
        self.kind == other.kind && self.a.local == other.a.local && self.b.local == other.b.local
    }

    fn endpoint(&self, side: Side) -> &Endpoint {
        match side {
            Side::A => &self.a,
            Side::B => &self.b,
        }
    }

    fn carries(&self) -> Carries {
        match self.kind {
            StreamKind::Rtp => Carries::Rtp,
            StreamKind::Rtcp => Carries::Rtcp,
            StreamKind::Udp => Carries::Udp,
        }
    }

    fn policy(&self, side: Side) -> Policy {
        Policy::new(self.carries(), self.endpoint(side))
    }

    /// Whether the party of an endpoint is learned.
    fn learns_at(&self, side: Side) -> bool {
        Policy::mode_at(self.endpoint(side)) != Mode::Signalled
    }

    fn learns(&self) -> bool {
        [Side::A, Side::B]
            .into_iter()
            .any(|side| self.learns_at(side))
    }
}

/// The routes to the signalled remotes of both endpoints, where there are any.
pub(crate) struct Routes {
    a: Option<Route>,
    b: Option<Route>,
}

/// Tells whether the remote of an endpoint is somewhere else than at the relay and its host, and the
/// route to it if there is one.
fn is_elsewhere(
    net: Net,
    table: &Table,
) -> impl Fn(&Endpoint, SocketAddr) -> Result<Option<Route>, Invalid> + '_ {
    move |endpoint, remote| {
        if table.is_relay_port(remote) {
            return Err(Invalid::RelayPort);
        }
        match Route::resolve(net, (endpoint.local, remote), &endpoint.sending) {
            Err(NoRoute::ThisHost) => Err(Invalid::ThisHost),
            Err(NoRoute::Broadcast) => Err(Invalid::Broadcast),
            // There may be a route by the time there are packets.
            Err(NoRoute::Unreachable) => Ok(None),
            Ok(route) => Ok(Some(route)),
        }
    }
}

/// A stream as it was signalled, and what its endpoints have learned since.
#[derive(Clone, Copy)]
pub(crate) struct Known {
    stream: Stream,
    a: State,
    b: State,
}

impl Known {
    /// Nothing but what was signalled.
    fn new(stream: Stream) -> Self {
        let now = time::now().as_ms();
        let state = |side| match stream.learns_at(side) {
            true => State::new(&stream.policy(side), now),
            false => State::signalled(stream.endpoint(side).remote.map(Source::from), now),
        };
        Self {
            stream,
            a: state(Side::A),
            b: state(Side::B),
        }
    }

    /// After new signalling.
    fn signalled_again(self, stream: Stream) -> Self {
        let now = time::now().as_ms();
        let state = |side| self.state(side).signalled_again(&stream.policy(side), now);
        Self {
            stream,
            a: state(Side::A),
            b: state(Side::B),
        }
    }

    /// What an endpoint has learned.
    pub(crate) fn state(&self, side: Side) -> &State {
        match side {
            Side::A => &self.a,
            Side::B => &self.b,
        }
    }

    /// An endpoint has learned something else.
    pub(crate) fn set_state(&mut self, side: Side, state: State) {
        match side {
            Side::A => self.a = state,
            Side::B => self.b = state,
        }
    }

    /// The party an endpoint has learned, if it learns and has.
    pub(crate) fn learned(&self, side: Side) -> Option<SocketAddr> {
        let learns = self.stream.learns_at(side);
        self.remote(side).filter(|_| learns)
    }

    /// The remote that packets to an endpoint are sent to.
    fn remote(&self, side: Side) -> Option<SocketAddr> {
        self.state(side).remote().map(SocketAddr::from)
    }

    /// Whether a source cannot be the remote of an endpoint, since packets to it would come back or
    /// go to many. Does not sleep.
    pub(crate) fn is_own(&self, net: Net, table: &Table, side: Side, source: Source) -> bool {
        let party = Endpoint {
            remote: Some(source.into()),
            ..*self.stream.endpoint(side)
        };
        let opposite = Endpoint {
            remote: self.remote(side.opposite()),
            ..*self.stream.endpoint(side.opposite())
        };
        validate::is_ambiguous(&party, &opposite)
            || validate::remote(&party, opposite.local, is_elsewhere(net, table)).is_err()
    }

    /// What is to be done with packets that arrive at an endpoint, by this route or the one that is
    /// looked up.
    pub(crate) fn flow(
        &self,
        net: Net,
        side: Side,
        route: Option<Route>,
        gate: Option<RcuArc<Gate>>,
        terms: Option<RcuArc<Terms>>,
        flags: Flags,
    ) -> Result<RcuArc<Flow>, AllocError> {
        let opposite = side.opposite();
        let (here, there) = (self.stream.endpoint(side), self.stream.endpoint(opposite));
        let remote = self.remote(side);
        let forward = match (remote, self.remote(opposite)) {
            (Some(source), Some(destination)) => Some(Forward::new(
                net,
                (source, here.local),
                (there.local, destination),
                there.sending,
                route,
                flags,
            )?),
            _ => None,
        };
        let is_locked = self.state(side).is_locked();
        let flow = Flow {
            carries: self.stream.carries(),
            remote: remote.filter(|_| is_locked).into(),
            gate,
            terms,
            clock: here.receiving.clock(),
            forward,
        };
        RcuArc::new(flow, flags)
    }

    /// The same, from new signalling. The route is the one to the opposite endpoint's signalled remote.
    fn signalled_flow(
        &self,
        net: Net,
        side: Side,
        route: Option<Route>,
        learner: Option<&RcuArc<Learner>>,
    ) -> Result<RcuArc<Flow>, AllocError> {
        let terms = match learner {
            Some(learner) if self.stream.learns_at(side) => Some(RcuArc::new(
                Terms {
                    policy: self.stream.policy(side),
                    side,
                    learner: learner.clone(),
                },
                GFP_KERNEL,
            )?),
            _ => None,
        };
        let gate = Gate::new(self.stream.endpoint(side).receiving)?;
        let there = side.opposite();
        let is_signalled = self.remote(there) == self.stream.endpoint(there).remote;
        let route = route.filter(|_| is_signalled);
        self.flow(net, side, route, gate, terms, GFP_KERNEL)
    }
}

/// A stream and what packets see of it.
pub(crate) struct LiveStream {
    /// As signalled.
    signalled: Stream,
    /// What arrives at its endpoint a.
    pub(crate) a: RcuArc<Leg>,
    /// What arrives at its endpoint b.
    pub(crate) b: RcuArc<Leg>,
    /// Once an endpoint has had something to learn. It stays, since packets may still be heard.
    learner: Option<Connected>,
}

/// A change of a stream that is ready to be made: nothing of it can fail any more.
pub(crate) struct Change {
    known: Known,
    learner: Option<RcuArc<Learner>>,
    a: RcuArc<Flow>,
    b: RcuArc<Flow>,
}

impl LiveStream {
    /// Makes a stream of a session that nobody sees yet.
    pub(crate) fn new(
        net: Net,
        session: u64,
        stream: &Stream,
        routes: Routes,
    ) -> Result<Self, AllocError> {
        let known = Known::new(*stream);
        let learner = stream.learns().then(|| Learner::new(net, known));
        let learner = learner.transpose()?;
        let flow = |side, route| known.signalled_flow(net, side, route, learner.as_ref());
        let b = Leg::new(session, flow(Side::B, routes.a)?, None)?;
        let twin = stream.is_shared().then(|| b.clone());
        let a = Leg::new(session, flow(Side::A, routes.b)?, twin)?;
        Ok(Self {
            signalled: *stream,
            learner: learner.map(|learner| Connected::new(learner, &a, &b)),
            a,
            b,
        })
    }

    /// As signalled.
    pub(crate) fn signalled(&self) -> &Stream {
        &self.signalled
    }

    /// Bytes of memory it takes, beside its own size.
    pub(crate) fn memory(&self) -> usize {
        self.memory_with(&self.signalled)
    }

    /// Bytes of memory it would take as another stream at the same place.
    pub(crate) fn memory_with(&self, stream: &Stream) -> usize {
        let learner = if self.learner.is_some() || stream.learns() {
            RcuArc::<Learner>::SIZE
        } else {
            0
        };
        stream.memory().saturating_add(learner)
    }

    /// What is known by now; `None` when there was never anything to learn.
    pub(crate) fn known(&self) -> Option<Known> {
        Some(self.learner.as_ref()?.learner().known())
    }

    /// Makes packets to the local endpoints arrive here.
    pub(crate) fn own_ports(&self, table: &Table) {
        let own = |local: SocketAddr, leg: &RcuArc<Leg>| {
            if let Some(ports) = table.ports(local.ip()) {
                ports.set_owner(local.port(), Some(leg.clone()));
            }
        };
        own(self.signalled.a.local, &self.a);
        // Of two legs that share a port, `a` owns it and knows `b`.
        if !self.signalled.is_shared() {
            own(self.signalled.b.local, &self.b);
        }
    }

    /// Prepares a change to another stream at the same place.
    ///
    /// What packets teach between this and [`change`](Self::change) is forgotten with the signalling
    /// it was learned under, as if they had come before the lock was open.
    pub(crate) fn prepare(
        &self,
        net: Net,
        stream: &Stream,
        routes: Routes,
    ) -> Result<Change, AllocError> {
        let known = match self.known() {
            Some(known) => known.signalled_again(*stream),
            None => Known::new(*stream),
        };
        let learner = match &self.learner {
            Some(connected) => Some(connected.learner().clone()),
            None if stream.learns() => Some(Learner::new(net, known)?),
            None => None,
        };
        Ok(Change {
            known,
            a: known.signalled_flow(net, Side::A, routes.b, learner.as_ref())?,
            b: known.signalled_flow(net, Side::B, routes.a, learner.as_ref())?,
            learner,
        })
    }

    /// Makes a change, from the next packet on.
    pub(crate) fn change(&mut self, change: Change) {
        let Change {
            known,
            learner,
            a,
            b,
        } = change;
        self.signalled = known.stream;
        match learner {
            Some(learner) => {
                let (a_leg, b_leg) = (&self.a, &self.b);
                let connected = self
                    .learner
                    .get_or_insert_with(|| Connected::new(learner, a_leg, b_leg));
                connected.learner().signalled(known, a, b);
            }
            None => {
                self.a.set_flow(a);
                self.b.set_flow(b);
            }
        }
    }
}
