// SPDX-License-Identifier: MIT OR Apache-2.0

//! One call through Kamailio and the relay, shown as it happens.
//!
//! Nothing that is shown is known beforehand. The [`signalling`] is captured and put into
//! [`words`], the tables are what `lrep-cl` prints, and the verdict compares captures at both
//! parties with what they sent and with what the kernel counted ([`checks`]).
//!
//! The guest's part ([`guest`]) places the [`call`] through a [relay host](relay_host); what it
//! shows goes from its [`stage`] to the host's part ([`host`]), which prints it on a [`screen`].

pub mod call;
pub mod checks;
pub mod guest;
pub mod host;
pub mod relay_host;
pub mod screen;
pub mod signalling;
pub mod stage;
pub mod words;

use serde::{Deserialize, Serialize};

/// What the guest calls the demonstration where a test would have its name, and the directory its
/// captures and logs are kept in.
pub const NAME: &str = "demo";

/// Something to be seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Shown {
    /// This begins, and takes a moment.
    Begins(String),
    /// It is over, and this came of it.
    Over(String),
    /// Lines.
    Text(String),
    /// A table: its header, and rows that take the place of those shown before.
    Table(String),
}
