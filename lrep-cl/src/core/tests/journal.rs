// SPDX-License-Identifier: MIT OR Apache-2.0

//! What is logged of calls.

use super::model::World;
use super::*;
use crate::config::LogLevel;
use crate::logging::tests::logged;

#[test]
fn the_end_of_a_call_is_logged_once_whether_its_event_or_its_outcome_comes_first() {
    for event_first in [true, false] {
        let mut world = World::new(config(Algorithm::Linear));
        world.ask('S', (1, 1), 1);
        world.settle();
        let (id, session) = world.tables[0].sessions.first_key_value().expect("there");
        let state = SessionState::new(*id, session);
        world.ask('D', (1, 1), 1);
        let event = Event::Ended(state, EndReason::Deleted);
        let text = logged(LogLevel::Info, |_| {
            let mut actions = Vec::new();
            if !event_first {
                world.settle();
            }
            world.core.event(0, Some(event), world.now, &mut actions);
            world.take(actions);
            world.settle();
        });
        assert_eq!(text.matches("relay ended").count(), 1, "{text}");
    }
}
