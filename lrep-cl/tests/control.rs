// SPDX-License-Identifier: MIT OR Apache-2.0

//! The daemon as SIP servers meet it: bytes in, bytes out, and what is in the table then.

mod common;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use common::*;
use lrep_cl::config::Listen;
use lrep_cl::driver::Driver;
use lrep_cl::inherited::Inherited;
use lrep_cl::server::{Server, StartError};
use lrep_cl::tsl::Event;

/// Within this every answer must be there.
const ANSWERED: Duration = Duration::from_millis(400);

#[test]
fn a_relay_is_installed_when_its_answer_is_on_the_wire() {
    let tsl = Memory::new();
    let daemon = Daemon::start(&tsl);
    let client = daemon.client();
    let request = set("1_0", 20000, "a@host");
    assert_eq!(client.ask(&request), with(&request, "OK"));
    let (_, wanted) = tsl.only();
    assert_eq!(wanted.label, b"a@host");
    assert_eq!((wanted.owner, wanted.timeout_ms), (7, 60_000));
    let ends: Vec<_> = wanted
        .streams
        .iter()
        .map(|stream| {
            let at = |end: lrep_cl::tsl::Endpoint| {
                (end.local.to_string(), end.remote.map(|at| at.to_string()))
            };
            (stream.kind.name(), at(stream.a), at(stream.b))
        })
        .collect();
    let end = |local: &str, remote: &str| (local.to_owned(), Some(remote.to_owned()));
    assert_eq!(
        ends,
        [
            (
                "rtp",
                end("127.0.0.21:20002", "127.0.0.11:40000"),
                end("127.0.0.21:20000", "127.0.0.12:41000")
            ),
            (
                "rtcp",
                end("127.0.0.21:20003", "127.0.0.11:40001"),
                end("127.0.0.21:20001", "127.0.0.12:41001")
            ),
        ]
    );
}

#[test]
fn a_ping_is_answered_in_six_bytes_after_its_cookie_and_not_without() {
    let tsl = Memory::new();
    let daemon = Daemon::start(&tsl);
    let client = daemon.client();
    assert_eq!(client.ask(b"1041_0 P"), b"1041_0 P PONG");
    client.ask_in_vain(b"P");
    client.ask_in_vain(b"");
    client.ask_in_vain(b"1_0 X");
    client.ask_in_vain(&[0xff; 300]);
}

#[test]
fn the_node_record_moves_past_ports_in_use() {
    let tsl = Memory::new();
    let daemon = Daemon::start(&tsl);
    let client = daemon.client();
    let answer = client.ask(b"1_0 G");
    assert_eq!(answer.len(), 4 + 54);
    // Where calls begin is left to chance, and no process is sent where another one was.
    let begin = current_port(&answer);
    assert!(
        (20000..=30000).contains(&begin) && begin % 4 == 0,
        "{begin}"
    );
    assert_ne!(current_port(&daemon.client().ask(b"9_0 G")), begin);
    client.ask(&set("1_1", 20040, "a"));
    // Beyond what may have been offered since, and what the two may have offered, should chance have
    // put them there.
    let run = 4 * 64;
    let next = current_port(&client.ask(b"1_2 G"));
    assert!(
        (20044 + run..=20044 + 3 * run).contains(&next) && next % 4 == 0,
        "{next}"
    );
    // A repetition is answered alike, whatever happened in between.
    assert_eq!(client.ask(b"1_0 G"), answer);
}

#[test]
fn a_retransmission_is_answered_alike_and_installs_nothing() {
    let tsl = Memory::new();
    let daemon = Daemon::start(&tsl);
    let (client, other) = (daemon.client(), daemon.client());
    let request = set("1_0", 20000, "a");
    for _ in 0..5 {
        assert_eq!(client.ask(&request), with(&request, "OK"));
    }
    assert_eq!(tsl.news.load(Ordering::SeqCst), 1);
    assert_eq!(tsl.sets.load(Ordering::SeqCst), 0);
    // From another socket, or with other bytes, it is a new command.
    other.ask(&request);
    assert_eq!(tsl.sets.load(Ordering::SeqCst), 1);
    client.ask(&set("1_0", 20004, "a"));
    assert_eq!(tsl.news.load(Ordering::SeqCst), 2);
}

