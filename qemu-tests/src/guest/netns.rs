// SPDX-License-Identifier: MIT OR Apache-2.0

//! Network namespaces.

use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, anyhow};
use nix::sched::{CloneFlags, setns};

use super::shell;

/// A named network namespace. Dropping it deletes it.
pub struct Namespace {
    name: String,
    file: File,
}

impl Namespace {
    /// Makes a namespace, as `ip netns add` does, so that people can look into it.
    pub fn new(name: &str) -> Result<Self> {
        shell::run(Command::new("ip").args(["netns", "add", name]))?;
        let path = format!("/run/netns/{name}");
        let file = File::open(&path).with_context(|| format!("cannot open {path}"))?;
        let namespace = Self {
            name: name.to_owned(),
            file,
        };
        // The captures are to show what the tests send and little else, and addresses are to be
        // there at once: no duplicate address detection (RFC 4862) and no routers (RFC 4861).
        for tree in ["all", "default"] {
            for setting in ["accept_dad", "accept_ra", "router_solicitations"] {
                namespace.set_sysctl(&format!("net/ipv6/conf/{tree}/{setting}"), "0")?;
            }
        }
        shell::run(namespace.command("ip").args(["link", "set", "lo", "up"]))?;
        Ok(namespace)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Does something inside the namespace. Sockets made there stay there.
    pub fn enter<T: Send>(&self, act: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        // A thread of its own, because a thread that has entered a namespace does not come back.
        thread::scope(|scope| {
            scope
                .spawn(|| {
                    setns(&self.file, CloneFlags::CLONE_NEWNET)
                        .with_context(|| format!("cannot enter the namespace {}", self.name))?;
                    act()
                })
                .join()
                .map_err(|_| anyhow!("panicked inside the namespace {}", self.name))?
        })
    }

    /// A program that will run inside the namespace.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let namespace = self.file.as_raw_fd();
        // SAFETY: setns(2) is one system call, which is safe between fork and exec; `namespace`
        // is open whenever the command is started, because a command borrows nothing but tests
        // drop a namespace last.
        unsafe {
            command.pre_exec(move || {
                let namespace = BorrowedFd::borrow_raw(namespace);
                setns(namespace, CloneFlags::CLONE_NEWNET).map_err(std::io::Error::from)
            });
        }
        command
    }

    /// Runs a program inside the namespace to its end and returns what it printed.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        shell::run(self.command(program).args(arguments))
    }

    /// Runs many `ip` commands, one a line.
    pub fn ip(&self, commands: &str) -> Result<()> {
        shell::run_with_input(self.command("ip").args(["-batch", "-"]), commands).map(|_| ())
    }

    /// Sets a sysctl of the namespace, named by its path below /proc/sys.
    pub fn set_sysctl(&self, path: &str, value: &str) -> Result<()> {
        self.enter(|| {
            fs::write(format!("/proc/sys/{path}"), value)
                .with_context(|| format!("cannot set the sysctl {path} to {value}"))
        })
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Nothing can be done about a failure here, and the next test that wants this name
        // reports it.
        let _ = shell::run(Command::new("ip").args(["netns", "del", &self.name]));
    }
}
