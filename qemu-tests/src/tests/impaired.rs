// SPDX-License-Identifier: MIT OR Apache-2.0

//! Streams, recorded ones and such that a bad network has impaired, are measured as RFC 3550 says:
//! what arrived at the relay is captured with the kernel's times, and looked at as a whole afterwards.

use std::collections::BTreeSet;
use std::fs::File;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, ensure};
use genl_proto::generated::quality;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use pcap_file::pcap::PcapReader;

use super::fixture::Call;
use super::path::Path;
use super::{Test, tests_on_paths};
use crate::guest::capture::{Capture, Frame};
use crate::guest::debug::patience;
use crate::guest::lab::Lab;
use crate::guest::packet::Datagram;
use crate::guest::relay::Counters;
use crate::guest::rtp::{Party, SIZE, rtp};
use crate::guest::wait::{LIMIT, until};

pub const ON_PATHS: &[Test] = tests_on_paths![
    an_impaired_stream_is_measured_as_the_rfc_says: IPV4 IPV6,
    a_recorded_stream_is_measured_as_the_rfc_says: IPV4 IPV6,
];

/// What tc-netem(8) does to the caller's packets.
const NETWORKS: [&str; 4] = [
    "loss 10%",
    "duplicate 10%",
    "delay 20ms reorder 30% 50%",
    "delay 10ms 4ms loss 3% duplicate 3% reorder 5%",
];

/// Packets sent through each.
const COUNT: u16 = 400;

/// Time between two of them.
const PACE: Duration = Duration::from_millis(2);

/// One unit of the timestamps, of which there are 8,000 a second.
const UNIT: Duration = Duration::from_micros(125);

/// The pace in these units.
const UNITS: u32 = 16;

/// Streams of telephones, as the guest's SIPp brings them: speech in G.711, and a key that was
/// pressed, whose packets have one timestamp (RFC 4733).
const RECORDINGS: [&str; 2] = ["g711a", "dtmf_2833_star"];

/// What it does to them when it does nothing.
const PERFECT: &str = "loss 0%";

/// Packets, and when each is sent.
type Stream = Vec<(Duration, Vec<u8>)>;

fn an_impaired_stream_is_measured_as_the_rfc_says(lab: &Lab, path: Path) -> Result<()> {
    for network in NETWORKS {
        lab.step(network);
        let call = Call::new(lab, path)?;
        let stream = (0..COUNT).map(|number| {
            let mut packet = rtp(call.caller.source, number, SIZE);
            let timestamp = u32::from(number) * UNITS;
            packet[4..8].copy_from_slice(&timestamp.to_be_bytes());
            (PACE * number.into(), packet)
        });
        impair(lab, &call, path, network, &stream.collect())?;
    }
    Ok(())
}

fn a_recorded_stream_is_measured_as_the_rfc_says(lab: &Lab, path: Path) -> Result<()> {
    for recording in RECORDINGS {
        let stream = recorded(recording)?;
        for network in [PERFECT, NETWORKS[3]] {
            lab.step(format!("{recording}, {network}"));
            impair(lab, &Call::new(lab, path)?, path, network, &stream)?;
        }
    }
    Ok(())
}

/// A recording as it was sent, from its first packet on.
fn recorded(name: &str) -> Result<Stream> {
    let path = format!("/usr/share/sip-tester/{name}.pcap");
    let file = File::open(&path).with_context(|| format!("cannot open {path}"))?;
    let mut stream = Stream::new();
    let mut packets = PcapReader::new(file).with_context(|| format!("cannot read {path}"))?;
    while let Some(packet) = packets.next_packet() {
        let packet = packet.with_context(|| format!("cannot read {path}"))?;
        let frame = Frame {
            at: UNIX_EPOCH + packet.timestamp,
            bytes: packet.data.into_owned(),
            partial: false,
            vlan: None,
        };
        if let Some(datagram) = Datagram::parse(&frame) {
            stream.push((packet.timestamp, datagram.payload));
        }
    }
    let began = stream.first().context("an empty recording")?.0;
    for (at, _) in &mut stream {
        *at = at.saturating_sub(began);
    }
    Ok(stream)
}

/// Sends a stream through such a network, and compares what the relay says of it with what came.
fn impair(lab: &Lab, call: &Call, path: Path, network: &str, stream: &Stream) -> Result<()> {
    let at_relay = lab.capture(&call.net.relay, "west")?;
    let netem = |arguments: &str| {
        let arguments: Vec<_> = arguments.split(' ').collect();
        call.net.caller.run("tc", &arguments)
    };
    // The first one comes first: RFC 3550 counts from there.
    let (first, others) = stream.split_at(1);
    send(&call.caller, path.west, first)?;
    netem(&format!(
        "qdisc add dev wire root netem limit 5000 {network}"
    ))?;
    send(&call.caller, path.west, others)?;
    until("the end of the delays", LIMIT, || {
        let told = netem("-s qdisc show dev wire")?;
        Ok(told.contains("backlog 0b 0p").then_some(()))
    })?;
    // All that got through are on both sides of the capture now, or will be at once.
    let counters = until("all packets captured and counted", LIMIT, || {
        let counters = call.counters()?[0].clone();
        let captured = captured(&at_relay, path).count() as u64;
        Ok((captured == counters.packets).then_some(counters))
    })?;
    compare(&at_relay, path, &counters)
}

