// SPDX-License-Identifier: MIT OR Apache-2.0

//! Telling the SIP side that a call's media has ceased.
//!
//! Each target has a task and a queue of its own: one that is away delays neither the others nor
//! any answer. One that is taken out is told what waits for it.

pub mod jsonrpc;
mod stream;
mod target;

use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tracing::warn;

use crate::alarm::Alarms;
use crate::logging::CallId;
pub use target::Target;

/// Calls that wait to be told of; further ones are left out.
const QUEUE: usize = 4096;

/// How often a target that says nothing is tried for a call.
const TRIES: usize = 5;

/// How long it is waited for each time.
const PATIENCE: Duration = Duration::from_secs(1);

/// Who is told.
#[derive(Debug, Default)]
pub struct Notifier {
    queues: Vec<(Target, mpsc::Sender<Vec<u8>>)>,
    alarms: Alarms,
}

impl Notifier {
    /// Tells these from now on. To be called inside a tokio runtime.
    pub fn set_targets(&mut self, targets: &[Target]) {
        self.queues.retain(|(target, _)| targets.contains(target));
        for target in targets {
            if self.queues.iter().any(|(known, _)| known == target) {
                continue;
            }
            let (sender, calls) = mpsc::channel(QUEUE);
            self.queues.push((target.clone(), sender));
            // Ends when its queue has no sender any more and is empty.
            tokio::spawn(run(target.clone(), calls));
        }
    }

    /// The media of this call has ceased.
    pub fn tell(&mut self, call_id: &[u8]) {
        for (target, queue) in &self.queues {
            if queue.try_send(call_id.to_vec()).is_err() {
                if let Some(withheld) = self.alarms.due("queue", Instant::now()) {
                    warn!(
                        call_id = %CallId(call_id),
                        withheld,
                        "{target} is not told that the call's media has ceased: too many wait for \
                         it; is it there?"
                    );
                }
            }
        }
    }
}

async fn run(target: Target, calls: mpsc::Receiver<Vec<u8>>) {
    match target {
        Target::JsonRpc(address) => jsonrpc::tell(address, calls).await,
        Target::Line(place) => stream::tell(&place, calls).await,
    }
}

/// Says that a target could not be told of a call.
fn untold(target: &dyn std::fmt::Display, call_id: &[u8], why: &dyn std::fmt::Display) {
    warn!(
        call_id = %CallId(call_id),
        "{target} was not told that the call's media has ceased: {why} (see timeout_socket)"
    );
}
