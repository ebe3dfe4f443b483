// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the guest's part shows things through.

use std::time::Instant;

use anyhow::Result;

use super::Shown;

/// Takes what is to be seen to the user.
pub type Show<'a> = &'a dyn Fn(Shown) -> Result<()>;

/// Where everything is shown.
#[derive(Clone, Copy)]
pub struct Stage<'a>(pub Show<'a>);

impl Stage<'_> {
    /// Shows lines.
    pub fn text(&self, text: &str) -> Result<()> {
        (self.0)(Shown::Text(text.to_owned()))
    }

    /// Shows that something begins, and how long it took.
    pub fn step<T>(&self, what: &str, act: impl FnOnce() -> Result<T>) -> Result<T> {
        (self.0)(Shown::Begins(what.to_owned()))?;
        let began = Instant::now();
        let outcome = act();
        (self.0)(Shown::Over(match &outcome {
            Ok(_) => format!("{:.1} s", began.elapsed().as_secs_f64()),
            Err(_) => "failed".to_owned(),
        }))?;
        outcome
    }

    /// Shows a table, in place of the one before.
    pub fn table(&self, table: String) -> Result<()> {
        (self.0)(Shown::Table(table))
    }
}
