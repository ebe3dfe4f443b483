// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whatever message comes from a netlink socket: it is an answer, a refusal with words, or nothing.

use genl_proto::{Message, Refusal};
use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_generic::GenlMessage;

use crate::is_named;

/// A message with all its headers.
pub fn check(bytes: &[u8]) {
    let Ok(message) = NetlinkMessage::<GenlMessage<Message>>::deserialize(bytes) else {
        return;
    };
    if let Some(refusal) = Refusal::of(&message) {
        assert!(refusal.errno > 0);
        is_named(&refusal);
    }
    if let NetlinkPayload::InnerMessage(message) = message.payload {
        if let Err(error) = message.payload.answer() {
            is_named(&error);
        }
    }
}
