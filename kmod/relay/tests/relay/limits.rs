// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0

//! Limits stop growth, and nothing else.

use proptest::prelude::*;
use relay::limits::{Exceeded, Limits, Usage};

fn usage() -> impl Strategy<Value = Usage> {
    (0..10u64, 0..10u64, 0..10u64).prop_map(|(sessions, half_open, memory)| Usage {
        sessions,
        half_open,
        memory,
    })
}

prop_compose! {
    fn limits()(sessions in 0..10u32, half_open in 0..10u32, memory in 0..10u64) -> Limits {
        Limits { sessions, half_open, memory }
    }
}

#[test]
fn the_limit_that_is_in_the_way_is_named_with_its_value() {
    let limits = Limits {
        sessions: 3,
        half_open: 2,
        memory: 100,
    };
    let before = Usage::default();
    let after = |sessions, half_open, memory| Usage {
        sessions,
        half_open,
        memory,
    };
    assert_eq!(limits.allow(&before, &after(3, 2, 100)), Ok(()));
    let cases = [
        (after(4, 3, 101), Exceeded::Sessions(3)),
        (after(3, 3, 101), Exceeded::HalfOpen(2)),
        (after(3, 2, 101), Exceeded::Memory(100)),
    ];
    for (after, exceeded) in cases {
        assert_eq!(limits.allow(&before, &after), Err(exceeded));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::cases(2000)))]

    #[test]
    fn what_is_refused_grows_above_a_limit_and_nothing_else_is(
        limits in limits(),
        before in usage(),
        after in usage(),
    ) {
        let exceeds = |before, after, limit| limit > 0 && after > limit && after > before;
        let refused = exceeds(before.sessions, after.sessions, limits.sessions.into())
            || exceeds(before.half_open, after.half_open, limits.half_open.into())
            || exceeds(before.memory, after.memory, limits.memory);
        prop_assert_eq!(limits.allow(&before, &after).is_err(), refused);
    }

    #[test]
    fn what_came_goes(all in usage(), one in usage()) {
        prop_assert_eq!(all.with(one).without(one), all);
    }

    #[test]
    fn no_numbers_overflow(numbers: [u64; 6]) {
        let [a, b, c, d, e, f] = numbers;
        let one = Usage { sessions: a, half_open: b, memory: c };
        let other = Usage { sessions: d, half_open: e, memory: f };
        let _ = (one.with(other), one.without(other));
    }
}
