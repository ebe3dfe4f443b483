// SPDX-License-Identifier: MIT OR Apache-2.0

//! Packets, with where they are to leave to before them.

use crate::Seeds;
use reference::{at, at6, packet, packet6};

#[expect(dead_code, reason = "the tests of the crate use all of it")]
#[path = "../../../kmod/relay/tests/relay/reference.rs"]
mod reference;

const RTP: [u8; 12] = [0x80, 0, 0x12, 0x34, 0, 0, 3, 0xe8, 0xde, 0xad, 0xbe, 0xef];
const PARTY: [u8; 4] = [192, 0, 2, 10];
const RELAY: [u8; 4] = [10, 0, 0, 5];
const PARTY6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10];
const RELAY6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5];

fn leaving4() -> Vec<u8> {
    let ports = [20_002_u16, 41_000].map(u16::to_le_bytes);
    [&RELAY[..], &ports[0], &[10, 0, 0, 20], &ports[1]].concat()
}

fn leaving6() -> Vec<u8> {
    let ports = [20_002_u16, 41_000].map(u16::to_le_bytes);
    [&RELAY6[..], &ports[0], &PARTY6, &ports[1]].concat()
}

/// A seed: where it leaves to, whether a device completes its checksum, the packet.
fn seed(leaving: Vec<u8>, is_partial: bool, packet: &[u8]) -> Vec<u8> {
    [&leaving[..], &[is_partial.into()], packet].concat()
}

/// A packet with other bytes at some places.
fn with(packet: &[u8], changes: &[(usize, u8)]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    for (at, byte) in changes {
        packet[*at] = *byte;
    }
    packet
}

pub fn ipv4() -> Seeds {
    let flow = (at(PARTY, 4000), at(RELAY, 20_000));
    let rtp = packet(flow, 64, 7, &RTP);
    let partial = {
        let mut partial = rtp.clone();
        let checksum = reference::partial_checksum(&partial);
        reference::set_udp_checksum(&mut partial, checksum);
        partial
    };
    let changed = |changes: &[(usize, u8)]| seed(leaving4(), false, &with(&rtp, changes));
    vec![
        ("rtp", seed(leaving4(), false, &rtp)),
        ("rtp-checksum-by-device", seed(leaving4(), true, &partial)),
        ("without-udp-checksum", changed(&[(26, 0), (27, 0)])),
        ("wrong-udp-checksum", changed(&[(26, 0x12), (27, 0x34)])),
        ("udp-checksum-all-ones", changed(&[(26, 0xff), (27, 0xff)])),
        ("last-hop", changed(&[(8, 1)])),
        ("no-hops", changed(&[(8, 0)])),
        ("options", changed(&[(0, 0x46)])),
        ("fragment", changed(&[(6, 0x20)])),
        ("fragment-offset", changed(&[(7, 1)])),
        ("tcp", changed(&[(9, 6)])),
        ("ipv6-version", changed(&[(0, 0x65)])),
        ("total-length-zero", changed(&[(2, 0), (3, 0)])),
        ("udp-length-too-large", changed(&[(24, 0xff), (25, 0xff)])),
        ("udp-length-too-small", changed(&[(24, 0), (25, 7)])),
        ("without-payload", {
            seed(leaving4(), false, &packet(flow, 64, 7, &[]))
        }),
        ("odd-payload", {
            seed(leaving4(), false, &packet(flow, 64, 7, &RTP[..11]))
        }),
        ("headers-only", seed(leaving4(), false, &rtp[..28])),
        ("same-addresses", {
            let same = [&PARTY[..], &[0xa0, 0x0f], &RELAY, &[0x20, 0x4e]].concat();
            seed(same, false, &rtp)
        }),
        ("to-all-zeros", seed(vec![0; 12], false, &rtp)),
    ]
}

pub fn ipv6() -> Seeds {
    let flow = (at6(PARTY6, 4000), at6(RELAY6, 20_000));
    let rtp = packet6(flow, 64, 0xb8, &RTP);
    let partial = {
        let mut partial = rtp.clone();
        let checksum = reference::partial_checksum6(&partial);
        reference::set_udp_checksum6(&mut partial, checksum);
        partial
    };
    let changed = |changes: &[(usize, u8)]| seed(leaving6(), false, &with(&rtp, changes));
    vec![
        ("rtp", seed(leaving6(), false, &rtp)),
        ("rtp-checksum-by-device", seed(leaving6(), true, &partial)),
        ("without-udp-checksum", changed(&[(46, 0), (47, 0)])),
        ("wrong-udp-checksum", changed(&[(46, 0x12), (47, 0x34)])),
        ("udp-checksum-all-ones", changed(&[(46, 0xff), (47, 0xff)])),
        ("last-hop", changed(&[(7, 1)])),
        ("no-hops", changed(&[(7, 0)])),
        ("flow-label", changed(&[(1, 0x8f), (2, 0xff), (3, 0xff)])),
        ("hop-by-hop-options", changed(&[(6, 0)])),
        ("fragment", changed(&[(6, 44)])),
        ("ipv4-version", changed(&[(0, 0x45)])),
        ("payload-length-zero", changed(&[(4, 0), (5, 0)])),
        ("udp-length-zero", changed(&[(44, 0), (45, 0)])),
        ("udp-length-too-large", changed(&[(44, 0xff), (45, 0xff)])),
        ("without-payload", {
            seed(leaving6(), false, &packet6(flow, 64, 0, &[]))
        }),
        ("odd-payload", {
            seed(leaving6(), false, &packet6(flow, 64, 0, &RTP[..11]))
        }),
        ("headers-only", seed(leaving6(), false, &rtp[..48])),
        ("to-all-zeros", seed(vec![0; 36], false, &rtp)),
    ]
}

pub fn translation() -> Seeds {
    let seed = |hops: u8, class: u8, payload: &[u8]| {
        [&leaving4()[..], &leaving6(), &[hops, class], payload].concat()
    };
    vec![
        ("rtp", seed(64, 0xb8, &RTP)),
        ("few-hops", seed(3, 0, &RTP)),
        ("most-hops", seed(255, 0xff, &RTP)),
        ("congestion-experienced", seed(64, 3, &RTP)),
        ("without-payload", seed(64, 0, &[])),
        ("odd-payload", seed(64, 0, &RTP[..11])),
        ("largest-payload", seed(64, 0, &[0xa5; 1400])),
        ("checksum-zero", seed(64, 0, &[0xff; 64])),
    ]
}
