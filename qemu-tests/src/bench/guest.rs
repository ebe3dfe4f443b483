// SPDX-License-Identifier: MIT OR Apache-2.0

//! The guest's part: sends the frames and counts.

use std::fs;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};

use super::flows::{Ends, Flow, Ip, Link, frame};
use super::headroom::Headroom;
use super::idle::Idle;
use super::network::Network;
use super::paths;
use super::wire::Sender;
use super::{BATCH, Point, SYMBOLS, Samples, Window};
use crate::guest::capture::Frame;
use crate::guest::observer::Observer;
use crate::guest::packet::Datagram;
use crate::guest::rtp::{SIZE, rtp};
use crate::protocol::SHARE;

/// Fewest packets a figure is made of.
const FEWEST_PACKETS: usize = 100 * BATCH;

/// How long it takes until hosts have said which groups they belong to.
const QUIET: Duration = Duration::from_millis(200);

/// How long the first packets may take through a process, by the guest's clock.
const SETTLE: Duration = Duration::from_millis(500);

/// Time to live of a packet that enters the relay; one that leaves it has one less.
const TTL: u8 = 64;

/// Packets that a process gets at once. rtpengine leaves what is more than 50 in the queue of its
/// socket until something else arrives.
const BURST: usize = 32;

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
    // Ends before the network it runs in.
    process: Option<paths::Process>,
    // Goes before the device it is for.
    _headroom: Option<Headroom>,
    network: Network,
    sender: Sender,
    traffic: Traffic,
    /// What else the processor does, where a process relays.
    idle: Option<Idle>,
}

impl SetUp {
    /// Builds the network, lets the first packets of all flows through and checks what arrives.
    fn new(point: Point) -> Result<Self> {
        let network = Network::new()?;
        let paths::SetUp { flows, process } = point.path.set_up(&network.relay, point.sessions)?;
        sleep(QUIET);
        let headroom = point
            .path
            .lengthens()
            .then(|| Headroom::new(&network.relay, "west"))
            .transpose()?;
        let (family, _) = point.path.families();
        let sender = Sender::new(&network.caller, "wire", family, point.checksum)?;
        let traffic = Traffic {
            point,
            flows,
            sent: 0,
        };
        let mut set_up = Self {
            // Each batch is waited for where a process may relay it.
            idle: process.as_ref().map(|_| Idle::start()).transpose()?,
            process,
            _headroom: headroom,
            network,
            sender,
            traffic,
        };
        set_up.warm_up()?;
        if let (Some(paths::Process::Rtpengine(rtpengine)), false) =
            (&set_up.process, point.path.is_process())
        {
            // What still arrives was relayed by the kernel module.
            rtpengine.stop()?;
            set_up.idle = None;
        }
        set_up.compare()?;
        Ok(set_up)
    }

    /// Sends one batch and returns the instructions it took.
    fn send_batch(&mut self) -> Result<u64> {
        let batch = self.traffic.batch(&self.network)?;
        match &self.idle {
            None => self.sender.send(&batch),
            Some(idle) => batch
                .chunks(BURST)
                .map(|burst| idle.busy(|| self.sender.send(burst)))
                .sum(),
        }
    }

    /// Sends whole batches, at least this many packets.
    fn send(&mut self, packets: usize) -> Result<Sent> {
        let before = self.network.arrived()?;
        let batches = (0..packets.div_ceil(BATCH))
            .map(|_| self.send_batch())
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

    /// Sends the first packets of all flows.
    fn warm_up(&mut self) -> Result<()> {
        let Point { path, sessions, .. } = self.traffic.point;
        let sent = self.send(path.first_packets() * sessions)?;
        match self.idle {
            None => sent.must_arrive(),
            // A process may be too slow for its very first packets.
            Some(_) => {
                sleep(SETTLE);
                Ok(())
            }
        }
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
        self.send_batch()?;
        let wanted = self.traffic.batch_at_callee(&self.network)?;
        let seen = observer.fetch()?;
        ensure!(
            seen.len() == wanted.len(),
            "{} of {} frames were seen to arrive",
            seen.len(),
            wanted.len()
        );
        let keeps_ip_header = self.traffic.point.path.keeps_ip_header();
        for (seen, wanted) in seen.iter().zip(&wanted) {
            ensure!(
                seen == wanted || (!keeps_ip_header && datagram(seen) == datagram(wanted)),
                "a packet was changed: {wanted:02x?} should have arrived, {seen:02x?} did"
            );
        }
        Ok(())
    }
}

/// What a UDP datagram says to its receiver: who sent it, to whom, and what.
fn datagram(frame: &[u8]) -> Option<(SocketAddr, SocketAddr, Vec<u8>)> {
    let datagram = Datagram::parse(&Frame {
        at: SystemTime::UNIX_EPOCH,
        bytes: frame.to_vec(),
        partial: false,
        vlan: None,
    })?;
    Some((datagram.from, datagram.to, datagram.payload))
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
    flows: Vec<Flow>,
    /// Packets made so far.
    sent: usize,
}

impl Traffic {
    /// The frames of the next batch.
    fn batch(&mut self, network: &Network) -> Result<Vec<Vec<u8>>> {
        let packets = self.sent..self.sent + BATCH;
        self.sent = packets.end;
        let ip = Ip {
            ttl: TTL,
            dont_fragment: false,
        };
        self.frames(packets, |flow| flow.entering, network.entry, ip)
    }

    /// What must have become of the batch before.
    fn batch_at_callee(&self, network: &Network) -> Result<Vec<Vec<u8>>> {
        let packets = self.sent.saturating_sub(BATCH)..self.sent;
        let ip = Ip {
            ttl: TTL - 1,
            dont_fragment: self.point.path.leaves_unfragmentable(),
        };
        self.frames(packets, |flow| flow.leaving, network.exit, ip)
    }

    fn frames(
        &self,
        packets: Range<usize>,
        ends: fn(&Flow) -> Ends,
        link: Link,
        ip: Ip,
    ) -> Result<Vec<Vec<u8>>> {
        packets
            .map(|packet| {
                let sessions = self.flows.len();
                let number = packet % sessions;
                let flow = self.flows.get(number).context("there is no such flow")?;
                // Sequence numbers wrap around by design (RFC 3550, section 5.1).
                let sequence = (packet / sessions) as u16;
                // No source is 0, which rtpengine takes for none.
                let media = rtp(number as u32 + 1, sequence, SIZE);
                frame(link, ends(flow), ip, self.point.checksum, &media)
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
