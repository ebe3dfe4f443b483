// SPDX-License-Identifier: MIT OR Apache-2.0

//! What somebody should look into is told, once and with names.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use genl_proto::generated::{AlarmReason, DropReason, receiving};

use super::fixture::{Call, idle_relay, session_on, streams};
use super::path::Path;
use super::{Test, tests, tests_on_paths};
use crate::guest::lab::Lab;
use crate::guest::packet::Build;
use crate::guest::raw::{Offload, RawSocket};
use crate::guest::relay::{Alarm, Asked, Events, Relay, Session};
use crate::guest::rtp::{Party, SIZE, rtp, send_all};
use crate::guest::wait::{LIMIT, until};

pub const ON_PATHS: &[Test] = tests_on_paths![
    a_stranger_raises_one_alarm_that_names_the_call_and_him: IPV4 IPV6,
    packets_that_go_round_raise_an_alarm: IPV4 IPV6,
    packets_from_a_port_of_the_relay_raise_the_alarm_of_a_loop: IPV4 IPV6,
    packets_between_two_relays_end_with_their_hops: IPV4 IPV6,
    a_scan_of_the_ports_raises_an_alarm: IPV4 IPV6,
];

pub const TESTS: &[Test] = tests![
    a_few_packets_too_late_raise_no_alarm,
    more_packets_than_allowed_raise_the_alarm_of_a_flood,
    packets_before_the_answer_raise_no_alarm,
];

const COUNT: u16 = 50;

/// Packets that are sent as one frame.
const BURST: usize = 40;

/// An alarm must be about this session, begin between these two, and count no more than was sent.
fn is(
    alarm: &Alarm,
    reason: AlarmReason,
    session: Option<(u64, &[u8], u32)>,
    (source, local): (SocketAddr, SocketAddr),
    sent: u64,
) -> Result<()> {
    let told = alarm.session.as_ref();
    ensure!(alarm.reason == reason, "{alarm:?}");
    ensure!(
        told.map(|(id, label, owner)| (*id, label.as_slice(), *owner)) == session,
        "{alarm:?}"
    );
    ensure!((alarm.source, alarm.local) == (source, local), "{alarm:?}");
    ensure!((10..=sent).contains(&alarm.packets), "{alarm:?}");
    Ok(())
}

fn whose(call: &Call) -> Option<(u64, &[u8], u32)> {
    Some((call.id, b"call@caller", 7))
}

fn a_stranger_raises_one_alarm_that_names_the_call_and_him(lab: &Lab, path: Path) -> Result<()> {
    let call = Call::new(lab, path)?;
    let events = Events::subscribe(&call.net.relay)?;
    let mut elsewhere = path.caller;
    elsewhere.set_port(50_000);
    let stranger = Party::new(&call.net.caller, elsewhere)?;
    stranger.send_rtp(path.west, 0..COUNT)?;
    let alarm = events.next_alarm()?;
    let way = (elsewhere, path.west);
    is(
        &alarm,
        AlarmReason::ForeignSource,
        whose(&call),
        way,
        COUNT.into(),
    )?;
    // It goes on, and is not told again so soon: the next one is about something else.
    stranger.send_rtp(path.west, 0..COUNT)?;
    stranger.send_rtcp(super::fixture::rtcp_of(path.west), 0..COUNT)?;
    let alarm = events.next_alarm()?;
    ensure!(
        alarm.local == super::fixture::rtcp_of(path.west),
        "{alarm:?}"
    );
    let totals = call.relay.totals()?;
    ensure!(totals.alarms == (2, 0), "{totals:?}");
    Ok(())
}

fn packets_that_go_round_raise_an_alarm(lab: &Lab, path: Path) -> Result<()> {
    let call = Call::new(lab, path)?;
    let events = Events::subscribe(&call.net.relay)?;
    let sender = call.callers_device()?;
    for number in 0..COUNT {
        let payload = rtp(call.caller.source, number, SIZE);
        let mut packet = Build::new(path.caller, path.west, &payload);
        packet.ttl = 1;
        sender.send(&sender.frame(&packet)?)?;
    }
    let way = (path.caller, path.west);
    let alarm = events.next_alarm()?;
    is(&alarm, AlarmReason::Loop, whose(&call), way, COUNT.into())
}

fn packets_from_a_port_of_the_relay_raise_the_alarm_of_a_loop(lab: &Lab, path: Path) -> Result<()> {
    let call = Call::new(lab, path)?;
    let events = Events::subscribe(&call.net.relay)?;
    let sender = call.callers_device()?;
    for number in 0..COUNT {
        let payload = rtp(call.caller.source, number, SIZE);
        let packet = Build::new(path.east, path.west, &payload);
        sender.send(&sender.frame(&packet)?)?;
    }
    let way = (path.east, path.west);
    let alarm = events.next_alarm()?;
    is(&alarm, AlarmReason::Loop, whose(&call), way, COUNT.into())
}