#[test]
fn a_retransmission_during_installation_does_not_install_twice() {
    let tsl = Memory::new();
    let daemon = Daemon::start(&tsl);
    let client = daemon.client();
    let request = set("1_0", 20000, "a");
    tsl.set_stuck(true);
    client.send(&request);
    client.send(&request);
    assert_eq!(client.ask(b"1_1 P"), b"1_1 P PONG");
    tsl.set_stuck(false);
    let answer = client.receive();
    assert_eq!(answer.len(), request.len() + 2);
    client.ask_in_vain(b"");
    eventually("the session", || tsl.table.lock().len() == 1);
    assert_eq!(tsl.news.load(Ordering::SeqCst), 1);
}

#[test]
fn another_set_for_the_same_ports_changes_the_session_and_keeps_it() {
    let tsl = Memory::new();
    let daemon = Daemon::start(&tsl);
    let client = daemon.client();
    client.ask(&set("1_0", 20000, "a"));
    let (id, _) = tsl.only();
    let moved = b"1_1 S 127.0.0.11 127.0.0.21 127.0.0.21 127.0.0.13 40000 20000 20002 41010 60 a ";
    assert_eq!(client.ask(moved), with(moved, "OK"));
    let (same, wanted) = tsl.only();
    assert_eq!(same, id);
    assert_eq!(
        wanted.streams[0].b.remote.map(|at| at.to_string()),
        Some("127.0.0.13:41010".to_owned())
    );
    let held = b"1_2 S 127.0.0.11 127.0.0.21 127.0.0.21 0.0.0.0 40000 20000 20002 41010 60 a ";
    assert_eq!(client.ask(held), with(held, "OK"));
    assert_eq!(tsl.only().1.streams[0].b.remote, None);
}

#[test]
fn of_two_calls_on_the_same_ports_the_newer_wins() {
    let tsl = Memory::new();
    let daemon = Daemon::start(&tsl);
    let client = daemon.client();
    client.ask(&set("1_0", 20000, "old"));
    let request = set("1_1", 20000, "new");
    assert_eq!(client.ask(&request), with(&request, "OK"));
    assert_eq!(tsl.labels(), ["new"]);
    // The loser's hang-up leaves the winner alone.
    let bye = delete("1_2", 20000, "old");
    assert_eq!(client.ask(&bye), with(&bye, "OK"));
    assert_eq!(tsl.labels(), ["new"]);
}

#[test]
fn a_new_block_of_a_call_stands_beside_the_old_one() {
    let tsl = Memory::new();
    let daemon = Daemon::start(&tsl);
    let client = daemon.client();
    client.ask(&set("1_0", 20000, "a"));
    client.ask(&set("1_1", 20004, "a"));
    assert_eq!(tsl.labels(), ["a", "a"]);
    client.ask(&delete("1_2", 20000, "a"));
    let (_, wanted) = tsl.only();
    assert_eq!(wanted.streams[0].b.local.port(), 20004);
}

#[test]
fn a_delete_ends_the_relay_at_once_and_twice_is_fine() {
    let tsl = Memory::new();
    let daemon = Daemon::start(&tsl);
    let (client, other) = (daemon.client(), daemon.client());
    client.ask(&set("1_0", 20000, "a"));
    let bye = delete("1_1", 20000, "a");
    assert_eq!(client.ask(&bye), with(&bye, "OK"));
    assert!(tsl.labels().is_empty());
    assert_eq!(other.ask(&bye), with(&bye, "OK"));
    assert_eq!(tsl.dels.load(Ordering::SeqCst), 1);
    // A late repetition of the 200 brings the relay back.
    let late = set("1_2", 20000, "a");
    assert_eq!(client.ask(&late), with(&late, "OK"));
    assert_eq!(tsl.labels(), ["a"]);
}

