// SPDX-License-Identifier: MIT OR Apache-2.0

//! How the controller is, for its operator.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The controller at one moment.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Whether new calls are refused, until the last one has ended.
    pub draining: bool,
    /// Relays it holds, in all TSLs.
    pub sessions: u64,
    /// Requests that wait for a TSL.
    pub waiting: u64,
    /// Requests that did not get what they asked for since it was started, by reason.
    pub refused: BTreeMap<String, u64>,
    /// The TSLs, in the order of the configuration.
    pub tsls: Vec<TslStatus>,
}

/// A TSL at one moment.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct TslStatus {
    /// Its URL.
    pub name: String,
    /// The set it belongs to.
    pub set: u32,
    /// How many calls it gets in proportion to others of its set.
    pub weight: u32,
    /// Whether it works.
    pub health: TslHealth,
    /// Whether its operator lets it have new calls.
    pub enabled: bool,
    /// Relays it holds for this controller.
    pub sessions: u64,
    /// Packets it relayed per second lately; `None` when nobody counts, as with a single TSL.
    pub packets_per_second: Option<u64>,
    /// Relay ports in use, of `ports`.
    pub ports_in_use: u32,
    /// Ports among these that no call has, which should be none.
    #[serde(default)]
    pub ports_leaked: u32,
    /// Relay ports there are.
    pub ports: u32,
}

/// Whether a TSL works.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TslHealth {
    /// It answers.
    Ready,
    /// It holds as much as it may.
    Full,
    /// A command waits for its answer for too long.
    Silent,
    /// Its table is being read.
    Opening,
    /// It cannot be reached.
    Closed,
}

impl TslHealth {
    /// As it is written in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Full => "full",
            Self::Silent => "silent",
            Self::Opening => "opening",
            Self::Closed => "closed",
        }
    }
}
