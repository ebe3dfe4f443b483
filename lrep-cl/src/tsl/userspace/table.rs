// SPDX-License-Identifier: MIT OR Apache-2.0

//! The sessions of the relay: what is behind its commands, its packets and its idle timeouts.
//!
//! A change first checks everything and opens all sockets it needs, and only then is made: so
//! every command is all or nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use genl_proto::generated::{
    ALARM_INTERVAL_MS, ALARM_PACKETS, ALARMS_MAX, LABEL_MAX, LOCAL_ADDRESSES_MAX, PROTOCOL_VERSION,
    STREAMS_MAX, TIMEOUT_MAX_MS, TIMEOUT_MIN_MS,
};
use nix::errno::Errno;
use nix::sys::epoll::Epoll;
use relay::admission::Side;
use relay::alarm::{Alarm as Watch, Patience, Step};
use relay::limits::{Exceeded, Limits, Usage};
use relay::ports::{Range, Ranges, Unfit};
use relay::validate::{self, Endpoint, Invalid};
use tokio::sync::mpsc;

use super::super::{
    Alarm, AlarmReason, AlarmedSession, Config, Counters, Created, DropReason, EndReason, Event,
    Events, NewSession, Refused, Result, SessionId, SessionState, SetConfig, SetSession, Stream,
    Totals, taken,
};
use super::convert::refuse;
use super::socket::{Arrived, Room, Socket, Whose, whose};
use super::stream::{Around, Departing, Live, Now};

const PATIENCE: Patience = Patience {
    interval_ms: ALARM_INTERVAL_MS as u64,
    packets: ALARM_PACKETS as u64,
};

/// Where packets of a local address and port belong.
#[derive(Debug)]
struct Port {
    socket: Arc<Socket>,
    session: SessionId,
    stream: usize,
}

#[derive(Debug)]
struct Session {
    label: Vec<u8>,
    owner: u32,
    timeout_ms: u32,
    made_ms: u64,
    streams: Vec<Live>,
    was_open: bool,
}

impl Session {
    fn usage(&self) -> Usage {
        let memory = size_of::<Self>() + self.label.len() + self.streams.len() * size_of::<Live>();
        Usage {
            sessions: 1,
            half_open: (!self.was_open).into(),
            memory: memory as u64,
        }
    }

    fn last_active_ms(&self) -> u64 {
        let admitted = self.streams.iter().filter_map(Live::admitted_ms).max();
        admitted.unwrap_or_default().max(self.made_ms)
    }

    fn state(&self, id: SessionId, now: Now) -> SessionState {
        SessionState {
            id,
            label: self.label.clone(),
            owner: self.owner,
            timeout_ms: self.timeout_ms,
            streams: self.streams.iter().map(|live| live.state(now)).collect(),
            age_ms: now.ms.saturating_sub(self.made_ms),
            idle_ms: now.ms.saturating_sub(self.last_active_ms()),
        }
    }

    fn relayed(&self) -> Counters {
        let legs = self
            .streams
            .iter()
            .flat_map(|live| [live.leg(Side::A), live.leg(Side::B)]);
        legs.fold(Counters::default(), |sum, leg| add(sum, leg.counters()))
    }
}

fn add(a: Counters, b: Counters) -> Counters {
    Counters {
        packets: a.packets.saturating_add(b.packets),
        bytes: a.bytes.saturating_add(b.bytes),
        drops: a.drops.iter().chain(b.drops.iter()).collect(),
        rtcp_packets: a.rtcp_packets.saturating_add(b.rtcp_packets),
    }
}

/// Where a packet was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    session: SessionId,
    stream: usize,
    side: Side,
}

/// A packet on its way out, and where it is counted.
struct Leaving<'p> {
    place: Place,
    departing: Departing,
    payload: &'p [u8],
}

/// An offence that goes on.
#[derive(Debug)]
struct Offence {
    place: Place,
    dropped: DropReason,
    reason: AlarmReason,
    local: SocketAddr,
    source: SocketAddr,
    watch: Watch,
}

/// What the relay was told to do.
#[derive(Debug, Default)]
struct Settings {
    ports: Ranges,
    addresses: Vec<IpAddr>,
    unmeasured: bool,
    limits: Limits,
}

