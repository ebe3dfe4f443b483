// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0

//! One rule after another.

use super::{at, housemate, nat, neighbour, open, party, stranger, Endpoint, OTHER_SSRC, SSRC};
use relay::{
    admission::Carries,
    learning::{Mode, Packet, Policy, Rank, Refusal, Roam, Source, State, Verdict},
    payload::Class,
    policy::{Learning, Receiving, Sending},
    validate,
};

const CLASSES: [Class; 5] = [
    Class::Rtp,
    Class::Rtcp,
    Class::Stun,
    Class::Dtls,
    Class::Other,
];

#[test]
fn sources_are_ranked_by_what_was_signalled() {
    for (source, nat_rank, open_rank) in [
        ("192.168.1.10:4000", Some(Rank::Exact), Rank::Exact),
        (
            "192.168.1.10:4001",
            Some(Rank::MediaAddress),
            Rank::MediaAddress,
        ),
        (
            "203.0.113.7:4000",
            Some(Rank::SignallingAddress),
            Rank::SignallingAddress,
        ),
        ("192.168.1.255:1", Some(Rank::Neighbour), Rank::Neighbour),
        ("203.0.113.0:4000", Some(Rank::Neighbour), Rank::Neighbour),
        ("192.168.2.10:4000", None, Rank::Stranger),
        ("203.0.112.7:4000", None, Rank::Stranger),
        (
            "[::ffff:203.0.113.9]:4000",
            Some(Rank::Neighbour),
            Rank::Neighbour,
        ),
        // All mapped addresses share a /64, and are none of it.
        ("[::ffff:0:203.0.113.7]:4000", None, Rank::Stranger),
        ("[::1]:4000", None, Rank::Stranger),
    ] {
        assert_eq!(nat().rank(at(source)), nat_rank, "{source}");
        assert_eq!(open().rank(at(source)), Some(open_rank), "{source}");
        let signalled = Policy {
            mode: Mode::Signalled,
            ..nat()
        };
        let exact = nat_rank.filter(|rank| *rank == Rank::Exact);
        assert_eq!(signalled.rank(at(source)), exact, "{source}");
    }
}

#[test]
fn ipv6_neighbours_share_64_bits() {
    let policy = Policy {
        media: Some(at("[2001:db8:1:1::10]:4000")),
        signalling: Some(at("203.0.113.7:0").address),
        ..nat()
    };
    let rank = |source| policy.rank(at(source));
    assert_eq!(rank("[2001:db8:1:1:ffff::]:9"), Some(Rank::Neighbour));
    assert_eq!(rank("[2001:db8:1:2::10]:4000"), None);
    assert_eq!(rank("203.0.113.8:9"), Some(Rank::Neighbour));
}

#[test]
fn nobody_is_the_remote_before_anybody_is_heard() {
    for policy in [nat(), open()] {
        let state = State::new(&policy, 0);
        assert_eq!((state.remote(), state.is_locked()), (None, false));
    }
}

#[test]
fn in_signalled_mode_the_remote_is_the_signalled() {
    let policy = Policy {
        mode: Mode::Signalled,
        ..nat()
    };
    let state = State::new(&policy, 0);
    assert_eq!((state.remote(), state.is_locked()), (policy.media, true));
    // On hold it is nobody.
    let held = Policy {
        media: None,
        ..policy
    };
    let mut endpoint = Endpoint::new(held);
    endpoint.state = state.signalled_again(&held, 1);
    for source in [at("192.168.1.10:4000"), party(), stranger()] {
        let verdict = endpoint.stream(source, SSRC, 0, 10);
        assert_eq!(verdict, Verdict::Refuse(Refusal::ForeignSource));
    }
    assert_eq!(endpoint.remote(), None);
}

#[test]
fn the_first_acceptable_source_is_adopted_and_locks_when_it_is_consistent() {
    let mut endpoint = Endpoint::new(nat());
    let verdicts = [65_534, 65_535, 0, 7, 8, 9].map(|n| endpoint.rtp(party(), SSRC, n));
    use Verdict::{Adopt, Lock, Relay};
    assert_eq!(verdicts, [Adopt, Relay, Relay, Relay, Lock, Relay]);
}

