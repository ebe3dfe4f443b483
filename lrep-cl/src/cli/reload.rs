// SPDX-License-Identifier: MIT OR Apache-2.0

//! `lrep-cl reload`: a changed configuration.

use std::fmt::Write;

use clap::Args;
use serde_json::json;

use super::control::Control;
use super::exit::Failure;
use crate::config::{Change, Changes};
use crate::operator::{Answer, Request};

/// Have the daemon read its configuration again
///
/// What has changed is applied and shown, and what needs a restart is named. A file that is bad
/// changes nothing.
#[derive(Args, Debug)]
pub struct Reload {
    #[command(flatten)]
    control: Control,

    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
}

impl Reload {
    /// Has it read, and tells what came of it.
    pub fn run(&self) -> Result<String, Failure> {
        match self.control.ask(&Request::Reload)? {
            answer if self.json => Ok(format!("{}\n", json!(answer))),
            Answer::Reloaded(changes) => Ok(text(&changes)),
            _ => Err(Failure::internal("the daemon answered something else")),
        }
    }
}

fn text(changes: &Changes) -> String {
    let mut text = String::new();
    let mut tell = |what: &str, change: &Change| {
        let value = |value: &str| if value.is_empty() { "not given" } else { value }.to_owned();
        let (from, to) = (value(&change.from), value(&change.to));
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{what} {}: {from} -> {to}", change.key);
    };
    for change in &changes.applied {
        tell("applied      ", change);
    }
    for change in &changes.restart {
        tell("needs restart", change);
    }
    if text.is_empty() {
        text.push_str("nothing has changed\n");
    }
    text
}
