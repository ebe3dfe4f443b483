// SPDX-License-Identifier: MIT OR Apache-2.0

//! Where controllers come in, and who is let in.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::Stream as Values;
use futures_util::stream;
use parking_lot::Mutex;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream, UnixStream, lookup_host};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;
use tracing::{debug, info, warn};

use crate::frontend::unix::UnixSocket;
use crate::tls::{self, Certificate, Identity};
use crate::tsl::remote::address::Address;
use crate::tsl::remote::stream::{Stream, Watch};

/// Handshakes at the same time; who comes later waits.
const HANDSHAKES: usize = 32;

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// How long to read on after a refusal. Closing at once could make the other side lose the alert
/// that says why.
const LINGER: Duration = Duration::from_secs(1);

/// How long to wait before accepting again after a failure.
const RETRY: Duration = Duration::from_millis(100);

/// At most one refusal in this time is logged.
const LOGGED_EVERY: Duration = Duration::from_secs(1);

/// Permissions of the unix socket's file: who may write to it may end every call.
const UNIX_MODE: u32 = 0o600;

/// Who is let in.
#[derive(Debug)]
pub struct Guard {
    /// What this host shows, and whose certificates are trusted.
    pub identity: Arc<Identity>,
    /// The names that controllers may have; any when there are none.
    pub names: Vec<String>,
}

/// Why a socket was not opened.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The system did not allow it.
    #[error("cannot listen on {address}: {error}")]
    Socket {
        /// Where.
        address: Address,
        /// Why not.
        error: io::Error,
    },
    /// It would be open to anybody.
    #[error(
        "refusing to listen on {0} without certificates: whoever reaches it could end every call. \
         Give --cert, --key and --ca (`lrep-cl tls` makes the files), or listen on 127.0.0.1, \
         [::1] or unix:/PATH"
    )]
    Open(Address),
    /// Certificates for a unix socket.
    #[error("{0} is a unix socket, which takes no certificates: its file's permissions guard it")]
    Guarded(Address),
}

/// An open socket for controllers.
#[derive(Debug)]
pub struct Listener(Socket);

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener, Option<Guard>),
    Unix(UnixSocket),
}

impl Listener {
    /// Opens a socket. Without a guard only a unix socket, or one that this host alone reaches.
    ///
    /// # Errors
    ///
    /// See [`ListenError`].
    pub async fn bind(address: Address, guard: Option<Guard>) -> Result<Self, ListenError> {
        let opened = match &address {
            Address::Unix(_) if guard.is_some() => return Err(ListenError::Guarded(address)),
            Address::Unix(path) => UnixSocket::bind(path, UNIX_MODE, None).map(Socket::Unix),
            Address::Tcp { host, port } => match resolve(host, *port).await {
                Ok(at) if guard.is_none() && !at.ip().is_loopback() => {
                    return Err(ListenError::Open(address));
                }
                Ok(at) => TcpListener::bind(at)
                    .await
                    .map(|socket| Socket::Tcp(socket, guard)),
                Err(error) => Err(error),
            },
        };
        opened
            .map(Self)
            .map_err(|error| ListenError::Socket { address, error })
    }

    /// The port, when it is a TCP one.
    pub fn local_address(&self) -> Option<SocketAddr> {
        match &self.0 {
            Socket::Tcp(socket, _) => socket.local_addr().ok(),
            Socket::Unix(_) => None,
        }
    }

    /// The connections of controllers that were let in, until `stop`.
    pub(super) fn incoming(
        self,
        stop: CancellationToken,
    ) -> impl Values<Item = io::Result<Stream<Visit>>> {
        let (sender, admitted) = mpsc::channel(1);
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.accept(sender) => {}
            }
        });
        stream::unfold(admitted, async |mut admitted| {
            let stream = admitted.recv().await?;
            Some((Ok(stream), admitted))
        })
    }

    async fn accept(self, admitted: mpsc::Sender<Stream<Visit>>) {
        match self.0 {
            Socket::Tcp(socket, guard) => {
                let door = Arc::new(Door {
                    guard,
                    refusals: Refusals::default(),
                    admitted,
                });
                let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
                loop {
                    let accepted = socket.accept().await;
                    let Some((bytes, from)) = or_wait(accepted).await else {
                        continue;
                    };
                    // Never closed.
                    let Ok(handshake) = Arc::clone(&handshakes).acquire_owned().await else {
                        return;
                    };
                    let door = Arc::clone(&door);
                    tokio::spawn(async move {
                        door.meet(bytes, from).await;
                        drop(handshake);
                    });
                }
            }
            Socket::Unix(socket) => loop {
                let accepted = socket.accept().await;
                if let Some(bytes) = or_wait(accepted).await {
                    let visit = Visit::begin(user(&bytes), "the unix socket".to_owned());
                    if admitted.send(Stream::plain(bytes, visit)).await.is_err() {
                        return;
                    }
                }
            },
        }
    }
}

