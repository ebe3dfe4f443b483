// SPDX-License-Identifier: MIT OR Apache-2.0

//! How long a driver waits for each command, in a time that passes only while everybody waits.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::Memory;
use lrep_cl::core::command::{Command, Outcome, Token};
use lrep_cl::driver::{Asker, Driver, Listener, Order};
use lrep_cl::tsl::{Error, Event, Patience, Result};
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::time::{Instant, sleep, timeout};

const BOUND: Duration = Duration::from_secs(20);

/// Notes what became of which command, and when.
struct Notes(UnboundedSender<(Token, Result<Outcome>, Instant)>);

impl Listener for Notes {
    fn outcome(&self, token: Token, result: Result<Outcome>) {
        let note = (token, result, Instant::now());
        self.0.send(note).expect("somebody reads");
    }

    fn event(&self, _: Option<Event>) {}
}

#[tokio::test(start_paused = true)]
async fn each_command_is_given_up_when_its_own_time_is_over() {
    let tsl = Memory::new();
    let (notes, mut noted) = mpsc::unbounded_channel();
    let (orders, taken) = mpsc::unbounded_channel();
    let driver = Driver::new(Arc::clone(&tsl));
    let driver = tokio::spawn(driver.run(BOUND, taken, Arc::new(Notes(notes))));
    let order = |token, command| {
        let order = Order::CarryOut(command, Asker::Core(token));
        orders.send(order).expect("it runs");
    };
    let began = Instant::now();
    let second = Duration::from_secs(1);

    tsl.set_stuck(true);
    order(1, Command::Dump);
    sleep(5 * second).await;
    order(2, Command::Dump);
    let patience = Patience {
        timeout: second,
        tries: 1,
        bound: 2 * second,
        life: BOUND,
    };
    orders.send(Order::Wait(patience)).expect("it runs");
    sleep(second).await;
    order(3, Command::Dump);
    // This one does not get stuck.
    order(4, Command::Totals);
    for (token, at) in [(4, 6), (3, 8), (1, 20), (2, 25)] {
        let (found, result, when) = noted.recv().await.expect("an outcome");
        let wanted = began + at * second;
        assert_eq!(found, token, "after {:?}", when - began);
        assert!(
            (wanted..wanted + Duration::from_millis(2)).contains(&when),
            "{token} after {:?}",
            when - began
        );
        match token {
            4 => assert!(matches!(result, Ok(Outcome::Totals(_))), "{result:?}"),
            _ => assert_eq!(result, Err(Error::NoAnswer), "{token}"),
        }
    }
    assert_eq!(tsl.waiting(), 0, "what was given up is not waited for");

    tsl.set_stuck(false);
    sleep(BOUND).await;
    order(5, Command::Dump);
    let (token, result, _) = noted.recv().await.expect("an outcome");
    assert_eq!((token, result), (5, Ok(Outcome::Table(vec![]))));
    drop(orders);
    timeout(Duration::from_millis(2), driver)
        .await
        .expect("a driver without work waits for nothing")
        .expect("it does not panic");
}
