// SPDX-License-Identifier: MIT OR Apache-2.0

//! Three media hosts that share the address parties are told, and two controllers in front of all of
//! them that do not know of each other.

use std::collections::BTreeSet;
use std::fs;
use std::net::UdpSocket;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::many_calls::ManyCalls;
use super::{Test, tests};
use crate::guest::LREP_CL;
use crate::guest::lab::Lab;
use crate::guest::media_host::Certificates;
use crate::guest::media_hosts::Host;
use crate::guest::module;
use crate::guest::process::Process;
use crate::guest::sip::{Setup, start_daemon, start_server};
use crate::guest::topology::{Topology, udp};
use crate::guest::wait::{LIMIT, until};

pub const TESTS: &[Test] = tests![
    two_controllers_give_a_call_to_the_same_host,
    a_host_that_is_killed_loses_no_call_of_others_and_returns,
    a_host_that_is_frozen_loses_no_call_of_others_and_returns,
    a_host_that_is_cut_off_loses_no_call_of_others_and_returns,
    a_host_behind_a_slow_link_gets_its_calls,
    kamailio_goes_on_with_the_other_controller,
    kamailio_distributes_calls_over_two_controllers,
];

pub const LONG: &[Test] = tests![ten_thousand_calls_are_distributed_as_the_algorithm_promises];

/// The address all hosts have, which parties are told.
pub(super) const SHARED: &str = "10.9.0.1";

/// Calls that are placed together.
const CALLS: u32 = 24;

/// Numbers of algorithms (`lrep_alg`).
const ROUND_ROBIN: u8 = 1;
const WEIGHTED: u8 = 2;
const LEAST_SESSIONS: u8 = 3;
pub(super) const BY_CALL_ID: u8 = 5;

/// The daemons: each a node of its own for SIP servers, with a part of the ports of its own.
const SETUPS: [(&str, &[&str]); 2] = [
    (
        "udp:127.0.0.1:22333",
        &[
            "--config",
            CONFIGURATION,
            "--owner",
            "1",
            "--port-parts",
            "127.0.0.1,127.0.0.2",
            "--control-sock",
            CONTROL_SOCKETS[0],
        ],
    ),
    (
        "udp:127.0.0.1:22335",
        &[
            "--config",
            CONFIGURATION,
            "--owner",
            "2",
            "--port-parts",
            "127.0.0.2,127.0.0.1",
            "--control-sock",
            CONTROL_SOCKETS[1],
        ],
    ),
];

pub(super) const CONFIGURATION: &str = "/tmp/controllers.toml";

/// Where their operators ask.
pub(super) const CONTROL_SOCKETS: [&str; 2] = ["/tmp/first.sock", "/tmp/second.sock"];

/// One of the daemons.
struct Controller {
    process: Process,
    worker: UdpSocket,
    requests: u32,
    /// Where the ports it is told begin: each SIP server has its own.
    ports: u16,
}

impl Controller {
    fn start(lab: &Lab, net: &Topology, number: usize) -> Result<Self> {
        let worker = udp(&net.relay, "127.0.0.1:0".parse()?)?;
        worker.set_read_timeout(Some(LIMIT))?;
        worker.connect(SETUPS[number].0.trim_start_matches("udp:"))?;
        Ok(Self {
            process: start(lab, net, number)?,
            worker,
            requests: 0,
            ports: [1024, 33_000][number],
        })
    }

    /// Whether a relay was installed or removed.
    fn ask(&mut self, letter: char, call: u16) -> Result<bool> {
        self.requests += 1;
        let port = self.ports + 4 * call;
        let request = format!(
            "1_{} {letter} 10.1.0.2 {SHARED} {SHARED} 10.2.0.2 4000 {port} {} 5000 60 call-{call} ",
            self.requests,
            port + 2
        );
        self.worker.send(request.as_bytes())?;
        let mut answer = [0; 512];
        let length = self.worker.recv(&mut answer).context("no answer")?;
        match answer[..length].strip_prefix(request.as_bytes()) {
            Some(b"OK") => Ok(true),
            Some(b"ER") => Ok(false),
            _ => bail!("{request} was answered {}", answer[..length].escape_ascii()),
        }
    }

