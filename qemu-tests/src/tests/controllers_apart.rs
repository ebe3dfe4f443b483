// SPDX-License-Identifier: MIT OR Apache-2.0

//! Debian's Kamailio with two controllers in front of the same three media hosts, where one of the
//! controllers is on a machine of its own and goes away.
//!
//! ```text
//!   caller 10.1.0.2 -- Kamailio, second controller: forwards -- callee 10.2.0.2
//!                        |  bridge, 10.3.0.1
//!   first controller 10.3.0.21   media1 10.3.0.11   media2 10.3.0.12   media3 10.3.0.13
//! ```

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;

use super::controllers::{
    BY_CALL_ID, CONFIGURATION, CONTROL_SOCKETS, SHARED, configure, wait_until_ready,
};
use super::many_calls::ManyCalls;
use super::{Test, tests};
use crate::guest::lab::Lab;
use crate::guest::media_hosts::{Host, Seat};
use crate::guest::module;
use crate::guest::process::Process;
use crate::guest::sip::{Setup, start_daemon, start_server};
use crate::guest::topology::{Family, Topology};
use crate::guest::wait::{LIMIT, until};

pub const TESTS: &[Test] = tests![
    calls_avoid_a_controller_that_is_frozen_and_return,
    calls_avoid_a_controller_that_is_cut_off_and_return,
    calls_go_to_a_controller_behind_a_slow_link,
];

/// Calls that are placed together.
const CALLS: usize = 4;

/// Where the controllers listen; Kamailio comes to each from another address.
const SOCKETS: [&str; 2] = ["udp:10.3.0.21:22333", "udp:127.0.0.1:22335"];

/// Both, as Kamailio is told them.
const NODES: &str = "udp:10.3.0.21:22333,udp:127.0.0.1:22335";

/// Number of the first controller's address.
const SEAT: u8 = 21;

/// Further flags of the controllers.
const FLAGS: [&[&str]; 2] = [
    &[
        "--config",
        CONFIGURATION,
        "--owner",
        "1",
        "--allow",
        "127.0.0.0/8,10.3.0.1",
        "--port-parts",
        "10.3.0.1,127.0.0.1",
        "--control-sock",
        CONTROL_SOCKETS[0],
    ],
    &[
        "--config",
        CONFIGURATION,
        "--owner",
        "2",
        "--allow",
        "127.0.0.0/8,10.3.0.1",
        "--port-parts",
        "10.3.0.1,127.0.0.1",
        "--control-sock",
        CONTROL_SOCKETS[1],
    ],
];

/// The first node that answers, and one node after the other. Asking one that does not answer stalls a
/// worker for a second each time.
const FIRST: &[&str] = &["ALGORITHM=0", "RETRIES=2"];
const IN_TURN: &[&str] = &["ALGORITHM=1", "RETRIES=2"];

/// All of it, without Kamailio. Dropped in this order: the programs before the network.
struct Exchange {
    controllers: [Process; 2],
    hosts: Vec<Host>,
    seat: Seat,
    net: Topology,
}

impl Exchange {
    fn start(lab: &Lab) -> Result<Self> {
        module::ensure_loaded()?;
        let net = Topology::new(lab)?;
        Family::Ipv4.set_forwarding(&net.relay, true)?;
        let (certificates, hosts) = Host::start(lab, &net, 3)?;
        for (number, host) in hosts.iter().enumerate() {
            host.seat
                .namespace
                .ip(&format!("address add {SHARED}/32 dev wire\n"))?;
            let (at, table) = (host.address()?.ip(), table(number));
            net.relay
                .ip(&format!("route add {SHARED} via {at} table {table}\n"))?;
        }
        configure(lab, &certificates, &hosts, BY_CALL_ID, [1; 3])?;
        let seat = Seat::new(&net, "first", SEAT)?;
        let start = |number: usize, namespace| {
            let setup = Setup {
                socket: SOCKETS[number],
                daemon: FLAGS[number],
                ..Setup::default()
            };
            start_daemon(lab, namespace, &setup)
        };
        let exchange = Self {
            controllers: [start(0, &seat.namespace)?, start(1, &net.relay)?],
            hosts,
            seat,
            net,
        };
        exchange.wait_until_ready()?;
        Ok(exchange)
    }

    fn wait_until_ready(&self) -> Result<()> {
        let mut sockets = CONTROL_SOCKETS.iter();
        sockets.try_for_each(|socket| wait_until_ready(&self.net, socket, &self.hosts))
    }

