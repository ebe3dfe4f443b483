// SPDX-License-Identifier: MIT OR Apache-2.0

//! The network around the relay changes while media passes: neighbours, gateways, routes and
//! addresses. Nobody tells the relay.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use genl_proto::generated::DropReason;

use super::fixture::{expect_frames, idle_relay, session_on};
use super::path::Path;
use super::{Test, tests_on_paths};
use crate::guest::lab::Lab;
use crate::guest::packet::{Build, Datagram};
use crate::guest::raw::{RawSocket, hardware_address};
use crate::guest::relay::Relay;
use crate::guest::rtp::{SIZE, rtp};
use crate::guest::topology::{Family, Topology};
use crate::guest::wait::{LIMIT, until};

pub const ON_PATHS: &[Test] = tests_on_paths![
    a_silent_neighbour_costs_what_its_queue_does_not_hold: IPV4 IPV6 IPV4_TO_IPV6 IPV6_TO_IPV4,
    a_failed_neighbour_is_asked_again: IPV4 IPV6,
    a_gateway_may_change_its_hardware_address: IPV4 IPV6,
    a_route_that_flips_under_traffic_loses_no_packet: IPV4 IPV6,
    a_stream_stays_on_one_of_several_next_hops: IPV4 IPV6,
    an_address_that_comes_back_is_used_again: IPV4 IPV6,
];

/// A call from the caller's device, and what is to become of it.
struct Line {
    path: Path,
    id: u64,
    relay: Relay,
    sender: RawSocket,
    net: Topology,
}

impl Line {
    /// Between the parties of a path.
    fn new(lab: &Lab, path: Path) -> Result<Self> {
        let (net, relay) = idle_relay(lab)?;
        Ok(Self {
            path,
            id: relay.make(&session_on(path))?,
            sender: RawSocket::new(&net.caller, "wire", &net.relay, "west")?,
            relay,
            net,
        })
    }

    /// The same to a callee that is somewhere behind the link to the callee's host.
    fn to_afar(lab: &Lab, path: Path) -> Result<Self> {
        let afar = SocketAddr::new(path.east_family().address(9, 9), path.callee.port());
        Self::new(
            lab,
            Path {
                callee: afar,
                ..path
            },
        )
    }

    fn family(&self) -> Family {
        self.path.east_family()
    }

    /// Sends RTP packets with these numbers and returns what is to leave for the callee.
    fn send(&self, numbers: Range<u16>) -> Result<Vec<Build>> {
        send(&self.sender, self.path, numbers)
    }

    /// The hardware addresses of the link to the callee.
    fn link(&self) -> Result<([u8; 6], [u8; 6])> {
        let east = hardware_address(&self.net.relay, "east")?;
        Ok((east, hardware_address(&self.net.callee, "wire")?))
    }

    /// Gives the relay's host neighbours for good at the end of the link, of which the n-th has this
    /// address and that hardware address.
    fn add_gateways(&self, count: u8) -> Result<()> {
        let add = |number| {
            let address = self.family().address(2, 100 + number);
            let hardware = format!("02:00:00:00:00:{number:02x}");
            format!("neigh add {address} lladdr {hardware} dev east nud permanent\n")
        };
        self.net.relay.ip(&(0..count).map(add).collect::<String>())
    }

    /// The command of ip(8) that sends what is for the callee by way of such a neighbour.
    fn route_by(&self, number: u8) -> String {
        let gateway = self.family().address(2, 100 + number);
        format!(
            "route replace {} via {gateway} dev east\n",
            self.path.callee.ip()
        )
    }

    /// What the relay's host knows of the callee's host.
    fn neighbour(&self) -> Result<String> {
        let address = self.family().address(2, 2).to_string();
        self.net
            .relay
            .run("ip", &["neigh", "show", &address, "dev", "east"])
    }

    /// A setting of the relay's host about neighbours at the end of the link to the callee.
    fn set_neighbours(&self, setting: &str, value: &str) -> Result<()> {
        let path = format!("{}/neigh/east/{setting}", self.family().sysctls());
        self.net.relay.set_sysctl(&path, value)
    }

    /// The callee's host loses its address, so that it does not answer for it, or gets it back.
    fn set_callee_answers(&self, on: bool) -> Result<()> {
        let family = self.family();
        self.net.callee.ip(&if on {
            family.add_address(2, 2, "wire")
        } else {
            family.delete_address(2, 2, "wire")
        })
    }

    fn wait_until_relayed(&self, packets: u64) -> Result<()> {
        until("all packets relayed", LIMIT, || {
            let (_, from_caller, _) = &self.relay.get(self.id)?.streams[0];
            Ok((from_caller.packets == packets).then_some(()))
        })
    }
}

