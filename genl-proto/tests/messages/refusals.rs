// SPDX-License-Identifier: MIT OR Apache-2.0
//! Errors as the kernel writes them (`netlink_ack()`, `net/netlink/af_netlink.c`).

#![cfg(target_endian = "little")]

use genl_proto::{Message, Refusal};
use netlink_packet_core::NetlinkMessage;
use netlink_packet_generic::GenlMessage;

use crate::wire::attribute;

const ERROR: u16 = 2;
const DONE: u16 = 3;
const CAPPED: u16 = 0x100;
const ACK_TLVS: u16 = 0x200;

/// A request of 21 bytes: its header, a generic netlink header and one byte.
const REQUEST: [u8; 21] = [
    21, 0, 0, 0, 0x20, 0, 5, 0, 1, 0, 0, 0, 0, 0, 0, 0, // struct nlmsghdr
    4, 1, 0, 0, 0xff,
];

fn refusal(kind: u16, flags: u16, parts: &[&[u8]]) -> Option<Refusal> {
    let payload = parts.concat();
    let length = u32::try_from(16 + payload.len()).unwrap();
    let mut bytes = length.to_le_bytes().to_vec();
    bytes.extend(kind.to_le_bytes());
    bytes.extend(flags.to_le_bytes());
    bytes.extend([1, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend(payload);
    let message = NetlinkMessage::<GenlMessage<Message>>::deserialize(&bytes).unwrap();
    Refusal::of(&message)
}

fn said(text: &[u8]) -> Vec<u8> {
    // An offset first, which is skipped.
    [attribute(2, &[24, 0, 0, 0]), attribute(1, text)].concat()
}

fn errno(number: i32) -> [u8; 4] {
    (-number).to_le_bytes()
}

#[test]
fn an_error_is_told_in_the_words_of_the_kernel() {
    let text = said(b"local-port: 30000 is taken by session 5\0");
    let told = refusal(ERROR, ACK_TLVS, &[&errno(17), &REQUEST, &[0, 0, 0], &text]).unwrap();
    assert_eq!(told.errno, 17);
    assert_eq!(
        told.to_string(),
        "local-port: 30000 is taken by session 5: File exists (os error 17)"
    );
}

#[test]
fn the_words_follow_the_header_when_the_request_is_not_quoted() {
    let text = said(b"id: missing\0");
    let capped = &[&errno(22), &REQUEST[..16], &text];
    let told = refusal(ERROR, ACK_TLVS | CAPPED, capped).unwrap();
    assert_eq!(told.message.as_deref(), Some("id: missing"));
}

#[test]
fn an_error_without_words_is_told_by_its_number() {
    let told = refusal(ERROR, 0, &[&errno(1), &REQUEST]).unwrap();
    assert_eq!(told.message, None);
    assert_eq!(told.to_string(), "Operation not permitted (os error 1)");
}

#[test]
fn words_are_not_guessed_from_a_request_that_is_quoted() {
    // The quoted request holds what looks like words, but the flag is not set.
    let text = said(b"id: missing\0");
    let told = refusal(ERROR, 0, &[&errno(22), &REQUEST, &[0, 0, 0], &text]).unwrap();
    assert_eq!(told.message, None);
}

#[test]
fn the_end_of_a_failed_dump_is_an_error() {
    let text = said(b"busy\0");
    let told = refusal(DONE, ACK_TLVS, &[&errno(16), &text]).unwrap();
    assert_eq!((told.errno, told.message.as_deref()), (16, Some("busy")));
}

#[test]
fn success_is_no_refusal() {
    assert_eq!(refusal(ERROR, CAPPED, &[&errno(0), &REQUEST[..16]]), None);
    assert_eq!(refusal(DONE, 0, &[&errno(0)]), None);
}

#[test]
fn words_that_are_cut_off_are_left_out() {
    let text = said(b"id: missing\0");
    let cut = &text[..text.len() - 6];
    let told = refusal(ERROR, ACK_TLVS | CAPPED, &[&errno(22), &REQUEST[..16], cut]).unwrap();
    assert_eq!((told.errno, told.message), (22, None));
    let told = refusal(ERROR, ACK_TLVS, &[&errno(22), &[0xff; 16]]).unwrap();
    assert_eq!((told.errno, told.message), (22, None));
    let told = refusal(ERROR, ACK_TLVS, &[&errno(22)]).unwrap();
    assert_eq!((told.errno, told.message), (22, None));
}
