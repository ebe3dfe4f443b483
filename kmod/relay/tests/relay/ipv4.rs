// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0

//! What the relay reads in the headers is what the RFCs wrote there.

use crate::reference::*;
use proptest::prelude::*;
use relay::{
    admission::Refusal,
    arriving::Arriving,
    ipv4::{
        destination, dont_fragment as is_unfragmentable, is_candidate, parse, TransportAddress,
    },
    remote::Remote,
};
use std::net::SocketAddrV4;

fn ordinary() -> [u8; 28] {
    let (a, b) = (at([192, 0, 2, 7], 4_000), at([198, 51, 100, 1], 20_000));
    packet((a, b), 64, 7, b"")[..28].try_into().unwrap()
}

fn ip(headers: &[u8]) -> &[u8; 20] {
    headers[..20].try_into().unwrap()
}

#[test]
fn only_version_4_without_options_is_a_candidate() {
    for first in 0..=u8::MAX {
        let mut headers = ordinary();
        headers[0] = first;
        let (version, words) = (first / 16, first % 16);
        assert_eq!(is_candidate(ip(&headers)), version == 4 && words == 5);
    }
}

#[test]
fn only_udp_is_a_candidate() {
    for protocol in 0..=u8::MAX {
        let mut headers = ordinary();
        headers[9] = protocol;
        assert_eq!(is_candidate(ip(&headers)), protocol == 17);
    }
}

#[test]
fn no_fragment_is_a_candidate() {
    for field in crate::words() {
        let mut headers = ordinary();
        headers[6..8].copy_from_slice(&field.to_be_bytes());
        // RFC 791 section 3.1: bit 1 Don't Fragment, bit 2 More Fragments, 13 bits of offset.
        let more_fragments = (field >> 13) & 1 == 1;
        let offset = field % 8_192;
        assert_eq!(
            is_candidate(ip(&headers)),
            !more_fragments && offset == 0,
            "{field:#06x}"
        );
        let dont_fragment = (field >> 14) & 1 == 1;
        assert_eq!(
            is_unfragmentable(ip(&headers)),
            dont_fragment,
            "{field:#06x}"
        );
    }
}

#[test]
fn no_other_field_makes_a_candidate_or_none() {
    for place in [1, 2, 3, 4, 5, 8, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19] {
        for value in 0..=u8::MAX {
            let mut headers = ordinary();
            headers[place] = value;
            assert!(is_candidate(ip(&headers)), "byte {place} {value:#04x}");
        }
    }
}

#[test]
fn the_payload_is_what_the_udp_header_says_if_the_packet_holds_it() {
    for total_length in (0..=120).chain(1_400..=1_520).chain(65_400..=u16::MAX) {
        let mut headers = ordinary();
        headers[2..4].copy_from_slice(&total_length.to_be_bytes());
        let arriving = parse(&headers);
        for udp_length in (0..=120).chain(1_380..=1_500).chain(65_380..=u16::MAX) {
            let (total, udp) = (i64::from(total_length), i64::from(udp_length));
            let expected = if 8 <= udp && udp <= total - 20 {
                Ok(udp_length - 8)
            } else {
                Err(Refusal::Malformed)
            };
            let arriving = Arriving {
                udp_length,
                ..arriving
            };
            assert_eq!(arriving.payload_length(), expected, "{arriving:?}");
        }
    }
}

#[test]
fn a_packet_is_forwarded_while_a_hop_is_left_after_ours() {
    for ttl in 0..=u8::MAX {
        let mut headers = ordinary();
        headers[8] = ttl;
        assert_eq!(parse(&headers).hops_allow_forwarding(), ttl >= 2);
    }
}

#[test]
fn nobody_sends_as_nobody() {
    for address in [[0; 4], [255; 4], [192, 0, 2, 7]] {
        for port in [0, 1, 0xff00, 0xffff] {
            assert!(Remote::from(None) != TransportAddress::from(at(address, port)));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: crate::cases(5_000), ..Default::default() })]

    #[test]
    fn every_field_is_read_from_its_place(headers in any::<[u8; 28]>()) {
        let wide = |at: usize| u16::from(headers[at]) * 256 + u16::from(headers[at + 1]);
        let address = |from: usize| [headers[from], headers[from + 1], headers[from + 2], headers[from + 3]];
        let arriving = parse(&headers);
        prop_assert_eq!(SocketAddrV4::from(arriving.source), at(address(12), wide(20)));
        prop_assert_eq!(SocketAddrV4::from(arriving.destination), at(address(16), wide(22)));
        prop_assert_eq!(arriving.destination.address().octets(), address(16));
        prop_assert_eq!(arriving.destination.port(), wide(22));
        prop_assert_eq!(arriving.traffic_class, headers[1]);
        prop_assert_eq!(arriving.hops, headers[8]);
        prop_assert_eq!(arriving.room, wide(2).saturating_sub(20));
        prop_assert_eq!(arriving.udp_checksum, wide(26));
        prop_assert_eq!(arriving.udp_length, wide(24));
        prop_assert_eq!(destination(ip(&headers)).octets(), address(16));
    }

    #[test]
    fn an_address_survives_the_way_to_the_wire_and_back(octets in any::<[u8; 4]>(), port in any::<u16>()) {
        let address = at(octets, port);
        prop_assert_eq!(SocketAddrV4::from(TransportAddress::from(address)), address);
        prop_assert_eq!(format!("{:?}", TransportAddress::from(address)), address.to_string());
    }

    #[test]
    fn a_remote_equals_its_own_address_and_no_other(
        (a, b) in any::<([u8; 4], [u8; 4])>(),
        (p, q) in any::<(u16, u16)>(),
    ) {
        let remote = Remote::from(Some(at(a, p).into()));
        prop_assert!(remote == TransportAddress::from(at(a, p)));
        for other in [at(b, p), at(a, q), at(b, q)] {
            prop_assert_eq!(remote == TransportAddress::from(other), other == at(a, p));
        }
        prop_assert!(Remote::from(None) != TransportAddress::from(at(a, p)));
    }

    #[test]
    fn one_bit_of_difference_is_another_address(octets in any::<[u8; 4]>(), port in any::<u16>(), bit in 0..48_u32) {
        let address = (u64::from(u32::from_be_bytes(octets)) << 16) | u64::from(port);
        let other = address ^ (1 << bit);
        let other = at(((other >> 16) as u32).to_be_bytes(), other as u16);
        prop_assert!(Remote::from(Some(at(octets, port).into())) != TransportAddress::from(other));
    }
}
