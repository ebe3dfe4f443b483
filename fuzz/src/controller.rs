// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whatever SIP servers, TSLs and operators do to the controller, in whatever order: each request is
//! answered once at the most, with an answer that begins with it, and in the end the books agree
//! with the tables.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use arbitrary::Arbitrary;
use lrep_cl::config::{Config, Settings};
use lrep_cl::core::command::{Command, Token};
use lrep_cl::core::{ANSWER_BOUND, Action, Client, Core};
use lrep_cl::tsl::{EndReason, Error, Event, SessionState};
use nix::errno::Errno;

use crate::structured;
use crate::table::{Table, refused};

const TSLS: usize = 2;

static CONFIG: LazyLock<Config> = LazyLock::new(|| {
    let settings = Settings {
        lreproxy_sock: vec!["grpc:a:1 grpc:b:1".parse().expect("TSLs")],
        internal_ip: "127.0.0.21".parse().ok(),
        end_port: 20_200,
        ..Settings::default()
    };
    settings.config().expect("a configuration")
});

#[derive(Arbitrary, Debug)]
enum Step {
    /// An `S` or a `D` that is well made.
    Ask {
        delete: bool,
        call: u8,
        block: u8,
        party: u8,
    },
    /// Anything, on a datagram or on a connection.
    Say {
        is_unix: bool,
        bytes: Vec<u8>,
    },
    /// A command comes to its end.
    End {
        which: u8,
        fate: u8,
    },
    /// A session expires, and perhaps nobody is told.
    Expire {
        tsl: u8,
        which: u8,
        is_told: bool,
    },
    /// A TSL can tell no more events.
    Deaf {
        tsl: u8,
    },
    Wait {
        ms: u16,
    },
    Drain {
        is_on: bool,
    },
    Enable {
        tsl: u8,
        is_on: bool,
    },
    Reload {
        sessions_max: u8,
    },
}

struct World {
    now: Instant,
    config: Config,
    core: Core,
    tables: Vec<Table>,
    on_their_way: Vec<(usize, Token, Command)>,
    requests: u64,
}

impl World {
    fn new() -> Self {
        let config = CONFIG.clone();
        let (now, mut actions) = (Instant::now(), Vec::new());
        let core = Core::new(config.clone(), 1, now, &mut actions);
        let mut world = Self {
            now,
            config,
            core,
            tables: (0..TSLS).map(|_| Table::default()).collect(),
            on_their_way: Vec::new(),
            requests: 0,
        };
        world.take(actions, None);
        world
    }

    /// Takes what the core wants done; answers to a request that was just made begin with it.
    fn take(&mut self, actions: Vec<Action>, request: Option<&[u8]>) {
        for action in actions {
            match action {
                Action::Command {
                    tsl,
                    token,
                    command,
                } => self.on_their_way.push((tsl, token, command)),
                Action::Answer { bytes, .. } => {
                    if let Some(request) = request {
                        assert!(bytes.starts_with(request));
                    }
                }
                Action::Silenced { call_id } => assert!(!call_id.is_empty()),
                Action::Opened { tsl, .. } => assert!(tsl < TSLS),
            }
        }
    }

    fn ask(&mut self, is_unix: bool, request: &[u8]) {
        self.requests += 1;
        let client = if is_unix {
            Client::Unix {
                listener: 0,
                connection: self.requests,
            }
        } else {
            let peer = "127.0.0.1:5060".parse().expect("an address");
            Client::Udp { listener: 0, peer }
        };
        let mut actions = Vec::new();
        self.core.request(client, request, self.now, &mut actions);
        let answers = actions
            .iter()
            .filter(|action| matches!(action, Action::Answer { .. }));
        assert!(answers.count() <= 1);
        self.take(actions, Some(request));
    }

