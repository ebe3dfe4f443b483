// SPDX-License-Identifier: MIT OR Apache-2.0

//! What an operator does to a core that works.

use std::num::NonZero;

use super::model::World;
use super::*;
use crate::core::status::TslHealth;

fn sessions(world: &World) -> Vec<usize> {
    let tables = world.tables.iter();
    tables.map(|table| table.sessions.len()).collect()
}

fn ask(world: &mut World, letter: char, call: u16) {
    world.ask(letter, (call, call), 1);
    world.settle();
}

/// Whether a SIP server that has had a relay is told that this node works.
fn is_in_service(world: &mut World) -> bool {
    let client = Client::Udp {
        listener: 0,
        peer: "127.0.0.1:5060".parse().expect("an address"),
    };
    let mut actions = Vec::new();
    world
        .core
        .request(client, b"1_0 P", world.now, &mut actions)
}

#[test]
fn a_drained_core_refuses_new_calls_serves_old_ones_and_is_done_with_the_last() {
    let mut world = World::new(config(Algorithm::Linear));
    ask(&mut world, 'S', 0);
    assert!(is_in_service(&mut world));
    world.core.drain(true);
    assert!(!is_in_service(&mut world), "SIP servers use other nodes");
    ask(&mut world, 'S', 1);
    assert_eq!(sessions(&world), [1, 0, 0], "no new call");
    // A re-INVITE of the old one, which comes with other ports.
    world.ask('S', (0, 2), 2);
    world.settle();
    assert_eq!(sessions(&world), [2, 0, 0]);
    let status = world.core.status(world.now);
    assert_eq!((status.draining, status.sessions), (true, 2));
    assert_eq!(status.refused.get("draining"), Some(&1));
    for block in [0, 2] {
        assert!(!world.core.is_drained());
        world.ask('D', (0, block), 1);
        world.settle();
    }
    assert!(world.core.is_drained());
    world.core.drain(false);
    assert!(!world.core.is_drained());
    assert!(is_in_service(&mut world));
    ask(&mut world, 'S', 1);
    assert_eq!(sessions(&world), [1, 0, 0]);
}

#[test]
fn a_disabled_tsl_keeps_its_calls_and_gets_no_new_ones() {
    let mut world = World::new(config(Algorithm::RoundRobin));
    for call in 0..3 {
        ask(&mut world, 'S', call);
    }
    assert!(world.core.enable("tsl-1", false));
    assert!(!world.core.enable("tsl-9", false), "there is none");
    for call in 3..7 {
        ask(&mut world, 'S', call);
    }
    assert_eq!(sessions(&world), [3, 1, 3]);
    // The call that is there stays there, with other ports too.
    world.ask('S', (1, 7), 1);
    world.settle();
    assert_eq!(sessions(&world), [3, 2, 3]);
    let status = world.core.status(world.now);
    let enabled: Vec<_> = status.tsls.iter().map(|tsl| tsl.enabled).collect();
    assert_eq!(enabled, [true, false, true]);
    assert!(is_in_service(&mut world), "others have the same addresses");
    assert!(world.core.enable("tsl-1", true));
    for call in 8..11 {
        ask(&mut world, 'S', call);
    }
    assert_eq!(sessions(&world), [4, 3, 4]);
}

#[test]
fn when_every_tsl_is_disabled_new_calls_are_refused_and_counted() {
    let mut world = World::new(config(Algorithm::Linear));
    ask(&mut world, 'S', 0);
    for tsl in ["tsl-0", "tsl-1", "tsl-2"] {
        world.core.enable(tsl, false);
    }
    ask(&mut world, 'S', 1);
    assert_eq!(sessions(&world), [1, 0, 0]);
    let status = world.core.status(world.now);
    assert_eq!(status.refused.get("disabled"), Some(&1));
    assert!(!is_in_service(&mut world));
}

