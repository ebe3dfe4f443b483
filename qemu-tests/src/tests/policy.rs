// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a controller may ask of an endpoint's packets.

use std::time::Instant;

use anyhow::{Result, ensure};
use genl_proto::generated::{DropReason, EndReason, Output, StreamKind, receiving, sending};

use super::fixture::{Call, demanding_session_on, expect, idle_relay, session_on};
use super::path::Path;
use super::{Test, tests, tests_on_paths};
use crate::guest::lab::Lab;
use crate::guest::packet::Build;
use crate::guest::relay::{Asked, Events, Session};
use crate::guest::rtp::{SIZE, rtp, send_all};
use crate::guest::wait::{LIMIT, until};

pub const ON_PATHS: &[Test] = tests_on_paths![
    dscp_and_hop_limit_are_set_and_ecn_is_kept: IPV4 IPV6 IPV4_TO_IPV6 IPV6_TO_IPV4,
    only_the_payload_types_asked_for_pass: IPV4 IPV6,
    only_the_pinned_source_passes: IPV4 IPV6,
    a_rate_is_an_upper_limit: IPV4 IPV6,
    connectivity_checks_and_keys_pass_beside_media: IPV4 IPV6 IPV4_TO_IPV6 IPV6_TO_IPV4,
    plain_udp_passes_where_it_was_asked_for: IPV4 IPV6 IPV4_TO_IPV6 IPV6_TO_IPV4,
];

pub const TESTS: &[Test] = tests![
    a_mark_chooses_the_route,
    what_was_asked_is_told,
    an_end_is_told_with_all_that_was_asked,
];

/// A session of which this is asked at the caller's and at the callee's RTP endpoint.
fn session(path: Path, caller: Asked, callee: Asked) -> Session {
    let mut session = session_on(path);
    session.streams[0].a.asked = caller;
    session.streams[0].b.asked = callee;
    session
}

fn dscp_and_hop_limit_are_set_and_ecn_is_kept(lab: &Lab, path: Path) -> Result<()> {
    let callee = Asked::default()
        .sending(sending::DSCP, 46)
        .sending(sending::HOP_LIMIT, 200);
    let call = Call::with(lab, path, &session(path, Asked::default(), callee))?;
    let sender = call.callers_device()?;
    // The classes packets arrive with, and those they leave with: expedited forwarding, with
    // every value of ECN.
    let classes = [(0, 0xb8), (1, 0xb9), (0xfe, 0xba), (0x0b, 0xbb)];
    let mut sent = Vec::new();
    for ((class, _), number) in classes.into_iter().zip(0..) {
        let payload = rtp(call.caller.source, number, SIZE);
        let mut packet = Build::new(path.caller, path.west, &payload);
        packet.tos = class;
        sender.send(&sender.frame(&packet)?)?;
        sent.push(payload);
    }
    let seen = expect(&call.net.at_callee, path.east, path.callee, &sent)?;
    ensure!(
        seen.iter()
            .map(|one| (one.tos, one.ttl))
            .eq(classes.map(|(_, class)| (class, 200))),
        "{seen:?}"
    );
    // What is sent to the caller is as ever.
    let sent = call.callee.send_rtp(path.east, 0..5)?;
    let seen = expect(&call.net.at_caller, path.west, path.caller, &sent)?;
    ensure!(
        seen.iter().all(|one| (one.tos, one.ttl) == (0, 63)),
        "{seen:?}"
    );
    Ok(())
}

fn only_the_payload_types_asked_for_pass(lab: &Lab, path: Path) -> Result<()> {
    let caller = Asked {
        payload_types: Some((1 << 8) | (1 << 101)),
        ..Asked::default()
    };
    let call = Call::with(lab, path, &session(path, caller, Asked::default()))?;
    let typed = |number: u16, payload_type: u8| {
        let mut packet = rtp(call.caller.source, number, SIZE);
        packet[1] = payload_type;
        packet
    };
    // With and without the marker bit.
    let good = [8, 101, 0x80 | 8, 0x80 | 101].map(|kind| typed(1, kind));
    let bad = [0, 9, 100, 102, 0x80, 0x7f].map(|kind| typed(2, kind));
    send_all(&call.caller.rtp, path.west, bad)?;
    let sent = send_all(&call.caller.rtp, path.west, good)?;
    expect(&call.net.at_callee, path.east, path.callee, &sent)?;
    let from_a = &call.counters()?[0];
    ensure!(from_a.drops == [(DropReason::PayloadType, 6)], "{from_a:?}");
    Ok(())
}

fn only_the_pinned_source_passes(lab: &Lab, path: Path) -> Result<()> {
    let caller = Asked::default().receiving(receiving::SSRC, 0xfeed_beef);
    let call = Call::with(lab, path, &session(path, caller, Asked::default()))?;
    let others = [0, 0xfeed_beee, 0xefbe_edfe].map(|source| rtp(source, 1, SIZE));
    send_all(&call.caller.rtp, path.west, others)?;
    let own = (0..5).map(|number| rtp(0xfeed_beef, number, SIZE));
    let sent = send_all(&call.caller.rtp, path.west, own)?;
    expect(&call.net.at_callee, path.east, path.callee, &sent)?;
    let from_a = &call.counters()?[0];
    ensure!(from_a.drops == [(DropReason::ForeignSsrc, 3)], "{from_a:?}");
    Ok(())
}