async fn resolve(host: &str, port: u16) -> io::Result<SocketAddr> {
    let mut found = lookup_host((host, port)).await?;
    found.next().ok_or_else(|| {
        let text = "the name has no address";
        io::Error::new(io::ErrorKind::AddrNotAvailable, text)
    })
}

/// What was accepted. After a failure, such as too many open files, waits a little.
async fn or_wait<T>(accepted: io::Result<T>) -> Option<T> {
    match accepted {
        Ok(accepted) => Some(accepted),
        Err(error) => {
            warn!("cannot accept connections: {error}");
            sleep(RETRY).await;
            None
        }
    }
}

/// Who is at the other end of a unix socket.
fn user(bytes: &UnixStream) -> String {
    match bytes.peer_cred() {
        Ok(user) => format!("user {}", user.uid()),
        Err(_) => "somebody".to_owned(),
    }
}

/// Where connections of a TCP port are let in or refused.
struct Door {
    guard: Option<Guard>,
    refusals: Refusals,
    admitted: mpsc::Sender<Stream<Visit>>,
}

impl Door {
    async fn meet(&self, bytes: TcpStream, from: SocketAddr) {
        match timeout(HANDSHAKE, self.shake_hands(bytes, from)).await {
            Ok(Ok(stream)) => {
                // Nobody takes it when stopping.
                let _ = self.admitted.send(stream).await;
            }
            Ok(Err(error)) => {
                let refusal = error
                    .get_ref()
                    .and_then(|error| error.downcast_ref::<rustls::Error>());
                match refusal {
                    Some(refusal) => self.refusals.log(from, &tls::seen_by_host(refusal)),
                    None => self.refusals.log(from, &error.to_string()),
                }
            }
            Err(_) => self.refusals.log(from, "it did not finish its handshake"),
        }
    }

    async fn shake_hands(&self, bytes: TcpStream, from: SocketAddr) -> io::Result<Stream<Visit>> {
        bytes.set_nodelay(true)?;
        let Some(guard) = &self.guard else {
            let visit = Visit::begin("somebody of this host".to_owned(), from.to_string());
            return Ok(Stream::plain(bytes, visit));
        };
        let config = guard.identity.current().for_host(&guard.names);
        let acceptor = TlsAcceptor::from(Arc::new(config.map_err(io::Error::other)?));
        let bytes = match acceptor.accept(bytes).into_fallible().await {
            Ok(bytes) => bytes,
            Err((error, bytes)) => {
                linger(bytes).await;
                return Err(error);
            }
        };
        let (_, session) = bytes.get_ref();
        let shown = session.peer_certificates().map(<[_]>::to_vec);
        let certificate = shown
            .as_ref()
            .and_then(|chain| chain.first())
            .and_then(|der| Certificate::from_der(der));
        let name = certificate.map_or_else(String::new, |shown| shown.name().to_owned());
        let visit = Visit::begin(name, from.to_string());
        Ok(Stream::encrypted(bytes, shown.as_deref(), visit))
    }
}

/// Reads what is still sent, for a while.
async fn linger(mut bytes: TcpStream) {
    let mut rest = [0; 1024];
    let read_all = async { while matches!(bytes.read(&mut rest).await, Ok(1..)) {} };
    // Either is fine.
    let _ = timeout(LINGER, read_all).await;
}

/// Who was refused, in the log: anybody can make these lines, so they are few.
#[derive(Default)]
struct Refusals(Mutex<Option<(Instant, u64)>>);

impl Refusals {
    fn log(&self, from: SocketAddr, reason: &str) {
        let mut logged = self.0.lock();
        match &mut *logged {
            Some((last, left_out)) if last.elapsed() < LOGGED_EVERY => *left_out += 1,
            other => {
                let left_out = other.map_or(0, |(_, left_out)| left_out);
                *other = Some((Instant::now(), 0));
                match left_out {
                    0 => warn!("refused {from}: {reason}"),
                    _ => warn!("refused {from}: {reason} (and {left_out} others before it)"),
                }
            }
        }
    }
}

/// A controller's connection, from when it was let in until it is gone.
pub(in crate::tsl) struct Visit {
    who: String,
    from: String,
}

impl Visit {
    fn begin(who: String, from: String) -> Self {
        info!("{who} has come from {from}");
        Self { who, from }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        info!("{} has gone, who came from {}", self.who, self.from);
    }
}

impl fmt::Debug for Visit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from {}", self.who, self.from)
    }
}

impl Watch for Visit {
    fn failed(&self, error: &io::Error) {
        debug!("the connection of {self:?} broke: {error}");
    }
}

impl Connected for Stream<Visit> {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}
