// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0

//! What is not promised, in figures, so that it is known when it changes.

use super::{at, housemate, nat, neighbour, open, party, stranger, Endpoint, OTHER_SSRC, SSRC};
use relay::learning::{Policy, Refusal, Source, Verdict};

/// How many packets of the party come until it is sent to, when an attacker was first and goes on
/// sending. `None` when it never is.
fn packets_until_learned(policy: Policy, attacker: Source, head_start: u16) -> Option<u16> {
    let mut endpoint = Endpoint::new(policy);
    for n in 0..head_start {
        endpoint.rtp(attacker, OTHER_SSRC, n);
    }
    for n in 0..1_000 {
        if endpoint.remote() == Some(party()) {
            return Some(n);
        }
        endpoint.rtp(party(), SSRC, n);
        endpoint.rtp(attacker, OTHER_SSRC, head_start + n);
    }
    None
}

#[test]
fn in_open_mode_a_stranger_that_is_first_gets_all_until_somebody_nearer_comes() {
    // It has not locked: the first packet of the party ends it.
    assert_eq!(packets_until_learned(open(), stranger(), 1), Some(1));
    assert_eq!(packets_until_learned(open(), stranger(), 4), Some(1));
    // It has: the party must be confirmed.
    assert_eq!(packets_until_learned(open(), stranger(), 5), Some(5));
    assert_eq!(packets_until_learned(open(), stranger(), 1_000), Some(5));
}

#[test]
fn in_open_mode_a_stranger_that_is_first_keeps_out_a_party_that_is_one_too() {
    let policy = Policy {
        media: None,
        signalling: None,
        ..open()
    };
    assert_eq!(packets_until_learned(policy, stranger(), 0), Some(1));
    assert_eq!(packets_until_learned(policy, stranger(), 1), None);
}

#[test]
fn a_neighbour_that_is_first_gets_all_until_the_party_comes() {
    assert_eq!(packets_until_learned(nat(), neighbour(), 4), Some(1));
    assert_eq!(packets_until_learned(nat(), neighbour(), 1_000), Some(5));
}

#[test]
fn who_shares_the_address_of_a_party_and_is_first_keeps_it_out() {
    assert_eq!(packets_until_learned(nat(), housemate(), 0), Some(1));
    assert_eq!(packets_until_learned(nat(), housemate(), 1), None);
    // Unless the SSRC was signalled.
    let policy = Policy {
        ssrc: Some(SSRC),
        ..nat()
    };
    assert_eq!(packets_until_learned(policy, housemate(), 1_000), Some(1));
}

#[test]
fn who_has_the_address_of_signalling_keeps_a_better_party_out_after_the_window() {
    let policy = Policy {
        media: Some(party()),
        signalling: Some(at("192.0.2.1:0").address),
        ..nat()
    };
    let proxy = at("192.0.2.1:7000");
    // At 20 ms a packet, 150 are within the 3 s of the window.
    assert_eq!(packets_until_learned(policy, proxy, 4), Some(1));
    assert_eq!(packets_until_learned(policy, proxy, 100), Some(5));
    assert_eq!(packets_until_learned(policy, proxy, 160), None);
}

#[test]
fn a_party_in_another_network_is_not_learned() {
    let mut endpoint = Endpoint::new(nat());
    let verdict = endpoint.stream(stranger(), SSRC, 0, 1_000);
    assert_eq!(verdict, Verdict::Refuse(Refusal::ForeignSource));
    assert_eq!(endpoint.remote(), None);
}
