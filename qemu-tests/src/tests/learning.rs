// SPDX-License-Identifier: MIT OR Apache-2.0

//! Parties whose address is learned from their packets, and strangers who would like it to be theirs.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use genl_proto::generated::{Command, DropReason, LearningMode, learning, session};
use nix::errno::Errno;

use super::fixture::{Call, LOCALS, PORTS, expect, rtcp_of, session_on};
use super::path::Path;
use super::{Test, tests, tests_on_paths};
use crate::guest::debug::is_debug_kernel;
use crate::guest::lab::Lab;
use crate::guest::module;
use crate::guest::netlink::Attributes;
use crate::guest::netns::Namespace;
use crate::guest::packet::Build;
use crate::guest::relay::{Asked, Learned, Relay, Session};
use crate::guest::rtp::{SIZE, rtcp, rtp, send_all};
use crate::guest::shell;
use crate::guest::topology::{Family, Topology, udp};
use crate::guest::wait::{LIMIT, until};

pub const ON_PATHS: &[Test] = tests_on_paths![
    a_party_that_sends_from_another_port_is_learned: IPV4 IPV6 IPV4_TO_IPV6 IPV6_TO_IPV4,
    spraying_every_port_gets_a_stranger_nothing: IPV4 IPV6,
    a_stranger_who_knows_everything_injects_nothing: IPV4 IPV6,
    open_admission_believes_a_stranger_until_the_party_is_heard: IPV4 IPV6,
    nothing_but_media_teaches: IPV4 IPV6,
    a_party_behind_a_real_nat_is_heard_and_followed: IPV4 IPV6,
    an_address_of_the_relay_host_is_never_learned: IPV4 IPV6,
    a_remote_that_becomes_an_address_of_this_host_gets_nothing: IPV4 IPV6,
    two_parties_behind_nat_share_one_port: IPV4 IPV6,
];

pub const TESTS: &[Test] = tests![
    a_racing_stranger_never_wins,
    a_held_party_is_not_learned,
    new_signalling_and_packets_come_at_once,
    sessions_end_while_they_learn,
    a_namespace_ends_while_its_sessions_learn,
    what_was_asked_about_learning_is_told,
    what_cannot_be_learned_by_is_refused,
];

/// Those that take long.
pub const LONG: &[Test] = tests_on_paths![
    spraying_every_port_for_a_minute_gets_a_stranger_nothing: IPV4 IPV6,
];

/// Packets after which an endpoint of RTP locks.
const CONFIRMATIONS: u16 = 5;

fn asked(mode: LearningMode) -> Asked {
    Asked::default().learning(learning::MODE, mode as u32)
}

/// A session whose caller is learned, RTP and RTCP.
fn learning_session(path: Path, asked: Asked) -> Session {
    let mut session = session_on(path);
    for stream in &mut session.streams {
        stream.a.asked = asked;
    }
    session
}

/// The host of network 1 that is in the caller's network and nobody's party.
const NEIGHBOUR: u8 = 66;
/// A network that nobody has signalled anything of.
const ELSEWHERE: u8 = 9;

/// Sockets of a stranger, who is reached through the caller's device: in a network of its own.
fn stranger(call: &Call, family: Family) -> Result<UdpSocket> {
    let address = family.address(ELSEWHERE, NEIGHBOUR);
    attach(call, family, ELSEWHERE)?;
    udp(&call.net.caller, SocketAddr::new(address, 5_000))
}

/// A socket of a stranger in the caller's network.
fn neighbour(call: &Call, family: Family) -> Result<UdpSocket> {
    let address = family.address(1, NEIGHBOUR);
    attach(call, family, 1)?;
    udp(&call.net.caller, SocketAddr::new(address, 5_000))
}

fn attach(call: &Call, family: Family, network: u8) -> Result<()> {
    let add = family.add_address(network, NEIGHBOUR, "wire");
    call.net.caller.ip(&add)?;
    if network != 1 {
        let (to, via) = (family.address(network, NEIGHBOUR), family.address(1, 2));
        call.net.relay.ip(&format!("route add {to} via {via}\n"))?;
    }
    Ok(())
}

/// Whether anything was sent to an address.
fn ensure_nothing_reached(call: &Call, address: SocketAddr) -> Result<()> {
    for capture in [&call.net.at_caller, &call.net.at_callee] {
        let got = capture.datagrams();
        let got: Vec<_> = got.iter().filter(|one| one.to == address).collect();
        ensure!(got.is_empty(), "{address} got {got:?}");
    }
    Ok(())
}