#[test]
fn a_delete_needs_call_id_and_address_only_and_a_foreign_one_deletes_nothing() {
    let tsl = Memory::new();
    let daemon = Daemon::start(&tsl);
    let client = daemon.client();
    client.ask(&set("1_0", 20000, "a"));
    for (cookie, rest) in [
        ("1_1", "D 127.0.0.11 127.0.0.21   40000 20000   60 b "),
        ("1_2", "D 127.0.0.11 127.0.0.22   40000 20000   60 a "),
        ("1_3", "D 127.0.0.11 127.0.0.21   40000 20002   60 a "),
        ("1_4", "D 127.0.0.11    40000    60 a "),
        ("1_5", "D not even close "),
    ] {
        let request = format!("{cookie} {rest}").into_bytes();
        assert_eq!(client.ask(&request), with(&request, "OK"));
        assert_eq!(tsl.labels(), ["a"], "{rest}");
    }
    let request = b"1_6 D 127.0.0.11 127.0.0.21   40000 20000   60 a ";
    assert_eq!(client.ask(request), with(request, "OK"));
    assert!(tsl.labels().is_empty());
}

#[test]
fn one_port_for_both_sides_makes_one_shared_local_endpoint() {
    let tsl = Memory::new();
    let daemon = Daemon::start(&tsl);
    let client = daemon.client();
    let request =
        b"1_0 S 127.0.0.11 127.0.0.21 127.0.0.21 127.0.0.12 40000 20000 20000 41000 60 a ";
    assert_eq!(client.ask(request), with(request, "OK"));
    let (id, wanted) = tsl.only();
    assert_eq!(wanted.streams[0].a.local, wanted.streams[0].b.local);
    // Both remotes the same party: no direction can be told, so what was there stays.
    let same = b"1_1 S 127.0.0.11 127.0.0.21 127.0.0.21 127.0.0.11 40000 20000 20000 40000 60 a ";
    assert_eq!(client.ask(same), with(same, "ER"));
    assert_eq!(tsl.only(), (id, wanted));
}

#[test]
fn an_advertised_address_reaches_the_kernel_as_the_interfaces_own() {
    let tsl = Memory::new();
    let daemon = Daemon::start(&tsl);
    let client = daemon.client();
    let request =
        b"1_0 S 127.0.0.11 198.51.100.9 198.51.100.9 127.0.0.12 40000 20000 20002 41000 60 a ";
    assert_eq!(client.ask(request), with(request, "OK"));
    let (_, wanted) = tsl.only();
    assert_eq!(wanted.streams[0].b.local.to_string(), "127.0.0.23:20000");
    let bye = b"1_1 D 127.0.0.11 198.51.100.9   40000 20000   60 a ";
    assert_eq!(client.ask(bye), with(bye, "OK"));
    assert!(tsl.labels().is_empty());
}

#[test]
fn what_cannot_be_relayed_is_answered_in_full_length_and_installs_nothing() {
    let tsl = Memory::new();
    let daemon = Daemon::start(&tsl);
    let client = daemon.client();
    let long = "x".repeat(200);
    let cases: &[(&str, &[u8])] = &[
        (
            "OK",
            b"1_1 S 127.0.0.11   127.0.0.12 40000 0 2 41000 60 1-16629@127.0.0.1 ",
        ),
        (
            "OK",
            b"1_2 S 127.0.0.11   127.0.0.12 40000   41000 60 1-12478@127.0.0.1 ",
        ),
        (
            "OK",
            b"1_3 S 127.0.0.11 127.0.0.21 127.0.0.21 127.0.0.12 40000 20000 20002 41000 60 a",
        ),
        (
            "OK",
            b"1_4 S 127.0.0.11 127.0.0.21 127.0.0.21 127.0.0.12 40000 20000 20002 41000 \x000 a ",
        ),
        ("OK", b"1_5 S"),
        (
            "ER",
            b"1_6 S ::1 127.0.0.21 127.0.0.21 127.0.0.12 40000 20000 20002 41000 60 a ",
        ),
        (
            "ER",
            b"1_7 S 127.0.0.11 127.0.0.99 127.0.0.21 127.0.0.12 40000 20000 20002 41000 60 a ",
        ),
        (
            "ER",
            b"1_8 S 127.0.0.11 127.0.0.21 127.0.0.21 127.0.0.12 40000 53 55 41000 60 a ",
        ),
        (
            "ER",
            b"1_9 S 127.0.0.11 127.0.0.21 127.0.0.21 127.0.0.12 port 20000 20002 41000 60 a ",
        ),
    ];
    for (verdict, request) in cases {
        assert_eq!(client.ask(request), with(request, verdict));
    }
    let overlong = [&set("1_10", 20000, &long)[..], &[b'y'; 100], b" "].concat();
    assert_eq!(client.ask(&overlong), with(&overlong, "OK"));
    assert!(tsl.labels().is_empty());
}

