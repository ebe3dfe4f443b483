// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0

//! The sender of RTCP is read from where the RFC has it.

use relay::rtcp;

#[test]
fn the_senders_ssrc_is_the_second_word() {
    // A sender report of one packet and no report blocks (RFC 3550 section 6.4.1).
    let header = [0x80, 200, 0, 6, 0xde, 0xad, 0xbe, 0xef];
    assert_eq!(rtcp::ssrc(&header), 0xdead_beef);
}

#[test]
fn reports_are_those_of_senders_and_receivers() {
    for packet_type in 0..=255 {
        let header = [0x80, packet_type, 0, 1, 0, 0, 0, 0];
        let is_report = [200, 201].contains(&packet_type);
        assert_eq!(rtcp::is_report(&header), is_report, "{packet_type}");
    }
}
