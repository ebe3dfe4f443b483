// SPDX-License-Identifier: MIT OR Apache-2.0

//! Debian's Kamailio with media hosts that have addresses of their own, and one daemon that is a node
//! for each.
//!
//! ```text
//!   caller 10.1.0.2 -- Kamailio, lrep-cl: forwards -- callee 10.2.0.2
//!                        |  bridge, 10.3.0.1
//!              media1 10.3.0.11   media2 10.3.0.12
//! ```

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::many_calls::ManyCalls;
use super::{Test, tests};
use crate::guest::lab::Lab;
use crate::guest::media_host::Certificates;
use crate::guest::media_hosts::Host;
use crate::guest::module;
use crate::guest::process::Process;
use crate::guest::sip::{Setup, start_daemon, start_server};
use crate::guest::topology::{Family, Topology, udp};
use crate::guest::wait::{LIMIT, until};

pub const TESTS: &[Test] = tests![
    kamailio_uses_the_first_media_host_that_answers,
    kamailio_distributes_calls_over_media_hosts,
    calls_avoid_a_media_host_that_is_frozen_and_return,
    calls_avoid_a_media_host_that_is_killed_and_return,
    calls_avoid_a_media_host_that_is_cut_off_and_return,
    calls_go_to_a_media_host_behind_a_slow_link,
];

/// Calls that are placed together.
const CALLS: u32 = 4;

/// The listener that stands for the second host.
const SECOND: &str = "127.0.0.1:22335";

/// One after the other. Asking a node that does not answer stalls the worker for a second each time:
/// with five times SIPp would repeat itself.
const IN_TURN: &[&str] = &["ALGORITHM=1", "RETRIES=2"];

/// All of it, running. Dropped in this order: the programs before the network.
struct Exchange {
    _server: Process,
    _daemon: Process,
    hosts: Vec<Host>,
    /// Sessions each had made when they were last looked at.
    created: [u64; 2],
    net: Topology,
}

impl Exchange {
    fn start(lab: &Lab, server: &'static [&'static str]) -> Result<Self> {
        module::ensure_loaded()?;
        let net = Topology::new(lab)?;
        Family::Ipv4.set_forwarding(&net.relay, true)?;
        let (certificates, hosts) = Host::start(lab, &net, 2)?;
        configure(lab, &certificates, &hosts)?;
        let setup = Setup {
            socket: "udp:127.0.0.1:22333,udp:127.0.0.1:22335",
            workers: 1,
            daemon: &["--config", CONFIGURATION],
            server,
            ..Setup::default()
        };
        let daemon = start_daemon(lab, &net.relay, &setup)?;
        lab.step("lrep-cl is up");
        let server = start_server(lab, &net.relay, &setup)?;
        lab.step("Kamailio is up");
        Ok(Self {
            _server: server,
            _daemon: daemon,
            hosts,
            created: [0; 2],
            net,
        })
    }

    /// Places calls, has all of them talk, ends them, and tells how many each host was given.
    fn calls(&mut self, lab: &Lab) -> Result<[u64; 2]> {
        let many = ManyCalls::place(lab, &self.net, CALLS)?;
        let mut sessions = Vec::new();
        let mut given = [0; 2];
        for ((host, given), before) in self.hosts.iter().zip(&mut given).zip(&mut self.created) {
            sessions.extend(host.relay.sessions()?);
            let created = host.relay.totals()?.created;
            *given = created - *before;
            *before = created;
        }
        ensure!(sessions.len() == CALLS as usize, "{sessions:?}");
        many.talk(&self.net, &sessions)?;
        many.hang_up()?;
        for host in &self.hosts {
            until("an empty session table", LIMIT, || {
                Ok(host.relay.sessions()?.is_empty().then_some(()))
            })?;
        }
        lab.step(format!("calls at each host: {given:?}"));
        Ok(given)
    }

    /// Waits until the daemon answers for the second host, or no longer does.
    fn wait_for_second(&self, is_there: bool) -> Result<()> {
        let socket = udp(&self.net.relay, "127.0.0.1:0".parse()?)?;
        let daemon: SocketAddr = SECOND.parse()?;
        let mut number = 0;
        until("the second host coming or going", LIMIT, || {
            number += 1;
            Ok((answers(&socket, daemon, number)? == is_there).then_some(()))
        })
    }
}

