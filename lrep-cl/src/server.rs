// SPDX-License-Identifier: MIT OR Apache-2.0

//! Answers requests, and ties listeners, reply cache, calls and transport layer together.
//!
//! What a late answer costs decides the shape: the SIP servers' workers block, stall or crash.
//! `P` and `G` are answered from memory. `S` and `D` wait for the transport layer, but only for
//! [`ANSWER_BOUND`].

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, error, info, warn};

use crate::alarm::{Alarms, Withheld};
use crate::config::{Config, Listen};
use crate::frontend::unix::UnixSocket;
use crate::frontend::{udp, unix};
use crate::installer::{Installer, Job, Wish};
use crate::intent::{self, Refusal};
use crate::logging::call_span;
use crate::ports::{OVERSHOOT, Ports};
use crate::protocol::lrkproxy::{
    self, Command, FRAME_MAX, Framing, Malformed, NodeConfig, Relay, Verdict,
};
use crate::reply_cache::{Known, ReplyCache};
use crate::tsl::{self, SetConfig, Tsl};

/// Longest wait for the transport layer before an `S` or a `D` is answered without its outcome.
/// Clients must have their answer within 400 ms.
pub const ANSWER_BOUND: Duration = Duration::from_millis(300);

/// How long the outcome of what was already answered is waited for when stopping.
const LAST_JOBS: Duration = Duration::from_secs(2);

/// Answers kept for retransmissions.
const CACHED_ANSWERS: usize = 65_536;

/// Where a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Client {
    /// A socket that sends datagrams and may repeat them.
    Udp {
        /// The listener it sent to.
        listener: SocketAddr,
        /// Its own address.
        peer: SocketAddr,
    },
    /// A connection of a unix socket, which repeats nothing.
    Unix,
}

/// Why the server cannot start. Each says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The transport layer cannot be used.
    #[error("{0}")]
    Tsl(#[from] tsl::Error),
    /// Sessions live on an address that would go.
    #[error(
        "living sessions use a relay address that is no longer configured: put it back \
         (addresses now: {0}), or end the sessions first with `lrep-cl flush`"
    )]
    AddressInUse(String),
    /// No interface has a relay address.
    #[error(
        "{0} is no address of this host: correct internal_ip or external_ip, give the address to \
         an interface, or map it to the interface's own with advertise = [\"{0}=LOCAL\"]"
    )]
    AddressNotLocal(Ipv4Addr),
    /// A listener cannot be opened.
    #[error("cannot listen on {listen}: {error}{}", advice(.error))]
    Listen {
        /// The listener.
        listen: Listen,
        /// What the system said.
        error: io::Error,
    },
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => " (is another lrep-cl running? see `listen`)",
        io::ErrorKind::NotFound => " (make the directory first)",
        io::ErrorKind::AddrNotAvailable => " (no interface has this address; see `listen`)",
        _ => "",
    }
}

/// A server that holds its listeners and has adopted what it found, but answers nothing yet.
#[derive(Debug)]
pub struct Server<T> {
    service: Arc<Service>,
    installer: Installer<T>,
    jobs: mpsc::Receiver<Job>,
    udp: Vec<tokio::net::UdpSocket>,
    unix: Vec<UnixSocket>,
}

impl<T: Tsl> Server<T> {
    /// Opens the listeners, configures the layer, and adopts the sessions living there.
    pub async fn start(config: Config, tsl: Arc<T>) -> Result<Self, StartError> {
        for address in config.addresses.locals() {
            check_local(address)?;
        }
        let (mut udp, mut unix) = (Vec::new(), Vec::new());
        for listen in &config.listen {
            let opened = match listen {
                Listen::Udp(address) => tokio::net::UdpSocket::bind(address)
                    .await
                    .map(|socket| udp.push(socket)),
                Listen::Unix(path) => UnixSocket::bind(path, config.unix_mode, config.unix_group)
                    .map(|socket| unix.push(socket)),
            };
            opened.map_err(|error| StartError::Listen {
                listen: listen.clone(),
                error,
            })?;
        }
        let ports = Arc::new(Mutex::new(Ports::new(config.start_port, config.end_port)));
        // The last block's ports and its RTCP are beyond the end.
        let last = config.end_port.saturating_add(OVERSHOOT + 1);
        let locals = config.addresses.locals();
        let settings = SetConfig {
            ports: Some(config.start_port..=last),
            local_addresses: locals.into_iter().map(IpAddr::V4).collect(),
            quality: None,
            limits: Some(config.limits),
        };
        let installer = Installer::start(tsl, config.owner, settings, Arc::clone(&ports))
            .await
            .map_err(|error| {
                if error.is(nix::errno::Errno::EBUSY) {
                    StartError::AddressInUse(config.addresses.to_string())
                } else {
                    StartError::Tsl(error)
                }
            })?;
        let (sender, jobs) = Installer::<T>::queue();
        let service = Arc::new(Service {
            config,
            ports,
            cache: Mutex::new(ReplyCache::new(CACHED_ANSWERS)),
            alarms: Mutex::new(Alarms::default()),
            jobs: sender,
        });
        Ok(Self {
            service,
            installer,
            jobs,
            udp,
            unix,
        })
    }

