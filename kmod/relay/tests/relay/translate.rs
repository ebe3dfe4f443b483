// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0

//! What leaves with the other version of IP is what a sender of that version would have made.

use crate::reference::*;
use proptest::prelude::*;
use relay::{
    ipv4, ipv6,
    rewrite::Rewrite,
    translate::{Checksum, Ipv4ToIpv6, Ipv6ToIpv4},
};

fn to_ipv6(packet: &[u8], old: Flow, new: Flow6, partial: bool) -> (Vec<u8>, Checksum) {
    let headers = packet[..ipv4::HEADERS].try_into().unwrap();
    let (headers, checksum) = Ipv4ToIpv6::new(old, new).apply(headers, partial);
    ([&headers[..], &packet[ipv4::HEADERS..]].concat(), checksum)
}

fn to_ipv4(packet: &[u8], old: Flow6, new: Flow, partial: bool) -> Vec<u8> {
    let headers = packet[..ipv6::HEADERS].try_into().unwrap();
    let headers = Ipv6ToIpv4::new(old, new).apply(headers, partial);
    [&headers[..], &packet[ipv6::HEADERS..]].concat()
}

/// [`packet`] with another type of service, without identification.
fn packet4(flow: Flow, ttl: u8, class: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = packet(flow, ttl, 0, payload);
    packet[1] = class;
    set_ip_checksum(&mut packet);
    packet
}

fn any_flow() -> impl Strategy<Value = Flow> {
    any::<([u8; 4], u16, [u8; 4], u16)>().prop_map(|(a, p, b, q)| (at(a, p), at(b, q)))
}

fn any_flow6() -> impl Strategy<Value = Flow6> {
    any::<([u8; 16], u16, [u8; 16], u16)>().prop_map(|(a, p, b, q)| (at6(a, p), at6(b, q)))
}

#[test]
fn every_checksum_is_exact_both_ways() {
    let old = (at([192, 0, 2, 7], 4_000), at([198, 51, 100, 1], 20_000));
    let new = (at6([0x20; 16], 30_002), at6([0xfd; 16], 65_534));
    for word in crate::words() {
        let payload = word.to_be_bytes();
        let (four, six) = (packet4(old, 64, 0, &payload), packet6(new, 63, 0, &payload));
        assert_eq!(
            to_ipv6(&four, old, new, false),
            (six.clone(), Checksum::AsBefore)
        );
        assert_eq!(
            to_ipv4(&six, new, old, false),
            packet4(old, 62, 0, &payload)
        );
    }
}

#[test]
fn a_change_of_the_version_changes_the_length() {
    let four = at([192, 0, 2, 7], 4_000).into();
    let six = at6([0x20; 16], 30_002).into();
    let growth = |old, new| Rewrite::new((old, old), (new, new)).unwrap().growth();
    assert_eq!(growth(four, four), 0);
    assert_eq!(growth(six, six), 0);
    assert_eq!(growth(four, six), 20);
    assert_eq!(growth(six, four), -20);
    assert_eq!(Rewrite::new((four, six), (four, four)), None);
    assert_eq!(Rewrite::new((six, six), (four, six)), None);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: crate::cases(2_000), ..Default::default() })]

    #[test]
    fn any_ipv4_packet_leaves_as_an_ipv6_sender_would_have_made_it(
        (old, new) in (any_flow(), any_flow6()),
        ttl in 2..=u8::MAX,
        class in any::<u8>(),
        payload in prop::collection::vec(any::<u8>(), 0..1_473),
    ) {
        let (result, checksum) = to_ipv6(&packet4(old, ttl, class, &payload), old, new, false);
        prop_assert_eq!(result, packet6(new, ttl - 1, class, &payload));
        prop_assert_eq!(checksum, Checksum::AsBefore);
    }

    #[test]
    fn any_ipv6_packet_leaves_as_an_ipv4_sender_would_have_made_it(
        (old, new) in (any_flow6(), any_flow()),
        hops in 2..=u8::MAX,
        class in any::<u8>(),
        label in any::<[u8; 3]>(),
        payload in prop::collection::vec(any::<u8>(), 0..1_473),
    ) {
        let mut packet = packet6(old, hops, class, &payload);
        // A flow label is lost.
        packet[1] |= label[0] & 0x0f;
        packet[2..4].copy_from_slice(&label[1..]);
        let result = to_ipv4(&packet, old, new, false);
        prop_assert_eq!(result, packet4(new, hops - 1, class, &payload));
    }

    #[test]
    fn an_ipv4_datagram_without_checksum_is_left_to_the_device(
        (old, new) in (any_flow(), any_flow6()),
        payload in prop::collection::vec(any::<u8>(), 0..1_473),
    ) {
        let mut packet = packet4(old, 64, 0, &payload);
        set_udp_checksum(&mut packet, 0);
        let (mut result, checksum) = to_ipv6(&packet, old, new, false);
        prop_assert_eq!(checksum, Checksum::Partial);
        prop_assert_eq!(get_udp_checksum6(&result), partial_checksum6(&result));
        let checksum = completed6(&result);
        set_udp_checksum6(&mut result, checksum);
        prop_assert_eq!(result, packet6(new, 63, 0, &payload));
    }

    #[test]
    fn a_partial_checksum_stays_the_pseudo_headers_sum(
        (four, six) in (any_flow(), any_flow6()),
        payload in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut packet = packet4(four, 64, 0, &payload);
        let field = partial_checksum(&packet);
        set_udp_checksum(&mut packet, field);
        let (result, checksum) = to_ipv6(&packet, four, six, true);
        prop_assert_eq!(checksum, Checksum::AsBefore);
        prop_assert_eq!(get_udp_checksum6(&result), partial_checksum6(&result));

        let mut packet = packet6(six, 64, 0, &payload);
        let field = partial_checksum6(&packet);
        set_udp_checksum6(&mut packet, field);
        let result = to_ipv4(&packet, six, four, true);
        prop_assert_eq!(get_udp_checksum(&result), partial_checksum(&result));
    }
}
