// SPDX-License-Identifier: MIT OR Apache-2.0

//! A controller on another host, which works with the kernel's table over the network.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lrep_cl::tls::Identity;
use lrep_cl::tsl::remote::{Options, Remote};
use lrep_cl::tsl::{
    EndReason, Endpoint, Event, NewSession, SetConfig, SetSession, Stream, StreamKind, Tsl, sum,
};
use nix::sys::signal::Signal;

use super::fixture::{CALLEE_RTP, CALLER_RTP, EAST_RTP, LOCALS, PORTS, WEST_RTP, expect};
use super::{Test, tests};
use crate::guest::LREP_CL;
use crate::guest::lab::Lab;
use crate::guest::media_host::{Certificates, MediaHost};
use crate::guest::module;
use crate::guest::netns::Namespace;
use crate::guest::process::Process;
use crate::guest::relay::Relay;
use crate::guest::rtp::Party;
use crate::guest::sip::{Setup, start_daemon};
use crate::guest::topology::{CALLEE, CALLER, EAST, Topology, WEST, udp};
use crate::guest::wait::{LIMIT, until};

pub const TESTS: &[Test] = tests![
    a_controller_on_another_host_works_with_the_relay,
    a_daemon_on_another_host_relays_calls,
    a_daemon_relays_calls_by_an_engine_of_another_host,
    a_daemon_here_and_one_elsewhere_of_the_same_owner_take_turns,
];

/// A daemon that works with the relay of that host.
const CONTROLLER: &[&str] = &[
    "--lreproxy-sock",
    "grpc:10.1.0.1:22334",
    "--tls-cert",
    "/tmp/tls/sip1.pem",
    "--tls-key",
    "/tmp/tls/sip1.key",
    "--tls-ca",
    "/tmp/tls/ca.pem",
    "--control-sock",
    "/tmp/elsewhere.sock",
];

/// Certificates for the relay's host and a controller, and what serves that host's table.
fn host(lab: &Lab) -> Result<MediaHost> {
    let certificates = Certificates::new(&[("relay", WEST)])?;
    MediaHost::new(lab, &certificates, "relay", WEST)
}

fn options(host: &MediaHost) -> Result<Options> {
    Ok(Options {
        address: host.address().parse()?,
        identity: Some(Arc::new(Identity::load(host.controller())?)),
        deadline: LIMIT,
        keep_alive: Duration::from_secs(5),
    })
}

fn a_controller_on_another_host_works_with_the_relay(lab: &Lab) -> Result<()> {
    module::ensure_loaded()?;
    let net = Topology::new(lab)?;
    let host = host(lab)?;
    // Its sockets are those of the caller's host.
    net.caller.enter(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("no runtime")?;
        runtime.block_on(control(lab, &net, &host))
    })
}

fn a_daemon_on_another_host_relays_calls(lab: &Lab) -> Result<()> {
    let host = host(lab)?;
    relays_calls(lab, CONTROLLER, |relay| host.start(relay))
}

/// The engine is another daemon, which is asked in the protocol of SIP servers.
fn a_daemon_relays_calls_by_an_engine_of_another_host(lab: &Lab) -> Result<()> {
    let engine = Setup {
        socket: "udp:10.1.0.1:19999",
        daemon: &["--allow", "10.1.0.2"],
        ..Setup::default()
    };
    let daemon = &["--lreproxy-sock", "udp:10.1.0.1:19999"];
    relays_calls(lab, daemon, |relay| start_daemon(lab, relay, &engine))
}