#[test]
fn late_packets_and_duplicates_do_not_confirm() {
    let mut endpoint = Endpoint::new(nat());
    for n in [10, 11, 11, 10, 9, 12, 12, 13, 5] {
        assert_ne!(endpoint.rtp(party(), SSRC, n), Verdict::Lock);
    }
    assert_eq!(endpoint.rtp(party(), SSRC, 14), Verdict::Lock);
}

#[test]
fn another_ssrc_begins_anew() {
    let mut endpoint = Endpoint::new(nat());
    endpoint.stream(party(), SSRC, 0, 4);
    assert_eq!(endpoint.stream(party(), OTHER_SSRC, 4, 4), Verdict::Relay);
    assert_eq!(endpoint.rtp(party(), OTHER_SSRC, 8), Verdict::Lock);
}

#[test]
fn only_what_an_endpoint_carries_is_learned_from() {
    for (carries, learned_from) in [(Carries::Rtp, Class::Rtp), (Carries::Rtcp, Class::Rtcp)] {
        for class in CLASSES {
            let mut endpoint = Endpoint::new(Policy { carries, ..nat() });
            let mut hear = |source, sequence| {
                endpoint.hear(Packet {
                    source,
                    class,
                    ssrc: SSRC,
                    sequence,
                })
            };
            let verdicts = [0, 1, 2, 3, 4].map(|n| hear(party(), n));
            if class == learned_from {
                assert_eq!(verdicts.first(), Some(&Verdict::Adopt));
                assert_eq!(verdicts.last(), Some(&Verdict::Lock));
            } else {
                assert_eq!(verdicts, [Verdict::Refuse(Refusal::DoesNotCount); 5]);
                assert_eq!(endpoint.remote(), None);
            }
        }
    }
}

#[test]
fn what_else_the_remote_sends_is_relayed_and_confirms_nothing() {
    for class in CLASSES.into_iter().filter(|class| *class != Class::Rtp) {
        let mut endpoint = Endpoint::new(nat());
        endpoint.rtp(party(), SSRC, 0);
        for sequence in 1..100 {
            let verdict = endpoint.hear(Packet {
                source: party(),
                class,
                ssrc: SSRC,
                sequence,
            });
            assert_eq!(verdict, Verdict::Relay);
        }
        assert!(!endpoint.state.is_locked());
    }
}

#[test]
fn reports_need_no_sequence_to_confirm() {
    let mut endpoint = Endpoint::new(Policy {
        carries: Carries::Rtcp,
        confirmations: Policy::RTCP_CONFIRMATIONS,
        ..nat()
    });
    let report = Packet {
        source: party(),
        class: Class::Rtcp,
        ssrc: SSRC,
        sequence: 0,
    };
    assert_eq!(endpoint.hear(report), Verdict::Adopt);
    endpoint.wait(5_000);
    assert_eq!(endpoint.hear(report), Verdict::Lock);
}

#[test]
fn only_the_signalled_ssrc_counts() {
    let mut endpoint = Endpoint::new(Policy {
        ssrc: Some(SSRC),
        ..nat()
    });
    let verdict = endpoint.stream(housemate(), OTHER_SSRC, 0, 10);
    assert_eq!(verdict, Verdict::Refuse(Refusal::DoesNotCount));
    assert_eq!(endpoint.stream(party(), SSRC, 0, 5), Verdict::Lock);
}

#[test]
fn a_better_source_displaces_a_worse_one_at_once_before_it_locks() {
    let mut endpoint = Endpoint::new(open());
    for source in [
        stranger(),
        neighbour(),
        party(),
        at("192.168.1.10:4444"),
        at("192.168.1.10:4000"),
    ] {
        assert_eq!(endpoint.stream(source, SSRC, 0, 4), Verdict::Relay);
        assert_eq!(endpoint.remote(), Some(source));
    }
}

#[test]
fn an_equal_or_worse_source_waits_until_the_remote_is_silent() {
    for other in [housemate(), neighbour()] {
        let mut endpoint = Endpoint::new(nat());
        endpoint.rtp(party(), SSRC, 0);
        endpoint.wait(u64::from(Policy::SILENCE_MS) - 21);
        let verdict = endpoint.rtp(other, OTHER_SSRC, 0);
        assert_eq!(verdict, Verdict::Refuse(Refusal::ForeignSource));
        assert_eq!(endpoint.rtp(other, OTHER_SSRC, 1), Verdict::Adopt);
    }
}

