// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whatever is written to the control socket: it is a request, which is written and read again as
//! the same, or what is wrong with it is named.

use lrep_cl::operator::Request;

use crate::{is_named, is_same};

/// A line.
pub fn check(bytes: &[u8]) {
    let Ok(line) = std::str::from_utf8(bytes) else {
        return;
    };
    match serde_json::from_str::<Request>(line) {
        Ok(request) => {
            let line = serde_json::to_string(&request).expect("JSON");
            assert!(!line.contains('\n'));
            is_same(serde_json::from_str(&line).ok(), request);
        }
        Err(error) => is_named(&error),
    }
}
