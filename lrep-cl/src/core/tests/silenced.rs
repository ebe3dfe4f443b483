// SPDX-License-Identifier: MIT OR Apache-2.0

//! Calls whose media ceases by itself.

use super::model::World;
use super::*;

/// Ends the session of a call at its TSL, for this reason.
fn end(world: &mut World, tsl: usize, label: &[u8], reason: EndReason) {
    let mut sessions = world.tables[tsl].sessions.iter();
    let found = sessions.find(|(_, session)| session.label == label);
    let id = *found.expect("a session").0;
    let session = world.tables[tsl].remove(id).expect("it is there");
    let event = Event::Ended(SessionState::new(id, &session), reason);
    let mut actions = Vec::new();
    world.core.event(tsl, Some(event), world.now, &mut actions);
    world.take(actions);
}

fn silenced(world: &mut World) -> Vec<String> {
    let calls = std::mem::take(&mut world.silenced);
    let text = |call: Vec<u8>| call.escape_ascii().to_string();
    calls.into_iter().map(text).collect()
}

#[test]
fn a_call_is_silenced_once_when_its_last_media_expires() {
    let mut world = World::new(config(Algorithm::Linear));
    world.ask('S', (1, 1), 1);
    world.ask('S', (1, 2), 1);
    world.ask('S', (2, 3), 1);
    world.settle();
    end(&mut world, 0, b"call-1", EndReason::Expired);
    assert!(silenced(&mut world).is_empty(), "the other media lives");
    end(&mut world, 0, b"call-1", EndReason::Expired);
    assert_eq!(silenced(&mut world), ["call-1"]);
    // Somebody wanted it.
    end(&mut world, 0, b"call-2", EndReason::Flushed);
    assert!(silenced(&mut world).is_empty());
}

#[test]
fn a_call_that_ends_by_a_command_is_not_silenced() {
    let mut world = World::new(config(Algorithm::Linear));
    world.ask('S', (1, 1), 1);
    world.settle();
    world.ask('D', (1, 1), 1);
    world.settle();
    assert!(silenced(&mut world).is_empty());
}

#[test]
fn the_calls_of_a_tsl_that_has_started_anew_are_silenced_unless_they_have_moved() {
    let mut world = World::new(config(Algorithm::RoundRobin));
    for call in 0..6 {
        world.ask('S', (call, call), 1);
        world.settle();
    }
    world.tables[1] = Table::default();
    let mut actions = Vec::new();
    world.core.event(1, None, world.now, &mut actions);
    world.take(actions);
    // One of its calls is signalled anew before that is known, and is on its way.
    world.ask('S', (4, 4), 2);
    world.settle();
    assert_eq!(silenced(&mut world), ["call-1"]);
    world.compare_books();
}
