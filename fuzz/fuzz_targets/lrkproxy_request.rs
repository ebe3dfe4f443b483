// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whatever a SIP server sends: it is read whole or not at all, and every answer begins with the
//! request, as the clients want it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lrep_cl::protocol::lrkproxy::{self, Frame, Framing, Verdict};

fuzz_target!(|bytes: &[u8]| {
    for framing in [Framing::Datagram, Framing::Stream] {
        if lrkproxy::decode(bytes, framing).is_some() {
            let answer = lrkproxy::verdict(bytes, Verdict::Ok);
            assert_eq!(answer.len(), bytes.len() + 2);
            assert!(answer.starts_with(bytes));
        }
    }
    // A stream is read request by request, and none is empty or longer than what there is.
    let mut rest = bytes;
    while let Frame::Complete(length) = lrkproxy::frame(rest) {
        assert!((1..=rest.len()).contains(&length));
        let (request, after) = rest.split_at(length);
        assert!(lrkproxy::decode(request, Framing::Stream).is_some());
        rest = after;
    }
});
