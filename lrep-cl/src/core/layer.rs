// SPDX-License-Identifier: MIT OR Apache-2.0

//! One TSL as the core knows it: what it holds, what it was asked, and whether it answers.
//!
//! Commands that have nothing to do with each other are on their way at the same time; those of one
//! call, or for one port, go one after the other, so that each decision is made on the outcome of
//! the one before. When an outcome is unknown, or events were lost, nothing more is sent until all
//! outcomes are in; then the table is read anew, and what was asked is decided on what is there.

mod jobs;
mod reading;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ahash::HashSet;
use nix::errno::Errno;
use tracing::{error, info, warn};

use super::Action;
use super::command::{Command, Outcome, Token};
use super::job::{Claim, Job, Wish};
use super::journal::{log_alarm, log_end};
use super::status::{TslHealth, TslStatus};
use crate::alarm::{Alarms, Withheld};
use crate::call::{Calls, Locals, Media};
use crate::config::{Health, TslConfig};
use crate::ports::Ports;
use crate::tsl::{self, EndReason, Event, SessionId, SessionState, SetConfig, Totals};

/// How often the counters are asked for, or a silent TSL is asked whether it is there.
const LOOK: Duration = Duration::from_secs(1);

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
