// SPDX-License-Identifier: GPL-2.0

//! What every attribute must look like, in words a person can act on.
//!
//! The tables are generated from `genl-proto/lreproxy.yaml`. The kernel's own checks cannot name
//! an attribute in their error texts, so each attribute's policy calls [`check`].

use crate::proto::{
    Attribute,
    Kind, //
};
use core::fmt;

/// What is wrong with an attribute. Its text fits into an extended ack (80 bytes).
pub(crate) struct Fault {
    name: &'static str,
    problem: Problem,
}

enum Problem {
    Length { is: usize, expected: &'static str },
    TooShort { is: usize, min: u16 },
    TooLong { is: usize, max: u16 },
    Range { is: u32, min: u32, max: u32 },
    Unexpected,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name;
        match self.problem {
            Problem::Length { is, expected } => write!(f, "{name}: {is} bytes, must be {expected}"),
            Problem::TooShort { is, min } => write!(f, "{name}: {is} bytes, must be {min} or more"),
            Problem::TooLong { is, max } => write!(f, "{name}: {is} bytes, must be {max} or less"),
            Problem::Range { is, min, max } => write!(f, "{name}: {is} is not from {min} to {max}"),
            Problem::Unexpected => write!(f, "{name}: not part of this command"),
        }
    }
}

/// Checks the length and the range of a value. What is inside a nest is checked on its own.
pub(crate) fn check(attribute: &Attribute, value: &[u8]) -> Result<(), Fault> {
    let is = value.len();
    let problem = match attribute.kind {
        Kind::Flag if is != 0 => Problem::Length {
            is,
            expected: "empty",
        },
        Kind::U16 {
            big_endian,
            min,
            max,
        } => match value.try_into() {
            Ok(bytes) => {
                let number = if big_endian {
                    u16::from_be_bytes(bytes)
                } else {
                    u16::from_ne_bytes(bytes)
                };
                if (min..=max).contains(&number) {
                    return Ok(());
                }
                Problem::Range {
                    is: number.into(),
                    min: min.into(),
                    max: max.into(),
                }
            }
            Err(_) => Problem::Length { is, expected: "2" },
        },
        Kind::U32 { min, max } => match value.try_into().map(u32::from_ne_bytes) {
            Ok(number) if (min..=max).contains(&number) => return Ok(()),
            Ok(is) => Problem::Range { is, min, max },
            Err(_) => Problem::Length { is, expected: "4" },
        },
        Kind::Uint if is != 4 && is != 8 => Problem::Length {
            is,
            expected: "4 or 8",
        },
        Kind::Binary { min_len, .. } if is < usize::from(min_len) => {
            Problem::TooShort { is, min: min_len }
        }
        Kind::Binary { max_len, .. } if is > usize::from(max_len) => {
            Problem::TooLong { is, max: max_len }
        }
        _ => return Ok(()),
    };
    Err(Fault {
        name: attribute.name,
        problem,
    })
}

/// The fault of an attribute that a command does not take.
pub(crate) fn unexpected(attribute: &Attribute) -> Fault {
    Fault {
        name: attribute.name,
        problem: Problem::Unexpected,
    }
}
