// SPDX-License-Identifier: MIT OR Apache-2.0

//! A guest's monitor: what QEMU itself is told while the guest runs.
//!
//! One JSON value a line (QEMU Machine Protocol, docs/interop/qmp-spec.rst of QEMU).

use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::protocol::send;

/// QEMU answers at once, unless the host is very busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// The connection to a monitor.
pub struct Monitor {
    port: BufReader<UnixStream>,
}

impl Monitor {
    /// Takes up the connection QEMU has made.
    pub fn new(port: UnixStream) -> Result<Self> {
        port.set_read_timeout(Some(PATIENCE))
            .context("cannot set a timeout")?;
        let mut monitor = Self {
            port: BufReader::new(port),
        };
        monitor.execute(&json!({ "execute": "qmp_capabilities" }))?;
        Ok(monitor)
    }

    /// Logs each instruction the guest executes to a file, from now on.
    ///
    /// A line for each (`-d exec` of qemu-system(1)): translation blocks are made one instruction
    /// long and are not chained, so that none is left out.
    pub fn log_instructions(&mut self, file: &Path) -> Result<()> {
        self.human(&format!("logfile {}", file.display()))?;
        self.human("one-insn-per-tb on")?;
        self.human("log exec,nochain")
    }

    /// Ends the log. It is complete when this returns.
    pub fn stop_log(&mut self) -> Result<()> {
        self.human("log none")?;
        self.human("one-insn-per-tb off")
    }

    /// Runs a command of the monitor for people; what it prints is a complaint.
    fn human(&mut self, command: &str) -> Result<()> {
        let answer = self.execute(&json!({
            "execute": "human-monitor-command",
            "arguments": { "command-line": command },
        }))?;
        match answer.as_str() {
            Some("") | None => Ok(()),
            Some(complaint) => bail!("QEMU's monitor, to '{command}': {}", complaint.trim()),
        }
    }

    fn execute(&mut self, request: &Value) -> Result<Value> {
        send(self.port.get_mut(), request)?;
        let mut line = String::new();
        loop {
            line.clear();
            let length = self.port.read_line(&mut line);
            if length.context("QEMU's monitor does not answer")? == 0 {
                bail!("QEMU closed its monitor");
            }
            let mut answer: Value =
                serde_json::from_str(&line).context("QEMU's monitor answers no JSON")?;
            // The greeting and events have neither.
            if let Some(error) = answer.get("error") {
                bail!("QEMU's monitor refuses {request}: {error}");
            }
            if let Some(value) = answer.get_mut("return") {
                return Ok(value.take());
            }
        }
    }
}