/// A daemon of the relay's host and one of another host, both with the same owner.
fn a_daemon_here_and_one_elsewhere_of_the_same_owner_take_turns(lab: &Lab) -> Result<()> {
    module::ensure_loaded()?;
    let net = Topology::new(lab)?;
    let host = host(lab)?;
    let served = host.start(&net.relay)?;
    let there = Setup {
        daemon: CONTROLLER,
        ..Setup::default()
    };
    let start_here = || start_daemon(lab, &net.relay, &Setup::default());
    let mut elsewhere = start_daemon(lab, &net.caller, &there)?;
    let is = |health: &str| {
        until(&format!("a relay that is {health}"), LIMIT, || {
            let list = ["tsl", "list", "--control-sock", "/tmp/elsewhere.sock"];
            let listed = net.caller.run(LREP_CL, &list)?;
            Ok(listed.contains(health).then_some(()))
        })
    };
    is("ready")?;
    let refusal = start_here().err().context("both have the owner")?;
    let part = format!(
        "owner 1 belongs to another controller (process {} of its host)",
        served.id()
    );
    ensure!(refusal.to_string().contains(&part), "{refusal}");

    lab.step("the one elsewhere is killed");
    elsewhere.signal(Signal::SIGKILL)?;
    elsewhere.wait(LIMIT)?;
    // That takes its way through the network.
    let here = until("the owner being free", LIMIT, || Ok(start_here().ok()))?;

    lab.step("the one elsewhere is started again, and waits for its turn");
    let _elsewhere = start_daemon(lab, &net.caller, &there)?;
    is("closed")?;
    let log = fs::read_to_string(lab.file("lrep-cl.log")).context("no log")?;
    let part = format!(
        "the relay refused it: owner 1 belongs to another controller (process {} of its host)",
        here.id()
    );
    let mut lines = log.lines();
    ensure!(
        lines.any(|line| line.contains("no calls go there") && line.contains(&part)),
        "{log}"
    );
    drop(here);
    is("ready")
}

/// A daemon on the caller's host answers a SIP server there with the relay of the host between, also
/// after what serves that relay was killed and started again.
fn relays_calls(
    lab: &Lab,
    daemon: &'static [&'static str],
    serve: impl Fn(&Namespace) -> Result<Process>,
) -> Result<()> {
    module::ensure_loaded()?;
    let net = Topology::new(lab)?;
    let served = serve(&net.relay)?;
    let setup = Setup {
        daemon,
        ..Setup::default()
    };
    let _daemon = start_daemon(lab, &net.caller, &setup)?;
    let server = udp(&net.caller, "127.0.0.1:0".parse()?)?;
    server.connect("127.0.0.1:22333")?;
    server.set_read_timeout(Some(LIMIT))?;
    let ask = |letter: char, number: u32| -> Result<Vec<u8>> {
        let request = format!(
            "1_{number} {letter} {CALLER} {EAST} {WEST} {CALLEE} {} {} {} {} 60 call@elsewhere ",
            CALLER_RTP.port(),
            EAST_RTP.port(),
            WEST_RTP.port(),
            CALLEE_RTP.port()
        );
        server.send(request.as_bytes())?;
        let mut answer = [0; 512];
        let length = server.recv(&mut answer).context("no answer")?;
        let answer = answer[..length].strip_prefix(request.as_bytes());
        Ok(answer.context("an answer to something else")?.to_vec())
    };
    ensure!(ask('S', 1)? == b"OK", "no relay");
    let relay = Relay::open(&net.relay)?;
    ensure!(relay.sessions()?.len() == 1, "no session");
    let caller = Party::new(&net.caller, CALLER_RTP)?;
    let sent = caller.send_rtp(WEST_RTP, 0..50)?;
    expect(&net.at_callee, EAST_RTP, CALLEE_RTP, &sent)?;
    lab.step("the host's program is killed, and started again");
    served.signal(Signal::SIGKILL)?;
    drop(served);
    net.at_callee.forget();
    let sent = caller.send_rtp(WEST_RTP, 50..100)?;
    expect(&net.at_callee, EAST_RTP, CALLEE_RTP, &sent)?;
    let _served = serve(&net.relay)?;
    // The call is known again as soon as the table was read.
    let mut number = 2;
    until("the relay being worked with again", LIMIT, || {
        number += 1;
        Ok((ask('S', number)? == b"OK").then_some(()))
    })?;
    ensure!(relay.sessions()?.len() == 1, "another session");
    ensure!(ask('D', 2)? == b"OK", "not deleted");
    ensure!(relay.sessions()?.is_empty(), "still a session");
    Ok(())
}

