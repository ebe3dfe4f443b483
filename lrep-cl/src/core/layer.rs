// SPDX-License-Identifier: MIT OR Apache-2.0

//! One TSL as the core knows it: what it holds, what it was asked, and whether it answers.
//!
//! Commands that have nothing to do with each other are on their way at the same time; those of one
//! call, or for one port, go one after the other, so that each decision is made on the outcome of
//! the one before. When an outcome is unknown, or events were lost, nothing more is sent until all
//! outcomes are in; then the table is read anew, and what was asked is decided on what is there.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ahash::HashSet;
use nix::errno::Errno;
use tracing::{debug, error, info, warn};

use super::Action;
use super::command::{Command, Outcome, Token};
use super::job::{Claim, Job, Wish};
use super::journal::{cure, log_alarm, log_end, party};
use super::shortage::Shortage;
use super::status::{TslHealth, TslStatus};
use crate::alarm::{Alarms, Withheld};
use crate::call::{Calls, Locals, Media, Plan};
use crate::config::{Health, TslConfig};
use crate::logging::CallId;
use crate::ports::Ports;
use crate::tsl::{
    self, EndReason, Event, NewSession, SessionId, SessionState, SetConfig, SetSession, Totals,
};

/// How long to wait before a TSL that refused to be opened is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// How long a TSL that is full gets no new calls.
const FULL: Duration = Duration::from_secs(1);

/// How often the counters are asked for, or a silent TSL is asked whether it is there.
const LOOK: Duration = Duration::from_secs(1);

/// Commands for sessions that may be on their way at the same time.
const WINDOW: usize = 256;

/// Jobs that may wait; further ones are refused.
const QUEUE: usize = 4096;

/// What a command on its way is for.
#[derive(Debug)]
enum Purpose {
    Subscribe,
    Configure,
    Dump,
    Look,
    Limit,
    Make(Job, Media),
    Change(Job, SessionId, Media),
    End(Job, SessionId),
}

/// A command on its way.
#[derive(Debug)]
struct Flight {
    since: Instant,
    /// Boxed, since flights are moved whenever one lands.
    purpose: Box<Purpose>,
}

/// Whether the TSL can be worked with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It is to be read (anew) as soon as nothing is on its way.
    Stale,
    /// It is being configured and read.
    Opening,
    /// What it holds is known.
    Ready,
    /// It could not be opened, and is tried again then.
    Closed { since: Instant, retry: Instant },
}

/// What a layer works with besides itself.
#[derive(Debug)]
pub struct Io<'a> {
    /// The time.
    pub now: Instant,
    /// What the edge is to do.
    pub actions: &'a mut Vec<Action>,
    /// The next token.
    pub token: &'a mut Token,
    /// Which messages were logged lately.
    pub alarms: &'a mut Alarms,
    /// Calls that have lost a relay without anybody asking for it.
    pub silenced: &'a mut Vec<Vec<u8>>,
    /// Jobs that are over, and what came of them.
    pub finished: &'a mut Vec<(Job, tsl::Result<()>)>,
}

impl Io<'_> {
    fn due(&mut self, kind: &'static str) -> Option<Withheld> {
        self.alarms.due(kind, self.now)
    }
}

/// One TSL.
#[derive(Debug)]
pub struct Layer {
    index: usize,
    /// What the configuration says about it.
    pub config: TslConfig,
    health: Health,
    owner: u32,
    settings: SetConfig,
    /// Whether its counters matter to the choice among several.
    counts: bool,
    /// What calls hold here.
    pub calls: Calls,
    /// Where clients are with its ports.
    pub ports: Ports,
    state: State,
    /// Whether it was ever ready.
    known: bool,
    /// Whether it could not be opened, and was not ready since: asked again, it may stay silent.
    gone: bool,
    listening: bool,
    /// Whether it is to be read once more when it has been read.
    again: bool,
    /// By token, so the oldest is first.
    in_flight: BTreeMap<Token, Flight>,
    busy: HashSet<Claim>,
    waiting: VecDeque<Job>,
    /// Sessions that are gone, and whose final state is still to be told.
    ending: HashSet<SessionId>,
    collisions: u64,
    full_until: Option<Instant>,
    /// Whether its operator lets it have new calls.
    enabled: bool,
    look_at: Instant,
    totals: Option<(Instant, Totals)>,
    packet_rate: u64,
}