    fn end(&mut self, which: usize, fate: u8) {
        let (tsl, token, command) = self.on_their_way.swap_remove(which);
        let result = match fate % 8 {
            0 => Err(refused(Errno::ENOSPC)),
            1 => Err(Error::NoAnswer),
            2 => {
                let _ = self.tables[tsl].carry_out(command);
                Err(Error::NoAnswer)
            }
            _ => self.tables[tsl].carry_out(command),
        };
        let mut actions = Vec::new();
        self.core
            .outcome(tsl, token, result, self.now, &mut actions);
        for event in std::mem::take(&mut self.tables[tsl].told) {
            self.core.event(tsl, Some(event), self.now, &mut actions);
        }
        self.take(actions, None);
    }

    fn event(&mut self, tsl: usize, event: Option<Event>) {
        let mut actions = Vec::new();
        self.core.event(tsl, event, self.now, &mut actions);
        self.take(actions, None);
    }

    fn wait(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(due) = self.core.deadline().filter(|due| *due <= end) {
            self.now = due.max(self.now);
            let mut actions = Vec::new();
            self.core.tick(self.now, &mut actions);
            self.take(actions, None);
            assert!(self.core.deadline().is_none_or(|next| next > self.now));
        }
        self.now = end;
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Ask {
                delete,
                call,
                block,
                party,
            } => {
                let (letter, port) = (
                    if delete { 'D' } else { 'S' },
                    20_000 + 4 * u16::from(block),
                );
                let request = format!(
                    "1_{} {letter} 127.0.0.11 127.0.0.21 127.0.0.21 127.0.1.{party} 40000 {port} {} \
                     41000 60 {call} ",
                    self.requests,
                    port + 2
                );
                self.ask(false, request.as_bytes());
            }
            Step::Say { is_unix, bytes } => self.ask(is_unix, &bytes),
            Step::End { which, fate } => {
                if !self.on_their_way.is_empty() {
                    self.end(usize::from(which) % self.on_their_way.len(), fate);
                }
            }
            Step::Expire {
                tsl,
                which,
                is_told,
            } => {
                let tsl = usize::from(tsl) % TSLS;
                let sessions = &self.tables[tsl].sessions;
                let ids: Vec<_> = sessions.keys().copied().collect();
                let Some(id) = ids.get(usize::from(which)).copied() else {
                    return;
                };
                if let Some(session) = self.tables[tsl].remove(id) {
                    let state = SessionState::new(id, &session);
                    let told = Event::Ended(state, EndReason::Expired);
                    self.event(tsl, Some(if is_told { told } else { Event::Overrun }));
                }
            }
            Step::Deaf { tsl } => self.event(usize::from(tsl) % TSLS, None),
            Step::Wait { ms } => self.wait(Duration::from_millis(ms.into())),
            Step::Drain { is_on } => self.core.drain(is_on),
            Step::Enable { tsl, is_on } => {
                let name = ["grpc:a:1", "grpc:b:1"][usize::from(tsl) % TSLS];
                assert!(self.core.enable(name, is_on));
            }
            Step::Reload { sessions_max } => {
                self.config.limits.sessions = sessions_max.into();
                let mut actions = Vec::new();
                self.core
                    .reload(self.config.clone(), self.now, &mut actions);
                self.take(actions, None);
            }
        }
    }
}

/// Any bytes.
pub fn check(bytes: &[u8]) {
    let Some(steps) = structured::<Vec<Step>>(bytes) else {
        return;
    };
    let mut world = World::new();
    for step in steps {
        world.step(step);
    }
    // Everything that was begun comes to its end, and what is unknown is read again.
    for _ in 0..3 {
        while !world.on_their_way.is_empty() {
            world.end(0, 7);
        }
        world.wait(ANSWER_BOUND.max(Duration::from_secs(61)));
    }
    while !world.on_their_way.is_empty() {
        world.end(0, 7);
    }
    assert!(world.core.is_idle());
    let status = world.core.status(world.now);
    for (tsl, table) in status.tsls.iter().zip(&world.tables) {
        assert_eq!(tsl.sessions, table.sessions.len() as u64);
    }
}
