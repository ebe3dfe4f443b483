// SPDX-License-Identifier: GPL-2.0

//! The sessions of a namespace: what is behind the netlink commands and the idle timeouts.
//!
//! A change first checks everything and allocates all it needs, and only then is made, by steps
//! that cannot fail: so every command is all or nothing, also when memory runs out in the middle.

use crate::{
    counters::Totals,
    endpoint::Leg,
    net::{
        namespace::Net,
        rcu::ReadSide,
        time::{
            self,
            Jiffies, //
        },
    },
    proto::EndReason,
    relay::{
        admission::Side,
        limits::{
            Exceeded,
            Usage, //
        },
        validate::Invalid, //
    },
    stream::{
        LiveStream,
        Stream, //
    },
    table::{
        Ports,
        Table, //
    },
};
use core::{
    fmt,
    net::{
        IpAddr,
        SocketAddr, //
    },
};
use kernel::{
    alloc::AllocError,
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNodeReservation, //
    },
};

/// A session to be made.
pub(crate) struct Wanted {
    /// Its name.
    pub(crate) label: KVec<u8>,
    /// Tag of its controller.
    pub(crate) owner: u32,
    /// Its idle timeout in milliseconds.
    pub(crate) timeout_ms: u32,
    /// Its streams, at least one.
    pub(crate) streams: KVec<Stream>,
    /// Whether sessions that own one of its local ports are to end.
    pub(crate) replace: bool,
}

/// Changes of a session. What is `None` stays.
pub(crate) struct Changes {
    /// Its name.
    pub(crate) label: Option<KVec<u8>>,
    /// Tag of its controller.
    pub(crate) owner: Option<u32>,
    /// Its idle timeout in milliseconds.
    pub(crate) timeout_ms: Option<u32>,
    /// Streams whose remotes change.
    pub(crate) streams: KVec<Stream>,
}

/// Why a command was refused. The text fits into an extended ack.
pub(crate) enum Refused {
    /// A local address is not configured.
    NotLocal(IpAddr),
    /// A local endpoint belongs to a session, or is asked for twice (id 0).
    Taken(SocketAddr, u64),
    /// The endpoints of a stream do not go together.
    Invalid(Side, Invalid),
    /// There is no session with this id.
    NoSession(u64),
    /// The session has no stream of this kind between these local endpoints.
    NoStream(SocketAddr),
    /// A session lives on an address that would go.
    InUse(SocketAddr, u64),
    /// A limit of the namespace is in the way.
    Exceeds(Exceeded),
    /// The kernel has no memory left.
    NoMemory,
}

impl Refused {
    /// The error number that goes with it.
    pub(crate) fn error(&self) -> Error {
        match self {
            Self::NotLocal(_) => EADDRNOTAVAIL,
            Self::Taken(..) => EEXIST,
            Self::Invalid(..) => EINVAL,
            Self::NoSession(_) | Self::NoStream(_) => ENOENT,
            Self::InUse(..) => EBUSY,
            Self::Exceeds(Exceeded::Sessions(_)) => ENOSPC,
            Self::Exceeds(Exceeded::HalfOpen(_)) => EUSERS,
            Self::Exceeds(Exceeded::Memory(_)) => EDQUOT,
            Self::NoMemory => ENOMEM,
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLocal(address) => {
                write!(
                    f,
                    "local-address: {address} is not configured, see config-set"
                )
            }
            Self::Taken(local, 0) => write!(f, "local-port: {local} is asked for twice"),
            Self::Taken(local, id) => write!(f, "local-port: {local} belongs to session {id}"),
            Self::Invalid(side, invalid) => {
                let side = match side {
                    Side::A => "a",
                    Side::B => "b",
                };
                let attribute = match invalid {
                    Invalid::NoPort => "remote-port",
                    Invalid::Unlearnable => "learning",
                    _ => "remote-address",
                };
                write!(f, "{side}.{attribute}: {}", invalid.as_str())
            }
            Self::NoSession(id) => write!(f, "id: there is no session {id}"),
            Self::NoStream(local) => {
                write!(
                    f,
                    "stream: the session has none between these locals at {local}"
                )
            }
            Self::InUse(local, id) => {
                write!(f, "local-address: session {id} lives at {local}")
            }
            Self::Exceeds(Exceeded::Sessions(limit)) => {
                write!(f, "sessions-max: there are {limit} sessions already")
            }
            Self::Exceeds(Exceeded::HalfOpen(limit)) => {
                write!(f, "half-open-max: {limit} sessions are half open already")
            }
            Self::Exceeds(Exceeded::Memory(limit)) => {
                write!(f, "memory-max: sessions would hold more than {limit} bytes")
            }
            Self::NoMemory => f.write_str("the kernel has no memory left"),
        }
    }
}