impl Layer {
    /// A TSL that is not open yet. `parts`: its ports are divided among so many clients; `counts`:
    /// its counters are wanted; `draw` draws a number below another.
    #[expect(clippy::too_many_arguments, reason = "all that makes one up")]
    pub fn new(
        index: usize,
        config: TslConfig,
        health: Health,
        owner: u32,
        limits: tsl::Limits,
        parts: u16,
        counts: bool,
        draw: &mut dyn FnMut(u32) -> u32,
        now: Instant,
    ) -> Self {
        let locals = config.addresses.locals();
        let settings = SetConfig {
            ports: config.owned_ports(),
            local_addresses: locals.into_iter().map(Into::into).collect(),
            quality: None,
            limits: Some(limits),
        };
        Self {
            index,
            ports: Ports::new(&config.ports, parts, draw),
            config,
            health,
            owner,
            settings,
            counts,
            calls: Calls::default(),
            state: State::Stale,
            known: false,
            gone: false,
            listening: false,
            again: false,
            in_flight: BTreeMap::new(),
            busy: HashSet::default(),
            waiting: VecDeque::new(),
            ending: HashSet::default(),
            collisions: 0,
            full_until: None,
            enabled: true,
            look_at: now + LOOK,
            totals: None,
            packet_rate: 0,
        }
    }

    /// Whether new calls may be given to it.
    pub fn is_usable(&self, now: Instant) -> bool {
        self.enabled && self.is_alive(now) && !self.is_full(now)
    }

    /// Whether it held as much as it may, a moment ago.
    fn is_full(&self, now: Instant) -> bool {
        self.full_until.is_some_and(|until| now < until)
    }

    /// Whether its operator lets it have new calls.
    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Lets it have new calls, or no more.
    pub fn enable(&mut self, enabled: bool) {
        self.enabled = enabled;
    }

    /// Whether it is ready, and answers.
    pub fn is_alive(&self, now: Instant) -> bool {
        self.state == State::Ready && !self.is_silent(now)
    }

    /// Whether its table is known.
    pub fn is_read(&self) -> bool {
        self.known
    }

    /// Whether something is known to be wrong with it.
    pub fn is_closed(&self, now: Instant) -> bool {
        self.gone || self.is_silent(now)
    }

    /// Whether nothing is expected of it now: it does not answer, or it could not be opened just now.
    pub fn is_given_up(&self, now: Instant) -> bool {
        matches!(self.state, State::Closed { .. }) || self.is_silent(now)
    }

    /// Whether a command has waited for its outcome for too long.
    fn is_silent(&self, now: Instant) -> bool {
        self.in_flight
            .values()
            .next()
            .is_some_and(|oldest| now >= oldest.since + self.health.timeout)
    }

    /// Sessions that are there or about to be.
    pub fn sessions(&self) -> u64 {
        let making = self
            .in_flight
            .values()
            .filter(|flight| matches!(*flight.purpose, Purpose::Make(..)));
        (self.calls.len() + making.count()) as u64
    }

    /// Packets it relayed per second, lately.
    pub fn packet_rate(&self) -> u64 {
        self.packet_rate
    }

    /// Whether nothing is on its way or waits, nor is still to be told.
    pub fn is_idle(&self) -> bool {
        let working = self
            .in_flight
            .values()
            .any(|flight| !matches!(*flight.purpose, Purpose::Look));
        let telling = self.state == State::Ready && !self.ending.is_empty();
        !working && !telling && self.waiting.is_empty()
    }

    /// Whether it holds, or may come to hold, the media of a call whose answerer was told this relay
    /// address.
    pub fn may_hold(&self, label: &[u8], answerer: SocketAddr) -> bool {
        self.calls.find(label, answerer).is_some()
            || self.busy.contains(&Claim::Call(label.into()))
            || self.waiting.iter().any(|job| *job.label == *label)
    }