/// Waits until the caller's endpoint of RTP has learned this.
fn wait_for(call: &Call, learned: Option<Learned>) -> Result<()> {
    until("what was learned", LIMIT, || {
        let found = call.counters()?[0].learned;
        Ok((found == learned).then_some(()))
    })
    .with_context(|| format!("{learned:?} was to be learned: {:?}", call.counters()))
}

fn locked(remote: SocketAddr) -> Option<Learned> {
    Some(Learned {
        remote,
        locked: true,
    })
}

fn a_party_that_sends_from_another_port_is_learned(lab: &Lab, path: Path) -> Result<()> {
    for mode in [LearningMode::Nat, LearningMode::Open] {
        let call = Call::with(lab, path, &learning_session(path, asked(mode)))?;
        let other = SocketAddr::new(path.caller.ip(), 50_000);
        let socket = udp(&call.net.caller, other)?;
        // Nobody is sent to as long as nobody is known.
        call.callee.send_rtp(path.east, 0..10)?;
        until("packets held", LIMIT, || {
            let held = call.counters()?[1].dropped(DropReason::Held);
            Ok((held == 10).then_some(()))
        })?;
        wait_for(&call, None)?;
        // The first packet arrives as all others do.
        let media = |numbers: std::ops::Range<u16>| {
            numbers.map(|number| rtp(call.caller.source, number, SIZE))
        };
        let mut sent = send_all(&socket, path.west, media(0..1))?;
        let learning = Learned {
            remote: other,
            locked: false,
        };
        wait_for(&call, Some(learning))?;
        sent.extend(send_all(&socket, path.west, media(1..100))?);
        expect(&call.net.at_callee, path.east, path.callee, &sent)?;
        wait_for(&call, locked(other))?;
        let sent = call.callee.send_rtp(path.east, 10..100)?;
        expect(&call.net.at_caller, path.west, other, &sent)?;
        ensure_nothing_reached(&call, path.caller)?;
        // RTCP is learned by itself.
        let reports = rtcp_of(other);
        let socket = udp(&call.net.caller, reports)?;
        let to = rtcp_of(path.west);
        let sent = send_all(&socket, to, (0..3).map(|n| rtcp(call.caller.source, n)))?;
        expect(
            &call.net.at_callee,
            rtcp_of(path.east),
            rtcp_of(path.callee),
            &sent,
        )?;
        let learned = call.counters()?[2].learned;
        ensure!(learned == locked(reports), "{learned:?}");
    }
    Ok(())
}

fn spraying_every_port_gets_a_stranger_nothing(lab: &Lab, path: Path) -> Result<()> {
    spray_every_port(lab, path, Duration::ZERO)
}

fn spraying_every_port_for_a_minute_gets_a_stranger_nothing(lab: &Lab, path: Path) -> Result<()> {
    spray_every_port(lab, path, Duration::from_secs(15))
}

/// Sprays before a call is set up, during that, during the call and after it, each for at least so
/// long.
fn spray_every_port(lab: &Lab, path: Path, at_least: Duration) -> Result<()> {
    // The debug kernel takes ten times as long for each.
    let ports = 20_000..=if is_debug_kernel() { 20_999 } else { 29_999 };
    for mode in [LearningMode::Signalled, LearningMode::Nat] {
        lab.step(format!("{mode:?}"));
        let session = Session {
            // Nobody but strangers may send for as long as spraying takes.
            timeout_ms: 3_600_000,
            ..learning_session(path, asked(mode))
        };
        let call = Call::with(lab, path, &session)?;
        call.relay
            .configure((*ports.start(), *ports.end()), &LOCALS)?;
        call.relay.end(call.id)?;
        let stranger = stranger(&call, path.west_family())?;
        let address = stranger.local_addr()?;
        let sweeps = Cell::new(0_u16);
        let spray = || -> Result<()> {
            let began = Instant::now();
            loop {
                let number = sweeps.get();
                sweeps.set(number + 1);
                for port in ports.clone() {
                    let to = SocketAddr::new(path.west.ip(), port);
                    let packet = if port % 2 == 0 {
                        rtp(0xbad, number, 12)
                    } else {
                        rtcp(0xbad, number)
                    };
                    stranger.send_to(&packet, to)?;
                }
                if began.elapsed() >= at_least {
                    break;
                }
            }
            // Whoever sends next would find the queue full.
            until("the last of them", LIMIT, || {
                let before = call.relay.totals()?;
                thread::sleep(Duration::from_millis(50));
                Ok((call.relay.totals()? == before).then_some(()))
            })
        };
        spray()?;
        let before = sweeps.get();
        let id = call.relay.make(&session)?;
        spray()?;
        // A party that has not said anything gets nothing; one that has gets all.
        let mut from_callee = call.callee.send_rtp(path.east, 0..20)?;
        if mode == LearningMode::Nat {
            from_callee.clear();
        }
        let from_caller = call.caller.send_rtp(path.west, 0..20)?;
        expect(&call.net.at_callee, path.east, path.callee, &from_caller)?;
        spray()?;
        from_callee.extend(call.callee.send_rtp(path.east, 20..40)?);
        expect(&call.net.at_caller, path.west, path.caller, &from_callee)?;
        let refused = call.relay.get(id)?.streams[0]
            .1
            .dropped(DropReason::ForeignSource);
        let sprayed = u64::from(sweeps.get() - before);
        ensure!(
            (1..=sprayed).contains(&refused),
            "{refused} of {sprayed} refused"
        );
        call.relay.end(id)?;
        spray()?;
        ensure_nothing_reached(&call, address)?;
        let injected = call.net.at_callee.datagrams().len();
        ensure!(injected == from_caller.len(), "{injected} packets");
        lab.step(format!("{} sweeps", sweeps.get()));
    }
    Ok(())
}

