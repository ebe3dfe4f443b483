// SPDX-License-Identifier: MIT OR Apache-2.0

//! What happens to media: the packets of a call that the test programs into the module.

use std::net::SocketAddrV4;

use anyhow::{Result, ensure};
use genl_proto::generated::DropReason;

use super::fixture::{
    CALLEE_RTP, CALLER_RTP, Call, EAST_RTP, PORTS, WEST_RTP, expect, idle_relay, rtcp_of, session,
    streams,
};
use super::{Test, tests};
use crate::guest::lab::Lab;
use crate::guest::packet::{Build, Checksum, IcmpError, UDP_CHECKSUM_AT};
use crate::guest::raw::RawSocket;
use crate::guest::rtp::{SIZE, rtcp, rtp, send_all};
use crate::guest::topology::{CALLEE, CALLER, EAST, WEST, udp};
use crate::guest::wait::{LIMIT, until};

pub const TESTS: &[Test] = tests![
    media_passes_unchanged_and_in_order_both_ways,
    media_passes_with_valid_checksums_when_no_device_computes_them,
    a_checksum_left_to_the_device_is_valid_on_the_wire,
    a_zero_udp_checksum_stays_zero,
    a_corrupted_packet_stays_corrupted,
    a_cloned_packet_is_never_written,
    a_packet_whose_payload_is_in_pages_passes_unchanged,
    a_packet_whose_headers_are_in_pages_passes_unchanged,
    a_stranger_reaches_nobody,
    a_port_without_a_session_answers_nothing,
    a_port_outside_the_range_belongs_to_local_sockets,
    an_address_not_configured_belongs_to_local_sockets,
    other_traffic_is_untouched,
    two_parties_share_one_port_and_a_third_is_refused,
    a_held_party_gets_nothing,
    counters_equal_the_packets_sent,
    malformed_media_is_dropped_and_counted,
    a_packet_that_lies_about_its_length_is_dropped,
    media_leaves_no_conntrack_entry,
    a_change_moves_traffic_at_once,
    a_packet_at_the_end_of_its_life_is_answered,
    a_packet_too_big_for_the_path_is_answered,
    a_packet_too_big_for_the_path_is_fragmented_when_it_may_be,
    the_first_packet_to_an_unknown_neighbour_arrives,
    media_follows_a_changed_route,
    media_survives_the_loss_of_a_device,
    an_operators_raw_rule_still_drops_media,
];

const COUNT: u16 = 100;

