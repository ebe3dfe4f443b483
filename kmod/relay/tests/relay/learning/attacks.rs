// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0

//! Every order of packets from the party and from attackers, up to a length.

use super::{at, housemate, nat, neighbour, party, stranger, Endpoint, OTHER_SSRC, SSRC};
use crate::steps;
use relay::{
    learning::{Mode, Packet, Policy, Roam, Source, Verdict},
    payload::Class,
};

const CONFIRMATIONS: u16 = Policy::RTP_CONFIRMATIONS as u16;

/// An endpoint, and how far each sender has counted.
#[derive(Clone, Copy)]
struct World {
    endpoint: Endpoint,
    /// Of the party. It is known to those attackers that know its SSRC.
    sequence: u16,
    /// Of the others.
    other_sequence: u16,
}

/// What may happen next.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// A packet of the party from there.
    Party(Source),
    /// An RTCP packet of the party from there.
    PartyReport(Source),
    /// A packet with a number of its own.
    Attack(Source),
    /// So many packets that an endpoint locks.
    Burst(Source),
    /// A packet as the party would send it next.
    Forgery(Source),
    /// An RTCP packet with the party's SSRC.
    ForgedReport(Source),
    /// Nothing, for so many milliseconds.
    Silence(u64),
    /// A new offer or answer that says the same.
    Signalling,
}

impl World {
    fn new(policy: Policy) -> Self {
        Self {
            endpoint: Endpoint::new(policy),
            sequence: 65_530,
            other_sequence: 100,
        }
    }

    fn attack(&mut self, source: Source) -> Verdict {
        self.other_sequence = self.other_sequence.wrapping_add(1);
        self.endpoint.rtp(source, OTHER_SSRC, self.other_sequence)
    }

    fn report(&mut self, source: Source) {
        self.endpoint.hear(Packet {
            source,
            class: Class::Rtcp,
            ssrc: SSRC,
            sequence: 0,
        });
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Party(source) => {
                self.sequence = self.sequence.wrapping_add(1);
                self.endpoint.rtp(source, SSRC, self.sequence);
            }
            Event::PartyReport(source) | Event::ForgedReport(source) => self.report(source),
            Event::Attack(source) => {
                self.attack(source);
            }
            Event::Burst(source) => {
                for _ in 0..CONFIRMATIONS {
                    self.attack(source);
                }
            }
            Event::Forgery(source) => {
                let next = self.sequence.wrapping_add(1);
                self.endpoint.rtp(source, SSRC, next);
            }
            Event::Silence(ms) => self.endpoint.wait(ms),
            Event::Signalling => {
                let endpoint = &mut self.endpoint;
                endpoint.state = endpoint
                    .state
                    .signalled_again(&endpoint.policy, endpoint.now);
            }
        }
    }
}

/// Lets everything happen in every order, `length` times. `check` sees the world after each event,
/// and what has happened.
fn explore(
    world: World,
    events: &[Event],
    length: usize,
    happened: &mut Vec<Event>,
    check: &mut impl FnMut(&World, &[Event]),
) {
    check(&world, happened);
    if length == 0 {
        return;
    }
    for event in events {
        let mut world = world;
        world.happen(*event);
        happened.push(*event);
        explore(world, events, length - 1, happened, check);
        happened.pop();
    }
}

fn roaming(policy: Policy) -> Policy {
    let roam = Some(Roam {
        silence_ms: 200,
        sequences: 500,
    });
    Policy { roam, ..policy }
}

fn assert_stranger_gets_nothing(policy: Policy, party: Source, near: [Source; 2], far: Source) {
    let [housemate, neighbour] = near;
    let events = [
        Event::Party(party),
        Event::PartyReport(party),
        Event::Attack(far),
        Event::Burst(far),
        Event::Forgery(far),
        Event::ForgedReport(far),
        Event::Burst(neighbour),
        Event::Forgery(housemate),
        Event::Silence(400),
        Event::Signalling,
    ];
    // That it is not let through either, unless it is the remote, `Endpoint` asserts.
    explore(
        World::new(policy),
        &events,
        steps(6),
        &mut vec![],
        &mut |world, happened| {
            assert_ne!(world.endpoint.remote(), Some(far), "{happened:?}");
        },
    );
}

#[test]
fn a_stranger_gets_no_byte_in_nat_mode() {
    let near = [housemate(), neighbour()];
    assert_stranger_gets_nothing(nat(), party(), near, stranger());
}