fn a_stranger_who_knows_everything_injects_nothing(lab: &Lab, path: Path) -> Result<()> {
    for mode in [LearningMode::Signalled, LearningMode::Nat] {
        lab.step(format!("{mode:?}"));
        let call = Call::with(lab, path, &learning_session(path, asked(mode)))?;
        let family = path.west_family();
        let same_host = udp(&call.net.caller, SocketAddr::new(path.caller.ip(), 45_000))?;
        let strangers = [
            stranger(&call, family)?,
            neighbour(&call, family)?,
            same_host,
        ];
        let mut sent = call.caller.send_rtp(path.west, 0..CONFIRMATIONS)?;
        expect(&call.net.at_callee, path.east, path.callee, &sent)?;
        for number in CONFIRMATIONS..100 {
            // What the party is about to send, as far as anybody can know.
            let mut forged = rtp(call.caller.source, number, SIZE);
            forged[20..].fill(0xee);
            for stranger in &strangers {
                stranger.send_to(&forged, path.west)?;
            }
            sent.extend(call.caller.send_rtp(path.west, number..number + 1)?);
        }
        expect(&call.net.at_callee, path.east, path.callee, &sent)?;
        let back = call.callee.send_rtp(path.east, 0..100)?;
        expect(&call.net.at_caller, path.west, path.caller, &back)?;
        for stranger in &strangers {
            ensure_nothing_reached(&call, stranger.local_addr()?)?;
        }
        let from_a = call.counters()?[0].clone();
        let refused = 3 * u64::from(100 - CONFIRMATIONS);
        ensure!(
            from_a.drops == [(DropReason::ForeignSource, refused)],
            "{from_a:?}"
        );
    }
    Ok(())
}

/// What README says of it: who is first is believed until the party has sent enough.
fn open_admission_believes_a_stranger_until_the_party_is_heard(
    lab: &Lab,
    path: Path,
) -> Result<()> {
    const FIRST: u16 = 50;
    let open = learning_session(path, asked(LearningMode::Open));
    let call = Call::with(lab, path, &open)?;
    let stranger = stranger(&call, path.west_family())?;
    let address = stranger.local_addr()?;
    let forged = |numbers: std::ops::Range<u16>| numbers.map(|number| rtp(0xbad, number, SIZE));
    // Nobody has said anything yet: all of it is relayed, and so is the answer.
    let mut sent = send_all(&stranger, path.west, forged(0..FIRST))?;
    expect(&call.net.at_callee, path.east, path.callee, &sent)?;
    let answered = call.callee.send_rtp(path.east, 0..FIRST)?;
    expect(&call.net.at_caller, path.west, address, &answered)?;
    // The party is nearer. What it sends before it is believed is lost.
    call.caller.send_rtp(path.west, 0..CONFIRMATIONS - 1)?;
    sent.extend(
        call.caller
            .send_rtp(path.west, CONFIRMATIONS - 1..CONFIRMATIONS + 20)?,
    );
    expect(&call.net.at_callee, path.east, path.callee, &sent)?;
    send_all(&stranger, path.west, forged(FIRST..2 * FIRST))?;
    let more = call.caller.send_rtp(path.west, 100..120)?;
    sent.extend(more);
    expect(&call.net.at_callee, path.east, path.callee, &sent)?;
    let back = call.callee.send_rtp(path.east, FIRST..2 * FIRST)?;
    expect(&call.net.at_caller, path.west, path.caller, &back)?;
    let got = call.net.at_caller.datagrams();
    let got = got.iter().filter(|one| one.to == address).count();
    ensure!(got == usize::from(FIRST), "the stranger got {got} packets");
    Ok(())
}

