// SPDX-License-Identifier: MIT OR Apache-2.0

//! What devices do to packets on their way in and out: VLANs, large frames, aggregation, queues.

use std::io::IoSlice;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use genl_proto::generated::{DropReason, quality, receiving, sending};
use nix::libc;
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrStorage, sendmsg, setsockopt, sockopt};
use nix::time::{ClockId, clock_gettime};

use super::fixture::{Call, expect, expect_frames, session_on};
use super::path::Path;
use super::{Test, tests, tests_on_all_paths, tests_on_paths};
use crate::guest::capture::Capture;
use crate::guest::lab::Lab;
use crate::guest::netns::Namespace;
use crate::guest::packet::{Build, Datagram, IcmpError, IcmpKind};
use crate::guest::raw::{RawSocket, hardware_address};
use crate::guest::relay::{Asked, Session};
use crate::guest::rtp::{SIZE, rtp};
use crate::guest::topology::Family;
use crate::guest::wait::{LIMIT, until};

pub const ON_ALL_PATHS: &[Test] = tests_on_all_paths![
    media_passes_between_vlans,
    jumbo_frames_pass_whole,
    a_jumbo_frame_too_big_for_the_path_is_answered,
    aggregated_packets_are_relayed_and_measured_one_by_one,
    an_aggregated_packet_too_big_for_the_path_is_answered,
    a_fair_queue_delays_and_drops_no_media,
    mark_and_priority_are_as_specified,
];

pub const TESTS: &[Test] = tests![media_passes_into_and_out_of_vlans_whoever_handles_tags];

pub const ON_PATHS: &[Test] = tests_on_paths![
    a_jumbo_frame_too_big_for_the_path_is_fragmented_when_it_may_be: IPV4 IPV4_TO_IPV6,
    nothing_slips_through_among_aggregated_packets: IPV4 IPV6,
];

/// Expedited forwarding, from a sender that understands ECN.
const TRAFFIC_CLASS: u8 = 0xb8 | 1;
/// The priority that Linux gives IPv4 packets of this class when it forwards them.
const PRIORITY: u16 = 4;

/// A session whose packets to the callee get this.
fn session(path: Path, callee: Asked) -> Session {
    let mut session = session_on(path);
    session.streams[0].b.asked = callee;
    session
}

/// The hardware addresses of the link to the callee.
fn link(call: &Call) -> Result<([u8; 6], [u8; 6])> {
    let east = hardware_address(&call.net.relay, "east")?;
    Ok((east, hardware_address(&call.net.callee, "wire")?))
}

/// An RTP packet of the caller.
fn packet(path: Path, number: u16, size: usize) -> Build {
    let mut packet = Build::new(path.caller, path.west, &rtp(1, number, size));
    packet.tos = TRAFFIC_CLASS;
    packet
}

const VLAN: u16 = 7;

/// Gives the addresses of one end of a link to a VLAN on it.
fn use_vlan(namespace: &Namespace, device: &str, network: u8, host: u8) -> Result<()> {
    let moved = |family: Family| {
        family.delete_address(network, host, device)
            + &family.add_address(network, host, &format!("{device}.{VLAN}"))
    };
    namespace.ip(&format!(
        "link add link {device} name {device}.{VLAN} type vlan id {VLAN} egress-qos-map {PRIORITY}:5\n\
         link set {device}.{VLAN} up\n{}",
        Family::ALL.map(moved).concat()
    ))
}

/// Media from one side to the other, of which either or both are VLANs, with devices that handle
/// tags or leave that to the kernel.
fn pass_vlans(lab: &Lab, path: Path, (west, east): (bool, bool), offload: &str) -> Result<()> {
    let call = Call::new(lab, path)?;
    let net = &call.net;
    for (namespace, device) in net.devices() {
        let states = ["-K", device, "txvlan", offload, "rxvlan", offload];
        namespace.run("ethtool", &states)?;
    }
    let mut devices = ("wire".to_owned(), "west".to_owned());
    if west {
        use_vlan(&net.caller, "wire", 1, 2)?;
        use_vlan(&net.relay, "west", 1, 1)?;
        devices = (format!("wire.{VLAN}"), format!("west.{VLAN}"));
    }
    if east {
        use_vlan(&net.relay, "east", 2, 1)?;
        use_vlan(&net.callee, "wire", 2, 2)?;
    }
    let sender = RawSocket::new(&net.caller, &devices.0, &net.relay, &devices.1)?;
    let mut wanted = Vec::new();
    for number in 0..20 {
        let packet = packet(path, number, SIZE);
        sender.send(&sender.frame(&packet)?)?;
        wanted.push(path.relayed(&packet));
    }
    expect_frames(&net.at_callee, link(&call)?, &wanted)?;
    let tags = net.at_callee.pick(wanted.len(), LIMIT, |frame| {
        Datagram::parse(frame).map(|_| frame.vlan)
    })?;
    let priority = match path.east_family() {
        Family::Ipv4 => 5 << 13,
        Family::Ipv6 => 0,
    };
    let tag = east.then_some(priority | VLAN);
    ensure!(tags.iter().all(|one| *one == tag), "{tags:?}");
    Ok(())
}

