// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0

//! What leaves the relay is bit for bit what a sender at its address would have made.

use crate::reference::*;
use proptest::prelude::*;
use relay::ipv4::{Rewrite, HEADERS};
use std::collections::BTreeSet;

/// From the party 192.0.2.7 through 198.51.100.1 to the party 203.0.113.250.
fn a_call() -> (Flow, Flow) {
    let relay = [198, 51, 100, 1];
    (
        (at([192, 0, 2, 7], 4_000), at(relay, 20_000)),
        (at(relay, 30_002), at([203, 0, 113, 250], 65_534)),
    )
}

fn rewritten(packet: &[u8], arriving: Flow, leaving: Flow, partial: bool) -> Vec<u8> {
    let mut packet = packet.to_vec();
    let headers: &mut [u8; HEADERS] = (&mut packet[..HEADERS]).try_into().unwrap();
    Rewrite::new(arriving, leaving).apply(headers, partial);
    packet
}

fn expected(packet: &[u8], leaving: Flow) -> Vec<u8> {
    let mut packet = forwarded(packet, leaving);
    let checksum = udp_checksum(&packet);
    set_udp_checksum(&mut packet, checksum);
    packet
}

/// `a - b` where only the remainder by 65,535 counts.
fn difference(a: u16, b: u16) -> u32 {
    (u32::from(a) + 65_535 - u32::from(b)) % 65_535
}

#[test]
fn every_udp_checksum_is_exact_and_zero_is_sent_as_all_ones() {
    let (arriving, leaving) = a_call();
    let mut arrived = BTreeSet::new();
    let mut left = BTreeSet::new();
    for word in crate::words() {
        let packet = packet(arriving, 64, 1, &word.to_be_bytes());
        let result = rewritten(&packet, arriving, leaving, false);
        assert_eq!(result, expected(&packet, leaving), "payload {word:#06x}");
        arrived.insert(get_udp_checksum(&packet));
        left.insert(get_udp_checksum(&result));
    }
    let all_but_zero: BTreeSet<u16> = (1..=u16::MAX).collect();
    assert_eq!(arrived, all_but_zero);
    assert_eq!(left, all_but_zero);
}

#[test]
fn every_ipv4_header_checksum_is_exact_and_zero_stays_zero() {
    let (arriving, leaving) = a_call();
    let mut left = BTreeSet::new();
    for id in crate::words() {
        let packet = packet(arriving, 64, id, b"odd");
        let result = rewritten(&packet, arriving, leaving, false);
        assert_eq!(result, expected(&packet, leaving), "id {id:#06x}");
        left.insert(get_ip_checksum(&result));
    }
    assert_eq!(left, (0..u16::MAX).collect());
}

#[test]
fn every_ttl_that_may_be_forwarded_loses_one() {
    let (arriving, leaving) = a_call();
    for ttl in 2..=u8::MAX {
        for id in (0..=u16::MAX).step_by(251) {
            let packet = packet(arriving, ttl, id, b"payload");
            let result = rewritten(&packet, arriving, leaving, false);
            assert_eq!(result[8], ttl - 1);
            assert_eq!(result, expected(&packet, leaving), "ttl {ttl} id {id}");
        }
    }
}

#[test]
fn a_datagram_without_checksum_gets_none() {
    let (arriving, leaving) = a_call();
    for word in crate::words() {
        let mut packet = packet(arriving, 64, word, &word.to_be_bytes());
        set_udp_checksum(&mut packet, 0);
        let result = rewritten(&packet, arriving, leaving, false);
        assert_eq!(result, forwarded(&packet, leaving));
        assert_eq!(get_udp_checksum(&result), 0);
    }
}

#[test]
fn a_wrong_udp_checksum_stays_wrong_by_the_same_difference() {
    let (arriving, leaving) = a_call();
    let right = packet(arriving, 64, 9, b"a payload of odd bytes ");
    for field in 1..=u16::MAX {
        let mut packet = right.clone();
        set_udp_checksum(&mut packet, field);
        let result = rewritten(&packet, arriving, leaving, false);
        assert_eq!(
            difference(get_udp_checksum(&result), udp_checksum(&result)),
            difference(field, get_udp_checksum(&right)),
            "field {field:#06x}"
        );
        assert_ne!(get_udp_checksum(&result), 0, "field {field:#06x}");
    }
}