    /// Whether it is known why the table has this media of a call. Of a table that is read for the first
    /// time it is not asked.
    pub fn explains(&self, label: &[u8], answerer: SocketAddr) -> bool {
        let is_about_it = |job: &Job| {
            *job.label == *label
                && answerer
                    == match &job.wish {
                        Wish::Set(media) => media.answerer.local,
                        Wish::Delete(answerer) => *answerer,
                    }
        };
        !self.known
            || self.calls.find(label, answerer).is_some()
            || self.waiting.iter().any(is_about_it)
    }

    /// Whether it may hold anything of a call. One that was not read yet may.
    pub fn may_know(&self, label: &[u8]) -> bool {
        !self.known || self.knows(label)
    }

    /// Whether it is known to hold, or may come to hold, anything of a call.
    pub fn knows(&self, label: &[u8]) -> bool {
        self.calls.contains(label)
            || self.busy.contains(&Claim::Call(label.into()))
            || self.waiting.iter().any(|job| *job.label == *label)
    }

    /// How it is.
    pub fn status(&self, now: Instant) -> TslStatus {
        let health = match self.state {
            _ if self.gone => TslHealth::Closed,
            _ if self.is_silent(now) => TslHealth::Silent,
            State::Ready if self.is_full(now) => TslHealth::Full,
            State::Ready => TslHealth::Ready,
            State::Stale | State::Opening | State::Closed { .. } => TslHealth::Opening,
        };
        TslStatus {
            name: self.config.name.clone(),
            set: self.config.set,
            weight: self.config.weight,
            health,
            enabled: self.enabled,
            sessions: self.sessions(),
            packets_per_second: self.counts.then_some(self.packet_rate),
            ports_in_use: self.ports.count(),
            ports_leaked: self.ports_leaked(),
            ports: self.ports.size(),
        }
    }

    /// Ports that count as in use, and that no call has. Each call holds its ports as long as it is
    /// known, so there should be none. Looks at every call.
    pub fn ports_leaked(&self) -> u32 {
        self.ports
            .leaked(self.calls.locals().flat_map(Locals::ports))
    }

    /// Takes what a new configuration says of it. Its addresses and ports stay.
    pub fn reload(
        &mut self,
        weight: u32,
        counts: bool,
        health: Health,
        limits: tsl::Limits,
        io: &mut Io<'_>,
    ) {
        self.config.weight = weight;
        self.counts = counts;
        self.health = health;
        if self.settings.limits.replace(limits) == Some(limits) {
            return;
        }
        match self.state {
            State::Ready => self.send(
                Command::Configure(self.settings.clone()),
                Purpose::Limit,
                io,
            ),
            // It may have been sent the old ones just now.
            State::Opening => self.again = true,
            State::Stale | State::Closed { .. } => {}
        }
    }

    /// Takes a job; gives it back when too many wait. What is to end then is forgotten, and removed when
    /// the table is read anew.
    pub fn submit(&mut self, job: Job, io: &mut Io<'_>) -> Result<(), Box<Job>> {
        if self.waiting.len() >= QUEUE {
            if let Wish::Delete(answerer) = job.wish {
                self.abandon(&job.label, answerer, io.now);
            }
            return Err(Box::new(job));
        }
        let free = self.state == State::Ready
            && self.waiting.is_empty()
            && self.in_flight.len() < WINDOW
            && !job.claims().any(|claim| self.busy.contains(&claim));
        if free {
            self.start(job, io);
        } else {
            self.waiting.push_back(job);
            self.start_waiting(io);
        }
        Ok(())
    }

    /// Tries at once to open it, unless that was tried just now.
    pub fn wake(&mut self, io: &mut Io<'_>) {
        if let State::Closed { since, .. } = self.state {
            if io.now >= since + RETRY {
                self.state = State::Stale;
                self.open(io);
            }
        }
    }