#[test]
fn a_stranger_gets_no_byte_from_an_endpoint_that_roams() {
    let near = [housemate(), neighbour()];
    assert_stranger_gets_nothing(roaming(nat()), party(), near, stranger());
}

#[test]
fn a_stranger_gets_no_byte_over_ipv6() {
    let policy = Policy {
        media: Some(at("[2001:db8:1:1::10]:4000")),
        signalling: None,
        ..nat()
    };
    let near = [at("[2001:db8:1:1::10]:4002"), at("[2001:db8:1:1::11]:4000")];
    let party = at("[2001:db8:1:1::10]:4000");
    assert_stranger_gets_nothing(policy, party, near, at("[2001:db8:1:2::10]:4000"));
}

#[test]
fn nobody_but_the_signalled_gets_a_byte_in_signalled_mode() {
    let policy = Policy {
        mode: Mode::Signalled,
        media: Some(party()),
        ..roaming(nat())
    };
    for other in [housemate(), neighbour(), stranger()] {
        assert_stranger_gets_nothing(policy, party(), [housemate(), neighbour()], other);
    }
}

/// After anything the attackers do, the party needs no more packets than it takes to lock, whatever
/// they do between these.
fn assert_party_is_learned(policy: Policy, party: Source, attackers: &[Source]) {
    let mut before = vec![
        Event::Party(party),
        Event::Silence(300),
        Event::Silence(5_000),
        Event::Signalling,
    ];
    let mut meanwhile = vec![None];
    for attacker in attackers {
        before.extend([Event::Attack(*attacker), Event::Burst(*attacker)]);
        meanwhile.extend([
            Some(Event::Attack(*attacker)),
            Some(Event::Forgery(*attacker)),
        ]);
    }
    explore(
        World::new(policy),
        &before,
        steps(5),
        &mut vec![],
        &mut |world, happened| {
            assert_learned_now(*world, party, &meanwhile, CONFIRMATIONS, happened);
        },
    );
}

fn assert_learned_now(
    world: World,
    party: Source,
    meanwhile: &[Option<Event>],
    packets: u16,
    happened: &[Event],
) {
    if packets == 0 {
        assert_eq!(world.endpoint.remote(), Some(party), "{happened:?}");
        assert!(world.endpoint.state.is_locked(), "{happened:?}");
        return;
    }
    for event in meanwhile {
        let mut world = world;
        if let Some(event) = event {
            world.happen(*event);
        }
        world.happen(Event::Party(party));
        assert_learned_now(world, party, meanwhile, packets - 1, happened);
    }
}

#[test]
fn a_party_behind_nat_is_learned_whatever_neighbours_do() {
    assert_party_is_learned(nat(), party(), &[neighbour()]);
}

#[test]
fn a_party_behind_nat_is_learned_whatever_strangers_do() {
    assert_party_is_learned(nat(), party(), &[stranger()]);
    // From another address of its provider.
    assert_party_is_learned(nat(), neighbour(), &[stranger()]);
}

#[test]
fn a_party_where_it_was_signalled_is_learned_whatever_neighbours_do() {
    let policy = Policy {
        media: Some(party()),
        ..nat()
    };
    assert_party_is_learned(policy, party(), &[neighbour()]);
}

fn assert_stays_learned(policy: Policy, events: &[Event]) {
    let mut world = World::new(policy);
    for _ in 0..CONFIRMATIONS {
        world.happen(Event::Party(party()));
    }
    explore(
        world,
        events,
        steps(6),
        &mut vec![],
        &mut |world, happened| {
            assert_eq!(world.endpoint.remote(), Some(party()), "{happened:?}");
            assert!(world.endpoint.state.is_locked());
        },
    );
}

#[test]
fn a_party_once_learned_is_displaced_by_nobody() {
    let everybody = [
        Event::Burst(housemate()),
        Event::Forgery(housemate()),
        Event::Burst(neighbour()),
        Event::Forgery(neighbour()),
        Event::Burst(stranger()),
        Event::Forgery(stranger()),
        Event::ForgedReport(housemate()),
        Event::Silence(5_000),
    ];
    assert_stays_learned(nat(), &everybody);
}

#[test]
fn an_endpoint_that_roams_does_not_follow_who_does_not_know_the_ssrc() {
    let guessers = [
        Event::Burst(housemate()),
        Event::Attack(housemate()),
        Event::Burst(neighbour()),
        Event::Burst(stranger()),
        Event::Forgery(stranger()),
        Event::Silence(400),
        Event::Silence(5_000),
    ];
    assert_stays_learned(roaming(nat()), &guessers);
}
