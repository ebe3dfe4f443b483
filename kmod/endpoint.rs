// SPDX-License-Identifier: GPL-2.0

//! One endpoint of a stream, as packets that arrive at it see it.

use crate::{
    counters::{
        Counters,
        Totals, //
    },
    gate::Gate,
    learner::Terms,
    net::{
        namespace::Net,
        rcu::{
            RcuArc,
            RcuSlot,
            ReadSide, //
        },
        route::{
            Exit,
            NoRoute,
            Route, //
        },
        time::{
            self,
            Jiffies, //
        },
    },
    proto::{
        self,
        DropReason, //
    },
    relay::{
        admission::Carries,
        learning::Heard,
        policy::Sending,
        quality::{
            Clock,
            Counts,
            Reception,
            Standing,
            Tally, //
        },
        remote::Remote,
        rewrite::Rewrite,
        rtp, //
    },
};
use core::{
    mem,
    net::SocketAddr,
    sync::atomic::{
        AtomicU32,
        AtomicU64,
        Ordering::Relaxed, //
    },
};
use kernel::{
    alloc::{
        AllocError,
        Flags, //
    },
    prelude::*, //
};

/// What is known of an endpoint for as long as its session lives: who it belongs to, what it has
/// counted, and the [`Flow`] of the moment.
///
/// What a packet needs in the ordinary case, and all it writes, comes first and is one cache line.
#[repr(C)]
pub(crate) struct Leg {
    flow: RcuSlot<Flow>,
    twin: Option<RcuArc<Leg>>,
    admitted: AtomicU64,
    reception: Reception<AtomicU64>,
    counters: Counters,
    tally: Tally<AtomicU64>,
    session: u64,
    /// When an RTCP packet was told last, in the lower half of the clock.
    reported: AtomicU32,
    /// For which reasons of dropping packets there is an alarm, a bit each.
    alarmed: AtomicU32,
}

// There are as many as there are directions, and the next larger slab has 512 bytes.
const _: () = assert!(RcuArc::<Leg>::SIZE <= 256);
// Behind it there is room for two counters.
const _: () = assert!(mem::offset_of!(Leg, counters) <= 64 - 2 * size_of::<AtomicU64>());

impl Leg {
    /// Makes an endpoint of a session. `twin` is the opposite endpoint when both share one local
    /// address and port, so that only the source of a packet tells which of them it arrived at.
    pub(crate) fn new(
        session: u64,
        flow: RcuArc<Flow>,
        twin: Option<RcuArc<Leg>>,
    ) -> Result<RcuArc<Self>, AllocError> {
        RcuArc::new(
            Self {
                session,
                twin,
                flow: RcuSlot::new(Some(flow)),
                admitted: AtomicU64::new(0),
                reported: AtomicU32::new(0),
                alarmed: AtomicU32::new(0),
                counters: Counters::default(),
                reception: Reception::default(),
                tally: Tally::default(),
            },
            GFP_KERNEL,
        )
    }

    /// The session's id.
    pub(crate) fn session(&self) -> u64 {
        self.session
    }

    /// The opposite endpoint, when it shares the local address and port.
    #[inline(always)]
    pub(crate) fn twin(&self) -> Option<&Leg> {
        self.twin.as_deref()
    }

    /// Whether somebody's packets are expected here: the party's, or those of one to be learned.
    pub(crate) fn expects_somebody(&self, rcu: ReadSide<'_>) -> bool {
        let expects = |leg: &Leg| {
            leg.flow(rcu)
                .is_some_and(|flow| !flow.remote.is_nobody() || flow.terms.is_some())
        };
        expects(self) || self.twin().is_some_and(expects)
    }

    /// What is done with packets right now.
    #[inline(always)]
    pub(crate) fn flow<'r>(&self, rcu: ReadSide<'r>) -> Option<&'r Flow> {
        self.flow.load(rcu)
    }

    /// Changes what is done with packets, from the next one on.
    pub(crate) fn set_flow(&self, flow: RcuArc<Flow>) {
        self.flow.replace(Some(flow));
    }

    /// Notes that a packet was admitted.
    #[inline(always)]
    pub(crate) fn touch(&self) {
        let now = time::now().as_raw();
        // The clock ticks far slower than packets come: mostly there is nothing to write.
        if self.admitted.load(Relaxed) != now {
            self.admitted.store(now, Relaxed);
        }
    }

    /// When the last packet was admitted; the beginning of time when none was.
    pub(crate) fn last_admitted(&self) -> Jiffies {
        Jiffies::from_raw(self.admitted.load(Relaxed))
    }

    /// Whether an RTCP packet may be told again, which it then counts as.
    pub(crate) fn is_report_due(&self) -> bool {
        let now = time::now().as_raw() as u32;
        let last = self.reported.load(Relaxed);
        // Half a clock is enough: once in months a report may be taken for too early.
        let passed = Jiffies::from_raw(now.wrapping_sub(last).into()).as_ms();
        let is_due = last == 0 || passed >= u64::from(proto::REPORT_INTERVAL_MS);
        is_due
            && self
                .reported
                .compare_exchange(last, now, Relaxed, Relaxed)
                .is_ok()
    }

    /// Whether there is an alarm about packets dropped for this reason.
    pub(crate) fn is_alarmed(&self, reason: DropReason) -> bool {
        self.alarmed.load(Relaxed) & bit(reason) != 0
    }

    /// Notes whether there is one, and tells whether there was.
    pub(crate) fn set_alarmed(&self, reason: DropReason, is_alarmed: bool) -> bool {
        let before = if is_alarmed {
            self.alarmed.fetch_or(bit(reason), Relaxed)
        } else {
            self.alarmed.fetch_and(!bit(reason), Relaxed)
        };
        before & bit(reason) != 0
    }

    /// Packets dropped for this reason.
    pub(crate) fn dropped(&self, reason: DropReason) -> u64 {
        self.counters.drops().get(reason)
    }

    /// Measures an RTP packet that was admitted. `clock` is the signalled one.
    #[inline(always)]
    pub(crate) fn measure(&self, packet: &rtp::Header, clock: Option<Clock>) {
        let clock = clock_of(packet, clock);
        let now = time::nanoseconds();
        // What `measure_further` does, without making a value to tell that nothing is to be counted.
        if !self.reception.receive_next(packet, clock, now) {
            let received = self.reception.receive_other(packet, clock, now);
            self.tally.note(received);
        }
    }

    /// Measures one of the packets that arrived with the one [`measure`](Self::measure) was called
    /// for.
    pub(crate) fn measure_further(&self, packet: &rtp::Header, clock: Option<Clock>) {
        let clock = clock_of(packet, clock);
        let received = self.reception.receive(packet, clock, time::nanoseconds());
        self.tally.note(received);
    }

    /// What the remote has sent last; `None` when it was not measured.
    pub(crate) fn heard(&self) -> Option<Heard> {
        let standing = self.reception.read()?;
        Some(Heard {
            at: self.last_admitted().as_ms(),
            ssrc: standing.ssrc,
            sequence: standing.highest,
        })
    }

    /// How well RTP has arrived; `None` when there was none yet.
    pub(crate) fn quality(&self) -> Option<(Standing, Counts)> {
        Some((self.reception.read()?, self.tally.read()))
    }

    /// What arrived here.
    #[inline(always)]
    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What arrived here so far.
    pub(crate) fn totals(&self) -> Totals {
        self.counters.read()
    }
}

