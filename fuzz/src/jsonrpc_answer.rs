// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whatever comes to the socket that asks Kamailio: only an answer to what was asked is taken, and
//! only dialogs of the call are found in it.

use lrep_cl::notify::jsonrpc;
use serde_json::Value;

const ID: u64 = 7;
const CALL_ID: &str = "1-15734@127.0.0.1";

/// A datagram.
pub fn check(bytes: &[u8]) {
    let Some(result) = jsonrpc::result(bytes, ID) else {
        return;
    };
    assert_eq!(jsonrpc::result(bytes, ID + 1), None);
    let answer: Value = serde_json::from_slice(bytes).expect("JSON, since it was taken");
    assert_eq!(answer["id"], ID);
    let Ok(result) = result else {
        return;
    };
    let text = result.to_string();
    for (from, to) in jsonrpc::tags(&result, CALL_ID) {
        assert!(text.contains(&Value::from(CALL_ID).to_string()));
        assert!(text.contains(&Value::from(from).to_string()));
        assert!(text.contains(&Value::from(to).to_string()));
    }
}
