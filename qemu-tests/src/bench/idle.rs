// SPDX-License-Identifier: MIT OR Apache-2.0

//! What is left of the processor's time while packets are relayed in the background.

use std::arch::x86_64::_rdtsc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle, sleep};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use nix::errno::Errno;
use nix::libc;

/// How long packets are waited for: several times what a burst takes that goes through a process.
const PACE: Duration = Duration::from_millis(8);

/// Instructions between two looks at the clock. If there were more, somebody else had the
/// processor.
const OWN: u64 = 100;

/// A thread that runs whenever nobody else wants to, and counts the instructions it gets.
pub struct Idle {
    spent: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Idle {
    /// Starts the thread.
    pub fn start() -> Result<Self> {
        let spent = Arc::new(AtomicU64::new(0));
        let ended = Arc::new(AtomicBool::new(false));
        let (counter, end) = (Arc::clone(&spent), Arc::clone(&ended));
        let (started, has_started) = std::sync::mpsc::channel();
        let thread = thread::spawn(move || {
            // The receiver waits for it.
            let _ = started.send(yield_to_all());
            let mut before = clock();
            while !end.load(Relaxed) {
                let now = clock();
                let passed = now.wrapping_sub(before);
                before = now;
                if passed < OWN {
                    counter.fetch_add(passed, Relaxed);
                }
            }
        });
        has_started
            .recv()
            .map_err(|_| anyhow!("the thread that counts idle time has died"))??;
        Ok(Self {
            spent,
            ended,
            thread: Some(thread),
        })
    }

    /// Does something, waits, and returns the instructions that were not left over.
    pub fn busy(&self, act: impl FnOnce() -> Result<u64>) -> Result<u64> {
        let (began, idle) = (clock(), self.spent.load(Relaxed));
        act()?;
        sleep(PACE);
        let idle = self.spent.load(Relaxed).wrapping_sub(idle);
        Ok(clock().wrapping_sub(began).saturating_sub(idle))
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        self.ended.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            // It never panics.
            let _ = thread.join();
        }
    }
}

fn clock() -> u64 {
    // SAFETY: reading the time stamp counter has no effect.
    unsafe { _rdtsc() }
}

/// Gives this thread the lowest of all priorities (SCHED_IDLE of sched(7)).
fn yield_to_all() -> Result<()> {
    // SAFETY: an all-zero sched_param is a valid one.
    let parameters: libc::sched_param = unsafe { std::mem::zeroed() };
    // SAFETY: `parameters` lives across the call, and 0 is the calling thread.
    let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const parameters) };
    Errno::result(result).context("cannot give a thread the lowest priority")?;
    Ok(())
}
