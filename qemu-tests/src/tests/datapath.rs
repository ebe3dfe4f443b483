// SPDX-License-Identifier: MIT OR Apache-2.0

//! What happens to media: the packets of a call that the test programs into the module.

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};

use anyhow::{Context, Result, ensure};
use genl_proto::generated::{DropReason, LOCAL_ADDRESSES_MAX, StreamKind, quality};

use super::fixture::{Call, LOCALS, PORTS, expect, idle_relay, rtcp_of, session_on, streams};
use super::path::Path;
use super::{Test, tests_on_all_paths, tests_on_paths};
use crate::guest::lab::Lab;
use crate::guest::packet::{Build, Checksum, IcmpError, IcmpKind, udp_checksum_at};
use crate::guest::raw::send_pages;
use crate::guest::relay::Counters;
use crate::guest::rtp::{Party, SIZE, rtcp, rtp, send_all};
use crate::guest::shell;
use crate::guest::topology::{Family, udp};
use crate::guest::wait::{LIMIT, until};

pub const ON_ALL_PATHS: &[Test] = tests_on_all_paths![
    media_passes_unchanged_and_in_order_both_ways,
    media_passes_with_valid_checksums_when_no_device_computes_them,
    media_passes_at_the_last_of_many_local_addresses,
    a_checksum_left_to_the_device_is_valid_on_the_wire,
    a_corrupted_packet_stays_corrupted,
    a_cloned_packet_is_never_written,
    a_packet_whose_payload_is_in_pages_passes_unchanged,
    a_packet_whose_headers_are_in_pages_passes_unchanged,
    a_stranger_reaches_nobody,
    a_held_party_gets_nothing,
    counters_equal_the_packets_sent,
    malformed_media_is_dropped_and_counted,
    a_packet_that_lies_about_its_length_is_dropped,
    media_leaves_no_conntrack_entry,
    a_change_moves_traffic_at_once,
    a_packet_at_the_end_of_its_life_is_answered,
    a_packet_too_big_for_the_path_is_answered,
    the_first_packet_to_an_unknown_neighbour_arrives,
    media_follows_a_changed_route,
    media_survives_the_loss_of_a_device,
    an_operators_raw_rule_still_drops_media,
    an_operators_input_rules_see_no_media,
];

/// What makes no difference to packets that leave over another version of IP, or can only be met
/// over one.
pub const ON_SOME_PATHS: &[Test] = tests_on_paths![
    a_port_without_a_session_answers_nothing: IPV4 IPV6,
    a_port_outside_the_range_belongs_to_local_sockets: IPV4 IPV6,
    a_port_between_two_ranges_belongs_to_local_sockets: IPV4 IPV6,
    an_address_not_configured_belongs_to_local_sockets: IPV4 IPV6,
    other_traffic_is_untouched: IPV4 IPV6,
    two_parties_share_one_port_and_a_third_is_refused: IPV4 IPV6,
    a_packet_too_big_for_the_path_is_fragmented_when_it_may_be: IPV4 IPV4_TO_IPV6,
    a_packet_without_a_whole_udp_header_is_dropped_by_the_host: IPV4 IPV6,
];

const COUNT: u16 = 100;

/// Sends media in all four ways of the call and checks all of it at the other end.
fn exchange(call: &Call, path: Path, checksum: Option<Checksum>) -> Result<()> {
    let Call {
        net,
        caller,
        callee,
        ..
    } = call;
    let to_callee = caller.send_rtp(path.west, 0..COUNT)?;
    let to_caller = callee.send_rtp(path.east, 0..COUNT)?;
    let reports_to_callee = caller.send_rtcp(rtcp_of(path.west), 0..5)?;
    let reports_to_caller = callee.send_rtcp(rtcp_of(path.east), 0..5)?;
    for (at, from, to, sent) in [
        (&net.at_callee, path.east, path.callee, to_callee),
        (&net.at_caller, path.west, path.caller, to_caller),
        (
            &net.at_callee,
            rtcp_of(path.east),
            rtcp_of(path.callee),
            reports_to_callee,
        ),
        (
            &net.at_caller,
            rtcp_of(path.west),
            rtcp_of(path.caller),
            reports_to_caller,
        ),
    ] {
        let seen = expect(at, from, to, &sent)?;
        ensure!(
            seen.iter().all(|one| one.ttl == 63),
            "the time to live is not one less: {seen:?}"
        );
        if let Some(checksum) = checksum {
            ensure!(
                seen.iter().all(|one| one.checksum == checksum),
                "checksums are not {checksum:?}: {seen:?}"
            );
        }
    }
    for (at, stranger) in [
        (&net.at_callee, path.caller.ip()),
        (&net.at_caller, path.callee.ip()),
    ] {
        let leaked: Vec<_> = at
            .datagrams()
            .into_iter()
            .filter(|one| one.from.ip() == stranger || one.to.ip() == stranger)
            .collect();
        ensure!(
            leaked.is_empty(),
            "{} saw the other party's address: {leaked:?}",
            at.name()
        );
    }
    Ok(())
}