fn nothing_but_media_teaches(lab: &Lab, path: Path) -> Result<()> {
    for mode in [LearningMode::Nat, LearningMode::Open] {
        let call = Call::with(lab, path, &learning_session(path, asked(mode)))?;
        let with_first = |first: u8, length: usize| {
            let mut packet = rtp(call.caller.source, 1, SIZE);
            packet[0] = first;
            packet.truncate(length);
            packet
        };
        let report = rtcp(call.caller.source, 1);
        // To RTP: RTCP whole and cut to 4 bytes, RTP too short for its header, versions 0 (which
        // is STUN's), 1 and 3, DTLS, nothing.
        let to_rtp = [
            report.clone(),
            report[..4].to_vec(),
            with_first(0x80, 11),
            with_first(0x00, SIZE),
            with_first(0x40, SIZE),
            with_first(0xc0, SIZE),
            with_first(22, SIZE),
            Vec::new(),
        ];
        let to_rtcp = [with_first(0x80, SIZE), report[..4].to_vec()];
        for _ in 0..10 {
            send_all(&call.caller.rtp, path.west, to_rtp.clone())?;
            send_all(&call.caller.rtcp, rtcp_of(path.west), to_rtcp.clone())?;
        }
        until("all packets refused", LIMIT, || {
            let all = call.counters()?;
            let refused = |at: usize| all[at].dropped(DropReason::Unconfirmed);
            Ok((refused(0) == 80 && refused(2) == 20).then_some(()))
        })
        .with_context(|| format!("{:?}", call.counters()))?;
        let all = call.counters()?;
        ensure!(
            all.iter()
                .all(|one| one.learned.is_none() && one.packets == 0),
            "{all:?}"
        );
        let sent = call.caller.send_rtp(path.west, 0..20)?;
        expect(&call.net.at_callee, path.east, path.callee, &sent)?;
        wait_for(&call, locked(path.caller))?;
    }
    Ok(())
}

/// A party in a home network, whose router is the caller's host and translates addresses.
struct Home {
    namespace: Namespace,
    address: IpAddr,
}

impl Home {
    const NETWORK: u8 = 7;

    fn new(call: &Call, family: Family) -> Result<Self> {
        let namespace = Namespace::new("home")?;
        let router = &call.net.caller;
        router.ip(&format!(
            "link add home type veth peer name wire netns home\n{}link set home up\n",
            family.add_address(Self::NETWORK, 1, "home")
        ))?;
        namespace.ip(&format!(
            "{}link set wire up\nroute add default via {}\n",
            family.add_address(Self::NETWORK, 2, "wire"),
            family.address(Self::NETWORK, 1)
        ))?;
        family.set_forwarding(router, true)?;
        Ok(Self {
            namespace,
            address: family.address(Self::NETWORK, 2),
        })
    }

    /// Has the router send the home's packets from these ports from now on.
    fn translate(router: &Namespace, ports: &str) -> Result<()> {
        let rules = format!(
            "flush ruleset\n\
             table inet home {{\n\
             chain out {{ type nat hook postrouting priority 100;\n\
             iifname \"home\" meta l4proto udp masquerade to {ports}\n}}\n}}\n"
        );
        shell::run_with_input(router.command("nft").args(["-f", "-"]), &rules)?;
        for timeout in [
            "nf_conntrack_udp_timeout",
            "nf_conntrack_udp_timeout_stream",
        ] {
            router.set_sysctl(&format!("net/netfilter/{timeout}"), "1")?;
        }
        Ok(())
    }
}

