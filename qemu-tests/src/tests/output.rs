// SPDX-License-Identifier: MIT OR Apache-2.0

//! The two ways out: the direct one, and the full one, which the route or the controller asks for.

use std::net::IpAddr;
use std::ops::Range;

use anyhow::{Context, Result, ensure};
use etherparse::{IpNumber, NetSlice, SlicedPacket};
use genl_proto::generated::{DropReason, Output, sending};

use super::fixture::{Call, expect, expect_frames, session_on};
use super::path::Path;
use super::{Test, tests, tests_on_all_paths, tests_on_paths};
use crate::guest::capture::Frame;
use crate::guest::lab::Lab;
use crate::guest::netns::Namespace;
use crate::guest::packet::Build;
use crate::guest::raw::hardware_address;
use crate::guest::relay::{Asked, Session};
use crate::guest::rtp::{SIZE, rtp};
use crate::guest::topology::Family;
use crate::guest::wait::{LIMIT, until};

pub const ON_ALL_PATHS: &[Test] = tests_on_all_paths![
    only_media_on_the_full_way_meets_post_routing,
    media_leaves_encrypted_as_soon_as_a_policy_says_so,
];

pub const ON_PATHS: &[Test] = tests_on_paths![
    media_leaves_by_the_table_of_a_vrf: IPV4 IPV6,
];

pub const TESTS: &[Test] = tests![media_leaves_through_the_device_asked_for];

/// A session whose packets to the callee are sent like this.
fn session(path: Path, callee: Asked) -> Session {
    let mut session = session_on(path);
    session.streams[0].b.asked = callee;
    session
}

fn only_media_on_the_full_way_meets_post_routing(lab: &Lab, path: Path) -> Result<()> {
    let full = Asked::default().sending(sending::OUTPUT, Output::Full as u32);
    let call = Call::with(lab, path, &session(path, full))?;
    let relay = &call.net.relay;
    let keyword = match path.east_family() {
        Family::Ipv4 => "ip",
        Family::Ipv6 => "ip6",
    };
    for rule in [
        "add table inet t",
        // Connection tracking works in a namespace as soon as a rule asks for it.
        "add chain inet t i { type filter hook input priority 0; }",
        "add rule inet t i ct state new counter",
        "add chain inet t c { type filter hook postrouting priority mangle; }",
        &format!("add rule inet t c udp dport 41000 {keyword} dscp set cs3 counter"),
    ] {
        relay.run("nft", &[rule])?;
    }
    let counted = || relay.run("nft", &["list", "chain", "inet", "t", "c"]);
    let mut sent = call.caller.send_rtp(path.west, 0..20)?;
    let seen = expect(&call.net.at_callee, path.east, path.callee, &sent)?;
    ensure!(
        seen.iter().all(|one| (one.tos, one.ttl) == (24 << 2, 63)),
        "the rule has not changed them: {seen:?}"
    );
    ensure!(counted()?.contains("counter packets 20 "), "{}", counted()?);
    ensure!(
        relay.run("conntrack", &["-C"])?.trim() == "0",
        "media is tracked"
    );
    // The way can be changed in the middle of a call, and by itself it is the direct one.
    call.relay.set_streams(call.id, &session_on(path).streams)?;
    sent.extend(call.caller.send_rtp(path.west, 20..40)?);
    let seen = expect(&call.net.at_callee, path.east, path.callee, &sent)?;
    ensure!(
        seen.iter()
            .skip(20)
            .all(|one| (one.tos, one.ttl) == (0, 63)),
        "a rule has changed packets on the direct way: {seen:?}"
    );
    ensure!(counted()?.contains("counter packets 20 "), "{}", counted()?);
    ensure!(call.counters()?[0].packets == 40, "not all were counted");
    Ok(())
}

/// Adds a security association for what one host sends to another, at one of the two.
fn add_association(namespace: &Namespace, from: IpAddr, to: IpAddr) -> Result<()> {
    let (from, to) = (from.to_string(), to.to_string());
    let state = [
        "xfrm",
        "state",
        "add",
        "src",
        &from,
        "dst",
        &to,
        "proto",
        "esp",
        "spi",
        "0x1001",
        "mode",
        "transport",
        "aead",
        "rfc4106(gcm(aes))",
        KEY,
        "128",
    ];
    namespace.run("ip", &state).map(|_| ())
}

/// Adds a policy to protect what one host sends to another.
fn protect(namespace: &Namespace, way: &str, from: IpAddr, to: IpAddr) -> Result<()> {
    let (from, to) = (from.to_string(), to.to_string());
    let policy = [
        "xfrm",
        "policy",
        "add",
        "src",
        &from,
        "dst",
        &to,
        "proto",
        "udp",
        "dir",
        way,
        "tmpl",
        "proto",
        "esp",
        "mode",
        "transport",
    ];
    namespace.run("ip", &policy).map(|_| ())
}

const KEY: &str = "0x0102030405060708090a0b0c0d0e0f1011121314";