#[test]
fn call_ids_of_any_bytes_and_lengths_are_kept_as_they_are() {
    let tsl = Memory::new();
    let daemon = Daemon::start(&tsl);
    let client = daemon.client();
    for (index, call_id) in [
        vec![0xff, 0xfe, b'@'],
        vec![b'x'; 48],
        vec![b'x'; 49],
        vec![b'y'; 140],
    ]
    .into_iter()
    .enumerate()
    {
        let port = 20000 + 4 * index;
        let head = format!(
            "1_{index} S 127.0.0.11 127.0.0.21 127.0.0.21 127.0.0.12 40000/2 {port} {} 41000 60 ",
            port + 2
        );
        let request = [head.as_bytes(), &call_id, b" "].concat();
        assert_eq!(client.ask(&request), with(&request, "OK"));
        assert!(tsl.labels().contains(&call_id.escape_ascii().to_string()));
    }
}

#[test]
fn ports_beyond_the_end_are_accepted() {
    let tsl = Memory::new();
    let daemon = Daemon::start(&tsl);
    let client = daemon.client();
    for (cookie, port) in [("1_0", 30000), ("1_1", 30004), ("1_2", 40000)] {
        let request = set(cookie, port, cookie);
        assert_eq!(client.ask(&request), with(&request, "OK"));
    }
    assert_eq!(tsl.labels().len(), 3);
    assert_eq!(tsl.settings.lock().ports, [20000..=30007]);
}

#[test]
fn a_client_that_is_not_allowed_is_not_answered() {
    let tsl = Memory::new();
    let mut config = config(Vec::new());
    config.allow = vec!["127.0.0.2".parse().expect("a network")];
    let daemon = Daemon::start_with(&tsl, config);
    let socket = |from: &str| {
        let socket = std::net::UdpSocket::bind(from).expect("a socket");
        socket.connect(daemon.udp).expect("connects");
        socket
    };
    let (stranger, friend) = (socket("127.0.0.1:0"), socket("127.0.0.2:0"));
    stranger.send(b"1_0 P").expect("sent");
    friend.send(b"1_0 P").expect("sent");
    let mut buffer = [0; 64];
    assert_eq!(friend.recv(&mut buffer).expect("an answer"), 10);
    stranger.set_nonblocking(true).expect("a socket");
    stranger.recv(&mut buffer).expect_err("no answer");
}

#[test]
fn ping_and_node_record_never_wait_for_the_kernel() {
    let tsl = Memory::new();
    let daemon = Daemon::start(&tsl);
    let (worker, client) = (daemon.client(), daemon.client());
    tsl.set_stuck(true);
    for index in 0..100u16 {
        worker.send(&set(
            &format!("1_{index}"),
            20000 + 4 * index,
            &format!("call-{index}"),
        ));
    }
    // Were they to wait, they would be the last of 102 answers.
    let started = Instant::now();
    client.ask(b"2_0 P");
    client.ask(b"2_1 G");
    assert!(started.elapsed() < ANSWERED, "{:?}", started.elapsed());
}

#[test]
fn a_stuck_kernel_delays_answers_but_does_not_prevent_them() {
    let tsl = Memory::new();
    let daemon = Daemon::start(&tsl);
    let client = daemon.client();
    client.ask(&set("1_0", 20000, "a"));
    tsl.set_stuck(true);
    let request = set("1_1", 20004, "b");
    assert_eq!(client.ask(&request), with(&request, "ER"));
    let bye = delete("1_2", 20000, "a");
    assert_eq!(client.ask(&bye), with(&bye, "OK"));
    // What was asked comes about when the kernel is back, and is known then.
    tsl.set_stuck(false);
    eventually("both changes", || tsl.labels() == ["b"]);
    let bye = delete("1_3", 20004, "b");
    assert_eq!(client.ask(&bye), with(&bye, "OK"));
    assert!(tsl.labels().is_empty());
}