fn a_party_behind_a_real_nat_is_heard_and_followed(lab: &Lab, path: Path) -> Result<()> {
    let family = path.west_family();
    let mut asked = asked(LearningMode::Nat)
        .learning(learning::ROAM_SILENCE_MS, 200)
        .learning(learning::ROAM_SEQUENCES, 100);
    asked.signalling = Some(path.caller.ip());
    let mut session = learning_session(path, asked);
    session.streams[0].a.remote = Some(SocketAddr::new(family.address(Home::NETWORK, 2), 40_000));
    session.streams.truncate(1);
    let call = Call::with(lab, path, &session)?;
    let home = Home::new(&call, family)?;
    Home::translate(&call.net.caller, ":50000-50099")?;
    let party = udp(&home.namespace, SocketAddr::new(home.address, 40_000))?;
    let stranger = stranger(&call, family)?;
    let at_home = lab.capture(&home.namespace, "wire")?;
    let source = 0x00c0_ffee;
    let talk = |numbers: std::ops::Range<u16>| {
        send_all(&party, path.west, numbers.map(|n| rtp(source, n, SIZE)))
    };
    let mut sent = talk(0..20)?;
    expect(&call.net.at_callee, path.east, path.callee, &sent)?;
    let first = learned(&call)?;
    ensure!((50_000..50_100).contains(&first.port()), "{first}");
    wait_for(&call, locked(first))?;
    let back = call.callee.send_rtp(path.east, 0..20)?;
    let to = SocketAddr::new(home.address, 40_000);
    expect(&at_home, path.west, to, &back)?;

    lab.step("the router forgets and chooses another port");
    Home::translate(&call.net.caller, ":51000-51099")?;
    // The entry of the router's table, and with it the old port, is gone after a second of silence.
    thread::sleep(Duration::from_millis(2_500));
    // Meanwhile somebody else tries to take the call over, and knows where the party is.
    let forge = |number: u16| {
        let forged = rtp(source, number, 12);
        stranger.send_to(&forged, path.west).map(|_| ())
    };
    for number in 20..40 {
        forge(number)?;
        talk(number..number + 1)?;
    }
    let moved = until("the party's new port", LIMIT, || {
        let now = learned(&call)?;
        Ok((now != first).then_some(now))
    })
    .with_context(|| format!("{:?}", call.counters()))?;
    ensure!((51_000..51_100).contains(&moved.port()), "{moved}");
    // All but the packets that showed who it is.
    sent.extend((20 + CONFIRMATIONS - 1..40).map(|n| rtp(source, n, SIZE)));
    expect(&call.net.at_callee, path.east, path.callee, &sent)?;
    let mut all = back;
    all.extend(call.callee.send_rtp(path.east, 20..40)?);
    expect(&at_home, path.west, to, &all)?;
    ensure_nothing_reached(&call, stranger.local_addr()?)
}

/// The party the caller's endpoint has learned.
fn learned(call: &Call) -> Result<SocketAddr> {
    let learned = call.counters()?[0].learned;
    Ok(learned.context("nobody was learned")?.remote)
}

fn an_address_of_the_relay_host_is_never_learned(lab: &Lab, path: Path) -> Result<()> {
    let call = Call::with(
        lab,
        path,
        &learning_session(path, asked(LearningMode::Open)),
    )?;
    let family = path.west_family();
    // One address more, which the relay does not receive on.
    call.net.relay.ip(&family.add_address(8, 1, "east"))?;
    let mut own = vec![
        path.west,
        rtcp_of(path.west),
        SocketAddr::new(path.west.ip(), 5_000),
        SocketAddr::new(path.west.ip(), PORTS.1),
        SocketAddr::new(family.address(2, 1), 5_000),
        SocketAddr::new(family.address(8, 1), 5_000),
    ];
    own.extend(
        match family {
            // Broadcast, multicast, loopback, nobody.
            Family::Ipv4 => vec![
                "10.1.0.255:5000",
                "255.255.255.255:5000",
                "224.0.0.5:5000",
                "127.0.0.1:5000",
                "0.0.0.0:5000",
            ],
            Family::Ipv6 => vec!["[::1]:5000", "[fe80::1]:5000"],
        }
        .into_iter()
        .map(|address| address.parse())
        .collect::<Result<Vec<SocketAddr>, _>>()?,
    );
    let sender = call.callers_device()?;
    for source in &own {
        for number in 0..10 {
            let payload = rtp(call.caller.source, number, SIZE);
            let packet = Build::new(*source, path.west, &payload);
            sender.send(&sender.frame(&packet)?)?;
        }
    }
    let sent = call.caller.send_rtp(path.west, 0..20)?;
    expect(&call.net.at_callee, path.east, path.callee, &sent)?;
    wait_for(&call, locked(path.caller))?;
    let from_a = call.counters()?[0].clone();
    // Some sources the kernel itself does not let in.
    let refused = from_a.dropped(DropReason::UnusableSource);
    lab.step(format!("{refused} packets of {} sources", own.len()));
    ensure!(
        refused >= 60 && from_a.drops.len() == 1 && from_a.packets == 20,
        "{from_a:?}"
    );
    Ok(())
}