fn media_passes_unchanged_and_in_order_both_ways(lab: &Lab, path: Path) -> Result<()> {
    exchange(&Call::new(lab, path)?, path, Some(Checksum::Partial))
}

fn media_passes_at_the_last_of_many_local_addresses(lab: &Lab, path: Path) -> Result<()> {
    let call = Call::new(lab, path)?;
    // More than there are slots to look in first, so that many share one. The call's are the last,
    // and a neighbour of theirs is none.
    let most = LOCAL_ADDRESSES_MAX as usize;
    let others = (1..=u8::MAX).flat_map(|host| Family::ALL.map(|family| family.address(9, host)));
    let addresses: Vec<_> = others.take(most - LOCALS.len()).chain(LOCALS).collect();
    call.relay.configure(PORTS, &addresses)?;
    exchange(&call, path, None)?;
    another_address_is_not_the_relays(&call, path)
}

fn media_passes_with_valid_checksums_when_no_device_computes_them(
    lab: &Lab,
    path: Path,
) -> Result<()> {
    let call = Call::new(lab, path)?;
    call.net.set_checksum_offload(false)?;
    exchange(&call, path, Some(Checksum::Right))
}

fn a_checksum_left_to_the_device_is_valid_on_the_wire(lab: &Lab, path: Path) -> Result<()> {
    // The parties leave checksums to the device; the relay's devices have to compute them.
    let call = Call::new(lab, path)?;
    for device in ["west", "east"] {
        call.net
            .relay
            .run("ethtool", &["-K", device, "tx", "off"])?;
    }
    exchange(&call, path, Some(Checksum::Right))
}

fn a_corrupted_packet_stays_corrupted(lab: &Lab, path: Path) -> Result<()> {
    let call = Call::new(lab, path)?;
    let Call { net, caller, .. } = &call;
    let sender = call.callers_device()?;
    let sent: Vec<_> = (0..10)
        .map(|number| rtp(caller.source, number, SIZE))
        .collect();
    for payload in &sent {
        let mut frame = sender.frame(&Build::new(path.caller, path.west, payload))?;
        // One bit of the payload flips on the way to the relay.
        let last = frame.len() - 1;
        frame[last] ^= 0x10;
        sender.send(&frame)?;
    }
    let seen = net
        .at_callee
        .wait_for(sent.len(), LIMIT, |one| one.to == path.callee)?;
    ensure!(
        seen.iter()
            .all(|one| one.checksum == Checksum::Wrong && one.ip_checksum_is_right),
        "a corrupted packet looks sound: {seen:?}"
    );
    Ok(())
}

fn a_cloned_packet_is_never_written(lab: &Lab, path: Path) -> Result<()> {
    for offload in [true, false] {
        lab.step(format!("checksum offload: {offload}"));
        let call = Call::new(lab, path)?;
        call.net.set_checksum_offload(offload)?;
        // Each packet is shared with this socket from before the relay sees it.
        let at_relay = lab.capture(&call.net.relay, "west")?;
        let sent = call.caller.send_rtp(path.west, 0..COUNT)?;
        expect(&call.net.at_callee, path.east, path.callee, &sent)?;
        let before = expect(&at_relay, path.caller, path.west, &sent)?;
        ensure!(
            before.iter().all(|one| one.ttl == 64),
            "the clone was written to: {before:?}"
        );
    }
    Ok(())
}

fn a_packet_whose_payload_is_in_pages_passes_unchanged(lab: &Lab, path: Path) -> Result<()> {
    let call = Call::new(lab, path)?;
    // A file's pages become the packet's payload without a copy; the headers are in linear memory.
    let sent: Vec<_> = (0..20)
        .map(|number| rtp(call.caller.source, number, 1000))
        .collect();
    for payload in &sent {
        send_pages(&call.caller.rtp, path.west, payload)?;
    }
    let seen = expect(&call.net.at_callee, path.east, path.callee, &sent)?;
    ensure!(seen.iter().all(|one| one.ttl == 63), "{seen:?}");
    Ok(())
}

fn a_packet_whose_headers_are_in_pages_passes_unchanged(lab: &Lab, path: Path) -> Result<()> {
    let call = Call::new(lab, path)?;
    let Call { net, caller, .. } = &call;
    net.set_mtu(9000)?;
    // A packet socket puts a frame of more than one page into pages, all but its Ethernet header.
    let sender = call.callers_device()?;
    let sent: Vec<_> = (0..10)
        .map(|number| rtp(caller.source, number, 6000))
        .collect();
    for payload in &sent {
        sender.send(&sender.frame(&Build::new(path.caller, path.west, payload))?)?;
    }
    let seen = expect(&net.at_callee, path.east, path.callee, &sent)?;
    ensure!(
        seen.iter()
            .all(|one| one.checksum == Checksum::Right && one.ttl == 63),
        "{seen:?}"
    );
    Ok(())
}

