// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whatever a controller asks for: it is read, or what is wrong with it is named; what was read is
//! written and read again as the same.

#![no_main]

use genl_proto::Request;
use genl_proto::generated::Command;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &[u8])| {
    let (number, bytes) = input;
    let command = Command::ALL[usize::from(number) % Command::ALL.len()];
    match Request::decode(command, bytes) {
        Ok(request) => {
            if let Ok(bytes) = request.encode() {
                assert_eq!(Request::decode(command, &bytes), Ok(request));
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
