// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the core asks of a TSL, and what comes of it. See the trait [`crate::tsl::Tsl`].

use crate::tsl::{Created, NewSession, SessionId, SessionState, SetConfig, SetSession, Totals};

/// Numbers a command, so that its outcome finds back. Never given twice.
pub type Token = u64;

/// A command to a TSL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Tell events from now on to the controller of this owner's sessions; those of an earlier
    /// subscription end.
    Subscribe(u32),
    /// Make these settings.
    Configure(SetConfig),
    /// Tell all sessions.
    Dump,
    /// Tell one session.
    Get(SessionId),
    /// Tell the counters.
    Totals,
    /// Make a session.
    New(NewSession),
    /// Change a session.
    Set(SetSession),
    /// End a session. An event tells its final state.
    Delete(SessionId),
}

/// What a TSL answers a command it has carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is done; there is nothing to tell.
    Done,
    /// The sessions there are, or the one that was asked for.
    Table(Vec<SessionState>),
    /// The counters.
    Totals(Box<Totals>),
    /// The session is made.
    Created(Created),
}
