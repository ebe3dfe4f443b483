// SPDX-License-Identifier: MIT OR Apache-2.0

//! How long answers take, in a time that passes only while everybody waits.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::*;
use lrep_cl::driver::Driver;
use lrep_cl::inherited::Inherited;
use lrep_cl::server::{ANSWER_BOUND, Server, Service};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

async fn service(tsl: &Arc<Memory>) -> Arc<Service> {
    let server = Server::start(
        config(Vec::new()),
        SEED,
        vec![Driver::new(Arc::clone(tsl))],
        Inherited::default(),
    )
    .await
    .expect("starts");
    let service = server.service();
    tokio::spawn(server.run(CancellationToken::new()));
    service
}

/// The `S` and `D` of [`set`] and [`delete`] as they come on a stream.
fn plain(request: Vec<u8>) -> Vec<u8> {
    request[1..].to_vec()
}

#[tokio::test(start_paused = true)]
async fn with_a_stuck_kernel_every_answer_comes_within_400_ms() {
    let tsl = Memory::new();
    let service = service(&tsl).await;
    tsl.set_stuck(true);
    let begun = Instant::now();
    let request = |index: u16| match index % 4 {
        0 => b"P".to_vec(),
        1 => b"G".to_vec(),
        2 => plain(set("", 20000 + 4 * index, "a")),
        _ => plain(delete("", 20000 + 4 * index, "a")),
    };
    let answers: Vec<_> = (0..200u16)
        .map(|index| {
            let (service, request) = (Arc::clone(&service), request(index));
            tokio::spawn(async move {
                let answer = service.answer(0, &request).await.expect("an answer");
                (answer, begun.elapsed())
            })
        })
        .collect();
    for (index, answer) in (0u16..).zip(answers) {
        let (answer, took) = answer.await.expect("no panic");
        let bound = if index % 4 < 2 {
            Duration::ZERO
        } else {
            ANSWER_BOUND
        };
        // The timer's resolution is a millisecond.
        assert!(
            took <= bound + Duration::from_millis(1),
            "{index}: {took:?}"
        );
        assert!(ANSWER_BOUND < Duration::from_millis(400));
        let verdict = [&b"PONG"[..], b"", b"ER", b"OK"][usize::from(index % 4)];
        assert!(answer.ends_with(verdict));
    }
}

#[tokio::test(start_paused = true)]
async fn a_kernel_that_is_stuck_for_a_minute_is_caught_up_with() {
    let tsl = Memory::new();
    let service = service(&tsl).await;
    let ask = async |request: Vec<u8>| service.answer(0, &plain(request)).await;
    assert!(
        ask(set("", 20000, "old"))
            .await
            .is_some_and(|answer| answer.ends_with(b"OK"))
    );
    tsl.set_stuck(true);
    assert!(
        ask(set("", 20004, "new"))
            .await
            .is_some_and(|answer| answer.ends_with(b"ER"))
    );
    assert!(
        ask(delete("", 20000, "old"))
            .await
            .is_some_and(|answer| answer.ends_with(b"OK"))
    );
    sleep(Duration::from_secs(60)).await;
    assert!(
        ask(set("", 20008, "last"))
            .await
            .is_some_and(|answer| answer.ends_with(b"ER"))
    );
    tsl.set_stuck(false);
    sleep(Duration::from_secs(1)).await;
    // `new` was given up on while its outcome was unknown; the rest waited for its turn.
    assert_eq!(tsl.labels(), ["last"]);
    assert!(
        ask(set("", 20004, "new"))
            .await
            .is_some_and(|answer| answer.ends_with(b"OK"))
    );
    assert_eq!(tsl.labels(), ["last", "new"]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_kernel_is_waited_for() {
    let tsl = Memory::new();
    let service = service(&tsl).await;
    tsl.set_stuck(true);
    let answer = tokio::spawn({
        let service = Arc::clone(&service);
        async move {
            let request = plain(set("", 20000, "a"));
            service.answer(0, &request).await
        }
    });
    sleep(ANSWER_BOUND - Duration::from_millis(10)).await;
    assert!(!answer.is_finished());
    tsl.set_stuck(false);
    let answer = answer.await.expect("no panic").expect("an answer");
    assert!(answer.ends_with(b"OK"));
}