fn a_stranger_reaches_nobody(lab: &Lab, path: Path) -> Result<()> {
    let call = Call::new(lab, path)?;
    let family = path.west_family();
    call.net.caller.ip(&family.add_address(1, 66, "wire"))?;
    // The caller's own host on another port, and another host on the caller's port.
    let mut elsewhere = path.caller;
    elsewhere.set_port(40_666);
    let other_port = udp(&call.net.caller, elsewhere)?;
    elsewhere = SocketAddr::new(family.address(1, 66), path.caller.port());
    let other_host = udp(&call.net.caller, elsewhere)?;
    for socket in [&other_port, &other_host] {
        send_all(
            socket,
            path.west,
            (0..COUNT).map(|number| rtp(0xbad, number, SIZE)),
        )?;
    }
    let sent = call.caller.send_rtp(path.west, 0..10)?;
    let seen = call.net.at_callee.wait_for(10, LIMIT, |_| true)?;
    ensure!(
        seen.iter().map(|one| &one.payload).eq(&sent),
        "the callee got something from a stranger: {seen:?}"
    );
    let from_a = &call.counters()?[0];
    ensure!(
        from_a.packets == 10 && from_a.bytes == 10 * SIZE as u64,
        "{from_a:?}"
    );
    ensure!(
        from_a.drops == [(DropReason::ForeignSource, u64::from(COUNT) * 2)],
        "{from_a:?}"
    );
    Ok(())
}

fn a_port_without_a_session_answers_nothing(lab: &Lab, path: Path) -> Result<()> {
    let (net, relay) = idle_relay(lab)?;
    let caller = udp(&net.caller, path.caller)?;
    for port in [PORTS.0, PORTS.0 + 501, PORTS.1] {
        send_all(
            &caller,
            SocketAddr::new(path.west.ip(), port),
            (0..10).map(|n| rtp(1, n, SIZE)),
        )?;
    }
    // The same to the next port does get an answer, which shows that the others had their time.
    let beyond = SocketAddr::new(path.west.ip(), PORTS.1 + 1);
    caller.send_to(&[0x80], beyond)?;
    let answers = until("an ICMP error", LIMIT, || {
        let found: Vec<_> = net
            .at_caller
            .frames()
            .iter()
            .filter_map(IcmpError::parse)
            .collect();
        Ok((!found.is_empty()).then_some(found))
    })?;
    ensure!(
        answers.iter().all(|one| one.about.1 == beyond),
        "a port of the relay answered: {answers:?}"
    );
    let totals = relay.totals()?;
    ensure!(
        totals.relayed.dropped(DropReason::NoSession) == 30,
        "{totals:?}"
    );
    ensure!(totals.relayed.packets == 0, "{totals:?}");
    Ok(())
}

fn receives(socket: &UdpSocket, from: &UdpSocket) -> Result<bool> {
    socket.set_read_timeout(Some(LIMIT))?;
    from.send_to(b"hello", socket.local_addr()?)?;
    let mut buffer = [0; 16];
    let length = socket.recv(&mut buffer)?;
    Ok(&buffer[..length] == b"hello")
}

fn a_port_outside_the_range_belongs_to_local_sockets(lab: &Lab, path: Path) -> Result<()> {
    let call = Call::new(lab, path)?;
    for port in [PORTS.0 - 1, PORTS.1 + 1] {
        let socket = udp(&call.net.relay, SocketAddr::new(path.west.ip(), port))?;
        ensure!(
            receives(&socket, &call.caller.rtp)?,
            "port {port} was taken"
        );
    }
    Ok(())
}

fn a_port_between_two_ranges_belongs_to_local_sockets(lab: &Lab, path: Path) -> Result<()> {
    let call = Call::new(lab, path)?;
    // The call's ports are in the first one.
    let (low, high) = ((PORTS.0, 20_499), (20_600, PORTS.1));
    call.relay.set_ranges(&[high, low])?;
    let at = |port| udp(&call.net.relay, SocketAddr::new(path.west.ip(), port));
    for port in [PORTS.0 - 1, low.1 + 1, high.0 - 1, PORTS.1 + 1] {
        ensure!(
            receives(&at(port)?, &call.caller.rtp)?,
            "port {port} was taken"
        );
    }
    let ours = [low.1, high.0, high.1];
    for port in ours {
        let to = SocketAddr::new(path.west.ip(), port);
        send_all(&call.caller.rtp, to, (0..10).map(|n| rtp(1, n, SIZE)))?;
    }
    until("dropped packets counted", LIMIT, || {
        let dropped = call.relay.totals()?.relayed.dropped(DropReason::NoSession);
        ensure!(dropped <= 30, "{dropped} packets were dropped");
        Ok((dropped == 30).then_some(()))
    })?;
    // The whole range is the call's relay's again, and the call was never touched.
    call.relay.set_ranges(&[PORTS])?;
    exchange(&call, path, None)
}