#[test]
fn a_failing_kernel_is_answered_er_and_recovers() {
    let tsl = Memory::new();
    let daemon = Daemon::start(&tsl);
    let client = daemon.client();
    client.ask(&set("1_0", 20000, "a"));
    tsl.set_failing(true);
    let request = set("1_1", 20004, "b");
    assert_eq!(client.ask(&request), with(&request, "ER"));
    let bye = delete("1_2", 20000, "a");
    assert_eq!(client.ask(&bye), with(&bye, "OK"));
    tsl.set_failing(false);
    let request = set("1_3", 20004, "b");
    assert_eq!(client.ask(&request), with(&request, "OK"));
    let bye = delete("1_4", 20000, "a");
    assert_eq!(client.ask(&bye), with(&bye, "OK"));
    assert_eq!(tsl.labels(), ["b"]);
}

#[test]
fn an_installation_whose_answer_was_lost_is_found_in_the_table() {
    let tsl = Memory::new();
    let daemon = Daemon::start(&tsl);
    let client = daemon.client();
    tsl.lose_next_answer();
    let request = set("1_0", 20000, "a");
    assert_eq!(client.ask(&request), with(&request, "OK"));
    assert_eq!(tsl.labels(), ["a"]);
    assert_eq!(tsl.news.load(Ordering::SeqCst), 1);
    let bye = delete("1_1", 20000, "a");
    assert_eq!(client.ask(&bye), with(&bye, "OK"));
    assert!(tsl.labels().is_empty());
}

#[test]
fn a_layer_that_was_made_anew_is_configured_anew() {
    let tsl = Memory::new();
    let daemon = Daemon::start(&tsl);
    let client = daemon.client();
    client.ask(&set("1_0", 20000, "a"));
    tsl.make_anew();
    let request = set("1_1", 20004, "b");
    assert_eq!(client.ask(&request), with(&request, "OK"));
    assert_eq!(tsl.labels(), ["b"]);
    assert_eq!(tsl.settings.lock().ports, [20000..=30007]);
    assert_eq!(tsl.subscriptions.load(Ordering::SeqCst), 2);
}

#[test]
fn an_ended_session_frees_its_ports_and_a_set_makes_it_anew() {
    let tsl = Memory::new();
    let daemon = Daemon::start(&tsl);
    let client = daemon.client();
    client.ask(&set("1_0", 20000, "a"));
    let (id, _) = tsl.only();
    tsl.expire(id);
    let request = set("1_1", 20000, "a");
    assert_eq!(client.ask(&request), with(&request, "OK"));
    assert_ne!(tsl.only().0, id);
    // Even when no event told of it.
    let (id, _) = tsl.only();
    tsl.expire_silently(id);
    let request = set("1_2", 20000, "a");
    assert_eq!(client.ask(&request), with(&request, "OK"));
    assert_ne!(tsl.only().0, id);
}

#[test]
fn lost_events_are_made_good_by_reading_the_table() {
    let tsl = Memory::new();
    let daemon = Daemon::start(&tsl);
    let client = daemon.client();
    client.ask(&set("1_0", 20000, "a"));
    let (id, _) = tsl.only();
    tsl.expire_silently(id);
    tsl.tell(Event::Overrun);
    eventually("a look at the table", || {
        tsl.dumps.load(Ordering::SeqCst) == 2
    });
    let request = set("1_1", 20000, "a");
    assert_eq!(client.ask(&request), with(&request, "OK"));
    // The session was known to be gone, so no change of it was tried.
    assert_eq!(tsl.sets.load(Ordering::SeqCst), 0);
    tsl.cease_events();
    eventually("a new subscription", || tsl.listens());
    let (id, _) = tsl.only();
    tsl.expire(id);
}

#[test]
fn a_restarted_daemon_adopts_what_it_finds() {
    let tsl = Memory::new();
    let daemon = Daemon::start(&tsl);
    daemon.client().ask(&set("1_0", 20040, "a"));
    daemon.stop();
    daemon.join();
    let (id, _) = tsl.only();

    let daemon = Daemon::start(&tsl);
    let client = daemon.client();
    assert_eq!(tsl.only().0, id);
    assert_eq!(current_port(&client.ask(b"1_0 G")), 20044 + 4 * 64);
    let request = set("1_0", 20040, "a");
    assert_eq!(client.ask(&request), with(&request, "OK"));
    assert_eq!(tsl.only().0, id);
    let bye = delete("1_1", 20040, "a");
    assert_eq!(client.ask(&bye), with(&bye, "OK"));
    assert!(tsl.labels().is_empty());
}

