// SPDX-License-Identifier: MIT OR Apache-2.0

//! `lrep-cl run`: the daemon.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{ArgMatches, Args};
use nix::time::{ClockId, clock_gettime};
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::block_on;
use super::exit::Failure;
use super::service::{Signals, announce_stop, notify};
use crate::answers::{self, Answered};
use crate::config::{self, Config, Loaded, Settings, TslUrl};
use crate::driver::Driver;
use crate::ephemeral::Ephemeral;
use crate::frontend::control;
use crate::frontend::unix::UnixSocket;
use crate::inherited::Inherited;
use crate::logging::{self, Verbosity};
use crate::operator::Operator;
use crate::ports;
use crate::server::Server;
use crate::tls::Identity;
use crate::tsl::engine::{self, Engine};
use crate::tsl::kernel::Kernel;
use crate::tsl::remote::{self, Remote};
use crate::tsl::userspace::{self, Userspace};

/// The file of answers in the directory for state.
const ANSWERS: &str = "answers";

/// Permissions of the control socket, without and with a group.
const PRIVATE: u32 = 0o600;
const SHARED: u32 = 0o660;

/// How long stopping takes at most once calls are no longer waited for.
const STOPPING: Duration = Duration::from_secs(5);

/// Answer SIP servers and program the relay, until SIGTERM or SIGINT
///
/// Living calls go on without the daemon: their sessions stay in the kernel, and a daemon that is
/// started again takes them over. SIGHUP has it read its configuration again, as `lrep-cl reload`
/// does. With `drain_timeout`, SIGTERM lets living calls end first; a second one does not.
#[derive(Args, Debug)]
pub struct Run {
    /// The configuration file; /etc/lreproxy/lrep-cl.toml if that exists
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Where answers are left for the next run, so that a request that is repeated across a restart
    /// is answered alike
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,

    #[command(flatten)]
    settings: Settings,
}

impl Run {
    /// Runs the daemon; `explicit` is what was said on the command line and in the environment.
    pub fn run(self, explicit: &ArgMatches) -> Result<(), Failure> {
        // Before there are other threads.
        let inherited = Inherited::take();
        let answers = self.state_dir.map(|directory| directory.join(ANSWERS));
        let load = {
            let (file, explicit) = (self.config, explicit.clone());
            move || config::load(file.as_deref(), &explicit)
        };
        let loaded = load()?;
        let (level, format) = (loaded.config.log_level, loaded.config.log_format);
        let (_guard, verbosity) = logging::start(level, format);
        block_on(serve(
            loaded,
            inherited,
            answers.as_deref(),
            verbosity,
            Box::new(load),
        ))
    }
}

async fn serve(
    loaded: Loaded,
    inherited: Inherited,
    answers: Option<&Path>,
    verbosity: Verbosity,
    load: Box<crate::operator::Load>,
) -> Result<(), Failure> {
    let Loaded {
        config, settings, ..
    } = loaded;
    // Before anything is answered: from here on a signal no longer kills.
    let signals = Signals::catch()?;
    let hangup = signal(SignalKind::hangup())
        .map_err(|error| Failure::system("cannot catch signals", &error))?;
    let identity = match &config.tls {
        Some(files) => Some(Arc::new(Identity::load(files.clone())?)),
        None => None,
    };
    let connect = move |url: &TslUrl, config: &Config| elsewhere(url, config, identity.as_ref());
    let mut drivers = Vec::new();
    for tsl in &config.tsls {
        drivers.push(match connect(&tsl.url, &config) {
            Some(driver) => driver,
            None if tsl.url == TslUrl::Userspace => {
                warn!("{}", userspace::ADVICE);
                Driver::new(Arc::new(Userspace::start()?))
            }
            None => Driver::new(Arc::new(Kernel::connect().await?)),
        });
    }
    let listeners: Vec<String> = config.listen.iter().map(ToString::to_string).collect();
    let tsls = config.tsls.clone();
    let control = open_control(&config);
    keep_ports(&config);
    // Who could guess it would know the ports of the first calls.
    let seed = getrandom::u64()
        .map_err(|error| Failure::system("cannot draw a random number", &error.into()))?;
    let server = Server::start(config, seed, drivers, inherited).await?;
    let service = server.service();
    if let Some(file) = answers {
        service.remember(take_answers(file));
    }
    let operator = Arc::new(Operator::new(
        server.service(),
        verbosity,
        settings,
        load,
        Box::new(connect),
    ));
    if let Some(socket) = control {
        tokio::spawn(control::serve(socket, Arc::clone(&operator)));
    }
    let is_relay = tsls.iter().any(|tsl| tsl.url == TslUrl::Userspace);
    for tsl in tsls {
        info!(
            tsl = tsl.name,
            set = tsl.set,
            addresses = %tsl.addresses,
            ports = ports::list(&tsl.ports),
            "relays"
        );
    }
    info!(
        version = env!("CARGO_PKG_VERSION"),
        "ready, listening on {}",
        listeners.join(", ")
    );
    notify(&[NotifyState::Ready]);
    let stop = CancellationToken::new();
    tokio::spawn(obey(signals, hangup, operator, stop.clone()));
    server.run(stop).await;
    // What a relay of this process has answered goes with it.
    if let Some(file) = answers.filter(|_| !is_relay) {
        leave_answers(file, service.answers());
    }
    if is_relay {
        info!("stopped; the calls of the userspace relay end with it");
    } else {
        info!("stopped; living calls go on in the kernel");
    }
    Ok(())
}

