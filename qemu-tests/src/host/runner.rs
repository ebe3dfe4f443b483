// SPDX-License-Identifier: MIT OR Apache-2.0

//! Runs tests in guests side by side and tells what came of them.

use std::collections::VecDeque;
use std::process::ExitCode;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::console::is_problem;
use super::image::{Image, Kernel};
use super::screen::Screen;
use super::verdict;
use super::vm::{Clock, Vm};
use crate::tests::{
    COUNTING_TESTS, DEBUG_TESTS, LAST_OF_DEBUG, LONG_TESTS, TESTS, TIMED_DEBUG_TESTS, TIMED_TESTS,
    Test,
};

/// The guests that run at once, each by the clock whose tests it takes first. A guest with the
/// host's clock leaves two fifths of its two processors idle; one that counts instructions has one.
const GUESTS: [Clock; 2] = [Clock::Host, Clock::Instructions];

/// A guest that neither reports nor writes on its console for this long hangs. Tests report each
/// of their steps, and none of them waits longer than a minute by itself.
const PATIENCE: Duration = Duration::from_secs(150);

/// The same for the debug kernel.
const DEBUG_PATIENCE: Duration = Duration::from_secs(900);

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
    let waiting = Waiting(Mutex::new(select(kernel, long, filters).collect()));
    if waiting.is_empty() {
        bail!(
            "no test has a name with {} in it: see 'run --list'",
            filters.join(" or ")
        );
    }
    let session = &Session {
        kernel,
        image: Image::prepare(kernel)?,
        waiting,
        screen: Screen::new(),
        last: Mutex::new(()),
    };
    let began = Instant::now();
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let totals = thread::scope(|scope| {
        let guests: Vec<_> = GUESTS
            .into_iter()
            .take(processors)
            .map(|clock| scope.spawn(move || session.work(clock)))
            .collect();
        guests
            .into_iter()
            .map(|guest| match guest.join() {
                Ok(total) => total,
                Err(panic) => std::panic::resume_unwind(panic),
            })
            .collect::<Result<Vec<_>>>()
    })?;
    let passed: usize = totals.iter().map(|total| total.passed).sum();
    let failed: usize = totals.iter().map(|total| total.failed).sum();
    println!("\nafter {:.0} s:", began.elapsed().as_secs_f64());
    println!("{passed} passed, {failed} failed");
    Ok(ExitCode::from(u8::from(failed > 0)))
}

/// The tests that match, and the clock of the guest each of them runs in.
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

/// The tests that no guest has taken yet.
struct Waiting(Mutex<VecDeque<(Clock, &'static Test)>>);

impl Waiting {
    fn is_empty(&self) -> bool {
        self.tests().is_empty()
    }

    /// The clock of the next guest: the one that is preferred as long as tests wait for it.
    fn clock(&self, preferred: Clock) -> Option<Clock> {
        let tests = self.tests();
        let preferred = tests.iter().find(|(clock, _)| *clock == preferred);
        preferred.or(tests.front()).map(|(clock, _)| *clock)
    }

    /// Takes the next test for guests with this clock.
    fn take(&self, clock: Clock) -> Option<&'static Test> {
        let mut tests = self.tests();
        let place = tests.iter().position(|(wanted, _)| *wanted == clock)?;
        tests.remove(place).map(|(_, test)| test)
    }

    /// Leaves none, so that guests stop after the tests they run.
    fn clear(&self) {
        self.tests().clear();
    }

    fn tests(&self) -> MutexGuard<'_, VecDeque<(Clock, &'static Test)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many tests ended which way.
#[derive(Default)]
struct Total {
    passed: usize,
    failed: usize,
}

/// What guests that run side by side share.
struct Session {
    kernel: Kernel,
    image: Image,
    waiting: Waiting,
    screen: Screen,
    /// Held while a guest runs its last test: in two guests at once it would be in one directory.
    last: Mutex<()>,
}

impl Session {
    /// Runs tests, in one guest after another, until none waits.
    fn work(&self, preferred: Clock) -> Result<Total> {
        let mut total = Total::default();
        while let Some(clock) = self.waiting.clock(preferred) {
            // The others would go on for long before anybody saw the error.
            self.run_guest(clock, &mut total)
                .inspect_err(|_| self.waiting.clear())?;
        }
        Ok(total)
    }

    /// Runs tests in a new guest until none waits for its clock, or the guest is no good any more.
    fn run_guest(&self, clock: Clock, total: &mut Total) -> Result<()> {
        let Some(test) = self.waiting.take(clock) else {
            return Ok(());
        };
        let mut vm = Vm::boot(&self.image, clock)?;
        self.screen.say(&format!(
            "kernel {}, ready for the first test after {:.1} s, seed {}",
            vm.kernel,
            vm.boot.as_secs_f64(),
            self.image.seed
        ));
        if let Some(line) = vm.boot_console.iter().find(|line| is_problem(line)) {
            bail!("the kernel is in trouble before the first test: {line}");
        }
        let mut is_sound = self.run_test(&mut vm, test, total)?;
        while is_sound {
            let Some(test) = self.waiting.take(clock) else {
                break;
            };
            is_sound = self.run_test(&mut vm, test, total)?;
        }
        if is_sound && self.kernel == Kernel::Debug {
            let _alone = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            self.run_test(&mut vm, LAST_OF_DEBUG, total)?;
        }
        let _ = vm.stop();
        Ok(())
    }

    /// Runs a test, and says whether more can run in the same guest.
    fn run_test(&self, vm: &mut Vm, test: &'static Test, total: &mut Total) -> Result<bool> {
        let patience = match self.kernel {
            Kernel::Stock => PATIENCE,
            Kernel::Debug => DEBUG_PATIENCE,
        };
        let directory = self.image.work().join(test.name);
        self.screen.begin(test.name);
        let verdict = verdict::run(vm, test, patience, &directory)?;
        self.screen.end(test.name, &verdict.told);
        if verdict.passed {
            total.passed += 1;
        } else {
            total.failed += 1;
        }
        Ok(verdict.guest_is_sound)
    }
}
