// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whatever the kernel answers: it is read, or what is wrong with it is named.

#![no_main]

use genl_proto::Answer;
use genl_proto::generated::Command;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &[u8])| {
    let (number, bytes) = input;
    let command = Command::ALL[usize::from(number) % Command::ALL.len()];
    if let Err(error) = Answer::decode(command, bytes) {
        assert!(!error.to_string().is_empty());
    }
});