impl Settings {
    fn is_relay_port(&self, address: SocketAddr) -> bool {
        self.ports.contains(address.port()) && self.addresses.contains(&address.ip())
    }

    fn is_elsewhere(
        &self,
        endpoint: &Endpoint,
        remote: SocketAddr,
    ) -> std::result::Result<Option<()>, Invalid> {
        if self.is_relay_port(remote) {
            return Err(Invalid::RelayPort);
        }
        match whose(endpoint.local, remote) {
            Whose::Ours => Err(Invalid::ThisHost),
            Whose::Broadcast => Err(Invalid::Broadcast),
            Whose::Elsewhere => Ok(None),
        }
    }
}

/// All that the relay has.
#[derive(Debug, Default)]
pub(super) struct Table {
    settings: Settings,
    sessions: BTreeMap<SessionId, Session>,
    ports: HashMap<SocketAddr, Port>,
    /// Those of the ports, by number.
    sockets: HashMap<u64, Arc<Socket>>,
    last_id: SessionId,
    usage: Usage,
    totals: Totals,
    offences: Vec<Offence>,
    listeners: Vec<Listener>,
}

/// Who is told events.
#[derive(Debug)]
struct Listener {
    /// Whose sessions it controls.
    owner: Option<u32>,
    events: mpsc::UnboundedSender<Event>,
}

impl Table {
    pub(super) fn subscribe(&mut self, owner: Option<u32>) -> Result<Events> {
        self.listeners
            .retain(|listener| !listener.events.is_closed());
        let mut held = self.listeners.iter().filter_map(|listener| listener.owner);
        if let Some(owner) = owner.filter(|owner| held.any(|held| held == *owner)) {
            return Err(taken(owner, ""));
        }
        let (events, receiver) = mpsc::unbounded_channel();
        self.listeners.push(Listener { owner, events });
        Ok(receiver.into())
    }

    fn tell(&mut self, event: &Event) {
        self.listeners
            .retain(|listener| listener.events.send(event.clone()).is_ok());
    }

    fn check(&self, live: &Live, now: Now) -> Result<()> {
        let around = Around {
            now,
            quality: !self.settings.unmeasured,
            is_elsewhere: &|endpoint, remote| self.settings.is_elsewhere(endpoint, remote),
        };
        live.check(&around).map_err(|(side, invalid)| {
            let side = match side {
                Side::A => "a",
                Side::B => "b",
            };
            let attribute = match invalid {
                Invalid::NoPort => "remote-port",
                Invalid::Unlearnable => "learning",
                _ => "remote-address",
            };
            refuse(
                Errno::EINVAL,
                format!("{side}.{attribute}: {}", invalid.as_str()),
            )
        })
    }

    fn allow(&mut self, after: &Usage) -> Result<()> {
        let Err(exceeded) = self.settings.limits.allow(&self.usage, after) else {
            return Ok(());
        };
        let refused: &mut Refused = &mut self.totals.refused;
        let (count, errno, message) = match exceeded {
            Exceeded::Sessions(limit) => (
                &mut refused.sessions,
                Errno::ENOSPC,
                format!("sessions-max: there are {limit} sessions already"),
            ),
            Exceeded::HalfOpen(limit) => (
                &mut refused.half_open,
                Errno::EUSERS,
                format!("half-open-max: {limit} sessions are half open already"),
            ),
            Exceeded::Memory(limit) => (
                &mut refused.memory,
                Errno::EDQUOT,
                format!("memory-max: sessions would hold more than {limit} bytes"),
            ),
        };
        *count += 1;
        Err(refuse(errno, message))
    }

