// SPDX-License-Identifier: MIT OR Apache-2.0

//! How long the host has kept a virtual processor from running.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The longest time this machine did nothing.
pub struct Stalls {
    longest_ms: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Stalls {
    /// Watches from now on.
    pub fn watch() -> Self {
        let longest_ms = Arc::new(AtomicU64::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let (longest, stopped) = (Arc::clone(&longest_ms), Arc::clone(&stop));
        thread::spawn(move || {
            let nap = Duration::from_millis(10);
            while !stopped.load(Ordering::Relaxed) {
                let began = Instant::now();
                thread::sleep(nap);
                let stall = began.elapsed().saturating_sub(nap).as_millis() as u64;
                longest.fetch_max(stall, Ordering::Relaxed);
            }
        });
        Self { longest_ms, stop }
    }

    /// The longest so far, in milliseconds.
    pub fn longest_ms(&self) -> u64 {
        self.longest_ms.load(Ordering::Relaxed)
    }
}

impl Drop for Stalls {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
