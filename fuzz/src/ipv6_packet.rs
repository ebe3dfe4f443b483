// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whatever an IPv6 packet says: what is to stay stays, and a checksum is as right or as wrong
//! afterwards as it was.

use std::net::SocketAddrV6;

use arbitrary::Arbitrary;
use relay::ipv6::{self, HEADERS, Rewrite};
use relay::payload;

use crate::{checksum_error, reference, structured};

/// A packet, and before it where it is to leave to and whether a device completes its checksum.
#[derive(Arbitrary, Debug)]
struct Input<'a> {
    leaving: ([u8; 16], u16, [u8; 16], u16),
    partial: bool,
    headers: [u8; HEADERS],
    payload: &'a [u8],
}

/// Any bytes.
pub fn check(bytes: &[u8]) {
    let Some(input) = structured::<Input>(bytes) else {
        return;
    };
    let ip = input
        .headers
        .first_chunk()
        .expect("48 bytes are more than 40");
    if !ipv6::is_candidate(ip) {
        return;
    }
    let arriving = ipv6::parse(&input.headers);
    if let (Ok(length), [first, second, ..]) = (arriving.payload_length(), input.payload) {
        let _ = payload::classify([*first, *second], length);
    }
    // Without a checksum it is malformed (RFC 8200 section 8.1).
    if !arriving.hops_allow_forwarding() || (arriving.udp_checksum == 0 && !input.partial) {
        return;
    }
    let at = |end: ipv6::TransportAddress| SocketAddrV6::new(end.address(), end.port(), 0, 0);
    let old = (at(arriving.source), at(arriving.destination));
    let (from, from_port, to, to_port) = input.leaving;
    let new = (reference::at6(from, from_port), reference::at6(to, to_port));

    let packet = [&input.headers[..], input.payload].concat();
    let mut relayed = packet.clone();
    let error = |packet: &[u8]| {
        let pseudo_header = reference::pseudo_header6(packet);
        checksum_error(&pseudo_header, &packet[40..], input.partial)
    };
    let headers = relayed.first_chunk_mut().expect("there are headers");
    Rewrite::new(old, new).apply(headers, input.partial);

    let mut wanted = packet.clone();
    wanted[7] -= 1;
    wanted[8..24].copy_from_slice(&from);
    wanted[24..40].copy_from_slice(&to);
    wanted[40..42].copy_from_slice(&from_port.to_be_bytes());
    wanted[42..44].copy_from_slice(&to_port.to_be_bytes());
    let checksum = reference::get_udp_checksum6(&relayed);
    reference::set_udp_checksum6(&mut wanted, checksum);
    assert_eq!(relayed, wanted);
    assert!(input.partial || checksum != 0, "the checksum vanished");
    let (before, after) = (error(&packet), error(&relayed));
    // 0 and 0xffff are the same number.
    assert_eq!(before % 0xffff, after % 0xffff, "another error");
}
