// SPDX-License-Identifier: MIT OR Apache-2.0

//! What anybody may send, given to the code that reads it.
//!
//! Each target is a module with a `check`, which takes any bytes and panics where a promise is
//! broken. libFuzzer searches for such bytes (`make fuzz`, `fuzz_targets/`); the seeds it begins
//! with, `corpus/TARGET`, are also an ordinary test.

#![forbid(unsafe_code)]

pub mod answers;
pub mod certificate;
pub mod configuration;
pub mod control_answer;
pub mod control_request;
pub mod controller;
pub mod firewall_ruleset;
pub mod grpc_answer;
pub mod grpc_request;
pub mod host_text;
pub mod ipv4_packet;
pub mod ipv6_packet;
pub mod jsonrpc_answer;
pub mod learning;
pub mod local_ports;
pub mod lrkproxy_relay;
pub mod lrkproxy_request;
pub mod netlink_answer;
pub mod netlink_message;
pub mod netlink_request;
pub mod payload;
pub mod rtcp_report;
pub mod rtp_quality;
pub mod text_forms;
pub mod translation;

#[expect(dead_code, reason = "the tests of the crate use all of it")]
#[path = "../../kmod/relay/tests/relay/reference.rs"]
mod reference;
#[path = "../../lrep-cl/src/core/tests/table.rs"]
mod table;

use std::fmt::Debug;

use arbitrary::{Arbitrary, Unstructured};

/// The input that bytes stand for; `None` when they stand for none.
fn structured<'a, T: Arbitrary<'a>>(bytes: &'a [u8]) -> Option<T> {
    T::arbitrary_take_rest(Unstructured::new(bytes)).ok()
}

/// How far the UDP checksum of a datagram is from the right one, as a sum that is zero when it is
/// right. `partial`: the field holds no more than the sum of the pseudo header, as it does where a
/// device is to complete it.
fn checksum_error(pseudo_header: &[u8], datagram: &[u8], partial: bool) -> u16 {
    let expected = reference::sum(pseudo_header);
    if partial {
        // One's complement subtraction.
        return reference::sum(&[&datagram[6..8], &(!expected).to_be_bytes()].concat());
    }
    let datagram = reference::sum(datagram);
    reference::sum(&[expected.to_be_bytes(), datagram.to_be_bytes()].concat())
}

/// What is wrong with an input has a name.
fn is_named(error: &impl ToString) {
    assert!(!error.to_string().is_empty());
}

/// What was read, written, and read again is the same.
#[track_caller]
fn is_same<T: PartialEq + Debug>(again: Option<T>, first: T) {
    assert_eq!(again, Some(first));
}
