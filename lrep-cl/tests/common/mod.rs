// SPDX-License-Identifier: MIT OR Apache-2.0

//! A transport layer in memory, which can be slow, stuck or failing, and a daemon on it.

#![allow(
    dead_code,
    reason = "each test program uses its own part of this module"
)]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use genl_proto::generated::PROTOCOL_VERSION;
use lrep_cl::config::{Config, Listen, Settings};
use lrep_cl::driver::Driver;
use lrep_cl::inherited::Inherited;
use lrep_cl::server::{Server, Service};
use lrep_cl::tsl::{
    Config as LayerConfig, Created, EndReason, Error, Event, Events, NewSession, Refusal, Result,
    SessionId, SessionState, SetConfig, SetSession, Totals, Tsl,
};
use nix::errno::Errno;
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// A transport layer that keeps its table in memory and forwards nothing.
#[derive(Debug)]
pub struct Memory {
    pub table: Mutex<BTreeMap<SessionId, NewSession>>,
    pub settings: Mutex<SetConfig>,
    /// Commands wait while this is true.
    stuck: watch::Sender<bool>,
    /// Commands are refused with ENOMEM.
    failing: AtomicBool,
    /// The next command is carried out, but its answer is lost.
    losing: AtomicBool,
    /// The next command is not carried out, since the layer is another one now.
    anew: AtomicBool,
    next_id: AtomicU64,
    pub news: AtomicU64,
    pub sets: AtomicU64,
    pub dels: AtomicU64,
    pub dumps: AtomicU64,
    pub subscriptions: AtomicU64,
    events: Mutex<Option<mpsc::UnboundedSender<Event>>>,
}

impl Memory {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            table: Mutex::default(),
            settings: Mutex::default(),
            stuck: watch::Sender::new(false),
            failing: AtomicBool::new(false),
            losing: AtomicBool::new(false),
            anew: AtomicBool::new(false),
            next_id: AtomicU64::new(1),
            news: AtomicU64::new(0),
            sets: AtomicU64::new(0),
            dels: AtomicU64::new(0),
            dumps: AtomicU64::new(0),
            subscriptions: AtomicU64::new(0),
            events: Mutex::default(),
        })
    }

    pub fn set_stuck(&self, stuck: bool) {
        self.stuck.send_replace(stuck);
    }

    /// How many commands have come to wait, or look whether they have to.
    pub fn waiting(&self) -> usize {
        self.stuck.receiver_count()
    }

    pub fn set_failing(&self, failing: bool) {
        self.failing.store(failing, Ordering::SeqCst);
    }

    pub fn lose_next_answer(&self) {
        self.losing.store(true, Ordering::SeqCst);
    }

    /// Forgets everything, as a module that is loaded anew.
    pub fn make_anew(&self) {
        self.table.lock().clear();
        *self.settings.lock() = SetConfig::default();
        self.anew.store(true, Ordering::SeqCst);
    }

    /// The Call-IDs in the table, sorted.
    pub fn labels(&self) -> Vec<String> {
        let table = self.table.lock();
        let labels = table.values().map(|session| &session.label);
        let mut labels: Vec<_> = labels
            .map(|label| label.escape_ascii().to_string())
            .collect();
        labels.sort();
        labels
    }

    /// The only session.
    pub fn only(&self) -> (SessionId, NewSession) {
        let table = self.table.lock();
        assert_eq!(table.len(), 1, "{table:?}");
        let (id, session) = table.iter().next().expect("one session");
        (*id, session.clone())
    }

    /// Ends a session as its idle timeout would.
    pub fn expire(&self, id: SessionId) {
        let removed = self.table.lock().remove(&id);
        let session = SessionState::new(id, &removed.expect("a living session"));
        self.tell(Event::Ended(session, EndReason::Expired));
    }

    /// Ends a session without an event, as when the event was lost.
    pub fn expire_silently(&self, id: SessionId) {
        self.table.lock().remove(&id).expect("a living session");
    }

    pub fn tell(&self, event: Event) {
        if let Some(events) = &*self.events.lock() {
            events.send(event).expect("the daemon listens");
        }
    }

    pub fn cease_events(&self) {
        *self.events.lock() = None;
    }

    pub fn listens(&self) -> bool {
        self.events.lock().is_some()
    }

    async fn gate(&self) -> Result<()> {
        let mut stuck = self.stuck.subscribe();
        stuck.wait_for(|stuck| !stuck).await.expect("lives");
        if self.failing.load(Ordering::SeqCst) {
            return Err(refused(Errno::ENOMEM));
        }
        if self.anew.swap(false, Ordering::SeqCst) {
            return Err(Error::Channel("the layer is another one now".to_owned()));
        }
        Ok(())
    }

    async fn answer<T>(&self, answer: T) -> Result<T> {
        if self.losing.swap(false, Ordering::SeqCst) {
            return Err(Error::Channel("the answer was lost".to_owned()));
        }
        Ok(answer)
    }
}

