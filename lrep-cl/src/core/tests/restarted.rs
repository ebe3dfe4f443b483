// SPDX-License-Identifier: MIT OR Apache-2.0

//! A core that takes the place of another.

use super::*;
use crate::answers::Answered;
use crate::reply_cache;

const SET: &[u8] =
    b"1_1 S 127.0.0.11 127.0.0.21 127.0.0.21 127.0.0.12 40000 20000 20002 41000 60 a ";

fn core(now: Instant) -> Core {
    Core::new(config(Algorithm::Linear), SEED, now, &mut Vec::new())
}

fn client() -> Client {
    Client::Udp {
        listener: 0,
        peer: "127.0.0.1:5060".parse().expect("an address"),
    }
}

fn ask(core: &mut Core, request: &[u8], now: Instant) -> Vec<Action> {
    let mut actions = Vec::new();
    core.request(client(), request, now, &mut actions);
    actions
}

fn answer(bytes: &[u8]) -> Action {
    Action::Answer {
        client: client(),
        bytes: bytes.to_vec(),
    }
}

#[test]
fn a_request_that_is_repeated_afterwards_is_answered_alike_and_not_carried_out_again() {
    let (began, pause) = (Instant::now(), Duration::from_secs(3));
    let mut before = core(began);
    let answered = |listener: &str| Answered {
        listener: listener.parse().expect("a listener"),
        peer: "127.0.0.1:5060".parse().expect("an address"),
        request: SET.to_vec(),
        answer: [SET, b"OK"].concat(),
        age: Duration::from_secs(1),
    };
    before.remember(vec![answered("udp:127.0.0.1:22333")], began);
    let told = ask(&mut before, b"1_0 G", began);

    let now = began + pause;
    let mut after = core(now);
    after.remember(before.answers(now), now);
    assert_eq!(ask(&mut after, b"1_0 G", now), told);
    assert_eq!(ask(&mut after, SET, now), [answer(&[SET, b"OK"].concat())]);
    // Its time goes on, and is over a second before that of the other.
    let late = began + reply_cache::LIFE - Duration::from_secs(1);
    assert_ne!(ask(&mut after, SET, late), [answer(&[SET, b"OK"].concat())]);
    assert_eq!(ask(&mut after, b"1_0 G", late), told);

    // What came in elsewhere was another request.
    let mut after = core(now);
    after.remember(vec![answered("udp:127.0.0.1:22335")], now);
    assert_eq!(after.answers(now), []);
}
