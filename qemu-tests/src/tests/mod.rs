// SPDX-License-Identifier: MIT OR Apache-2.0

//! The tests. Each is named for what it promises; each file holds the promises of one kind.

mod call;
mod control;
mod datapath;
mod expiry;
mod fixture;
mod forwarding;
mod lifecycle;

use anyhow::Result;

use crate::guest::lab::Lab;

/// One test.
pub struct Test {
    /// The promise.
    pub name: &'static str,
    /// Succeeds when it is kept.
    pub run: fn(&Lab) -> Result<()>,
}

/// Lists functions as tests under their own names.
macro_rules! tests {
    ($($name:ident),+ $(,)?) => {
        &[$(crate::tests::Test { name: stringify!($name), run: $name }),+]
    };
}
use tests;

/// All tests, in the order in which they run.
pub const TESTS: &[&[Test]] = &[
    forwarding::TESTS,
    datapath::TESTS,
    expiry::TESTS,
    control::TESTS,
    call::TESTS,
    lifecycle::TESTS,
];
