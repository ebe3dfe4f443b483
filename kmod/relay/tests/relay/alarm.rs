// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0

//! An alarm is told soon, told again while it goes on, and is over when it has calmed down.

use relay::alarm::{Alarm, Patience, Step};

const PATIENCE: Patience = Patience {
    interval_ms: 10_000,
    packets: 10,
};

/// What is done about an alarm raised at 0, at looks at these moments with these counts.
fn steps(looks: &[(u64, u64)]) -> Vec<Step> {
    let mut alarm = Alarm::new(100, 0);
    let mut steps = Vec::new();
    for (now, counted) in looks {
        let (next, step) = alarm.look(100 + counted, *now, &PATIENCE);
        alarm = next;
        steps.push(step);
    }
    steps
}

use Step::{End, Tell, Wait};

#[test]
fn it_is_told_as_soon_as_there_are_enough_packets() {
    assert_eq!(steps(&[(500, 10)]), [Tell(10)]);
    assert_eq!(steps(&[(500, 9), (1000, 12)]), [Wait, Tell(12)]);
}

#[test]
fn a_few_packets_are_no_alarm() {
    assert_eq!(
        steps(&[(500, 9), (9_999, 9), (10_000, 9)]),
        [Wait, Wait, End]
    );
}

#[test]
fn one_that_goes_on_is_told_again_with_the_packets_since() {
    assert_eq!(
        steps(&[(500, 50), (1000, 100), (10_499, 800), (10_500, 900)]),
        [Tell(50), Wait, Wait, Tell(850)]
    );
}

#[test]
fn one_that_calms_down_is_over() {
    assert_eq!(
        steps(&[(500, 50), (10_499, 59), (10_500, 59)]),
        [Tell(50), Wait, End]
    );
}

#[test]
fn a_clock_or_a_counter_that_goes_back_does_no_harm() {
    let alarm = Alarm::new(100, 1000);
    assert_eq!(alarm.look(99, 500, &PATIENCE).1, Wait);
    assert_eq!(alarm.look(0, 999, &PATIENCE).1, Wait);
}
