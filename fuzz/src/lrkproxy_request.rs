// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whatever a SIP server sends: it is read whole or not at all, and every answer begins with the
//! request, as the clients want it.

use std::net::Ipv4Addr;

use lrep_cl::protocol::lrkproxy::{
    self, Command, FRAME_MAX, Frame, Framing, NODE_CONFIG_LEN, NodeConfig, Verdict,
};

const NODE: NodeConfig = NodeConfig {
    start_port: 20_000,
    end_port: 30_000,
    current_port: 20_004,
    internal_ip: Ipv4Addr::new(10, 0, 0, 5),
    external_ip: Ipv4Addr::BROADCAST,
};

/// A datagram, and also a stream.
pub fn check(bytes: &[u8]) {
    for framing in [Framing::Datagram, Framing::Stream] {
        if let Some(command) = lrkproxy::decode(bytes, framing) {
            is_answered(command, bytes);
        }
    }
    // A stream is read request by request, and none is empty or longer than what there is.
    let mut rest = bytes;
    while let Frame::Complete(length) = lrkproxy::frame(rest) {
        assert!((1..=rest.len().min(FRAME_MAX)).contains(&length));
        let (request, after) = rest.split_at(length);
        // What comes later changes nothing, and nothing less is a request.
        assert_eq!(lrkproxy::frame(request), Frame::Complete(length));
        for less in 0..length {
            assert_eq!(lrkproxy::frame(&request[..less]), Frame::Partial);
        }
        let command = lrkproxy::decode(request, Framing::Stream);
        is_answered(command.expect("a request"), request);
        rest = after;
    }
}

fn is_answered(command: Command<'_>, request: &[u8]) {
    let (answer, longer) = match command {
        Command::Ping => (lrkproxy::pong(request), " PONG".len()),
        Command::NodeConfig => (lrkproxy::node_config(request, &NODE), 1 + NODE_CONFIG_LEN),
        Command::Set(_) | Command::Delete(_) => (lrkproxy::verdict(request, Verdict::Ok), 2),
    };
    assert_eq!(answer.len(), request.len() + longer);
    assert!(answer.starts_with(request));
    if let Command::Set(Ok(relay)) | Command::Delete(Ok(relay)) = command {
        let fields = [
            relay.src_ip,
            relay.dst_ip,
            relay.snat_ip,
            relay.dnat_ip,
            relay.src_port,
            relay.dst_port,
            relay.snat_port,
            relay.dnat_port,
            relay.timeout,
            relay.call_id,
            b"",
        ];
        assert!(request.ends_with(&fields.join(&b' ')));
        assert!(!relay.call_id.is_empty());
    }
}
