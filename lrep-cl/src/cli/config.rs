// SPDX-License-Identifier: MIT OR Apache-2.0

//! `lrep-cl config`: the configuration file.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::exit::Failure;
use crate::config::{DEFAULT_FILE, Settings, check};

/// Check or print the configuration file
#[derive(Args, Debug)]
pub struct Config {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Check a file: keys, values, and whether they make sense together
    Check {
        /// The file
        #[arg(default_value = DEFAULT_FILE, env = "LREP_CONFIG")]
        file: PathBuf,
    },
    /// Print a file with every key, its description and its default
    Example,
}

impl Config {
    /// Checks a file, or tells the example.
    pub fn run(&self) -> Result<String, Failure> {
        match &self.verb {
            Verb::Check { file } => {
                check(file)?;
                Ok(format!("{}: good\n", file.display()))
            }
            Verb::Example => Settings::example()
                .map_err(|error| Failure::internal(format_args!("cannot print it: {error}"))),
        }
    }
}
