// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a TSL is to do for calls: what waits, what is on its way, and what came of it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ahash::HashSet;
use nix::errno::Errno;
use tracing::{debug, error, info, warn};

use super::{Io, Layer, Purpose, State, is_full, unexpected};
use crate::call::{Media, Plan};
use crate::core::command::{Command, Outcome};
use crate::core::job::{Claim, Job, Wish};
use crate::core::journal::{cure, party};
use crate::core::shortage::Shortage;
use crate::logging::CallId;
use crate::tsl::{self, NewSession, SessionId, SetSession};

/// How long a TSL that is full gets no new calls.
const FULL: Duration = Duration::from_secs(1);

/// Commands for sessions that may be on their way at the same time.
const WINDOW: usize = 256;

/// Jobs that may wait; further ones are refused.
const QUEUE: usize = 4096;

impl Layer {
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

    /// Starts what may be started of what waits, in the order it came.
    pub(super) fn start_waiting(&mut self, io: &mut Io<'_>) {
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

    pub(super) fn made(
        &mut self,
        job: Job,
        media: Media,
        result: tsl::Result<Outcome>,
        io: &mut Io<'_>,
    ) {
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
                let is_exhausted = self.ports.is_exhausted(port);
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

    pub(super) fn changed(
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

    pub(super) fn ended(
        &mut self,
        job: Job,
        id: SessionId,
        result: tsl::Result<Outcome>,
        io: &mut Io<'_>,
    ) {
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
    pub(super) fn hold(&mut self, id: SessionId, label: &[u8], media: Media, now: Instant) {
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
}
