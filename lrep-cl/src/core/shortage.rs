// SPDX-License-Identifier: MIT OR Apache-2.0

//! Why a call is given ports that another one has.

use std::fmt;

/// The cause, with its cure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortage {
    /// There are no others.
    Exhausted,
    /// There are no others, and so many are nobody's although they count as in use.
    Leaked(u32),
    /// There are others.
    HandedOutTwice,
}

impl Shortage {
    /// What it is where all ports that a client was told are in use, or not; `leaked` counts those that
    /// no call has.
    pub fn of(is_exhausted: bool, leaked: impl FnOnce() -> u32) -> Self {
        if !is_exhausted {
            return Self::HandedOutTwice;
        }
        match leaked() {
            0 => Self::Exhausted,
            leaked => Self::Leaked(leaked),
        }
    }
}

/// What happened, and what to do about it.
impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exhausted => f.write_str(
                "all ports that the SIP server was told are in use: widen them (start_port to \
                 end_port, or port_ranges), or find out why calls do not end (`lrep-cl sessions`)",
            ),
            Self::Leaked(ports) => write!(
                f,
                "{ports} ports were leaked: they count as in use, and no call has them; run \
                 `systemctl restart lrep-cl`, which counts them anew and ends no call of the kernel's, \
                 and report it"
            ),
            Self::HandedOutTwice => f.write_str(
                "the SIP server handed them out twice: if there are several, give each ports of its \
                 own (port_parts)",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_is_named_with_its_own_cure() {
        let told = |is_exhausted, leaked| Shortage::of(is_exhausted, || leaked).to_string();
        for (is_exhausted, leaked, cause, cure) in [
            (true, 0, "are in use", "widen them"),
            (true, 8, "8 ports were leaked", "systemctl restart lrep-cl"),
            (false, 8, "handed them out twice", "port_parts"),
        ] {
            let told = told(is_exhausted, leaked);
            assert!(told.contains(cause) && told.contains(cure), "{told}");
        }
    }
}