fn an_address_not_configured_belongs_to_local_sockets(lab: &Lab, path: Path) -> Result<()> {
    another_address_is_not_the_relays(&Call::new(lab, path)?, path)
}

/// A local socket gets what is sent to an address the relay does not have.
fn another_address_is_not_the_relays(call: &Call, path: Path) -> Result<()> {
    let family = path.west_family();
    call.net.relay.ip(&family.add_address(1, 9, "west"))?;
    let other = SocketAddr::new(family.address(1, 9), path.west.port());
    let socket = udp(&call.net.relay, other)?;
    ensure!(
        receives(&socket, &call.caller.rtp)?,
        "the relay took a packet to another address"
    );
    Ok(())
}

fn other_traffic_is_untouched(lab: &Lab, path: Path) -> Result<()> {
    let call = Call::new(lab, path)?;
    let net = &call.net;
    path.west_family().set_forwarding(&net.relay, true)?;
    let callee = path.callee.ip().to_string();
    net.caller
        .run("ping", &["-c", "2", "-i", "0.2", "-W", "30", &callee])?;
    // To a port of the relay's range, but not to the relay.
    let callee = udp(
        &net.callee,
        SocketAddr::new(path.callee.ip(), path.west.port()),
    )?;
    ensure!(
        receives(&callee, &call.caller.rtp)?,
        "a forwarded packet was changed"
    );
    let seen = net
        .at_callee
        .wait_for(1, LIMIT, |one| one.payload == b"hello")?;
    ensure!(
        seen.iter()
            .all(|one| one.from == path.caller && one.ttl == 63),
        "a forwarded packet was changed: {seen:?}"
    );
    // TCP to the same address and port.
    let listener = net.relay.enter(|| Ok(TcpListener::bind(path.west)?))?;
    let stream = net.caller.enter(|| Ok(TcpStream::connect(path.west)?))?;
    ensure!(
        listener.accept()?.1 == stream.local_addr()?,
        "another connection"
    );
    let totals = call.relay.totals()?;
    ensure!(
        totals.relayed == Default::default(),
        "it was counted: {totals:?}"
    );
    Ok(())
}

fn two_parties_share_one_port_and_a_third_is_refused(lab: &Lab, path: Path) -> Result<()> {
    let mut shared = session_on(path);
    shared.streams = streams(
        (path.west, Some(path.caller)),
        (path.west, Some(path.callee)),
    );
    let call = Call::with(lab, path, &shared)?;
    let Call {
        net,
        caller,
        callee,
        ..
    } = &call;
    let third = udp(&net.callee, SocketAddr::new(path.callee.ip(), 41_666))?;
    send_all(
        &third,
        path.west,
        (0..COUNT).map(|number| rtp(0xbad, number, SIZE)),
    )?;
    let to_callee = caller.send_rtp(path.west, 0..COUNT)?;
    let to_caller = callee.send_rtp(path.west, 0..COUNT)?;
    let reports_to_callee = caller.send_rtcp(rtcp_of(path.west), 0..5)?;
    let reports_to_caller = callee.send_rtcp(rtcp_of(path.west), 0..5)?;
    expect(&net.at_callee, path.west, path.callee, &to_callee)?;
    expect(&net.at_caller, path.west, path.caller, &to_caller)?;
    expect(
        &net.at_callee,
        rtcp_of(path.west),
        rtcp_of(path.callee),
        &reports_to_callee,
    )?;
    expect(
        &net.at_caller,
        rtcp_of(path.west),
        rtcp_of(path.caller),
        &reports_to_caller,
    )?;
    let counters = call.counters()?;
    let refused: u64 = counters
        .iter()
        .map(|one| one.dropped(DropReason::ForeignSource))
        .sum();
    ensure!(refused == u64::from(COUNT), "{counters:?}");
    ensure!(
        counters
            .iter()
            .map(|one| one.packets)
            .eq([u64::from(COUNT), u64::from(COUNT), 5, 5]),
        "{counters:?}"
    );
    Ok(())
}

