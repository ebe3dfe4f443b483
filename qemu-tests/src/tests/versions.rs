// SPDX-License-Identifier: MIT OR Apache-2.0

//! Where the versions of IP differ, and what a packet keeps when it changes from one to the other.

use anyhow::{Result, ensure};
use genl_proto::generated::DropReason;

use super::fixture::{Call, expect};
use super::path::Path;
use super::{Test, tests, tests_on_paths};
use crate::guest::lab::Lab;
use crate::guest::packet::{Build, Checksum, IcmpError, IcmpKind, udp_checksum_at};
use crate::guest::rtp::{SIZE, rtp};
use crate::guest::topology::{Family, udp};
use crate::guest::wait::{LIMIT, until};

pub const TESTS: &[Test] = tests![
    a_zero_udp_checksum_stays_zero,
    ipv6_gets_the_checksum_that_ipv4_went_without,
    a_path_narrower_than_ipv6_allows_gets_fragments,
];

pub const ON_PATHS: &[Test] = tests_on_paths![
    a_zero_udp_checksum_is_dropped_and_counted: IPV6 IPV6_TO_IPV4,
    a_datagram_put_together_by_connection_tracking_is_one_packet: IPV4 IPV6 IPV4_TO_IPV6 IPV6_TO_IPV4,
    the_traffic_class_is_kept: IPV4 IPV6 IPV4_TO_IPV6 IPV6_TO_IPV4,
    a_fragmented_datagram_belongs_to_local_sockets: IPV4 IPV6,
    a_packet_with_options_belongs_to_local_sockets: IPV4 IPV6,
];

/// Sends RTP packets whose UDP checksum is zero, and returns their payloads.
fn send_without_checksums(call: &Call, path: Path) -> Result<Vec<Vec<u8>>> {
    let sender = call.callers_device()?;
    let at = udp_checksum_at(path.west_family());
    let payloads: Vec<_> = [SIZE, SIZE + 1, 12, 1000]
        .into_iter()
        .zip(0..)
        .map(|(size, number)| rtp(call.caller.source, number, size))
        .collect();
    for payload in &payloads {
        let mut frame = sender.frame(&Build::new(path.caller, path.west, payload))?;
        frame[at..at + 2].fill(0);
        sender.send(&frame)?;
    }
    Ok(payloads)
}

fn a_zero_udp_checksum_stays_zero(lab: &Lab) -> Result<()> {
    let path = Path::IPV4;
    let call = Call::new(lab, path)?;
    let sent = send_without_checksums(&call, path)?;
    let seen = expect(&call.net.at_callee, path.east, path.callee, &sent)?;
    ensure!(
        seen.iter().all(|one| one.checksum == Checksum::None),
        "{seen:?}"
    );
    Ok(())
}

fn ipv6_gets_the_checksum_that_ipv4_went_without(lab: &Lab) -> Result<()> {
    let path = Path::IPV4_TO_IPV6;
    for (offload, expected) in [(true, Checksum::Partial), (false, Checksum::Right)] {
        lab.step(format!("checksum offload: {offload}"));
        let call = Call::new(lab, path)?;
        call.net.set_checksum_offload(offload)?;
        let sent = send_without_checksums(&call, path)?;
        let seen = expect(&call.net.at_callee, path.east, path.callee, &sent)?;
        ensure!(seen.iter().all(|one| one.checksum == expected), "{seen:?}");
        // What is left to a device is right in the end: the callee's kernel takes the packets.
        call.callee.rtp.set_read_timeout(Some(LIMIT))?;
        let mut buffer = [0; 2000];
        for payload in &sent {
            let length = call.callee.rtp.recv(&mut buffer)?;
            ensure!(&buffer[..length] == payload, "another payload arrived");
        }
    }
    Ok(())
}

fn a_zero_udp_checksum_is_dropped_and_counted(lab: &Lab, path: Path) -> Result<()> {
    let call = Call::new(lab, path)?;
    let bad = send_without_checksums(&call, path)?;
    let sent = call.caller.send_rtp(path.west, 100..110)?;
    expect(&call.net.at_callee, path.east, path.callee, &sent)?;
    let from_a = &call.counters()?[0];
    ensure!(from_a.packets == 10, "{from_a:?}");
    ensure!(
        from_a.drops == [(DropReason::Malformed, bad.len() as u64)],
        "{from_a:?}"
    );
    Ok(())
}

fn the_traffic_class_is_kept(lab: &Lab, path: Path) -> Result<()> {
    let call = Call::new(lab, path)?;
    let sender = call.callers_device()?;
    // Expedited forwarding with every value of ECN, no class at all, every bit.
    let classes = [0xb8, 0xb9, 0xba, 0xbb, 0, 0xff];
    let mut sent = Vec::new();
    for (class, number) in classes.into_iter().zip(0..) {
        let payload = rtp(call.caller.source, number, SIZE);
        let mut packet = Build::new(path.caller, path.west, &payload);
        packet.tos = class;
        packet.flow_label = 0xa_bcde;
        sender.send(&sender.frame(&packet)?)?;
        sent.push(payload);
    }
    let seen = expect(&call.net.at_callee, path.east, path.callee, &sent)?;
    ensure!(
        seen.iter().map(|one| one.tos).eq(classes),
        "other classes: {seen:?}"
    );
    // A label is not to be changed on the way (RFC 6437), and IPv4 has none to hand on.
    let label = match (path.west_family(), path.east_family()) {
        (Family::Ipv6, Family::Ipv6) => 0xa_bcde,
        _ => 0,
    };
    ensure!(
        seen.iter().all(|one| one.flow_label == label),
        "other flow labels: {seen:?}"
    );
    Ok(())
}

