// SPDX-License-Identifier: MIT OR Apache-2.0

//! `lrep-cl documents`: what is installed next to the program.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::exit::Failure;
use crate::documents;

/// Write the manual pages and the shell completions of this program, and show their paths
#[derive(Args, Debug)]
pub struct Documents {
    /// Below which directory; below /usr/share they are found
    #[arg(value_name = "DIR")]
    directory: PathBuf,

    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
}

impl Documents {
    /// Writes them.
    pub fn run(&self) -> Result<String, Failure> {
        let below = self.directory.display();
        let written = documents::install(&self.directory)
            .map_err(|error| Failure::file(&format!("cannot write below {below}"), &error))?;
        Ok(if self.json {
            format!("{}\n", json!(written))
        } else {
            written.join("\n") + "\n"
        })
    }
}
