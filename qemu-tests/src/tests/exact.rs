// SPDX-License-Identifier: MIT OR Apache-2.0

//! Packets, each of which has to arrive as it was specified, to the last byte: random ones, and
//! all the kernel can hold in its memory.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use genl_proto::generated::StreamKind;

use super::fixture::{Call, session_on};
use super::fuzz::with_seed;
use super::path::Path;
use super::{Test, tests_on_all_paths};
use crate::guest::lab::Lab;
use crate::guest::observer::Observer;
use crate::guest::packet::{Build, Datagram};
use crate::guest::raw::{Offload, RawSocket, hardware_address};
use crate::guest::rtp::{rtcp, rtp};
use crate::guest::wait::LIMIT;

pub const ON_ALL_PATHS: &[Test] = tests_on_all_paths![
    random_packets_arrive_exactly_as_specified,
    every_shape_of_packet_arrives_exactly_as_specified,
];

/// Packets of one test.
const PACKETS: usize = 25_000;
/// How many are on their way at once.
const BATCH: usize = 250;
/// Streams, every other one of which carries anything and not only RTP.
const STREAMS: u16 = 8;

/// Whether a stream carries anything.
fn is_plain(stream: u16) -> bool {
    stream % 2 == 1
}

/// A packet of the caller of a path.
fn any_packet(random: &mut Rng, path: Path, is_plain: bool) -> Build {
    let most = if random.u8(..8) == 0 { 1400 } else { 220 };
    let mut payload = vec![0; random.usize(12..=most)];
    random.fill(&mut payload);
    if is_plain {
        payload.truncate(random.usize(..=most));
    } else {
        // The version of RTP; the rest may be anything.
        payload[0] = 0x80 | (payload[0] & 0x3f);
    }
    let mut packet = Build::new(path.caller, path.west, &payload);
    packet.ttl = random.u8(2..);
    packet.tos = random.u8(..);
    packet.flow_label = random.u32(..1 << 20);
    packet.identification = random.u16(..);
    packet.dont_fragment = random.bool();
    packet
}

fn random_packets_arrive_exactly_as_specified(lab: &Lab, path: Path) -> Result<()> {
    let paths: Vec<_> = (0..STREAMS).map(|number| path.nth(number)).collect();
    let call = Call::new(lab, path)?;
    let sessions = (1..).zip(&paths[1..]).map(|(number, path)| {
        let mut session = session_on(*path);
        if is_plain(number) {
            session.streams[0].kind = StreamKind::Udp;
        }
        session
    });
    let sessions: Vec<_> = sessions.collect();
    call.relay.make_many(&sessions)?;
    let sender = call.callers_device()?;
    let (east, callee) = (
        hardware_address(&call.net.relay, "east")?,
        hardware_address(&call.net.callee, "wire")?,
    );
    with_seed(lab, |seed| {
        let mut random = Rng::with_seed(seed);
        for batch in 1..=PACKETS / BATCH {
            // They may overtake each other: the sender is not always on the same processor.
            let mut wanted: HashMap<Vec<u8>, usize> = HashMap::new();
            for _ in 0..BATCH {
                let stream = random.u16(..STREAMS);
                let path = paths[usize::from(stream)];
                let packet = any_packet(&mut random, path, is_plain(stream));
                sender.send(&sender.frame(&packet)?)?;
                *wanted
                    .entry(path.relayed(&packet).frame(east, callee)?)
                    .or_default() += 1;
            }
            let seen = call.net.at_callee.pick(BATCH, LIMIT, |frame| {
                Datagram::parse(frame).map(|_| frame.bytes.clone())
            })?;
            ensure!(
                seen.len() == BATCH,
                "{} packets too many",
                seen.len() - BATCH
            );
            for frame in seen {
                let left = wanted
                    .get_mut(&frame)
                    .filter(|left| **left > 0)
                    .with_context(|| format!("nobody sent what became {frame:02x?}"))?;
                *left -= 1;
            }
            call.net.at_callee.forget();
            if batch % 20 == 0 {
                lab.step(format!("{} packets", batch * BATCH));
            }
        }
        let totals = call.relay.totals()?.relayed;
        ensure!(
            totals.packets == (PACKETS / BATCH * BATCH) as u64 && totals.drops.is_empty(),
            "{totals:?}"
        );
        Ok(())
    })
}

/// How a packet brings its UDP checksum, and how it leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sum {
    /// Complete.
    Full,
    /// Left to a device, and left to one again.
    Partial,
    /// Left to a device, and computed where it leaves the relay: no device does it any more.
    Completed,
}

/// Where a packet lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Memory {
    /// In one piece.
    Linear,
    /// What is behind its headers in pages.
    Payload,
    /// All but its Ethernet header in pages.
    Headers,
}

