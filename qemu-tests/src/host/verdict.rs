// SPDX-License-Identifier: MIT OR Apache-2.0

//! Runs one test in a guest and judges it.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::console::is_problem;
use super::vm::{Event, Vm};
use crate::protocol::{Order, Report, end_mark};
use crate::tests::Test;

/// How long the kernel's log may take to reach the console after a test.
const CONSOLE_PATIENCE: Duration = Duration::from_secs(30);

/// Steps, and complaints of each program, that are told of a test that failed: the last ones.
const TOLD: usize = 12;

/// What came of a test.
pub struct Verdict {
    /// Whether it passed.
    pub passed: bool,
    /// Whether more tests can run in the same guest.
    pub guest_is_sound: bool,
    /// The line that tells it, and those that tell why.
    pub told: String,
}

/// Runs a test; what it leaves in its directory stays there when it fails.
///
/// `patience`: how long the guest may neither report nor write on its console.
pub fn run(vm: &mut Vm, test: &Test, patience: Duration, directory: &Path) -> Result<Verdict> {
    remove_directory(directory)?;
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    let outcome = watch(vm, test, patience)?;
    let (name, seconds) = (test.name, outcome.seconds);
    let told = if let Some(why) = &outcome.failure {
        let log = directory.join("log.txt");
        fs::write(&log, format!("{}\n\n{why}\n", outcome.log.join("\n")))
            .with_context(|| format!("cannot write {}", log.display()))?;
        let mut lines = vec![format!("{name} ... FAILED ({seconds:.1} s)")];
        lines.extend(why.lines().map(|line| format!("    {line}")));
        lines.extend(outcome.steps().map(|step| format!("    {step}")));
        for complaint in complaints(directory)? {
            lines.push(format!("    {complaint}"));
        }
        lines.push(format!("    log and captures: {}", directory.display()));
        lines.join("\n")
    } else {
        remove_directory(directory)?;
        format!("{name} ... ok ({seconds:.1} s)")
    };
    Ok(Verdict {
        passed: outcome.failure.is_none(),
        guest_is_sound: outcome.guest_is_sound,
        told,
    })
}

struct Outcome {
    failure: Option<String>,
    /// Whether more tests can run in the same guest.
    guest_is_sound: bool,
    seconds: f64,
    log: Vec<String>,
}

/// What begins a line of the log that tells a step of the test.
const STEP: &str = "---";

impl Outcome {
    /// The last steps of the test.
    fn steps(&self) -> impl Iterator<Item = &str> {
        let steps: Vec<_> = self
            .log
            .iter()
            .filter(|line| line.starts_with(STEP))
            .collect();
        let earlier = steps.len().saturating_sub(TOLD);
        steps.into_iter().skip(earlier).map(String::as_str)
    }
}

/// The last warnings and errors in the logs a test's programs left: where a run cannot be looked at
/// afterwards, they are all there is to learn from.
fn complaints(directory: &Path) -> Result<Vec<String>> {
    let cannot_read = || format!("cannot read {}", directory.display());
    let entries = fs::read_dir(directory).with_context(cannot_read)?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = paths
        .collect::<Result<Vec<_>, _>>()
        .with_context(cannot_read)?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text
            .lines()
            .filter(|line| line.contains("WARN") || line.contains("ERROR"))
            .collect();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let last = lines.iter().skip(lines.len().saturating_sub(TOLD));
        found.extend(last.map(|line| format!("{name}: {line}")));
    }
    Ok(found)
}

/// Follows one test to its end: the guest's own verdict, overruled by the kernel's console.
fn watch(vm: &mut Vm, test: &Test, patience: Duration) -> Result<Outcome> {
    let began = Instant::now();
    let mark = end_mark(test.name);
    let mut log = Vec::new();
    let mut trouble: Option<String> = None;
    let mut verdict: Option<(Option<String>, f64)> = None;
    let mut marked = false;
    vm.order(&Order::Test(test.name.to_owned()))?;
    let stopped = loop {
        if marked && verdict.is_some() {
            break None;
        }
        let patience = if verdict.is_some() {
            CONSOLE_PATIENCE
        } else {
            patience
        };
        match vm.next(patience) {
            Event::Console(line) => {
                marked |= line.contains(&mark);
                if trouble.is_none() && is_problem(&line) {
                    trouble = Some(format!("the kernel is in trouble: {line}"));
                }
                log.push(line);
            }
            Event::Report(Report::Step(text)) => {
                log.push(format!(
                    "{STEP} {:.1} s: {text}",
                    began.elapsed().as_secs_f64()
                ));
            }
            Event::Report(Report::Done {
                failure, seconds, ..
            }) => {
                verdict = Some((failure, seconds));
            }
            Event::Report(
                Report::Ready { .. }
                | Report::Counted(_)
                | Report::Measured(_)
                | Report::Pause(_)
                | Report::Show(_),
            ) => {}
            Event::Ended => break Some("the guest stopped".to_owned()),
            Event::Silence => {
                break Some(format!(
                    "the guest hangs: nothing happened for {} s",
                    patience.as_secs()
                ));
            }
        }
    };
    let guest_is_sound = stopped.is_none() && trouble.is_none();
    let (own, seconds) = verdict.unwrap_or((None, began.elapsed().as_secs_f64()));
    let reasons: Vec<_> = [trouble, stopped, own].into_iter().flatten().collect();
    Ok(Outcome {
        failure: (!reasons.is_empty()).then(|| reasons.join("\n")),
        guest_is_sound,
        seconds,
        log,
    })
}

/// Removes a directory and all in it, should it exist.
pub fn remove_directory(directory: &Path) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", directory.display()))
        }
        _ => Ok(()),
    }
}