/// Sends media in all four ways of the call and checks all of it at the other end.
fn exchange(call: &Call, checksum: Option<Checksum>) -> Result<()> {
    let Call {
        net,
        caller,
        callee,
        ..
    } = call;
    let to_callee = caller.send_rtp(WEST_RTP, 0..COUNT)?;
    let to_caller = callee.send_rtp(EAST_RTP, 0..COUNT)?;
    let reports_to_callee = caller.send_rtcp(rtcp_of(WEST_RTP), 0..5)?;
    let reports_to_caller = callee.send_rtcp(rtcp_of(EAST_RTP), 0..5)?;
    for (at, from, to, sent) in [
        (&net.at_callee, EAST_RTP, CALLEE_RTP, to_callee),
        (&net.at_caller, WEST_RTP, CALLER_RTP, to_caller),
        (
            &net.at_callee,
            rtcp_of(EAST_RTP),
            rtcp_of(CALLEE_RTP),
            reports_to_callee,
        ),
        (
            &net.at_caller,
            rtcp_of(WEST_RTP),
            rtcp_of(CALLER_RTP),
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
    for (at, stranger) in [(&net.at_callee, CALLER), (&net.at_caller, CALLEE)] {
        let leaked: Vec<_> = at
            .datagrams()
            .into_iter()
            .filter(|one| *one.from.ip() == stranger || *one.to.ip() == stranger)
            .collect();
        ensure!(
            leaked.is_empty(),
            "{} saw the other party's address: {leaked:?}",
            at.name()
        );
    }
    Ok(())
}

fn media_passes_unchanged_and_in_order_both_ways(lab: &Lab) -> Result<()> {
    exchange(&Call::new(lab)?, Some(Checksum::Partial))
}

fn media_passes_with_valid_checksums_when_no_device_computes_them(lab: &Lab) -> Result<()> {
    let call = Call::new(lab)?;
    call.net.set_checksum_offload(false)?;
    exchange(&call, Some(Checksum::Right))
}

fn a_checksum_left_to_the_device_is_valid_on_the_wire(lab: &Lab) -> Result<()> {
    // The parties leave checksums to the device; the relay's devices have to compute them.
    let call = Call::new(lab)?;
    for device in ["west", "east"] {
        call.net
            .relay
            .run("ethtool", &["-K", device, "tx", "off"])?;
    }
    exchange(&call, Some(Checksum::Right))
}

fn a_zero_udp_checksum_stays_zero(lab: &Lab) -> Result<()> {
    let Call { net, caller, .. } = &Call::new(lab)?;
    let sender = RawSocket::new(&net.caller, "wire", &net.relay, "west")?;
    let sent: Vec<_> = (0..10)
        .map(|number| rtp(caller.source, number, SIZE))
        .collect();
    for payload in &sent {
        let mut frame = sender.frame(&Build::new(CALLER_RTP, WEST_RTP, payload))?;
        frame[UDP_CHECKSUM_AT..UDP_CHECKSUM_AT + 2].fill(0);
        sender.send(&frame)?;
    }
    let seen = expect(&net.at_callee, EAST_RTP, CALLEE_RTP, &sent)?;
    ensure!(
        seen.iter().all(|one| one.checksum == Checksum::None),
        "{seen:?}"
    );
    Ok(())
}

fn a_corrupted_packet_stays_corrupted(lab: &Lab) -> Result<()> {
    let Call { net, caller, .. } = &Call::new(lab)?;
    let sender = RawSocket::new(&net.caller, "wire", &net.relay, "west")?;
    let sent: Vec<_> = (0..10)
        .map(|number| rtp(caller.source, number, SIZE))
        .collect();
    for payload in &sent {
        let mut frame = sender.frame(&Build::new(CALLER_RTP, WEST_RTP, payload))?;
        // One bit of the payload flips on the way to the relay.
        let last = frame.len() - 1;
        frame[last] ^= 0x10;
        sender.send(&frame)?;
    }
    let seen = net
        .at_callee
        .wait_for(sent.len(), LIMIT, |one| one.to == CALLEE_RTP)?;
    ensure!(
        seen.iter()
            .all(|one| one.checksum == Checksum::Wrong && one.ip_checksum_is_right),
        "a corrupted packet looks sound: {seen:?}"
    );
    Ok(())
}

fn a_cloned_packet_is_never_written(lab: &Lab) -> Result<()> {
    for offload in [true, false] {
        lab.step(format!("checksum offload: {offload}"));
        let call = Call::new(lab)?;
        call.net.set_checksum_offload(offload)?;
        // Each packet is shared with this socket from before the relay sees it.
        let at_relay = lab.capture(&call.net.relay, "west")?;
        let sent = call.caller.send_rtp(WEST_RTP, 0..COUNT)?;
        expect(&call.net.at_callee, EAST_RTP, CALLEE_RTP, &sent)?;
        let before = expect(&at_relay, CALLER_RTP, WEST_RTP, &sent)?;
        ensure!(
            before.iter().all(|one| one.ttl == 64),
            "the clone was written to: {before:?}"
        );
    }
    Ok(())
}

fn a_packet_whose_payload_is_in_pages_passes_unchanged(lab: &Lab) -> Result<()> {
    let call = Call::new(lab)?;
    // A file's pages become the packet's payload without a copy; the headers are in linear memory.
    let sent: Vec<_> = (0..20)
        .map(|number| rtp(call.caller.source, number, 1000))
        .collect();
    for payload in &sent {
        crate::guest::raw::send_pages(&call.caller.rtp, WEST_RTP, payload)?;
    }
    let seen = expect(&call.net.at_callee, EAST_RTP, CALLEE_RTP, &sent)?;
    ensure!(seen.iter().all(|one| one.ttl == 63), "{seen:?}");
    Ok(())
}

fn a_packet_whose_headers_are_in_pages_passes_unchanged(lab: &Lab) -> Result<()> {
    let Call { net, caller, .. } = &Call::new(lab)?;
    for (namespace, device) in [
        (&net.caller, "wire"),
        (&net.relay, "west"),
        (&net.relay, "east"),
        (&net.callee, "wire"),
    ] {
        namespace.run("ip", &["link", "set", device, "mtu", "9000"])?;
    }
    // A packet socket puts a frame of more than one page into pages, all but its Ethernet header.
    let sender = RawSocket::new(&net.caller, "wire", &net.relay, "west")?;
    let sent: Vec<_> = (0..10)
        .map(|number| rtp(caller.source, number, 6000))
        .collect();
    for payload in &sent {
        sender.send(&sender.frame(&Build::new(CALLER_RTP, WEST_RTP, payload))?)?;
    }
    let seen = expect(&net.at_callee, EAST_RTP, CALLEE_RTP, &sent)?;
    ensure!(
        seen.iter()
            .all(|one| one.checksum == Checksum::Right && one.ttl == 63),
        "{seen:?}"
    );
    Ok(())
}

fn a_stranger_reaches_nobody(lab: &Lab) -> Result<()> {
    let call = Call::new(lab)?;
    call.net.caller.ip("address add 10.1.0.66/24 dev wire\n")?;
    // The caller's own host on another port, and another host on the caller's port.
    let other_port = udp(&call.net.caller, SocketAddrV4::new(CALLER, 40_666))?;
    let other_host = udp(
        &call.net.caller,
        SocketAddrV4::new([10, 1, 0, 66].into(), 40_000),
    )?;
    for socket in [&other_port, &other_host] {
        send_all(
            socket,
            WEST_RTP,
            (0..COUNT).map(|number| rtp(0xbad, number, SIZE)),
        )?;
    }
    let sent = call.caller.send_rtp(WEST_RTP, 0..10)?;
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

fn a_port_without_a_session_answers_nothing(lab: &Lab) -> Result<()> {
    let (net, relay) = idle_relay(lab)?;
    let caller = udp(&net.caller, CALLER_RTP)?;
    for port in [PORTS.0, PORTS.0 + 501, PORTS.1] {
        send_all(
            &caller,
            SocketAddrV4::new(WEST, port),
            (0..10).map(|n| rtp(1, n, SIZE)),
        )?;
    }
    // The same to the next port does get an answer, which shows that the others had their time.
    caller.send_to(&[0x80], (WEST, PORTS.1 + 1))?;
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
        answers
            .iter()
            .all(|one| one.about.1 == SocketAddrV4::new(WEST, PORTS.1 + 1)),
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

fn receives(socket: &std::net::UdpSocket, from: &std::net::UdpSocket) -> Result<bool> {
    socket.set_read_timeout(Some(LIMIT))?;
    from.send_to(b"hello", socket.local_addr()?)?;
    let mut buffer = [0; 16];
    let length = socket.recv(&mut buffer)?;
    Ok(&buffer[..length] == b"hello")
}

fn a_port_outside_the_range_belongs_to_local_sockets(lab: &Lab) -> Result<()> {
    let call = Call::new(lab)?;
    for port in [PORTS.0 - 1, PORTS.1 + 1] {
        let socket = udp(&call.net.relay, SocketAddrV4::new(WEST, port))?;
        ensure!(
            receives(&socket, &call.caller.rtp)?,
            "port {port} was taken"
        );
    }
    Ok(())
}

fn an_address_not_configured_belongs_to_local_sockets(lab: &Lab) -> Result<()> {
    let call = Call::new(lab)?;
    call.net.relay.ip("address add 10.1.0.9/24 dev west\n")?;
    let socket = udp(
        &call.net.relay,
        SocketAddrV4::new([10, 1, 0, 9].into(), WEST_RTP.port()),
    )?;
    ensure!(
        receives(&socket, &call.caller.rtp)?,
        "the relay took a packet to another address"
    );
    Ok(())
}

fn other_traffic_is_untouched(lab: &Lab) -> Result<()> {
    let call = Call::new(lab)?;
    let net = &call.net;
    net.relay.set_sysctl("net/ipv4/ip_forward", "1")?;
    net.caller
        .run("ping", &["-c", "2", "-i", "0.2", "-W", "30", "10.2.0.2"])?;
    // To a port of the relay's range, but not to the relay.
    let callee = udp(&net.callee, SocketAddrV4::new(CALLEE, WEST_RTP.port()))?;
    ensure!(
        receives(&callee, &call.caller.rtp)?,
        "a forwarded packet was changed"
    );
    let seen = net
        .at_callee
        .wait_for(1, LIMIT, |one| one.payload == b"hello")?;
    ensure!(
        seen.iter()
            .all(|one| one.from == CALLER_RTP && one.ttl == 63),
        "a forwarded packet was changed: {seen:?}"
    );
    // TCP to the same address and port.
    let listener = net
        .relay
        .enter(|| Ok(std::net::TcpListener::bind(WEST_RTP)?))?;
    let stream = net
        .caller
        .enter(|| Ok(std::net::TcpStream::connect(WEST_RTP)?))?;
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

fn two_parties_share_one_port_and_a_third_is_refused(lab: &Lab) -> Result<()> {
    let mut shared = session();
    shared.streams = streams((WEST_RTP, Some(CALLER_RTP)), (WEST_RTP, Some(CALLEE_RTP)));
    let call = Call::with(lab, &shared)?;
    let Call {
        net,
        caller,
        callee,
        ..
    } = &call;
    let third = udp(&net.callee, SocketAddrV4::new(CALLEE, 41_666))?;
    send_all(
        &third,
        WEST_RTP,
        (0..COUNT).map(|number| rtp(0xbad, number, SIZE)),
    )?;
    let to_callee = caller.send_rtp(WEST_RTP, 0..COUNT)?;
    let to_caller = callee.send_rtp(WEST_RTP, 0..COUNT)?;
    let reports_to_callee = caller.send_rtcp(rtcp_of(WEST_RTP), 0..5)?;
    let reports_to_caller = callee.send_rtcp(rtcp_of(WEST_RTP), 0..5)?;
    expect(&net.at_callee, WEST_RTP, CALLEE_RTP, &to_callee)?;
    expect(&net.at_caller, WEST_RTP, CALLER_RTP, &to_caller)?;
    expect(
        &net.at_callee,
        rtcp_of(WEST_RTP),
        rtcp_of(CALLEE_RTP),
        &reports_to_callee,
    )?;
    expect(
        &net.at_caller,
        rtcp_of(WEST_RTP),
        rtcp_of(CALLER_RTP),
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

fn a_held_party_gets_nothing(lab: &Lab) -> Result<()> {
    let call = Call::new(lab)?;
    call.relay.set_streams(
        call.id,
        &streams((WEST_RTP, Some(CALLER_RTP)), (EAST_RTP, None)),
    )?;
    call.caller.send_rtp(WEST_RTP, 0..COUNT)?;
    call.callee.send_rtp(EAST_RTP, 0..COUNT)?;
    let counters = until("all packets counted", LIMIT, || {
        let counters = call.counters()?;
        let dropped = |one: &crate::guest::relay::Counters| {
            one.drops.iter().map(|(_, packets)| packets).sum::<u64>()
        };
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
    call.relay.set_streams(call.id, &session().streams)?;
    let sent = call.caller.send_rtp(WEST_RTP, 0..COUNT)?;
    expect(&call.net.at_callee, EAST_RTP, CALLEE_RTP, &sent)?;
    Ok(())
}

fn counters_equal_the_packets_sent(lab: &Lab) -> Result<()> {
    let call = Call::new(lab)?;
    exchange(&call, None)?;
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
    ensure!(
        last.streams
            .iter()
            .flat_map(|(_, a, b)| [a, b])
            .eq(&counters),
        "other counters at the end: {last:?}"
    );
    ensure!(
        call.relay.totals()?.relayed == totals.relayed,
        "the totals forgot a session"
    );
    Ok(())
}

fn malformed_media_is_dropped_and_counted(lab: &Lab) -> Result<()> {
    let call = Call::new(lab)?;
    // RTP version 1, an RTP header cut short, nothing at all.
    let bad = [vec![0x40; 40], vec![0x80; 4], Vec::new()];
    send_all(&call.caller.rtp, WEST_RTP, bad.iter().cloned())?;
    let sent = call.caller.send_rtp(WEST_RTP, 0..10)?;
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

fn a_packet_that_lies_about_its_length_is_dropped(lab: &Lab) -> Result<()> {
    let call = Call::new(lab)?;
    let sender = RawSocket::new(&call.net.caller, "wire", &call.net.relay, "west")?;
    let payload = rtp(call.caller.source, 1, SIZE);
    // The true length is 180: UDP header and payload.
    let lies: [u16; 5] = [0, 7, 8, 181, 0xffff];
    for lie in lies {
        let mut frame = sender.frame(&Build::new(CALLER_RTP, WEST_RTP, &payload))?;
        frame[UDP_CHECKSUM_AT - 2..UDP_CHECKSUM_AT].copy_from_slice(&lie.to_be_bytes());
        sender.send(&frame)?;
    }
    let sent = call.caller.send_rtp(WEST_RTP, 0..10)?;
    expect(&call.net.at_callee, EAST_RTP, CALLEE_RTP, &sent)?;
    let from_a = &call.counters()?[0];
    ensure!(from_a.packets == 10, "{from_a:?}");
    ensure!(
        from_a.dropped(DropReason::Malformed) == lies.len() as u64,
        "{from_a:?}"
    );
    Ok(())
}

fn media_leaves_no_conntrack_entry(lab: &Lab) -> Result<()> {
    let call = Call::new(lab)?;
    let relay = &call.net.relay;
    // Connection tracking works in a namespace as soon as a rule asks for it.
    relay.run("nft", &["add table ip t"])?;
    relay.run(
        "nft",
        &["add chain ip t c { type filter hook input priority 0; }"],
    )?;
    relay.run("nft", &["add rule ip t c ct state new counter"])?;
    exchange(&call, None)?;
    let entries = || -> Result<u32> { Ok(relay.run("conntrack", &["-C"])?.trim().parse()?) };
    ensure!(
        entries()? == 0,
        "tracked: {}",
        relay.run("conntrack", &["-L"])?
    );
    // It does see what is not media.
    let socket = udp(relay, SocketAddrV4::new(WEST, 5060))?;
    ensure!(
        receives(&socket, &call.caller.rtp)?,
        "other traffic does not arrive"
    );
    ensure!(entries()? == 1, "connection tracking does not work here");
    Ok(())
}

fn a_change_moves_traffic_at_once(lab: &Lab) -> Result<()> {
    let call = Call::new(lab)?;
    let moved = SocketAddrV4::new(CALLEE, 42_000);
    let new = crate::guest::rtp::Party::new(&call.net.callee, moved)?;
    let before = call.caller.send_rtp(WEST_RTP, 0..COUNT)?;
    expect(&call.net.at_callee, EAST_RTP, CALLEE_RTP, &before)?;
    call.relay.set_streams(
        call.id,
        &streams((WEST_RTP, Some(CALLER_RTP)), (EAST_RTP, Some(moved))),
    )?;
    let after = call.caller.send_rtp(WEST_RTP, COUNT..2 * COUNT)?;
    expect(&call.net.at_callee, EAST_RTP, moved, &after)?;
    // Nothing more went to the old place, and the counters go on.
    expect(&call.net.at_callee, EAST_RTP, CALLEE_RTP, &before)?;
    ensure!(
        call.counters()?[0].packets == 2 * u64::from(COUNT),
        "the counters began anew"
    );
    // The old place is a stranger now, the new one is heard.
    call.callee.send_rtp(EAST_RTP, 0..10)?;
    let heard = new.send_rtp(EAST_RTP, 0..10)?;
    expect(&call.net.at_caller, WEST_RTP, CALLER_RTP, &heard)?;
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

fn a_packet_at_the_end_of_its_life_is_answered(lab: &Lab) -> Result<()> {
    let call = Call::new(lab)?;
    call.caller.rtp.set_ttl(1)?;
    call.caller.send_rtp(WEST_RTP, 0..1)?;
    let errors = icmp_errors(&call, 1)?;
    let expected = IcmpError {
        from: WEST,
        kind: 11,
        code: 0,
        mtu: 0,
        about: (CALLER_RTP, WEST_RTP),
    };
    ensure!(errors == [expected], "{errors:?}");
    // One hop more is enough.
    call.caller.rtp.set_ttl(2)?;
    let sent = call.caller.send_rtp(WEST_RTP, 1..2)?;
    let seen = expect(&call.net.at_callee, EAST_RTP, CALLEE_RTP, &sent)?;
    ensure!(seen[0].ttl == 1, "{seen:?}");
    let from_a = &call.counters()?[0];
    ensure!(from_a.packets == 1, "{from_a:?}");
    ensure!(from_a.drops == [(DropReason::TtlExceeded, 1)], "{from_a:?}");
    Ok(())
}

/// Makes the callee's side of the relay narrower than the caller's.
fn narrow(call: &Call) -> Result<()> {
    call.net
        .relay
        .run("ip", &["link", "set", "east", "mtu", "600"])?;
    call.net
        .callee
        .run("ip", &["link", "set", "wire", "mtu", "600"])?;
    Ok(())
}

fn a_packet_too_big_for_the_path_is_answered(lab: &Lab) -> Result<()> {
    let call = Call::new(lab)?;
    narrow(&call)?;
    let sender = RawSocket::new(&call.net.caller, "wire", &call.net.relay, "west")?;
    let mut big = Build::new(CALLER_RTP, WEST_RTP, &rtp(call.caller.source, 1, 1000));
    big.dont_fragment = true;
    sender.send(&sender.frame(&big)?)?;
    let errors = icmp_errors(&call, 1)?;
    let expected = IcmpError {
        from: WEST,
        kind: 3,
        code: 4,
        mtu: 600,
        about: (CALLER_RTP, WEST_RTP),
    };
    ensure!(errors == [expected], "{errors:?}");
    // One that just fits goes through.
    let mut fits = Build::new(CALLER_RTP, WEST_RTP, &rtp(call.caller.source, 2, 600 - 28));
    fits.dont_fragment = true;
    sender.send(&sender.frame(&fits)?)?;
    expect(&call.net.at_callee, EAST_RTP, CALLEE_RTP, &[fits.payload])?;
    let from_a = &call.counters()?[0];
    ensure!(from_a.drops == [(DropReason::TooBig, 1)], "{from_a:?}");
    Ok(())
}

fn a_packet_too_big_for_the_path_is_fragmented_when_it_may_be(lab: &Lab) -> Result<()> {
    let call = Call::new(lab)?;
    narrow(&call)?;
    let sender = RawSocket::new(&call.net.caller, "wire", &call.net.relay, "west")?;
    let payload = rtp(call.caller.source, 1, 1400);
    sender.send(&sender.frame(&Build::new(CALLER_RTP, WEST_RTP, &payload))?)?;
    // The callee's kernel puts the fragments together and checks the checksum.
    call.callee.rtp.set_read_timeout(Some(LIMIT))?;
    let mut buffer = [0; 2000];
    let (length, from) = call.callee.rtp.recv_from(&mut buffer)?;
    ensure!(buffer[..length] == payload, "another payload arrived");
    ensure!(from == EAST_RTP.into(), "it came from {from}");
    ensure!(
        call.net
            .at_callee
            .frames()
            .iter()
            .all(|frame| frame.bytes.len() <= 614),
        "a frame is larger than the device allows"
    );
    Ok(())
}

fn the_first_packet_to_an_unknown_neighbour_arrives(lab: &Lab) -> Result<()> {
    let call = Call::new(lab)?;
    let warm = call.caller.send_rtp(WEST_RTP, 0..1)?;
    expect(&call.net.at_callee, EAST_RTP, CALLEE_RTP, &warm)?;
    call.net
        .relay
        .run("ip", &["neigh", "flush", "dev", "east"])?;
    let sent = call.caller.send_rtp(WEST_RTP, 1..4)?;
    let all: Vec<_> = warm.into_iter().chain(sent).collect();
    expect(&call.net.at_callee, EAST_RTP, CALLEE_RTP, &all)?;
    Ok(())
}

fn media_follows_a_changed_route(lab: &Lab) -> Result<()> {
    let call = Call::new(lab)?;
    call.net
        .relay
        .ip("link add south type veth peer name detour netns callee\n\
         address add 10.3.0.1/24 dev south\n\
         link set south up\n")?;
    call.net
        .callee
        .ip("address add 10.3.0.2/24 dev detour\nlink set detour up\n")?;
    let at_detour = lab.capture(&call.net.callee, "detour")?;
    let before = call.caller.send_rtp(WEST_RTP, 0..COUNT)?;
    expect(&call.net.at_callee, EAST_RTP, CALLEE_RTP, &before)?;
    call.net
        .relay
        .ip("route add 10.2.0.2/32 via 10.3.0.2 dev south\n")?;
    let after = call.caller.send_rtp(WEST_RTP, COUNT..2 * COUNT)?;
    expect(&at_detour, EAST_RTP, CALLEE_RTP, &after)?;
    call.net
        .relay
        .ip("route del 10.2.0.2/32 via 10.3.0.2 dev south\n")?;
    let back = call.caller.send_rtp(WEST_RTP, 2 * COUNT..3 * COUNT)?;
    let straight: Vec<_> = before.into_iter().chain(back).collect();
    expect(&call.net.at_callee, EAST_RTP, CALLEE_RTP, &straight)?;
    // No route at all: dropped and counted, and nothing worse.
    call.net.relay.ip("route add unreachable 10.2.0.2/32\n")?;
    call.caller.send_rtp(WEST_RTP, 0..10)?;
    until("packets without a route counted", LIMIT, || {
        Ok((call.counters()?[0].dropped(DropReason::NoRoute) == 10).then_some(()))
    })
}

fn media_survives_the_loss_of_a_device(lab: &Lab) -> Result<()> {
    let call = Call::new(lab)?;
    let before = call.caller.send_rtp(WEST_RTP, 0..COUNT)?;
    expect(&call.net.at_callee, EAST_RTP, CALLEE_RTP, &before)?;
    call.net.relay.ip("link del east\n")?;
    call.caller.send_rtp(WEST_RTP, 0..COUNT)?;
    until("packets without a route counted", LIMIT, || {
        Ok((call.counters()?[0].dropped(DropReason::NoRoute) == u64::from(COUNT)).then_some(()))
    })?;
    // The device comes back; nobody tells the relay.
    call.net
        .relay
        .ip("link add east type veth peer name wire netns callee\n\
         address add 10.2.0.1/24 dev east\n\
         link set east up\n")?;
    call.net
        .callee
        .ip("address add 10.2.0.2/24 dev wire\nlink set wire up\n")?;
    let at_callee = lab.capture(&call.net.callee, "wire")?;
    let after = call.caller.send_rtp(WEST_RTP, COUNT..2 * COUNT)?;
    expect(&at_callee, EAST_RTP, CALLEE_RTP, &after)?;
    Ok(())
}

fn an_operators_raw_rule_still_drops_media(lab: &Lab) -> Result<()> {
    let call = Call::new(lab)?;
    let relay = &call.net.relay;
    let before = call.caller.send_rtp(WEST_RTP, 0..10)?;
    expect(&call.net.at_callee, EAST_RTP, CALLEE_RTP, &before)?;
    relay.run("nft", &["add table ip t"])?;
    relay.run(
        "nft",
        &["add chain ip t c { type filter hook prerouting priority raw; }"],
    )?;
    relay.run(
        "nft",
        &["add rule ip t c ip saddr 10.1.0.2 udp dport 20000 drop"],
    )?;
    call.caller.send_rtp(WEST_RTP, 10..20)?;
    relay.run("nft", &["flush chain ip t c"])?;
    let after = call.caller.send_rtp(WEST_RTP, 20..30)?;
    let passed: Vec<_> = before.into_iter().chain(after).collect();
    expect(&call.net.at_callee, EAST_RTP, CALLEE_RTP, &passed)?;
    ensure!(
        call.counters()?[0].packets == 20,
        "dropped packets were counted"
    );
    ensure!(
        *call.net.at_callee.datagrams()[0].from.ip() == EAST,
        "it came from elsewhere"
    );
    Ok(())
}
