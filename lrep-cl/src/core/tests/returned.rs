// SPDX-License-Identifier: MIT OR Apache-2.0

//! A TSL that was away and comes back with sessions that calls have ended meanwhile, or never had.

use super::model::World;
use super::*;

/// The TSL that goes away; with one after the other it has every third call.
const AWAY: usize = 1;

/// So many calls, on ports of their own.
fn world(calls: u16) -> World {
    let mut config = config(Algorithm::RoundRobin);
    for tsl in &mut config.tsls {
        tsl.ports = vec!["1024-65003".parse().expect("a range")];
    }
    let mut world = World::new(config);
    for call in 0..calls {
        world.ask('S', (call, call), 1);
        world.settle();
    }
    world
}

fn labels(world: &World) -> Vec<String> {
    let sessions = world.tables[AWAY].sessions.values();
    let labels = sessions.map(|session| session.label.escape_ascii().to_string());
    labels.collect()
}

/// Lets it answer again, and be read.
fn come_back(world: &mut World) {
    for _ in 0..2 {
        world.wait(Duration::from_secs(61));
        world.settle();
    }
}

#[test]
fn what_was_ended_while_it_was_away_is_removed_when_it_is_back() {
    let mut world = world(9);
    assert_eq!(labels(&world), ["call-1", "call-4", "call-7"]);
    // Ends that are lost on their way, and again when they are tried once more.
    for _ in 0..2 {
        world.ask('D', (4, 4), 1);
        world.settle_all_but(AWAY);
        world.lose_all_of(AWAY);
        come_back(&mut world);
        assert_eq!(labels(&world), ["call-1", "call-7"]);
        world.compare_books();
        world.ask('S', (4, 4), 1);
        world.settle();
        world.ask('D', (4, 4), 1);
        world.settle();
    }
}

#[test]
fn an_end_that_is_lost_whenever_it_is_tried_comes_about_in_the_end() {
    let mut world = world(6);
    world.ask('D', (4, 4), 1);
    for _ in 0..5 {
        // It is read, and is gone before it can be told.
        world.settle_all_but_ends();
        world.lose_all_of(AWAY);
        world.wait(Duration::from_secs(61));
    }
    come_back(&mut world);
    assert_eq!(labels(&world), ["call-1"]);
    world.compare_books();
}

#[test]
fn thousands_of_ends_wait_for_its_return() {
    const CALLS: u16 = 5_000;
    let mut world = world(0);
    for other in ["tsl-0", "tsl-2"] {
        world.core.enable(other, false);
    }
    for call in 0..CALLS {
        world.ask('S', (call, call), 1);
        world.settle();
    }
    assert_eq!(labels(&world).len(), usize::from(CALLS));
    for call in 0..CALLS {
        world.ask('D', (call, call), 1);
        world.settle_all_but(AWAY);
    }
    world.wait(Duration::from_secs(1));
    world.lose_all_of(AWAY);
    come_back(&mut world);
    assert_eq!(labels(&world), [""; 0]);
    world.compare_books();
}

#[test]
fn a_relay_of_which_nobody_was_told_is_removed_when_it_is_back() {
    let mut world = world(1);
    world.ask('S', (1, 1), 1);
    let lost: Vec<_> = std::mem::take(&mut world.on_their_way);
    let [(AWAY, token, command)] = &lost[..] else {
        panic!("{lost:?}");
    };
    // It is made, but only long after the SIP server was told that there is none.
    world.wait(Duration::from_secs(1));
    world.tables[AWAY].carry_out(command.clone()).expect("made");
    let mut actions = Vec::new();
    let result = Err(tsl::Error::NoAnswer);
    world
        .core
        .outcome(AWAY, *token, result, world.now, &mut actions);
    world.take(actions);
    assert_eq!(labels(&world), ["call-1"]);
    world.settle();
    assert_eq!(labels(&world), [""; 0]);
    world.compare_books();
}

#[test]
fn a_core_that_takes_the_place_of_another_removes_nothing() {
    let mut world = world(6);
    let config = world.core.config.clone();
    let mut actions = Vec::new();
    world.core = Core::new(config, SEED, world.now, &mut actions);
    world.take(actions);
    world.settle();
    assert_eq!(labels(&world), ["call-1", "call-4"]);
    world.compare_books();
}

#[test]
fn a_call_is_given_to_any_tsl_once_its_last_media_has_ended() {
    let mut world = world(3);
    world.ask('S', (1, 4), 1);
    world.settle();
    let place = |world: &World| world.core.placements.get(b"call-1");
    world.ask('D', (1, 1), 1);
    world.settle();
    assert_eq!(place(&world), Some(AWAY), "it has another media");
    world.ask('D', (1, 4), 1);
    world.settle();
    assert_eq!(place(&world), None);
    assert_eq!(world.core.placements.get(b"call-2"), Some(2));
}