/// Two relays that were told to send to each other: here one is the callee's host.
fn packets_between_two_relays_end_with_their_hops(lab: &Lab, path: Path) -> Result<()> {
    const HOPS: u8 = 64;
    let (net, relay) = idle_relay(lab)?;
    let other = Relay::open(&net.callee)?;
    let ports = (path.callee.port(), path.callee.port() + 99);
    other.configure(ports, &[path.callee.ip()])?;
    let next = |mut address: SocketAddr| {
        address.set_port(address.port() + 2);
        address
    };
    // What comes from the other leaves to it, on both.
    let (east, callee) = (next(path.east), next(path.callee));
    let between = |a, b| Session {
        streams: streams(a, b),
        ..session_on(path)
    };
    relay.make(&between(
        (path.east, Some(path.callee)),
        (east, Some(callee)),
    ))?;
    other.make(&between(
        (path.callee, Some(path.east)),
        (callee, Some(east)),
    ))?;
    let sender = RawSocket::new(&net.callee, "wire", &net.relay, "east")?;
    let mut packet = Build::new(path.callee, path.east, &rtp(1, 1, SIZE));
    packet.ttl = HOPS;
    sender.send(&sender.frame(&packet)?)?;
    let totals = until("the end of a packet", LIMIT, || {
        let both = [relay.totals()?.relayed, other.totals()?.relayed];
        let ended: u64 = both
            .iter()
            .map(|one| one.dropped(DropReason::TtlExceeded))
            .sum();
        Ok((ended > 0).then_some(both))
    })?;
    let relayed: u64 = totals.iter().map(|one| one.packets).sum();
    ensure!(relayed == u64::from(HOPS) - 1, "{totals:?}");
    Ok(())
}

fn a_scan_of_the_ports_raises_an_alarm(lab: &Lab, path: Path) -> Result<()> {
    let call = Call::new(lab, path)?;
    let events = Events::subscribe(&call.net.relay)?;
    let scanner = call.callers_device()?;
    scanner.accept_offload()?;
    let mut at = path.west;
    let mut sent = 0;
    // Many packets in each frame, which makes them come fast enough however slow this machine is.
    while events.is_quiet() {
        for port in 20_100..20_900 {
            at.set_port(port);
            let packet = rtp(1, port, SIZE);
            let payload = packet.repeat(BURST);
            let frame = scanner.frame(&Build::new(path.caller, at, &payload))?;
            let segment = u16::try_from(packet.len()).context("too long a packet")?;
            scanner.send_offloaded(Offload::udp(segment), &frame)?;
            sent += BURST as u64;
        }
    }
    let alarm = events.next_alarm()?;
    ensure!(alarm.reason == AlarmReason::Flood, "{alarm:?}");
    ensure!(alarm.session.is_none(), "{alarm:?}");
    ensure!(alarm.source == path.caller, "{alarm:?}");
    ensure!(
        alarm.local.ip() == path.west.ip() && (20_100..20_900).contains(&alarm.local.port()),
        "{alarm:?}"
    );
    ensure!((10..=sent).contains(&alarm.packets), "{alarm:?} of {sent}");
    Ok(())
}

fn a_few_packets_too_late_raise_no_alarm(lab: &Lab) -> Result<()> {
    let path = Path::IPV4;
    let call = Call::new(lab, path)?;
    let events = Events::subscribe(&call.net.relay)?;
    let mut elsewhere = path.caller;
    elsewhere.set_port(50_000);
    let stranger = Party::new(&call.net.caller, elsewhere)?;
    stranger.send_rtp(path.west, 0..9)?;
    // Another one, begun later, is the first to be told.
    stranger.send_rtp(path.east, 0..COUNT)?;
    let alarm = events.next_alarm()?;
    ensure!(alarm.local == path.east, "{alarm:?}");
    Ok(())
}

fn more_packets_than_allowed_raise_the_alarm_of_a_flood(lab: &Lab) -> Result<()> {
    let path = Path::IPV4;
    let mut session = session_on(path);
    session.streams[0].a.asked = Asked::default().receiving(receiving::PACKET_RATE, 1);
    let call = Call::with(lab, path, &session)?;
    let events = Events::subscribe(&call.net.relay)?;
    call.caller.send_rtp(path.west, 0..COUNT)?;
    let way = (path.caller, path.west);
    let alarm = events.next_alarm()?;
    is(&alarm, AlarmReason::Flood, whose(&call), way, COUNT.into())
}

fn packets_before_the_answer_raise_no_alarm(lab: &Lab) -> Result<()> {
    let path = Path::IPV4;
    let mut session = session_on(path);
    session.streams[0].b.remote = None;
    let call = Call::with(lab, path, &session)?;
    let events = Events::subscribe(&call.net.relay)?;
    // The callee talks before his address is known here.
    call.callee.send_rtp(path.east, 0..COUNT)?;
    // Another alarm, begun later, is the first to be told.
    let stranger = send_all(
        &call.callee.rtp,
        path.west,
        (0..COUNT).map(|number| rtp(1, number, SIZE)),
    )?;
    ensure!(stranger.len() == usize::from(COUNT), "not all were sent");
    let alarm = events.next_alarm()?;
    ensure!(alarm.local == path.west, "{alarm:?}");
    Ok(())
}
