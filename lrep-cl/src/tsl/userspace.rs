// SPDX-License-Identifier: MIT OR Apache-2.0

//! A relay inside this process, for where the kernel module cannot be loaded.
//!
//! It decides by the same code as the module (`kmod/relay`), but has ordinary sockets: each packet is
//! copied in and out, and all of them are handled by one thread. Its sessions end with the process.

mod convert;
mod socket;
mod stream;
mod table;

use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollTimeout};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use parking_lot::Mutex;

use self::socket::Room;
use self::stream::Now;
use self::table::Table;
use super::{
    Config, Created, Error, Events, NewSession, Result, SessionId, SessionState, SetConfig,
    SetSession, Totals, Tsl,
};

/// What to tell whoever runs it.
pub const ADVICE: &str = "the userspace relay is the slow path: it copies every packet, and calls \
                          end when lrep-cl stops; for the fast one load the kernel module \
                          (`modprobe lreproxy`) and use `local` instead of `userspace`";

/// How often it is looked who was idle for too long, as in the module.
const TICK: Duration = Duration::from_millis(500);
/// Sockets that are told of at once.
const EVENTS: usize = 64;

/// The relay. Its thread and its sockets go with the last of it.
#[derive(Debug)]
pub struct Userspace(Arc<Relay>);

#[derive(Debug)]
struct Relay {
    /// Locked for one command or one batch of packets.
    table: Mutex<Table>,
    epoll: Epoll,
    began: Instant,
}

impl Userspace {
    /// Starts one that has nothing to relay yet.
    ///
    /// # Errors
    ///
    /// [`Error::Channel`] when the host has no thread or no descriptor left for it.
    pub fn start() -> Result<Self> {
        let failed = |what: &dyn std::fmt::Display| Error::Channel(what.to_string());
        // Each port is a descriptor. What is allowed may be less than what is wanted.
        if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
            let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
        }
        let relay = Arc::new(Relay {
            table: Mutex::default(),
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(|error| failed(&error))?,
            began: Instant::now(),
        });
        let worker = Arc::downgrade(&relay);
        thread::Builder::new()
            .name("relay".to_owned())
            .spawn(move || work(&worker))
            .map_err(|error| failed(&error))?;
        Ok(Self(relay))
    }
}

impl Relay {
    fn now(&self) -> Now {
        let since = self.began.elapsed();
        Now {
            ms: since.as_millis() as u64,
            ns: since.as_nanos() as u64,
        }
    }
}

/// Relays packets and ends idle sessions.
fn work(relay: &Weak<Relay>) {
    let mut room = Room::new();
    let mut events = [EpollEvent::empty(); EVENTS];
    let mut due = Instant::now() + TICK;
    while let Some(relay) = relay.upgrade() {
        let wait = due.saturating_duration_since(Instant::now());
        let wait = EpollTimeout::try_from(wait).unwrap_or(EpollTimeout::ZERO);
        // A signal interrupts it.
        let ready = relay.epoll.wait(&mut events, wait).unwrap_or_default();
        for event in events.iter().take(ready) {
            relay
                .table
                .lock()
                .relay(event.data(), &mut room, relay.now());
        }
        if Instant::now() >= due {
            let mut table = relay.table.lock();
            table.expire(relay.now());
            table.watch(relay.now());
            due = Instant::now() + TICK;
        }
    }
}

impl Tsl for Userspace {
    async fn subscribe(&self, owner: Option<u32>) -> Result<Events> {
        self.0.table.lock().subscribe(owner)
    }

    async fn session_new(&self, new: NewSession) -> Result<Created> {
        self.0.table.lock().make(new, self.0.now(), &self.0.epoll)
    }

    async fn session_set(&self, set: SetSession) -> Result<()> {
        self.0.table.lock().change(set, self.0.now())
    }

    async fn session_del(&self, id: SessionId) -> Result<()> {
        self.0.table.lock().delete(id, self.0.now())
    }

    async fn session_get(&self, id: SessionId) -> Result<SessionState> {
        self.0.table.lock().state(id, self.0.now())
    }

    async fn session_dump(&self) -> Result<Vec<SessionState>> {
        Ok(self.0.table.lock().dump(self.0.now()))
    }

    async fn session_flush(&self, owner: Option<u32>) -> Result<u64> {
        Ok(self.0.table.lock().flush(owner, self.0.now()))
    }

    async fn config_get(&self) -> Result<Config> {
        Ok(self.0.table.lock().config())
    }

    async fn config_set(&self, settings: SetConfig) -> Result<()> {
        self.0.table.lock().configure(settings)
    }

    async fn totals_get(&self) -> Result<Totals> {
        Ok(self.0.table.lock().totals())
    }
}
