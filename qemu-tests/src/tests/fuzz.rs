// SPDX-License-Identifier: MIT OR Apache-2.0

//! Messages and packets nobody would send on purpose, in numbers. That the kernel has nothing to
//! say about them is the runner's to see; here the relay must still work when they end.
//!
//! What is sent follows from a seed, which the runner prints; LREP_SEED=N repeats it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use fastrand::Rng;
use genl_proto::generated::{
    Attribute, Command, Kind, LearningMode, OPERATIONS, Output, STREAMS_MAX, StreamKind, learning,
    receiving, sending,
};
use nix::libc;

use super::control::valid_messages;
use super::fixture::{
    LOCALS, PORTS, demanding_session_on, expect, idle_relay, session_on, streams,
};
use super::path::Path;
use super::{Test, tests, tests_on_paths};
use crate::guest::debug::is_debug_kernel;
use crate::guest::lab::Lab;
use crate::guest::netns::Namespace;
use crate::guest::packet::{Build, udp_checksum_at};
use crate::guest::raw::{Offload, RawSocket};
use crate::guest::relay::{Asked, Events, Relay, Session, octets};
use crate::guest::rtp::{Party, rtcp, rtp};
use crate::guest::topology::{Family, Topology};

pub const TESTS: &[Test] = tests![no_message_harms_the_relay];

pub const ON_PATHS: &[Test] = tests_on_paths![no_packet_harms_the_relay: IPV4 IPV6 IPV4_TO_IPV6];

/// How many messages are sent, or packets on each path.
fn count() -> u64 {
    if is_debug_kernel() { 1_000_000 } else { 20_000 }
}

/// What this run's randomness starts from: `lrep.seed=` of the kernel's command line.
fn seed() -> Result<u64> {
    let line = std::fs::read_to_string("/proc/cmdline").context("cannot read the command line")?;
    line.split_whitespace()
        .find_map(|word| word.strip_prefix("lrep.seed="))
        .context("the command line names no seed")?
        .parse()
        .context("lrep.seed is not a number")
}

/// Runs something random, and names the seed when it fails.
pub fn with_seed(lab: &Lab, act: impl FnOnce(u64) -> Result<()>) -> Result<()> {
    let seed = seed()?;
    lab.step(format!("seed {seed}"));
    act(seed).with_context(|| format!("LREP_SEED={seed}"))
}

/// Takes what the test did to the relay back and passes media through it.
fn expect_a_sound_relay(lab: &Lab, relay: &Relay, path: Path, ends: [&Namespace; 2]) -> Result<()> {
    relay.flush(None)?;
    ensure!(relay.sessions()?.is_empty(), "a flush left sessions");
    ensure!(relay.totals()?.sessions == 0, "{:?}", relay.totals()?);
    relay.configure(PORTS, &LOCALS)?;
    relay.make(&session_on(path))?;
    let [caller, callee] = ends;
    let at_caller = lab.capture(caller, "wire")?;
    let at_callee = lab.capture(callee, "wire")?;
    let caller = Party::new(caller, path.caller)?;
    let callee = Party::new(callee, path.callee)?;
    let sent = caller.send_rtp(path.west, 0..10)?;
    expect(&at_callee, path.east, path.callee, &sent)?;
    let sent = callee.send_rtp(path.east, 0..10)?;
    expect(&at_caller, path.west, path.caller, &sent)?;
    Ok(())
}

fn no_message_harms_the_relay(lab: &Lab) -> Result<()> {
    with_seed(lab, |seed| {
        let (net, relay) = idle_relay(lab)?;
        let events = Events::subscribe(&net.relay)?;
        // Two at once, so that commands meet each other.
        thread::scope(|scope| {
            let fuzzers: Vec<_> = [seed, seed.wrapping_add(1)]
                .map(|seed| {
                    let namespace = &net.relay;
                    scope.spawn(move || throw_messages(lab, namespace, seed, count() / 2))
                })
                .into_iter()
                .collect();
            fuzzers
                .into_iter()
                .try_for_each(|fuzzer| fuzzer.join().map_err(|_| anyhow!("a fuzzer panicked"))?)
        })?;
        drop(events);
        Path::ALL.into_iter().try_for_each(|path| {
            expect_a_sound_relay(lab, &relay, path, [&net.caller, &net.callee])
        })
    })
}