    /// Asks until it is done, as a callee that repeats its answer makes a SIP server do.
    fn insist(&mut self, letter: char, call: u16) -> Result<()> {
        until("a relay", LIMIT, || {
            Ok(self.ask(letter, call)?.then_some(()))
        })
    }
}

fn start(lab: &Lab, net: &Topology, number: usize) -> Result<Process> {
    let (socket, daemon) = SETUPS[number];
    let setup = Setup {
        socket,
        daemon,
        ..Setup::default()
    };
    start_daemon(lab, &net.relay, &setup)
}

/// All of it, running. Dropped in this order: the programs before the network.
struct Installation {
    controllers: Vec<Controller>,
    hosts: Vec<Host>,
    net: Topology,
    calls: u16,
}

impl Installation {
    fn start(lab: &Lab, controllers: usize, algorithm: u8, weights: [u32; 3]) -> Result<Self> {
        module::ensure_loaded()?;
        let net = Topology::new(lab)?;
        let (certificates, hosts) = Host::start(lab, &net, 3)?;
        for host in &hosts {
            host.seat
                .namespace
                .ip(&format!("address add {SHARED}/32 dev wire\n"))?;
        }
        configure(lab, &certificates, &hosts, algorithm, weights)?;
        let controllers = (0..controllers).map(|number| Controller::start(lab, &net, number));
        let installation = Self {
            controllers: controllers.collect::<Result<_>>()?,
            hosts,
            net,
            calls: 0,
        };
        for socket in &CONTROL_SOCKETS[..installation.controllers.len()] {
            wait_until_ready(&installation.net, socket, &installation.hosts)?;
        }
        Ok(installation)
    }

    /// Has each controller place the same new calls; tells which they are.
    fn place(&mut self, count: u32) -> Result<BTreeSet<Vec<u8>>> {
        let first = self.calls;
        self.calls += u16::try_from(count)?;
        for call in first..self.calls {
            for controller in &mut self.controllers {
                controller.insist('S', call)?;
            }
        }
        Ok((first..self.calls)
            .map(|call| format!("call-{call}").into_bytes())
            .collect())
    }

    /// Which calls of an owner each host has.
    fn calls_of(&self, owner: u32) -> Result<Vec<BTreeSet<Vec<u8>>>> {
        let hosts = self.hosts.iter().map(|host| {
            let sessions = host.relay.sessions()?.into_iter();
            let mine = sessions.filter(|session| session.owner == owner);
            Ok(mine.map(|session| session.label).collect())
        });
        hosts.collect()
    }

    /// Whether both controllers have these calls, each at one host and both at the same one; tells how
    /// many there are at each host.
    fn agree(&self, calls: &BTreeSet<Vec<u8>>) -> Result<Vec<usize>> {
        let these = |owner| -> Result<Vec<BTreeSet<Vec<u8>>>> {
            let hosts = self.calls_of(owner)?.into_iter();
            let these = hosts.map(|host| host.intersection(calls).cloned().collect());
            Ok(these.collect())
        };
        let (first, second) = (these(1)?, these(2)?);
        ensure!(first == second, "{first:?}, but {second:?}");
        let counts: Vec<_> = first.iter().map(BTreeSet::len).collect();
        ensure!(counts.iter().sum::<usize>() == calls.len(), "{counts:?}");
        Ok(counts)
    }

    /// Ends all calls, those of which the answer was lost included.
    fn end(&mut self) -> Result<()> {
        for call in 0..self.calls {
            for controller in &mut self.controllers {
                controller.insist('D', call)?;
            }
        }
        for host in &self.hosts {
            until("an empty session table", LIMIT, || {
                Ok(host.relay.sessions()?.is_empty().then_some(()))
            })?;
        }
        Ok(())
    }
}

/// Waits until the controller of this control socket knows what each host holds.
pub(super) fn wait_until_ready(net: &Topology, socket: &str, hosts: &[Host]) -> Result<()> {
    let arguments = ["tsl", "list", "--json", "--control-sock", socket];
    until("every host ready", LIMIT, || {
        let listed = net.relay.run(LREP_CL, &arguments)?;
        let listed: Vec<Value> = serde_json::from_str(&listed).context("no JSON")?;
        let ready = listed.iter().filter(|tsl| tsl["health"] == "ready").count();
        Ok((ready == hosts.len()).then_some(()))
    })
}