    /// Takes note of what came of a command. A table is given back: see [`Self::adopt`].
    pub fn outcome(
        &mut self,
        token: Token,
        result: tsl::Result<Outcome>,
        io: &mut Io<'_>,
    ) -> Option<Vec<SessionState>> {
        let flight = self.in_flight.remove(&token)?;
        let table = match (*flight.purpose, result) {
            (Purpose::Subscribe, Ok(_)) => {
                self.listening = true;
                self.send(
                    Command::Configure(self.settings.clone()),
                    Purpose::Configure,
                    io,
                );
                None
            }
            (Purpose::Configure, Ok(_)) => {
                self.send(Command::Dump, Purpose::Dump, io);
                None
            }
            (Purpose::Dump, Ok(Outcome::Table(sessions))) => Some(sessions),
            (Purpose::Subscribe | Purpose::Configure | Purpose::Dump, result) => {
                self.close(&unexpected(result), io);
                None
            }
            (Purpose::Limit, Ok(_)) => {
                info!(tsl = self.config.name, "works with new limits");
                None
            }
            (Purpose::Limit, Err(error)) => {
                error!(
                    tsl = self.config.name,
                    "goes on with the old limits: {error}; reload again"
                );
                self.doubt(&error);
                None
            }
            (Purpose::Look, Ok(outcome)) => {
                self.note_totals(outcome, io.now);
                None
            }
            (Purpose::Look, Err(error)) => {
                self.doubt(&error);
                None
            }
            (Purpose::Make(job, media), result) => {
                self.made(job, media, result, io);
                None
            }
            (Purpose::Change(job, id, media), result) => {
                self.changed(job, id, media, result, io);
                None
            }
            (Purpose::End(job, id), result) => {
                self.ended(job, id, result, io);
                None
            }
        };
        self.open(io);
        self.start_waiting(io);
        table
    }

    /// Takes the table that was read for what the TSL holds.
    pub fn adopt(&mut self, mut sessions: Vec<SessionState>, io: &mut Io<'_>) {
        sessions.retain(|session| session.owner == self.owner);
        let (calls, strange) = Calls::adopt(&sessions);
        for id in strange {
            warn!(
                session = id,
                tsl = self.config.name,
                "left alone: it has this daemon's owner tag, but no RTP stream"
            );
        }
        for locals in calls.locals() {
            self.ports.occupy(locals.ports());
        }
        for locals in self.calls.locals() {
            self.ports.release(locals.ports(), io.now);
        }
        // The youngest session tells how far the client has come.
        sessions.sort_by_key(|session| session.age_ms);
        for session in &sessions {
            if let Some(state) = session.streams.first() {
                self.ports.seen(state.stream.b.local.port());
            }
        }
        if self.known {
            warn!(
                tsl = self.config.name,
                sessions = calls.len(),
                "read the session table anew"
            );
        } else {
            info!(
                tsl = self.config.name,
                sessions = calls.len(),
                "adopted the sessions found"
            );
        }
        if !self.ending.is_empty() {
            warn!(
                tsl = self.config.name,
                sessions = self.ending.len(),
                "what these sessions relayed, which have ended meanwhile, was lost with the events"
            );
            self.ending.clear();
        }
        let before = std::mem::replace(&mut self.calls, calls);
        let lost = before.labels().filter(|label| !self.calls.contains(label));
        io.silenced.extend(lost.map(<[u8]>::to_vec));
        self.known = true;
        self.gone = false;
        self.state = State::Ready;
        io.actions.push(Action::Opened {
            tsl: self.index,
            result: Ok(()),
        });
        if self.again {
            self.state = State::Stale;
        }
        self.open(io);
        self.start_waiting(io);
    }

