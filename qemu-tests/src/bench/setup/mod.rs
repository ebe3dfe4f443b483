// SPDX-License-Identifier: MIT OR Apache-2.0

//! What sessions cost their controller and the kernel: to set up, to list, to keep, to watch.
//!
//! Two guests are asked. In the one of the tests, with two processors and a clock that follows the
//! host's, time is measured; in the one whose clock counts instructions, instructions are.

pub mod guest;
pub mod host;
pub mod others;
pub mod ticker;

use serde::{Deserialize, Serialize};

use super::control::Controller;

/// Part of the measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// Setting up so many sessions in each of their ways, and so many of what they are compared with.
    Programming(usize),
    /// Memory of so many sessions, and a dump of them while others change.
    Keeping(usize),
    /// The clock's work beside so many sessions.
    Watching(usize),
    /// What so many calls cost a controller.
    Controlling(Controller, usize),
    /// Calls while somebody floods the daemon.
    Flooding,
}

/// A figure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// What it is.
    pub what: String,
    /// How much.
    pub value: f64,
    /// Of what.
    pub unit: String,
}

impl Figure {
    /// A figure.
    pub fn new(what: impl Into<String>, value: f64, unit: &str) -> Self {
        Self {
            what: what.into(),
            value,
            unit: unit.to_owned(),
        }
    }
}
