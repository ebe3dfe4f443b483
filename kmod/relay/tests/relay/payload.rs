// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0

//! Every first two bytes at every length that makes a difference, against the tables of the RFCs.

use relay::payload::{classify, Class};

/// RFC 7983 section 7, figure 3.
const DEMULTIPLEXING: [(std::ops::RangeInclusive<u8>, &str); 5] = [
    (0..=3, "STUN"),
    (16..=19, "ZRTP"),
    (20..=63, "DTLS"),
    (64..=79, "TURN channel"),
    (128..=191, "RTP/RTCP"),
];

fn by_the_tables(first: u8, second: u8, length: u16) -> Class {
    let row = DEMULTIPLEXING
        .iter()
        .find(|(range, _)| range.contains(&first));
    let (class, header) = match row.map(|(_, name)| *name) {
        Some("STUN") => (Class::Stun, 20),
        Some("DTLS") => (Class::Dtls, 13),
        Some("RTP/RTCP") => {
            // RFC 5761 section 4: marker and payload type share the octet that RTCP's type fills.
            let payload_type = second % 128;
            let marker = second >= 128;
            if marker && (64..=95).contains(&payload_type) {
                (Class::Rtcp, 8)
            } else {
                (Class::Rtp, 12)
            }
        }
        _ => return Class::Other,
    };
    if length < header {
        Class::Other
    } else {
        class
    }
}

#[test]
fn every_start_of_a_payload_is_told_as_the_rfcs_do() {
    let mut lengths: Vec<u16> = (0..=24).collect();
    lengths.extend([160, 172, 1_472, 65_507, u16::MAX]);
    for start in crate::words() {
        let [first, second] = start.to_be_bytes();
        for length in lengths.iter().copied() {
            assert_eq!(
                classify([first, second], length),
                by_the_tables(first, second, length),
                "{first:#04x} {second:#04x}, {length} bytes"
            );
        }
    }
}

#[test]
fn packets_as_they_are_sent_are_told_apart() {
    // RTP version 2: PCMU, and PCMA with the marker of a talkspurt.
    assert_eq!(classify([0x80, 0x00], 172), Class::Rtp);
    assert_eq!(classify([0x80, 0x88], 172), Class::Rtp);
    // A telephone event, payload type 101, with a CSRC.
    assert_eq!(classify([0x81, 0x65], 20), Class::Rtp);
    // RTCP: sender report, receiver report, goodbye, feedback.
    assert_eq!(classify([0x81, 200], 28), Class::Rtcp);
    assert_eq!(classify([0x80, 201], 8), Class::Rtcp);
    assert_eq!(classify([0x81, 203], 8), Class::Rtcp);
    assert_eq!(classify([0x8f, 205], 20), Class::Rtcp);
    // A binding request, and a DTLS handshake record.
    assert_eq!(classify([0x00, 0x01], 20), Class::Stun);
    assert_eq!(classify([22, 0xfe], 200), Class::Dtls);
    // RTP version 1, SIP, an empty datagram.
    assert_eq!(classify([0x40, 0x00], 172), Class::Other);
    assert_eq!(classify(*b"IN", 400), Class::Other);
    assert_eq!(classify([0, 0], 0), Class::Other);
}