fn a_held_party_gets_nothing(lab: &Lab, path: Path) -> Result<()> {
    let call = Call::new(lab, path)?;
    call.relay.set_streams(
        call.id,
        &streams((path.west, Some(path.caller)), (path.east, None)),
    )?;
    call.caller.send_rtp(path.west, 0..COUNT)?;
    call.callee.send_rtp(path.east, 0..COUNT)?;
    let counters = until("all packets counted", LIMIT, || {
        let counters = call.counters()?;
        let dropped = |one: &Counters| one.drops.iter().map(|(_, packets)| packets).sum::<u64>();
        Ok(
            (dropped(&counters[0]) + dropped(&counters[1]) == 2 * u64::from(COUNT))
                .then_some(counters),
        )
    })?;
    ensure!(
        counters[0].dropped(DropReason::Held) == u64::from(COUNT),
        "{counters:?}"
    );
    ensure!(counters.iter().all(|one| one.packets == 0), "{counters:?}");
    ensure!(
        call.net.at_callee.datagrams().is_empty(),
        "the held party got something"
    );
    ensure!(
        call.net.at_caller.datagrams().is_empty(),
        "the held party was heard"
    );
    // Back from hold, at once.
    call.relay.set_streams(call.id, &session_on(path).streams)?;
    let sent = call.caller.send_rtp(path.west, 0..COUNT)?;
    expect(&call.net.at_callee, path.east, path.callee, &sent)?;
    Ok(())
}

fn counters_equal_the_packets_sent(lab: &Lab, path: Path) -> Result<()> {
    let call = Call::new(lab, path)?;
    exchange(&call, path, None)?;
    let counters = call.counters()?;
    let report = rtcp(0, 0).len() as u64;
    let count = u64::from(COUNT);
    for (found, (packets, bytes)) in counters.iter().zip([
        (count, count * SIZE as u64),
        (count, count * SIZE as u64),
        (5, 5 * report),
        (5, 5 * report),
    ]) {
        ensure!(
            found.packets == packets && found.bytes == bytes,
            "{counters:?}"
        );
        ensure!(found.drops.is_empty(), "{counters:?}");
    }
    let totals = call.relay.totals()?;
    ensure!(totals.relayed.packets == 2 * count + 10, "{totals:?}");
    // The final state and the totals keep what an ended session counted.
    let last = call.relay.end(call.id)?;
    // All but the time that passes.
    let timeless = |counters: &Counters| {
        let mut counters = counters.clone();
        counters.quality.remove(&quality::LAST_MS);
        counters
    };
    ensure!(
        last.streams
            .iter()
            .flat_map(|(_, a, b)| [a, b])
            .map(timeless)
            .eq(counters.iter().map(timeless)),
        "other counters at the end: {last:?}"
    );
    ensure!(
        call.relay.totals()?.relayed == totals.relayed,
        "the totals forgot a session"
    );
    Ok(())
}

fn malformed_media_is_dropped_and_counted(lab: &Lab, path: Path) -> Result<()> {
    let call = Call::new(lab, path)?;
    // RTP version 1, an RTP header cut short, nothing at all.
    let bad = [vec![0x40; 40], vec![0x80; 4], Vec::new()];
    send_all(&call.caller.rtp, path.west, bad.iter().cloned())?;
    let sent = call.caller.send_rtp(path.west, 0..10)?;
    let seen = call.net.at_callee.wait_for(10, LIMIT, |_| true)?;
    ensure!(
        seen.iter().map(|one| &one.payload).eq(&sent),
        "malformed media passed: {seen:?}"
    );
    let from_a = &call.counters()?[0];
    ensure!(
        from_a.drops == [(DropReason::Malformed, bad.len() as u64)],
        "{from_a:?}"
    );
    Ok(())
}

fn a_packet_that_lies_about_its_length_is_dropped(lab: &Lab, path: Path) -> Result<()> {
    // The true length is 180: UDP header and payload. One of 8 is an empty datagram, which is no
    // RTP, but may be what a stream of anything carries.
    for (kind, lies) in [
        (StreamKind::Rtp, &[0_u16, 7, 8, 181, 0xffff][..]),
        (StreamKind::Udp, &[0, 7, 181, 0xffff]),
    ] {
        lab.step(format!("{kind:?}"));
        let mut session = session_on(path);
        session.streams[0].kind = kind;
        let call = Call::with(lab, path, &session)?;
        let sender = call.callers_device()?;
        let payload = rtp(call.caller.source, 1, SIZE);
        for lie in lies {
            let mut frame = sender.frame(&Build::new(path.caller, path.west, &payload))?;
            let checksum = udp_checksum_at(path.west_family());
            frame[checksum - 2..checksum].copy_from_slice(&lie.to_be_bytes());
            sender.send(&frame)?;
        }
        let sent = call.caller.send_rtp(path.west, 0..10)?;
        expect(&call.net.at_callee, path.east, path.callee, &sent)?;
        let from_a = &call.counters()?[0];
        ensure!(from_a.packets == 10, "{from_a:?}");
        ensure!(
            from_a.dropped(DropReason::Malformed) == lies.len() as u64,
            "{from_a:?}"
        );
    }
    Ok(())
}

