// SPDX-License-Identifier: MIT OR Apache-2.0

//! An engine that speaks the lreproxy protocol, as SIP servers do to us: py-lreproxy, another lrep-cl,
//! or anything else that answers `P`, `G` and `S`.
//!
//! The protocol tells nothing of what an engine holds or has relayed. So what was asked of it is
//! remembered here: it is what a dump tells, with counters that stay zero, until it was not asked for
//! again for as long as calls are remembered. The engine ends idle relays by itself, unheard.

mod book;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime};

use genl_proto::generated::PROTOCOL_VERSION;
use nix::errno::Errno;
use parking_lot::Mutex;
use tokio::net::{UdpSocket, lookup_host};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::info;

use self::book::Book;
use super::remote::address::Address;
use super::{
    Config, Created, EndReason, Error, Event, Events, Limits, NewSession, Patience, Refusal,
    Result, SessionId, SessionState, SetConfig, SetSession, StreamKind, Totals, Tsl,
};
use crate::ports::OVERSHOOT;
use crate::protocol::lrkproxy::{FRAME_MAX, Letter, NodeConfig, Relay};

/// How often an engine is asked to delete that answers nothing.
const DELETE_TRIES: u32 = 2;

/// The part of the time for an answer that it gets each time: it shall be known whether it is there
/// before it counts as silent, and before a client has waited for too long.
const DELETE_WAIT: u32 = 8;

/// An engine, and how to work with it.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it listens, for UDP.
    pub address: Address,
    /// How long it is waited for.
    pub patience: Patience,
}

/// An engine elsewhere.
#[derive(Debug)]
pub struct Engine {
    address: Address,
    patience: Mutex<Patience>,
    /// Number of the next request.
    number: AtomicU32,
    /// Whether it leaves deletes unanswered, as far as is known.
    ignores_deletes: AtomicBool,
    book: Mutex<Book>,
    events: Mutex<Option<mpsc::UnboundedSender<Event>>>,
}

impl Engine {
    /// Names an engine; it need not be there yet.
    pub fn new(options: Options) -> Self {
        // An engine that remembers requests must not take this run for the one before.
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Self {
            address: options.address,
            patience: Mutex::new(options.patience),
            number: AtomicU32::new(now.map_or(0, |now| now.subsec_nanos())),
            ignores_deletes: AtomicBool::new(false),
            book: Mutex::default(),
            events: Mutex::default(),
        }
    }

    /// Sends a command, several times if need be, and returns what follows it in the answer.
    async fn ask(&self, command: &[u8]) -> Result<Vec<u8>> {
        let Patience { timeout, tries, .. } = *self.patience.lock();
        self.ask_for(command, timeout, tries).await
    }

    /// The same, waiting so long for an answer, and so often.
    async fn ask_for(&self, command: &[u8], wait: Duration, tries: u32) -> Result<Vec<u8>> {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let cookie = format!("{}_{number} ", std::process::id());
        let request = [cookie.as_bytes(), command].concat();
        let socket = self.connect().await?;
        for _ in 0..tries {
            socket
                .send(&request)
                .await
                .map_err(|error| self.broken(&error))?;
            let answer = self.answer(&socket, &request);
            if let Ok(answer) = timeout(wait, answer).await {
                return answer;
            }
        }
        Err(Error::NoAnswer)
    }

