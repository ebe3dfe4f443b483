// SPDX-License-Identifier: MIT OR Apache-2.0

//! A controller on another host, which works with the kernel's table over the network.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use lrep_cl::tls::{Files, Identity};
use lrep_cl::tsl::remote::{Options, Remote};
use lrep_cl::tsl::{
    EndReason, Endpoint, Event, NewSession, SetConfig, SetSession, Stream, StreamKind, Tsl, sum,
};
use nix::sys::signal::Signal;

use super::fixture::{CALLEE_RTP, CALLER_RTP, EAST_RTP, LOCALS, PORTS, WEST_RTP, expect};
use super::{Test, tests};
use crate::guest::lab::Lab;
use crate::guest::netns::Namespace;
use crate::guest::process::Process;
use crate::guest::relay::Relay;
use crate::guest::rtp::Party;
use crate::guest::sip::{Setup, lrep_cl, start_daemon};
use crate::guest::topology::{CALLEE, CALLER, EAST, Topology, WEST, udp};
use crate::guest::wait::{LIMIT, until};
use crate::guest::{module, shell};

pub const TESTS: &[Test] = tests![
    a_controller_on_another_host_works_with_the_relay,
    a_daemon_on_another_host_relays_calls,
];

/// Where the relay's host serves its table.
const PORT: u16 = 22_334;

/// The program that serves the table of the relay's host.
struct Host {
    certificates: PathBuf,
    log: PathBuf,
}

impl Host {
    /// Has certificates made for the relay's host, by its address, and for a controller.
    fn new(lab: &Lab) -> Result<Self> {
        let certificates = lab.file("tls");
        // From an earlier run in this guest.
        let _ = fs::remove_dir_all(&certificates);
        let made = |arguments: &[&str]| {
            let mut command = Command::new(lrep_cl());
            command.args(["tls", arguments[0]]).arg(&certificates);
            shell::run(command.args(&arguments[1..]))
        };
        made(&["init"])?;
        let address = WEST.to_string();
        made(&["issue", "relay", "--role", "host", "--address", &address])?;
        made(&["issue", "sip1", "--role", "controller"])?;
        Ok(Self {
            certificates,
            log: lab.file("lrep-tsl.log"),
        })
    }

    /// Serves, and waits until it does.
    fn start(&self, relay: &Namespace) -> Result<Process> {
        let files = self.files("relay");
        let mut command = relay.command(&lrep_cl());
        command
            .args(["tsl", "--listen", &format!("{WEST}:{PORT}")])
            .args(["--allow-name", "sip1", "--log-level", "debug"])
            .args([Path::new("--cert"), &files.certificate])
            .args([Path::new("--key"), &files.key])
            .args([Path::new("--ca"), &files.authorities])
            .env_clear();
        let before = self.said("ready, serving")?;
        let mut host = Process::start("lrep-cl tsl", &mut command, &self.log)?;
        until("lrep-cl tsl being ready", LIMIT, || {
            if let Some(status) = host.ended()? {
                let log = fs::read_to_string(&self.log).unwrap_or_default();
                bail!("lrep-cl tsl ended with {status}: {log}");
            }
            Ok((self.said("ready, serving")? > before).then_some(()))
        })?;
        Ok(host)
    }

    fn files(&self, name: &str) -> Files {
        let file = |name: String| self.certificates.join(name);
        Files {
            certificate: file(format!("{name}.pem")),
            key: file(format!("{name}.key")),
            authorities: file("ca.pem".to_owned()),
        }
    }

    /// How many lines of its log have this in them.
    fn said(&self, part: &str) -> Result<usize> {
        if !self.log.exists() {
            return Ok(0);
        }
        let log = fs::read_to_string(&self.log).context("no log")?;
        Ok(log.lines().filter(|line| line.contains(part)).count())
    }

    fn options(&self) -> Result<Options> {
        Ok(Options {
            address: format!("{WEST}:{PORT}").parse()?,
            identity: Some(Arc::new(Identity::load(self.files("sip1"))?)),
            deadline: LIMIT,
            keep_alive: Duration::from_secs(5),
        })
    }
}

fn a_controller_on_another_host_works_with_the_relay(lab: &Lab) -> Result<()> {
    module::ensure_loaded()?;
    let net = Topology::new(lab)?;
    let host = Host::new(lab)?;
    // Its sockets are those of the caller's host.
    net.caller.enter(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("no runtime")?;
        runtime.block_on(control(lab, &net, &host))
    })
}

/// The daemon on the caller's host answers a SIP server there with the relay of the host between.
fn a_daemon_on_another_host_relays_calls(lab: &Lab) -> Result<()> {
    module::ensure_loaded()?;
    let net = Topology::new(lab)?;
    let host = Host::new(lab)?;
    let served = host.start(&net.relay)?;
    let setup = Setup {
        daemon: &[
            "--lreproxy-sock",
            "grpc:10.1.0.1:22334",
            "--tls-cert",
            "/tmp/tls/sip1.pem",
            "--tls-key",
            "/tmp/tls/sip1.key",
            "--tls-ca",
            "/tmp/tls/ca.pem",
        ],
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
    let _served = host.start(&net.relay)?;
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

async fn control(lab: &Lab, net: &Topology, host: &Host) -> Result<()> {
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
    let remote = Remote::connect(host.options()?).await?;
    let settings = SetConfig {
        ports: Some(PORTS.0..=PORTS.1),
        local_addresses: LOCALS.to_vec(),
        ..SetConfig::default()
    };
    remote.config_set(settings).await?;
    let mut events = remote.subscribe().await?;
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
    let mut events = remote.subscribe().await?;
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
