// SPDX-License-Identifier: MIT OR Apache-2.0

//! What runner and guest say to each other: one JSON value a line over a virtio serial port, which
//! keeps it apart from what the kernel writes on its console.

use std::io::Write;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::bench::setup::{Figure, Part};
use crate::bench::{Point, Samples, Window};
use crate::demo::Shown;

/// Name of the virtio serial port, as the guest finds it in /sys/class/virtio-ports.
pub const PORT: &str = "org.lreproxy.tests";

/// Where the guest finds the directory the runner shares with it (the tree's build/).
pub const SHARE: &str = "/host";

/// Directory of binaries, logs and captures inside the shared directory.
pub const WORK: &str = "qemu-tests";

/// End of the debug kernel's release (scripts/debug-kernel/config).
pub const DEBUG_RELEASE: &str = "-lreproxy-debug";

/// From the runner to the guest.
#[derive(Debug, Serialize, Deserialize)]
pub enum Order {
    /// Run the test of this name and answer [`Report::Done`].
    Test(String),
    /// Count at this point and answer [`Report::Counted`], then [`Report::Done`].
    Count(Point),
    /// Send the same packets with a [`Report::Pause`] before and after each window, then answer
    /// [`Report::Done`].
    Profile(Point),
    /// Measure this part of what sessions cost and answer [`Report::Measured`], then
    /// [`Report::Done`].
    SetUp(Part),
    /// Go on after a [`Report::Pause`].
    Continue,
    /// Place the demonstration's call, with a [`Report::Show`] for all there is to see, and answer
    /// [`Report::Done`].
    Demo,
    /// Power off.
    Stop,
}

/// From the guest to the runner.
#[derive(Debug, Serialize, Deserialize)]
pub enum Report {
    /// The guest has booted and waits for orders.
    Ready {
        /// Release of the running kernel.
        kernel: String,
    },
    /// The running test got this far.
    Step(String),
    /// What was counted.
    Counted(Samples),
    /// What was measured.
    Measured(Vec<Figure>),
    /// The guest waits for [`Order::Continue`]: this window begins, or the last one is over.
    Pause(Option<Window>),
    /// This is to be seen.
    Show(Shown),
    /// The test ended; the message says why it failed.
    Done {
        /// Its name.
        test: String,
        /// None when it passed.
        failure: Option<String>,
        /// How long it ran, by the guest's clock.
        seconds: f64,
    },
}

/// Writes one message and its newline in one piece.
pub fn send(mut to: impl Write, message: &impl Serialize) -> Result<()> {
    let mut line = serde_json::to_vec(message).context("cannot encode a message")?;
    line.push(b'\n');
    to.write_all(&line)
        .context("cannot write to the serial port")
}

/// The line the guest writes to the kernel's log before a test begins.
///
/// The console carries these lines in the order in which things happened, so a kernel message
/// between the two belongs to that test.
pub fn begin_mark(test: &str) -> String {
    format!("qemu-tests: begin {test}")
}

/// The line the guest writes to the kernel's log after a test has ended.
pub fn end_mark(test: &str) -> String {
    format!("qemu-tests: end {test}")
}