pub(super) fn configure(
    lab: &Lab,
    certificates: &Certificates,
    hosts: &[Host],
    algorithm: u8,
    weights: [u32; 3],
) -> Result<()> {
    let path = lab.file("controllers.toml");
    ensure!(path.as_os_str() == CONFIGURATION, "{}", path.display());
    let files = certificates.controller();
    let mut members = Vec::new();
    let mut media = String::new();
    for (host, weight) in hosts.iter().zip(weights) {
        let address = host.address()?;
        members.push(format!("grpc:{address}={weight}"));
        media += &format!("[media.\"grpc:{address}\"]\ninternal_ip = \"{SHARED}\"\n");
    }
    let text = format!(
        "lreproxy_sock = \"{}\"\nlrep_alg = {algorithm}\n\
         start_port = 1024\nend_port = 65528\nidle_timeout = 3600\nrequest_rate = 0\n\
         lreproxy_disable_tout = 1\nlreproxy_retr = 2\n\
         tls_cert = {:?}\ntls_key = {:?}\ntls_ca = {:?}\n{media}",
        members.join(" "),
        files.certificate,
        files.key,
        files.authorities
    );
    fs::write(&path, text).context("cannot write the daemons' configuration")
}

fn two_controllers_give_a_call_to_the_same_host(lab: &Lab) -> Result<()> {
    let mut installation = Installation::start(lab, 2, BY_CALL_ID, [1; 3])?;
    let calls = installation.place(2 * CALLS)?;
    let counts = installation.agree(&calls)?;
    lab.step(format!("calls at each host: {counts:?}"));
    ensure!(counts.iter().all(|count| *count > 0), "{counts:?}");
    installation.end()
}

/// The last host is taken away and comes back.
fn avoided(
    lab: &Lab,
    take: impl FnOnce(&Host) -> Result<()>,
    give_back: impl FnOnce(&mut Host) -> Result<()>,
) -> Result<()> {
    let mut installation = Installation::start(lab, 2, BY_CALL_ID, [1; 3])?;
    let before = installation.place(CALLS)?;
    let at_first = installation.agree(&before)?;
    let ids = |installation: &Installation| -> Result<Vec<Vec<u64>>> {
        let others = installation.hosts[..2].iter().map(|host| {
            let sessions = host.relay.sessions()?.into_iter();
            let old = sessions.filter(|session| before.contains(&session.label));
            Ok(old.map(|session| session.id).collect())
        });
        others.collect()
    };
    let untouched = ids(&installation)?;
    take(&installation.hosts[2])?;
    // One after the other is noticed to have gone; each call is relayed all the same in the end.
    let meanwhile = installation.place(CALLS)?;
    let last = &installation.calls_of(1)?[2] | &installation.calls_of(2)?[2];
    let given: Vec<_> = last.intersection(&meanwhile).collect();
    ensure!(given.is_empty(), "{given:?} went to a host that is gone");
    ensure!(ids(&installation)? == untouched, "calls of others changed");
    lab.step("calls went to the other hosts");
    give_back(&mut installation.hosts[2])?;
    let counts = until("calls at the host that is back", LIMIT * 2, || {
        let calls = installation.place(CALLS / 2)?;
        // One controller may be sooner than the other.
        let counts = installation.agree(&calls).ok();
        Ok(counts.filter(|counts| counts[2] > 0))
    })?;
    lab.step(format!("at first {at_first:?}, in the end {counts:?}"));
    ensure!(ids(&installation)? == untouched, "calls of others changed");
    installation.end()
}

fn a_host_that_is_killed_loses_no_call_of_others_and_returns(lab: &Lab) -> Result<()> {
    avoided(lab, Host::kill, Host::restart)
}

fn a_host_that_is_frozen_loses_no_call_of_others_and_returns(lab: &Lab) -> Result<()> {
    avoided(lab, Host::freeze, |host| host.thaw())
}

fn a_host_that_is_cut_off_loses_no_call_of_others_and_returns(lab: &Lab) -> Result<()> {
    avoided(lab, Host::cut_off, |host| host.put_back())
}

fn a_host_behind_a_slow_link_gets_its_calls(lab: &Lab) -> Result<()> {
    let mut installation = Installation::start(lab, 2, BY_CALL_ID, [1; 3])?;
    installation.hosts[2].slow_down(&installation.net, "100ms")?;
    let calls = installation.place(2 * CALLS)?;
    let counts = installation.agree(&calls)?;
    lab.step(format!("calls at each host: {counts:?}"));
    ensure!(counts.iter().all(|count| *count > 0), "{counts:?}");
    installation.end()
}

