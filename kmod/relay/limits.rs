// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0

//! How much the sessions of a namespace may hold.

/// What sessions hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// How many there are.
    pub sessions: u64,
    /// How many of them are half open.
    pub half_open: u64,
    /// Bytes of memory.
    pub memory: u64,
}

impl Usage {
    /// With what others hold.
    #[must_use]
    pub fn with(self, others: Self) -> Self {
        Self {
            sessions: self.sessions.saturating_add(others.sessions),
            half_open: self.half_open.saturating_add(others.half_open),
            memory: self.memory.saturating_add(others.memory),
        }
    }

    /// Without what others hold.
    #[must_use]
    pub fn without(self, others: Self) -> Self {
        Self {
            sessions: self.sessions.saturating_sub(others.sessions),
            half_open: self.half_open.saturating_sub(others.half_open),
            memory: self.memory.saturating_sub(others.memory),
        }
    }
}

/// The most of each; 0 for any amount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Sessions.
    pub sessions: u32,
    /// Half-open sessions.
    pub half_open: u32,
    /// Bytes of memory.
    pub memory: u64,
}

/// The limit that is in the way, and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exceeded {
    /// There may not be more sessions.
    Sessions(u32),
    /// There may not be more half-open sessions.
    HalfOpen(u32),
    /// There may not be more memory.
    Memory(u64),
}

impl Limits {
    /// Whether what is held may change so. What does not grow is allowed, also above a limit that
    /// was lowered meanwhile.
    ///
    /// # Errors
    ///
    /// The first limit that is in the way.
    pub fn allow(&self, before: &Usage, after: &Usage) -> Result<(), Exceeded> {
        let exceeds =
            |before: u64, after: u64, limit: u64| limit != 0 && after > limit && after > before;
        if exceeds(before.sessions, after.sessions, self.sessions.into()) {
            return Err(Exceeded::Sessions(self.sessions));
        }
        if exceeds(before.half_open, after.half_open, self.half_open.into()) {
            return Err(Exceeded::HalfOpen(self.half_open));
        }
        if exceeds(before.memory, after.memory, self.memory) {
            return Err(Exceeded::Memory(self.memory));
        }
        Ok(())
    }
}
