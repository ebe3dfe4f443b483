// SPDX-License-Identifier: MIT OR Apache-2.0

//! Engines that speak the lreproxy protocol: a daemon of ours, and one that knows no more than the first
//! engine did.

mod common;

use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use common::{Daemon, Memory};
use futures_util::FutureExt;
use lrep_cl::tsl::engine::{Engine, Options};
use lrep_cl::tsl::{
    EndReason, Endpoint, Error, Event, NewSession, Patience, SetConfig, SetSession, Stream,
    StreamKind, Tsl,
};
use nix::errno::Errno;

fn patience() -> Patience {
    Patience {
        timeout: Duration::from_secs(20),
        tries: 1,
        bound: Duration::from_secs(20),
        life: Duration::from_secs(3600),
    }
}

fn engine_at(address: SocketAddr) -> Engine {
    Engine::new(Options {
        address: address.to_string().parse().expect("an address"),
        patience: patience(),
    })
}

fn at(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// A call between the addresses of the test configuration.
fn call(label: &[u8], port: u16, callee: &str) -> NewSession {
    let stream = |kind, next: u16| {
        let party = |local: &str, port: u16, remote: SocketAddr| {
            let remote = SocketAddr::new(remote.ip(), remote.port() + next);
            Endpoint::new(at(&format!("{local}:{}", port + next)), Some(remote))
        };
        Stream {
            kind,
            a: party("127.0.0.21", port + 2, at("127.0.0.11:40000")),
            b: party("127.0.0.21", port, at(callee)),
        }
    };
    NewSession {
        label: label.to_vec(),
        owner: 7,
        timeout_ms: 60_000,
        streams: vec![stream(StreamKind::Rtp, 0), stream(StreamKind::Rtcp, 1)],
        replace: true,
    }
}

fn settings(address: &str, last: u16) -> SetConfig {
    SetConfig {
        ports: vec![20_000..=last],
        local_addresses: vec![address.parse().expect("an address")],
        ..SetConfig::default()
    }
}

/// What the daemon's own layer holds: Call-ID, and where the answerer's media goes.
fn held(tsl: &Memory) -> Vec<(Vec<u8>, Option<SocketAddr>)> {
    let table = tsl.table.lock();
    let held = table.values();
    held.map(|session| (session.label.clone(), session.streams[0].b.remote))
        .collect()
}

#[tokio::test]
async fn another_daemon_is_an_engine() {
    let tsl = Memory::new();
    let daemon = Daemon::start(&tsl);
    let engine = engine_at(daemon.udp);
    engine
        .config_set(settings("127.0.0.21", 30_007))
        .await
        .expect("its own");
    assert_eq!(engine.session_dump().await, Ok(Vec::new()));

    let new = call(b"call-1", 20_000, "127.0.0.12:41000");
    let first = engine.session_new(new.clone()).await.expect("made");
    assert!(first.replaced.is_empty());
    assert_eq!(
        held(&tsl),
        [(b"call-1".to_vec(), Some(at("127.0.0.12:41000")))]
    );
    assert_eq!(tsl.only().1.streams.len(), 2, "RTCP, too");
    let told = engine.session_dump().await.expect("told");
    assert_eq!(told.len(), 1);
    assert_eq!(
        (told[0].id, &told[0].label, told[0].owner),
        (first.id, &new.label, 7)
    );

    // Its answerer moves, then is on hold.
    for (callee, remote) in [
        ("127.0.0.13:9", Some(at("127.0.0.13:9"))),
        ("0.0.0.0:0", None),
    ] {
        let mut streams = call(b"call-1", 20_000, callee).streams;
        for stream in &mut streams {
            stream.b.remote = remote.map(|_| stream.b.remote.expect("set"));
        }
        let set = SetSession {
            id: first.id,
            streams,
            ..SetSession::default()
        };
        engine.session_set(set).await.expect("changed");
        assert_eq!(held(&tsl), [(b"call-1".to_vec(), remote)]);
    }
    tsl.only();

    // Another call takes its ports; a third stands beside it.
    let second = engine
        .session_new(call(b"call-2", 20_000, "127.0.0.12:41000"))
        .await;
    let second = second.expect("made");
    assert_eq!(second.replaced, [first.id]);
    let third = engine
        .session_new(call(b"call-3", 20_004, "127.0.0.12:41000"))
        .await;
    assert!(third.expect("made").replaced.is_empty());
    assert_eq!(engine.totals_get().await.expect("there").sessions, 2);

    let mut events = engine.subscribe(None).await.expect("listens");
    assert_eq!(engine.session_del(second.id).await, Ok(()));
    match events.recv().now_or_never().flatten() {
        Some(Event::Ended(session, EndReason::Deleted)) => assert_eq!(session.label, b"call-2"),
        other => panic!("{other:?}"),
    }
    assert_eq!(
        held(&tsl),
        [(b"call-3".to_vec(), Some(at("127.0.0.12:41000")))]
    );
    let gone = engine.session_del(second.id).await.expect_err("gone");
    assert!(gone.is(Errno::ENOENT), "{gone}");
    assert_eq!(engine.session_flush(Some(8)).await, Ok(0));
    assert_eq!(engine.session_flush(Some(7)).await, Ok(1));
    assert_eq!(held(&tsl), []);
}

#[tokio::test]
async fn what_an_engine_is_not_is_told_with_a_cure() {
    let tsl = Memory::new();
    let daemon = Daemon::start(&tsl);
    let engine = engine_at(daemon.udp);
    for (settings, part) in [
        (
            settings("127.0.0.99", 30_007),
            "127.0.0.21 and 127.0.0.22: give it these",
        ),
        (settings("127.0.0.21", 30_008), "ports 20000 to 30000"),
    ] {
        let error = engine
            .config_set(settings)
            .await
            .expect_err("another's")
            .to_string();
        assert!(error.contains(part), "{error}");
    }
    let refused = engine
        .session_new(call(&[b'x'; 200], 20_000, "127.0.0.12:41000"))
        .await;
    let error = refused.expect_err("too long");
    assert!(error.is(Errno::EOPNOTSUPP), "{error}");
    // A relay on an address that is none of its own is refused by the daemon itself.
    let mut foreign = call(b"call-1", 20_000, "127.0.0.12:41000");
    foreign.streams[0].b.local = at("127.0.0.99:20000");
    let error = engine.session_new(foreign).await.expect_err("not its own");
    assert!(error.is(Errno::ECANCELED), "{error}");
    assert_eq!(engine.session_dump().await, Ok(Vec::new()));
}

/// Answers `P`, `G` and `S`, and nothing else, for ever; tells the letters of what it is asked.
fn first_engine() -> (SocketAddr, mpsc::Receiver<u8>) {
    let (asked, letters) = mpsc::channel();
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let address = socket.local_addr().expect("an address");
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
            let request = &buffer[..length];
            let command = request
                .split(|byte| *byte == b' ')
                .nth(1)
                .unwrap_or_default();
            // Nobody may want to know.
            let _ = asked.send(command[0]);
            let mut record = Vec::new();
            for port in [20_000_i32, 30_000, 20_000] {
                record.extend(port.to_le_bytes());
            }
            for _ in 0..2 {
                let mut text = b"127.0.0.21".to_vec();
                text.resize(20, 0);
                record.extend(text);
            }
            let answer = match command {
                b"P" => b" PONG".to_vec(),
                b"G" => [b" ".to_vec(), record].concat(),
                b"S" => b"OK".to_vec(),
                _ => continue,
            };
            let answer = [request, answer.as_slice()].concat();
            socket.send_to(&answer, peer).expect("sent");
        }
    });
    (address, letters)
}