    /// A socket of its own for each request: what comes late for another one does not come here.
    async fn connect(&self) -> Result<UdpSocket> {
        let Address::Tcp { host, port } = &self.address else {
            return Err(Error::Channel(format!(
                "{}: not an address for UDP",
                self.address
            )));
        };
        let broken = |error: std::io::Error| self.broken(&error);
        let mut found = lookup_host((host.as_str(), *port)).await.map_err(broken)?;
        let engine = found.next().ok_or_else(|| self.broken(&"no address"))?;
        let any: IpAddr = match engine {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((any, 0)).await.map_err(broken)?;
        socket.connect(engine).await.map_err(broken)?;
        Ok(socket)
    }

    async fn answer(&self, socket: &UdpSocket, request: &[u8]) -> Result<Vec<u8>> {
        let mut buffer = [0; 512];
        loop {
            let received = socket.recv(&mut buffer).await;
            let length = received.map_err(|error| self.broken(&error))?;
            if let Some(answer) = buffer[..length].strip_prefix(request) {
                return Ok(answer.to_vec());
            }
        }
    }

    fn broken(&self, why: &dyn std::fmt::Display) -> Error {
        Error::Channel(format!("udp:{}: {why}", self.address))
    }

    /// Whether anybody is there.
    async fn ping(&self) -> Result<()> {
        self.ask(b"P").await.map(drop)
    }

    /// Has a session relayed as it is described.
    async fn install(&self, session: &NewSession) -> Result<()> {
        let command = command(Letter::Set, session)?;
        match self.ask(&command).await?.as_slice() {
            b"OK" => Ok(()),
            _ => Err(refused(Errno::ECANCELED, "the engine has refused a relay")),
        }
    }

    /// Has a session's relay removed. The first engine has no answer to this, nor does it do it: its
    /// relays end when they are idle. It must not be taken for one that is gone meanwhile.
    async fn remove(&self, session: &NewSession) -> Result<()> {
        let command = command(Letter::Delete, session)?;
        let ignored = self.ignores_deletes.load(Ordering::Relaxed);
        let (wait, tries) = match ignored {
            // It is told all the same: it may have become another one.
            true => (Duration::ZERO, 1),
            false => (self.patience.lock().timeout / DELETE_WAIT, DELETE_TRIES),
        };
        match self.ask_for(&command, wait, tries).await {
            Err(Error::NoAnswer) if ignored => Ok(()),
            Err(Error::NoAnswer) => {
                self.ping().await?;
                self.ignores_deletes.store(true, Ordering::Relaxed);
                info!(
                    "udp:{} answers, and does not know how to delete: its relays end when they are \
                     idle",
                    self.address
                );
                Ok(())
            }
            answer => answer.map(drop),
        }
    }

    /// Forgets what was not asked for in a long time.
    fn expire(&self) {
        let life = self.patience.lock().life;
        let gone = self.book.lock().expire(Instant::now(), life);
        for session in gone {
            self.tell(session, EndReason::Flushed);
        }
    }

    /// Removes a session.
    async fn end(&self, id: SessionId, reason: EndReason) -> Result<()> {
        let known = self.book.lock().get(id, Instant::now());
        let (new, state) = known.ok_or_else(|| unknown(id))?;
        self.remove(&new).await?;
        self.book.lock().forget(id);
        self.tell(state, reason);
        Ok(())
    }

    /// Tells that a session has ended.
    fn tell(&self, session: SessionState, reason: EndReason) {
        if let Some(events) = &*self.events.lock() {
            // Whoever subscribed may have gone.
            let _ = events.send(Event::Ended(session, reason));
        }
    }
}

impl Tsl for Engine {
    /// Any owner: what the book has was made by this controller, and no other can see or end it.
    async fn subscribe(&self, _owner: Option<u32>) -> Result<Events> {
        let (sender, receiver) = mpsc::unbounded_channel();
        *self.events.lock() = Some(sender);
        Ok(receiver.into())
    }

    async fn session_new(&self, new: NewSession) -> Result<Created> {
        self.install(&new).await?;
        Ok(self.book.lock().make(new, Instant::now()))
    }

    async fn session_set(&self, set: SetSession) -> Result<()> {
        let known = self.book.lock().changed(&set);
        let changed = known.ok_or_else(|| unknown(set.id))?;
        self.install(&changed).await?;
        self.book.lock().put(set.id, changed, Instant::now());
        Ok(())
    }

    async fn session_del(&self, id: SessionId) -> Result<()> {
        self.end(id, EndReason::Deleted).await
    }

    async fn session_get(&self, id: SessionId) -> Result<SessionState> {
        let known = self.book.lock().get(id, Instant::now());
        known.map(|(_, state)| state).ok_or_else(|| unknown(id))
    }

    async fn session_dump(&self) -> Result<Vec<SessionState>> {
        self.expire();
        Ok(self.book.lock().all(Instant::now()))
    }

    async fn session_flush(&self, owner: Option<u32>) -> Result<u64> {
        let mut flushed = 0;
        for session in self.session_dump().await? {
            if owner.is_none_or(|owner| owner == session.owner) {
                self.end(session.id, EndReason::Flushed).await?;
                flushed += 1;
            }
        }
        Ok(flushed)
    }