#[test]
fn a_better_source_displaces_a_locked_one_within_the_window_when_it_is_confirmed() {
    let exact = at("192.168.1.10:4000");
    let locked = || {
        let mut endpoint = Endpoint::new(nat());
        assert_eq!(endpoint.stream(party(), SSRC, 0, 5), Verdict::Lock);
        endpoint
    };
    let mut endpoint = locked();
    let verdict = endpoint.stream(exact, OTHER_SSRC, 0, 4);
    assert_eq!(verdict, Verdict::Refuse(Refusal::Unconfirmed));
    assert_eq!(endpoint.rtp(exact, OTHER_SSRC, 4), Verdict::Lock);
    assert_eq!(endpoint.remote(), Some(exact));

    let mut endpoint = locked();
    endpoint.wait(Policy::WINDOW_MS.into());
    let verdict = endpoint.stream(exact, OTHER_SSRC, 0, 100);
    assert_eq!(verdict, Verdict::Refuse(Refusal::ForeignSource));
}

#[test]
fn a_contender_that_is_not_consistent_gives_way() {
    let mut endpoint = Endpoint::new(nat());
    endpoint.stream(neighbour(), SSRC, 0, 5);
    assert!(endpoint.state.is_locked());
    let refused = Verdict::Refuse(Refusal::Unconfirmed);
    // A housemate of the party comes first and changes its SSRC each time.
    for n in 0..20_u16 {
        assert_eq!(endpoint.rtp(housemate(), n.into(), n), refused);
        if endpoint.rtp(party(), SSRC, n) == Verdict::Lock {
            break;
        }
    }
    assert_eq!(endpoint.remote(), Some(party()));
}

#[test]
fn a_better_contender_displaces_a_worse_one_at_once() {
    let mut endpoint = Endpoint::new(nat());
    endpoint.stream(neighbour(), SSRC, 0, 5);
    assert!(endpoint.state.is_locked());
    let exact = at("192.168.1.10:4000");
    for n in 0..5 {
        // A duplicate: its sender is not silent and is not confirmed.
        endpoint.rtp(party(), SSRC, 0);
        endpoint.rtp(exact, OTHER_SSRC, n);
    }
    assert_eq!(endpoint.remote(), Some(exact));
}

#[test]
fn new_signalling_opens_a_lock_and_keeps_the_remote_that_is_still_acceptable() {
    let mut endpoint = Endpoint::new(nat());
    endpoint.stream(party(), SSRC, 0, 5);
    let state = endpoint.state.signalled_again(&nat(), endpoint.now);
    assert_eq!((state.remote(), state.is_locked()), (Some(party()), false));
    // Its packets lock it again.
    endpoint.state = state;
    assert_eq!(endpoint.stream(party(), SSRC, 5, 5), Verdict::Lock);
    // Silent, it gives way to another mapping of the same NAT.
    endpoint.state = state;
    endpoint.wait(300);
    assert_eq!(endpoint.rtp(housemate(), SSRC, 5), Verdict::Adopt);

    // Signalling that names another network.
    let elsewhere = Policy {
        media: Some(at("198.51.100.9:4000")),
        signalling: None,
        ..nat()
    };
    assert_eq!(state.signalled_again(&elsewhere, 0).remote(), None);
}

#[test]
fn what_cannot_be_sent_to_is_never_learned() {
    let unusable = [
        "0.0.0.0:4000",
        "255.255.255.255:4000",
        "224.0.0.1:4000",
        "239.255.255.255:4000",
        "127.0.0.1:4000",
        "127.255.255.254:4000",
        "203.0.113.7:0",
        "[::]:4000",
        "[::1]:4000",
        "[ff02::1]:4000",
        "[::ffff:127.0.0.1]:4000",
        "[::ffff:224.0.0.1]:4000",
    ];
    for source in unusable.map(at) {
        // Even where it was signalled so.
        for media in [None, Some(source)] {
            let mut endpoint = Endpoint::new(Policy { media, ..open() });
            let verdict = endpoint.stream(source, SSRC, 0, 10);
            let refused = Verdict::Refuse(Refusal::UnusableSource);
            assert_eq!(verdict, refused, "{source:?}");
            assert_eq!(endpoint.remote(), None);
        }
    }
}

#[test]
fn loopback_is_learned_by_an_endpoint_on_loopback() {
    let mut endpoint = Endpoint::new(Policy {
        loopback: true,
        ..open()
    });
    let verdict = endpoint.rtp(at("127.0.0.1:4000"), SSRC, 0);
    assert_eq!(verdict, Verdict::Adopt);
}