fn a_rate_is_an_upper_limit(lab: &Lab, path: Path) -> Result<()> {
    for (rate, a_second) in [
        (receiving::PACKET_RATE, 10),
        (receiving::BYTE_RATE, 10 * SIZE as u32),
    ] {
        let caller = Asked::default().receiving(rate, a_second);
        let call = Call::with(lab, path, &session(path, caller, Asked::default()))?;
        let began = Instant::now();
        call.caller.send_rtp(path.west, 0..200)?;
        let from_a = until("all packets counted", LIMIT, || {
            let counted = call.counters()?[0].clone();
            let all = counted.packets + counted.dropped(DropReason::Rate);
            Ok((all == 200).then_some(counted))
        })?;
        // A second's worth at once, and the rate as long as it took.
        let most = 10 + began.elapsed().as_millis() as u64 / 100 + 1;
        ensure!(
            (10..=most).contains(&from_a.packets),
            "not from 10 to {most}: {from_a:?}"
        );
    }
    Ok(())
}

fn a_mark_chooses_the_route(lab: &Lab) -> Result<()> {
    let path = Path::IPV4;
    let callee = Asked::default().sending(sending::MARK, 7);
    let call = Call::with(lab, path, &session(path, Asked::default(), callee))?;
    call.net
        .relay
        .ip("link add south type veth peer name detour netns callee\n\
         address add 10.3.0.1/24 dev south\n\
         link set south up\n\
         rule add fwmark 7 lookup 100\n\
         route add 10.2.0.2/32 via 10.3.0.2 dev south table 100\n")?;
    call.net
        .callee
        .ip("address add 10.3.0.2/24 dev detour\nlink set detour up\n")?;
    let at_detour = lab.capture(&call.net.callee, "detour")?;
    let sent = call.caller.send_rtp(path.west, 0..20)?;
    expect(&at_detour, path.east, path.callee, &sent)?;
    Ok(())
}

/// What shares a port with media where it is found out how to reach the party, and with which keys.
fn connectivity_checks_and_keys_pass_beside_media(lab: &Lab, path: Path) -> Result<()> {
    let call = Call::new(lab, path)?;
    // A binding request (RFC 8489 section 5) without attributes, and the headers of a handshake
    // (RFC 6347 section 4.1) and of application data (RFC 9147 section 4), each with 16 bytes more.
    let mut binding = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    binding.resize(20, 7);
    let mut handshake = vec![22, 0xfe, 0xfd];
    handshake.resize(13 + 16, 0);
    let mut data = vec![0b0010_1100, 0, 1, 0, 16];
    data.resize(5 + 16, 9);
    let packets = [binding, handshake, data];
    // What is too short for its kind, or of none, is nothing a stream of media carries.
    let strange = packets.iter().map(|packet| packet[..12].to_vec());
    let strange = strange.chain([vec![4; 40], vec![64; 40], vec![255; 40]]);
    send_all(&call.caller.rtp, path.west, strange)?;
    let sent = send_all(&call.caller.rtp, path.west, packets)?;
    expect(&call.net.at_callee, path.east, path.callee, &sent)?;
    let from_a = &call.counters()?[0];
    ensure!(
        from_a.packets == 3 && from_a.drops == [(DropReason::Malformed, 6)],
        "{from_a:?}"
    );
    ensure!(from_a.quality.is_empty(), "{from_a:?}");
    Ok(())
}

fn plain_udp_passes_where_it_was_asked_for(lab: &Lab, path: Path) -> Result<()> {
    let mut fax = session_on(path);
    fax.streams.truncate(1);
    fax.streams[0].kind = StreamKind::Udp;
    let call = Call::with(lab, path, &fax)?;
    // UDPTL begins with a sequence number, other protocols with anything.
    let packets = [vec![0, 1, 2], vec![0xff; 300], vec![4], Vec::new()];
    let sent = send_all(&call.caller.rtp, path.west, packets)?;
    expect(&call.net.at_callee, path.east, path.callee, &sent)?;
    let from_a = &call.counters()?[0];
    ensure!(
        from_a.drops.is_empty() && from_a.quality.is_empty(),
        "{from_a:?}"
    );
    Ok(())
}

fn what_was_asked_is_told(lab: &Lab) -> Result<()> {
    let path = Path::IPV4;
    let caller = Asked {
        payload_types: Some((1 << 127) | 1),
        ..Asked::default()
            .receiving(receiving::SSRC, 0)
            .receiving(receiving::PACKET_RATE, 100)
            .receiving(receiving::BYTE_RATE, 20_000)
            .receiving(receiving::BURST_MS, 250)
            .receiving(receiving::CLOCK_RATE, 48_000)
            .sending(sending::DSCP, 0)
    };
    let callee = Asked::default()
        .sending(sending::DSCP, 63)
        .sending(sending::HOP_LIMIT, 255)
        .sending(sending::MARK, u32::MAX)
        .sending(sending::DEVICE, 1)
        .sending(sending::OUTPUT, Output::Full as u32);
    let wanted = session(path, caller, callee);
    let call = Call::with(lab, path, &wanted)?;
    ensure!(
        call.relay.get(call.id)?.streams() == wanted.streams,
        "another state"
    );
    // A change replaces all of it.
    let plain = session_on(path);
    call.relay.set_streams(call.id, &plain.streams)?;
    ensure!(
        call.relay.get(call.id)?.streams() == plain.streams,
        "another state"
    );
    Ok(())
}

/// The kernel makes room for what is ordinary first.
fn an_end_is_told_with_all_that_was_asked(lab: &Lab) -> Result<()> {
    let (net, relay) = idle_relay(lab)?;
    let wanted = demanding_session_on(Path::IPV4);
    let events = Events::subscribe(&net.relay)?;
    let id = relay.make(&wanted)?;
    ensure!(relay.flush(None)? == 1, "not one session");
    let ended = events.next()?;
    ensure!(
        ended.id == id && ended.end_reason == Some(EndReason::Flushed),
        "{ended:?}"
    );
    ensure!(ended.streams() == wanted.streams, "{ended:?}");
    Ok(())
}