fn bit(reason: DropReason) -> u32 {
    const { assert!(DropReason::ALL.len() <= 32) };
    1 << reason as u32
}

#[inline(always)]
fn clock_of(packet: &rtp::Header, signalled: Option<Clock>) -> Clock {
    signalled.unwrap_or_else(|| Clock::of_payload_type(packet.payload_type))
}

/// What is done with the packets that arrive at an endpoint. Immutable: a change of signalling, or of
/// what was learned, publishes a new one.
///
/// What a packet needs in the ordinary case comes first, to be in few cache lines.
#[repr(C)]
pub(crate) struct Flow {
    /// The only source that is admitted without being heard; none on hold, and none while the
    /// endpoint is learning.
    pub(crate) remote: Remote,
    /// What else is asked of packets; nothing in the ordinary case.
    pub(crate) gate: Option<RcuArc<Gate>>,
    /// The clock of the RTP timestamps, when it was signalled.
    pub(crate) clock: Option<Clock>,
    /// Which payloads belong to the stream.
    pub(crate) carries: Carries,
    /// Where admitted packets go; nowhere while the opposite endpoint is on hold.
    pub(crate) forward: Option<Forward>,
    /// Who else is heard; nobody in the ordinary case.
    pub(crate) terms: Option<RcuArc<Terms>>,
}

// There are as many as there are directions, and the next larger slab has 512 bytes.
const _: () = assert!(RcuArc::<Flow>::SIZE <= 256);

/// The way out.
#[repr(C)]
pub(crate) struct Forward {
    route: RcuSlot<Route>,
    /// What becomes of the headers.
    pub(crate) rewrite: Rewrite,
    /// How they are sent.
    pub(crate) sending: Sending,
    /// By how many bytes packets become longer.
    pub(crate) growth: i32,
    /// Whether headers are to say something else than rewriting makes them say.
    pub(crate) changes_headers: bool,
    from: SocketAddr,
    to: SocketAddr,
}

impl Forward {
    /// The way of packets that arrive at `local` from `remote`, out of `from` to `to`. Its route,
    /// unless it is given, is looked up now if there is one, else when the first packet wants it.
    /// Both addresses of a pair are of one family.
    pub(crate) fn new(
        net: Net,
        (remote, local): (SocketAddr, SocketAddr),
        (from, to): (SocketAddr, SocketAddr),
        sending: Sending,
        route: Option<Route>,
        flags: Flags,
    ) -> Result<Self, AllocError> {
        let rewrite = Rewrite::new((remote, local), (from, to)).ok_or(AllocError)?;
        let forward = Self {
            growth: rewrite.growth(),
            changes_headers: sending.changes_headers(),
            rewrite,
            sending,
            from,
            to,
            route: RcuSlot::new(None),
        };
        if let Some(route) = route.or_else(|| forward.resolve(net).ok()) {
            forward.route.replace(Some(RcuArc::new(route, flags)?));
        }
        Ok(forward)
    }

    fn resolve(&self, net: Net) -> Result<Route, NoRoute> {
        Route::resolve(net, (self.from, self.to), &self.sending)
    }

    /// The way out, unless the routing tables have changed since it was looked up.
    #[inline(always)]
    pub(crate) fn exit<'r>(&self, rcu: ReadSide<'r>) -> Option<Exit<'r>> {
        self.route.load(rcu)?.current(rcu)
    }

    /// The way out, looked up again.
    #[cold]
    #[inline(never)]
    pub(crate) fn reroute<'r>(&self, net: Net, rcu: ReadSide<'r>) -> Option<Exit<'r>> {
        let route = self
            .resolve(net)
            .ok()
            .and_then(|route| RcuArc::new(route, GFP_ATOMIC).ok());
        self.route.replace(route);
        self.route.load(rcu).map(|route| route.exit(rcu))
    }
}
