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
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;

use super::many_calls::ManyCalls;
use super::{Test, tests};
use crate::guest::lab::Lab;
use crate::guest::media_host::{Certificates, MediaHost};
use crate::guest::module;
use crate::guest::netns::Namespace;
use crate::guest::process::Process;
use crate::guest::relay::Relay;
use crate::guest::sip::{Setup, start_daemon, start_server};
use crate::guest::topology::{Family, Topology, udp};
use crate::guest::wait::{LIMIT, until};

pub const TESTS: &[Test] = tests![
    kamailio_uses_the_first_media_host_that_answers,
    kamailio_distributes_calls_over_media_hosts,
    calls_avoid_a_media_host_that_is_frozen_and_return,
    calls_avoid_a_media_host_that_is_killed_and_return,
    calls_avoid_a_media_host_that_is_cut_off_and_return,
];

/// Calls that are placed together.
const CALLS: u32 = 4;

/// The listener that stands for the second host.
const SECOND: &str = "127.0.0.1:22335";

/// One after the other. Asking a node that does not answer stalls the worker for a second each time:
/// with five times SIPp would repeat itself.
const IN_TURN: &[&str] = &["ALGORITHM=1", "RETRIES=2"];

struct Host {
    namespace: Namespace,
    relay: Relay,
    host: MediaHost,
    served: Process,
    created: u64,
}

/// All of it, running. Dropped in this order: the programs before the network.
struct Exchange {
    _server: Process,
    _daemon: Process,
    hosts: Vec<Host>,
    net: Topology,
}

impl Exchange {
    fn start(lab: &Lab, server: &'static [&'static str]) -> Result<Self> {
        module::ensure_loaded()?;
        let net = Topology::new(lab)?;
        Family::Ipv4.set_forwarding(&net.relay, true)?;
        net.relay.ip(&format!(
            "link add media type bridge\n{}link set media up\n",
            Family::Ipv4.add_address(3, 1, "media")
        ))?;
        let members = [("media1", 11), ("media2", 12)];
        let addresses = members.map(|(name, host)| (name, Family::Ipv4.address(3, host)));
        let certificates = Certificates::new(&addresses)?;
        let mut hosts = Vec::new();
        for ((name, number), (_, address)) in members.into_iter().zip(addresses) {
            let namespace = Namespace::new(name)?;
            net.relay.ip(&format!(
                "link add {name} type veth peer name wire netns {name}\n\
                 link set {name} master media up\n"
            ))?;
            namespace.ip(&format!(
                "{}link set wire up\nroute add default via {}\n",
                Family::Ipv4.add_address(3, number, "wire"),
                Family::Ipv4.address(3, 1)
            ))?;
            let host = MediaHost::new(lab, &certificates, name, address)?;
            let served = host.start(&namespace)?;
            hosts.push(Host {
                relay: Relay::open(&namespace)?,
                namespace,
                host,
                served,
                created: 0,
            });
        }
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
            net,
        })
    }

    /// Places calls, has all of them talk, ends them, and tells how many each host was given.
    fn calls(&mut self, lab: &Lab) -> Result<[u64; 2]> {
        let many = ManyCalls::place(lab, &self.net, CALLS)?;
        let mut sessions = Vec::new();
        let mut given = [0; 2];
        for (host, given) in self.hosts.iter_mut().zip(&mut given) {
            sessions.extend(host.relay.sessions()?);
            let created = host.relay.totals()?.created;
            *given = created - host.created;
            host.created = created;
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
    let urls: Vec<_> = hosts
        .iter()
        .map(|host| format!("grpc:{}", host.host.address()))
        .collect();
    let ip = |url: &str| -> Result<IpAddr> {
        let address: SocketAddr = url.trim_start_matches("grpc:").parse()?;
        Ok(address.ip())
    };
    let mut text = format!(
        "lreproxy_sock = [\"0 == {}\", \"1 == {}\"]\n\
         sets = [\"udp:{SECOND}=1\"]\n\
         lreproxy_disable_tout = 1\n\
         lreproxy_retr = 2\n\
         tls_cert = {:?}\ntls_key = {:?}\ntls_ca = {:?}\n",
        urls[0], urls[1], files.certificate, files.key, files.authorities
    );
    for url in &urls {
        text += &format!("[media.\"{url}\"]\ninternal_ip = \"{}\"\n", ip(url)?);
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
    avoided(
        lab,
        |host| host.served.signal(Signal::SIGSTOP),
        |host| host.served.signal(Signal::SIGCONT),
    )
}

fn calls_avoid_a_media_host_that_is_killed_and_return(lab: &Lab) -> Result<()> {
    avoided(
        lab,
        |host| host.served.signal(Signal::SIGKILL),
        |host| {
            host.served = host.host.start(&host.namespace)?;
            Ok(())
        },
    )
}

fn calls_avoid_a_media_host_that_is_cut_off_and_return(lab: &Lab) -> Result<()> {
    avoided(
        lab,
        |host| host.namespace.ip("link set wire down\n"),
        |host| {
            host.namespace.ip("link set wire up\n")?;
            // It went with the link.
            let gateway = Family::Ipv4.address(3, 1);
            host.namespace
                .ip(&format!("route add default via {gateway}\n"))
        },
    )
}
