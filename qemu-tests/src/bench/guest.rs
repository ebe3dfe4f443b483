// SPDX-License-Identifier: MIT OR Apache-2.0

//! The guest's part: sends the frames and counts.

use std::fs;
use std::ops::Range;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use super::flows::{Ends, Link, frame};
use super::network::Network;
use super::paths::Path;
use super::wire::{Observer, Sender};
use super::{BATCH, Point, SYMBOLS, Samples, Window};
use crate::guest::rtp::{SIZE, rtp};
use crate::protocol::SHARE;

/// Fewest packets a figure is made of.
const FEWEST_PACKETS: usize = 100 * BATCH;

/// Time to live of a packet that enters the relay; one that leaves it has one less.
const TTL: u8 = 64;

/// Batches in each window of a profile.
const WINDOW: usize = 5;

/// Counts at one point, in a network of its own.
pub fn measure(point: Point) -> Result<Samples> {
    let mut set_up = SetUp::new(point)?;
    let relayed = set_up.relay(FEWEST_PACKETS.max(point.sessions))?;
    let sunk = set_up.sink(|set_up| set_up.send(FEWEST_PACKETS))?;
    Ok(Samples {
        point,
        relayed,
        sunk: sunk.batches,
    })
}

/// Sends packets at one point for a profile. `pause` is called before each window and, with none,
/// after it.
pub fn profile(point: Point, mut pause: impl FnMut(Option<Window>) -> Result<()>) -> Result<()> {
    let mut set_up = SetUp::new(point)?;
    write_symbols()?;
    set_up
        .send_in_window(Window::Relayed, &mut pause)?
        .must_arrive()?;
    set_up.sink(|set_up| set_up.send_in_window(Window::Sunk, &mut pause))?;
    Ok(())
}

/// One point, ready to be counted at.
struct SetUp {
    network: Network,
    sender: Sender,
    traffic: Traffic,
}

impl SetUp {
    /// Builds the network, lets the first packets of all flows through and checks what arrives.
    fn new(point: Point) -> Result<Self> {
        let network = Network::new()?;
        point.path.set_up(&network.relay, point.sessions)?;
        let sender = Sender::new(&network.caller, "wire", point.checksum)?;
        let mut set_up = Self {
            network,
            sender,
            traffic: Traffic { point, sent: 0 },
        };
        // The first packets of a flow look routes up and allocate, and a flow table takes a flow
        // on with its second packet.
        set_up.relay(2 * point.sessions)?;
        set_up.compare()?;
        Ok(set_up)
    }

    /// Sends whole batches, at least this many packets.
    fn send(&mut self, packets: usize) -> Result<Sent> {
        let before = self.network.arrived()?;
        let batches = (0..packets.div_ceil(BATCH))
            .map(|_| self.sender.send(&self.traffic.batch(&self.network)?))
            .collect::<Result<_>>()?;
        self.sent(batches, before)
    }

    /// Sends the batches of a window. Nothing else happens while it is open.
    fn send_in_window(
        &mut self,
        window: Window,
        mut pause: impl FnMut(Option<Window>) -> Result<()>,
    ) -> Result<Sent> {
        let before = self.network.arrived()?;
        let frames = (0..WINDOW)
            .map(|_| self.traffic.batch(&self.network))
            .collect::<Result<Vec<_>>>()?;
        pause(Some(window))?;
        let batches: Result<_> = frames.iter().map(|batch| self.sender.send(batch)).collect();
        pause(None)?;
        self.sent(batches?, before)
    }

    /// What came of batches, when this many packets had arrived before them.
    fn sent(&self, batches: Vec<u64>, before: u64) -> Result<Sent> {
        Ok(Sent {
            sent: (batches.len() * BATCH) as u64,
            arrived: self.network.arrived()? - before,
            batches,
        })
    }

    /// Sends packets all of which must arrive and returns the instructions of each batch.
    fn relay(&mut self, packets: usize) -> Result<Vec<u64>> {
        let sent = self.send(packets)?;
        sent.must_arrive()?;
        Ok(sent.batches)
    }

    /// Drops packets where they enter the relay while something is done.
    fn sink(&mut self, act: impl FnOnce(&mut Self) -> Result<Sent>) -> Result<Sent> {
        let before = self.traffic.sent;
        self.network.close_entry()?;
        let sunk = act(self)?;
        let dropped = self.network.open_entry()?;
        let sent = (self.traffic.sent - before) as u64;
        ensure!(
            sunk.arrived == 0 && dropped == sent,
            "{dropped} of {sent} packets were dropped at the relay's first device"
        );
        Ok(sunk)
    }

    /// Sends one batch and compares what arrives with what should, byte by byte.
    fn compare(&mut self) -> Result<()> {
        let observer = Observer::new(&self.network.callee, "wire")?;
        self.sender.send(&self.traffic.batch(&self.network)?)?;
        let wanted = self.traffic.batch_at_callee(&self.network)?;
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
}

/// Leaves the addresses of the kernel's functions, those of modules included, where the host finds
/// them.
fn write_symbols() -> Result<()> {
    let symbols = fs::read_to_string("/proc/kallsyms").context("cannot read /proc/kallsyms")?;
    let path = PathBuf::from(SHARE).join(SYMBOLS);
    let directory = path.parent().context("a file in no directory")?;
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    fs::write(&path, symbols).with_context(|| format!("cannot write {}", path.display()))
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
    fn must_arrive(&self) -> Result<()> {
        ensure!(
            self.sent == self.arrived,
            "{} of {} packets arrived",
            self.arrived,
            self.sent
        );
        Ok(())
    }
}
