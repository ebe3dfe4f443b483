// SPDX-License-Identifier: MIT OR Apache-2.0

//! `lrep-cl status`: how the daemon is.

use std::fmt::Write;

use clap::Args;
use serde_json::json;

use super::control::Control;
use super::exit::Failure;
use super::format;
use crate::core::status::{Status as State, TslStatus};
use crate::operator::{Answer, Request};

/// Show how the daemon and its TSLs are
#[derive(Args, Debug)]
pub struct Status {
    #[command(flatten)]
    control: Control,

    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
}

impl Status {
    /// Tells it.
    pub fn run(&self) -> Result<String, Failure> {
        let answer = self.control.ask(&Request::Status)?;
        if self.json {
            return Ok(format!("{}\n", json!(answer)));
        }
        let Answer::Status {
            version,
            pid,
            status,
        } = answer
        else {
            return Err(Failure::internal("the daemon answered something else"));
        };
        let mut text = format!("lrep-cl {version}, process {pid}\n{}", state(&status));
        for (reason, calls) in &status.refused {
            let calls = format::number(*calls);
            // Writing to a string cannot fail.
            let _ = writeln!(text, "refused: {calls} ({reason})");
        }
        Ok(text + "\n" + &table(&status.tsls))
    }
}

/// What it is doing, in a line.
pub fn state(status: &State) -> String {
    let sessions = format::number(status.sessions);
    if status.draining {
        format!("draining: {sessions} relays left, new calls are refused\n")
    } else {
        format!("working: {sessions} relays\n")
    }
}

/// The TSLs.
pub fn table(tsls: &[TslStatus]) -> String {
    let header = [
        "TSL",
        "SET",
        "WEIGHT",
        "HEALTH",
        "NEW CALLS",
        "RELAYS",
        "PACKETS/S",
        "PORTS IN USE",
    ];
    let right = ["SET", "WEIGHT", "RELAYS", "PACKETS/S", "PORTS IN USE"];
    let row = |tsl: &TslStatus| {
        vec![
            tsl.name.clone(),
            tsl.set.to_string(),
            tsl.weight.to_string(),
            tsl.health.name().to_owned(),
            if tsl.enabled { "yes" } else { "disabled" }.to_owned(),
            format::number(tsl.sessions),
            tsl.packets_per_second
                .map_or_else(|| "-".to_owned(), format::number),
            ports(tsl),
        ]
    };
    format!("{}\n", format::table(&header, &right, tsls.iter().map(row)))
}

/// `4 of 10,001`, and how many of them are nobody's.
fn ports(tsl: &TslStatus) -> String {
    let [used, all, leaked] =
        [tsl.ports_in_use, tsl.ports, tsl.ports_leaked].map(|ports| format::number(ports.into()));
    match tsl.ports_leaked {
        0 => format!("{used} of {all}"),
        _ => format!("{used} of {all}, {leaked} leaked"),
    }
}
