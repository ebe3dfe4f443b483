// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whatever an IPv4 packet says: what is to stay stays, and a checksum is as right or as wrong
//! afterwards as it was.

use std::net::SocketAddrV4;

use arbitrary::Arbitrary;
use relay::ipv4::{self, HEADERS, Rewrite};
use relay::payload;

use crate::{checksum_error, reference, structured};

/// A packet, and before it where it is to leave to and whether a device completes its checksum.
#[derive(Arbitrary, Debug)]
struct Input<'a> {
    leaving: ([u8; 4], u16, [u8; 4], u16),
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
        .expect("28 bytes are more than 20");
    if !ipv4::is_candidate(ip) {
        return;
    }
    let arriving = ipv4::parse(&input.headers);
    if let (Ok(length), [first, second, ..]) = (arriving.payload_length(), input.payload) {
        let _ = payload::classify([*first, *second], length);
    }
    if !arriving.hops_allow_forwarding() {
        return;
    }
    let at = |end: ipv4::TransportAddress| SocketAddrV4::new(end.address(), end.port());
    let old = (at(arriving.source), at(arriving.destination));
    let (from, from_port, to, to_port) = input.leaving;
    let new = (reference::at(from, from_port), reference::at(to, to_port));

    let mut packet = [&input.headers[..], input.payload].concat();
    // The stack has dropped packets whose IP header's checksum is wrong.
    reference::set_ip_checksum(&mut packet);
    let mut wanted = reference::forwarded(&packet, new);
    let mut relayed = packet.clone();
    let error = |packet: &[u8]| {
        let pseudo_header = reference::pseudo_header(packet);
        checksum_error(&pseudo_header, &packet[20..], input.partial)
    };
    let headers = relayed.first_chunk_mut().expect("there are headers");
    Rewrite::new(old, new).apply(headers, input.partial);

    let checksum = reference::get_udp_checksum(&relayed);
    if arriving.udp_checksum == 0 && !input.partial {
        assert_eq!(checksum, 0, "a checksum appeared");
    } else {
        let (before, after) = (error(&packet), error(&relayed));
        // 0 and 0xffff are the same number.
        assert_eq!(before % 0xffff, after % 0xffff, "another error");
    }
    // Both forms of zero are right.
    let both_zero = |a: u16, b: u16| a % 0xffff == b % 0xffff;
    assert!(both_zero(
        reference::get_ip_checksum(&relayed),
        reference::get_ip_checksum(&wanted)
    ));
    wanted[10..12].copy_from_slice(&relayed[10..12]);
    reference::set_udp_checksum(&mut wanted, checksum);
    assert_eq!(relayed, wanted);
}