async fn control(lab: &Lab, net: &Topology, host: &MediaHost) -> Result<()> {
    let caller = Party::new(&net.caller, CALLER_RTP)?;
    let callee = Party::new(&net.callee, CALLEE_RTP)?;
    let pass = |first: u16| -> Result<()> {
        let sent = caller.send_rtp(WEST_RTP, first..first + 50)?;
        expect(&net.at_callee, EAST_RTP, CALLEE_RTP, &sent)?;
        net.at_callee.forget();
        let sent = callee.send_rtp(EAST_RTP, first..first + 50)?;
        expect(&net.at_caller, WEST_RTP, CALLER_RTP, &sent)?;
        net.at_caller.forget();
        Ok(())
    };

    lab.step("a call is set up");
    let mut process = host.start(&net.relay)?;
    let remote = Remote::connect(options(host)?).await?;
    let settings = SetConfig {
        ports: vec![PORTS.0..=PORTS.1],
        local_addresses: LOCALS.to_vec(),
        ..SetConfig::default()
    };
    remote.config_set(settings).await?;
    let mut events = remote.subscribe(None).await?;
    let new = session();
    let id = remote.session_new(new.clone()).await?.id;
    // What the kernel says of it to those who ask it here.
    let told = Relay::open(&net.relay)?.get(id)?;
    ensure!(told.label == new.label, "{told:?}");
    pass(0)?;
    ensure!(host.said("sip1 has come from 10.1.0.2")? == 1, "not logged");

    lab.step("what the kernel refuses comes through with its words");
    let taken = remote.session_new(new).await.err().context("made twice")?;
    ensure!(taken.is(nix::errno::Errno::EEXIST), "{taken}");
    let mut stream = session().streams[0];
    stream.a.local.set_port(0);
    let set = SetSession {
        id,
        streams: vec![stream],
        ..SetSession::default()
    };
    let refused = remote.session_set(set).await.err().context("set")?;
    let text = refused.to_string();
    ensure!(text.contains("local-port: 0 is not from 1"), "{text}");

    lab.step("the program on the relay's host is killed");
    process.signal(Signal::SIGKILL)?;
    process.wait(LIMIT)?;
    pass(50)?;
    ensure!(events.recv().await.is_none(), "events go on");
    let lost = remote.session_dump().await.err().context("an answer")?;
    ensure!(lost.is_uncertain(), "{lost}");

    lab.step("it is started again");
    let _process = host.start(&net.relay)?;
    pass(100)?;
    let mut events = remote.subscribe(None).await?;
    let sessions = remote.session_dump().await?;
    ensure!(sessions.len() == 1 && sessions[0].id == id, "{sessions:?}");
    let (packets, _) = sum(&sessions[0]);
    ensure!(packets == 300, "{packets} packets");
    let ended = remote.session_flush(Some(7)).await?;
    ensure!(ended == 1, "{ended} ended");
    let event = events.recv().await.context("no event")?;
    ensure!(
        matches!(&event, Event::Ended(state, EndReason::Flushed) if sum(state).0 == 300),
        "{event:?}"
    );
    Ok(())
}

fn session() -> NewSession {
    NewSession {
        label: b"call@elsewhere".to_vec(),
        owner: 7,
        timeout_ms: 60_000,
        streams: vec![Stream {
            kind: StreamKind::Rtp,
            a: Endpoint::new(WEST_RTP, Some(CALLER_RTP)),
            b: Endpoint::new(EAST_RTP, Some(CALLEE_RTP)),
        }],
        replace: false,
    }
}
