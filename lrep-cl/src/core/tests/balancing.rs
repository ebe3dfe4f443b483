// SPDX-License-Identifier: MIT OR Apache-2.0

//! Calls of a SIP server given to several TSLs, by each algorithm and while one of them is away.

use super::model::World;
use super::*;

/// The index of the TSL that falls silent.
const SILENT: usize = 1;

/// Ports for 10,000 calls, and shares of 5, 3 and 2.
fn weighted(algorithm: Algorithm) -> Config {
    let mut config = config(algorithm);
    for (tsl, weight) in config.tsls.iter_mut().zip([5, 3, 2]) {
        tsl.weight = weight;
        tsl.ports = vec!["20000-65003".parse().expect("a range")];
    }
    config
}

fn sessions(world: &World) -> Vec<usize> {
    let tables = world.tables.iter();
    tables.map(|table| table.sessions.len()).collect()
}

/// Lets a second pass in which each session relays 50 packets.
fn talk(world: &mut World) {
    for table in &mut world.tables {
        table.packets += 50 * table.sessions.len() as u64;
    }
    world.wait(Duration::from_secs(1));
    world.settle();
}

#[test]
fn ten_thousand_calls_are_distributed_as_the_algorithm_promises() {
    for (algorithm, promised) in [
        (Algorithm::Linear, [10_000, 0, 0]),
        (Algorithm::RoundRobin, [3_333, 3_333, 3_333]),
        (Algorithm::Weighted, [5_000, 3_000, 2_000]),
        (Algorithm::LeastSessions, [5_000, 3_000, 2_000]),
        (Algorithm::LeastPacketRate, [5_000, 3_000, 2_000]),
        (Algorithm::CallId, [5_000, 3_000, 2_000]),
    ] {
        let mut world = World::new(weighted(algorithm));
        for call in 0..10_000 {
            world.ask('S', (call, call), 1);
            world.settle();
            if call % 50 == 49 {
                talk(&mut world);
            }
        }
        let shares = sessions(&world);
        assert_eq!(shares.iter().sum::<usize>(), 10_000, "{algorithm:?}");
        for (share, promise) in shares.iter().zip(promised) {
            assert!(share.abs_diff(promise) <= 200, "{algorithm:?}: {shares:?}");
        }
    }
}

#[test]
fn a_silent_tsl_gets_no_new_calls_after_one_timeout_and_is_read_when_it_returns() {
    let mut world = World::new(config(Algorithm::RoundRobin));
    for call in 0..6 {
        world.ask('S', (call, call), 1);
        world.settle();
    }
    assert_eq!(sessions(&world), [2, 2, 2]);

    // The call in the middle meets a TSL that says nothing any more.
    for call in 6..9 {
        world.ask('S', (call, call), 1);
        world.settle_all_but(SILENT);
    }
    world.wait(Duration::from_secs(1));
    world.settle_all_but(SILENT);
    let unheard = world.on_their_way.len();
    for call in 9..29 {
        world.ask('S', (call, call), 1);
        world.settle_all_but(SILENT);
    }
    assert_eq!(world.on_their_way.len(), unheard, "no call went there");
    assert_eq!(sessions(&world), [13, 2, 13]);

    // A call that lives there is signalled anew, and goes where there is somebody.
    world.ask('S', (1, 1), 2);
    world.settle_all_but(SILENT);
    assert_eq!(sessions(&world).iter().sum::<usize>(), 29);

    // It is asked again only after a while, and then answers.
    world.lose_all_of(SILENT);
    for _ in 0..59 {
        world.wait(Duration::from_secs(1));
        world.settle_all_but(SILENT);
    }
    assert!(world.on_their_way.is_empty(), "{:?}", world.on_their_way);
    world.wait(Duration::from_secs(1));
    assert!(!world.on_their_way.is_empty(), "it is asked");
    let layer = &world.core.layers[SILENT];
    assert!(layer.is_closed(world.now), "a question is no answer");
    world.settle();
    world.compare_books();
    // Of its two calls the one that has moved is gone.
    let labels: Vec<_> = world.tables[SILENT].dump();
    let labels: Vec<_> = labels.iter().map(|session| &session.label[..]).collect();
    assert_eq!(labels, [b"call-4"]);
    for call in 29..32 {
        world.ask('S', (call, call), 1);
        world.settle();
    }
    assert_eq!(sessions(&world)[SILENT], 2);
}

#[test]
fn where_no_tsl_answers_a_call_is_refused_at_once_and_counted() {
    let mut world = World::new(config(Algorithm::RoundRobin));
    for call in 0..3 {
        world.ask('S', (call, call), 1);
    }
    assert!(!world.core.is_answered(), "they wait for their TSLs");
    world.wait(Duration::from_secs(1));
    let unheard = world.on_their_way.len();
    world.ask('S', (3, 3), 1);
    assert!(world.core.is_answered(), "there is nobody to wait for");
    assert_eq!(world.on_their_way.len(), unheard);
    let refused = world.core.status(world.now).refused;
    assert_eq!((refused["slow"], refused["silent"]), (3, 1));

    // One that answers again is worth waiting for.
    world.settle();
    world.ask('S', (4, 4), 1);
    assert!(!world.core.is_answered());
    world.settle();
    let refused = world.core.status(world.now).refused;
    assert_eq!((refused["slow"], refused["silent"]), (3, 1));
}