fn a_remote_that_becomes_an_address_of_this_host_gets_nothing(lab: &Lab, path: Path) -> Result<()> {
    /// Often, since a packet may meet the kernel while it changes its tables.
    const TIMES: u64 = 20;
    let call = Call::new(lab, path)?;
    let dropped = || -> Result<u64> { Ok(call.counters()?[0].dropped(DropReason::NoRoute)) };
    let mut next = 0;
    let mut send = |count| {
        let numbers = next..next + count;
        next += count;
        call.caller.send_rtp(path.west, numbers)
    };
    let mut sent = send(10)?;
    expect(&call.net.at_callee, path.east, path.callee, &sent)?;
    let take = path.east_family().add_address(2, 2, "lo");
    let give = path.east_family().delete_address(2, 2, "lo");
    for time in 1..=TIMES {
        lab.step(format!("taken and given back {time}"));
        let before = dropped()?;
        call.net.relay.ip(&take)?;
        // An IPv6 address becomes one a moment after the command: until then packets pass.
        let packets = until("a packet without a way", LIMIT, || {
            sent.extend(send(1)?);
            let counters = until("a packet to be counted", LIMIT, || {
                let counters = call.counters()?[0].clone();
                let counted = counters.packets + counters.dropped(DropReason::NoRoute);
                Ok((counted == sent.len() as u64 + before).then_some(counters))
            })?;
            let is_taken = counters.dropped(DropReason::NoRoute) > before;
            Ok(is_taken.then_some(counters.packets))
        })
        .with_context(|| format!("{:?}", call.counters()))?;
        // From then on none passes.
        sent.truncate(packets.try_into()?);
        send(10)?;
        until("all packets without a way", LIMIT, || {
            Ok((dropped()? == before + 11).then_some(()))
        })
        .with_context(|| format!("{:?}", call.counters()))?;
        // When it is elsewhere again, so are the packets.
        call.net.relay.ip(&give)?;
        sent.extend(send(10)?);
        expect(&call.net.at_callee, path.east, path.callee, &sent)?;
    }
    Ok(())
}

fn two_parties_behind_nat_share_one_port(lab: &Lab, path: Path) -> Result<()> {
    let mut session = learning_session(path, asked(LearningMode::Nat));
    session.streams.truncate(1);
    session.streams[0].b.asked = asked(LearningMode::Nat);
    session.streams[0].b.local = path.west;
    let call = Call::with(lab, path, &session)?;
    let caller = udp(&call.net.caller, SocketAddr::new(path.caller.ip(), 50_000))?;
    let callee = udp(&call.net.callee, SocketAddr::new(path.callee.ip(), 51_000))?;
    let stranger = stranger(&call, path.west_family())?;
    let (caller_at, callee_at) = (caller.local_addr()?, callee.local_addr()?);
    let talk = |socket: &UdpSocket, source, numbers: std::ops::Range<u16>| {
        send_all(socket, path.west, numbers.map(|n| rtp(source, n, SIZE)))
    };
    // Nobody is there to hear the first ones.
    talk(&caller, 1, 0..10)?;
    wait_for(&call, locked(caller_at))?;
    talk(&stranger, 3, 0..10)?;
    let from_callee = talk(&callee, 2, 0..50)?;
    expect(&call.net.at_caller, path.west, caller_at, &from_callee)?;
    let from_caller = talk(&caller, 1, 10..60)?;
    expect(&call.net.at_callee, path.west, callee_at, &from_caller)?;
    let counters = call.counters()?;
    ensure!(
        counters[1].learned == locked(callee_at) && counters[1].packets == 50,
        "{counters:?}"
    );
    ensure_nothing_reached(&call, stranger.local_addr()?)
}

fn a_racing_stranger_never_wins(lab: &Lab) -> Result<()> {
    const TIMES: u32 = 1_000;
    let path = Path::IPV4;
    // However long this machine pauses, nobody counts as silent.
    let patient = asked(LearningMode::Nat).learning(learning::SILENCE_MS, 60_000);
    let session = learning_session(path, patient);
    let call = Call::with(lab, path, &session)?;
    let other = SocketAddr::new(path.caller.ip(), 50_000);
    let party = udp(&call.net.caller, other)?;
    let stranger = stranger(&call, Family::Ipv4)?;
    let neighbour = neighbour(&call, Family::Ipv4)?;
    let mut held = session.clone();
    held.streams[0].a.remote = None;
    // Forgets what the time before has taught.
    let again = [changed(&call, &held), changed(&call, &session)];
    for time in 0..TIMES {
        if time % 100 == 0 {
            lab.step(format!("race {time}"));
        }
        for set in &again {
            call.relay
                .call(Command::SessionSet, set)?
                .map_err(|refusal| anyhow::anyhow!("{refusal:?}"))?;
        }
        for number in 0..CONFIRMATIONS {
            let number = (time as u16).wrapping_mul(CONFIRMATIONS) + number;
            let forged = rtp(call.caller.source, number, 12);
            stranger.send_to(&forged, path.west)?;
            neighbour.send_to(&forged, path.west)?;
            party.send_to(&rtp(call.caller.source, number, SIZE), path.west)?;
        }
        if call.counters()?[0].learned != locked(other) {
            wait_for(&call, locked(other)).with_context(|| format!("race {time}"))?;
        }
    }
    call.callee.send_rtp(path.east, 0..100)?;
    call.net
        .at_caller
        .wait_for(100, LIMIT, |one| one.to == other)?;
    ensure_nothing_reached(&call, stranger.local_addr()?)?;
    ensure_nothing_reached(&call, neighbour.local_addr()?)
}