impl From<(Side, Invalid)> for Refused {
    fn from((side, invalid): (Side, Invalid)) -> Self {
        Self::Invalid(side, invalid)
    }
}

impl From<AllocError> for Refused {
    fn from(_: AllocError) -> Self {
        Self::NoMemory
    }
}

/// A live session.
pub(crate) struct Session {
    id: u64,
    label: KVec<u8>,
    owner: u32,
    timeout_ms: u32,
    made: Jiffies,
    deadline: Jiffies,
    streams: KVec<LiveStream>,
    /// Whether any stream has ever had both remotes.
    was_open: bool,
}

impl Session {
    /// Its number.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Its name.
    pub(crate) fn label(&self) -> &[u8] {
        &self.label
    }

    /// Tag of its controller.
    pub(crate) fn owner(&self) -> u32 {
        self.owner
    }

    /// Its idle timeout.
    pub(crate) fn timeout_ms(&self) -> u32 {
        self.timeout_ms
    }

    /// How long it lives.
    pub(crate) fn age_ms(&self, now: Jiffies) -> u64 {
        now.ms_since(self.made)
    }

    /// How long no packet was admitted.
    pub(crate) fn idle_ms(&self, now: Jiffies) -> u64 {
        now.ms_since(self.last_active())
    }

    /// Its streams.
    pub(crate) fn streams(&self) -> &[LiveStream] {
        &self.streams
    }

    /// The endpoint at this address in memory.
    pub(crate) fn leg(&self, address: usize) -> Option<&Leg> {
        self.streams
            .iter()
            .flat_map(|live| [&*live.a, &*live.b])
            .find(|leg| core::ptr::from_ref::<Leg>(*leg).addr() == address)
    }

    /// What it holds.
    fn usage(&self) -> Usage {
        let own = SESSION_MEMORY
            .saturating_add(self.label.capacity())
            .saturating_add(
                self.streams
                    .capacity()
                    .saturating_mul(size_of::<LiveStream>()),
            );
        let streams = self.streams.iter().map(LiveStream::memory);
        Usage {
            sessions: 1,
            half_open: (!self.was_open).into(),
            memory: streams.fold(own, usize::saturating_add) as u64,
        }
    }

    fn last_active(&self) -> Jiffies {
        self.streams
            .iter()
            .flat_map(|live| [live.a.last_admitted(), live.b.last_admitted()])
            .fold(self.made, Jiffies::max)
    }

    fn totals(&self) -> Totals {
        let mut sum = Totals::default();
        for live in &self.streams {
            sum.add(&live.a.totals());
            sum.add(&live.b.totals());
        }
        sum
    }
}

/// Bytes of memory a session takes itself: the nodes of both trees, each with three pointers of
/// `struct rb_node`.
const SESSION_MEMORY: usize =
    size_of::<(u64, Session)>() + size_of::<(Jiffies, u64)>() + 6 * size_of::<usize>();

/// A session that is ready to go in: nothing of it can fail any more.
pub(crate) struct Prepared {
    session: Session,
    node: RBTreeNodeReservation<u64, Session>,
    deadline: RBTreeNodeReservation<(Jiffies, u64), ()>,
    /// Sessions it takes ports from.
    replaces: KVec<u64>,
}

impl Prepared {
    /// The ids of the sessions that will be replaced.
    pub(crate) fn replaces(&self) -> &[u64] {
        &self.replaces
    }

    /// The id the session will have.
    pub(crate) fn id(&self) -> u64 {
        self.session.id
    }
}

