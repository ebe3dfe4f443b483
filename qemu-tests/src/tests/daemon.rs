// SPDX-License-Identifier: MIT OR Apache-2.0

//! The daemon and the module, asked by the test itself in the words of a SIP server.

use std::cell::Cell;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use nix::sys::signal::Signal;

use super::fixture::expect;
use super::{Test, tests};
use crate::guest::lab::Lab;
use crate::guest::module;
use crate::guest::privilege;
use crate::guest::process::Process;
use crate::guest::relay::Relay;
use crate::guest::rtp::{Party, SIZE, rtp, send_all};
use crate::guest::sip::{Setup, start_daemon};
use crate::guest::topology::{CALLEE, CALLER, EAST, Topology, WEST, udp};
use crate::guest::wait::{LIMIT, until};

pub const TESTS: &[Test] = tests![
    a_party_at_the_relay_is_refused_with_a_cure,
    a_call_above_the_limit_is_refused_with_a_cure,
    a_flood_of_half_open_calls_harms_no_other,
    a_flood_of_bad_requests_leaves_no_good_one_unanswered,
    a_stranger_is_logged_with_the_call_and_his_address,
    a_second_daemon_of_the_same_owner_is_refused_until_the_first_is_gone,
    a_user_who_has_the_name_of_an_owner_keeps_no_daemon_from_its_work,
];

/// A running daemon, and a SIP server's socket.
struct Controlled {
    server: UdpSocket,
    cookie: Cell<u32>,
    relay: Relay,
    daemon: Process,
    net: Topology,
}

impl Controlled {
    fn start(lab: &Lab, daemon: &'static [&'static str]) -> Result<Self> {
        module::ensure_loaded()?;
        let net = Topology::new(lab)?;
        let relay = Relay::open(&net.relay)?;
        let setup = Setup {
            daemon,
            ..Setup::default()
        };
        let daemon = start_daemon(lab, &net.relay, &setup)?;
        let server = udp(&net.relay, "127.0.0.1:0".parse()?)?;
        server.connect("127.0.0.1:22333")?;
        server.set_read_timeout(Some(LIMIT))?;
        Ok(Self {
            server,
            cookie: Cell::new(0),
            relay,
            daemon,
            net,
        })
    }

    /// Sends the request for a relay for a call between the caller and a callee, on a block of
    /// ports, and returns it.
    fn request(&self, call_id: &str, callee: IpAddr, port: u16) -> Result<String> {
        let cookie = self.cookie.get();
        self.cookie.set(cookie + 1);
        let request = format!(
            "{port}_{cookie} S {CALLER} {EAST} {WEST} {callee} 40000 {port} {} 41000 60 {call_id} ",
            port + 2
        );
        self.server.send(request.as_bytes())?;
        Ok(request)
    }

    /// The next answer of the daemon.
    fn answer(&self) -> Result<Vec<u8>> {
        let mut answer = [0; 512];
        let length = self.server.recv(&mut answer).context("no answer")?;
        Ok(answer[..length].to_vec())
    }

    /// Asks for a relay for a call between the caller and a callee, on a block of ports.
    fn set(&self, call_id: &str, callee: IpAddr, port: u16) -> Result<Vec<u8>> {
        let request = self.request(call_id, callee, port)?;
        let answer = self.answer()?;
        let answer = answer.strip_prefix(request.as_bytes());
        Ok(answer.context("an answer to something else")?.to_vec())
    }

    /// Asks until there is a relay: the kernel may take longer than the daemon's answer waits for it,
    /// and a SIP server asks again when a phone repeats itself.
    fn install(&self, call_id: &str, callee: IpAddr, port: u16) -> Result<()> {
        until("a relay", LIMIT, || {
            Ok((self.set(call_id, callee, port)? == b"OK").then_some(()))
        })
    }
}

/// Waits until a line of the daemon's log has all of these parts.
fn logged(lab: &Lab, parts: &[&str]) -> Result<()> {
    until("a line of the log", LIMIT, || {
        let log = fs::read_to_string(lab.file("lrep-cl.log")).context("no log")?;
        let found = log
            .lines()
            .any(|line| parts.iter().all(|part| line.contains(part)));
        Ok(found.then_some(()))
    })
}