fn media_passes_between_vlans(lab: &Lab, path: Path) -> Result<()> {
    pass_vlans(lab, path, (true, true), "on")
}

fn media_passes_into_and_out_of_vlans_whoever_handles_tags(lab: &Lab) -> Result<()> {
    for (west, east, offload) in [
        (true, false, "on"),
        (false, true, "off"),
        (true, true, "off"),
    ] {
        lab.step(format!("west {west}, east {east}, offload {offload}"));
        pass_vlans(lab, Path::IPV4, (west, east), offload)?;
    }
    Ok(())
}

/// Bytes of the IP header and the UDP header.
fn headers(family: Family) -> usize {
    match family {
        Family::Ipv4 => 20 + 8,
        Family::Ipv6 => 40 + 8,
    }
}

const JUMBO: usize = 9000;

fn jumbo_frames_pass_whole(lab: &Lab, path: Path) -> Result<()> {
    let call = Call::new(lab, path)?;
    call.net.set_mtu(JUMBO as u32)?;
    let sender = call.callers_device()?;
    let room = JUMBO - headers(path.west_family()).max(headers(path.east_family()));
    let mut wanted = Vec::new();
    for (size, number) in [1473, 4097, room - 1, room].into_iter().zip(0..) {
        let mut packet = packet(path, number, size);
        packet.dont_fragment = true;
        sender.send(&sender.frame(&packet)?)?;
        wanted.push(path.relayed(&packet));
    }
    expect_frames(&call.net.at_callee, link(&call)?, &wanted)
}

/// The packet that fits when one is too big that goes on over a link with 1500 bytes.
fn too_big(path: Path) -> IcmpError {
    let mtu = 1500 - headers(path.east_family()) + headers(path.west_family());
    IcmpError {
        from: path.west.ip(),
        kind: IcmpKind::TooBig { mtu: mtu as u32 },
        about: (path.caller, path.west),
    }
}

fn icmp_error(capture: &Capture) -> Result<IcmpError> {
    let mut errors = capture.pick(1, LIMIT, IcmpError::parse)?;
    Ok(errors.remove(0))
}

fn a_jumbo_frame_too_big_for_the_path_is_answered(lab: &Lab, path: Path) -> Result<()> {
    let call = Call::new(lab, path)?;
    call.net.set_mtu(JUMBO as u32)?;
    call.net.set_callees_mtu(1500)?;
    let sender = call.callers_device()?;
    let mut packet = packet(path, 1, 8000);
    packet.dont_fragment = true;
    sender.send(&sender.frame(&packet)?)?;
    let error = icmp_error(&call.net.at_caller)?;
    ensure!(error == too_big(path), "{error:?}");
    Ok(())
}

fn a_jumbo_frame_too_big_for_the_path_is_fragmented_when_it_may_be(
    lab: &Lab,
    path: Path,
) -> Result<()> {
    let call = Call::new(lab, path)?;
    call.net.set_mtu(JUMBO as u32)?;
    call.net.set_callees_mtu(1500)?;
    let sender = call.callers_device()?;
    let packet = packet(path, 1, 8000);
    sender.send(&sender.frame(&packet)?)?;
    call.callee.rtp.set_read_timeout(Some(LIMIT))?;
    let mut buffer = [0; JUMBO];
    let (length, from) = call.callee.rtp.recv_from(&mut buffer)?;
    ensure!(
        buffer[..length] == packet.payload,
        "another payload arrived"
    );
    ensure!(from == path.east, "it came from {from}");
    Ok(())
}

/// Has a socket send the parts of this size as datagrams of their own, all at once (udp(7)).
fn send_parts(socket: &UdpSocket, path: Path, parts: &[Vec<u8>]) -> Result<()> {
    let size = parts.first().map_or(0, Vec::len) as libc::c_int;
    setsockopt(socket, sockopt::UdpGsoSegment, &size).context("cannot send many at once")?;
    socket
        .send_to(&parts.concat(), path.west)
        .context("cannot send many at once")?;
    Ok(())
}