    /// Takes note of an event; `None` when the TSL can tell no more.
    pub fn event(&mut self, event: Option<Event>, io: &mut Io<'_>) {
        match event {
            Some(Event::Ended(session, reason)) => {
                let was_held = self.forget(session.id, io.now);
                if self.ending.remove(&session.id) || was_held {
                    log_end(&session, reason);
                }
                if was_held && reason == EndReason::Expired {
                    io.silenced.push(session.label);
                }
            }
            Some(Event::Alarm(alarm)) => {
                let owner = alarm.session.as_ref().map(|session| session.owner);
                if owner.is_none_or(|owner| owner == self.owner) {
                    log_alarm(&alarm);
                }
            }
            Some(Event::Overrun) => {
                warn!(tsl = self.config.name, "events were lost");
                self.stale();
            }
            None => {
                warn!(tsl = self.config.name, "the events have ceased");
                self.listening = false;
                self.stale();
            }
        }
        self.open(io);
    }

    /// Does what is due.
    pub fn tick(&mut self, io: &mut Io<'_>) {
        if let State::Closed { retry, .. } = self.state {
            if retry <= io.now {
                self.state = State::Stale;
            }
        }
        self.open(io);
        if self.counts && self.state == State::Ready && self.look_at <= io.now {
            self.look_at = io.now + LOOK;
            let looking = self
                .in_flight
                .values()
                .any(|flight| matches!(*flight.purpose, Purpose::Look));
            if !looking {
                self.send(Command::Totals, Purpose::Look, io);
            }
        }
    }