/// What has happened since the namespace was made.
#[derive(Default)]
pub(crate) struct History {
    /// Sessions ever made.
    pub(crate) created: u64,
    /// Sessions that ended by their idle timeout.
    pub(crate) expired: u64,
    /// Sessions that a newer one replaced.
    pub(crate) replaced: u64,
    /// Commands refused because of a limit, by limit.
    pub(crate) refused: Usage,
    /// What ended sessions relayed.
    relayed: Totals,
}

/// All sessions of a namespace.
pub(crate) struct Sessions {
    net: Net,
    by_id: RBTree<u64, Session>,
    /// When each session is to be looked at: not later than it could expire.
    deadlines: RBTree<(Jiffies, u64), ()>,
    last_id: u64,
    usage: Usage,
    history: History,
}

impl Sessions {
    /// No sessions.
    pub(crate) fn new(net: Net) -> Self {
        Self {
            net,
            by_id: RBTree::new(),
            deadlines: RBTree::new(),
            last_id: 0,
            usage: Usage::default(),
            history: History::default(),
        }
    }

    /// What they hold.
    pub(crate) fn usage(&self) -> &Usage {
        &self.usage
    }

    /// What has happened so far.
    pub(crate) fn history(&self) -> &History {
        &self.history
    }

    /// What all sessions have relayed, those that ended included.
    pub(crate) fn relayed(&self) -> Totals {
        let mut sum = self.history.relayed;
        for session in self.by_id.values() {
            sum.add(&session.totals());
        }
        sum
    }

    /// The session with this id.
    pub(crate) fn get(&self, id: u64) -> Result<&Session, Refused> {
        self.by_id.get(&id).ok_or(Refused::NoSession(id))
    }

    /// The session with the lowest id that is not below `id`.
    pub(crate) fn at_or_after(&self, id: u64) -> Option<&Session> {
        let found = *self.by_id.cursor_lower_bound(&id)?.current().0;
        self.by_id.get(&found)
    }

    /// Prepares several sessions that go in together, at `table`. None of them may want a local
    /// endpoint that another one wants.
    pub(crate) fn prepare(
        &mut self,
        table: &Table,
        wanted: KVec<Wanted>,
    ) -> Result<KVec<Prepared>, Refused> {
        let mut claims = Claims(KVec::new());
        let mut prepared = KVec::with_capacity(wanted.len(), GFP_KERNEL)?;
        let mut going: KVec<u64> = KVec::new();
        let mut usage = self.usage;
        for wanted in wanted {
            let one = self.prepare_one(table, wanted, &mut claims)?;
            for id in &one.replaces {
                if !going.contains(id) {
                    usage = usage.without(self.get(*id)?.usage());
                    going.push(*id, GFP_KERNEL)?;
                }
            }
            usage = usage.with(one.session.usage());
            self.allow(table, &usage)?;
            prepared.push(one, GFP_KERNEL)?;
        }
        Ok(prepared)
    }

    /// Whether the sessions may come to hold so much. Counts when not.
    fn allow(&mut self, table: &Table, after: &Usage) -> Result<(), Refused> {
        let limits = &table.settings().limits;
        limits.allow(&self.usage, after).map_err(|exceeded| {
            let refused = &mut self.history.refused;
            let count = match exceeded {
                Exceeded::Sessions(_) => &mut refused.sessions,
                Exceeded::HalfOpen(_) => &mut refused.half_open,
                Exceeded::Memory(_) => &mut refused.memory,
            };
            *count = count.saturating_add(1);
            Refused::Exceeds(exceeded)
        })
    }

