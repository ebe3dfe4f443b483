// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whatever the kernel answers: it is read, or what is wrong with it is named; what was read is
//! written and read again as the same.

use genl_proto::Answer;
use genl_proto::generated::Command;

use crate::{is_named, is_same};

/// The number of a command, and attributes.
pub fn check(bytes: &[u8]) {
    let Some((number, bytes)) = bytes.split_first() else {
        return;
    };
    let Some(command) = Command::from_u8(*number) else {
        return;
    };
    match Answer::decode(command, bytes) {
        Ok(answer) => {
            if let Ok(bytes) = answer.encode() {
                is_same(Answer::decode(answer.command(), &bytes).ok(), answer);
            }
        }
        Err(error) => is_named(&error),
    }
}
