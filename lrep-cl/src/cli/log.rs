// SPDX-License-Identifier: MIT OR Apache-2.0

//! `lrep-cl log`: how much the running daemon logs.

use clap::Args;
use serde_json::json;

use super::control::Control;
use super::exit::Failure;
use crate::config::LogLevel;
use crate::operator::Request;

/// Change how much the daemon logs, until it is restarted
#[derive(Args, Debug)]
pub struct Log {
    /// How much
    #[arg(value_enum)]
    level: LogLevel,

    #[command(flatten)]
    control: Control,

    /// Print JSON instead of nothing
    #[arg(long)]
    json: bool,
}

impl Log {
    /// Changes it, and tells in JSON what it is.
    pub fn run(&self) -> Result<String, Failure> {
        self.control.ask(&Request::Log { level: self.level })?;
        Ok(match self.json {
            true => format!("{}\n", json!({ "level": self.level })),
            false => String::new(),
        })
    }
}
