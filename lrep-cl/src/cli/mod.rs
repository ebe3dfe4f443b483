// SPDX-License-Identifier: MIT OR Apache-2.0

//! The command line: one file per verb.

mod config;
mod exit;
mod flush;
mod format;
mod run;
mod sessions;
mod show;
mod stats;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Command, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::config::{Settings, without_defaults};
use exit::Failure;

/// Controls the lreproxy RTP relay in the Linux kernel.
///
/// `lrep-cl run` is the daemon that SIP servers ask for relays. The other verbs talk to the
/// kernel themselves and work without the daemon.
#[derive(Debug, Parser)]
#[command(name = "lrep-cl", version, after_help = exit::HELP, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Run(run::Run),
    Sessions(sessions::Sessions),
    Show(show::Show),
    Stats(stats::Stats),
    Flush(flush::Flush),
    Config(config::Config),
}

/// Runs the program and tells its exit code.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    match dispatch(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn command() -> Command {
    Cli::command().mut_subcommand("run", Settings::flags)
}

fn dispatch(args: &[OsString]) -> Result<(), Failure> {
    let cli = command()
        .try_get_matches_from(args)
        .and_then(|matches| Cli::from_arg_matches(&matches))?;
    match cli.verb {
        Verb::Run(run) => {
            // Read once more without defaults, to tell what was said from what was not.
            let explicit = command()
                .mut_subcommand("run", without_defaults)
                .try_get_matches_from(args)?;
            run.run(explicit.subcommand_matches("run").unwrap_or(&explicit))
        }
        Verb::Sessions(sessions) => sessions.run(),
        Verb::Show(show) => show.run(),
        Verb::Stats(stats) => stats.run(),
        Verb::Flush(flush) => flush.run(),
        Verb::Config(config) => config.run(),
    }
}

/// Runs a verb that waits for the kernel.
fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::system("cannot start", &error))?
        .block_on(work)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }
}