/// Whether the daemon answers a `P` within a while that is long for it.
fn answers(socket: &UdpSocket, daemon: SocketAddr, number: u32) -> Result<bool> {
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    socket.send_to(format!("1_{number} P").as_bytes(), daemon)?;
    let mut answer = [0; 64];
    Ok(socket.recv(&mut answer).is_ok())
}

const CONFIGURATION: &str = "/tmp/media-hosts.toml";

fn configure(lab: &Lab, certificates: &Certificates, hosts: &[Host]) -> Result<()> {
    let path = lab.file("media-hosts.toml");
    ensure!(path.as_os_str() == CONFIGURATION, "{}", path.display());
    let files = certificates.controller();
    let addresses = hosts.iter().map(Host::address);
    let addresses = addresses.collect::<Result<Vec<_>>>()?;
    let [first, second] = addresses[..] else {
        bail!("not two hosts: {addresses:?}");
    };
    let mut text = format!(
        "lreproxy_sock = [\"0 == grpc:{first}\", \"1 == grpc:{second}\"]\n\
         sets = [\"udp:{SECOND}=1\"]\n\
         lreproxy_disable_tout = 1\n\
         lreproxy_retr = 2\n\
         tls_cert = {:?}\ntls_key = {:?}\ntls_ca = {:?}\n",
        files.certificate, files.key, files.authorities
    );
    for address in addresses {
        let ip = address.ip();
        text += &format!("[media.\"grpc:{address}\"]\ninternal_ip = \"{ip}\"\n");
    }
    fs::write(&path, text).context("cannot write the daemon's configuration")
}

fn kamailio_uses_the_first_media_host_that_answers(lab: &Lab) -> Result<()> {
    let mut exchange = Exchange::start(lab, &["ALGORITHM=0"])?;
    let given = exchange.calls(lab)?;
    ensure!(given == [u64::from(CALLS), 0], "{given:?}");
    Ok(())
}

fn kamailio_distributes_calls_over_media_hosts(lab: &Lab) -> Result<()> {
    let mut exchange = Exchange::start(lab, IN_TURN)?;
    let mut sum = [0; 2];
    for _ in 0..3 {
        for (sum, given) in sum.iter_mut().zip(exchange.calls(lab)?) {
            *sum += given;
        }
    }
    ensure!(sum == [6, 6], "{sum:?}");
    Ok(())
}

/// A host is taken away and comes back; calls meanwhile go to the other, and none fails.
fn avoided(
    lab: &Lab,
    take: impl FnOnce(&Host) -> Result<()>,
    give_back: impl FnOnce(&mut Host) -> Result<()>,
) -> Result<()> {
    let mut exchange = Exchange::start(lab, IN_TURN)?;
    let given = exchange.calls(lab)?;
    ensure!(given.iter().all(|given| *given > 0), "{given:?}");
    take(&exchange.hosts[1])?;
    exchange.wait_for_second(false)?;
    lab.step("the second host is gone");
    let given = exchange.calls(lab)?;
    ensure!(given == [u64::from(CALLS), 0], "{given:?}");
    give_back(&mut exchange.hosts[1])?;
    exchange.wait_for_second(true)?;
    lab.step("the second host is back");
    // Kamailio asks again when it likes to.
    until("calls at the second host", LIMIT * 4, || {
        Ok((exchange.calls(lab)?[1] > 0).then_some(()))
    })
}

fn calls_avoid_a_media_host_that_is_frozen_and_return(lab: &Lab) -> Result<()> {
    avoided(lab, Host::freeze, |host| host.thaw())
}

fn calls_avoid_a_media_host_that_is_killed_and_return(lab: &Lab) -> Result<()> {
    avoided(lab, Host::kill, Host::restart)
}

fn calls_avoid_a_media_host_that_is_cut_off_and_return(lab: &Lab) -> Result<()> {
    avoided(lab, Host::cut_off, |host| host.put_back())
}

fn calls_go_to_a_media_host_behind_a_slow_link(lab: &Lab) -> Result<()> {
    let mut exchange = Exchange::start(lab, IN_TURN)?;
    exchange.hosts[1].slow_down(&exchange.net, "100ms")?;
    for _ in 0..2 {
        let given = exchange.calls(lab)?;
        ensure!(given == [2, 2], "{given:?}");
    }
    Ok(())
}
