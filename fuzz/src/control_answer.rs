// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whatever the daemon answers on its control socket: it is an answer, which is written and read
//! again as the same, or what is wrong with it is named.

use std::path::Path;

use lrep_cl::doctor;
use lrep_cl::operator::Answer;

use crate::{is_named, is_same};

/// A line.
pub fn check(bytes: &[u8]) {
    let Ok(line) = std::str::from_utf8(bytes) else {
        return;
    };
    match serde_json::from_str::<Answer>(line) {
        Ok(answer) => {
            if let Answer::Status { status, .. } = &answer {
                let file = Path::new("lrep-cl.toml");
                // One finding of the daemon itself and one of each TSL at least.
                assert!(doctor::daemon::status(status, file).len() > status.tsls.len());
            }
            let line = serde_json::to_string(&answer).expect("JSON");
            assert!(!line.contains('\n'));
            is_same(serde_json::from_str(&line).ok(), answer);
        }
        Err(error) => is_named(&error),
    }
}
