// SPDX-License-Identifier: MIT OR Apache-2.0

//! `lrep-cl drain`: lets the daemon come to its end.

use std::io::{self, IsTerminal, Write};
use std::thread::sleep;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::control::Control;
use super::exit::Failure;
use super::status;
use crate::operator::{Answer, Request};

/// How often it is looked how far it has come.
const LOOK: Duration = Duration::from_secs(1);

/// Refuse new calls; the daemon ends when the last call has ended
///
/// Calls that are there go on as if nothing had happened, re-INVITEs included. SIP servers with
/// several nodes use the others from now on; one with this node only is told that there is no
/// relay.
#[derive(Args, Debug)]
pub struct Drain {
    /// Take new calls again
    #[arg(long, conflicts_with = "wait")]
    cancel: bool,

    /// Wait until the daemon has ended
    #[arg(long)]
    wait: bool,

    #[command(flatten)]
    control: Control,

    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
}

impl Drain {
    /// Begins it, or takes it back, and tells how the daemon is.
    pub fn run(&self) -> Result<String, Failure> {
        let request = if self.cancel {
            Request::Resume
        } else {
            Request::Drain
        };
        let answer = self.control.ask(&request)?;
        let told = if self.json {
            format!("{}\n", json!(answer))
        } else {
            text(&answer)
        };
        if !self.wait {
            return Ok(told);
        }
        while !self.control.is_deserted() {
            if let Ok(answer) = self.control.ask(&Request::Status) {
                if matches!(&answer, Answer::Status { status, .. } if !status.draining) {
                    return Err(Failure::absent("somebody has taken the draining back"));
                }
                show(&answer);
            }
            sleep(LOOK);
        }
        Ok(if self.json {
            told
        } else {
            "the daemon has ended\n".to_owned()
        })
    }
}

fn text(answer: &Answer) -> String {
    match answer {
        Answer::Status { status, .. } => status::state(status),
        _ => String::new(),
    }
}

/// Progress, for somebody who watches.
fn show(answer: &Answer) {
    let mut terminal = io::stderr();
    if terminal.is_terminal() {
        // Nothing can be done about a closed terminal.
        let _ = write!(terminal, "\r\x1b[K{}", text(answer).trim_end());
        let _ = terminal.flush();
    }
}