/// A change of a call to what a session says.
fn changed(call: &Call, to: &Session) -> Attributes {
    let streams = Session {
        replace: false,
        ..to.clone()
    };
    let mut set = Attributes::new().uint(session::ID, call.id);
    for stream in &streams.streams {
        set = set.nest(session::STREAM, &stream.attributes());
    }
    set
}

fn a_held_party_is_not_learned(lab: &Lab) -> Result<()> {
    let path = Path::IPV4;
    let playing = learning_session(path, asked(LearningMode::Open));
    let mut held = playing.clone();
    for stream in &mut held.streams {
        stream.a.remote = None;
    }
    let call = Call::with(lab, path, &held)?;
    call.caller.send_rtp(path.west, 0..10)?;
    until("packets refused", LIMIT, || {
        let refused = call.counters()?[0].dropped(DropReason::ForeignSource);
        Ok((refused == 10).then_some(()))
    })?;
    let set = |to: &Session| {
        call.relay
            .call(Command::SessionSet, &changed(&call, to))?
            .map_err(|refusal| anyhow::anyhow!("{refusal:?}"))
    };
    set(&playing)?;
    let sent = call.caller.send_rtp(path.west, 10..20)?;
    expect(&call.net.at_callee, path.east, path.callee, &sent)?;
    wait_for(&call, locked(path.caller))?;
    set(&held)?;
    wait_for(&call, None)?;
    call.callee.send_rtp(path.east, 0..10)?;
    until("packets held", LIMIT, || {
        let held = call.counters()?[1].dropped(DropReason::Held);
        Ok((held == 10).then_some(()))
    })?;
    ensure_nothing_reached(&call, path.caller)
}

/// Does something while packets arrive from three sources that an endpoint may learn, without a
/// pause.
fn while_packets_teach(net: &Topology, path: Path, act: impl FnOnce() -> Result<()>) -> Result<()> {
    let sockets = (0..3)
        .map(|n| udp(&net.caller, SocketAddr::new(path.caller.ip(), 50_000 + n)))
        .collect::<Result<Vec<_>>>()?;
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 0_u16;
            while !stop.load(Ordering::Relaxed) {
                // Each for long enough to be locked, then silent for long enough to be displaced.
                let socket = &sockets[usize::from(number / 8) % sockets.len()];
                // The other end may be gone.
                let _ = socket.send_to(&rtp(7, number, SIZE), path.west);
                number = number.wrapping_add(1);
                thread::yield_now();
            }
        });
        let result = act();
        stop.store(true, Ordering::Relaxed);
        result
    })
}

/// Learning that begins anew all the time.
fn restless() -> Asked {
    asked(LearningMode::Nat)
        .learning(learning::SILENCE_MS, 0)
        .learning(learning::CONFIRMATIONS, 4)
}

fn new_signalling_and_packets_come_at_once(lab: &Lab) -> Result<()> {
    let path = Path::IPV4;
    let nat = learning_session(path, restless());
    let call = Call::with(lab, path, &nat)?;
    let signalled = session_on(path);
    let set = |to: &Session| {
        call.relay
            .call(Command::SessionSet, &changed(&call, to))?
            .map_err(|refusal| anyhow::anyhow!("{refusal:?}"))
            .map(|_| ())
    };
    let mut expected = Vec::new();
    while_packets_teach(&call.net, path, || {
        for number in 0..200 {
            set(&nat)?;
            thread::yield_now();
            set(&signalled)?;
            // Whatever was heard in between, the signalled party is the only one from now on.
            let state = call.counters()?[0].learned;
            ensure!(
                state.is_none(),
                "{state:?} was learned in spite of signalling"
            );
            expected.extend(call.callee.send_rtp(path.east, number..number + 1)?);
        }
        Ok(())
    })?;
    let seen = call.net.at_caller.wait_for(expected.len(), LIMIT, |one| {
        one.from == path.west && one.to == path.caller
    })?;
    ensure!(
        seen.iter().map(|one| &one.payload).eq(&expected),
        "other packets"
    );
    let others = call.net.at_caller.datagrams();
    let others = others.iter().filter(|one| one.from == path.west);
    ensure!(
        others.count() == expected.len(),
        "somebody else got packets"
    );
    Ok(())
}