    /// Makes a session. `epoll` tells of what arrives at its sockets.
    pub(super) fn make(&mut self, new: NewSession, now: Now, epoll: &Epoll) -> Result<Created> {
        check_timeout(new.timeout_ms)?;
        check_label(&new.label)?;
        check_streams(&new.streams, 1)?;
        let mut streams = Vec::new();
        let (mut claimed, mut replaced) = (BTreeSet::new(), BTreeSet::new());
        for stream in &new.streams {
            let live = Live::new(*stream, now)?;
            self.check(&live, now)?;
            for local in live.locals() {
                if !self.settings.addresses.contains(&local.ip()) {
                    let message = format!(
                        "local-address: {} is not configured, see config-set",
                        local.ip()
                    );
                    return Err(refuse(Errno::EADDRNOTAVAIL, message));
                }
                if !claimed.insert(local) {
                    return Err(refuse(
                        Errno::EEXIST,
                        format!("local-port: {local} is asked for twice"),
                    ));
                }
                match self.ports.get(&local) {
                    Some(port) if !new.replace => {
                        let message =
                            format!("local-port: {local} belongs to session {}", port.session);
                        return Err(refuse(Errno::EEXIST, message));
                    }
                    Some(port) => _ = replaced.insert(port.session),
                    None => {}
                }
            }
            streams.push(live);
        }
        let session = Session {
            label: new.label,
            owner: new.owner,
            timeout_ms: new.timeout_ms,
            made_ms: now.ms,
            was_open: streams.iter().any(Live::is_open),
            streams,
        };
        let going = replaced.iter().filter_map(|id| self.sessions.get(id));
        let after = going.fold(self.usage, |usage, going| usage.without(going.usage()));
        self.allow(&after.with(session.usage()))?;
        let mut ports = Vec::new();
        for (stream, live) in session.streams.iter().enumerate() {
            for local in live.locals() {
                let socket = match self.ports.get(&local) {
                    Some(port) => Arc::clone(&port.socket),
                    None => open(local, epoll)?,
                };
                ports.push((local, socket, stream));
            }
        }
        // Nothing can fail from here on.
        self.last_id += 1;
        let id = self.last_id;
        for (local, socket, stream) in ports {
            self.sockets.insert(socket.number(), Arc::clone(&socket));
            let port = Port {
                socket,
                session: id,
                stream,
            };
            self.ports.insert(local, port);
        }
        self.usage = self.usage.with(session.usage());
        self.sessions.insert(id, session);
        self.totals.created += 1;
        for old in &replaced {
            if self.end(*old, EndReason::Replaced, now) {
                self.totals.replaced += 1;
            }
        }
        let replaced = replaced.into_iter().collect();
        Ok(Created { id, replaced })
    }

    /// Changes a session.
    pub(super) fn change(&mut self, set: SetSession, now: Now) -> Result<()> {
        set.timeout_ms.map_or(Ok(()), check_timeout)?;
        set.label.as_deref().map_or(Ok(()), check_label)?;
        check_streams(&set.streams, 0)?;
        let session = self.get(set.id)?;
        let mut changes = Vec::new();
        for stream in &set.streams {
            let live = Live::new(*stream, now)?;
            self.check(&live, now)?;
            let place = session
                .streams
                .iter()
                .position(|old| old.is_same_place(stream));
            let place = place.ok_or_else(|| {
                let local = stream.a.local;
                let message =
                    format!("stream: the session has none between these locals at {local}");
                refuse(Errno::ENOENT, message)
            })?;
            changes.push((place, live));
        }
        let before = session.usage();
        if let Some(label) = &set.label {
            let added = Usage {
                memory: label.len() as u64,
                ..Usage::default()
            };
            let gone = Usage {
                memory: session.label.len() as u64,
                ..Usage::default()
            };
            self.allow(&self.usage.with(added).without(gone))?;
        }
        let Some(session) = self.sessions.get_mut(&set.id) else {
            return Err(no_session(set.id));
        };
        for (place, new) in changes {
            session.was_open |= new.is_open();
            if let Some(live) = session.streams.get_mut(place) {
                live.signal(new, now);
            }
        }
        session.label = set
            .label
            .unwrap_or_else(|| std::mem::take(&mut session.label));
        session.owner = set.owner.unwrap_or(session.owner);
        session.timeout_ms = set.timeout_ms.unwrap_or(session.timeout_ms);
        self.usage = self.usage.without(before).with(session.usage());
        Ok(())
    }

    fn get(&self, id: SessionId) -> Result<&Session> {
        self.sessions.get(&id).ok_or_else(|| no_session(id))
    }

