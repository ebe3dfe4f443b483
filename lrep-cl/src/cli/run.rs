// SPDX-License-Identifier: MIT OR Apache-2.0

//! `lrep-cl run`: the daemon.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{ArgMatches, Args};
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::block_on;
use super::exit::Failure;
use crate::config::{self, Config, Settings, TslUrl};
use crate::driver::Driver;
use crate::logging;
use crate::server::Server;
use crate::tsl::kernel::Kernel;

/// Answer SIP servers and program the relay, until SIGTERM or SIGINT
///
/// Living calls go on without the daemon: their sessions stay in the kernel, and a daemon that is
/// started again takes them over.
#[derive(Args, Debug)]
pub struct Run {
    /// The configuration file; /etc/lreproxy/lrep-cl.toml if that exists
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    #[command(flatten)]
    settings: Settings,
}

impl Run {
    /// Runs the daemon; `explicit` is what was said on the command line and in the environment.
    pub fn run(self, explicit: &ArgMatches) -> Result<(), Failure> {
        let config = config::load(self.config.as_deref(), explicit)?;
        let _guard = logging::start(config.log_level, config.log_format);
        block_on(serve(config))
    }
}

async fn serve(config: Config) -> Result<(), Failure> {
    // Before anything is answered: from here on a signal no longer kills.
    let catch =
        |kind| signal(kind).map_err(|error| Failure::system("cannot catch signals", &error));
    let signals = [
        catch(SignalKind::terminate())?,
        catch(SignalKind::interrupt())?,
    ];
    let mut drivers = Vec::new();
    for tsl in &config.tsls {
        drivers.push(match tsl.url {
            TslUrl::Local => Driver::new(Arc::new(Kernel::connect().await?)),
        });
    }
    let listeners: Vec<String> = config.listen.iter().map(ToString::to_string).collect();
    let tsls = config.tsls.clone();
    let server = Server::start(config, drivers).await?;
    for tsl in tsls {
        info!(
            tsl = tsl.name,
            set = tsl.set,
            addresses = %tsl.addresses,
            range = ?(tsl.start_port..=tsl.end_port),
            "relays"
        );
    }
    info!(
        version = env!("CARGO_PKG_VERSION"),
        "ready, listening on {}",
        listeners.join(", ")
    );
    notify(NotifyState::Ready);
    let stop = CancellationToken::new();
    tokio::spawn(stop_on(signals, stop.clone()));
    server.run(stop).await;
    info!("stopped; living calls go on in the kernel");
    Ok(())
}

async fn stop_on([mut terminate, mut interrupt]: [Signal; 2], stop: CancellationToken) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    info!("stopping: answering what has been asked");
    notify(NotifyState::Stopping);
    stop.cancel();
}

/// Tells the service manager, if there is one.
fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(false, &[state]) {
        warn!("cannot tell the service manager: {error}");
    }
}