fn throw_messages(lab: &Lab, namespace: &Namespace, seed: u64, count: u64) -> Result<()> {
    const ROUND: u64 = 1000;
    let mut random = Rng::with_seed(seed);
    let relay = Relay::open(namespace)?;
    for round in 0..count.div_ceil(ROUND) {
        // What was made of all that must be sound sessions.
        let sessions = relay.sessions()?;
        for one in &sessions {
            ensure!(
                (1..=STREAMS_MAX as usize).contains(&one.streams.len()),
                "{one:?}"
            );
        }
        let ids: Vec<_> = sessions.iter().map(|one| one.id).collect();
        if round % 20 == 0 {
            lab.step(format!(
                "{} messages, {} sessions",
                round * ROUND,
                ids.len()
            ));
        }
        let id = random.choice(&ids).copied().unwrap_or(1);
        let demanding = demanding_session_on(Path::IPV6).attributes();
        let valid: Vec<_> = valid_messages(id)
            .into_iter()
            .chain([(Command::SessionNew, demanding)])
            .map(|(command, attributes)| {
                [&[command as u8, 1, 0, 0], attributes.as_slice()].concat()
            })
            .collect();
        let mut left = ROUND;
        while left > 0 {
            let some: Vec<_> = (0..left.min(random.u64(1..=8)))
                .map(|_| {
                    (
                        any_flags(&mut random),
                        any_message(&mut random, &valid, &ids),
                    )
                })
                .collect();
            left -= some.len() as u64;
            relay.netlink.throw(&some)?;
        }
        relay.netlink.settle()?;
    }
    Ok(())
}

fn any_flags(random: &mut Rng) -> i32 {
    match random.u8(0..16) {
        0 => libc::NLM_F_DUMP,
        1 => libc::NLM_F_ECHO | libc::NLM_F_ACK,
        2 => i32::from(random.u16(..)),
        3..8 => 0,
        _ => libc::NLM_F_ACK,
    }
}

/// A message from its generic netlink header on: any bytes, any attributes, or a valid message
/// with a few changes.
fn any_message(random: &mut Rng, valid: &[Vec<u8>], ids: &[u64]) -> Vec<u8> {
    match random.u8(0..8) {
        0 => some_bytes(random, 200),
        1..4 => {
            let Some(operation) = random.choice(OPERATIONS) else {
                return Vec::new();
            };
            let mut message = vec![operation.command as u8, 1, 0, 0];
            message.extend(any_attributes(random, operation.attributes, ids, 0));
            message
        }
        4 => random.choice(valid).cloned().unwrap_or_default(),
        _ => {
            let mut message = random.choice(valid).cloned().unwrap_or_default();
            for _ in 0..random.u8(1..4) {
                change(random, &mut message);
            }
            message
        }
    }
}

fn some_bytes(random: &mut Rng, most: usize) -> Vec<u8> {
    let mut bytes = vec![0; random.usize(0..=most)];
    random.fill(&mut bytes);
    bytes
}

/// Changes, repeats, inserts or cuts out a few bytes.
fn change(random: &mut Rng, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        return;
    }
    let at = random.usize(0..bytes.len());
    let end = bytes.len().min(at + random.usize(1..=16));
    match random.u8(0..6) {
        0 => bytes[at] ^= 1 << random.u8(0..8),
        1 => bytes[at] = random.u8(..),
        2 => bytes.truncate(at),
        3 => drop(bytes.drain(at..end)),
        4 => {
            let again = bytes[at..end].to_vec();
            bytes.splice(at..at, again);
        }
        _ => random.fill(&mut bytes[at..end]),
    }
}