fn a_packet_without_a_whole_udp_header_is_dropped_by_the_host(lab: &Lab, path: Path) -> Result<()> {
    let call = Call::new(lab, path)?;
    let relay = &call.net.relay;
    let (file, line) = match path.west_family() {
        Family::Ipv4 => ("/proc/net/snmp", "Udp: "),
        Family::Ipv6 => ("/proc/net/snmp6", "Udp6InErrors"),
    };
    // Of /proc/net/snmp the second such line has the numbers, the third of which are the errors.
    let errors = || -> Result<u64> {
        let text = relay.run("cat", &[file])?;
        let numbers = text.lines().filter(|told| told.starts_with(line)).last();
        let place = if line == "Udp: " { 3 } else { 1 };
        let number = numbers.and_then(|numbers| numbers.split_whitespace().nth(place));
        Ok(number.context("no such number")?.parse()?)
    };
    let before = errors()?;
    let sender = call.callers_device()?;
    let packet = Build::new(path.caller, path.west, &[]);
    let [from, to] = [path.caller, path.west].map(|end| end.port().to_be_bytes());
    // Both ports, and one of them only.
    for begin in [&[from, to].concat(), &from[..]] {
        sender.send(&sender.frame_of(&packet, begin)?)?;
    }
    let sent = call.caller.send_rtp(path.west, 0..10)?;
    expect(&call.net.at_callee, path.east, path.callee, &sent)?;
    ensure!(errors()? == before + 2, "{before} and then {}", errors()?);
    let from_a = &call.counters()?[0];
    ensure!(
        from_a.packets == 10 && from_a.drops.is_empty(),
        "{from_a:?}"
    );
    Ok(())
}

fn media_leaves_no_conntrack_entry(lab: &Lab, path: Path) -> Result<()> {
    let call = Call::new(lab, path)?;
    let relay = &call.net.relay;
    // Connection tracking works in a namespace as soon as a rule asks for it.
    relay.run("nft", &["add table inet t"])?;
    relay.run(
        "nft",
        &["add chain inet t c { type filter hook input priority 0; }"],
    )?;
    relay.run("nft", &["add rule inet t c ct state new counter"])?;
    exchange(&call, path, None)?;
    let entries = || -> Result<u32> { Ok(relay.run("conntrack", &["-C"])?.trim().parse()?) };
    ensure!(
        entries()? == 0,
        "tracked: {}",
        relay.run("conntrack", &["-L"])?
    );
    // It does see what is not media.
    let socket = udp(relay, SocketAddr::new(path.west.ip(), 5060))?;
    ensure!(
        receives(&socket, &call.caller.rtp)?,
        "other traffic does not arrive"
    );
    ensure!(entries()? == 1, "connection tracking does not work here");
    Ok(())
}

fn a_change_moves_traffic_at_once(lab: &Lab, path: Path) -> Result<()> {
    let call = Call::new(lab, path)?;
    let moved = SocketAddr::new(path.callee.ip(), 42_000);
    let new = Party::new(&call.net.callee, moved)?;
    let before = call.caller.send_rtp(path.west, 0..COUNT)?;
    expect(&call.net.at_callee, path.east, path.callee, &before)?;
    call.relay.set_streams(
        call.id,
        &streams((path.west, Some(path.caller)), (path.east, Some(moved))),
    )?;
    let after = call.caller.send_rtp(path.west, COUNT..2 * COUNT)?;
    expect(&call.net.at_callee, path.east, moved, &after)?;
    // Nothing more went to the old place, and the counters go on.
    expect(&call.net.at_callee, path.east, path.callee, &before)?;
    ensure!(
        call.counters()?[0].packets == 2 * u64::from(COUNT),
        "the counters began anew"
    );
    // The old place is a stranger now, the new one is heard.
    call.callee.send_rtp(path.east, 0..10)?;
    let heard = new.send_rtp(path.east, 0..10)?;
    expect(&call.net.at_caller, path.west, path.caller, &heard)?;
    let from_b = &call.counters()?[1];
    ensure!(
        from_b.drops == [(DropReason::ForeignSource, 10)],
        "{from_b:?}"
    );
    Ok(())
}

fn icmp_errors(call: &Call, wanted: usize) -> Result<Vec<IcmpError>> {
    until("ICMP errors", LIMIT, || {
        let frames = call.net.at_caller.frames();
        let found: Vec<_> = frames.iter().filter_map(IcmpError::parse).collect();
        Ok((found.len() >= wanted).then_some(found))
    })
}