fn send(sender: &RawSocket, path: Path, numbers: Range<u16>) -> Result<Vec<Build>> {
    numbers
        .map(|number| {
            let packet = Build::new(path.caller, path.west, &rtp(1, number, SIZE));
            sender.send(&sender.frame(&packet)?)?;
            Ok(path.relayed(&packet))
        })
        .collect()
}

fn a_silent_neighbour_costs_what_its_queue_does_not_hold(lab: &Lab, path: Path) -> Result<()> {
    let line = Line::new(lab, path)?;
    // It is asked for as long as it takes.
    line.set_neighbours("mcast_solicit", "1000")?;
    line.set_callee_answers(false)?;
    let mut sent = line.send(0..50)?;
    line.wait_until_relayed(50)?;
    ensure!(line.net.at_callee.datagrams().is_empty(), "it arrived");
    line.set_callee_answers(true)?;
    expect_frames(&line.net.at_callee, line.link()?, &sent)?;

    lab.step("a queue of one packet");
    line.set_neighbours("unres_qlen_bytes", "0")?;
    line.set_callee_answers(false)?;
    line.net
        .relay
        .run("ip", &["neigh", "flush", "dev", "east"])?;
    sent.extend(line.send(50..60)?.pop());
    line.wait_until_relayed(60)?;
    line.set_callee_answers(true)?;
    expect_frames(&line.net.at_callee, line.link()?, &sent)
}

fn a_failed_neighbour_is_asked_again(lab: &Lab, path: Path) -> Result<()> {
    let line = Line::new(lab, path)?;
    line.set_neighbours("mcast_solicit", "1")?;
    line.set_neighbours("retrans_time_ms", "50")?;
    line.set_callee_answers(false)?;
    let has_failed = || {
        until("a failed neighbour", LIMIT, || {
            Ok(line.neighbour()?.contains("FAILED").then_some(()))
        })
    };
    for begin in [0, 10, 20] {
        line.send(begin..begin + 10)?;
        has_failed()?;
    }
    line.set_callee_answers(true)?;
    let sent = line.send(30..40)?;
    expect_frames(&line.net.at_callee, line.link()?, &sent)
}

fn a_gateway_may_change_its_hardware_address(lab: &Lab, path: Path) -> Result<()> {
    let line = Line::to_afar(lab, path)?;
    let (family, afar) = (line.family(), path.east_family().address(9, 9));
    // As routers do that take over for another one.
    line.net
        .callee
        .set_sysctl("net/ipv4/conf/wire/arp_notify", "1")?;
    line.net
        .callee
        .set_sysctl("net/ipv6/conf/wire/ndisc_notify", "1")?;
    let gateway = family.address(2, 2);
    line.net
        .relay
        .ip(&format!("route add {afar} via {gateway}\n"))?;
    let before = line.send(0..20)?;
    expect_frames(&line.net.at_callee, line.link()?, &before)?;
    let new = "02:00:00:00:00:99";
    line.net
        .callee
        .ip(&format!("link set wire address {new}\n"))?;
    until("the new hardware address", LIMIT, || {
        Ok(line.neighbour()?.contains(new).then_some(()))
    })?;
    let at_callee = lab.capture(&line.net.callee, "wire")?;
    let after = line.send(20..40)?;
    expect_frames(&at_callee, line.link()?, &after)
}

/// By way of which gateway each packet to a port left, which the gateways' hardware addresses tell.
fn gateways(seen: &[(u8, Datagram)]) -> BTreeMap<u16, Vec<u8>> {
    let mut found: BTreeMap<u16, Vec<u8>> = BTreeMap::new();
    for (gateway, datagram) in seen {
        found.entry(datagram.to.port()).or_default().push(*gateway);
    }
    found
}

/// Waits for datagrams to an address, each with the last byte of its frame's hardware address.
fn arrived(line: &Line, wanted: usize) -> Result<Vec<(u8, Datagram)>> {
    let to = line.path.callee.ip();
    line.net.at_callee.pick(wanted, LIMIT, |frame| {
        let datagram = Datagram::parse(frame).filter(|one| one.to.ip() == to)?;
        Some((*frame.bytes.get(5)?, datagram))
    })
}

