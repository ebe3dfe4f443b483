// SPDX-License-Identifier: MIT OR Apache-2.0

//! `lrep-cl version`: what of lreproxy is here.

use clap::Args;
use genl_proto::generated::PROTOCOL_VERSION;
use serde_json::json;

use super::block_on;
use super::control::Control;
use super::exit::Failure;
use crate::operator::{Answer, Request};
use crate::tsl::Tsl;
use crate::tsl::kernel::Kernel;

/// Show the versions of this program, of the running daemon and of the loaded module
#[derive(Args, Debug)]
pub struct Version {
    #[command(flatten)]
    control: Control,

    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
}

impl Version {
    /// Tells them.
    pub fn run(&self) -> Result<String, Failure> {
        let module = block_on(async { Ok(Kernel::connect().await?.config_get().await?) });
        let module = match module {
            Ok(config) => Ok(config.module_version),
            Err(Failure::Because { text, .. }) => Err(text),
            Err(usage) => return Err(usage),
        };
        let daemon = match self.control.ask(&Request::Status) {
            Ok(Answer::Status { version, .. }) => Ok(version),
            Ok(_) => Err("it answered something else".to_owned()),
            Err(Failure::Because { text, .. }) => Err(text),
            Err(usage) => return Err(usage),
        };
        let program = env!("CARGO_PKG_VERSION");
        Ok(if self.json {
            let versions = json!({
                "program": program,
                "protocol": PROTOCOL_VERSION,
                "daemon": daemon.ok(),
                "module": module.ok(),
            });
            format!("{versions}\n")
        } else {
            let or_why = |found: Result<String, String>| found.unwrap_or_else(|why| why);
            format!(
                "program  {program}, protocol {PROTOCOL_VERSION}\ndaemon   {}\nmodule   {}\n",
                or_why(daemon),
                or_why(module)
            )
        })
    }
}
