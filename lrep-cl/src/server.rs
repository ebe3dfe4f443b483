// SPDX-License-Identifier: MIT OR Apache-2.0

//! The edge of the controller: moves bytes between sockets, TSLs and the [`Core`], and tells it
//! the time.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ahash::HashMap;
use parking_lot::Mutex;
use tokio::net::UdpSocket;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tracing::{debug, warn};

use crate::answers::Answered;
use crate::config::{Config, Listen};
use crate::core::command::{Command, Outcome, Token};
use crate::core::status::Status;
pub use crate::core::{ANSWER_BOUND, Client};
use crate::core::{Action, Core};
use crate::driver::{self, Asker, Driver, Order};
use crate::frontend::unix::UnixSocket;
use crate::frontend::{udp, unix};
use crate::inherited::{self, Inherited};
use crate::notify::Notifier;
use crate::tsl::{self, Event};

/// How long the outcome of what was already answered is waited for when stopping.
const LAST_JOBS: Duration = Duration::from_secs(2);

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
pub struct Server {
    service: Arc<Service>,
    udp: Vec<Listening>,
    unix: Vec<(usize, UnixSocket)>,
    _clock: AbortOnDropHandle<()>,
}

/// A UDP listener.
#[derive(Clone, Debug)]
struct Listening {
    /// Its place in the configuration.
    listener: usize,
    socket: Arc<UdpSocket>,
    /// Whether the service manager has it, too.
    kept: bool,
}

impl Listening {
    async fn open(
        listener: usize,
        address: SocketAddr,
        inherited: &mut Inherited,
    ) -> io::Result<Self> {
        let (socket, was_there) = match inherited.udp(address) {
            Some(socket) => {
                socket.set_nonblocking(true)?;
                (UdpSocket::from_std(socket)?, true)
            }
            None => (UdpSocket::bind(address).await?, false),
        };
        Ok(Self {
            listener,
            kept: was_there || inherited::keep(address, &socket),
            socket: Arc::new(socket),
        })
    }
}

impl Server {
    /// Opens the listeners that were not inherited, configures the TSLs, and adopts the sessions
    /// living there. There is one driver for each TSL of the configuration, in its order.
    pub async fn start(
        config: Config,
        seed: u64,
        drivers: Vec<Driver>,
        mut inherited: Inherited,
    ) -> Result<Self, StartError> {
        for tsl in config.tsls.iter().filter(|tsl| tsl.url.is_here()) {
            for address in tsl.addresses.locals() {
                check_local(address)?;
            }
        }
        let (mut udp, mut unix) = (Vec::new(), Vec::new());
        for (index, listen) in config.listen.iter().enumerate() {
            let opened = match listen {
                Listen::Udp(address) => Listening::open(index, *address, &mut inherited)
                    .await
                    .map(|listening| udp.push(listening)),
                Listen::Unix(path) => match inherited.unix(path) {
                    Some(socket) => UnixSocket::inherit(socket, path),
                    None => UnixSocket::bind(path, config.unix_mode, config.unix_group),
                }
                .map(|socket| unix.push((index, socket))),
            };
            opened.map_err(|error| StartError::Listen {
                listen: listen.clone(),
                error,
            })?;
        }
        inherited.close();
        let tsls = config.tsls.clone();
        let (opened, mut openings) = mpsc::unbounded_channel();
        let service = Service::new(config, seed, &udp, drivers, opened);
        let clock = AbortOnDropHandle::new(tokio::spawn(keep_time(Arc::clone(&service))));
        // One that is away tells so again and again.
        let mut unopened: BTreeSet<usize> = (0..tsls.len()).collect();
        while !unopened.is_empty() {
            let Some((index, result)) = openings.recv().await else {
                break;
            };
            unopened.remove(&index);
            let tsl = tsls.get(index).filter(|tsl| tsl.url.is_here());
            if let (Some(tsl), Err(error)) = (tsl, result) {
                return Err(if error.is(nix::errno::Errno::EBUSY) {
                    StartError::AddressInUse(tsl.addresses.to_string())
                } else {
                    StartError::Tsl(error)
                });
            }
        }
        Ok(Self {
            service,
            udp,
            unix,
            _clock: clock,
        })
    }

    /// The addresses of the UDP listeners, in the order of the configuration.
    pub fn udp_addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.udp
            .iter()
            .map(|listening| listening.socket.local_addr())
            .collect()
    }

    /// The paths of the unix listeners, in the order of the configuration.
    pub fn unix_paths(&self) -> Vec<PathBuf> {
        self.unix
            .iter()
            .map(|(_, socket)| socket.path().to_owned())
            .collect()
    }

    /// What answers requests, for callers that have no socket to ask through.
    pub fn service(&self) -> Arc<Service> {
        Arc::clone(&self.service)
    }

    /// Answers requests until `stop`; then takes no new ones, answers all it has, and returns.
    pub async fn run(self, stop: CancellationToken) {
        let listeners = TaskTracker::new();
        for Listening {
            listener,
            socket,
            kept,
        } in self.udp
        {
            let service = Arc::clone(&self.service);
            listeners.spawn(udp::serve(socket, kept, listener, service, stop.clone()));
        }
        for (index, socket) in self.unix {
            let service = Arc::clone(&self.service);
            listeners.spawn(unix::serve(socket, index, service, stop.clone()));
        }
        listeners.close();
        stop.cancelled().await;
        listeners.wait().await;
        self.service.until(Core::is_answered).await;
        if timeout(LAST_JOBS, self.service.until(Core::is_idle))
            .await
            .is_err()
        {
            warn!("stopped before the relay carried out everything that was asked for");
        }
        // Without senders of orders the drivers end.
        self.service.dismiss();
        let _ = timeout(LAST_JOBS, self.service.drivers.wait()).await;
    }
}

