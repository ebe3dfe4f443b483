// SPDX-License-Identifier: MIT OR Apache-2.0

//! `lrep-cl run`: the daemon.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{ArgMatches, Args};
use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::block_on;
use super::exit::Failure;
use super::service::{Signals, notify, stop_on};
use crate::config::{self, Config, Settings, TslUrl};
use crate::driver::Driver;
use crate::logging;
use crate::server::Server;
use crate::tls::Identity;
use crate::tsl::kernel::Kernel;
use crate::tsl::remote::{self, Remote};

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
    let signals = Signals::catch()?;
    let identity = match &config.tls {
        Some(files) => Some(Arc::new(Identity::load(files.clone())?)),
        None => None,
    };
    let mut drivers = Vec::new();
    for tsl in &config.tsls {
        drivers.push(match &tsl.url {
            TslUrl::Local => Driver::new(Arc::new(Kernel::connect().await?)),
            TslUrl::Remote(address) => Driver::new(Arc::new(Remote::new(remote::Options {
                address: address.clone(),
                identity: identity.clone(),
                deadline: config.health.bound,
                keep_alive: config.health.timeout,
            }))),
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
