// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a relayed packet costs, in instructions of the guest.
//!
//! The guest's clock is its instruction count ([`Clock::Instructions`]), so what is counted does
//! not depend on how fast or how busy the host is. Every figure is a difference of two counts with
//! the same sender and the same frames:
//!
//! ```text
//!   caller            relay             callee
//!   wire  ------->  west ... east  ------->  wire      relayed: dropped where they arrive
//!   wire  ------->  west                               sunk: dropped where they enter the relay
//! ```
//!
//! What remains is the way from the relay's first device to the far end's: forwarding and one
//! passage through a pair of virtual devices. The sender and the drop are in both and cancel out.
//!
//! [`Clock::Instructions`]: crate::host::vm::Clock::Instructions

pub mod baseline;
pub mod chart;
pub mod control;
pub mod control_goals;
pub mod flows;
pub mod goals;
pub mod guest;
pub mod headroom;
pub mod host;
pub mod idle;
pub mod network;
pub mod paths;
pub mod profile;
pub mod rtpengine;
pub mod setup;
pub mod table;
pub mod userspace;
pub mod wire;

use serde::{Deserialize, Serialize};

use flows::Checksum;
use paths::Path;

/// What the guest calls the benchmark where a test would have its name.
pub const NAME: &str = "bench";

/// Packets sent in one system call, and counted as one.
///
/// Few enough that most batches see no interrupt of the clock, which comes every 4,000,000
/// instructions.
pub const BATCH: usize = 64;

/// One thing to be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Point {
    /// The way packets take through the relay.
    pub path: Path,
    /// How they bring their UDP checksum.
    pub checksum: Checksum,
    /// Sessions that are set up, and flows the packets belong to.
    pub sessions: usize,
}

/// A point, for people.
pub fn describe(point: Point) -> String {
    format!(
        "{}, {} checksums, sessions: {}",
        point.path.name(),
        point.checksum.name(),
        table::thousands(point.sessions)
    )
}

/// Packets whose instructions are logged for a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Window {
    /// They go through the relay.
    Relayed,
    /// They are dropped at the relay's first device.
    Sunk,
}

impl Window {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Relayed, Self::Sunk];

    /// As files call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Relayed => "relayed",
            Self::Sunk => "sunk",
        }
    }
}

/// Where the guest leaves the addresses of its kernel's functions, for the host: a file in the
/// directory they share.
pub const SYMBOLS: &str = "qemu-tests/bench/symbols";

/// What was counted at one point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Samples {
    /// Where.
    pub point: Point,
    /// Instructions of each batch that went through the relay.
    pub relayed: Vec<u64>,
    /// Instructions of each batch that was dropped at the relay's first device.
    pub sunk: Vec<u64>,
}
