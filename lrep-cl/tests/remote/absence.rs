// SPDX-License-Identifier: MIT OR Apache-2.0

//! Hosts and controllers that are silent, cut off, killed, and come back.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use lrep_cl::tsl::remote::{Options, Remote};
use lrep_cl::tsl::userspace::Userspace;
use lrep_cl::tsl::{Error, Event, Patience, Tsl};
use nix::errno::Errno;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::{Certificates, Host, PATIENCE, by_hand, controller, new_session, options, says};
use crate::common::Memory;

/// What is set while a remote is worked with.
const CHANGED: Patience = Patience {
    timeout: Duration::from_secs(19),
    tries: 1,
    bound: Duration::from_secs(19),
    life: Duration::from_secs(3600),
};

#[tokio::test]
async fn a_layer_that_is_stuck_gives_no_answer_and_does_not_do_it_later() {
    let certificates = Certificates::new();
    let memory = Memory::new();
    let host = Host::start(Arc::clone(&memory), certificates.guard("media1", &[])).await;
    let at = format!("localhost:{}", host.at.port());
    let remote = Remote::new(Options {
        deadline: Duration::from_millis(700),
        ..options(&at, certificates.identity("sip1"))
    });
    // Connecting takes time, too, which is not what this is about.
    while remote.config_get().await.is_err() {}
    memory.set_stuck(true);
    let wanted = remote.session_new(new_session(20000)).await;
    assert_eq!(wanted, Err(Error::NoAnswer));
    assert_eq!(remote.session_dump().await, Err(Error::NoAnswer));
    assert_eq!(remote.subscribe(None).await.err(), Some(Error::NoAnswer));
    memory.set_stuck(false);
    let patient = controller("localhost", &host, certificates.identity("sip1"));
    assert_eq!(patient.session_dump().await, Ok(vec![]));
    assert_eq!(memory.news.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_host_that_accepts_and_says_nothing_is_not_waited_for() {
    let certificates = Certificates::new();
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("listens");
    let at = format!("localhost:{}", socket.local_addr().expect("bound").port());
    for identity in [certificates.identity("sip1"), None] {
        let remote = Remote::new(Options {
            deadline: Duration::from_secs(86_400),
            ..options(&at, identity)
        });
        remote.set_patience(Patience {
            bound: Duration::from_millis(300),
            ..CHANGED
        });
        let error = remote.config_get().await.expect_err("nobody there");
        assert!(error.is_uncertain(), "{error:?}");
    }
}

#[tokio::test]
async fn another_patience_loses_no_event_and_no_command() {
    let memory = Memory::new();
    let host = Host::start(Arc::clone(&memory), None).await;
    let remote = Remote::new(options(&host.at.to_string(), None));
    let mut events = remote.subscribe(None).await.expect("subscribed");
    remote.set_patience(CHANGED);
    remote.session_new(new_session(20000)).await.expect("made");
    memory.tell(Event::Overrun);
    assert_eq!(events.recv().await, Some(Event::Overrun));
}

/// A line to a host, and what cuts it without a word to either side; who connects later is let through.
async fn line(host: &Host) -> (String, Arc<Notify>) {
    let between = TcpListener::bind("127.0.0.1:0").await.expect("listens");
    let at = between.local_addr().expect("bound").to_string();
    let cut = Arc::new(Notify::new());
    tokio::spawn({
        let (cut, host) = (Arc::clone(&cut), host.at);
        async move {
            loop {
                let (mut near, _) = between.accept().await.expect("accepted");
                let mut far = TcpStream::connect(host).await.expect("connects");
                let cut = Arc::clone(&cut);
                tokio::spawn(async move {
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => return,
                        () = cut.notified() => {}
                    }
                    // Held, but neither read nor written any more.
                    std::future::pending::<()>().await;
                });
            }
        }
    });
    (at, cut)
}

#[tokio::test]
async fn a_connection_whose_host_falls_silent_is_given_up() {
    let memory = Memory::new();
    let host = Host::start(Arc::clone(&memory), None).await;
    let (at, cut) = line(&host).await;
    let remote = Remote::new(Options {
        keep_alive: Duration::from_millis(200),
        ..options(&at, None)
    });
    let mut events = remote.subscribe(None).await.expect("subscribed");
    memory.tell(Event::Overrun);
    assert_eq!(events.recv().await, Some(Event::Overrun));
    cut.notify_waiters();
    assert_eq!(events.recv().await, None);
}

async fn refused_the_owner(remote: &Remote) -> bool {
    match remote.subscribe(Some(7)).await {
        Ok(_) => false,
        Err(error) => {
            assert!(error.is(Errno::ENOTUNIQ), "{error}");
            says(&error.to_string(), &["owner 7", "another controller"]);
            true
        }
    }
}

#[tokio::test]
async fn an_owner_has_the_next_controller_when_the_connection_of_the_first_ends() {
    let tsl = Arc::new(Userspace::start().expect("starts"));
    let host = Host::start(Arc::clone(&tsl), None).await;
    let (first, second) = (
        controller("127.0.0.1", &host, None),
        controller("127.0.0.1", &host, None),
    );
    let events = first.subscribe(Some(7)).await.expect("free");
    assert!(refused_the_owner(&second).await);
    // The daemon of the host itself is a controller like any other.
    let error = tsl.subscribe(Some(7)).await.expect_err("taken");
    assert!(error.is(Errno::ENOTUNIQ), "{error}");
    drop((events, first));
    while refused_the_owner(&second).await {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_controller_that_vanishes_without_a_word_is_soon_let_go() {
    let host = Host::start(Arc::new(Userspace::start().expect("starts")), None).await;
    let (at, cut) = line(&host).await;
    let first = Remote::new(options(&at, None));
    let _events = first.subscribe(Some(7)).await.expect("free");
    let second = controller("127.0.0.1", &host, None);
    assert!(refused_the_owner(&second).await);
    cut.notify_waiters();
    let freed = async { while refused_the_owner(&second).await {} };
    tokio::time::timeout(PATIENCE / 2, freed)
        .await
        .expect("soon");
}

#[tokio::test]
async fn a_controller_that_comes_back_takes_over_from_itself() {
    let host = Host::start(Arc::new(Userspace::start().expect("starts")), None).await;
    let (at, cut) = line(&host).await;
    let first = Remote::new(Options {
        keep_alive: Duration::from_millis(200),
        ..options(&at, None)
    });
    let mut events = first.subscribe(Some(7)).await.expect("free");
    let second = controller("127.0.0.1", &host, None);
    assert!(refused_the_owner(&second).await);
    cut.notify_waiters();
    // The host notices it seconds later.
    assert_eq!(events.recv().await, None);
    let _events = first.subscribe(Some(7)).await.expect("its own");
    assert!(refused_the_owner(&second).await);
}

#[tokio::test]
async fn a_host_that_comes_back_is_worked_with_again() {
    let certificates = Certificates::new();
    let memory = Memory::new();
    let guard = || certificates.guard("media1", &[]);
    let host = Host::start(Arc::clone(&memory), guard()).await;
    let at = host.at;
    let remote = controller("localhost", &host, certificates.identity("sip1"));
    let mut events = remote.subscribe(None).await.expect("subscribed");
    remote.session_new(new_session(20000)).await.expect("made");

    host.stop().await;
    assert_eq!(events.recv().await, None);
    let error = remote.session_dump().await.expect_err("nobody there");
    assert!(error.is_uncertain(), "{error:?}");
    says(
        &remote.session_dump().await.expect_err("nobody").to_string(),
        &["localhost", "refused"],
    );

    let _host = Host::start_at(&at.to_string(), Arc::clone(&memory), guard()).await;
    assert_eq!(remote.session_dump().await.expect("there again").len(), 1);
    let mut events = remote.subscribe(None).await.expect("subscribed again");
    memory.tell(Event::Overrun);
    assert_eq!(events.recv().await, Some(Event::Overrun));
}

#[tokio::test]
async fn a_host_killed_in_the_middle_leaves_nobody_waiting() {
    let memory = Memory::new();
    // A runtime of its own, to be dropped with everything on it.
    let kill = CancellationToken::new();
    let (started, host) = tokio::sync::oneshot::channel();
    let thread = std::thread::spawn({
        let (layer, kill) = (Arc::clone(&memory), kill.clone());
        move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let host = Host::start(layer, None).await;
                started.send(host).ok().expect("awaited");
                kill.cancelled().await;
            });
        }
    });
    let host = host.await.expect("started");
    let remote = controller("127.0.0.1", &host, None);
    let mut events = remote.subscribe(None).await.expect("subscribed");
    memory.set_stuck(true);
    let waiting = memory.waiting();
    let wanted = tokio::spawn({
        let remote = remote.clone();
        async move { remote.session_new(new_session(20000)).await }
    });
    while memory.waiting() == waiting {
        tokio::task::yield_now().await;
    }
    kill.cancel();
    thread.join().expect("ends");
    let error = wanted.await.expect("no panic").expect_err("killed");
    assert!(error.is_uncertain(), "{error:?}");
    assert_eq!(events.recv().await, None);
    assert_eq!(memory.news.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn the_health_is_that_of_the_layer() {
    let memory = Memory::new();
    let host = Host::start(Arc::clone(&memory), None).await;
    let mut client = HealthClient::new(by_hand(&host));
    for service in ["", "lreproxy.v1.Tsl"] {
        let service = service.to_owned();
        let request = HealthCheckRequest { service };
        let watched = client.watch(request).await.expect("watched");
        let mut watched = watched.into_inner();
        let mut next = async || {
            let status = watched.message().await.expect("well").expect("a status");
            status.status()
        };
        if next().await == ServingStatus::NotServing {
            // Before it was asked for the first time.
            assert_eq!(next().await, ServingStatus::Serving);
        }
        memory.set_stuck(true);
        assert_eq!(next().await, ServingStatus::NotServing);
        memory.set_stuck(false);
        assert_eq!(next().await, ServingStatus::Serving);
    }
}
