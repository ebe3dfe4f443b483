// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the verbs that go on have in common: signals, and the service manager.

use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::exit::Failure;

/// The signals that stop a service, caught: they no longer kill.
#[derive(Debug)]
pub struct Signals([Signal; 2]);

impl Signals {
    /// Catches them.
    pub fn catch() -> Result<Self, Failure> {
        let catch =
            |kind| signal(kind).map_err(|error| Failure::system("cannot catch signals", &error));
        Ok(Self([
            catch(SignalKind::terminate())?,
            catch(SignalKind::interrupt())?,
        ]))
    }
}

/// Cancels `stop` when a signal comes.
pub async fn stop_on(Signals([mut terminate, mut interrupt]): Signals, stop: CancellationToken) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    info!("stopping: answering what has been asked");
    notify(NotifyState::Stopping);
    stop.cancel();
}

/// Tells the service manager, if there is one.
pub fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(false, &[state]) {
        warn!("cannot tell the service manager: {error}");
    }
}