fn refused(errno: Errno) -> Error {
    Error::Refused(Refusal {
        errno: errno as i32,
        message: None,
    })
}

fn locals(session: &NewSession) -> impl Iterator<Item = SocketAddr> + '_ {
    session
        .streams
        .iter()
        .flat_map(|stream| [stream.a.local, stream.b.local])
}

impl Tsl for Memory {
    async fn subscribe(&self, _: Option<u32>) -> Result<Events> {
        self.gate().await?;
        let (sender, receiver) = mpsc::unbounded_channel();
        *self.events.lock() = Some(sender);
        self.subscriptions.fetch_add(1, Ordering::SeqCst);
        Ok(receiver.into())
    }

    async fn session_new(&self, new: NewSession) -> Result<Created> {
        self.gate().await?;
        self.news.fetch_add(1, Ordering::SeqCst);
        let created = {
            let mut table = self.table.lock();
            let clashes = |other: &NewSession| {
                locals(other).any(|local| locals(&new).any(|mine| mine == local))
            };
            let taken = table.iter().filter(|(_, other)| clashes(other));
            let replaced: Vec<_> = taken.map(|(id, _)| *id).collect();
            if !replaced.is_empty() && !new.replace {
                return Err(refused(Errno::EEXIST));
            }
            table.retain(|id, _| !replaced.contains(id));
            let id = self.next_id.fetch_add(1, Ordering::SeqCst);
            table.insert(id, new);
            Created { id, replaced }
        };
        self.answer(created).await
    }

    async fn session_set(&self, set: SetSession) -> Result<()> {
        self.gate().await?;
        self.sets.fetch_add(1, Ordering::SeqCst);
        {
            let mut table = self.table.lock();
            let known = table
                .get_mut(&set.id)
                .ok_or_else(|| refused(Errno::ENOENT))?;
            for changed in set.streams {
                let stream = known.streams.iter_mut().find(|stream| {
                    stream.kind == changed.kind
                        && stream.a.local == changed.a.local
                        && stream.b.local == changed.b.local
                });
                *stream.ok_or_else(|| refused(Errno::ENOENT))? = changed;
            }
            known.timeout_ms = set.timeout_ms.unwrap_or(known.timeout_ms);
        }
        self.answer(()).await
    }

    async fn session_del(&self, id: SessionId) -> Result<()> {
        self.gate().await?;
        self.dels.fetch_add(1, Ordering::SeqCst);
        let removed = self.table.lock().remove(&id);
        let session = removed.ok_or_else(|| refused(Errno::ENOENT))?;
        let ended = SessionState::new(id, &session);
        self.tell(Event::Ended(ended, EndReason::Deleted));
        self.answer(()).await
    }

    async fn session_get(&self, id: SessionId) -> Result<SessionState> {
        self.gate().await?;
        let table = self.table.lock();
        let session = table.get(&id).ok_or_else(|| refused(Errno::ENOENT))?;
        Ok(SessionState::new(id, session))
    }

    async fn session_dump(&self) -> Result<Vec<SessionState>> {
        self.gate().await?;
        self.dumps.fetch_add(1, Ordering::SeqCst);
        let table = self.table.lock();
        Ok(table
            .iter()
            .map(|(id, session)| SessionState::new(*id, session))
            .collect())
    }

    async fn session_flush(&self, owner: Option<u32>) -> Result<u64> {
        self.gate().await?;
        let mut table = self.table.lock();
        let before = table.len();
        table.retain(|_, session| owner.is_some_and(|owner| session.owner != owner));
        Ok((before - table.len()) as u64)
    }

    async fn config_get(&self) -> Result<LayerConfig> {
        let settings = self.settings.lock().clone();
        Ok(LayerConfig {
            protocol_version: PROTOCOL_VERSION,
            module_version: "in memory".to_owned(),
            ports: settings.ports,
            local_addresses: settings.local_addresses,
            quality: settings.quality.unwrap_or(true),
            limits: settings.limits.unwrap_or_default(),
        })
    }

    async fn config_set(&self, settings: SetConfig) -> Result<()> {
        self.gate().await?;
        let table = self.table.lock();
        let stays = |local: SocketAddr| settings.local_addresses.contains(&local.ip());
        if !table.values().all(|session| locals(session).all(stays)) {
            return Err(refused(Errno::EBUSY));
        }
        *self.settings.lock() = settings;
        Ok(())
    }

    async fn totals_get(&self) -> Result<Totals> {
        let mut totals = Totals::default();
        totals.relayed.packets = 5;
        Ok(totals)
    }
}

/// Says where calls begin, as chance does elsewhere.
pub const SEED: u64 = 1;