/// What the kernel holds a packet in when it comes to the relay.
#[derive(Clone, Copy, Debug)]
struct Shape {
    sum: Sum,
    memory: Memory,
    /// Whether somebody else holds a clone of it, who must not see it change.
    shared: bool,
}

impl Shape {
    /// All there are. The kernel keeps no packet whose headers are in pages and whose checksum is
    /// left to a device (`skb_partial_csum_set()`, net/core/skbuff.c).
    fn all() -> impl Iterator<Item = Self> {
        use Memory::*;
        use Sum::*;
        let memories = [
            (Full, [Linear, Payload, Headers].as_slice()),
            (Partial, &[Linear, Payload]),
            (Completed, &[Linear, Payload]),
        ];
        memories.into_iter().flat_map(|(sum, memories)| {
            memories.iter().flat_map(move |&memory| {
                [false, true].map(|shared| Self {
                    sum,
                    memory,
                    shared,
                })
            })
        })
    }

    /// The frame as it comes from a party.
    fn entering(self, packet: &Build, sender: &RawSocket) -> Result<Vec<u8>> {
        match self.sum {
            Sum::Full => sender.frame(packet),
            Sum::Partial | Sum::Completed => sender.partial_frame(packet),
        }
    }

    /// The frame as it leaves from one hardware address to the other.
    fn leaving(self, packet: &Build, from: [u8; 6], to: [u8; 6]) -> Result<Vec<u8>> {
        match self.sum {
            Sum::Full | Sum::Completed => packet.frame(from, to),
            Sum::Partial => packet.partial_frame(from, to),
        }
    }
}

/// Lengths of payloads that fit into one piece of memory, and of such that need pages too.
const SHORT: [usize; 4] = [12, 13, 172, 1400];
const LONG: [usize; 4] = [4500, 4501, 6000, 8900];

fn every_shape_of_packet_arrives_exactly_as_specified(lab: &Lab, path: Path) -> Result<()> {
    let call = Call::new(lab, path)?;
    let net = &call.net;
    net.set_mtu(9000)?;
    let plain = call.callers_device()?;
    let offloading = call.callers_device()?;
    offloading.accept_offload()?;
    let (east, callee) = (
        hardware_address(&net.relay, "east")?,
        hardware_address(&net.callee, "wire")?,
    );
    let mut sent = 0;
    for shape in Shape::all() {
        lab.step(format!("{shape:?}"));
        let state = if shape.sum == Sum::Completed {
            "off"
        } else {
            "on"
        };
        net.relay.run("ethtool", &["-K", "east", "tx", state])?;
        let clones = shape
            .shared
            .then(|| Observer::new(&net.relay, "west"))
            .transpose()?;
        let media = |number: u16, length: &usize| rtp(call.caller.source, number, *length);
        let lengths = match shape.memory {
            Memory::Linear => [SHORT, LONG].concat(),
            Memory::Payload | Memory::Headers => LONG.to_vec(),
        };
        let mut packets: Vec<_> = (sent..)
            .zip(&lengths)
            .map(|(number, length)| (path, media(number, length)))
            .collect();
        sent += lengths.len() as u16;
        if shape.memory == Memory::Linear {
            packets.push((path.rtcp(), rtcp(call.caller.source, sent)));
        }
        let packets = packets
            .into_iter()
            .map(|(path, payload)| (path, Build::new(path.caller, path.west, &payload)));
        let packets: Vec<_> = packets.collect();
        let mut entered = Vec::new();
        for (_, packet) in &packets {
            let frame = shape.entering(packet, &plain)?;
            if (shape.sum, shape.memory) == (Sum::Full, Memory::Headers) {
                plain.send(&frame)?;
            } else {
                let offload = Offload {
                    checksum: shape.sum != Sum::Full,
                    in_pages: shape.memory == Memory::Payload,
                    ..Offload::none()
                };
                offloading.send_offloaded(offload, &frame)?;
            }
            entered.push(frame);
        }
        let seen = net.at_callee.pick(packets.len(), LIMIT, |frame| {
            Datagram::parse(frame).map(|_| frame.bytes.clone())
        })?;
        ensure!(seen.len() == packets.len(), "{} frames", seen.len());
        for (seen, (path, packet)) in seen.iter().zip(&packets) {
            let wanted = shape.leaving(&path.relayed(packet), east, callee)?;
            ensure!(
                *seen == wanted,
                "{shape:?}: {seen:02x?} instead of {wanted:02x?}"
            );
        }
        if let Some(clones) = clones {
            let clones = clones.fetch()?;
            let clones = clones.iter().filter(|frame| entered.contains(frame));
            ensure!(
                clones.count() == entered.len(),
                "{shape:?}: a clone was written to"
            );
        }
        net.at_callee.forget();
    }
    Ok(())
}
