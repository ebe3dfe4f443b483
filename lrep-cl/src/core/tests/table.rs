// SPDX-License-Identifier: MIT OR Apache-2.0

//! A table that carries out commands as the module does. The fuzz target of the core has the same.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;

use lrep_cl::core::command::{Command, Outcome};
use lrep_cl::tsl::{
    self, Created, EndReason, Event, NewSession, Refusal, SessionId, SessionState, Totals,
};
use nix::errno::Errno;

/// A table that carries commands out as the module does.
#[derive(Debug, Default)]
pub struct Table {
    /// What it holds.
    pub sessions: BTreeMap<SessionId, NewSession>,
    /// Whose a port is.
    owners: HashMap<SocketAddr, SessionId>,
    next: SessionId,
    /// Packets it has relayed.
    pub packets: u64,
    /// Events nobody has heard of yet.
    pub told: Vec<Event>,
}

/// The local addresses of a session.
pub fn locals(session: &NewSession) -> impl Iterator<Item = SocketAddr> + '_ {
    let streams = session.streams.iter();
    streams.flat_map(|stream| [stream.a.local, stream.b.local])
}

/// The kernel's refusal with this error.
pub fn refused(errno: Errno) -> tsl::Error {
    tsl::Error::Refused(Refusal {
        errno: errno as i32,
        message: None,
    })
}

impl Table {
    /// Does it.
    pub fn carry_out(&mut self, command: Command) -> tsl::Result<Outcome> {
        match command {
            Command::Subscribe(_) | Command::Configure(_) => Ok(Outcome::Done),
            Command::Totals => {
                let mut totals = Totals::default();
                totals.relayed.packets = self.packets;
                Ok(Outcome::Totals(Box::new(totals)))
            }
            Command::Dump => Ok(Outcome::Table(self.dump())),
            Command::Get(id) => {
                let session = self
                    .sessions
                    .get(&id)
                    .ok_or_else(|| refused(Errno::ENOENT))?;
                Ok(Outcome::Table(vec![SessionState::new(id, session)]))
            }
            Command::New(new) => {
                let taken = locals(&new).filter_map(|local| self.owners.get(&local).copied());
                let replaced: Vec<_> = taken.collect::<BTreeSet<_>>().into_iter().collect();
                for id in &replaced {
                    self.remove(*id);
                }
                self.next += 1;
                let id = self.next;
                self.owners.extend(locals(&new).map(|local| (local, id)));
                self.sessions.insert(id, new);
                Ok(Outcome::Created(Created { id, replaced }))
            }
            Command::Set(set) => {
                let mut session = self.remove(set.id).ok_or_else(|| refused(Errno::ENOENT))?;
                session.streams = set.streams;
                self.owners
                    .extend(locals(&session).map(|local| (local, set.id)));
                self.sessions.insert(set.id, session);
                Ok(Outcome::Done)
            }
            Command::Delete(id) => {
                let ended = self.remove(id);
                let ended = ended.ok_or_else(|| refused(Errno::ENOENT))?;
                let state = SessionState::new(id, &ended);
                self.told.push(Event::Ended(state, EndReason::Deleted));
                Ok(Outcome::Done)
            }
        }
    }

    /// Ends a session.
    pub fn remove(&mut self, id: SessionId) -> Option<NewSession> {
        let session = self.sessions.remove(&id)?;
        for local in locals(&session) {
            self.owners.remove(&local);
        }
        Some(session)
    }

    /// All sessions.
    pub fn dump(&self) -> Vec<SessionState> {
        let sessions = self.sessions.iter();
        sessions
            .map(|(id, session)| SessionState::new(*id, session))
            .collect()
    }
}
