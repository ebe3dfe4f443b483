// SPDX-License-Identifier: MIT OR Apache-2.0

//! The core with tables that carry out commands as the module does.

mod balancing;
mod model;
mod operating;
mod silenced;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use nix::errno::Errno;
use proptest::prelude::*;

use super::*;
use crate::addresses::Addresses;
use crate::config::{Config, Health, LogFormat, LogLevel, TslConfig, TslUrl};
use crate::intent::Timeouts;
use crate::tsl::{
    Created, EndReason, Learning, Limits, NewSession, Refusal as Refused, SessionId, Totals,
};

const OWNER: u32 = 7;
const TSLS: usize = 3;

/// Three TSLs that share their addresses.
fn config(algorithm: Algorithm) -> Config {
    let address = "127.0.0.21".parse().expect("an address");
    let tsl = |index: usize| TslConfig {
        name: format!("tsl-{index}"),
        url: TslUrl::Local,
        set: 0,
        weight: 1,
        addresses: Addresses {
            internal: address,
            external: address,
            mappings: Vec::new(),
        },
        start_port: 20000,
        end_port: 30000,
    };
    Config {
        listen: vec!["udp:127.0.0.1:22333".parse().expect("a socket")],
        unix_mode: 0o600,
        unix_group: None,
        allow: Vec::new(),
        port_parts: Vec::new(),
        reserve_ports: false,
        tsls: (0..TSLS).map(tsl).collect(),
        tls: None,
        sets: Vec::new(),
        algorithm,
        health: Health {
            timeout: Duration::from_secs(1),
            bound: Duration::from_secs(5),
            disable: Duration::from_secs(60),
        },
        call_life: Duration::from_secs(3600),
        calls_expected: 0,
        timeouts: Timeouts {
            fixed: None,
            min: Duration::from_secs(1),
            max: Duration::from_secs(3600),
        },
        learning: Learning::default(),
        limits: Limits::default(),
        session_rate: None,
        request_rate: None,
        timeout_sockets: Vec::new(),
        drain_timeout: Duration::ZERO,
        control_sock: "/run/lreproxy/control.sock".into(),
        control_group: None,
        owner: OWNER,
        log_level: LogLevel::Error,
        log_format: LogFormat::Text,
    }
}

/// A table that carries commands out as the module does.
#[derive(Debug, Default)]
struct Table {
    sessions: BTreeMap<SessionId, NewSession>,
    /// Whose a port is.
    owners: HashMap<SocketAddr, SessionId>,
    next: SessionId,
    /// Packets it has relayed.
    packets: u64,
}

fn locals(session: &NewSession) -> impl Iterator<Item = SocketAddr> + '_ {
    let streams = session.streams.iter();
    streams.flat_map(|stream| [stream.a.local, stream.b.local])
}

fn refused(errno: Errno) -> tsl::Error {
    tsl::Error::Refused(Refused {
        errno: errno as i32,
        message: None,
    })
}

impl Table {
    fn carry_out(&mut self, command: Command) -> tsl::Result<Outcome> {
        match command {
            Command::Subscribe | Command::Configure(_) => Ok(Outcome::Done),
            Command::Totals => {
                let mut totals = Totals::default();
                totals.relayed.packets = self.packets;
                Ok(Outcome::Totals(Box::new(totals)))
            }
            Command::Dump => Ok(Outcome::Table(self.dump())),
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
                Ok(Outcome::Ended(Box::new(SessionState::new(id, &ended))))
            }
        }
    }

    fn remove(&mut self, id: SessionId) -> Option<NewSession> {
        let session = self.sessions.remove(&id)?;
        for local in locals(&session) {
            self.owners.remove(&local);
        }
        Some(session)
    }

    fn dump(&self) -> Vec<SessionState> {
        let sessions = self.sessions.iter();
        sessions
            .map(|(id, session)| SessionState::new(*id, session))
            .collect()
    }
}