/// The ways in which a device aggregates packets that are forwarded (ethtool(8)).
const AGGREGATION: [&str; 2] = ["rx-udp-gro-forwarding", "rx-gro-list"];

/// Makes the relay's device on the caller's side aggregate what the caller sends at once.
fn aggregate(call: &Call, how: &str) -> Result<()> {
    // The caller's host makes packets of them, not its device.
    call.net
        .caller
        .run("ethtool", &["-K", "wire", "tx-udp-segmentation", "off"])?;
    let on = ["-K", "west", "gro", "on", how, "on"];
    call.net.relay.run("ethtool", &on).map(|_| ())
}

fn aggregated_packets_are_relayed_and_measured_one_by_one(lab: &Lab, path: Path) -> Result<()> {
    // 3 never arrives, 6 is repeated, 9 is late.
    const NUMBERS: [u16; 12] = [0, 1, 2, 4, 5, 6, 6, 7, 8, 10, 9, 11];
    for how in AGGREGATION {
        lab.step(how);
        let callee = Asked::default().sending(sending::DSCP, 46);
        let call = Call::with(lab, path, &session(path, callee))?;
        aggregate(&call, how)?;
        // What leaves is separate packets again.
        call.net
            .relay
            .run("ethtool", &["-K", "east", "tx-udp-segmentation", "off"])?;
        let parts =
            |begin: u16| NUMBERS.map(|number| rtp(call.caller.source, begin + number, SIZE));
        let mut sent = parts(0).to_vec();
        send_parts(&call.caller.rtp, path, &sent)?;
        // Once with a look at what the relay gets, which clones it.
        expect(&call.net.at_callee, path.east, path.callee, &sent)?;
        let at_relay = lab.capture(&call.net.relay, "west")?;
        let second = parts(12).to_vec();
        send_parts(&call.caller.rtp, path, &second)?;
        sent.extend(second);
        let seen = expect(&call.net.at_callee, path.east, path.callee, &sent)?;
        ensure!(
            seen.iter().all(|one| (one.ttl, one.tos) == (63, 0xb8)),
            "{seen:?}"
        );
        // What this is about.
        at_relay
            .pick(1, LIMIT, |frame| {
                (frame.bytes.len() > 2 * SIZE).then_some(())
            })
            .context("nothing was aggregated")?;
        let from_a = &call.counters()?[0];
        ensure!(
            (from_a.packets, from_a.bytes) == (24, 24 * SIZE as u64) && from_a.drops.is_empty(),
            "{from_a:?}"
        );
        for (what, wanted) in [
            (quality::LOST, 2),
            (quality::DUPLICATES, 2),
            (quality::REORDERED, 2),
            (quality::HIGHEST_SEQUENCE, 23),
        ] {
            let found = from_a.quality.get(&what);
            ensure!(found == Some(&wanted), "{what}: {from_a:?}");
        }
    }
    Ok(())
}

fn nothing_slips_through_among_aggregated_packets(lab: &Lab, path: Path) -> Result<()> {
    for how in AGGREGATION {
        lab.step(how);
        let mut pinned = session_on(path);
        pinned.streams[0].a.asked = Asked::default().receiving(receiving::SSRC, 1);
        let call = Call::with(lab, path, &pinned)?;
        aggregate(&call, how)?;
        // What is no RTP, and another source. Neither is the first.
        let bad = [vec![0x40; SIZE], rtp(2, 7, SIZE)];
        for bad in &bad {
            let parts = [rtp(1, 0, SIZE), bad.clone(), rtp(1, 1, SIZE)];
            send_parts(&call.caller.rtp, path, &parts)?;
        }
        let from_a = until("all packets counted", LIMIT, || {
            let from_a = call.counters()?.remove(0);
            let dropped: u64 = from_a.drops.iter().map(|(_, packets)| packets).sum();
            Ok((from_a.packets + dropped == 6).then_some(from_a))
        })?;
        let last = rtp(1, 2, SIZE);
        send_parts(&call.caller.rtp, path, std::slice::from_ref(&last))?;
        let seen = |one: &Datagram| one.payload == last;
        call.net.at_callee.wait_for(1, LIMIT, seen)?;
        for reason in [DropReason::Malformed, DropReason::ForeignSsrc] {
            ensure!(from_a.dropped(reason) > 0, "{from_a:?}");
        }
        let seen = call.net.at_callee.datagrams();
        ensure!(
            seen.iter().all(|one| !bad.contains(&one.payload)),
            "something passed: {seen:?}"
        );
    }
    Ok(())
}