    pub(super) fn state(&self, id: SessionId, now: Now) -> Result<SessionState> {
        Ok(self.get(id)?.state(id, now))
    }

    pub(super) fn dump(&self, now: Now) -> Vec<SessionState> {
        self.sessions
            .iter()
            .map(|(id, session)| session.state(*id, now))
            .collect()
    }

    pub(super) fn delete(&mut self, id: SessionId, now: Now) -> Result<()> {
        match self.end(id, EndReason::Deleted, now) {
            true => Ok(()),
            false => Err(no_session(id)),
        }
    }

    pub(super) fn flush(&mut self, owner: Option<u32>, now: Now) -> u64 {
        let is_meant = |session: &Session| owner.is_none_or(|owner| owner == session.owner);
        let ids: Vec<_> = self
            .sessions
            .iter()
            .filter(|(_, s)| is_meant(s))
            .map(|(id, _)| *id)
            .collect();
        let ended = ids
            .into_iter()
            .filter(|id| self.end(*id, EndReason::Flushed, now));
        ended.count() as u64
    }

    /// Ends a session and tells its final state; whether it was there.
    fn end(&mut self, id: SessionId, reason: EndReason, now: Now) -> bool {
        let Some(session) = self.sessions.remove(&id) else {
            return false;
        };
        self.usage = self.usage.without(session.usage());
        for local in session.streams.iter().flat_map(Live::locals) {
            // A session that replaced this one owns the port already.
            if self
                .ports
                .get(&local)
                .is_some_and(|port| port.session == id)
            {
                if let Some(port) = self.ports.remove(&local) {
                    self.sockets.remove(&port.socket.number());
                }
            }
        }
        self.totals.relayed = add(self.totals.relayed, session.relayed());
        let state = session.state(id, now);
        self.tell(&Event::Ended(state, reason));
        true
    }

    pub(super) fn config(&self) -> Config {
        let ranges = self.settings.ports.iter();
        Config {
            protocol_version: PROTOCOL_VERSION,
            module_version: env!("CARGO_PKG_VERSION").to_owned(),
            ports: ranges.map(|range| range.first..=range.last).collect(),
            local_addresses: self.settings.addresses.clone(),
            quality: !self.settings.unmeasured,
            limits: super::super::Limits {
                sessions: self.settings.limits.sessions,
                half_open: self.settings.limits.half_open,
                memory: self.settings.limits.memory,
            },
        }
    }