    /// When [`Self::tick`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Closed { retry, .. } => Some(retry),
            State::Ready if self.counts => Some(self.look_at),
            _ => None,
        }
    }

    fn send(&mut self, command: Command, purpose: Purpose, io: &mut Io<'_>) {
        *io.token += 1;
        let token = *io.token;
        let flight = Flight {
            since: io.now,
            purpose: Box::new(purpose),
        };
        self.in_flight.insert(token, flight);
        io.actions.push(Action::Command {
            tsl: self.index,
            token,
            command,
        });
    }

    fn stale(&mut self) {
        match self.state {
            State::Ready => self.state = State::Stale,
            State::Opening => self.again = true,
            State::Stale | State::Closed { .. } => {}
        }
    }

    /// After an error that leaves open what the TSL holds, all is read anew.
    fn doubt(&mut self, error: &tsl::Error) {
        if error.is_uncertain() {
            self.listening = false;
            self.stale();
        }
    }

    /// Begins to read the table, should that be due and possible.
    fn open(&mut self, io: &mut Io<'_>) {
        if self.state != State::Stale || !self.in_flight.is_empty() {
            return;
        }
        self.state = State::Opening;
        self.again = false;
        if self.listening {
            self.send(
                Command::Configure(self.settings.clone()),
                Purpose::Configure,
                io,
            );
        } else {
            // Before the dump, so that nothing falls between the two.
            self.send(Command::Subscribe(self.owner), Purpose::Subscribe, io);
        }
    }

    fn close(&mut self, error: &tsl::Error, io: &mut Io<'_>) {
        let pause = match error {
            tsl::Error::NoAnswer => self.health.disable,
            _ => RETRY,
        };
        self.listening = false;
        self.gone = true;
        self.state = State::Closed {
            since: io.now,
            retry: io.now + pause,
        };
        if let Some(withheld) = io.due("closed") {
            error!(
                withheld,
                tsl = self.config.name,
                "no calls go there, tried again in {} s: {error}",
                pause.as_secs_f32()
            );
        }
        // Whoever asked for a relay was told that there is none. Ends stay asked for.
        let (ends, sets): (VecDeque<_>, VecDeque<_>) = self
            .waiting
            .drain(..)
            .partition(|job| matches!(job.wish, Wish::Delete(_)));
        self.waiting = ends;
        for job in sets {
            io.finished.push((job, Err(error.clone())));
        }
        io.actions.push(Action::Opened {
            tsl: self.index,
            result: Err(error.clone()),
        });
    }

    fn note_totals(&mut self, outcome: Outcome, now: Instant) {
        let Outcome::Totals(totals) = outcome else {
            return;
        };
        let packets = |totals: &Totals| totals.relayed.packets;
        if let Some((since, before)) = &self.totals {
            let elapsed = now.saturating_duration_since(*since).as_millis().max(1);
            let relayed = packets(&totals).saturating_sub(packets(before));
            let rate = u128::from(relayed) * 1000 / elapsed;
            self.packet_rate = u64::try_from(rate).unwrap_or(u64::MAX);
        }
        self.totals = Some((now, *totals));
    }

    /// Starts what may be started of what waits, in the order it came.
    fn start_waiting(&mut self, io: &mut Io<'_>) {
        if self.state != State::Ready || self.waiting.is_empty() {
            return;
        }
        // What an earlier job that stays wants, a later one must not have.
        let mut held: HashSet<Claim> = HashSet::default();
        let mut kept = VecDeque::new();
        while let Some(job) = self.waiting.pop_front() {
            if self.state != State::Ready || self.in_flight.len() >= WINDOW {
                self.waiting.push_front(job);
                break;
            }
            let blocked = |claim: Claim| self.busy.contains(&claim) || held.contains(&claim);
            if job.claims().any(blocked) {
                held.extend(job.claims());
                kept.push_back(job);
            } else {
                self.start(job, io);
            }
        }
        kept.append(&mut self.waiting);
        self.waiting = kept;
    }

    /// Sends the command that fulfils a job; none is needed when it is fulfilled.
    fn start(&mut self, job: Job, io: &mut Io<'_>) {
        match &job.wish {
            Wish::Set(media) => {
                let media = **media;
                // The configuration keeps it below seven days.
                let timeout_ms = u32::try_from(media.timeout.as_millis()).unwrap_or(u32::MAX);
                let streams = media.streams();
                self.busy.extend(job.claims());
                match self.calls.plan(&job.label, &media) {
                    Plan::Change(id) => {
                        let set = SetSession {
                            id,
                            timeout_ms: Some(timeout_ms),
                            streams,
                            ..SetSession::default()
                        };
                        let purpose = Purpose::Change(job, id, media);
                        self.send(Command::Set(set), purpose, io);
                    }
                    Plan::New => {
                        let new = NewSession {
                            label: job.label.to_vec(),
                            owner: self.owner,
                            timeout_ms,
                            streams,
                            replace: true,
                        };
                        self.send(Command::New(new), Purpose::Make(job, media), io);
                    }
                }
            }
            &Wish::Delete(answerer) => match self.calls.find(&job.label, answerer) {
                Some(id) => {
                    self.busy.extend(job.claims());
                    self.send(Command::Delete(id), Purpose::End(job, id), io);
                }
                None => {
                    debug!(call_id = %CallId(&job.label), %answerer, "nothing to delete");
                    io.finished.push((job, Ok(())));
                }
            },
        }
    }

    fn made(&mut self, job: Job, media: Media, result: tsl::Result<Outcome>, io: &mut Io<'_>) {
        let created = match result {
            Ok(Outcome::Created(created)) => created,
            result => return self.failed(job, unexpected(result), io),
        };
        let call_id = CallId(&job.label);
        let (collisions, gone) = self.calls.replaced(&job.label, &created.replaced);
        for locals in &gone {
            self.ports.release(locals.ports(), io.now);
        }
        self.hold(created.id, &job.label, media, io.now);
        for collision in collisions {
            self.collisions += 1;
            if let Some(withheld) = io.due("collision") {
                let other = collision.label.map_or_else(
                    || "of another owner".to_owned(),
                    |label| label.escape_ascii().to_string(),
                );
                let port = media.answerer.local.port();
                let is_exhausted = self.ports.is_exhausted(port, io.now);
                let cause = Shortage::of(is_exhausted, || self.ports_leaked());
                warn!(
                    %call_id,
                    withheld,
                    collisions = self.collisions,
                    "port collision: this call was given ports of the living call {other}, whose \
                     relay (session {}) has ended; {cause}",
                    collision.id,
                );
            }
        }
        info!(
            %call_id,
            session = created.id,
            tsl = self.config.name,
            offerer = %party(&media.offerer),
            answerer = %party(&media.answerer),
            "relay installed"
        );
        self.done(job, io);
    }

    fn changed(
        &mut self,
        job: Job,
        id: SessionId,
        media: Media,
        result: tsl::Result<Outcome>,
        io: &mut Io<'_>,
    ) {
        match result {
            Ok(_) => {
                self.hold(id, &job.label, media, io.now);
                debug!(call_id = %CallId(&job.label), session = id, ?media, "relay changed");
                self.done(job, io);
            }
            // It has just ended.
            Err(error) if error.is(Errno::ENOENT) => {
                self.end(id, io.now);
                self.free(&job);
                self.waiting.push_front(job);
            }
            Err(error) => self.failed(job, error, io),
        }
    }

    fn ended(&mut self, job: Job, id: SessionId, result: tsl::Result<Outcome>, io: &mut Io<'_>) {
        match result {
            Ok(_) => {
                self.end(id, io.now);
                self.done(job, io);
            }
            // It has just ended by itself.
            Err(error) if error.is(Errno::ENOENT) => {
                self.end(id, io.now);
                self.done(job, io);
            }
            Err(error) => self.failed(job, error, io),
        }
    }

    fn done(&mut self, job: Job, io: &mut Io<'_>) {
        self.free(&job);
        io.finished.push((job, Ok(())));
    }

    fn failed(&mut self, mut job: Job, error: tsl::Error, io: &mut Io<'_>) {
        self.free(&job);
        self.doubt(&error);
        let is_wanted = match job.wish {
            Wish::Delete(_) => true,
            // Whoever waits no longer was told that there is no relay.
            Wish::Set(_) => io.now < job.until,
        };
        if error.is_uncertain() && !job.retried && is_wanted {
            // Once the table is known again, it can be decided on what is there.
            job.retried = true;
            self.waiting.push_front(job);
            return;
        }
        if let (true, Wish::Delete(answerer)) = (error.is_uncertain(), &job.wish) {
            self.abandon(&job.label, *answerer, io.now);
        }
        if is_full(&error) {
            self.full_until = Some(io.now + FULL);
        }
        let (kind, cure) = cure(&error);
        if let Some(withheld) = io.due(kind) {
            error!(
                call_id = %CallId(&job.label),
                withheld,
                tsl = self.config.name,
                "{}: {error}{cure}",
                job.wish.failure()
            );
        }
        io.finished.push((job, Err(error)));
    }

    fn free(&mut self, job: &Job) {
        for claim in job.claims() {
            self.busy.remove(&claim);
        }
    }

    /// A session is there. A TSL that has started anew gives ids a second time, to sessions that
    /// have nothing to do with those it had.
    fn hold(&mut self, id: SessionId, label: &[u8], media: Media, now: Instant) {
        self.forget(id, now);
        let locals = media.locals();
        self.ports.occupy(locals.ports());
        self.calls.insert(id, label, locals);
    }

    /// A session is gone, and its event is on the way, if it has not come first.
    fn end(&mut self, id: SessionId, now: Instant) {
        if self.forget(id, now) {
            self.ending.insert(id);
        }
    }

    /// A session is wanted no longer, and cannot be ended now: nothing of it is known when the table is
    /// read anew.
    fn abandon(&mut self, label: &[u8], answerer: SocketAddr, now: Instant) {
        if let (true, Some(id)) = (self.known, self.calls.find(label, answerer)) {
            self.forget(id, now);
            self.stale();
        }
    }

    /// A session is gone; whether it was known.
    fn forget(&mut self, id: SessionId, now: Instant) -> bool {
        let locals = self.calls.remove(id);
        if let Some(locals) = &locals {
            self.ports.release(locals.ports(), now);
        }
        locals.is_some()
    }
}

/// Whether a TSL refused because it holds as much as it may.
pub fn is_full(error: &tsl::Error) -> bool {
    [Errno::ENOSPC, Errno::EUSERS, Errno::EDQUOT, Errno::ENOMEM]
        .into_iter()
        .any(|errno| error.is(errno))
}

/// The error; an answer to something else is one.
fn unexpected(result: tsl::Result<Outcome>) -> tsl::Error {
    result.err().unwrap_or_else(|| {
        tsl::Error::Channel("a command was answered with something else".to_owned())
    })
}