/// Attributes of a set, most of them as they should be.
fn any_attributes(random: &mut Rng, set: &[Attribute], ids: &[u64], depth: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    for attribute in set {
        let times = match random.u8(0..16) {
            0 => 2,
            1 => 0,
            _ => 1,
        };
        for _ in 0..times {
            let mut value = any_value(random, attribute, ids, depth);
            if random.u8(0..32) == 0 {
                change(random, &mut value);
            }
            let mut id = attribute.id;
            if matches!(attribute.kind, Kind::Nest(_)) {
                id |= libc::NLA_F_NESTED as u16;
            }
            if random.u8(0..64) == 0 {
                id = random.u16(..);
            }
            let mut length = value.len() as u16 + 4;
            if random.u8(0..64) == 0 {
                length = random.u16(..);
            }
            bytes.extend(length.to_ne_bytes());
            bytes.extend(id.to_ne_bytes());
            bytes.extend(value);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
    }
    bytes
}

fn any_value(random: &mut Rng, attribute: &Attribute, ids: &[u64], depth: u8) -> Vec<u8> {
    match (attribute.name, attribute.kind) {
        ("local-address", _) => random.choice(LOCALS).map(octets).unwrap_or_default(),
        ("remote-address", _) => any_remote(random),
        // Few enough ports that sessions meet.
        ("local-port", _) => random.u16(PORTS.0..PORTS.0 + 200).to_be_bytes().to_vec(),
        ("id", _) => {
            let any = random.u64(0..10);
            let id = random.choice(ids).copied().unwrap_or(any);
            id.to_ne_bytes().to_vec()
        }
        (_, Kind::Flag) => Vec::new(),
        (_, Kind::U16 { min, max, .. }) => random.u16(min..=max).to_ne_bytes().to_vec(),
        (_, Kind::U32 { min, max }) => random.u32(min..=max).to_ne_bytes().to_vec(),
        (_, Kind::Uint) => random.u64(..).to_ne_bytes().to_vec(),
        (_, Kind::String) => b"text\0".to_vec(),
        (_, Kind::Binary { max_len, .. }) => some_bytes(random, usize::from(max_len)),
        (_, Kind::Nest(inner)) if depth < 4 => any_attributes(random, inner, ids, depth + 1),
        (_, Kind::Nest(_)) => Vec::new(),
    }
}

/// The address of a party, or of anybody.
fn any_remote(random: &mut Rng) -> Vec<u8> {
    let party = random.u8(1..=2);
    octets(match random.u8(0..6) {
        0 => IpAddr::V4(Ipv4Addr::from(random.u32(..))),
        1 => IpAddr::V6(Ipv6Addr::from(random.u128(..))),
        2..4 => Family::Ipv6.address(party, 2),
        _ => Family::Ipv4.address(party, 2),
    })
}

/// Sessions in all states: a call, one on hold, one whose parties share a port, parties that are
/// learned in either way, streams of which much is asked, and one of anything.
fn all_states(path: Path) -> Vec<Session> {
    let moved = |mut address: SocketAddr, by: u16| {
        address.set_port(address.port() + by);
        address
    };
    let between = |by, asked| {
        let (west, east) = (moved(path.west, by), moved(path.east, by));
        let mut session = Session {
            streams: streams((west, Some(path.caller)), (east, Some(path.callee))),
            ..session_on(path)
        };
        for stream in &mut session.streams {
            (stream.a.asked, stream.b.asked) = (asked, asked);
        }
        session
    };
    let learned = |mode: LearningMode| {
        Asked::default()
            .learning(learning::MODE, mode as u32)
            .learning(learning::ROAM_SILENCE_MS, 100)
            .learning(learning::ROAM_SEQUENCES, 500)
    };
    let asked = Asked {
        payload_types: Some(u128::MAX << 1),
        ..Asked::default()
            .receiving(receiving::PACKET_RATE, 1_000)
            .receiving(receiving::BYTE_RATE, 1_000_000)
            .sending(sending::DSCP, 46)
            .sending(sending::HOP_LIMIT, 32)
            .sending(sending::MARK, 9)
            .sending(sending::OUTPUT, Output::Full as u32)
    };
    let mut held = between(10, Asked::default());
    for stream in &mut held.streams {
        stream.b.remote = None;
    }
    let shared = moved(path.west, 20);
    // Both are of one family where they share a port.
    let other = SocketAddr::new(path.caller.ip(), path.callee.port());
    let shared = Session {
        streams: streams((shared, Some(path.caller)), (shared, Some(other))),
        ..session_on(path)
    };
    let mut plain = between(24, Asked::default());
    plain.streams.truncate(1);
    plain.streams[0].kind = StreamKind::Udp;
    vec![
        session_on(path),
        held,
        shared,
        between(4, learned(LearningMode::Nat)),
        between(14, learned(LearningMode::Open)),
        between(16, asked),
        plain,
    ]
}

fn no_packet_harms_the_relay(lab: &Lab, path: Path) -> Result<()> {
    with_seed(lab, |seed| {
        let (net, relay) = idle_relay(lab)?;
        for (namespace, device) in [
            (&net.caller, "wire"),
            (&net.relay, "west"),
            (&net.relay, "east"),
            (&net.callee, "wire"),
        ] {
            namespace.run("ip", &["link", "set", device, "mtu", "9000"])?;
        }
        let west = Side::new(&net.caller, &net.relay, "west", path.caller, path.west)?;
        let east = Side::new(&net.callee, &net.relay, "east", path.callee, path.east)?;
        // What arrives would fill the memory.
        let Topology {
            caller,
            callee,
            relay: host,
            ..
        } = net;
        lab.forget_captures();
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let fuzzers: Vec<_> = [(&west, seed), (&east, seed.wrapping_add(1))]
                .map(|(side, seed)| {
                    scope.spawn(move || throw_packets(lab, side, seed, count() / 2))
                })
                .into_iter()
                .collect();
            // Sessions come, change and go meanwhile.
            let over = &over;
            let changes = scope.spawn(move || change_sessions(&relay, path, over));
            let thrown = fuzzers
                .into_iter()
                .try_for_each(|fuzzer| fuzzer.join().map_err(|_| anyhow!("a fuzzer panicked"))?);
            over.store(true, Ordering::Relaxed);
            let changed = changes
                .join()
                .map_err(|_| anyhow!("a controller panicked"))?;
            thrown.and(changed)
        })?;
        let relay = Relay::open(&host)?;
        let relayed = relay.totals()?.relayed;
        lab.step(format!("{relayed:?}"));
        ensure!(relayed.packets > 0, "nothing was relayed: {relayed:?}");
        expect_a_sound_relay(lab, &relay, path, [&caller, &callee])
    })
}