    fn kamailio(&self, lab: &Lab, server: &'static [&'static str]) -> Result<Process> {
        let setup = Setup {
            socket: NODES,
            workers: 1,
            server,
            ..Setup::default()
        };
        let server = start_server(lab, &self.net.relay, &setup)?;
        lab.step("Kamailio is up");
        Ok(server)
    }

    /// Places calls, has all of them talk, ends them, and tells how many each controller was given.
    fn calls(&self, lab: &Lab) -> Result<[usize; 2]> {
        let many = ManyCalls::place(lab, &self.net, CALLS as u32)?;
        let (mut sessions, mut given) = (Vec::new(), [0; 2]);
        // Parties send to the address that all hosts have. Which of them has the call, the network
        // is told here by the port.
        let mut ports = Vec::new();
        for (number, host) in self.hosts.iter().enumerate() {
            for session in host.relay.sessions()? {
                let given = given.get_mut(session.owner as usize - 1);
                *given.context("a session of nobody's")? += 1;
                let streams = session.streams().into_iter();
                let locals = streams.flat_map(|stream| [stream.a.local, stream.b.local]);
                ports.extend(locals.map(|local| (local.port(), table(number))));
                sessions.push(session);
            }
        }
        ensure!(sessions.len() == CALLS, "{sessions:?}");
        let steer = |verb: &str| {
            let rules = ports.iter();
            let rules = rules.map(|(port, table)| {
                format!("rule {verb} to {SHARED} ipproto udp dport {port} lookup {table}\n")
            });
            self.net.relay.ip(&rules.collect::<String>())
        };
        steer("add")?;
        many.talk(&self.net, &sessions)?;
        steer("del")?;
        many.hang_up()?;
        for host in &self.hosts {
            until("an empty session table", LIMIT, || {
                Ok(host.relay.sessions()?.is_empty().then_some(()))
            })?;
        }
        lab.step(format!("calls of each controller: {given:?}"));
        Ok(given)
    }

    /// Has the second controller stay silent while calls are placed: the first gets all of them.
    fn calls_without_the_second(&self, lab: &Lab) -> Result<()> {
        self.controllers[1].signal(Signal::SIGSTOP)?;
        ensure!(self.calls(lab)? == [CALLS, 0]);
        self.controllers[1].signal(Signal::SIGCONT)
    }
}

/// The routing table that leads to a host.
fn table(host: usize) -> usize {
    101 + host
}

/// The first controller is taken away and comes back; calls meanwhile go by the other, and none fails.
fn avoided(
    lab: &Lab,
    take: impl Fn(&Exchange) -> Result<()>,
    give_back: impl Fn(&Exchange) -> Result<()>,
) -> Result<()> {
    let exchange = Exchange::start(lab)?;
    for (server, at_first) in [(FIRST, [CALLS, 0]), (IN_TURN, [CALLS / 2, CALLS / 2])] {
        let _server = exchange.kamailio(lab, server)?;
        ensure!(exchange.calls(lab)? == at_first);
        take(&exchange)?;
        lab.step("the first controller is gone");
        ensure!(exchange.calls(lab)? == [0, CALLS]);
        give_back(&exchange)?;
        exchange.wait_until_ready()?;
        lab.step("the first controller is back");
        if server == FIRST {
            // Kamailio leaves it alone as long as the other one answers.
            exchange.calls_without_the_second(lab)?;
            exchange.wait_until_ready()?;
        } else {
            // It asks again when it likes to.
            until("calls by the first controller", LIMIT * 4, || {
                Ok((exchange.calls(lab)?[0] > 0).then_some(()))
            })?;
        }
    }
    Ok(())
}

fn calls_avoid_a_controller_that_is_frozen_and_return(lab: &Lab) -> Result<()> {
    avoided(
        lab,
        |exchange| exchange.controllers[0].signal(Signal::SIGSTOP),
        |exchange| exchange.controllers[0].signal(Signal::SIGCONT),
    )
}

fn calls_avoid_a_controller_that_is_cut_off_and_return(lab: &Lab) -> Result<()> {
    avoided(
        lab,
        |exchange| exchange.seat.cut_off(),
        |exchange| exchange.seat.put_back(),
    )
}

fn calls_go_to_a_controller_behind_a_slow_link(lab: &Lab) -> Result<()> {
    let exchange = Exchange::start(lab)?;
    exchange.seat.slow_down(&exchange.net, "100ms")?;
    for (server, given) in [(FIRST, [CALLS, 0]), (IN_TURN, [CALLS / 2, CALLS / 2])] {
        let _server = exchange.kamailio(lab, server)?;
        ensure!(exchange.calls(lab)? == given);
    }
    Ok(())
}
