// SPDX-License-Identifier: MIT OR Apache-2.0

//! `lrep-cl flush`: ends sessions.

use std::io::{self, IsTerminal, Write};

use clap::Args;
use serde_json::json;

use super::block_on;
use super::exit::Failure;
use super::format;
use crate::tsl::Tsl;
use crate::tsl::kernel::Kernel;

/// End all sessions, or those of one owner: their calls fall silent
#[derive(Args, Debug)]
pub struct Flush {
    /// Only the sessions with this owner tag
    #[arg(long, value_name = "NUMBER")]
    owner: Option<u32>,

    /// Do not ask
    #[arg(long)]
    yes: bool,

    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
}

impl Flush {
    /// Asks, ends them, and tells how many.
    pub fn run(&self) -> Result<String, Failure> {
        if !self.yes && !io::stdin().is_terminal() {
            return Err(Failure::usage(
                "flush ends living calls and nobody is there to ask: add --yes",
            ));
        }
        let ended = block_on(async {
            let kernel = Kernel::connect().await?;
            if !self.yes {
                let sessions = kernel.session_dump().await?;
                let count = sessions
                    .iter()
                    .filter(|session| self.owner.is_none_or(|owner| session.owner == owner))
                    .count();
                if !confirmed(count)? {
                    return Ok(0);
                }
            }
            Ok(kernel.session_flush(self.owner).await?)
        })?;
        Ok(if self.json {
            format!("{}\n", json!({ "ended": ended }))
        } else {
            format!("ended {} sessions\n", format::number(ended))
        })
    }
}

fn confirmed(count: usize) -> Result<bool, Failure> {
    let terminal = |error| Failure::system("cannot ask", &error);
    write!(
        io::stderr(),
        "End {count} sessions, silencing their calls? [y/N] "
    )
    .map_err(terminal)?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(terminal)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