#[test]
fn the_relays_own_ports_are_never_learned() {
    let is_own = |source: Source| source == housemate();
    let policy = open();
    let mut state = State::new(&policy, 0);
    for (now, sequence) in (0..1_000).step_by(20).zip(0..) {
        let packet = Packet {
            source: housemate(),
            class: Class::Rtp,
            ssrc: SSRC,
            sequence,
        };
        let (next, verdict) = state.hear(&policy, &packet, None, is_own, now);
        assert_eq!(verdict, Verdict::Refuse(Refusal::UnusableSource));
        state = next;
    }
    assert_eq!(state, State::new(&policy, 0));
}

#[test]
fn whether_a_source_is_the_relays_own_is_only_asked_when_that_decides() {
    let mut endpoint = Endpoint::new(nat());
    endpoint.stream(party(), SSRC, 0, 10);
    let packet = |source, class| Packet {
        source,
        class,
        ssrc: SSRC,
        sequence: 10,
    };
    for heard in [
        packet(party(), Class::Rtp),
        packet(housemate(), Class::Rtp),
        packet(housemate(), Class::Rtcp),
        packet(neighbour(), Class::Rtp),
        packet(stranger(), Class::Rtp),
    ] {
        let is_own = |source| panic!("asked about {source:?}");
        let _ = endpoint
            .state
            .hear(&endpoint.policy, &heard, None, is_own, endpoint.now);
    }
}

/// An endpoint of which this is asked.
fn signalled(remote: Option<&str>, learning: Learning) -> validate::Endpoint {
    validate::Endpoint {
        local: "192.0.2.1:20000".parse().unwrap(),
        remote: remote.map(|remote| remote.parse().unwrap()),
        sending: Sending::default(),
        receiving: Receiving::default(),
        learning,
    }
}

#[test]
fn what_is_not_asked_is_chosen_by_what_is_carried() {
    let asked = Learning {
        mode: Mode::Nat,
        signalling: Some("203.0.113.7".parse().unwrap()),
        ..Learning::default()
    };
    let endpoint = signalled(Some("192.168.1.10:4000"), asked);
    assert_eq!(Policy::new(Carries::Rtp, &endpoint), nat());
    let rtcp = Policy {
        carries: Carries::Rtcp,
        confirmations: Policy::RTCP_CONFIRMATIONS,
        ..nat()
    };
    assert_eq!(Policy::new(Carries::Rtcp, &endpoint), rtcp);
}

#[test]
fn what_is_asked_is_done() {
    let roam = Roam {
        silence_ms: 4,
        sequences: 5,
    };
    let asked = Learning {
        mode: Mode::Open,
        signalling: None,
        confirmations: Some(1),
        window_ms: Some(2),
        silence_ms: Some(3),
        roam: Some(roam),
    };
    let endpoint = validate::Endpoint {
        local: "127.0.0.1:20000".parse().unwrap(),
        receiving: Receiving {
            ssrc: Some(SSRC),
            ..Receiving::default()
        },
        ..signalled(Some("192.168.1.10:4000"), asked)
    };
    let expected = Policy {
        mode: Mode::Open,
        signalling: None,
        ssrc: Some(SSRC),
        confirmations: 1,
        window_ms: 2,
        silence_ms: 3,
        roam: Some(roam),
        loopback: true,
        ..nat()
    };
    assert_eq!(Policy::new(Carries::Rtp, &endpoint), expected);
}

#[test]
fn nobody_is_learned_on_hold() {
    for mode in [Mode::Signalled, Mode::Nat, Mode::Open] {
        let asked = Learning {
            mode,
            signalling: Some("203.0.113.7".parse().unwrap()),
            ..Learning::default()
        };
        let policy = Policy::new(Carries::Rtp, &signalled(None, asked));
        let mut endpoint = Endpoint::new(policy);
        for source in [party(), neighbour(), stranger()] {
            endpoint.stream(source, SSRC, 0, 10);
            assert_eq!(policy.rank(source), None);
        }
        assert_eq!(endpoint.remote(), None);
        // Also when it was known before.
        let mut before = Endpoint::new(nat());
        before.stream(party(), SSRC, 0, 10);
        assert_eq!(before.state.signalled_again(&policy, 0).remote(), None);
    }
}
