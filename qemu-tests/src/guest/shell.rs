// SPDX-License-Identifier: MIT OR Apache-2.0

//! Running the guest's programs.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};

/// Runs a program to its end and returns what it printed; an error when it failed.
pub fn run(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {command:?}"))?;
    text_of(command, output)
}

/// As [`run`], with something to read on its standard input.
pub fn run_with_input(command: &mut Command, input: &str) -> Result<String> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {command:?}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin
            .write_all(input.as_bytes())
            .with_context(|| format!("cannot write to {command:?}"))?;
    }
    let output = child
        .wait_with_output()
        .with_context(|| format!("cannot wait for {command:?}"))?;
    text_of(command, output)
}

fn text_of(command: &Command, output: Output) -> Result<String> {
    ensure!(
        output.status.success(),
        "{command:?} failed with {}: {}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr),
        String::from_utf8_lossy(&output.stdout)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
