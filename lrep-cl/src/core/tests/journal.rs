// SPDX-License-Identifier: MIT OR Apache-2.0

//! What is logged of calls.

use super::model::World;
use super::*;
use crate::config::LogLevel;
use crate::logging::tests::logged;

/// A call that a TSL has ended, and nobody has heard of yet: the outcome's token, and the event.
fn ended(world: &mut World) -> (Token, Event) {
    world.ask('S', (1, 1), 1);
    world.settle();
    world.ask('D', (1, 1), 1);
    let (_, token, command) = world.on_their_way.pop().expect("a command");
    assert_eq!(world.tables[0].carry_out(command), Ok(Outcome::Done));
    (token, world.tables[0].told.pop().expect("an event"))
}

#[test]
fn the_end_of_a_call_is_logged_once_whether_its_event_or_its_outcome_comes_first() {
    for event_first in [true, false] {
        let mut world = World::new(config(Algorithm::Linear));
        let (token, event) = ended(&mut world);
        let (now, mut actions) = (world.now, Vec::new());
        let text = logged(LogLevel::Info, |_| {
            let done = Ok(Outcome::Done);
            if event_first {
                world.core.event(0, Some(event), now, &mut actions);
                world.core.outcome(0, token, done, now, &mut actions);
            } else {
                world.core.outcome(0, token, done, now, &mut actions);
                assert!(!world.core.is_idle(), "the end is still to be told");
                world.core.event(0, Some(event), now, &mut actions);
            }
        });
        assert_eq!(text.matches("relay ended").count(), 1, "{text}");
        assert!(world.core.is_idle());
    }
}

#[test]
fn ends_that_were_lost_with_the_events_are_not_waited_for() {
    let mut world = World::new(config(Algorithm::Linear));
    let (token, _) = ended(&mut world);
    let (now, mut actions) = (world.now, Vec::new());
    let text = logged(LogLevel::Info, |_| {
        let lost = Some(Event::Overrun);
        world.core.event(0, lost, now, &mut actions);
        let done = Ok(Outcome::Done);
        world.core.outcome(0, token, done, now, &mut actions);
        world.take(actions);
        world.settle();
    });
    assert!(text.contains("was lost with the events"), "{text}");
    assert!(!text.contains("relay ended"), "{text}");
    assert!(world.core.is_idle());
}
