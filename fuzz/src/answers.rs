// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whatever lies where an earlier run left its answers: it is read, or what is wrong with it is named;
//! what was read is written and read again as the same.

use std::time::Duration;

use lrep_cl::answers::{decode, encode};

/// What was left.
pub fn check(bytes: &[u8]) {
    let uptime = Duration::from_secs(1 << 20);
    match decode(bytes, uptime) {
        Ok(answers) => {
            // Ages are kept to the millisecond.
            let whole = answers
                .iter()
                .all(|answered| answered.age.as_millis() < 1 << 63);
            let again = decode(&encode(answers.clone(), uptime), uptime);
            assert!(!whole || again == Ok(answers));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