fn a_party_at_the_relay_is_refused_with_a_cure(lab: &Lab) -> Result<()> {
    let controlled = Controlled::start(lab, &[])?;
    let answer = controlled.set("own@address", WEST, 20_000)?;
    ensure!(answer == b"ER", "{}", answer.escape_ascii());
    logged(
        lab,
        &[
            "ERROR",
            "own@address",
            "this host",
            "correct the address in the party's SDP",
        ],
    )?;
    ensure!(controlled.relay.sessions()?.is_empty(), "a session");
    // The next call is none the worse for it.
    controlled.install("good", CALLEE, 20_000)?;
    ensure!(controlled.relay.sessions()?.len() == 1, "no session");
    Ok(())
}

fn a_call_above_the_limit_is_refused_with_a_cure(lab: &Lab) -> Result<()> {
    let controlled = Controlled::start(lab, &["--sessions-max", "2"])?;
    for (call_id, port) in [("first", 20_000), ("second", 20_004)] {
        controlled.install(call_id, CALLEE, port)?;
    }
    let answer = controlled.set("third@call", CALLEE, 20_008)?;
    ensure!(answer == b"ER", "{}", answer.escape_ascii());
    logged(lab, &["ERROR", "third@call", "raise sessions_max"])?;
    // What is there can be changed.
    controlled.install("second", CALLEE, 20_004)?;
    let totals = controlled.relay.totals()?;
    ensure!(
        (totals.sessions, totals.refused) == (2, (1, 0, 0)),
        "{totals:?}"
    );
    Ok(())
}

fn a_flood_of_half_open_calls_harms_no_other(lab: &Lab) -> Result<()> {
    const LIMIT_OF_THEM: u16 = 20;
    const FLOOD: u16 = 400;
    const AT_ONCE: u16 = 16;
    // Of a call on hold nobody knows where its media is to go.
    const HELD: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let controlled = Controlled::start(lab, &["--half-open-max", "20"])?;
    controlled.install("talking", CALLEE, 20_000)?;
    let caller = Party::new(&controlled.net.caller, SocketAddr::new(CALLER, 40_000))?;
    let is_over = AtomicBool::new(false);
    let (answers, sent) = thread::scope(|scope| {
        let talking = scope.spawn(|| -> Result<_> {
            let mut sent = Vec::new();
            for number in 0.. {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                let to = SocketAddr::new(WEST, 20_002);
                sent.extend(caller.send_rtp(to, number..number + 1)?);
                thread::sleep(Duration::from_millis(2));
            }
            Ok(sent)
        });
        let flood = || -> Result<_> {
            let mut answers = Vec::new();
            for first in (0..FLOOD).step_by(AT_ONCE.into()) {
                for number in first..first + AT_ONCE {
                    let port = 20_004 + 4 * number;
                    controlled.request(&format!("begun{number}"), HELD, port)?;
                }
                for _ in 0..AT_ONCE {
                    answers.push(controlled.answer()?);
                }
            }
            Ok(answers)
        };
        let answers = flood();
        is_over.store(true, Ordering::Relaxed);
        let sent = talking.join().map_err(|_| anyhow!("the caller panicked"))?;
        Ok::<_, anyhow::Error>((answers?, sent?))
    })?;
    let with = |end: &[u8]| {
        answers
            .iter()
            .filter(|answer| answer.ends_with(end))
            .count()
    };
    let (made, refused) = (with(b" OK"), with(b" ER"));
    ensure!(
        (made, refused) == (LIMIT_OF_THEM.into(), (FLOOD - LIMIT_OF_THEM).into()),
        "{made} were made and {refused} refused"
    );
    let totals = controlled.relay.totals()?;
    ensure!(
        (totals.sessions, totals.half_open) == (u64::from(LIMIT_OF_THEM) + 1, LIMIT_OF_THEM.into()),
        "{totals:?}"
    );
    logged(lab, &["ERROR", "begun", "raise half_open_max"])?;
    // Who talked went on talking.
    let from = SocketAddr::new(EAST, 20_000);
    let callee = SocketAddr::new(CALLEE, 41_000);
    expect(&controlled.net.at_callee, from, callee, &sent)?;
    // Calls that are answered are still made, and an answer makes room for one more.
    controlled.install("answered", CALLEE, 29_000)?;
    let answer = controlled.set("begun", HELD, 29_004)?;
    ensure!(answer == b"ER", "{}", answer.escape_ascii());
    controlled.install("begun0", CALLEE, 20_004)?;
    controlled.install("begun", HELD, 29_004)?;
    let last = controlled.relay.totals()?;
    ensure!(last.half_open == u64::from(LIMIT_OF_THEM), "{last:?}");
    Ok(())
}