/// Whether a frame carries an encapsulated security payload (RFC 4303).
fn is_encrypted(frame: &Frame) -> Option<()> {
    let sliced = SlicedPacket::from_ethernet(&frame.bytes).ok()?;
    let protocol = match sliced.net? {
        NetSlice::Ipv4(ip) => ip.payload().ip_number,
        NetSlice::Ipv6(ip) => ip.payload().ip_number,
        _ => return None,
    };
    (protocol == IpNumber::ENCAPSULATING_SECURITY_PAYLOAD).then_some(())
}

fn media_leaves_encrypted_as_soon_as_a_policy_says_so(lab: &Lab, path: Path) -> Result<()> {
    let call = Call::new(lab, path)?;
    let net = &call.net;
    let (east, callee) = (path.east.ip(), path.callee.ip());
    let plain = call.caller.send_rtp(path.west, 0..10)?;
    expect(&net.at_callee, path.east, path.callee, &plain)?;
    for namespace in [&net.relay, &net.callee] {
        add_association(namespace, east, callee)?;
    }
    protect(&net.callee, "in", east, callee)?;
    protect(&net.relay, "out", east, callee)?;
    let secret = call.caller.send_rtp(path.west, 10..30)?;
    net.at_callee.pick(secret.len(), LIMIT, is_encrypted)?;
    // Nothing more was seen on the wire, and the callee's host decrypts all of it.
    expect(&net.at_callee, path.east, path.callee, &plain)?;
    call.callee.rtp.set_read_timeout(Some(LIMIT))?;
    let mut buffer = [0; 2000];
    let mut wanted = [plain.as_slice(), &secret].concat();
    let mut arrived = Vec::new();
    for _ in &wanted {
        let (length, from) = call.callee.rtp.recv_from(&mut buffer)?;
        ensure!(from == path.east, "it came from {from}");
        arrived.push(buffer[..length].to_vec());
    }
    // Several processors may decrypt at once, so that their order is not promised.
    wanted.sort();
    arrived.sort();
    ensure!(arrived == wanted, "other payloads arrived");
    // And back again.
    net.relay.run("ip", &["xfrm", "policy", "flush"])?;
    let open = call.caller.send_rtp(path.west, 30..40)?;
    let all: Vec<_> = plain.into_iter().chain(open).collect();
    expect(&net.at_callee, path.east, path.callee, &all)?;
    ensure!(call.counters()?[0].packets == 40, "not all were counted");
    Ok(())
}

/// The index of a device.
fn index(namespace: &Namespace, device: &str) -> Result<u32> {
    let line = namespace.run("ip", &["-oneline", "link", "show", "dev", device])?;
    let number = line
        .split(':')
        .next()
        .context("a device without an index")?;
    Ok(number.parse()?)
}

fn media_leaves_by_the_table_of_a_vrf(lab: &Lab, path: Path) -> Result<()> {
    let call = Call::new(lab, path)?;
    let relay = &call.net.relay;
    let family = path.east_family();
    relay.ip("link add blue type vrf table 100\nlink set blue up\nlink set east master blue\n")?;
    // Addresses of IPv6 do not survive that.
    if family == Family::Ipv6 {
        relay.ip(&family.add_address(2, 1, "east"))?;
    }
    let link = (
        hardware_address(relay, "east")?,
        hardware_address(&call.net.callee, "wire")?,
    );
    let sender = call.callers_device()?;
    let send = |numbers: Range<u16>| -> Result<Vec<_>> {
        numbers
            .map(|number| {
                let payload = rtp(1, number, SIZE);
                let packet = Build::new(path.caller, path.west, &payload);
                sender.send(&sender.frame(&packet)?)?;
                Ok(path.relayed(&packet))
            })
            .collect()
    };
    // The main table has no way to the callee any more.
    send(0..10)?;
    until("packets without a route counted", LIMIT, || {
        Ok((call.counters()?[0].dropped(DropReason::NoRoute) == 10).then_some(()))
    })?;
    let callee = Asked::default().sending(sending::DEVICE, index(relay, "blue")?);
    call.relay
        .set_streams(call.id, &session(path, callee).streams)?;
    let sent = send(10..30)?;
    expect_frames(&call.net.at_callee, link, &sent)
}

fn media_leaves_through_the_device_asked_for(lab: &Lab) -> Result<()> {
    let path = Path::IPV4;
    let call = Call::new(lab, path)?;
    let relay = &call.net.relay;
    relay.ip("link add south type veth peer name detour netns callee\n\
         address add 10.3.0.1/24 dev south\n\
         link set south up\n\
         route add 10.2.0.2/32 via 10.3.0.2 dev south metric 500\n\
         route add 10.2.0.2/32 dev east metric 5\n")?;
    call.net
        .callee
        .ip("address add 10.3.0.2/24 dev detour\nlink set detour up\n")?;
    let at_detour = lab.capture(&call.net.callee, "detour")?;
    let straight = call.caller.send_rtp(path.west, 0..10)?;
    expect(&call.net.at_callee, path.east, path.callee, &straight)?;
    let south = Asked::default().sending(sending::DEVICE, index(relay, "south")?);
    call.relay
        .set_streams(call.id, &session(path, south).streams)?;
    let sent = call.caller.send_rtp(path.west, 10..30)?;
    expect(&at_detour, path.east, path.callee, &sent)?;
    Ok(())
}
