// SPDX-License-Identifier: MIT OR Apache-2.0

//! Boots the stock kernel in QEMU and proves in it what lreproxy promises.
//!
//! One binary plays both parts. On the host it is the runner ([`host`]): it boots the guest, tells
//! it which test to run, watches the kernel's console and prints the results. Inside the guest it
//! is the first process and the test agent ([`guest`]). The tests ([`tests`]) are functions in one
//! table, which both parts know. [`demo`] and [`bench`] are run in the same guest.

mod bench;
mod demo;
mod guest;
mod host;
mod protocol;
mod tests;

use std::process::{ExitCode, id};

use clap::{Parser, Subcommand};
use host::Kernel;

/// Tests of lreproxy in a virtual machine that runs the stock Debian kernel, or a debug kernel.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Run the tests, or those whose names contain one of the filters.
    Run {
        /// Run them, and those that need it, on the debug kernel.
        #[arg(long)]
        debug: bool,
        /// Run those that take too long for every run, and only those.
        #[arg(long)]
        long: bool,
        /// Print the names of the tests instead of running them.
        #[arg(long)]
        list: bool,
        /// Parts of names; a test runs when its name contains one of them.
        filters: Vec<String>,
    },
    /// Place one call through Kamailio and the relay, and show it as it happens.
    Demo,
    /// Count the instructions a relayed packet costs, beside plain forwarding.
    Bench {
        /// Numbers of sessions to count with.
        #[arg(long, value_delimiter = ',', default_values_t = [1, 1_000, 10_000, 50_000])]
        sessions: Vec<usize>,
        /// Count only the paths whose names contain this.
        #[arg(long, default_value = "")]
        path: String,
    },
    /// Measure what sessions cost to set up, to list, to keep and to watch.
    BenchSetup,
    /// Measure what calls cost lrep-cl, and rtpengine; fail when a goal is not reached.
    BenchControl,
    /// Count what the module does, and fail when it is more than recorded.
    BenchCheck,
    /// Take the runner's orders (the guest's first process starts this).
    #[command(hide = true)]
    Agent,
}

fn main() -> ExitCode {
    let outcome = match id() {
        // The kernel starts it without arguments.
        1 => guest::main(),
        _ => run(Arguments::parse().verb),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(2)
    })
}

fn run(verb: Verb) -> anyhow::Result<ExitCode> {
    match verb {
        Verb::Run {
            debug,
            long,
            list,
            filters,
        } => {
            let kernel = if debug { Kernel::Debug } else { Kernel::Stock };
            if list {
                host::list(kernel, long, &filters);
                Ok(ExitCode::SUCCESS)
            } else {
                host::run(kernel, long, &filters)
            }
        }
        Verb::Demo => demo::host::run(),
        Verb::Bench { sessions, path } => bench::host::run(&sessions, &path),
        Verb::BenchSetup => bench::setup::host::run(),
        Verb::BenchControl => bench::setup::host::run_control(),
        Verb::BenchCheck => bench::host::check(),
        Verb::Agent => guest::agent::main().map(|()| ExitCode::SUCCESS),
    }
}
