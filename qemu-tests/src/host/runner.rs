// SPDX-License-Identifier: MIT OR Apache-2.0

//! Runs tests in guests and prints what came of them.

use std::collections::VecDeque;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::console::is_problem;
use super::image::{Image, Kernel};
use super::vm::{Clock, Event, Vm};
use crate::protocol::{Order, Report, end_mark};
use crate::tests::{
    COUNTING_TESTS, DEBUG_TESTS, LAST_OF_DEBUG, LONG_TESTS, TESTS, TIMED_DEBUG_TESTS, TIMED_TESTS,
    Test,
};

/// A guest that neither reports nor writes on its console for this long hangs. Tests report each
/// of their steps, and none of them waits longer than a minute by itself.
const PATIENCE: Duration = Duration::from_secs(150);

/// The same for the debug kernel.
const DEBUG_PATIENCE: Duration = Duration::from_secs(900);

/// How long the kernel's log may take to reach the console after a test.
const CONSOLE_PATIENCE: Duration = Duration::from_secs(30);

/// Prints the names of the tests that match.
pub fn list(kernel: Kernel, long: bool, filters: &[String]) {
    for (_, test) in select(kernel, long, filters) {
        println!("{}", test.name);
    }
}

/// Runs the tests that match and prints one line for each, then the total.
///
/// `long`: those that are not in every run, and only those.
pub fn run(kernel: Kernel, long: bool, filters: &[String]) -> Result<ExitCode> {
    let mut waiting: VecDeque<_> = select(kernel, long, filters).collect();
    if waiting.is_empty() {
        anyhow::bail!(
            "no test has a name with {} in it: see 'run --list'",
            filters.join(" or ")
        );
    }
    if kernel == Kernel::Debug {
        waiting.push_back((Clock::Host, LAST_OF_DEBUG));
    }
    let image = Image::prepare(kernel)?;
    let patience = match kernel {
        Kernel::Stock => PATIENCE,
        Kernel::Debug => DEBUG_PATIENCE,
    };
    let (mut passed, mut failed) = (0, 0);
    let began = Instant::now();
    while let Some(&(clock, _)) = waiting.front() {
        let mut vm = Vm::boot(&image, clock)?;
        println!(
            "kernel {}, ready for the first test after {:.1} s, seed {}",
            vm.kernel,
            vm.boot.as_secs_f64(),
            image.seed
        );
        if let Some(line) = vm.boot_console.iter().find(|line| is_problem(line)) {
            anyhow::bail!("the kernel is in trouble before the first test: {line}");
        }
        while let Some(&(_, test)) = waiting.front().filter(|(wanted, _)| *wanted == clock) {
            waiting.pop_front();
            let outcome = run_one(&mut vm, test, patience, &image.work().join(test.name))?;
            if outcome.failure.is_some() {
                failed += 1;
            } else {
                passed += 1;
            }
            if !outcome.guest_is_sound {
                break;
            }
        }
        let _ = vm.stop();
    }
    println!("\nafter {:.0} s:", began.elapsed().as_secs_f64());
    println!("{passed} passed, {failed} failed");
    Ok(ExitCode::from(u8::from(failed > 0)))
}

/// The tests that match, and the guest each of them runs in.
fn select(
    kernel: Kernel,
    long: bool,
    filters: &[String],
) -> impl Iterator<Item = (Clock, &'static Test)> {
    let lists: &[_] = match (long, kernel) {
        (true, _) => &[(Clock::Host, LONG_TESTS)],
        (false, Kernel::Stock) => &[
            (Clock::Host, TESTS),
            (Clock::Instructions, TIMED_TESTS),
            (Clock::Instructions, COUNTING_TESTS),
        ],
        // Without counts: they would tell what the debug kernel does to find faults.
        (false, Kernel::Debug) => &[
            (Clock::Instructions, TIMED_TESTS),
            (Clock::Instructions, TIMED_DEBUG_TESTS),
            (Clock::Host, TESTS),
            (Clock::Host, DEBUG_TESTS),
        ],
    };
    let all = lists.iter().flat_map(|&(clock, lists)| {
        let tests = lists.iter().copied().flatten();
        tests.map(move |test| (clock, test))
    });
    all.filter(|(_, test)| {
        filters.is_empty() || filters.iter().any(|part| test.name.contains(part.as_str()))
    })
}

struct Outcome {
    failure: Option<String>,
    /// Whether more tests can run in the same guest.
    guest_is_sound: bool,
    seconds: f64,
    log: Vec<String>,
}

fn run_one(vm: &mut Vm, test: &Test, patience: Duration, directory: &Path) -> Result<Outcome> {
    remove_directory(directory)?;
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    print!("{} ... ", test.name);
    // Only a closed terminal makes this fail, and then nobody is looking.
    let _ = std::io::stdout().flush();
    let outcome = watch(vm, test, patience)?;
    match &outcome.failure {
        None => {
            println!("ok ({:.1} s)", outcome.seconds);
            remove_directory(directory)?;
        }
        Some(why) => {
            println!("FAILED ({:.1} s)", outcome.seconds);
            for line in why.lines() {
                println!("    {line}");
            }
            println!("    log and captures: {}", directory.display());
            let log = directory.join("log.txt");
            fs::write(&log, format!("{}\n\n{why}\n", outcome.log.join("\n")))
                .with_context(|| format!("cannot write {}", log.display()))?;
        }
    }
    Ok(outcome)
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
                    "--- {:.1} s: {text}",
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
