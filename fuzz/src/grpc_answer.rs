// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whatever a host answers or tells: it is read, or it is a failure with words; what was read is
//! written and read again as the same.

use lrep_cl::tsl::remote::wire;
use lrep_cl::tsl::{self, Event};
use prost::Message;

use crate::{is_named, is_same};

/// A message from a host: an answer, and also an event.
pub fn check(bytes: &[u8]) {
    if let Ok(answer) = wire::Answer::decode(bytes) {
        check_answer(answer);
    }
    if let Ok(event) = wire::Event::decode(bytes) {
        check_event(event);
    }
}

fn check_answer(answer: wire::Answer) {
    let message = match wire::outcome(answer) {
        Ok(message) => message,
        Err(error) => return is_failure(error),
    };
    match wire::read(&message) {
        Ok(told) if told.encode().is_ok() => {
            let command = told.command() as u32;
            let message = outcome(command, Ok(Some(told.clone()))).expect("no failure");
            is_same(wire::read(&message).ok(), told);
        }
        Ok(_) => {}
        Err(error) => is_failure(error),
    }
}

fn check_event(event: wire::Event) {
    if let Err(error) = wire::listening(event.clone()) {
        let first = wire::listens(Err(error.clone())).encode_to_vec();
        let first = wire::Event::decode(&first[..]).expect("an event");
        is_same(wire::listening(first).err(), error);
    }
    let event = wire::event(event);
    let told = wire::tell(event.clone()).encode_to_vec();
    let told = wire::event(wire::Event::decode(&told[..]).expect("an event"));
    // What cannot be written is as good as lost.
    assert!(told == event || told == Event::Overrun);
}

fn is_failure(error: tsl::Error) {
    is_named(&error);
    is_same(outcome(0, Err(error.clone())).err(), error);
}

/// What comes of a command whose outcome is sent and received.
fn outcome(
    command: u32,
    outcome: tsl::Result<Option<genl_proto::Answer>>,
) -> tsl::Result<wire::Message> {
    let sent = wire::answer(command, outcome).encode_to_vec();
    wire::outcome(wire::Answer::decode(&sent[..]).expect("an answer"))
}