#[test]
fn no_more_new_calls_come_in_a_second_than_allowed_and_old_ones_are_free() {
    let mut config = config(Algorithm::Linear);
    config.session_rate = NonZero::new(10);
    let mut world = World::new(config);
    for call in 0..30 {
        ask(&mut world, 'S', call);
    }
    assert_eq!(sessions(&world), [10, 0, 0]);
    for _ in 0..30 {
        world.ask('S', (0, 0), 2);
        world.settle();
    }
    world.wait(Duration::from_millis(500));
    world.settle();
    for call in 30..60 {
        ask(&mut world, 'S', call);
    }
    assert_eq!(sessions(&world), [15, 0, 0]);
    let status = world.core.status(world.now);
    assert_eq!(status.refused.get("session-rate"), Some(&45));
}

#[test]
fn one_source_sends_no_more_requests_in_a_second_than_allowed() {
    let mut config = config(Algorithm::Linear);
    config.request_rate = NonZero::new(100);
    config.allow = vec!["192.0.2.0/24".parse().expect("a network")];
    let mut world = World::new(config);
    let mut admitted = |from: &str| {
        let peer = from.parse().expect("an address");
        let asked = (0..500).filter(|_| world.core.admits(0, peer, world.now));
        asked.count()
    };
    assert_eq!(admitted("192.0.2.1:5060"), 100);
    assert_eq!(admitted("192.0.2.1:5061"), 0, "the same host");
    assert_eq!(admitted("[::ffff:192.0.2.1]:5061"), 0, "the same host");
    assert_eq!(admitted("192.0.2.2:5060"), 100);
    assert_eq!(admitted("198.51.100.1:5060"), 0, "a stranger");
}

#[test]
fn a_listener_may_have_clients_of_its_own() {
    let mut config = config(Algorithm::Linear);
    config.listen = ["udp:10.0.0.1:22333", "udp:10.0.0.1:22334"]
        .map(|listen| listen.parse().expect("a socket"))
        .to_vec();
    config.allow = ["192.0.2.1", "udp:10.0.0.1:22334=192.0.2.2"]
        .map(|allowed| allowed.parse().expect("a rule"))
        .to_vec();
    let mut world = World::new(config);
    let mut admitted = |listener, from: &str| {
        let peer = from.parse().expect("an address");
        world.core.admits(listener, peer, world.now)
    };
    assert!(admitted(0, "192.0.2.1:5060") && admitted(1, "192.0.2.1:5060"));
    assert!(!admitted(0, "192.0.2.2:5060") && admitted(1, "192.0.2.2:5060"));
    assert!(!admitted(1, "192.0.2.3:5060") && !admitted(2, "192.0.2.1:5060"));
}

#[test]
fn new_limits_reach_every_tsl_and_the_other_settings_hold_at_once() {
    let old = config(Algorithm::Linear);
    let mut world = World::new(old.clone());
    ask(&mut world, 'S', 0);
    let mut new = old;
    new.limits.sessions = 50;
    new.algorithm = Algorithm::RoundRobin;
    new.tsls[2].weight = 0;
    let mut actions = Vec::new();
    let now = world.now;
    world.core.reload(new.clone(), now, &mut actions);
    let limits = |action: &Action| match action {
        Action::Command {
            command: Command::Configure(settings),
            ..
        } => settings.limits.map(|limits| limits.sessions),
        _ => None,
    };
    let told: Vec<_> = actions.iter().map(limits).collect();
    assert_eq!(told, [Some(50); TSLS]);
    world.take(actions);
    world.settle();
    for call in 1..5 {
        ask(&mut world, 'S', call);
    }
    assert_eq!(sessions(&world), [3, 2, 0]);
    // Nothing is sent for what is as it was.
    let mut actions = Vec::new();
    world.core.reload(new, world.now, &mut actions);
    assert_eq!(actions, []);
    let status = world.core.status(world.now);
    assert!(status.tsls.iter().all(|tsl| tsl.health == TslHealth::Ready));
}
