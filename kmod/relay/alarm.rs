// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0

//! When an alarm is told, told again, and over.

/// How often an alarm that goes on is told again, and how many packets it takes to tell it.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Milliseconds from one time to the next.
    pub interval_ms: u64,
    /// A few packets that come too late, or from where a party has just been, are none.
    pub packets: u64,
}

/// An alarm that goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// When it was raised or told last, in milliseconds.
    since: u64,
    /// Packets at that time.
    counted: u64,
    is_told: bool,
}

/// What is to be done about an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing yet.
    Wait,
    /// It is to be told, with so many packets since it was told last.
    Tell(u64),
    /// It is over.
    End,
}

impl Alarm {
    /// An alarm that is raised at a moment in milliseconds, `counted` being the packets before it.
    #[must_use]
    pub fn new(counted: u64, now: u64) -> Self {
        Self {
            since: now,
            counted,
            is_told: false,
        }
    }

    /// What is to be done now that so many packets are counted.
    #[must_use]
    pub fn look(self, counted: u64, now: u64, patience: &Patience) -> (Self, Step) {
        let packets = counted.saturating_sub(self.counted);
        let is_due = now.saturating_sub(self.since) >= patience.interval_ms;
        let is_enough = packets >= patience.packets;
        if is_enough && (is_due || !self.is_told) {
            let told = Self {
                since: now,
                counted,
                is_told: true,
            };
            (told, Step::Tell(packets))
        } else if is_due {
            (self, Step::End)
        } else {
            (self, Step::Wait)
        }
    }
}
