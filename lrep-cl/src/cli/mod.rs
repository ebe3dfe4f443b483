// SPDX-License-Identifier: MIT OR Apache-2.0

//! The command line: one file per verb.

mod config;
mod control;
mod doctor;
mod documents;
mod drain;
mod exit;
mod flush;
mod format;
mod log;
mod reload;
mod reports;
mod run;
mod service;
mod sessions;
mod show;
mod stats;
mod status;
mod tls;
mod top;
mod tsl;
mod version;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue};
use clap::{Command, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::config::{Settings, variable, without_defaults};
pub use exit::CODES;
use exit::Failure;

/// Controls the lreproxy RTP relay in the Linux kernel.
///
/// `lrep-cl run` is the daemon that SIP servers ask for relays; `status`, `drain`, `reload`, `log` and
/// `tsl list` to `tsl enable` tell it what to do. `lrep-cl tsl` serves the relay of this host to
/// daemons elsewhere. The other verbs talk to the kernel themselves and work without any daemon.
#[derive(Debug, Parser)]
#[command(name = "lrep-cl", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Run(Box<run::Run>),
    Status(status::Status),
    Drain(drain::Drain),
    Reload(reload::Reload),
    Log(log::Log),
    Doctor(doctor::Doctor),
    Version(version::Version),
    Sessions(sessions::Sessions),
    Show(show::Show),
    Top(top::Top),
    Stats(stats::Stats),
    Reports(reports::Reports),
    Flush(flush::Flush),
    Config(config::Config),
    Tsl(tsl::Tsl),
    Tls(tls::Tls),
    Documents(documents::Documents),
}

/// Runs the program and tells its exit code.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    match dispatch(&args).and_then(|text| print(&text)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// The command line, with all its verbs and flags.
pub fn command() -> Command {
    Cli::command()
        .after_help(exit::help())
        .mut_subcommand("run", Settings::flags)
}

/// Does what the command line says; the text is what is to be printed.
fn dispatch(args: &[OsString]) -> Result<String, Failure> {
    let cli = command()
        .try_get_matches_from(args)
        .and_then(|matches| Cli::from_arg_matches(&matches))
        .map_err(|error| name_variable(error, args))?;
    match cli.verb {
        Verb::Run(run) => {
            // Read once more without defaults, to tell what was said from what was not.
            let explicit = command()
                .mut_subcommand("run", without_defaults)
                .try_get_matches_from(args)?;
            run.run(explicit.subcommand_matches("run").unwrap_or(&explicit))
                .map(|()| String::new())
        }
        Verb::Status(status) => status.run(),
        Verb::Drain(drain) => drain.run(),
        Verb::Reload(reload) => reload.run(),
        Verb::Log(log) => log.run(),
        Verb::Doctor(doctor) => doctor.run(),
        Verb::Version(version) => version.run(),
        Verb::Sessions(sessions) => sessions.run(),
        Verb::Show(show) => show.run(),
        Verb::Top(top) => top.run(),
        Verb::Stats(stats) => stats.run(),
        Verb::Reports(reports) => reports.run(),
        Verb::Flush(flush) => flush.run(),
        Verb::Config(config) => config.run(),
        Verb::Tsl(tsl) => tsl.run(),
        Verb::Tls(tls) => tls.run(),
        Verb::Documents(documents) => documents.run(),
    }
}

/// Clap names the flag of a bad value; says so when it came from the environment.
fn name_variable(mut error: clap::Error, args: &[OsString]) -> clap::Error {
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg) else {
        return error;
    };
    // `--start-port <PORT>`
    let flag = flag.split(' ').next().unwrap_or_default();
    let is_given = |arg: &OsString| arg.to_string_lossy().split('=').next() == Some(flag);
    let Some(key) = flag.strip_prefix("--") else {
        return error;
    };
    let variable = variable(&key.replace('-', "_"));
    if std::env::var_os(&variable).is_some() && !args.iter().any(is_given) {
        let tip = format!("the value is that of the environment variable {variable}");
        error.insert(
            ContextKind::Suggested,
            ContextValue::StyledStrs(vec![tip.into()]),
        );
    }
    error
}

/// Prints what a verb has to tell. That nobody reads it to its end is no failure.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::system("cannot print", &error))
        }
        _ => Ok(()),
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

    #[test]
    fn whatever_a_verb_tells_it_can_tell_in_json() {
        fn look(command: &Command, path: &str) {
            let verbs: Vec<_> = command.get_subcommands().collect();
            for verb in &verbs {
                look(verb, &format!("{path} {}", verb.get_name()));
            }
            let has = command.get_arguments().any(|arg| arg.get_id() == "json");
            // The daemon tells nothing but its log.
            if verbs.is_empty() && path != "lrep-cl run" {
                assert!(has, "{path} has no --json");
            }
        }
        look(&command(), "lrep-cl");
    }
}