fn a_route_that_flips_under_traffic_loses_no_packet(lab: &Lab, path: Path) -> Result<()> {
    const ROUNDS: u8 = 20;
    let line = Line::to_afar(lab, path)?;
    line.add_gateways(2)?;
    line.net.relay.ip(&line.route_by(0))?;
    let stop = AtomicBool::new(false);
    let count = AtomicU16::new(0);
    let wire = &line.sender;
    let path = line.path;
    let sent = thread::scope(|scope| {
        let sender = scope.spawn(|| -> Result<_> {
            let mut sent = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let number = count.fetch_add(1, Ordering::Relaxed);
                sent.extend(send(wire, path, number..number + 1)?);
                thread::sleep(Duration::from_millis(1));
            }
            Ok(sent)
        });
        // Each round flips as fast as the kernel can, and rests on the other way than the round
        // before until at least one whole packet was sent.
        let flipped = (0..ROUNDS).try_for_each(|round| {
            let flips: String = (0..11)
                .map(|flip| line.route_by((round + flip) % 2))
                .collect();
            line.net.relay.ip(&flips)?;
            let before = count.load(Ordering::Relaxed);
            until("the sender went on", LIMIT, || {
                Ok(
                    (count.load(Ordering::Relaxed) >= before + 2 || sender.is_finished())
                        .then_some(()),
                )
            })
        });
        stop.store(true, Ordering::Relaxed);
        let sent = sender.join().map_err(|_| anyhow!("the sender panicked"))?;
        flipped.and(sent)
    })?;
    let seen = arrived(&line, sent.len())
        .with_context(|| format!("the session: {:?}", line.relay.get(line.id)))?;
    ensure!(
        seen.iter()
            .map(|(_, one)| &one.payload)
            .eq(sent.iter().map(|one| &one.payload)),
        "other packets arrived"
    );
    // At the end there is one way again.
    let begin = sent.len() as u16;
    let last = line.send(begin..begin + 10)?;
    let seen = arrived(&line, sent.len() + last.len())?;
    ensure!(
        seen.iter()
            .rev()
            .take(last.len())
            .all(|(gateway, _)| *gateway == 1),
        "it went the old way"
    );
    let flips = seen.windows(2).filter(|pair| pair[0].0 != pair[1].0);
    ensure!(
        flips.count() >= usize::from(ROUNDS) / 2,
        "nothing flipped under traffic"
    );
    Ok(())
}

fn a_stream_stays_on_one_of_several_next_hops(lab: &Lab, path: Path) -> Result<()> {
    const STREAMS: u16 = 24;
    const PACKETS: u16 = 8;
    let line = Line::to_afar(lab, path)?;
    line.add_gateways(2)?;
    // The way is chosen by addresses and ports.
    let policy = format!("{}/fib_multipath_hash_policy", line.family().sysctls());
    line.net.relay.set_sysctl(&policy, "1")?;
    let hop = |number: u8| {
        let gateway = line.family().address(2, 100 + number);
        format!(" nexthop via {gateway} dev east")
    };
    let afar = line.path.callee.ip();
    let (first, second) = (hop(0), hop(1));
    line.net
        .relay
        .ip(&format!("route add {afar}{first}{second}\n"))?;
    let paths: Vec<_> = (0..STREAMS).map(|number| line.path.nth(number)).collect();
    let others: Vec<_> = paths.iter().skip(1).copied().map(session_on).collect();
    line.relay.make_many(&others)?;
    for number in 0..PACKETS {
        for path in &paths {
            send(&line.sender, *path, number..number + 1)?;
        }
    }
    let all = usize::from(STREAMS * PACKETS);
    let found = gateways(&arrived(&line, all)?);
    ensure!(found.len() == usize::from(STREAMS), "{found:?}");
    ensure!(
        found
            .values()
            .all(|gateways| gateways.len() == usize::from(PACKETS)
                && gateways[..] == [gateways[0]; PACKETS as usize]),
        "a stream did not stay on its way: {found:?}"
    );
    for gateway in [0, 1] {
        ensure!(
            found.values().any(|gateways| gateways[0] == gateway),
            "nothing went by way of {gateway}: {found:?}"
        );
    }
    // One of them goes: the streams on it move, and no packet is lost.
    line.net.relay.ip(&line.route_by(1))?;
    for path in &paths {
        send(&line.sender, *path, PACKETS..PACKETS + 1)?;
    }
    let seen = arrived(&line, all + usize::from(STREAMS))?;
    ensure!(
        seen.iter().skip(all).all(|(gateway, _)| *gateway == 1),
        "a stream stayed on a next hop that is gone"
    );
    Ok(())
}

fn an_address_that_comes_back_is_used_again(lab: &Lab, path: Path) -> Result<()> {
    let line = Line::new(lab, path)?;
    let family = line.family();
    let mut sent = line.send(0..10)?;
    expect_frames(&line.net.at_callee, line.link()?, &sent)?;
    line.net.relay.ip(&family.delete_address(2, 1, "east"))?;
    line.send(10..20)?;
    until("packets without a route counted", LIMIT, || {
        let (_, from_caller, _) = &line.relay.get(line.id)?.streams[0];
        Ok((from_caller.dropped(DropReason::NoRoute) == 10).then_some(()))
    })?;
    line.net.relay.ip(&family.add_address(2, 1, "east"))?;
    sent.extend(line.send(20..30)?);
    expect_frames(&line.net.at_callee, line.link()?, &sent)
}