    async fn config_get(&self) -> Result<Config> {
        self.ping().await?;
        Ok(Config {
            protocol_version: PROTOCOL_VERSION,
            module_version: "of an engine that does not tell".to_owned(),
            ports: Vec::new(),
            local_addresses: Vec::new(),
            quality: false,
            limits: Limits::default(),
        })
    }

    /// An engine has settings of its own: they are compared.
    async fn config_set(&self, settings: SetConfig) -> Result<()> {
        let answer = self.ask(b"G").await?;
        // It may have been replaced by another one.
        self.ignores_deletes.store(false, Ordering::Relaxed);
        let record = answer.strip_prefix(b" ").unwrap_or_default();
        let node = NodeConfig::decode(record)
            .ok_or_else(|| self.broken(&"its answer to G cannot be read"))?;
        let is_known = |address: &IpAddr| {
            [node.internal_ip, node.external_ip]
                .into_iter()
                .any(|known| *address == known)
        };
        if !settings.local_addresses.iter().all(is_known) {
            return Err(refused(
                Errno::EADDRNOTAVAIL,
                &format!(
                    "the engine relays on {} and {}: give it these as internal_ip and external_ip \
                     in [media.\"udp:{}\"]",
                    node.internal_ip, node.external_ip, self.address
                ),
            ));
        }
        let last = node.end_port.saturating_add(OVERSHOOT + 1);
        let mut ranges = settings.ports.iter();
        let has_ports =
            ranges.all(|ports| node.start_port <= *ports.start() && *ports.end() <= last);
        if !has_ports {
            return Err(refused(
                Errno::EADDRNOTAVAIL,
                &format!(
                    "the engine relays on ports {} to {}: give it no others as start_port and \
                     end_port, or as port_ranges, in [media.\"udp:{}\"]",
                    node.start_port, node.end_port, self.address
                ),
            ));
        }
        Ok(())
    }

    /// What of it is known here. Tells that the engine is there, too.
    async fn totals_get(&self) -> Result<Totals> {
        self.ping().await?;
        self.expire();
        Ok(Totals {
            sessions: self.book.lock().len(),
            ..Totals::default()
        })
    }

    fn set_patience(&self, patience: Patience) {
        *self.patience.lock() = patience;
    }
}

/// An `S` or a `D` for a session.
fn command(letter: Letter, session: &NewSession) -> Result<Vec<u8>> {
    let impossible = |why: &str| refused(Errno::EOPNOTSUPP, why);
    let mut rtp = session
        .streams
        .iter()
        .filter(|stream| stream.kind == StreamKind::Rtp);
    let (Some(stream), None) = (rtp.next(), rtp.next()) else {
        return Err(impossible("the protocol relays one RTP stream"));
    };
    let (offerer, answerer) = (stream.a, stream.b);
    // A party on hold has no address.
    let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let [source, destination] = [offerer, answerer].map(|party| party.remote.unwrap_or(nowhere));
    let [source_ip, destination_ip] = [source, destination].map(|remote| remote.ip().to_string());
    let [source_port, destination_port] =
        [source, destination].map(|remote| remote.port().to_string());
    let [snat_ip, dst_ip] = [offerer, answerer].map(|party| party.local.ip().to_string());
    let [snat_port, dst_port] = [offerer, answerer].map(|party| party.local.port().to_string());
    let timeout = (session.timeout_ms / 1000).max(1).to_string();
    let relay = Relay {
        src_ip: source_ip.as_bytes(),
        dst_ip: dst_ip.as_bytes(),
        snat_ip: snat_ip.as_bytes(),
        dnat_ip: destination_ip.as_bytes(),
        src_port: source_port.as_bytes(),
        dst_port: dst_port.as_bytes(),
        snat_port: snat_port.as_bytes(),
        dnat_port: destination_port.as_bytes(),
        timeout: timeout.as_bytes(),
        call_id: &session.label,
    };
    let command = relay.encode(letter);
    // With room for the longest cookie there is.
    if command.len() + "4294967295_4294967295 ".len() > FRAME_MAX {
        return Err(impossible("the Call-ID is too long for the protocol"));
    }
    Ok(command)
}

fn unknown(id: SessionId) -> Error {
    refused(Errno::ENOENT, &format!("id: there is no session {id}"))
}

fn refused(errno: Errno, why: &str) -> Error {
    Error::Refused(Refusal {
        errno: errno as i32,
        message: Some(why.to_owned()),
    })
}
