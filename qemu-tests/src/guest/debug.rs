// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the debug kernel offers: allocations that fail on request, packets whose memory moves, and
//! a list of memory nothing refers to any more.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::libc;

use crate::protocol::DEBUG_RELEASE;

/// How many times slower than the stock kernel the debug kernel may be.
const SLOWNESS: u32 = 6;

/// Whether the running kernel is the debug kernel.
pub fn is_debug_kernel() -> bool {
    static IS_DEBUG: OnceLock<bool> = OnceLock::new();
    *IS_DEBUG.get_or_init(|| {
        fs::read_to_string("/proc/sys/kernel/osrelease")
            .is_ok_and(|release| release.trim().ends_with(DEBUG_RELEASE))
    })
}

/// How long to wait in this kernel for what takes so long in the stock kernel.
pub fn patience(limit: Duration) -> Duration {
    if is_debug_kernel() {
        limit * SLOWNESS
    } else {
        limit
    }
}

/// Fault injection (Documentation/fault-injection/fault-injection.rst). Dropping it ends it.
pub struct Faults {
    kind: &'static str,
}

impl Faults {
    /// Makes every allocation that code of the module asks for fail, in whatever context.
    pub fn in_allocations_of_the_module() -> Result<Self> {
        let start = fs::read_to_string("/sys/module/lreproxy/sections/.text")
            .context("cannot tell where the module is")?;
        let start = u64::from_str_radix(start.trim().trim_start_matches("0x"), 16)
            .context("a strange address of the module")?;
        let faults = Self { kind: "failslab" };
        faults.set("ignore-gfp-wait", "N")?;
        faults.set("require-start", &format!("{start:#x}"))?;
        // Modules are smaller than this, and no other is loaded.
        faults.set("require-end", &format!("{:#x}", start + (1 << 20)))?;
        faults.set("stacktrace-depth", "32")?;
        faults.always()?;
        Ok(faults)
    }

    /// Moves a packet's memory whenever somebody asks for more of its headers.
    pub fn in_packet_memory() -> Result<Self> {
        let faults = Self {
            kind: "fail_skb_realloc",
        };
        faults.always()?;
        Ok(faults)
    }

    fn always(&self) -> Result<()> {
        // The kernel would print a call trace for each.
        self.set("verbose", "0")?;
        self.set("times", "-1")?;
        self.set("probability", "100")
    }

    fn set(&self, name: &str, value: &str) -> Result<()> {
        let path = format!("/sys/kernel/debug/{}/{name}", self.kind);
        fs::write(&path, value).with_context(|| format!("cannot set {path} to {value}"))
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        for (name, value) in [
            ("probability", "0"),
            ("require-start", "0"),
            ("require-end", "0xffffffffffffffff"),
        ] {
            // What cannot be switched off shows in the next test.
            let _ = self.set(name, value);
        }
    }
}

/// Lets one allocation of the calling thread fail (/proc/thread-self/fail-nth).
pub struct FailNth {
    file: File,
}

impl FailNth {
    /// Prepares the calling thread.
    pub fn new() -> Result<Self> {
        for (kind, name, value) in [
            // Allocations that may wait for memory are to fail as well.
            ("failslab", "ignore-gfp-wait", "N"),
            ("failslab", "verbose", "0"),
            ("fail_page_alloc", "ignore-gfp-wait", "N"),
            ("fail_page_alloc", "ignore-gfp-highmem", "N"),
            ("fail_page_alloc", "min-order", "0"),
            ("fail_page_alloc", "verbose", "0"),
            ("fail_skb_realloc", "verbose", "0"),
        ] {
            let path = format!("/sys/kernel/debug/{kind}/{name}");
            fs::write(&path, value).with_context(|| format!("cannot set {path} to {value}"))?;
        }
        let path = "/proc/thread-self/fail-nth";
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .with_context(|| format!("cannot open {path}"))?;
        Ok(Self { file })
    }

    /// Does something of which the allocation with this number (from 1) fails, and tells whether
    /// it came to that.
    pub fn during<T>(&mut self, number: u32, act: impl FnOnce() -> T) -> Result<(T, bool)> {
        let number = number.to_string();
        self.file
            .write_all(number.as_bytes())
            .context("cannot ask for a failing allocation")?;
        let outcome = act();
        let mut left = [0; 16];
        let read = self.file.read_at(&mut left, 0);
        let reset = self.file.write_all(b"0");
        let length = read.context("cannot tell whether an allocation failed")?;
        reset.context("cannot end the failing of allocations")?;
        let reached = left[..length].starts_with(b"0");
        Ok((outcome, reached))
    }
}

/// Waits until nobody is in the middle of a packet that a packet socket has seen already: the kernel
/// takes a packet from its device to its end in one RCU read-side critical section, and this is a
/// grace period (MEMBARRIER_CMD_GLOBAL of membarrier(2)).
pub fn wait_for_packets_on_their_way() -> Result<()> {
    // SAFETY: The call takes numbers only.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_GLOBAL, 0, 0) };
    Errno::result(result).context("cannot wait for a grace period")?;
    Ok(())
}

const LEAKS: &str = "/sys/kernel/debug/kmemleak";

/// Memory nothing refers to, as kmemleak found it, with the call traces of its allocation.
pub fn leaks() -> Result<String> {
    // Memory younger than five seconds is not looked at, and memory that changed between two
    // scans is not told.
    thread::sleep(Duration::from_secs(6));
    for _ in 0..3 {
        fs::write(LEAKS, "scan").context("cannot look for lost memory")?;
    }
    fs::read_to_string(LEAKS).context("cannot read the list of lost memory")
}
