// SPDX-License-Identifier: MIT OR Apache-2.0

//! Programs that run beside a test.

use std::fs::OpenOptions;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::wait::until;

/// A running program. Dropping it ends it, and everything it started.
pub struct Process {
    name: String,
    child: Child,
}

impl Process {
    /// Starts a program whose output is appended to a file.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("cannot open {}", log.display()))?;
        let child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("cannot share a log")?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self {
            name: name.to_owned(),
            child,
        })
    }

    /// How it ended; none while it runs.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child
            .try_wait()
            .with_context(|| format!("cannot wait for {}", self.name))
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to it and everything it started.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        killpg(self.group(), signal)
            .with_context(|| format!("cannot send {signal} to {}", self.name))
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let what = format!("the end of {}", self.name);
        until(&what, limit, || self.ended())
    }

    fn group(&self) -> Pid {
        // Process ids fit: the kernel's are positive numbers of 32 bits.
        Pid::from_raw(self.child.id() as i32)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail when it has ended already.
        if matches!(self.ended(), Ok(None)) {
            let _ = self.signal(Signal::SIGTERM);
            let _ = self.wait(Duration::from_secs(10));
        }
        let _ = self.signal(Signal::SIGKILL);
        let _ = self.child.wait();
    }
}
