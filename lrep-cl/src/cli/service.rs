// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the verbs that go on have in common: signals, and the service manager.

use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::exit::Failure;

/// The signals that stop a service, caught: they no longer kill.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Catches them.
    pub fn catch() -> Result<Self, Failure> {
        let catch =
            |kind| signal(kind).map_err(|error| Failure::system("cannot catch signals", &error));
        Ok(Self {
            terminate: catch(SignalKind::terminate())?,
            interrupt: catch(SignalKind::interrupt())?,
        })
    }

    /// Waits for one.
    pub async fn caught(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Cancels `stop` when a signal comes.
pub async fn stop_on(mut signals: Signals, stop: CancellationToken) {
    signals.caught().await;
    announce_stop(&stop);
}

/// Cancels `stop`, and says so.
pub fn announce_stop(stop: &CancellationToken) {
    info!("stopping: answering what has been asked");
    notify(&[NotifyState::Stopping]);
    stop.cancel();
}

/// Tells the service manager, if there is one.
pub fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(false, states) {
        warn!("cannot tell the service manager: {error}");
    }
}
