// SPDX-License-Identifier: MIT OR Apache-2.0

//! Random packets, each of which has to arrive as it was specified, to the last byte.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use genl_proto::generated::StreamKind;

use super::fixture::{Call, session_on};
use super::fuzz::with_seed;
use super::path::Path;
use super::{Test, tests_on_all_paths};
use crate::guest::lab::Lab;
use crate::guest::packet::{Build, Datagram};
use crate::guest::raw::hardware_address;
use crate::guest::wait::LIMIT;

pub const ON_ALL_PATHS: &[Test] = tests_on_all_paths![random_packets_arrive_exactly_as_specified];

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
