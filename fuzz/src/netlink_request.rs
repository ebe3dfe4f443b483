// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whatever a controller asks for: it is read, or what is wrong with it is named; what was read is
//! written and read again as the same.

use genl_proto::Request;
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
    match Request::decode(command, bytes) {
        Ok(request) => {
            if let Ok(bytes) = request.encode() {
                is_same(Request::decode(command, &bytes).ok(), request);
            }
        }
        Err(error) => is_named(&error),
    }
}