#[test]
fn a_wrong_ipv4_checksum_stays_wrong_by_the_same_difference() {
    let (arriving, leaving) = a_call();
    let right = packet(arriving, 64, 9, b"payload");
    for field in crate::words() {
        let mut packet = right.clone();
        packet[10..12].copy_from_slice(&field.to_be_bytes());
        let result = rewritten(&packet, arriving, leaving, false);
        assert_eq!(
            difference(get_ip_checksum(&result), ip_checksum(&result[..20])),
            difference(field, get_ip_checksum(&right)),
            "field {field:#06x}"
        );
    }
}

#[test]
fn a_partial_checksum_stays_the_pseudo_headers_sum() {
    for first in crate::words() {
        let ([c, d], [_, leaving]) = (first.to_be_bytes(), <[Flow; 2]>::from(a_call()));
        let arriving = (at([192, 0, c, d], 4_000), at([198, 51, 100, 1], 20_000));
        let mut packet = packet(arriving, 64, 3, b"payload");
        let field = partial_checksum(&packet);
        set_udp_checksum(&mut packet, field);

        let result = rewritten(&packet, arriving, leaving, true);
        let mut wanted = forwarded(&packet, leaving);
        let field = partial_checksum(&wanted);
        set_udp_checksum(&mut wanted, field);
        assert_eq!(result, wanted, "from {}", arriving.0);
        assert_eq!(completed(&result), udp_checksum(&result));
    }
}

#[test]
fn every_partial_checksum_is_exact() {
    let mut left = BTreeSet::new();
    for last in crate::words() {
        let [c, d] = last.to_be_bytes();
        let (arriving, mut leaving) = a_call();
        leaving.1 = at([203, 0, c, d], 65_534);
        let mut packet = packet(arriving, 64, 3, b"");
        let field = partial_checksum(&packet);
        set_udp_checksum(&mut packet, field);

        let result = rewritten(&packet, arriving, leaving, true);
        assert_eq!(get_udp_checksum(&result), partial_checksum(&result));
        left.insert(get_udp_checksum(&result));
    }
    assert_eq!(left, (1..=u16::MAX).collect());
}

#[test]
fn nothing_changes_but_the_ttl_when_a_packet_leaves_as_it_came() {
    let (arriving, _) = a_call();
    for word in crate::words() {
        let packet = packet(arriving, 64, word, &word.to_be_bytes());
        let result = rewritten(&packet, arriving, arriving, false);
        assert_eq!(result, expected(&packet, arriving));
        assert_eq!(get_udp_checksum(&result), get_udp_checksum(&packet));
    }
}

prop_compose! {
    fn any_address()(address in any::<[u8; 4]>(), port in any::<u16>()) -> std::net::SocketAddrV4 {
        at(address, port)
    }
}

fn any_flow() -> impl Strategy<Value = Flow> {
    (any_address(), any_address())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: crate::cases(2_000), ..Default::default() })]

    #[test]
    fn any_packet_leaves_as_a_sender_would_have_made_it(
        arriving in any_flow(),
        leaving in any_flow(),
        ttl in 2..=u8::MAX,
        id in any::<u16>(),
        payload in prop::collection::vec(any::<u8>(), 0..1_473),
    ) {
        let packet = packet(arriving, ttl, id, &payload);
        let result = rewritten(&packet, arriving, leaving, false);
        prop_assert_eq!(result, expected(&packet, leaving));
    }

    #[test]
    fn any_offloaded_packet_is_completed_as_a_sender_would_have_made_it(
        arriving in any_flow(),
        leaving in any_flow(),
        ttl in 2..=u8::MAX,
        payload in prop::collection::vec(any::<u8>(), 0..1_473),
    ) {
        let mut packet = packet(arriving, ttl, 0, &payload);
        let field = partial_checksum(&packet);
        set_udp_checksum(&mut packet, field);
        let mut result = rewritten(&packet, arriving, leaving, true);
        prop_assert_eq!(get_udp_checksum(&result), partial_checksum(&result));
        let checksum = completed(&result);
        set_udp_checksum(&mut result, checksum);
        prop_assert_eq!(result, expected(&packet, leaving));
    }

    #[test]
    fn a_datagram_shorter_than_its_packet_keeps_what_follows_it(
        arriving in any_flow(),
        leaving in any_flow(),
        payload in prop::collection::vec(any::<u8>(), 1..200),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut packet = packet(arriving, 64, 0, &payload);
        let length = 8 + cut.index(payload.len()) as u16;
        packet[24..26].copy_from_slice(&length.to_be_bytes());
        let checksum = udp_checksum(&packet);
        set_udp_checksum(&mut packet, checksum);
        let result = rewritten(&packet, arriving, leaving, false);
        prop_assert_eq!(result, expected(&packet, leaving));
    }
}
