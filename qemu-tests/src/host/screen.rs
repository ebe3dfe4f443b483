// SPDX-License-Identifier: MIT OR Apache-2.0

//! What is seen of the tests: a line for each that has ended and, on a terminal, below them the
//! names of those that run.

use std::io::{IsTerminal, Write, stdout};
use std::sync::{Mutex, PoisonError};

use terminal_size::{Width, terminal_size};

/// Narrower than any terminal whose width cannot be told.
const COLUMNS: usize = 80;

/// Standard output, shared by the guests that run side by side.
pub struct Screen {
    is_terminal: bool,
    running: Mutex<Vec<&'static str>>,
}

impl Screen {
    /// With nothing on it.
    pub fn new() -> Self {
        Self {
            is_terminal: stdout().is_terminal(),
            running: Mutex::default(),
        }
    }

    /// A test begins.
    pub fn begin(&self, test: &'static str) {
        self.change(None, |running| running.push(test));
    }

    /// A test has ended as these lines tell.
    pub fn end(&self, test: &'static str, lines: &str) {
        self.change(Some(lines), |running| running.retain(|name| *name != test));
    }

    /// Shows lines of their own.
    pub fn say(&self, lines: &str) {
        self.change(Some(lines), |_| {});
    }

    fn change(&self, lines: Option<&str>, change: impl FnOnce(&mut Vec<&'static str>)) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut running);
        let mut text = lines.map(|lines| format!("{lines}\n")).unwrap_or_default();
        if self.is_terminal {
            let columns = terminal_size().map_or(COLUMNS, |(Width(columns), _)| columns.into());
            text = format!("\r\x1b[K{text}{}", status(&running, columns));
        }
        let mut out = stdout().lock();
        // Only a closed terminal makes this fail, and then nobody is looking.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}

/// What runs, in one line of a terminal this wide.
fn status(running: &[&str], columns: usize) -> String {
    if running.is_empty() {
        return String::new();
    }
    let line = format!("running: {}", running.join(", "));
    // A full line would make the terminal begin another one.
    line.chars().take(columns.saturating_sub(1)).collect()
}

#[cfg(test)]
mod tests {
    use super::status;

    #[test]
    fn what_runs_is_named_in_one_line() {
        assert_eq!(status(&[], 80), "");
        assert_eq!(status(&["a_call"], 80), "running: a_call");
        assert_eq!(status(&["a_call", "a_link"], 80), "running: a_call, a_link");
        assert_eq!(status(&["a_call", "a_link"], 20), "running: a_call, a_");
    }
}
