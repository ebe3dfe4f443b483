// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whatever a UDP payload is: it is told apart as the RFCs say, and its header says what its bytes
//! do.

use relay::payload::{self, Class};
use relay::{rtcp, rtp};

/// A payload.
pub fn check(bytes: &[u8]) {
    let (Some(first_two), Ok(length)) = (bytes.first_chunk(), u16::try_from(bytes.len())) else {
        return;
    };
    let class = payload::classify(*first_two, length);
    assert_eq!(class, expected(bytes));
    match class {
        Class::Rtp => {
            let header = bytes.first_chunk().expect("as long as its header");
            let read = rtp::parse(header);
            assert!(read.payload_type < 128);
            // The bits that are not read: version, padding, extension, sources; marker.
            let mut again = vec![header[0], (header[1] & 0x80) | read.payload_type];
            again.extend(read.sequence.to_be_bytes());
            again.extend(read.timestamp.to_be_bytes());
            again.extend(read.ssrc.to_be_bytes());
            assert_eq!(again, header);
        }
        Class::Rtcp => {
            let header = bytes.first_chunk().expect("as long as its header");
            assert_eq!(rtcp::is_report(header), [200, 201].contains(&bytes[1]));
            assert_eq!(rtcp::ssrc(header).to_be_bytes(), bytes[4..8]);
        }
        Class::Stun | Class::Dtls | Class::Other => {}
    }
}

/// RFC 7983 section 7 and RFC 5761 section 4, with the shortest header of each kind.
fn expected(bytes: &[u8]) -> Class {
    let version = bytes[0] >> 6;
    let (class, shortest) = if version == 2 && bytes[1] >= 192 && bytes[1] < 224 {
        (Class::Rtcp, 8)
    } else if version == 2 {
        (Class::Rtp, 12)
    } else if bytes[0] < 4 {
        (Class::Stun, 20)
    } else if bytes[0] >= 20 && bytes[0] < 64 {
        (Class::Dtls, 13)
    } else {
        (Class::Other, 0)
    };
    if bytes.len() < shortest {
        Class::Other
    } else {
        class
    }
}