fn a_packet_at_the_end_of_its_life_is_answered(lab: &Lab, path: Path) -> Result<()> {
    let call = Call::new(lab, path)?;
    let sender = call.callers_device()?;
    let mut packet = Build::new(path.caller, path.west, &rtp(call.caller.source, 0, SIZE));
    packet.ttl = 1;
    sender.send(&sender.frame(&packet)?)?;
    let errors = icmp_errors(&call, 1)?;
    let expected = IcmpError {
        from: path.west.ip(),
        kind: IcmpKind::TimeExceeded,
        about: (path.caller, path.west),
    };
    ensure!(errors == [expected], "{errors:?}");
    // One hop more is enough.
    packet.ttl = 2;
    sender.send(&sender.frame(&packet)?)?;
    let sent = [packet.payload];
    let seen = expect(&call.net.at_callee, path.east, path.callee, &sent)?;
    ensure!(seen[0].ttl == 1, "{seen:?}");
    let from_a = &call.counters()?[0];
    ensure!(from_a.packets == 1, "{from_a:?}");
    ensure!(from_a.drops == [(DropReason::TtlExceeded, 1)], "{from_a:?}");
    Ok(())
}

/// Bytes of the IP header and the UDP header.
fn headers(family: Family) -> usize {
    match family {
        Family::Ipv4 => 20 + 8,
        Family::Ipv6 => 40 + 8,
    }
}

fn a_packet_too_big_for_the_path_is_answered(lab: &Lab, path: Path) -> Result<()> {
    let call = Call::new(lab, path)?;
    call.net.set_callees_mtu(1300)?;
    let sender = call.callers_device()?;
    let source = call.caller.source;
    let mut big = Build::new(path.caller, path.west, &rtp(source, 1, 1400));
    big.dont_fragment = true;
    sender.send(&sender.frame(&big)?)?;
    let errors = icmp_errors(&call, 1)?;
    // What fits on the caller's side, where the header is longer or shorter.
    let fitting = 1300 - headers(path.east_family());
    let mtu = fitting + headers(path.west_family());
    let expected = IcmpError {
        from: path.west.ip(),
        kind: IcmpKind::TooBig { mtu: mtu as u32 },
        about: (path.caller, path.west),
    };
    ensure!(errors == [expected], "{errors:?}");
    // One that just fits goes through, one byte more does not.
    let mut just = Build::new(path.caller, path.west, &rtp(source, 2, fitting));
    just.dont_fragment = true;
    sender.send(&sender.frame(&just)?)?;
    expect(&call.net.at_callee, path.east, path.callee, &[just.payload])?;
    big.payload = rtp(source, 3, fitting + 1);
    sender.send(&sender.frame(&big)?)?;
    until("both packets counted", LIMIT, || {
        Ok((call.counters()?[0].drops == [(DropReason::TooBig, 2)]).then_some(()))
    })
}

fn a_packet_too_big_for_the_path_is_fragmented_when_it_may_be(lab: &Lab, path: Path) -> Result<()> {
    for (offload, size) in [(true, 1400), (false, 1400), (false, 1300 - 47)] {
        lab.step(format!("checksum offload: {offload}, {size} bytes"));
        let call = Call::new(lab, path)?;
        call.net.set_checksum_offload(offload)?;
        call.net.set_callees_mtu(1300)?;
        let payload = rtp(call.caller.source, 1, size);
        // Sockets set Don't Fragment, which this is about to do without.
        let sender = call.callers_device()?;
        sender.send(&sender.frame(&Build::new(path.caller, path.west, &payload))?)?;
        // The callee's kernel puts the fragments together and checks the checksum.
        call.callee.rtp.set_read_timeout(Some(LIMIT))?;
        let mut buffer = [0; 2000];
        let (length, from) = call.callee.rtp.recv_from(&mut buffer)?;
        ensure!(buffer[..length] == payload, "another payload arrived");
        ensure!(from == path.east, "it came from {from}");
        ensure!(
            call.net
                .at_callee
                .frames()
                .iter()
                .all(|frame| frame.bytes.len() <= 14 + 1300),
            "a frame is larger than the device allows"
        );
    }
    Ok(())
}

fn the_first_packet_to_an_unknown_neighbour_arrives(lab: &Lab, path: Path) -> Result<()> {
    let call = Call::new(lab, path)?;
    let warm = call.caller.send_rtp(path.west, 0..1)?;
    expect(&call.net.at_callee, path.east, path.callee, &warm)?;
    call.net
        .relay
        .run("ip", &["neigh", "flush", "dev", "east"])?;
    let sent = call.caller.send_rtp(path.west, 1..4)?;
    let all: Vec<_> = warm.into_iter().chain(sent).collect();
    expect(&call.net.at_callee, path.east, path.callee, &all)?;
    Ok(())
}