    /// The addresses of the UDP listeners, in the order of the configuration.
    pub fn udp_addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.udp
            .iter()
            .map(tokio::net::UdpSocket::local_addr)
            .collect()
    }

    /// The paths of the unix listeners, in the order of the configuration.
    pub fn unix_paths(&self) -> Vec<PathBuf> {
        self.unix
            .iter()
            .map(|socket| socket.path().to_owned())
            .collect()
    }

    /// What answers requests, for callers that have no socket to ask through.
    pub fn service(&self) -> Arc<Service> {
        Arc::clone(&self.service)
    }

    /// Answers requests until `stop`; then takes no new ones, answers all it has, and returns.
    pub async fn run(self, stop: CancellationToken) {
        let installer = tokio::spawn(self.installer.run(self.jobs));
        let listeners = TaskTracker::new();
        for socket in self.udp {
            listeners.spawn(udp::serve(socket, Arc::clone(&self.service), stop.clone()));
        }
        for socket in self.unix {
            listeners.spawn(unix::serve(socket, Arc::clone(&self.service), stop.clone()));
        }
        listeners.close();
        listeners.wait().await;
        // Drops the last sender of jobs, which ends the installer.
        drop(self.service);
        if timeout(LAST_JOBS, installer).await.is_err() {
            warn!("stopped before the kernel carried out everything that was asked for");
        }
    }
}

/// Refuses an address that no interface has, by asking the kernel for a socket on it.
fn check_local(address: Ipv4Addr) -> Result<(), StartError> {
    match UdpSocket::bind((address, 0)) {
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
            Err(StartError::AddressNotLocal(address))
        }
        // Any other obstacle is not about the address.
        _ => Ok(()),
    }
}

/// What answers requests. Cheap to share; nothing in it is locked while waiting.
#[derive(Debug)]
pub struct Service {
    config: Config,
    ports: Arc<Mutex<Ports>>,
    cache: Mutex<ReplyCache<(Client, Vec<u8>)>>,
    alarms: Mutex<Alarms>,
    jobs: mpsc::Sender<Job>,
}

impl Service {
    /// Whether this client may ask for anything. The protocol has no authentication.
    pub fn admits(&self, peer: SocketAddr) -> bool {
        let admitted = self
            .config
            .allow
            .iter()
            .any(|network| network.contains(peer.ip().to_canonical()));
        if !admitted {
            self.alarm("client", |withheld| {
                warn!(
                    withheld,
                    "ignored a request from {peer}: add its address to `allow` if it is a SIP \
                     server of yours"
                );
            });
        }
        admitted
    }

    /// Answers one request; `None` when nothing is to be sent: the request is none of the
    /// protocol's, or a repetition of one being carried out. Takes at most [`ANSWER_BOUND`].
    pub async fn answer(&self, client: Client, request: Vec<u8>) -> Option<Vec<u8>> {
        let framing = match client {
            Client::Udp { .. } => Framing::Datagram,
            Client::Unix => Framing::Stream,
        };
        let command = lrkproxy::decode(&request, framing)?;
        // What is not repeated, or does nothing, needs no memory of it.
        let is_idle = matches!(
            command,
            Command::Ping | Command::Set(Err(_)) | Command::Delete(Err(_))
        );
        if is_idle || client == Client::Unix {
            return Some(self.carry_out(command, &request).await);
        }
        let key = (client, request.clone());
        match self.cache.lock().begin(&key, now()) {
            Known::New => {}
            Known::InFlight => return None,
            Known::Answered(answer) => {
                debug!(?client, "repeated request answered as before");
                return Some(answer);
            }
        }
        let answer = self.carry_out(command, &request).await;
        self.cache.lock().finish(key, answer.clone(), now());
        Some(answer)
    }

