// SPDX-License-Identifier: GPL-2.0

//! The sender of RTCP is read from where the RFC has it.

use relay::rtcp;

#[test]
fn the_senders_ssrc_is_the_second_word() {
    // A sender report of one packet and no report blocks (RFC 3550 section 6.4.1).
    let header = [0x80, 200, 0, 6, 0xde, 0xad, 0xbe, 0xef];
    assert_eq!(rtcp::ssrc(&header), 0xdead_beef);
}