fn media_follows_a_changed_route(lab: &Lab, path: Path) -> Result<()> {
    let call = Call::new(lab, path)?;
    let family = path.east_family();
    call.net.relay.ip(&format!(
        "link add south type veth peer name detour netns callee\n{}link set south up\n",
        family.add_address(3, 1, "south")
    ))?;
    call.net.callee.ip(&format!(
        "{}link set detour up\n",
        family.add_address(3, 2, "detour")
    ))?;
    let (callee, gateway) = (path.callee.ip(), family.address(3, 2));
    let at_detour = lab.capture(&call.net.callee, "detour")?;
    let before = call.caller.send_rtp(path.west, 0..COUNT)?;
    expect(&call.net.at_callee, path.east, path.callee, &before)?;
    call.net
        .relay
        .ip(&format!("route add {callee} via {gateway} dev south\n"))?;
    let after = call.caller.send_rtp(path.west, COUNT..2 * COUNT)?;
    expect(&at_detour, path.east, path.callee, &after)?;
    call.net
        .relay
        .ip(&format!("route del {callee} via {gateway} dev south\n"))?;
    let back = call.caller.send_rtp(path.west, 2 * COUNT..3 * COUNT)?;
    let straight: Vec<_> = before.into_iter().chain(back).collect();
    expect(&call.net.at_callee, path.east, path.callee, &straight)?;
    // No route at all: dropped and counted, and nothing worse.
    call.net
        .relay
        .ip(&format!("route add unreachable {callee}\n"))?;
    call.caller.send_rtp(path.west, 0..10)?;
    until("packets without a route counted", LIMIT, || {
        Ok((call.counters()?[0].dropped(DropReason::NoRoute) == 10).then_some(()))
    })
}

fn media_survives_the_loss_of_a_device(lab: &Lab, path: Path) -> Result<()> {
    let call = Call::new(lab, path)?;
    let before = call.caller.send_rtp(path.west, 0..COUNT)?;
    expect(&call.net.at_callee, path.east, path.callee, &before)?;
    call.net.disconnect_callee()?;
    call.caller.send_rtp(path.west, 0..COUNT)?;
    until("packets without a route counted", LIMIT, || {
        Ok((call.counters()?[0].dropped(DropReason::NoRoute) == u64::from(COUNT)).then_some(()))
    })?;
    // The device comes back; nobody tells the relay.
    call.net.connect_callee()?;
    let at_callee = lab.capture(&call.net.callee, "wire")?;
    let after = call.caller.send_rtp(path.west, COUNT..2 * COUNT)?;
    expect(&at_callee, path.east, path.callee, &after)?;
    Ok(())
}

fn an_operators_raw_rule_still_drops_media(lab: &Lab, path: Path) -> Result<()> {
    let call = Call::new(lab, path)?;
    let relay = &call.net.relay;
    let before = call.caller.send_rtp(path.west, 0..10)?;
    expect(&call.net.at_callee, path.east, path.callee, &before)?;
    relay.run("nft", &["add table inet t"])?;
    relay.run(
        "nft",
        &["add chain inet t c { type filter hook prerouting priority raw; }"],
    )?;
    let keyword = match path.caller.ip() {
        IpAddr::V4(_) => "ip",
        IpAddr::V6(_) => "ip6",
    };
    let rule = format!(
        "add rule inet t c {keyword} saddr {} udp dport {} drop",
        path.caller.ip(),
        path.west.port()
    );
    relay.run("nft", &[&rule])?;
    call.caller.send_rtp(path.west, 10..20)?;
    relay.run("nft", &["flush chain inet t c"])?;
    let after = call.caller.send_rtp(path.west, 20..30)?;
    let passed: Vec<_> = before.into_iter().chain(after).collect();
    expect(&call.net.at_callee, path.east, path.callee, &passed)?;
    ensure!(
        call.counters()?[0].packets == 20,
        "dropped packets were counted"
    );
    ensure!(
        call.net.at_callee.datagrams()[0].from == path.east,
        "it came from elsewhere"
    );
    Ok(())
}

fn an_operators_input_rules_see_no_media(lab: &Lab, path: Path) -> Result<()> {
    let call = Call::new(lab, path)?;
    let relay = &call.net.relay;
    // Neighbours are found by packets that come in, over IPv6.
    let rules = format!(
        "table inet t {{
            chain c {{
                type filter hook input priority filter; policy drop;
                udp dport {}-{} counter
                meta l4proto ipv6-icmp accept
            }}
        }}",
        PORTS.0, PORTS.1
    );
    shell::run_with_input(relay.command("nft").args(["-f", "-"]), &rules)?;
    exchange(&call, path, None)?;
    let chain = relay.run("nft", &["list", "chain", "inet", "t", "c"])?;
    ensure!(
        chain.contains("counter packets 0 bytes 0"),
        "media came in: {chain}"
    );
    // What is for the host itself meets the rules as it always did.
    let beyond = udp(relay, SocketAddr::new(path.west.ip(), PORTS.1 + 1))?;
    call.caller.rtp.send_to(b"dropped", beyond.local_addr()?)?;
    relay.run("nft", &["delete", "table", "inet", "t"])?;
    ensure!(
        receives(&beyond, &call.caller.rtp)?,
        "the first to come in is what the rules were to drop"
    );
    Ok(())
}