/// A configuration with the addresses of the recordings.
pub fn config(listen: Vec<Listen>) -> Config {
    let settings = Settings {
        unix_mode: "0600".parse().expect("a mode"),
        allow: vec!["127.0.0.0/8".parse().expect("a network")],
        internal_ip: Some(Ipv4Addr::new(127, 0, 0, 21)),
        external_ip: Some(Ipv4Addr::new(127, 0, 0, 22)),
        advertise: vec!["198.51.100.9=127.0.0.23".parse().expect("a mapping")],
        request_rate: 0,
        owner: 7,
        ..Settings::default()
    };
    let mut config = settings.config().expect("a configuration");
    config.listen = listen;
    config
}

/// A daemon with one UDP and one unix listener, in a thread of its own.
#[derive(Debug)]
pub struct Daemon {
    pub udp: SocketAddr,
    pub unix: PathBuf,
    pub service: Arc<Service>,
    stop: CancellationToken,
    thread: Option<std::thread::JoinHandle<()>>,
    _directory: tempfile::TempDir,
}

impl Daemon {
    pub fn start(tsl: &Arc<Memory>) -> Self {
        Self::start_with(tsl, config(Vec::new()))
    }

    /// Starts it with a configuration whose listeners are replaced.
    pub fn start_with<T: Tsl>(tsl: &Arc<T>, mut config: Config) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("lrep-cl.sock");
        config.listen = vec![
            Listen::Udp("127.0.0.1:0".parse().expect("an address")),
            Listen::Unix(path.clone()),
        ];
        let stop = CancellationToken::new();
        let (ready, started) = std::sync::mpsc::channel();
        let (tsl, token) = (Arc::clone(tsl), stop.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let drivers = vec![Driver::new(tsl)];
                let server = Server::start(config, SEED, drivers, Inherited::default())
                    .await
                    .expect("starts");
                let udp = server.udp_addresses().expect("addresses")[0];
                ready.send((udp, server.service())).expect("awaited");
                server.run(token).await;
            });
        });
        let (udp, service) = started.recv().expect("a started daemon");
        Self {
            udp,
            unix: path,
            service,
            stop,
            thread: Some(thread),
            _directory: directory,
        }
    }

    /// A client socket, as each worker of a SIP server has one.
    pub fn client(&self) -> Client {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.connect(self.udp).expect("connects");
        socket
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("a timeout");
        Client { socket }
    }

    /// Begins to stop, as SIGTERM does.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits for the end.
    pub fn join(mut self) {
        let thread = self.thread.take().expect("joined once");
        thread.join().expect("ends well");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A connected UDP socket.
#[derive(Debug)]
pub struct Client {
    pub socket: UdpSocket,
}

impl Client {
    pub fn send(&self, request: &[u8]) {
        self.socket.send(request).expect("sent");
    }

    pub fn receive(&self) -> Vec<u8> {
        let mut buffer = [0; 2048];
        let len = self.socket.recv(&mut buffer).expect("an answer");
        buffer[..len].to_vec()
    }

    pub fn ask(&self, request: &[u8]) -> Vec<u8> {
        self.send(request);
        self.receive()
    }

    /// Asks something that is not to be answered: the next answer is that of a `P` sent after it.
    pub fn ask_in_vain(&self, request: &[u8]) {
        self.send(request);
        assert_eq!(self.ask(b"vain_1 P"), b"vain_1 P PONG");
    }
}

/// One command on a connection of its own, as the SIP servers do it.
pub fn ask_unix(path: &Path, request: &[u8]) -> Vec<u8> {
    let mut stream = UnixStream::connect(path).expect("connects");
    stream.write_all(request).expect("sent");
    read_once(&mut stream)
}

/// One read of what a client takes at most.
pub fn read_once(stream: &mut UnixStream) -> Vec<u8> {
    let mut buffer = [0; 255];
    let len = stream.read(&mut buffer).expect("an answer");
    buffer[..len].to_vec()
}

/// An `S` for the block at `port`.
pub fn set(cookie: &str, port: u16, call_id: &str) -> Vec<u8> {
    let snat = port + 2;
    format!(
        "{cookie} S 127.0.0.11 127.0.0.21 127.0.0.21 127.0.0.12 40000 {port} {snat} 41000 60 {call_id} "
    )
    .into_bytes()
}

/// The `D` for the same.
pub fn delete(cookie: &str, port: u16, call_id: &str) -> Vec<u8> {
    let snat = port + 2;
    format!(
        "{cookie} D 127.0.0.11 127.0.0.21 127.0.0.21 127.0.0.12 40000 {port} {snat} 41000 60 {call_id} "
    )
    .into_bytes()
}

/// A request and what is to answer it.
pub fn with(request: &[u8], verdict: &str) -> Vec<u8> {
    [request, verdict.as_bytes()].concat()
}

/// `current_port` of an answer to `G`.
pub fn current_port(answer: &[u8]) -> u32 {
    let record = &answer[answer.len() - 52..];
    u32::from_le_bytes(record[8..12].try_into().expect("four bytes"))
}

/// Waits until something has come about that no answer tells of.
pub fn eventually(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..2000 {
        if condition() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("never came about: {what}");
}