/// Drives a TSL of another host, which need not be there yet; `None` for one of this host.
fn elsewhere(url: &TslUrl, config: &Config, identity: Option<&Arc<Identity>>) -> Option<Driver> {
    match url {
        TslUrl::Local | TslUrl::Userspace => None,
        TslUrl::Engine(address) => {
            let options = engine::Options {
                address: address.clone(),
                patience: config.patience(),
            };
            Some(Driver::new(Arc::new(Engine::new(options))))
        }
        TslUrl::Remote(address) => {
            let options = remote::Options {
                address: address.clone(),
                identity: identity.cloned(),
                deadline: config.health.bound,
                keep_alive: config.health.timeout,
            };
            Some(Driver::new(Arc::new(Remote::new(options))))
        }
    }
}

/// The answers that an earlier run has left. They are of use only once.
fn take_answers(file: &Path) -> Vec<Answered> {
    let read = fs::read(file).and_then(|bytes| fs::remove_file(file).map(|()| bytes));
    match read.map(|bytes| answers::decode(&bytes, uptime())) {
        Ok(Ok(answers)) => answers,
        Ok(Err(error)) => {
            warn!(
                "did not take the answers in {}: {error}; a request repeated now is carried out again",
                file.display()
            );
            Vec::new()
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            warn!("cannot take {}: {error}", file.display());
            Vec::new()
        }
    }
}

/// Leaves answers to the next run, all or none.
fn leave_answers(file: &Path, answers: Vec<Answered>) {
    let count = answers.len();
    let unfinished = file.with_extension("new");
    let bytes = answers::encode(answers, uptime());
    let written = fs::write(&unfinished, bytes).and_then(|()| fs::rename(&unfinished, file));
    match written {
        Ok(()) => debug!(count, "left answers in {}", file.display()),
        Err(error) => warn!(
            "cannot leave answers in {}: {error}; a request repeated now is carried out again",
            file.display()
        ),
    }
}

/// How long the machine has been running, asleep or not.
fn uptime() -> Duration {
    // Every kernel that has the module has this clock.
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from)
}

/// Has the service manager wait, for ever.
async fn stay() {
    loop {
        let long_enough = (2 * STOPPING).as_micros();
        notify(&[NotifyState::ExtendTimeoutUsec(
            u32::try_from(long_enough).unwrap_or(u32::MAX),
        )]);
        sleep(STOPPING / 2).await;
    }
}

/// The socket for the operator's commands. Calls do not need it, so they need not wait for it.
fn open_control(config: &Config) -> Option<UnixSocket> {
    let path = &config.control_sock;
    let mode = config.control_group.map_or(PRIVATE, |_| SHARED);
    let directory = path
        .parent()
        .map_or(Ok(()), |directory| match fs::create_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => made,
        });
    let socket = directory.and_then(|()| UnixSocket::bind(path, mode, config.control_group));
    match socket {
        Ok(socket) => Some(socket),
        Err(error) => {
            warn!(
                "cannot listen on {}: {error}; `lrep-cl status`, `drain`, `reload`, `log` and `tsl` \
                 will not reach this daemon (see `control_sock`)",
                path.display()
            );
            None
        }
    }
}

/// Keeps relay ports of this host from other sockets, or says how to.
fn keep_ports(config: &Config) {
    for tsl in config.tsls.iter().filter(|tsl| tsl.url.is_here()) {
        let ports = tsl.owned_ports();
        let ephemeral = match Ephemeral::read() {
            Ok(ephemeral) if ephemeral.meets(&ports) => ephemeral,
            Ok(_) => continue,
            Err(error) => {
                warn!("cannot see whether other sockets are given relay ports: {error}");
                continue;
            }
        };
        let cure = ephemeral.cure(&ports);
        if !config.reserve_ports {
            warn!(
                "other sockets may be given relay ports, and then lose packets to calls: run \
                 `{cure}`, or set reserve_ports"
            );
        } else if let Err(error) = ephemeral.reserve(&ports) {
            warn!("cannot keep relay ports from other sockets: {error}; run `{cure}` as root");
        } else {
            info!(?ports, "relay ports are kept from other sockets");
        }
    }
}

/// Does what signals say, until the server is to stop.
async fn obey(
    mut signals: Signals,
    mut hangup: Signal,
    operator: Arc<Operator>,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            () = signals.caught() => break,
            () = operator.drained() => {
                info!("drained: the last call has ended");
                announce_stop(&stop);
                return;
            }
            _ = hangup.recv() => {
                // The log has told what came of it.
                let _ = operator.reload();
            }
        }
    }
    let patience = operator.drain_timeout();
    if !patience.is_zero() {
        operator.drain();
        notify(&[NotifyState::Status("waiting for the last call's end")]);
        tokio::select! {
            () = operator.drained() => info!("drained: the last call has ended"),
            () = sleep(patience) => info!("calls are left, and go on in the kernel"),
            () = signals.caught() => {}
            () = stay() => {}
        }
    }
    announce_stop(&stop);
}
