// SPDX-License-Identifier: MIT OR Apache-2.0

//! The part in the guest: its first process, the agent that runs tests, and what tests are made
//! of: namespaces, packets, captures, and the programs under test.

mod agent;
pub mod capture;
pub mod lab;
pub mod netns;
pub mod packet;
pub mod shell;
pub mod topology;
pub mod wait;

use std::env;
use std::process::{Command, ExitCode, id};

use anyhow::{Context, Result};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::wait::wait;
use nix::unistd::Pid;

/// Runs the guest's part.
///
/// The first process starts the agent as its only child and from then on only collects the
/// processes nobody else waits for. When the agent ends, so does the guest.
pub fn main() -> Result<ExitCode> {
    if id() != 1 {
        return agent::main().map(|()| ExitCode::SUCCESS);
    }
    agent::prepare_system()?;
    let itself = env::current_exe().context("cannot find this program's own file")?;
    let agent = Command::new(itself)
        .arg("guest")
        .spawn()
        .context("cannot start the test agent")?;
    let agent = Pid::from_raw(i32::try_from(agent.id()).context("strange process id")?);
    while wait().context("cannot wait for the test agent")?.pid() != Some(agent) {}
    match reboot(RebootMode::RB_POWER_OFF).context("cannot power off")? {}
}