/// Refuses an address that no interface has, by asking the kernel for a socket on it.
pub fn check_local(address: Ipv4Addr) -> Result<(), StartError> {
    match std::net::UdpSocket::bind((address, 0)) {
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
            Err(StartError::AddressNotLocal(address))
        }
        // Any other obstacle is not about the address.
        _ => Ok(()),
    }
}

/// Where a TSL's driver tells what it has to tell.
struct FromTsl {
    service: Arc<Service>,
    tsl: usize,
}

impl driver::Listener for FromTsl {
    fn outcome(&self, token: Token, result: tsl::Result<Outcome>) {
        self.service.with(|core, now, actions| {
            core.outcome(self.tsl, token, result, now, actions);
        });
    }

    fn event(&self, event: Option<Event>) {
        self.service.with(|core, now, actions| {
            core.event(self.tsl, event, now, actions);
        });
    }
}

/// What answers requests: the core, and what its actions need.
#[derive(Debug)]
pub struct Service {
    state: Mutex<State>,
    drivers: TaskTracker,
    /// By the place of the listener.
    udp: HashMap<usize, Arc<UdpSocket>>,
    /// The core wants to be woken sooner.
    sooner: Notify,
    /// No request is unanswered.
    quiet: Notify,
}

#[derive(Debug)]
struct State {
    core: Core,
    /// Kept for its memory.
    actions: Vec<Action>,
    orders: Vec<mpsc::UnboundedSender<Order>>,
    notifier: Notifier,
    opened: mpsc::UnboundedSender<(usize, tsl::Result<()>)>,
    /// Who waits on a connection for an answer.
    connections: HashMap<u64, oneshot::Sender<Vec<u8>>>,
    connection: u64,
    /// When the core will be woken.
    alarm: Option<std::time::Instant>,
}

impl Service {
    fn new(
        config: Config,
        seed: u64,
        udp: &[Listening],
        drivers: Vec<Driver>,
        opened: mpsc::UnboundedSender<(usize, tsl::Result<()>)>,
    ) -> Arc<Self> {
        let mut actions = Vec::new();
        let mut notifier = Notifier::default();
        notifier.set_targets(&config.timeout_sockets);
        let bound = config.health.bound;
        let core = Core::new(config, seed, now(), &mut actions);
        let service = Arc::new(Self {
            state: Mutex::new(State {
                core,
                actions,
                orders: Vec::new(),
                notifier,
                opened,
                connections: HashMap::default(),
                connection: 0,
                alarm: None,
            }),
            udp: udp
                .iter()
                .map(|udp| (udp.listener, Arc::clone(&udp.socket)))
                .collect(),
            drivers: TaskTracker::new(),
            sooner: Notify::new(),
            quiet: Notify::new(),
        });
        for (tsl, driver) in drivers.into_iter().enumerate() {
            let orders = service.start(tsl, driver, bound);
            service.state.lock().orders.push(orders);
        }
        // Sends what the new core wants to begin with.
        service.with(|_, _, _| ());
        service
    }

    /// Takes a datagram; the answer goes out by itself.
    pub fn datagram(&self, listener: usize, peer: SocketAddr, request: &[u8]) {
        self.with(|core, now, actions| {
            if core.admits(listener, peer, now) {
                let client = Client::Udp { listener, peer };
                core.request(client, request, now, actions);
            }
        });
    }

    /// Answers a request of a stream; `None` when nothing is to be sent. Takes at most
    /// [`ANSWER_BOUND`].
    pub async fn answer(&self, listener: usize, request: &[u8]) -> Option<Vec<u8>> {
        let (sender, receiver) = oneshot::channel();
        let connection = {
            let mut state = self.state.lock();
            state.connection += 1;
            let connection = state.connection;
            state.connections.insert(connection, sender);
            connection
        };
        let client = Client::Unix {
            listener,
            connection,
        };
        let is_answered =
            self.with(|core, now, actions| core.request(client, request, now, actions));
        if !is_answered {
            self.state.lock().connections.remove(&connection);
        }
        receiver.await.ok()
    }

    /// The answers that clients may ask for once more.
    pub fn answers(&self) -> Vec<Answered> {
        self.with(|core, now, _| core.answers(now))
    }

    /// Takes the answers of an earlier run.
    pub fn remember(&self, answers: Vec<Answered>) {
        self.with(|core, now, _| core.remember(answers, now));
    }