    fn prepare_one(
        &mut self,
        table: &Table,
        wanted: Wanted,
        claims: &mut Claims,
    ) -> Result<Prepared, Refused> {
        let mut replaces: KVec<u64> = KVec::new();
        let mut routes = KVec::with_capacity(wanted.streams.len(), GFP_KERNEL)?;
        for stream in &wanted.streams {
            routes.push(stream.validate(self.net, table)?, GFP_KERNEL)?;
            for local in stream.locals() {
                let (place, ports) = table
                    .place(local.ip())
                    .ok_or(Refused::NotLocal(local.ip()))?;
                if !claims.claim(place, local.port())? {
                    return Err(Refused::Taken(local, 0));
                }
                ports.prepare(local.port())?;
                match owner(ports, local.port()) {
                    Some(id) if !wanted.replace => return Err(Refused::Taken(local, id)),
                    Some(id) if !replaces.contains(&id) => replaces.push(id, GFP_KERNEL)?,
                    _ => {}
                }
            }
        }
        // Ids of sessions that do not come to be are not used again.
        self.last_id = self.last_id.saturating_add(1);
        let id = self.last_id;
        let mut streams = KVec::with_capacity(wanted.streams.len(), GFP_KERNEL)?;
        for (stream, routes) in wanted.streams.iter().zip(routes) {
            streams.push(LiveStream::new(self.net, id, stream, routes)?, GFP_KERNEL)?;
        }
        let made = time::now();
        let was_open = wanted.streams.iter().any(Stream::is_open);
        let session = Session {
            id,
            label: wanted.label,
            owner: wanted.owner,
            timeout_ms: wanted.timeout_ms,
            made,
            deadline: made.after_ms(wanted.timeout_ms),
            streams,
            was_open,
        };
        Ok(Prepared {
            session,
            node: RBTreeNodeReservation::new(GFP_KERNEL).map_err(|_| Refused::NoMemory)?,
            deadline: RBTreeNodeReservation::new(GFP_KERNEL).map_err(|_| Refused::NoMemory)?,
            replaces,
        })
    }

    /// Lets a prepared session in: from here on it forwards. The sessions it replaces are handed
    /// to `ended`.
    pub(crate) fn commit(
        &mut self,
        table: &Table,
        prepared: Prepared,
        mut ended: impl FnMut(&Session, EndReason),
    ) {
        let Prepared {
            session,
            node,
            deadline,
            replaces,
        } = prepared;
        // The new owner goes in before the old one goes out: no packet finds the port empty.
        for live in &session.streams {
            live.own_ports(table);
        }
        self.deadlines
            .insert(deadline.into_node((session.deadline, session.id), ()));
        self.usage = self.usage.with(session.usage());
        self.by_id.insert(node.into_node(session.id, session));
        self.history.created = self.history.created.saturating_add(1);
        for id in replaces {
            if let Some(session) = self.remove(table, id) {
                self.history.replaced = self.history.replaced.saturating_add(1);
                ended(&session, EndReason::Replaced);
            }
        }
    }

    /// Ends a session.
    pub(crate) fn remove(&mut self, table: &Table, id: u64) -> Option<Session> {
        let session = self.by_id.remove(&id)?;
        self.deadlines.remove(&(session.deadline, id));
        self.usage = self.usage.without(session.usage());
        for local in session
            .streams
            .iter()
            .flat_map(|live| live.signalled().locals())
        {
            if let Some(ports) = table.ports(local.ip()) {
                // A session that replaced this one owns the port already.
                if owner(ports, local.port()) == Some(id) {
                    ports.set_owner(local.port(), None);
                }
            }
        }
        self.history.relayed.add(&session.totals());
        Some(session)
    }