#[tokio::test]
async fn an_engine_that_cannot_delete_is_believed_to_let_go_by_itself() {
    let (address, asked) = first_engine();
    let mut options = Options {
        address: address.to_string().parse().expect("an address"),
        patience: Patience {
            timeout: Duration::from_millis(200),
            tries: 2,
            life: Duration::ZERO,
            ..patience()
        },
    };
    let engine = Engine::new(options.clone());
    engine
        .config_set(settings("127.0.0.21", 30_007))
        .await
        .expect("its own");
    let mut events = engine.subscribe(None).await.expect("listens");
    let made = engine
        .session_new(call(b"call-1", 20_000, "127.0.0.12:41000"))
        .await;
    let id = made.expect("made").id;
    assert_eq!(engine.session_del(id).await, Ok(()));
    match events.recv().now_or_never().flatten() {
        Some(Event::Ended(session, EndReason::Deleted)) => assert_eq!(session.label, b"call-1"),
        other => panic!("{other:?}"),
    }
    // It is asked twice, and found to be there.
    let asked = || asked.try_iter().collect::<Vec<_>>();
    assert_eq!(asked(), b"GSDDP");
    // From then on it is only told.
    let made = engine
        .session_new(call(b"call-1", 20_000, "127.0.0.12:41000"))
        .await;
    assert_eq!(engine.session_del(made.expect("made").id).await, Ok(()));
    assert!(events.recv().now_or_never().is_some(), "its end is told");
    engine.config_get().await.expect("there");
    assert_eq!(asked(), b"SDP");

    // One that nobody asks for again is forgotten in the end, and that is told.
    let made = engine
        .session_new(call(b"call-2", 20_000, "127.0.0.12:41000"))
        .await;
    assert_eq!(engine.session_dump().await, Ok(Vec::new()));
    match events.recv().now_or_never().flatten() {
        Some(Event::Ended(session, _)) => assert_eq!(session.id, made.expect("made").id),
        other => panic!("{other:?}"),
    }

    // Where nobody is, nothing is believed.
    let gone = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    options.address = gone
        .local_addr()
        .expect("an address")
        .to_string()
        .parse()
        .expect("one");
    let silent = Engine::new(Options {
        patience: Patience {
            timeout: Duration::from_secs(86_400),
            ..options.patience
        },
        ..options.clone()
    });
    silent.set_patience(options.patience);
    assert_eq!(silent.config_get().await, Err(Error::NoAnswer));
    drop(gone);
    let refused = Engine::new(options).config_get().await.expect_err("nobody");
    assert!(
        refused.is_uncertain() && refused.to_string().contains("refused"),
        "{refused}"
    );
}

#[tokio::test]
async fn requests_at_the_same_time_get_their_own_answers() {
    let tsl = Memory::new();
    let daemon = Daemon::start(&tsl);
    let engine = Arc::new(engine_at(daemon.udp));
    let asked = (0..32_u16).map(|number| {
        let engine = Arc::clone(&engine);
        tokio::spawn(async move {
            let label = format!("call-{number}").into_bytes();
            let new = call(&label, 20_000 + 4 * number, "127.0.0.12:41000");
            engine.session_new(new).await.expect("made");
        })
    });
    for asked in asked.collect::<Vec<_>>() {
        asked.await.expect("ends well");
    }
    assert_eq!(
        (
            held(&tsl).len(),
            engine.session_dump().await.map(|all| all.len())
        ),
        (32, Ok(32))
    );
}