fn change_sessions(relay: &Relay, path: Path, over: &AtomicBool) -> Result<()> {
    while !over.load(Ordering::Relaxed) {
        let ids = relay.make_many(&all_states(path))?;
        for held in [true, false] {
            thread::sleep(Duration::from_millis(50));
            let remote = (!held).then_some(path.callee);
            let changed = streams((path.west, Some(path.caller)), (path.east, remote));
            relay.set_streams(ids[0], &changed)?;
        }
        thread::sleep(Duration::from_millis(50));
        relay.make(&Session {
            replace: true,
            ..session_on(path)
        })?;
        relay.flush(None)?;
    }
    Ok(())
}

/// One side of the relay, from where packets are thrown.
struct Side {
    plain: RawSocket,
    offloading: RawSocket,
    /// Where the party is that sends from here.
    party: SocketAddr,
    /// Where the relay takes its media.
    relay: SocketAddr,
}

impl Side {
    fn new(
        namespace: &Namespace,
        relay: &Namespace,
        device: &str,
        party: SocketAddr,
        address: SocketAddr,
    ) -> Result<Self> {
        let offloading = RawSocket::new(namespace, "wire", relay, device)?;
        offloading.accept_offload()?;
        Ok(Self {
            plain: RawSocket::new(namespace, "wire", relay, device)?,
            offloading,
            party,
            relay: address,
        })
    }
}

fn throw_packets(lab: &Lab, side: &Side, seed: u64, count: u64) -> Result<()> {
    let mut random = Rng::with_seed(seed);
    let mut taken = 0_u64;
    for number in 0..count {
        if number % 10_000 == 0 {
            lab.step(format!("{number} packets, {taken} taken"));
        }
        let frame = any_frame(&mut random, side)?;
        // The device refuses what is longer than it allows, and offload that makes no sense.
        let sent = if random.u8(0..16) == 0 {
            let offload = any_offload(&mut random);
            side.offloading.send_offloaded(offload, &frame)
        } else {
            side.plain.send(&frame)
        };
        taken += u64::from(sent.is_ok());
    }
    ensure!(taken > count / 2, "only {taken} of {count} packets left");
    Ok(())
}

/// Mostly what a sender of UDP segmentation offload asks for.
fn any_offload(random: &mut Rng) -> Offload {
    let mut offload = Offload::udp(random.u16(1..1400));
    if random.u8(0..8) == 0 {
        offload.segment_size = random.u16(..);
    }
    if random.u8(0..8) == 0 {
        offload.kind = random.u8(..);
    }
    offload
}

