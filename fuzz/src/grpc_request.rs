// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whatever comes to a host that serves its layer: it is a request, which can be passed on as it
//! came, or it is refused, and the controller is told why.

use lrep_cl::tsl::Error;
use lrep_cl::tsl::remote::wire;
use prost::Message;

use crate::is_same;

/// The message of a call, as gRPC frames it.
pub fn check(bytes: &[u8]) {
    if let Ok(subscription) = wire::Subscription::decode(bytes) {
        let _ = wire::check_version(subscription.protocol_version);
    }
    let Ok(command) = wire::Command::decode(bytes) else {
        return;
    };
    let again = wire::Command::decode(&command.encode_to_vec()[..]);
    is_same(again.ok().as_ref(), &command);
    match wire::request(&command) {
        Ok(request) => {
            if let Ok(command) = wire::command(&request) {
                is_same(wire::request(&command).ok(), request);
            }
        }
        Err(error) => {
            let refused = matches!(error, Error::Refused(_) | Error::VersionDiffers { .. });
            assert!(refused, "{error}");
            let told = wire::answer(command.command, Err(error.clone())).encode_to_vec();
            let told = wire::Answer::decode(&told[..]).expect("an answer");
            is_same(wire::outcome(told).err(), error);
        }
    }
}