/// Sends one frame after another from the caller's device and checks that a socket on the relay
/// gets this payload, and the relay has nothing to do with it.
fn belongs_to_local_sockets(
    call: &Call,
    path: Path,
    payload: &[u8],
    send: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let local = udp(&call.net.relay, path.west)?;
    local.set_read_timeout(Some(LIMIT))?;
    send()?;
    let mut buffer = vec![0; 10_000];
    let (length, from) = local.recv_from(&mut buffer)?;
    ensure!(&buffer[..length] == payload, "another payload arrived");
    ensure!(from == path.caller, "it came from {from}");
    let sent = call.caller.send_rtp(path.west, 100..110)?;
    expect(&call.net.at_callee, path.east, path.callee, &sent)?;
    let from_a = &call.counters()?[0];
    ensure!(
        from_a.packets == 10 && from_a.drops.is_empty(),
        "it was counted: {from_a:?}"
    );
    Ok(())
}

fn a_fragmented_datagram_belongs_to_local_sockets(lab: &Lab, path: Path) -> Result<()> {
    let call = Call::new(lab, path)?;
    // Three fragments: the first has the ports, the last has not.
    let payload = rtp(call.caller.source, 1, 4000);
    belongs_to_local_sockets(&call, path, &payload, || {
        call.caller.rtp.send_to(&payload, path.west)?;
        Ok(())
    })
}

/// Connection tracking puts fragments together before anybody else sees them.
fn a_datagram_put_together_by_connection_tracking_is_one_packet(
    lab: &Lab,
    path: Path,
) -> Result<()> {
    let call = Call::new(lab, path)?;
    for rule in [
        "add table inet t",
        "add chain inet t c { type filter hook input priority 0; }",
        "add rule inet t c ct state new counter",
    ] {
        call.net.relay.run("nft", &[rule])?;
    }
    let payload = rtp(call.caller.source, 1, 4000);
    call.caller.rtp.send_to(&payload, path.west)?;
    call.callee.rtp.set_read_timeout(Some(LIMIT))?;
    let mut buffer = [0; 5000];
    let (length, from) = call.callee.rtp.recv_from(&mut buffer)?;
    ensure!(
        buffer[..length] == payload && from == path.east,
        "another payload arrived, from {from}"
    );
    let from_a = &call.counters()?[0];
    ensure!(from_a.packets == 1 && from_a.drops.is_empty(), "{from_a:?}");
    Ok(())
}

fn a_packet_with_options_belongs_to_local_sockets(lab: &Lab, path: Path) -> Result<()> {
    let call = Call::new(lab, path)?;
    let payload = rtp(call.caller.source, 1, SIZE);
    let mut packet = Build::new(path.caller, path.west, &payload);
    packet.options = true;
    let sender = call.callers_device()?;
    belongs_to_local_sockets(&call, path, &payload, || {
        sender.send(&sender.frame(&packet)?)
    })
}

/// The sender of an IPv6 packet need not be able to send one of less than 1280 bytes (RFC 8200
/// section 5), so what the IPv4 side makes of such a packet must be allowed to be fragmented.
fn a_path_narrower_than_ipv6_allows_gets_fragments(lab: &Lab) -> Result<()> {
    let path = Path::IPV6_TO_IPV4;
    let call = Call::new(lab, path)?;
    call.net.set_callees_mtu(600)?;
    let sender = call.callers_device()?;
    call.callee.rtp.set_read_timeout(Some(LIMIT))?;
    let mut buffer = [0; 2000];
    for (number, size) in [(1, 1000), (2, 1280 - 48)] {
        let payload = rtp(call.caller.source, number, size);
        sender.send(&sender.frame(&Build::new(path.caller, path.west, &payload))?)?;
        let (length, from) = call.callee.rtp.recv_from(&mut buffer)?;
        ensure!(buffer[..length] == payload, "another payload arrived");
        ensure!(from == path.east, "it came from {from}");
    }
    // One byte more and the sender is told the least that IPv6 knows.
    let payload = rtp(call.caller.source, 3, 1280 - 47);
    sender.send(&sender.frame(&Build::new(path.caller, path.west, &payload))?)?;
    let error = until("an ICMPv6 error", LIMIT, || {
        let frames = call.net.at_caller.frames();
        Ok(frames.iter().find_map(IcmpError::parse))
    })?;
    ensure!(error.kind == IcmpKind::TooBig { mtu: 1280 }, "{error:?}");
    Ok(())
}
