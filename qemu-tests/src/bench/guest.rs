// SPDX-License-Identifier: MIT OR Apache-2.0

//! The guest's part: sends the frames and counts.

use std::fmt;
use std::ops::Range;

use anyhow::{Result, ensure};

use super::flows::{Ends, Link, frame};
use super::network::Network;
use super::paths::Path;
use super::wire::{Observer, Sender};
use super::{BATCH, Point, Samples};
use crate::guest::rtp::{SIZE, rtp};

/// Fewest packets a figure is made of.
const FEWEST_PACKETS: usize = 100 * BATCH;

/// Time to live of a packet that enters the relay; one that leaves it has one less.
const TTL: u8 = 64;

/// Counts at one point, in a network of its own.
pub fn measure(point: Point) -> Result<Samples> {
    let network = Network::new()?;
    point.path.set_up(&network.relay, point.sessions)?;
    let sender = Sender::new(&network.caller, "wire", point.checksum)?;
    let mut traffic = Traffic { point, sent: 0 };

    // The first packets of a flow look routes up and allocate.
    let arrived = send(&network, &sender, &mut traffic, 2 * point.sessions)?;
    ensure!(arrived.is_complete(), "{arrived}");
    compare(&network, &sender, &mut traffic)?;

    let packets = FEWEST_PACKETS.max(point.sessions);
    let relayed = send(&network, &sender, &mut traffic, packets)?;
    ensure!(relayed.is_complete(), "{relayed}");
    let (sunk, dropped) =
        network.with_entry_closed(|| send(&network, &sender, &mut traffic, packets))?;
    ensure!(
        sunk.arrived == 0 && dropped == sunk.sent,
        "{dropped} of {} packets were dropped at the relay's first device",
        sunk.sent
    );
    Ok(Samples {
        point,
        relayed: relayed.batches,
        sunk: sunk.batches,
    })
}

/// The packets of all flows in turn.
struct Traffic {
    point: Point,
    /// Packets made so far.
    sent: usize,
}

impl Traffic {
    /// The frames of the next batch.
    fn batch(&mut self, network: &Network) -> Result<Vec<Vec<u8>>> {
        let packets = self.sent..self.sent + BATCH;
        self.sent = packets.end;
        self.frames(packets, Path::entering, network.entry, TTL)
    }

    /// What must have become of the batch before.
    fn batch_at_callee(&self, network: &Network) -> Result<Vec<Vec<u8>>> {
        let packets = self.sent.saturating_sub(BATCH)..self.sent;
        self.frames(packets, Path::leaving, network.exit, TTL - 1)
    }

    fn frames(
        &self,
        packets: Range<usize>,
        ends: fn(Path, usize) -> Result<Ends>,
        link: Link,
        ttl: u8,
    ) -> Result<Vec<Vec<u8>>> {
        let Point {
            path,
            checksum,
            sessions,
        } = self.point;
        packets
            .map(|packet| {
                let flow = packet % sessions;
                // Sequence numbers wrap around by design (RFC 3550, section 5.1).
                let number = (packet / sessions) as u16;
                let media = rtp(flow as u32, number, SIZE);
                frame(link, ends(path, flow)?, ttl, checksum, &media)
            })
            .collect()
    }
}

/// What came of some traffic.
struct Sent {
    sent: u64,
    arrived: u64,
    batches: Vec<u64>,
}

impl Sent {
    fn is_complete(&self) -> bool {
        self.sent == self.arrived
    }
}

impl fmt::Display for Sent {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{} of {} packets arrived", self.arrived, self.sent)
    }
}

/// Sends whole batches, at least this many packets.
fn send(network: &Network, sender: &Sender, traffic: &mut Traffic, packets: usize) -> Result<Sent> {
    let arrived = network.arrived()?;
    let batches = (0..packets.div_ceil(BATCH))
        .map(|_| sender.send(&traffic.batch(network)?))
        .collect::<Result<Vec<_>>>()?;
    Ok(Sent {
        sent: (batches.len() * BATCH) as u64,
        arrived: network.arrived()? - arrived,
        batches,
    })
}

/// Sends one batch and compares what arrives with what should, byte by byte.
fn compare(network: &Network, sender: &Sender, traffic: &mut Traffic) -> Result<()> {
    let observer = Observer::new(&network.callee, "wire")?;
    sender.send(&traffic.batch(network)?)?;
    let wanted = traffic.batch_at_callee(network)?;
    let seen = observer.fetch()?;
    ensure!(
        seen.len() == wanted.len(),
        "{} of {} frames were seen to arrive",
        seen.len(),
        wanted.len()
    );
    for (seen, wanted) in seen.iter().zip(&wanted) {
        ensure!(
            seen == wanted,
            "a packet was changed: {wanted:02x?} should have arrived, {seen:02x?} did"
        );
    }
    Ok(())
}
