// SPDX-License-Identifier: MIT OR Apache-2.0

//! Waiting for something to become true.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::debug::patience;

/// How long tests wait for what should happen at once. It only has to be longer than the slowest
/// machine needs: a test that passes does not wait for it.
pub const LIMIT: Duration = Duration::from_secs(30);

/// Asks again and again until there is an answer.
pub fn until<T>(
    what: &str,
    limit: Duration,
    mut ask: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let limit = patience(limit);
    let end = Instant::now() + limit;
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if Instant::now() > end {
            bail!("waited {} s in vain: {what}", limit.as_secs());
        }
        thread::sleep(Duration::from_millis(20));
    }
}