    /// How the controller is.
    pub fn status(&self) -> Status {
        self.with(|core, now, _| core.status(now))
    }

    /// Refuses new calls from now on, or takes them again.
    pub fn drain(&self, draining: bool) {
        self.with(|core, _, _| core.drain(draining));
    }

    /// Waits until new calls are refused and the last one has ended.
    pub async fn drained(&self) {
        self.until(Core::is_drained).await;
    }

    /// Lets a TSL have new calls, or no more; whether there is one of this name.
    pub fn enable(&self, tsl: &str, enabled: bool) -> bool {
        self.with(|core, _, _| core.enable(tsl, enabled))
    }

    /// Has the TSL at this place tell something, without the core.
    pub fn look(&self, tsl: usize, command: Command) -> oneshot::Receiver<tsl::Result<Outcome>> {
        let (sender, receiver) = oneshot::channel();
        let order = Order::CarryOut(command, Asker::Looker(sender));
        // Without a driver the receiver is told that nobody will answer.
        let _ = self.state.lock().orders.get(tsl).map(|tsl| tsl.send(order));
        receiver
    }

    /// Goes on with another configuration of the same listeners, and of the same TSLs and others behind
    /// them, of which these are the drivers. To be called inside a tokio runtime.
    pub fn reload(self: &Arc<Self>, config: Config, added: Vec<Driver>) {
        {
            let mut state = self.state.lock();
            for tsl in &state.orders {
                // A driver ends only after the server.
                let _ = tsl.send(Order::Wait(config.patience()));
            }
            for driver in added {
                let orders = self.start(state.orders.len(), driver, config.health.bound);
                state.orders.push(orders);
            }
            state.notifier.set_targets(&config.timeout_sockets);
        }
        self.with(|core, now, actions| core.reload(config, now, actions));
    }

    /// Starts the driver of the TSL at this place.
    fn start(
        self: &Arc<Self>,
        tsl: usize,
        driver: Driver,
        bound: Duration,
    ) -> mpsc::UnboundedSender<Order> {
        let (sender, orders) = mpsc::unbounded_channel();
        let listener = Arc::new(FromTsl {
            service: Arc::clone(self),
            tsl,
        });
        self.drivers.spawn(driver.run(bound, orders, listener));
        sender
    }

    /// Works with the core, then does what it wants done.
    fn with<R>(
        &self,
        work: impl FnOnce(&mut Core, std::time::Instant, &mut Vec<Action>) -> R,
    ) -> R {
        let mut state = self.state.lock();
        let state = &mut *state;
        let result = work(&mut state.core, now(), &mut state.actions);
        let mut actions = std::mem::take(&mut state.actions);
        for action in actions.drain(..) {
            self.act(state, action);
        }
        state.actions = actions;
        // Most requests only put off what is due: they need not wake anybody.
        let deadline = state.core.deadline();
        if deadline.is_some_and(|deadline| state.alarm.is_none_or(|alarm| deadline < alarm)) {
            self.sooner.notify_one();
        }
        if state.core.is_answered() {
            self.quiet.notify_waiters();
        }
        result
    }

    fn act(&self, state: &mut State, action: Action) {
        match action {
            Action::Answer {
                client: Client::Udp { listener, peer },
                bytes,
            } => {
                // A client that misses its answer asks again.
                let sent = self
                    .udp
                    .get(&listener)
                    .map(|socket| socket.try_send_to(&bytes, peer));
                if let Some(Err(error)) = sent {
                    debug!("cannot answer {peer}: {error}");
                }
            }
            Action::Answer {
                client: Client::Unix { connection, .. },
                bytes,
            } => {
                if let Some(waiting) = state.connections.remove(&connection) {
                    // It may have hung up.
                    let _ = waiting.send(bytes);
                }
            }
            Action::Command {
                tsl,
                token,
                command,
            } => {
                // A driver ends only after the server.
                let asker = Asker::Core(token);
                let _ = state
                    .orders
                    .get(tsl)
                    .map(|tsl| tsl.send(Order::CarryOut(command, asker)));
            }
            Action::Silenced { call_id } => state.notifier.tell(&call_id),
            Action::Opened { tsl, result } => {
                // Only whoever starts the server waits for it.
                let _ = state.opened.send((tsl, result));
            }
        }
    }

    /// Waits until something is true of the core, which is not while requests are unanswered.
    async fn until(&self, is_true: impl Fn(&Core) -> bool) {
        loop {
            let changed = self.quiet.notified();
            if is_true(&self.state.lock().core) {
                return;
            }
            changed.await;
        }
    }

    fn dismiss(&self) {
        self.drivers.close();
        self.state.lock().orders.clear();
    }
}

/// Wakes the core whenever it has something to do.
async fn keep_time(service: Arc<Service>) {
    loop {
        let deadline = {
            let mut state = service.state.lock();
            state.alarm = state.core.deadline();
            state.alarm
        };
        let due = async {
            match deadline {
                Some(deadline) => sleep_until(Instant::from_std(deadline)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = due => service.with(|core, now, actions| core.tick(now, actions)),
            () = service.sooner.notified() => {}
        }
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}
