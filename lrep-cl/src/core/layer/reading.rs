// SPDX-License-Identifier: MIT OR Apache-2.0

//! How the table of a TSL comes to be known: it is opened, configured and read, and read anew
//! whenever it is in doubt what it holds.

use std::collections::VecDeque;
use std::time::Duration;

use tracing::{error, info, warn};

use super::{Io, Layer, Purpose, State};
use crate::call::Calls;
use crate::core::Action;
use crate::core::command::Command;
use crate::core::job::Wish;
use crate::tsl::{self, SessionState};

/// How long to wait before a TSL that refused to be opened is tried again.
const RETRY: Duration = Duration::from_millis(500);

impl Layer {
    /// Tries at once to open it, unless that was tried just now.
    pub fn wake(&mut self, io: &mut Io<'_>) {
        if let State::Closed { since, .. } = self.state {
            if io.now >= since + RETRY {
                self.state = State::Stale;
                self.open(io);
            }
        }
    }

    /// Begins to read the table, should that be due and possible.
    pub(super) fn open(&mut self, io: &mut Io<'_>) {
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

    pub(super) fn stale(&mut self) {
        match self.state {
            State::Ready => self.state = State::Stale,
            State::Opening => self.again = true,
            State::Stale | State::Closed { .. } => {}
        }
    }

    /// After an error that leaves open what the TSL holds, all is read anew.
    pub(super) fn doubt(&mut self, error: &tsl::Error) {
        if error.is_uncertain() {
            self.listening = false;
            self.stale();
        }
    }

    pub(super) fn close(&mut self, error: &tsl::Error, io: &mut Io<'_>) {
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
}
