// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0

//! What is asked of an endpoint is what its packets get.

use crate::reference::*;
use proptest::prelude::*;
use relay::{
    admission::Refusal,
    ipv4, ipv6,
    policy::{Receiving, Sending},
    rtp,
};

fn header(payload_type: u8, ssrc: u32) -> rtp::Header {
    rtp::Header {
        payload_type,
        sequence: 7,
        timestamp: 8,
        ssrc,
    }
}

#[test]
fn nothing_asked_admits_everything() {
    for payload_type in 0..=127 {
        assert_eq!(Receiving::default().admit(&header(payload_type, 1)), Ok(()));
    }
}

#[test]
fn exactly_the_payload_types_asked_for_are_admitted() {
    for wanted in 0..=127 {
        let asked = Receiving {
            payload_types: Some(((1 << wanted) | (1_u128 << 101)).into()),
            ..Receiving::default()
        };
        for payload_type in 0..=127 {
            let expected = if payload_type == wanted || payload_type == 101 {
                Ok(())
            } else {
                Err(Refusal::PayloadType)
            };
            assert_eq!(asked.admit(&header(payload_type, 1)), expected);
        }
    }
}

#[test]
fn only_the_pinned_source_is_admitted() {
    let asked = Receiving {
        ssrc: Some(0x1234_5678),
        ..Receiving::default()
    };
    assert_eq!(asked.admit(&header(0, 0x1234_5678)), Ok(()));
    for bit in 0..32 {
        let other = header(0, 0x1234_5678 ^ (1 << bit));
        assert_eq!(asked.admit(&other), Err(Refusal::ForeignSsrc));
    }
}

#[test]
fn a_new_dscp_keeps_the_ecn_bits() {
    for arrived in 0..=u8::MAX {
        assert_eq!(Sending::default().traffic_class(arrived), arrived);
        for dscp in 0..=63 {
            let asked = Sending {
                dscp: Some(dscp),
                ..Sending::default()
            };
            let class = asked.traffic_class(arrived);
            assert_eq!((class >> 2, class & 3), (dscp, arrived & 3));
            assert!(asked.changes_headers());
        }
    }
    assert!(!Sending::default().changes_headers());
}

#[test]
fn every_type_of_service_and_ttl_leaves_a_right_ipv4_checksum() {
    let flow = (at([192, 0, 2, 7], 4_000), at([198, 51, 100, 1], 20_000));
    for class in 0..=u8::MAX {
        for ttl in 0..=u8::MAX {
            let mut packet = packet(flow, 64, u16::from(class) * 256 + u16::from(ttl), b"x");
            let before = packet.clone();
            let headers = (&mut packet[..ipv4::HEADERS]).try_into().unwrap();
            ipv4::mark(headers, class, ttl);
            let mut wanted = before;
            wanted[1] = class;
            wanted[8] = ttl;
            set_ip_checksum(&mut wanted);
            assert_eq!(packet, wanted);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: crate::cases(5_000), ..Default::default() })]

    #[test]
    fn every_rtp_field_is_read_from_its_place(start in any::<[u8; 40]>()) {
        let bytes = &start[28..];
        let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        let header = rtp::parse(rtp::at_end_of(&start));
        prop_assert_eq!(header.payload_type, bytes[1] % 128);
        prop_assert_eq!(u32::from(header.sequence), word(0) % 65_536);
        prop_assert_eq!(header.timestamp, word(4));
        prop_assert_eq!(header.ssrc, word(8));
    }

    #[test]
    fn a_marked_ipv6_header_is_as_its_sender_would_have_made_it(
        (a, b) in any::<([u8; 16], [u8; 16])>(),
        (old, new) in any::<(u8, u8)>(),
        hops in any::<u8>(),
    ) {
        let flow = (at6(a, 1), at6(b, 2));
        let mut packet = packet6(flow, 64, old, b"x");
        let headers = (&mut packet[..ipv6::HEADERS]).try_into().unwrap();
        ipv6::mark(headers, new, hops);
        prop_assert_eq!(packet, packet6(flow, hops, new, b"x"));
    }
}
