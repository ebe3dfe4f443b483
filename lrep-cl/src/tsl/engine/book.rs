// SPDX-License-Identifier: MIT OR Apache-2.0

//! What was asked of an engine.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Created, NewSession, SessionId, SessionState, SetSession};

/// The sessions an engine was asked for, by number.
#[derive(Debug, Default)]
pub struct Book {
    last: SessionId,
    sessions: BTreeMap<SessionId, Entry>,
}

#[derive(Debug)]
struct Entry {
    session: NewSession,
    made: Instant,
    asked: Instant,
}

impl Entry {
    fn state(&self, id: SessionId, now: Instant) -> SessionState {
        let ms = |since: Instant| {
            let passed = now.saturating_duration_since(since).as_millis();
            u64::try_from(passed).unwrap_or(u64::MAX)
        };
        SessionState {
            age_ms: ms(self.made),
            // Packets are not heard of.
            idle_ms: ms(self.asked),
            ..SessionState::new(id, &self.session)
        }
    }
}

impl Book {
    /// A session was installed, in place of those that had one of its ports.
    pub fn make(&mut self, session: NewSession, now: Instant) -> Created {
        let mine: Vec<_> = locals(&session).collect();
        let is_taken = |entry: &Entry| locals(&entry.session).any(|local| mine.contains(&local));
        let taken = self.sessions.iter().filter(|(_, entry)| is_taken(entry));
        let replaced: Vec<_> = taken.map(|(id, _)| *id).collect();
        for id in &replaced {
            self.sessions.remove(id);
        }
        self.last += 1;
        let (made, asked) = (now, now);
        let entry = Entry {
            session,
            made,
            asked,
        };
        self.sessions.insert(self.last, entry);
        Created {
            id: self.last,
            replaced,
        }
    }

    /// What a session becomes by a change; `None` when there is none, or it has no such stream.
    pub fn changed(&self, set: &SetSession) -> Option<NewSession> {
        let mut session = self.sessions.get(&set.id)?.session.clone();
        for stream in &set.streams {
            let place = |other: &super::super::Stream| (other.kind, other.a.local, other.b.local);
            let mut known = session.streams.iter_mut();
            *known.find(|known| place(known) == place(stream))? = *stream;
        }
        session.label = set.label.clone().unwrap_or(session.label);
        session.owner = set.owner.unwrap_or(session.owner);
        session.timeout_ms = set.timeout_ms.unwrap_or(session.timeout_ms);
        Some(session)
    }

    /// A session was installed anew.
    pub fn put(&mut self, id: SessionId, session: NewSession, now: Instant) {
        if let Some(entry) = self.sessions.get_mut(&id) {
            entry.session = session;
            entry.asked = now;
        }
    }

    /// A session.
    pub fn get(&self, id: SessionId, now: Instant) -> Option<(NewSession, SessionState)> {
        let entry = self.sessions.get(&id)?;
        Some((entry.session.clone(), entry.state(id, now)))
    }

    /// All sessions, in the order of their numbers.
    pub fn all(&self, now: Instant) -> Vec<SessionState> {
        let sessions = self.sessions.iter();
        sessions.map(|(id, entry)| entry.state(*id, now)).collect()
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        self.sessions.len() as u64
    }

    /// A session is gone.
    pub fn forget(&mut self, id: SessionId) {
        self.sessions.remove(&id);
    }

    /// Forgets the sessions that were not asked for during `life`, and tells which.
    pub fn expire(&mut self, now: Instant, life: Duration) -> Vec<SessionState> {
        let is_old = |entry: &Entry| now.saturating_duration_since(entry.asked) >= life;
        let old = self.sessions.iter().filter(|(_, entry)| is_old(entry));
        let old: Vec<_> = old.map(|(id, entry)| entry.state(*id, now)).collect();
        for session in &old {
            self.sessions.remove(&session.id);
        }
        old
    }
}

fn locals(session: &NewSession) -> impl Iterator<Item = SocketAddr> + '_ {
    let streams = session.streams.iter();
    streams.flat_map(|stream| [stream.a.local, stream.b.local])
}