/// A frame to the relay: media of a party or of a stranger, with a few things wrong.
fn any_frame(random: &mut Rng, side: &Side) -> Result<Vec<u8>> {
    let family = Family::of(side.relay.ip());
    let party = |port| SocketAddr::new(side.party.ip(), port);
    let from = match random.u8(0..8) {
        0 => party(random.u16(..)),
        1 => SocketAddr::new(family.address(random.u8(1..=2), 2), 40_000),
        2 => SocketAddr::new(family.address(2, 1), 20_002),
        3 => party(side.party.port() + 1),
        _ => side.party,
    };
    let ports = PORTS.0 - 2..PORTS.0 + 30;
    let relay = |port| SocketAddr::new(side.relay.ip(), port);
    let to = match random.u8(0..16) {
        0 => SocketAddr::new(family.address(random.u8(1..=2), 1), random.u16(ports)),
        1 => relay(random.u16(..)),
        2..5 => SocketAddr::new(nobodys_address(random, family), 20_000),
        5..8 => relay(random.u16(20_000..20_004)),
        _ => relay(random.u16(ports)),
    };
    let mut payload = any_payload(random);
    if random.u8(0..8) == 0 {
        change(random, &mut payload);
    }
    let mut frame = side.plain.frame(&Build::new(from, to, &payload))?;
    for _ in 0..random.u8(0..3) {
        match family {
            Family::Ipv4 => damage_ipv4(random, &mut frame),
            Family::Ipv6 => damage_ipv6(random, &mut frame),
        }
    }
    // With a wrong checksum of the IPv4 header it would get nowhere.
    if family == Family::Ipv4 && random.u8(0..16) != 0 {
        mend_header_checksum(&mut frame);
    }
    match random.u8(0..64) {
        // A VLAN tag.
        0 => drop(frame.splice(12..12, [0x81, 0, 0, 1])),
        // The other version.
        1 => frame[12..14].copy_from_slice(match family {
            Family::Ipv4 => &[0x86, 0xdd],
            Family::Ipv6 => &[8, 0],
        }),
        2 => {
            let length = random.usize(14..=frame.len());
            frame.truncate(length);
        }
        3 => frame.extend(some_bytes(random, 40)),
        _ => {}
    }
    Ok(frame)
}

/// An address that is no other host's: multicast, broadcast, loopback.
fn nobodys_address(random: &mut Rng, family: Family) -> IpAddr {
    let addresses: [IpAddr; 3] = match family {
        Family::Ipv4 => [
            Ipv4Addr::new(224, 0, 0, 1).into(),
            Ipv4Addr::BROADCAST.into(),
            Ipv4Addr::LOCALHOST.into(),
        ],
        Family::Ipv6 => [
            Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1).into(),
            Ipv6Addr::UNSPECIFIED.into(),
            Ipv6Addr::LOCALHOST.into(),
        ],
    };
    addresses[random.usize(0..3)]
}

fn any_payload(random: &mut Rng) -> Vec<u8> {
    let size = match random.u8(0..8) {
        0 => random.usize(0..20),
        1 => random.usize(20..1472),
        2 => random.usize(1472..8900),
        _ => 172,
    };
    match random.u8(0..8) {
        0 => rtcp(random.u32(..), random.u16(..)),
        1 => some_bytes(random, size),
        // STUN and DTLS begin with these.
        2 => [vec![random.u8(0..64)], vec![0; size]].concat(),
        _ => rtp(random.u32(..), random.u16(..), size),
    }
}

/// Offsets in the frame of the fields of the IPv4 header.
const IP: usize = 14;
const TYPE_OF_SERVICE: usize = IP + 1;
const TOTAL_LENGTH: usize = IP + 2;
const FRAGMENT: usize = IP + 6;
const TIME_TO_LIVE: usize = IP + 8;
const PROTOCOL: usize = IP + 9;
const HEADER_CHECKSUM: usize = IP + 10;
const OPTIONS: usize = IP + 20;

/// Gives a field of the UDP header another value.
fn damage_udp(random: &mut Rng, frame: &mut [u8], checksum: usize) {
    let word = random.u16(..).to_be_bytes();
    match random.u8(0..3) {
        0 => frame[checksum - 2..checksum].copy_from_slice(&word),
        1 => frame[checksum..checksum + 2].copy_from_slice(&word),
        _ => frame[checksum..checksum + 2].fill(0),
    }
}

/// Offsets in the frame of the fields of the IPv6 header, and what may stand before UDP (RFC
/// 8200 section 4.1).
const PAYLOAD_LENGTH: usize = IP + 4;
const NEXT_HEADER: usize = IP + 6;
const HOP_LIMIT: usize = IP + 7;
const EXTENSIONS: usize = IP + 40;
const FRAGMENT_HEADER: u8 = 44;