    /// Changes a session.
    pub(crate) fn change(
        &mut self,
        table: &Table,
        id: u64,
        changes: Changes,
    ) -> Result<(), Refused> {
        let session = self.get(id)?;
        let (mut more, mut less) = (0usize, 0usize);
        let mut prepared = KVec::with_capacity(changes.streams.len(), GFP_KERNEL)?;
        for stream in &changes.streams {
            let routes = stream.validate(self.net, table)?;
            let (place, live) = (0..)
                .zip(&session.streams)
                .find(|(_, live)| live.signalled().is_same_place(stream))
                .ok_or(Refused::NoStream(stream.a.local))?;
            prepared.push((place, live.prepare(self.net, stream, routes)?), GFP_KERNEL)?;
            more = more.saturating_add(live.memory_with(stream));
            less = less.saturating_add(live.memory());
        }
        if let Some(label) = &changes.label {
            more = more.saturating_add(label.capacity());
            less = less.saturating_add(session.label.capacity());
        }
        let before = session.usage();
        let memory = |bytes: usize| Usage {
            memory: bytes as u64,
            ..Usage::default()
        };
        let after = self.usage.with(memory(more)).without(memory(less));
        self.allow(table, &after)?;
        let mut node: RBTreeNodeReservation<(Jiffies, u64), ()> =
            RBTreeNodeReservation::new(GFP_KERNEL).map_err(|_| Refused::NoMemory)?;
        // Nothing can fail from here on.
        let Some(session) = self.by_id.get_mut(&id) else {
            return Err(Refused::NoSession(id));
        };
        for (place, change) in prepared {
            if let Some(live) = session.streams.get_mut::<usize>(place) {
                live.change(change);
            }
        }
        if let Some(label) = changes.label {
            session.label = label;
        }
        if let Some(owner) = changes.owner {
            session.owner = owner;
        }
        if let Some(timeout_ms) = changes.timeout_ms {
            session.timeout_ms = timeout_ms;
            let deadline = session.last_active().after_ms(timeout_ms);
            let old = core::mem::replace(&mut session.deadline, deadline);
            if let Some(removed) = self.deadlines.remove_node(&(old, id)) {
                node = removed.into_reservation();
            }
            self.deadlines
                .insert(node.into_node((session.deadline, id), ()));
        }
        session.was_open |= changes.streams.iter().any(Stream::is_open);
        self.usage = self.usage.without(before).with(session.usage());
        Ok(())
    }

    /// Ends the sessions that were idle for too long, at most `most` of them. Returns whether
    /// there may be more.
    ///
    /// Only sessions whose deadline has come are looked at; one that was active since gets a new
    /// deadline. So a session costs one look for each of its timeouts, whatever their number.
    pub(crate) fn expire(
        &mut self,
        table: &Table,
        now: Jiffies,
        most: usize,
        mut ended: impl FnMut(&Session, EndReason),
    ) -> bool {
        for _ in 0..most {
            let due = match self.deadlines.cursor_front() {
                Some(cursor) => *cursor.current().0,
                None => return false,
            };
            let (deadline, id) = due;
            if deadline > now {
                return false;
            }
            let Some(session) = self.by_id.get_mut(&id) else {
                self.deadlines.remove(&due);
                continue;
            };
            let latest = session.last_active().after_ms(session.timeout_ms);
            if latest > now {
                session.deadline = latest;
                if let Some(node) = self.deadlines.remove_node(&due) {
                    self.deadlines
                        .insert(node.into_reservation().into_node((latest, id), ()));
                }
            } else if let Some(session) = self.remove(table, id) {
                self.history.expired = self.history.expired.saturating_add(1);
                ended(&session, EndReason::Expired);
            }
        }
        true
    }

    /// A live session at a local address that `keeps` does not contain.
    pub(crate) fn outside(&self, keeps: impl Fn(IpAddr) -> bool) -> Option<(SocketAddr, u64)> {
        self.by_id.values().find_map(|session| {
            let mut locals = session
                .streams
                .iter()
                .flat_map(|live| live.signalled().locals());
            let local = locals.find(|local| !keeps(local.ip()))?;
            Some((local, session.id))
        })
    }
}

/// The local endpoints that the sessions of one command want: the places of their addresses in the
/// table, and their ports, in ascending order.
struct Claims(KVec<(usize, u16)>);

impl Claims {
    /// Adds one; whether it was not there yet. Most controllers ask in ascending order, and then
    /// nothing has to be moved.
    fn claim(&mut self, place: usize, port: u16) -> Result<bool, AllocError> {
        let Err(at) = self.0.binary_search(&(place, port)) else {
            return Ok(false);
        };
        self.0.reserve(1, GFP_KERNEL)?;
        self.0
            .insert_within_capacity(at, (place, port))
            .map_err(|_| AllocError)?;
        Ok(true)
    }
}

/// The session that owns a port.
fn owner(ports: &Ports, port: u16) -> Option<u64> {
    let guard = kernel::sync::rcu::read_lock();
    Some(ports.owner(port, ReadSide::from(&guard))?.session())
}