    pub(super) fn configure(&mut self, settings: SetConfig) -> Result<()> {
        let mut ports = Ranges::EMPTY;
        for range in &settings.ports {
            let (first, last) = (*range.start(), *range.end());
            ports = ports.with(Range { first, last }).map_err(|unfit| {
                let errno = match unfit {
                    Unfit::TooMany => Errno::E2BIG,
                    Unfit::Zero(_) | Unfit::Reversed(_) | Unfit::Overlap(..) => Errno::EINVAL,
                };
                refuse(errno, format!("port-range: {unfit}"))
            })?;
        }
        let mut addresses = Vec::new();
        for address in settings.local_addresses {
            validate::unicast(address).map_err(|invalid| {
                refuse(
                    Errno::EINVAL,
                    format!("local-address: {}", invalid.as_str()),
                )
            })?;
            if addresses.len() == LOCAL_ADDRESSES_MAX as usize {
                let message = format!("local-address: {LOCAL_ADDRESSES_MAX} at most");
                return Err(refuse(Errno::E2BIG, message));
            }
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        if !addresses.is_empty() {
            let gone = self
                .ports
                .iter()
                .find(|(local, _)| !addresses.contains(&local.ip()));
            if let Some((local, port)) = gone {
                let message = format!("local-address: session {} lives at {local}", port.session);
                return Err(refuse(Errno::EBUSY, message));
            }
            self.settings.addresses = addresses;
        }
        if !settings.ports.is_empty() {
            self.settings.ports = ports;
        }
        self.settings.unmeasured = settings
            .quality
            .map_or(self.settings.unmeasured, |quality| !quality);
        if let Some(limits) = settings.limits {
            self.settings.limits = Limits {
                sessions: limits.sessions,
                half_open: limits.half_open,
                memory: limits.memory,
            };
        }
        Ok(())
    }

    pub(super) fn totals(&self) -> Totals {
        let living = self.sessions.values().map(Session::relayed);
        Totals {
            sessions: self.usage.sessions,
            half_open: self.usage.half_open,
            memory: self.usage.memory,
            relayed: living.fold(self.totals.relayed, add),
            ..self.totals
        }
    }

    /// Relays what has arrived at a socket, at most one batch of it.
    pub(super) fn relay(&mut self, socket: u64, room: &mut Room, now: Now) {
        // One that was closed meanwhile is told of once more.
        let Some(socket) = self.sockets.get(&socket).cloned() else {
            return;
        };
        // What cannot be read now is told of again.
        let arrived = socket.receive(room).unwrap_or_default();
        let mut leaving: Vec<Leaving<'_>> = Vec::with_capacity(arrived.len());
        for packet in &arrived {
            if let Some((place, departing)) = self.arrive(socket.local(), packet, now) {
                leaving.push(Leaving {
                    place,
                    departing,
                    payload: packet.payload,
                });
            }
        }
        for alike in leaving.chunk_by(|a, b| {
            (a.departing.from, a.departing.header) == (b.departing.from, b.departing.header)
        }) {
            self.send(alike);
        }
    }

    /// Sends packets from one socket, with one header, and counts them.
    fn send(&mut self, mut alike: &[Leaving<'_>]) {
        while let Some(first) = alike.first() {
            let Some(port) = self.ports.get(&first.departing.from) else {
                return;
            };
            let packets: Vec<_> = alike
                .iter()
                .map(|packet| (packet.departing.to, packet.payload))
                .collect();
            let (done, failure) = match port.socket.send(first.departing.header, &packets) {
                Ok(0) => (1, Some(DropReason::NoMemory)),
                Ok(sent) => (sent, None),
                Err(errno) => (1, Some(unsent(errno))),
            };
            let (counted, rest) = alike.split_at(done.min(alike.len()));
            for packet in counted {
                self.count(packet, failure);
            }
            alike = rest;
        }
    }

    /// Counts a packet that was sent, or why it was not.
    fn count(&mut self, packet: &Leaving<'_>, failure: Option<DropReason>) {
        let place = packet.place;
        let session = self.sessions.get_mut(&place.session);
        let Some(live) = session.and_then(|session| session.streams.get_mut(place.stream)) else {
            return;
        };
        match failure {
            None => live.sent(place.side, packet.payload),
            Some(reason) => live.leg_mut(place.side).dropped(reason),
        }
    }

    /// Decides on a packet that arrived at a local address and port.
    fn arrive(
        &mut self,
        local: SocketAddr,
        packet: &Arrived<'_>,
        now: Now,
    ) -> Option<(Place, Departing)> {
        let port = self.ports.get(&local)?;
        let (session, stream) = (port.session, port.stream);
        let live = self.sessions.get_mut(&session)?.streams.get_mut(stream)?;
        let settings = &self.settings;
        let around = Around {
            now,
            quality: !settings.unmeasured,
            is_elsewhere: &|endpoint, remote| settings.is_elsewhere(endpoint, remote),
        };
        let (side, decided) = live.arrive(local, packet, &around);
        let place = Place {
            session,
            stream,
            side,
        };
        match decided {
            Ok(departing) => Some((place, departing)),
            Err(dropped) => {
                let is_loop = settings.is_relay_port(packet.source);
                let reason = match dropped {
                    DropReason::ForeignSource | DropReason::UnusableSource if is_loop => {
                        AlarmReason::Loop
                    }
                    // Nobody is a stranger where nobody has been signalled yet.
                    DropReason::ForeignSource if live.expects_somebody(side) => {
                        AlarmReason::ForeignSource
                    }
                    DropReason::Rate => AlarmReason::Flood,
                    DropReason::TtlExceeded => AlarmReason::Loop,
                    _ => return None,
                };
                let before = live.leg(side).drops(dropped).saturating_sub(1);
                self.raise(Offence {
                    place,
                    dropped,
                    reason,
                    local,
                    source: packet.source,
                    watch: Watch::new(before, now.ms),
                });
                None
            }
        }
    }

    /// Begins to watch an offence, unless it goes on already.
    fn raise(&mut self, offence: Offence) {
        let is_same =
            |other: &Offence| (other.place, other.dropped) == (offence.place, offence.dropped);
        if self.offences.iter().any(is_same) {
            return;
        }
        if self.offences.len() >= ALARMS_MAX as usize {
            self.totals.alarms_missed += 1;
            return;
        }
        self.offences.push(offence);
    }

    /// Looks through the offences, and tells those that are due.
    pub(super) fn watch(&mut self, now: Now) {
        for mut offence in std::mem::take(&mut self.offences) {
            let place = offence.place;
            // The session may have ended.
            let Some(session) = self.sessions.get(&place.session) else {
                continue;
            };
            let Some(live) = session.streams.get(place.stream) else {
                continue;
            };
            let counted = live.leg(place.side).drops(offence.dropped);
            let (watch, step) = offence.watch.look(counted, now.ms, &PATIENCE);
            offence.watch = watch;
            match step {
                Step::End => continue,
                Step::Wait => {}
                Step::Tell(packets) => {
                    let alarm = Alarm {
                        reason: offence.reason,
                        session: Some(AlarmedSession {
                            id: place.session,
                            label: session.label.clone(),
                            owner: session.owner,
                        }),
                        local: offence.local,
                        source: offence.source,
                        packets,
                    };
                    self.totals.alarms += 1;
                    self.tell(&Event::Alarm(alarm));
                }
            }
            self.offences.push(offence);
        }
    }

    /// Ends the sessions that were idle for too long.
    pub(super) fn expire(&mut self, now: Now) {
        let is_idle = |session: &Session| {
            now.ms.saturating_sub(session.last_active_ms()) >= session.timeout_ms.into()
        };
        let idle = self.sessions.iter().filter(|(_, session)| is_idle(session));
        let idle: Vec<SessionId> = idle.map(|(id, _)| *id).collect();
        for id in idle {
            if self.end(id, EndReason::Expired, now) {
                self.totals.expired += 1;
            }
        }
    }
}

fn open(local: SocketAddr, epoll: &Epoll) -> Result<Arc<Socket>> {
    let opened = Socket::bind(local).and_then(|socket| {
        socket.watch(epoll)?;
        Ok(Arc::new(socket))
    });
    opened.map_err(|errno| {
        let why = match errno {
            Errno::EADDRINUSE => "another program has it",
            Errno::EADDRNOTAVAIL => "it is no address of this host",
            _ => errno.desc(),
        };
        refuse(errno, format!("local-port: no socket at {local}: {why}"))
    })
}

/// What became of a packet that could not be sent.
fn unsent(errno: Errno) -> DropReason {
    match errno {
        Errno::EMSGSIZE => DropReason::TooBig,
        Errno::EAGAIN | Errno::ENOBUFS | Errno::ENOMEM => DropReason::NoMemory,
        _ => DropReason::NoRoute,
    }
}

fn no_session(id: SessionId) -> super::super::Error {
    refuse(Errno::ENOENT, format!("id: there is no session {id}"))
}

fn check_timeout(timeout_ms: u32) -> Result<()> {
    if (TIMEOUT_MIN_MS..=TIMEOUT_MAX_MS).contains(&timeout_ms) {
        return Ok(());
    }
    let message =
        format!("timeout-ms: {timeout_ms} is not from {TIMEOUT_MIN_MS} to {TIMEOUT_MAX_MS}");
    Err(refuse(Errno::EINVAL, message))
}

fn check_label(label: &[u8]) -> Result<()> {
    if label.len() <= LABEL_MAX as usize {
        return Ok(());
    }
    Err(refuse(
        Errno::EINVAL,
        format!("label: {LABEL_MAX} bytes at most"),
    ))
}

fn check_streams(streams: &[Stream], least: usize) -> Result<()> {
    if streams.len() < least {
        return Err(refuse(Errno::EINVAL, "stream: missing"));
    }
    if streams.len() > STREAMS_MAX as usize {
        return Err(refuse(
            Errno::E2BIG,
            format!("stream: a session can have {STREAMS_MAX} at most"),
        ));
    }
    Ok(())
}