#[test]
fn sessions_of_another_owner_are_left_alone() {
    let tsl = Memory::new();
    let daemon = Daemon::start(&tsl);
    daemon.client().ask(&set("1_0", 20000, "a"));
    daemon.stop();
    daemon.join();
    tsl.table
        .lock()
        .values_mut()
        .for_each(|session| session.owner = 8);
    let daemon = Daemon::start(&tsl);
    let client = daemon.client();
    client.ask(&delete("1_1", 20000, "a"));
    assert_eq!(tsl.labels(), ["a"]);
}

#[test]
fn while_stopping_everything_asked_is_answered() {
    let tsl = Memory::new();
    let daemon = Daemon::start(&tsl);
    let clients: Vec<_> = (0..8).map(|_| daemon.client()).collect();
    tsl.set_stuck(true);
    for (index, client) in (0u16..).zip(&clients) {
        client.send(&set("1_0", 20000 + 4 * index, &format!("call-{index}")));
    }
    let mut stream = UnixStream::connect(&daemon.unix).expect("connects");
    let request = &delete("", 20000, "call-0")[1..];
    stream.write_all(request).expect("sent");
    daemon.stop();
    for (index, client) in (0u16..).zip(&clients) {
        let request = set("1_0", 20000 + 4 * index, &format!("call-{index}"));
        assert_eq!(client.receive().len(), request.len() + 2);
    }
    assert_eq!(read_once(&mut stream), with(request, "OK"));
    tsl.set_stuck(false);
    let path = daemon.unix.clone();
    daemon.join();
    assert_eq!(tsl.labels().len(), 7, "what was asked has come about");
    assert!(!path.exists());
}

#[test]
fn a_stopped_daemon_refuses_at_once() {
    let tsl = Memory::new();
    let daemon = Daemon::start(&tsl);
    let client = daemon.client();
    client.ask(b"1_0 P");
    daemon.stop();
    daemon.join();
    // The first send learns of the closed port, the second tells.
    let refused = (0..3).any(|_| client.socket.send(b"1_1 P").is_err());
    assert!(refused);
}

#[test]
fn a_burst_of_eleven_processes_and_a_thousand_sets_is_answered() {
    let tsl = Memory::new();
    let daemon = Daemon::start(&tsl);
    let workers: Vec<_> = (0..11u16)
        .map(|worker| {
            let client = daemon.client();
            std::thread::spawn(move || {
                assert_eq!(client.ask(b"1_0 P"), b"1_0 P PONG");
                assert_eq!(client.ask(b"1_1 G").len(), 4 + 54);
                for index in 0..91u16 {
                    let port = 20000 + 4 * (worker * 91 + index);
                    let call = format!("call-{worker}-{index}");
                    let request = set(&format!("1_{}", index + 2), port, &call);
                    assert_eq!(client.ask(&request), with(&request, "OK"));
                }
            })
        })
        .collect();
    for worker in workers {
        worker.join().expect("all answered");
    }
    assert_eq!(tsl.labels().len(), 11 * 91);
}

#[test]
fn a_unix_connection_is_answered_after_the_command_alone() {
    let tsl = Memory::new();
    let daemon = Daemon::start(&tsl);
    assert_eq!(ask_unix(&daemon.unix, b"P"), b"P PONG");
    assert_eq!(ask_unix(&daemon.unix, b"G").len(), 54);
    let request = &set("", 20000, "a")[1..];
    assert_eq!(ask_unix(&daemon.unix, request), with(request, "OK"));
    assert_eq!(tsl.labels(), ["a"]);
    let request = b"D 127.0.0.11 127.0.0.21   40000 20000   60 a ";
    assert_eq!(ask_unix(&daemon.unix, request), with(request, "OK"));
    assert!(tsl.labels().is_empty());
}

