// SPDX-License-Identifier: MIT OR Apache-2.0

//! The part in the guest: its first process, the agent that runs tests, and what tests are made
//! of: namespaces, packets, captures, and the programs under test.

pub mod agent;
pub mod capture;
pub mod crowd;
pub mod debug;
pub mod lab;
pub mod media_host;
pub mod media_hosts;
pub mod memory;
pub mod module;
pub mod netlink;
pub mod netns;
pub mod observer;
pub mod packet;
pub mod privilege;
pub mod process;
pub mod raw;
pub mod relay;
pub mod rtp;
pub mod shell;
pub mod sip;
pub mod topology;
pub mod wait;

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::wait::wait;
use nix::unistd::Pid;

use crate::protocol::{SHARE, WORK};

/// The agent, in the guest's memory.
const AGENT: &str = "/run/qemu-tests";

/// The daemon, which is the command line too, in the guest's memory.
pub const LREP_CL: &str = "/run/lrep-cl";

/// Runs the guest's part, as its first process.
///
/// It starts the agent as its only child and from then on only collects the processes nobody else
/// waits for. When the agent ends, so does the guest.
pub fn main() -> Result<ExitCode> {
    agent::prepare_system()?;
    // Out of the shared directory, whose content the host may replace at any time, and of which each
    // page is a question to the host.
    fs::copy("/proc/self/exe", AGENT).context("cannot copy the test agent")?;
    let daemon = Path::new(SHARE).join(WORK).join("bin/lrep-cl");
    if daemon.is_file() {
        fs::copy(daemon, LREP_CL).context("cannot copy lrep-cl")?;
    }
    let agent = Command::new(AGENT)
        .arg("agent")
        .spawn()
        .context("cannot start the test agent")?;
    let agent = Pid::from_raw(i32::try_from(agent.id()).context("strange process id")?);
    while wait().context("cannot wait for the test agent")?.pid() != Some(agent) {}
    match reboot(RebootMode::RB_POWER_OFF).context("cannot power off")? {}
}
