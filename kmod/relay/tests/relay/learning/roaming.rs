// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0

//! A remote that moves is followed, and nobody in its place.

use super::{housemate, nat, neighbour, open, party, stranger, Endpoint, SSRC};
use proptest::{collection::vec, prelude::*};
use relay::{
    learning::{Mode, Packet, Policy, Refusal, Roam, Source, Verdict},
    payload::Class,
};

const ROAM: Roam = Roam {
    silence_ms: 200,
    sequences: 500,
};
const UNCONFIRMED: Verdict = Verdict::Refuse(Refusal::Unconfirmed);
const FOREIGN: Verdict = Verdict::Refuse(Refusal::ForeignSource);

/// The party behind NAT, after another mapping was made for it.
fn moved() -> Source {
    housemate()
}

/// Has learned the party, whose last sequence number was 9.
fn learned(policy: Policy) -> Endpoint {
    let mut endpoint = Endpoint::new(Policy {
        roam: Some(ROAM),
        ..policy
    });
    endpoint.stream(party(), SSRC, 0, 10);
    assert!(endpoint.state.is_locked());
    endpoint
}

#[test]
fn a_party_that_moved_is_followed_within_half_a_second() {
    let mut endpoint = learned(nat());
    let moved_at = endpoint.now;
    let mut sequence = 10;
    // It goes on every 20 ms.
    while endpoint.remote() == Some(party()) {
        endpoint.rtp(moved(), SSRC, sequence);
        sequence += 1;
        assert!(endpoint.now - moved_at < 500);
    }
    assert_eq!(endpoint.remote(), Some(moved()));
    assert!(endpoint.state.is_locked());
    // 200 ms of silence, the packet that ends it among five.
    assert_eq!(endpoint.now - moved_at, 280);
}

#[test]
fn nobody_is_followed_while_the_old_source_sends() {
    let mut endpoint = learned(nat());
    for n in 10..1_000 {
        endpoint.rtp(party(), SSRC, n);
        assert_eq!(endpoint.rtp(moved(), SSRC, n + 1), FOREIGN);
    }
    // Not when it falls silent for a moment and comes back, either.
    endpoint.wait(500);
    assert_eq!(endpoint.rtp(moved(), SSRC, 1_001), UNCONFIRMED);
    endpoint.rtp(party(), SSRC, 1_000);
    for n in 1_002..1_011 {
        assert_eq!(endpoint.rtp(moved(), SSRC, n), FOREIGN);
    }
    assert_eq!(endpoint.remote(), Some(party()));
}

#[test]
fn only_the_numbers_that_follow_are_followed() {
    for (first, verdict) in [
        (8, FOREIGN),
        (9, FOREIGN),
        (10, UNCONFIRMED),
        (9 + ROAM.sequences, UNCONFIRMED),
        (10 + ROAM.sequences, FOREIGN),
        (40_000, FOREIGN),
    ] {
        let mut endpoint = learned(nat());
        endpoint.wait(1_000);
        assert_eq!(endpoint.rtp(moved(), SSRC, first), verdict, "{first}");
    }
}

#[test]
fn only_what_counts_is_followed() {
    for class in [Class::Rtcp, Class::Stun, Class::Dtls, Class::Other] {
        let mut endpoint = learned(nat());
        endpoint.wait(1_000);
        for sequence in 10..100 {
            endpoint.hear(Packet {
                source: moved(),
                class,
                ssrc: SSRC,
                sequence,
            });
        }
        assert_eq!(endpoint.remote(), Some(party()), "{class:?}");
    }
}

#[test]
fn an_endpoint_roams_only_where_it_may_learn() {
    for (policy, to, verdict) in [
        (nat(), neighbour(), Verdict::Lock),
        (nat(), stranger(), FOREIGN),
        (open(), stranger(), Verdict::Lock),
    ] {
        let mut endpoint = learned(policy);
        endpoint.wait(1_000);
        assert_eq!(endpoint.stream(to, SSRC, 10, 5), verdict);
    }
    let mut endpoint = learned(Policy {
        mode: Mode::Signalled,
        media: Some(party()),
        ..nat()
    });
    endpoint.wait(1_000);
    assert_eq!(endpoint.stream(moved(), SSRC, 10, 5), FOREIGN);
}

#[test]
fn an_endpoint_that_may_not_roam_does_not() {
    let mut endpoint = learned(nat());
    endpoint.policy.roam = None;
    endpoint.wait(10_000);
    assert_eq!(endpoint.stream(moved(), SSRC, 10, 100), FOREIGN);
}

/// A packet of an attacker that has the party's address and does not know its SSRC.
fn guess() -> impl Strategy<Value = (u16, u32, u16)> {
    (6_000..7_000_u16, any::<u32>(), any::<u16>())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn an_attacker_that_races_a_moved_party_never_wins(
        guesses in vec(vec(guess(), 0..20), 14),
    ) {
        let mut endpoint = learned(nat());
        let to = Source { port: 50_001, ..party() };
        for (n, guesses) in (10_u16..).zip(guesses) {
            for (port, ssrc, sequence) in guesses {
                prop_assume!(ssrc != SSRC);
                let source = Source { port, ..party() };
                let verdict = endpoint.rtp(source, ssrc, sequence);
                prop_assert_eq!(verdict, FOREIGN);
                // What is sent in between takes no time.
                endpoint.now -= 20;
            }
            endpoint.rtp(to, SSRC, n);
        }
        prop_assert_eq!(endpoint.remote(), Some(to));
    }
}