#[test]
fn unix_connections_are_independent_and_carry_several_commands() {
    let tsl = Memory::new();
    let daemon = Daemon::start(&tsl);
    let mut idle = UnixStream::connect(&daemon.unix).expect("connects");
    let mut half = UnixStream::connect(&daemon.unix).expect("connects");
    let request = &set("", 20000, "a")[1..];
    half.write_all(&request[..20]).expect("sent");
    let mut busy = UnixStream::connect(&daemon.unix).expect("connects");
    for _ in 0..3 {
        busy.write_all(b"P").expect("sent");
        assert_eq!(read_once(&mut busy), b"P PONG");
    }
    half.write_all(&request[20..]).expect("sent");
    assert_eq!(read_once(&mut half), with(request, "OK"));
    busy.write_all(b"PG").expect("sent");
    let mut both = [0; 6 + 54];
    busy.read_exact(&mut both).expect("two answers");
    assert_eq!(both[..6], *b"P PONG");
    idle.write_all(b"P").expect("sent");
    assert_eq!(read_once(&mut idle), b"P PONG");
}

#[test]
fn a_unix_frame_without_end_is_answered_and_the_connection_ends() {
    let tsl = Memory::new();
    let daemon = Daemon::start(&tsl);
    let short = b"S 127.0.0.11 too few spaces";
    let mut stream = UnixStream::connect(&daemon.unix).expect("connects");
    stream.write_all(short).expect("sent");
    assert_eq!(read_once(&mut stream), with(short, "OK"));
    assert!(read_once(&mut stream).is_empty());
    let long = [b"S ", &[b'x'; 251][..]].concat();
    assert_eq!(ask_unix(&daemon.unix, &long), with(&long, "OK"));
    assert!(ask_unix(&daemon.unix, b"X").is_empty());
    assert!(tsl.labels().is_empty());
}

#[test]
fn a_stale_socket_file_is_removed_and_a_living_one_is_not() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("lrep-cl.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).expect("a listener");
    let start = || {
        runtime.block_on(Server::start(
            config(vec![Listen::Unix(path.clone())]),
            SEED,
            vec![Driver::new(Memory::new())],
            Inherited::default(),
        ))
    };
    let error = start().expect_err("somebody listens");
    assert!(matches!(error, StartError::Listen { .. }), "{error}");
    assert!(
        error.to_string().contains("is another lrep-cl running?"),
        "{error}"
    );
    drop(listener);
    let server = start().expect("nobody listens any more");
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(&path).expect("a file").permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
    drop(server);
    assert!(!path.exists());
    std::fs::write(&path, "a file").expect("written");
    start().expect_err("a file is no socket");
    assert!(path.exists());
}

#[test]
fn what_stands_in_the_way_of_starting_is_told_in_one_sentence() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let listen = Listen::Udp(taken.local_addr().expect("an address"));
    let error = runtime
        .block_on(Server::start(
            config(vec![listen]),
            SEED,
            vec![Driver::new(Memory::new())],
            Inherited::default(),
        ))
        .expect_err("the port is taken");
    assert!(
        error
            .to_string()
            .contains("cannot listen on udp:127.0.0.1:"),
        "{error}"
    );

    let mut foreign = config(Vec::new());
    foreign.tsls[0].addresses.internal = "192.0.2.1".parse().expect("an address");
    let error = runtime
        .block_on(Server::start(
            foreign,
            SEED,
            vec![Driver::new(Memory::new())],
            Inherited::default(),
        ))
        .expect_err("no interface has it");
    assert!(
        error
            .to_string()
            .contains("192.0.2.1 is no address of this host"),
        "{error}"
    );

    let tsl = Memory::new();
    let daemon = Daemon::start(&tsl);
    daemon.client().ask(&set("1_0", 20000, "a"));
    daemon.stop();
    daemon.join();
    let mut moved = config(Vec::new());
    moved.tsls[0].addresses.internal = "127.0.0.31".parse().expect("an address");
    let error = runtime
        .block_on(Server::start(
            moved,
            SEED,
            vec![Driver::new(tsl)],
            Inherited::default(),
        ))
        .expect_err("a session lives on 127.0.0.21");
    assert!(error.to_string().contains("lrep-cl flush"), "{error}");
}
