// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0

//! What the relay reads in IPv6 headers, and what leaves it, is what a sender would have made.

use crate::reference::*;
use proptest::prelude::*;
use relay::{
    ipv6::{destination, is_candidate, parse, Rewrite, TransportAddress, HEADERS},
    remote::Remote,
};
use std::net::SocketAddrV6;

/// From the party 2001:db8::7 through 2001:db8:1::1 to the party fd00::fa.
fn a_call() -> (Flow6, Flow6) {
    let address = |text: &str| text.parse::<std::net::Ipv6Addr>().unwrap().octets();
    let relay = address("2001:db8:1::1");
    (
        (at6(address("2001:db8::7"), 4_000), at6(relay, 20_000)),
        (at6(relay, 30_002), at6(address("fd00::fa"), 65_534)),
    )
}

fn ordinary() -> [u8; HEADERS] {
    packet6(a_call().0, 64, 0xb8, b"")[..HEADERS]
        .try_into()
        .unwrap()
}

fn rewritten(packet: &[u8], arriving: Flow6, leaving: Flow6, partial: bool) -> Vec<u8> {
    let mut packet = packet.to_vec();
    let headers: &mut [u8; HEADERS] = (&mut packet[..HEADERS]).try_into().unwrap();
    Rewrite::new(arriving, leaving).apply(headers, partial);
    packet
}

#[test]
fn only_udp_right_behind_a_version_6_header_is_a_candidate() {
    for (place, wanted) in [(0, 0x60), (6, 17)] {
        for value in 0..=u8::MAX {
            let mut headers = ordinary();
            headers[place] = value;
            let is = if place == 0 {
                value & 0xf0 == wanted
            } else {
                value == wanted
            };
            let ip = headers[..40].try_into().unwrap();
            assert_eq!(is_candidate(ip), is, "byte {place} {value:#04x}");
        }
    }
}

#[test]
fn every_udp_checksum_is_exact_and_zero_is_sent_as_all_ones() {
    let (arriving, leaving) = a_call();
    for word in crate::words() {
        let packet = packet6(arriving, 64, 0, &word.to_be_bytes());
        let result = rewritten(&packet, arriving, leaving, false);
        let wanted = packet6(leaving, 63, 0, &word.to_be_bytes());
        assert_eq!(result, wanted, "payload {word:#06x}");
    }
}

fn any_address() -> impl Strategy<Value = SocketAddrV6> {
    any::<([u8; 16], u16)>().prop_map(|(address, port)| at6(address, port))
}

fn any_flow() -> impl Strategy<Value = Flow6> {
    (any_address(), any_address())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: crate::cases(2_000), ..Default::default() })]

    #[test]
    fn every_field_is_read_from_its_place(headers in any::<[u8; 48]>()) {
        let wide = |at: usize| u16::from(headers[at]) * 256 + u16::from(headers[at + 1]);
        let address = |from: usize| <[u8; 16]>::try_from(&headers[from..from + 16]).unwrap();
        let arriving = parse(&headers);
        prop_assert_eq!(SocketAddrV6::from(arriving.source), at6(address(8), wide(40)));
        prop_assert_eq!(SocketAddrV6::from(arriving.destination), at6(address(24), wide(42)));
        prop_assert_eq!(arriving.destination.port(), wide(42));
        let traffic_class = headers[0] % 16 * 16 + headers[1] / 16;
        prop_assert_eq!(arriving.traffic_class, traffic_class);
        prop_assert_eq!(arriving.hops, headers[7]);
        prop_assert_eq!(arriving.room, wide(4));
        prop_assert_eq!(arriving.udp_length, wide(44));
        prop_assert_eq!(arriving.udp_checksum, wide(46));
        let ip = headers[..40].try_into().unwrap();
        prop_assert_eq!(destination(ip).octets(), address(24));
    }

    #[test]
    fn an_address_survives_the_way_to_the_wire_and_back(address in any_address()) {
        prop_assert_eq!(SocketAddrV6::from(TransportAddress::from(address)), address);
        prop_assert_eq!(format!("{:?}", TransportAddress::from(address)), address.to_string());
    }

    #[test]
    fn one_bit_of_difference_is_another_address(address in any_address(), bit in 0..144_usize) {
        let remote = Remote::from(Some(address.into()));
        prop_assert!(remote == TransportAddress::from(address));
        prop_assert!(Remote::from(None) != TransportAddress::from(address));
        let mut octets = address.ip().octets();
        let mut port = address.port();
        match octets.get_mut(bit / 8) {
            Some(octet) => *octet ^= 1 << (bit % 8),
            None => port ^= 1 << (bit - 128),
        }
        prop_assert!(remote != TransportAddress::from(at6(octets, port)));
    }

    #[test]
    fn any_packet_leaves_as_a_sender_would_have_made_it(
        arriving in any_flow(),
        leaving in any_flow(),
        hops in 2..=u8::MAX,
        class in any::<u8>(),
        payload in prop::collection::vec(any::<u8>(), 0..1_473),
    ) {
        let packet = packet6(arriving, hops, class, &payload);
        let result = rewritten(&packet, arriving, leaving, false);
        prop_assert_eq!(result, packet6(leaving, hops - 1, class, &payload));
    }

    #[test]
    fn any_offloaded_packet_is_completed_as_a_sender_would_have_made_it(
        arriving in any_flow(),
        leaving in any_flow(),
        payload in prop::collection::vec(any::<u8>(), 0..1_473),
    ) {
        let mut packet = packet6(arriving, 64, 0, &payload);
        let field = partial_checksum6(&packet);
        set_udp_checksum6(&mut packet, field);
        let mut result = rewritten(&packet, arriving, leaving, true);
        prop_assert_eq!(get_udp_checksum6(&result), partial_checksum6(&result));
        let checksum = completed6(&result);
        set_udp_checksum6(&mut result, checksum);
        prop_assert_eq!(result, packet6(leaving, 63, 0, &payload));
    }

    #[test]
    fn a_wrong_checksum_stays_wrong_by_the_same_difference(
        arriving in any_flow(),
        leaving in any_flow(),
        field in 1..=u16::MAX,
    ) {
        let right = packet6(arriving, 64, 0, b"an odd payload of it ");
        let mut packet = right.clone();
        set_udp_checksum6(&mut packet, field);
        let result = rewritten(&packet, arriving, leaving, false);
        let difference = |a: u16, b: u16| (u32::from(a) + 65_535 - u32::from(b)) % 65_535;
        prop_assert_eq!(
            difference(get_udp_checksum6(&result), udp_checksum6(&result)),
            difference(field, get_udp_checksum6(&right))
        );
        prop_assert_ne!(get_udp_checksum6(&result), 0);
    }
}