fn a_flood_of_bad_requests_leaves_no_good_one_unanswered(lab: &Lab) -> Result<()> {
    const GOOD: u16 = 100;
    const BAD_FOR_EACH: u32 = 100;
    const LINES_A_SECOND: usize = 10;
    let controlled = Controlled::start(lab, &["--request-rate", "0"])?;
    // Half of them come from a SIP server's host, half of them from a stranger.
    let sources = ["127.0.0.1:0".parse()?, SocketAddr::new(WEST, 0)];
    let sources = sources.map(|source| udp(&controlled.net.relay, source));
    let sources = sources.into_iter().collect::<Result<Vec<_>>>()?;
    let began = Instant::now();
    for call in 0..GOOD {
        for bad in 0..BAD_FOR_EACH {
            let request = format!("7_{call}{bad} S 192.0.2.1 \0 {bad} ");
            let source = &sources[bad as usize % sources.len()];
            source.send_to(request.as_bytes(), "127.0.0.1:22333")?;
        }
        // Fails when it is not answered.
        controlled.install(&format!("good-{call}"), CALLEE, 20_000 + 4 * call)?;
    }
    let seconds = began.elapsed().as_secs() as usize + 1;
    ensure!(
        controlled.relay.sessions()?.len() == usize::from(GOOD),
        "not all calls are there"
    );
    logged(lab, &["request ignored", "run over"])?;
    logged(lab, &["add its address to `allow`"])?;
    let log = fs::read_to_string(lab.file("lrep-cl.log")).context("no log")?;
    let lines = log.lines().filter(|line| !line.contains("good-")).count();
    lab.step(format!("{lines} lines in {seconds} s"));
    ensure!(lines <= LINES_A_SECOND * seconds, "{log}");
    Ok(())
}

fn a_stranger_is_logged_with_the_call_and_his_address(lab: &Lab) -> Result<()> {
    let controlled = Controlled::start(lab, &[])?;
    controlled.install("call@home", CALLEE, 20_000)?;
    let stranger = udp(&controlled.net.caller, SocketAddr::new(CALLER, 50_000))?;
    // The block's second pair of ports is the caller's.
    let to = SocketAddr::new(WEST, 20_002);
    send_all(&stranger, to, (0..50).map(|number| rtp(1, number, SIZE)))?;
    logged(
        lab,
        &["WARN", "call@home", &to.to_string(), "10.1.0.2:50000"],
    )
}

fn a_second_daemon_of_the_same_owner_is_refused_until_the_first_is_gone(lab: &Lab) -> Result<()> {
    let mut controlled = Controlled::start(lab, &[])?;
    controlled.install("call", CALLEE, 20_000)?;
    let start = |daemon| {
        let setup = Setup {
            socket: "udp:127.0.0.1:22335",
            daemon,
            ..Setup::default()
        };
        start_daemon(lab, &controlled.net.relay, &setup)
    };
    let refusal = start(&[]).err().context("a second daemon started")?;
    let (refusal, first) = (refusal.to_string(), controlled.daemon.id());
    for part in [
        format!("owner 1 belongs to another controller (process {first} of its host)"),
        "give each daemon that works with this relay an `owner` of its own".to_owned(),
    ] {
        ensure!(refusal.contains(&part), "{refusal}");
    }
    lab.step("one of another owner starts, and ends");
    drop(start(&["--owner", "2"])?);
    let session = |controlled: &Controlled| -> Result<u64> {
        let sessions = controlled.relay.sessions()?;
        ensure!(sessions.len() == 1, "{sessions:?}");
        Ok(sessions[0].id)
    };
    let before = session(&controlled)?;
    // The first daemon knows the call: it is changed, not made anew.
    controlled.install("call", CALLEE, 20_000)?;
    controlled.daemon.signal(Signal::SIGKILL)?;
    controlled.daemon.wait(LIMIT)?;
    lab.step("the first was killed");
    let _second = start(&[])?;
    ensure!(session(&controlled)? == before, "another session");
    Ok(())
}

fn a_user_who_has_the_name_of_an_owner_keeps_no_daemon_from_its_work(lab: &Lab) -> Result<()> {
    module::ensure_loaded()?;
    let net = Topology::new(lab)?;
    let _name = net.relay.enter(|| {
        privilege::become_user(1000)?;
        let name = unix::net::SocketAddr::from_abstract_name("lreproxy/owner/1")?;
        unix::net::UnixListener::bind_addr(&name).context("cannot take the name")
    })?;
    let _daemon = start_daemon(lab, &net.relay, &Setup::default())?;
    logged(
        lab,
        &[
            "WARN",
            "of user 1000, which is no controller",
            "end that process",
        ],
    )
}