fn sessions_end_while_they_learn(lab: &Lab) -> Result<()> {
    let path = Path::IPV4;
    let session = learning_session(path, restless());
    let call = Call::with(lab, path, &session)?;
    call.relay.end(call.id)?;
    while_packets_teach(&call.net, path, || {
        for _ in 0..500 {
            let id = call.relay.make(&session)?;
            thread::yield_now();
            call.relay.end(id)?;
        }
        Ok(())
    })
}

fn a_namespace_ends_while_its_sessions_learn(lab: &Lab) -> Result<()> {
    module::ensure_loaded()?;
    for time in 1..=5 {
        lab.step(format!("namespace {time}"));
        let net = Topology::new(lab)?;
        let relay = Relay::open(&net.relay)?;
        relay.configure(PORTS, &LOCALS)?;
        for path in [Path::IPV4, Path::IPV6.nth(1)] {
            relay.make(&learning_session(path, restless()))?;
        }
        let party = udp(&net.caller, Path::IPV6.nth(1).caller)?;
        send_all(
            &party,
            Path::IPV6.nth(1).west,
            (0..3).map(|n| rtp(1, n, SIZE)),
        )?;
        let Topology {
            relay: host,
            caller,
            callee,
            at_caller,
            at_callee,
        } = net;
        lab.forget_captures();
        let left = Topology {
            relay: Namespace::new("nobody")?,
            caller,
            callee,
            at_caller,
            at_callee,
        };
        while_packets_teach(&left, Path::IPV4, || {
            thread::sleep(Duration::from_millis(50));
            drop(relay);
            drop(host);
            until("the end of the relay's devices", LIMIT, || {
                let links = left.caller.run("ip", &["-brief", "link"])?;
                Ok((!links.contains("wire")).then_some(()))
            })
        })?;
    }
    // Nothing is left that would hold the module.
    module::unload()?;
    module::load()
}

fn what_was_asked_about_learning_is_told(lab: &Lab) -> Result<()> {
    let path = Path::IPV4;
    let mut asked = asked(LearningMode::Open)
        .learning(learning::CONFIRMATIONS, 255)
        .learning(learning::WINDOW_MS, 0)
        .learning(learning::SILENCE_MS, 60_000)
        .learning(learning::ROAM_SILENCE_MS, 1)
        .learning(learning::ROAM_SEQUENCES, 32_767);
    asked.signalling = Some("2001:db8::1".parse()?);
    let session = learning_session(path, asked);
    let call = Call::with(lab, path, &session)?;
    ensure!(
        call.relay.get(call.id)?.streams() == session.streams,
        "another state"
    );
    let ended = call.relay.end(call.id)?;
    ensure!(
        ended.streams() == session.streams,
        "another state at the end"
    );
    Ok(())
}

fn what_cannot_be_learned_by_is_refused(lab: &Lab) -> Result<()> {
    let path = Path::IPV4;
    let call = Call::new(lab, path)?;
    let refusal = |asked: Asked, kind| {
        let mut session = learning_session(path.nth(1), asked);
        session.streams.truncate(1);
        session.streams[0].kind = kind;
        call.relay
            .refusal(Command::SessionNew, &session.attributes())
    };
    use genl_proto::generated::StreamKind::{Rtp, Udp};
    let nat = || asked(LearningMode::Nat);
    for (text, asked, kind) in [
        ("a.learning: needs a stream of RTP", nat(), Udp),
        (
            "roam-sequences: missing",
            nat().learning(learning::ROAM_SILENCE_MS, 100),
            Rtp,
        ),
        (
            "roam-silence-ms: missing",
            nat().learning(learning::ROAM_SEQUENCES, 100),
            Rtp,
        ),
    ] {
        let refusal = refusal(asked, kind)?;
        ensure!(
            refusal.errno == Errno::EINVAL && refusal.text.contains(text),
            "{text}: {refusal:?}"
        );
    }
    Ok(())
}