/// Kamailio with a node for each controller. It asks one that does not answer for a second each time.
fn kamailio(
    lab: &Lab,
    installation: &Installation,
    server: &'static [&'static str],
) -> Result<Process> {
    let setup = Setup {
        socket: "udp:127.0.0.1:22333,udp:127.0.0.1:22335",
        workers: 1,
        server,
        ..Setup::default()
    };
    start_server(lab, &installation.net.relay, &setup)
}

/// Has Kamailio place calls, and end them; tells how many each controller was given.
fn placed(lab: &Lab, installation: &Installation) -> Result<[usize; 2]> {
    let many = ManyCalls::place(lab, &installation.net, 4)?;
    let count = |owner| -> Result<usize> {
        let hosts = installation.calls_of(owner)?;
        Ok(hosts.iter().map(BTreeSet::len).sum())
    };
    let given = [count(1)?, count(2)?];
    many.hang_up()?;
    lab.step(format!("calls of each controller: {given:?}"));
    for host in &installation.hosts {
        until("an empty session table", LIMIT, || {
            Ok(host.relay.sessions()?.is_empty().then_some(()))
        })?;
    }
    ensure!(given.iter().sum::<usize>() == 4, "{given:?}");
    Ok(given)
}

/// A node that did not answer is left alone as long as the other one does.
fn kamailio_goes_on_with_the_other_controller(lab: &Lab) -> Result<()> {
    let mut installation = Installation::start(lab, 2, BY_CALL_ID, [1; 3])?;
    let _server = kamailio(lab, &installation, &["ALGORITHM=0", "RETRIES=2"])?;
    ensure!(placed(lab, &installation)? == [4, 0]);
    installation.controllers[0]
        .process
        .signal(Signal::SIGSTOP)?;
    lab.step("the first is frozen");
    ensure!(placed(lab, &installation)? == [0, 4]);
    installation.controllers[0]
        .process
        .signal(Signal::SIGCONT)?;
    let second = &mut installation.controllers[1].process;
    second.signal(Signal::SIGKILL)?;
    second.wait(LIMIT)?;
    lab.step("the first is back, the second was killed");
    ensure!(placed(lab, &installation)? == [4, 0]);
    Ok(())
}

fn kamailio_distributes_calls_over_two_controllers(lab: &Lab) -> Result<()> {
    let installation = Installation::start(lab, 2, BY_CALL_ID, [1; 3])?;
    let _server = kamailio(lab, &installation, &["ALGORITHM=1", "RETRIES=2"])?;
    for _ in 0..3 {
        ensure!(placed(lab, &installation)? == [2, 2]);
    }
    Ok(())
}

/// Within two hundredths of all calls.
fn ten_thousand_calls_are_distributed_as_the_algorithm_promises(lab: &Lab) -> Result<()> {
    const ALL: u32 = 10_000;
    for (algorithm, weights) in [
        (ROUND_ROBIN, [1, 1, 1]),
        (WEIGHTED, [1, 2, 5]),
        (LEAST_SESSIONS, [1, 1, 1]),
        (BY_CALL_ID, [1, 1, 1]),
    ] {
        let mut installation = Installation::start(lab, 1, algorithm, weights)?;
        // A test that says nothing for long counts as hung.
        for part in 1..=20 {
            installation.place(ALL / 20)?;
            lab.step(format!("{part} of 20 parts of the calls are there"));
        }
        let counts: Vec<_> = installation
            .calls_of(1)?
            .iter()
            .map(BTreeSet::len)
            .collect();
        lab.step(format!(
            "algorithm {algorithm}, weights {weights:?}: {counts:?}"
        ));
        let sum: u32 = weights.iter().sum();
        for (count, weight) in counts.iter().zip(weights) {
            let promised = f64::from(ALL) * f64::from(weight) / f64::from(sum);
            let off = (*count as f64 - promised).abs() / f64::from(ALL);
            ensure!(off <= 0.02, "{counts:?} with weights {weights:?}");
        }
        ensure!(counts.iter().sum::<usize>() == ALL as usize, "{counts:?}");
    }
    Ok(())
}