/// Gives a field of the IPv6 or UDP header another value, or puts a header between them.
fn damage_ipv6(random: &mut Rng, frame: &mut Vec<u8>) {
    let word = random.u16(..).to_be_bytes();
    match random.u8(0..9) {
        0 => frame[IP] = random.u8(..),
        1 => frame[IP + 1] = random.u8(..),
        2 => frame[PAYLOAD_LENGTH..PAYLOAD_LENGTH + 2].copy_from_slice(&word),
        // Neighbour discovery could change the routes of this host.
        3 => {
            frame[NEXT_HEADER] = random
                .choice([0, 6, 17, 43, 44, 51, 59, 60, 135])
                .unwrap_or(17)
        }
        4 => frame[HOP_LIMIT] = random.u8(0..4),
        5 if frame[NEXT_HEADER] == 17 => {
            let kind = random.choice([0, 43, FRAGMENT_HEADER, 60]).unwrap_or(60);
            let mut header = vec![0; 8 * random.usize(1..=5)];
            if random.bool() {
                random.fill(&mut header);
            }
            header[0] = 17;
            if kind != FRAGMENT_HEADER {
                header[1] = (header.len() / 8 - 1) as u8;
            }
            let length = u16::from_be_bytes([frame[PAYLOAD_LENGTH], frame[PAYLOAD_LENGTH + 1]]);
            let length = length.wrapping_add(header.len() as u16);
            frame[PAYLOAD_LENGTH..PAYLOAD_LENGTH + 2].copy_from_slice(&length.to_be_bytes());
            frame[NEXT_HEADER] = kind;
            frame.splice(EXTENSIONS..EXTENSIONS, header);
        }
        _ => damage_udp(random, frame, udp_checksum_at(Family::Ipv6)),
    }
}

/// Gives a field of the IPv4 or UDP header another value.
fn damage_ipv4(random: &mut Rng, frame: &mut Vec<u8>) {
    let word = random.u16(..).to_be_bytes();
    match random.u8(0..12) {
        0 => frame[IP] = random.u8(..),
        1 => frame[TYPE_OF_SERVICE] = random.u8(..),
        2 => frame[TOTAL_LENGTH..TOTAL_LENGTH + 2].copy_from_slice(&word),
        3 => frame[FRAGMENT..FRAGMENT + 2].copy_from_slice(&word),
        // More Fragments, at the start.
        4 => frame[FRAGMENT] |= 0x20,
        // Don't Fragment.
        5 => frame[FRAGMENT] |= 0x40,
        6 => frame[TIME_TO_LIVE] = random.u8(0..4),
        // ICMP could change the routes of this host.
        7 => frame[PROTOCOL] = random.u8(2..),
        8..11 => damage_udp(random, frame, udp_checksum_at(Family::Ipv4)),
        // IPv4 options of 4 to 40 bytes, if there are none yet.
        _ if frame[IP] == 0x45 => {
            let words = random.u8(1..=10);
            let mut options = vec![1; usize::from(words) * 4];
            if random.bool() {
                random.fill(&mut options);
            }
            let total = u16::from_be_bytes([frame[TOTAL_LENGTH], frame[TOTAL_LENGTH + 1]]);
            let total = total.wrapping_add(u16::from(words) * 4);
            frame[TOTAL_LENGTH..TOTAL_LENGTH + 2].copy_from_slice(&total.to_be_bytes());
            frame[IP] += words;
            frame.splice(OPTIONS..OPTIONS, options);
        }
        _ => {}
    }
}

/// Computes the checksum of the IPv4 header anew (RFC 791, section 3.1).
fn mend_header_checksum(frame: &mut [u8]) {
    frame[HEADER_CHECKSUM..HEADER_CHECKSUM + 2].fill(0);
    let length = usize::from(frame[IP] & 15) * 4;
    let header = frame.get(IP..IP + length).unwrap_or_default();
    let sum: u32 = header
        .chunks_exact(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum();
    let sum = (sum >> 16) + (sum & 0xffff);
    let folded = !((sum >> 16) + sum) as u16;
    frame[HEADER_CHECKSUM..HEADER_CHECKSUM + 2].copy_from_slice(&folded.to_be_bytes());
}
