// SPDX-License-Identifier: MIT OR Apache-2.0

//! A packet that leaves with the other version of IP is what a sender of that version would have
//! made, and comes back as it was.

use arbitrary::Arbitrary;
use relay::translate::{Checksum, Ipv4ToIpv6, Ipv6ToIpv4};
use relay::{ipv4, ipv6};

use crate::{reference, structured};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    four: ([u8; 4], u16, [u8; 4], u16),
    six: ([u8; 16], u16, [u8; 16], u16),
    hops: u8,
    class: u8,
    payload: &'a [u8],
}

/// Any bytes.
pub fn check(bytes: &[u8]) {
    let Some(input) = structured::<Input>(bytes) else {
        return;
    };
    let (from, from_port, to, to_port) = input.four;
    let four = (reference::at(from, from_port), reference::at(to, to_port));
    let (from, from_port, to, to_port) = input.six;
    let six = (reference::at6(from, from_port), reference::at6(to, to_port));
    let hops = input.hops.max(3);
    let Some(payload) = input.payload.get(..input.payload.len().min(1_400)) else {
        return;
    };
    let packet4 = |hops| {
        let mut packet = reference::packet(four, hops, 0, payload);
        packet[1] = input.class;
        reference::set_ip_checksum(&mut packet);
        packet
    };

    let arrived = packet4(hops);
    let headers = arrived.first_chunk().expect("there are headers");
    let (headers, checksum) = Ipv4ToIpv6::new(four, six).apply(headers, false);
    assert_eq!(checksum, Checksum::AsBefore);
    let translated = [&headers[..], payload].concat();
    assert_eq!(
        translated,
        reference::packet6(six, hops - 1, input.class, payload)
    );

    let headers = translated.first_chunk::<{ ipv6::HEADERS }>();
    let headers = headers.expect("there are headers");
    let back: [u8; ipv4::HEADERS] = Ipv6ToIpv4::new(six, four).apply(headers, false);
    assert_eq!([&back[..], payload].concat(), packet4(hops - 2));
}