fn an_aggregated_packet_too_big_for_the_path_is_answered(lab: &Lab, path: Path) -> Result<()> {
    for how in AGGREGATION {
        lab.step(how);
        let call = Call::new(lab, path)?;
        aggregate(&call, how)?;
        call.net.set_mtu(JUMBO as u32)?;
        call.net.set_callees_mtu(1500)?;
        // Sockets ask that nobody fragments.
        let parts: Vec<_> = (0..4).map(|number| rtp(1, number, 2000)).collect();
        send_parts(&call.caller.rtp, path, &parts)?;
        let error = icmp_error(&call.net.at_caller)?;
        ensure!(error == too_big(path), "{error:?}");
        ensure!(call.net.at_callee.datagrams().is_empty(), "it passed");
    }
    Ok(())
}

/// Sends a packet that says it is to leave in a minute (SO_TXTIME of linux/net_tstamp.h), which a
/// device without a queue does not mind; it keeps the time on its way to the relay.
fn send_for_later(socket: &UdpSocket, to: SocketAddr, packet: &[u8]) -> Result<()> {
    let clock = libc::sock_txtime {
        clockid: libc::CLOCK_MONOTONIC,
        flags: 0,
    };
    setsockopt(socket, sockopt::TxTime, &clock).context("cannot send for later")?;
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC)?;
    let at = (Duration::from(now) + Duration::from_secs(60)).as_nanos() as u64;
    let control = [ControlMessage::TxTime(&at)];
    let parts = [IoSlice::new(packet)];
    let to = SockaddrStorage::from(to);
    let flags = MsgFlags::empty();
    sendmsg(socket.as_raw_fd(), &parts, &control, flags, Some(&to)).context("cannot send")?;
    Ok(())
}

fn a_fair_queue_delays_and_drops_no_media(lab: &Lab, path: Path) -> Result<()> {
    let call = Call::new(lab, path)?;
    let relay = &call.net.relay;
    // It takes the time in a packet for when that is to leave, and drops what is too far off.
    relay.run("tc", &["qdisc", "replace", "dev", "east", "root", "fq"])?;
    let mut sent = Vec::new();
    for number in 0..50 {
        // Every value of ECN.
        let class = 0xb8 | i32::from(number & 3);
        match path.west_family() {
            Family::Ipv4 => setsockopt(&call.caller.rtp, sockopt::Ipv4Tos, &class)?,
            Family::Ipv6 => setsockopt(&call.caller.rtp, sockopt::Ipv6TClass, &class)?,
        }
        let packet = rtp(call.caller.source, number, SIZE);
        send_for_later(&call.caller.rtp, path.west, &packet)?;
        sent.push(packet);
    }
    let seen = expect(&call.net.at_callee, path.east, path.callee, &sent)?;
    let classes = (0..50).map(|number| 0xb8 | (number & 3) as u8);
    ensure!(seen.iter().map(|one| one.tos).eq(classes), "{seen:?}");
    let queue = relay.run("tc", &["-s", "qdisc", "show", "dev", "east"])?;
    ensure!(
        queue.contains("qdisc fq") && queue.contains("(dropped 0,"),
        "{queue}"
    );
    Ok(())
}

fn mark_and_priority_are_as_specified(lab: &Lab, path: Path) -> Result<()> {
    for mark in [0, 7] {
        lab.step(format!("mark {mark}"));
        let mut callee = Asked::default();
        if mark != 0 {
            callee = callee.sending(sending::MARK, mark);
        }
        let call = Call::with(lab, path, &session(path, callee))?;
        let relay = &call.net.relay;
        let priority = match path.east_family() {
            Family::Ipv4 => PRIORITY,
            Family::Ipv6 => 0,
        };
        // Packets arrive with another mark and another priority.
        for rule in [
            "add table inet in",
            "add chain inet in c { type filter hook prerouting priority raw; }",
            "add rule inet in c meta mark set 9 meta priority set 1:2",
            "add table netdev out",
            "add chain netdev out c { type filter hook egress device east priority 0; }",
            &format!(
                "add rule netdev out c udp dport 41000 meta mark {mark} meta priority 0:{priority} counter"
            ),
        ] {
            relay.run("nft", &[rule])?;
        }
        let sender = call.callers_device()?;
        let mut wanted = Vec::new();
        for number in 0..20 {
            let packet = packet(path, number, SIZE);
            sender.send(&sender.frame(&packet)?)?;
            wanted.push(path.relayed(&packet));
        }
        expect_frames(&call.net.at_callee, link(&call)?, &wanted)?;
        let counted = relay.run("nft", &["list", "chain", "netdev", "out", "c"])?;
        ensure!(counted.contains("counter packets 20 "), "{counted}");
    }
    Ok(())
}