/// Sends packets on one processor, which handles them up to the relay's device: on two, the capture
/// could see them in another order than the module.
fn send(caller: &Party, to: SocketAddr, packets: &[(Duration, Vec<u8>)]) -> Result<()> {
    let one_after_another = || {
        let mut first = CpuSet::new();
        first.set(0)?;
        sched_setaffinity(Pid::from_raw(0), &first)?;
        let mut last = packets.first().map(|(at, _)| *at).unwrap_or_default();
        for (at, packet) in packets {
            thread::sleep(at.saturating_sub(last));
            last = *at;
            caller.rtp.send_to(packet, to)?;
        }
        Ok(())
    };
    thread::scope(|scope| scope.spawn(one_after_another).join())
        .map_err(|_| anyhow!("the sender has panicked"))?
}

fn captured(at_relay: &Capture, path: Path) -> impl Iterator<Item = (Duration, Datagram)> {
    at_relay.frames().into_iter().filter_map(move |frame| {
        let datagram = Datagram::parse(&frame)?;
        let at = frame.at.duration_since(UNIX_EPOCH).ok()?;
        (datagram.to == path.west).then_some((at, datagram))
    })
}

/// What there is to know about a stream that has arrived as a whole. It is so short that its
/// sequence numbers do not wrap.
#[derive(Debug, Default, PartialEq)]
struct Quality {
    ssrc: u32,
    highest: u16,
    /// Of which no copy arrived, from the first one that did.
    lost: usize,
    duplicates: usize,
    /// That arrived after a later one, and for the first time.
    reordered: usize,
    /// RFC 3550 section 6.4.1, in real numbers.
    jitter: f64,
}

fn measure(arrived: impl Iterator<Item = (Duration, Datagram)>) -> Result<Quality> {
    let mut found = Quality::default();
    let mut numbers = BTreeSet::new();
    let mut transit = None;
    for (at, datagram) in arrived {
        // RFC 3550 section 5.1.
        let header = datagram.payload.first_chunk::<12>();
        let [_, _, a, b, c, d, e, f, g, h, i, j] = *header.context("a packet that is no RTP")?;
        let number = u16::from_be_bytes([a, b]);
        let timestamp = u32::from_be_bytes([c, d, e, f]);
        found.ssrc = u32::from_be_bytes([g, h, i, j]);
        let is_late = numbers.last().is_some_and(|highest| number < *highest);
        if !numbers.insert(number) {
            found.duplicates += 1;
        } else if is_late {
            found.reordered += 1;
        }
        let now = at.as_secs_f64() * 8000.0 - f64::from(timestamp);
        if let Some(before) = transit.replace(now) {
            let difference: f64 = now - before;
            found.jitter += (difference.abs() - found.jitter) / 16.0;
        }
    }
    if let (Some(first), Some(last)) = (numbers.first(), numbers.last()) {
        found.highest = *last;
        found.lost = usize::from(last - first) + 1 - numbers.len();
    }
    Ok(found)
}

fn compare(at_relay: &Capture, path: Path, found: &Counters) -> Result<()> {
    let get = |id| {
        let value = found.quality.get(&id).copied();
        value.with_context(|| format!("no attribute {id} in {found:?}"))
    };
    let measured = measure(captured(at_relay, path))?;
    let counted = Quality {
        ssrc: get(quality::SSRC)? as u32,
        highest: get(quality::HIGHEST_SEQUENCE)? as u16,
        lost: get(quality::LOST)? as usize,
        duplicates: get(quality::DUPLICATES)? as usize,
        reordered: get(quality::REORDERED)? as usize,
        jitter: measured.jitter,
    };
    ensure!(counted == measured, "counted {counted:?}, not {measured:?}");
    for id in [quality::JUMPS, quality::RESTARTS, quality::SSRC_CHANGES] {
        ensure!(get(id)? == 0, "{found:?}");
    }
    let jitter = get(quality::JITTER)? as f64;
    // The capture has read the clock a moment before the module did.
    let allowed = patience(UNIT).as_secs_f64() / UNIT.as_secs_f64();
    ensure!(
        (jitter - measured.jitter).abs() <= allowed,
        "jitter {jitter}, not {}: more than {allowed} apart",
        measured.jitter
    );
    Ok(())
}