    async fn carry_out(&self, command: Command<'_>, request: &[u8]) -> Vec<u8> {
        let verdict = match command {
            Command::Ping => return lrkproxy::pong(request),
            Command::NodeConfig => return lrkproxy::node_config(request, &self.node_config()),
            Command::Set(Ok(relay)) => self.set(&relay).await,
            Command::Set(Err(why)) => {
                self.malformed(why, request);
                Verdict::Ok
            }
            Command::Delete(Ok(relay)) => {
                self.delete(&relay).await;
                Verdict::Ok
            }
            Command::Delete(Err(why)) => {
                self.malformed(why, request);
                Verdict::Ok
            }
        };
        lrkproxy::verdict(request, verdict)
    }

    fn node_config(&self) -> NodeConfig {
        let config = NodeConfig {
            start_port: self.config.start_port,
            end_port: self.config.end_port,
            current_port: self.ports.lock().current(now()),
            internal_ip: self.config.addresses.internal,
            external_ip: self.config.addresses.external,
        };
        info!(
            current_port = config.current_port,
            "told a client addresses and ports"
        );
        config
    }

    async fn set(&self, relay: &Relay<'_>) -> Verdict {
        let learning = self.config.learning;
        let media = match intent::wanted(relay, &self.config.addresses, &self.config.timeouts) {
            Ok(media) => media.learning(learning),
            Err(refusal) => {
                self.refused(&refusal, relay.call_id);
                return refusal.verdict();
            }
        };
        let acceptable = {
            let mut ports = self.ports.lock();
            ports.seen(media.answerer.local.port());
            ports.acceptable()
        };
        if let Some(port) = media.ports().find(|port| !acceptable.contains(port)) {
            self.alarm("port-range", |withheld| {
                call_span(relay.call_id).in_scope(|| {
                    warn!(
                        withheld,
                        "the SIP server picked relay port {port}, outside of {} to {}: give its \
                         module and lrep-cl the same start_port and end_port",
                        self.config.start_port,
                        self.config.end_port,
                    );
                });
            });
        }
        match self
            .enqueue(relay.call_id, Wish::Set(Box::new(media)))
            .await
        {
            Some(Ok(())) => Verdict::Ok,
            Some(Err(_)) | None => Verdict::Error,
        }
    }

    async fn delete(&self, relay: &Relay<'_>) {
        match intent::named(relay, &self.config.addresses) {
            // Whatever comes of it, clients only understand OK.
            Some(answerer) => drop(self.enqueue(relay.call_id, Wish::Delete(answerer)).await),
            None => call_span(relay.call_id).in_scope(|| debug!("nothing to delete")),
        }
    }

    /// Has a wish carried out; `None` when its outcome is not known in time.
    async fn enqueue(&self, call_id: &[u8], wish: Wish) -> Option<tsl::Result<()>> {
        let (outcome, done) = oneshot::channel();
        let job = Job {
            label: call_id.to_vec(),
            wish,
            outcome,
        };
        if self.jobs.try_send(job).is_err() {
            self.alarm("overload", |withheld| {
                error!(
                    withheld,
                    "too many requests wait for the kernel: relay not changed"
                );
            });
            return None;
        }
        match timeout(ANSWER_BOUND, done).await {
            Ok(outcome) => outcome.ok(),
            Err(_) => {
                self.alarm("slow", |withheld| {
                    call_span(call_id).in_scope(|| {
                        error!(
                            withheld,
                            "the kernel did not answer within {} ms: answered without waiting \
                             for it",
                            ANSWER_BOUND.as_millis()
                        );
                    });
                });
                None
            }
        }
    }

    /// Tells of a frame that is no whole command. It is answered `OK`, as the protocol has it.
    fn malformed(&self, why: Malformed, request: &[u8]) {
        self.alarm("malformed", |withheld| {
            let frame = &request[..request.len().min(FRAME_MAX)];
            error!(
                withheld,
                frame = %frame.escape_ascii(),
                "request ignored: {why}; the SIP server's buffers have probably run over, which \
                 Call-IDs of more than 48 bytes do to it"
            );
        });
    }

    fn refused(&self, refusal: &Refusal, call_id: &[u8]) {
        self.alarm(refusal.kind(), |withheld| {
            call_span(call_id).in_scope(|| error!(withheld, "no relay installed: {refusal}"));
        });
    }

    fn alarm(&self, kind: &'static str, log: impl FnOnce(Withheld)) {
        let due = self.alarms.lock().due(kind, now());
        if let Some(withheld) = due {
            log(withheld);
        }
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}
