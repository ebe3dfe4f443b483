// SPDX-License-Identifier: MIT OR Apache-2.0

//! A call, programmed into the module by the test itself.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Result, ensure};
use genl_proto::generated::{LearningMode, Output, StreamKind, learning, receiving, sending};

use super::path::Path;
use crate::guest::capture::{Capture, wrong_checksums};
use crate::guest::lab::Lab;
use crate::guest::module;
use crate::guest::packet::{Build, Datagram};
use crate::guest::raw::RawSocket;
use crate::guest::relay::{Asked, Counters, Endpoint, Relay, Session, Stream};
use crate::guest::rtp::Party;
pub use crate::guest::rtp::rtcp_of;
use crate::guest::topology::Topology;
use crate::guest::wait::LIMIT;

/// The relay's port range.
pub const PORTS: (u16, u16) = (20_000, 20_999);

/// The relay's addresses.
pub const LOCALS: [IpAddr; 4] = [
    Path::IPV4.west.ip(),
    Path::IPV4.east.ip(),
    Path::IPV6.west.ip(),
    Path::IPV6.east.ip(),
];

/// Where the caller receives RTP, in tests to which the version of IP makes no difference.
pub const CALLER_RTP: SocketAddr = Path::IPV4.caller;
/// Where the callee receives RTP in such tests.
pub const CALLEE_RTP: SocketAddr = Path::IPV4.callee;
/// Where the relay receives RTP of the caller in such tests.
pub const WEST_RTP: SocketAddr = Path::IPV4.west;
/// Where the relay receives RTP of the callee in such tests.
pub const EAST_RTP: SocketAddr = Path::IPV4.east;

/// A network, the module in it, and one call.
pub struct Call {
    /// The session's id.
    pub id: u64,
    /// The module.
    pub relay: Relay,
    /// The caller's sockets.
    pub caller: Party,
    /// The callee's sockets.
    pub callee: Party,
    /// The network.
    pub net: Topology,
}

/// The RTP stream and the RTCP stream one port above between two parties.
pub fn streams(
    a: (SocketAddr, Option<SocketAddr>),
    b: (SocketAddr, Option<SocketAddr>),
) -> Vec<Stream> {
    let rtp = |(local, remote)| Endpoint {
        local,
        remote,
        asked: Asked::default(),
    };
    let rtcp = |(local, remote): (SocketAddr, Option<SocketAddr>)| Endpoint {
        local: rtcp_of(local),
        remote: remote.map(rtcp_of),
        asked: Asked::default(),
    };
    vec![
        Stream {
            kind: StreamKind::Rtp,
            a: rtp(a),
            b: rtp(b),
        },
        Stream {
            kind: StreamKind::Rtcp,
            a: rtcp(a),
            b: rtcp(b),
        },
    ]
}

/// The session of a call, in tests to which the version of IP makes no difference.
pub fn session() -> Session {
    session_on(Path::IPV4)
}

/// The session of a call on a path.
pub fn session_on(path: Path) -> Session {
    Session {
        label: b"call@caller".to_vec(),
        owner: 7,
        timeout_ms: 60_000,
        streams: streams(
            (path.west, Some(path.caller)),
            (path.east, Some(path.callee)),
        ),
        replace: false,
    }
}

/// All that can be asked of an endpoint's packets, each thing at its most unusual.
pub fn everything() -> Asked {
    Asked {
        payload_types: Some(u128::MAX),
        ..Asked::default()
            .receiving(receiving::SSRC, u32::MAX)
            .receiving(receiving::PACKET_RATE, 100)
            .receiving(receiving::BYTE_RATE, 20_000)
            .receiving(receiving::BURST_MS, 250)
            .receiving(receiving::CLOCK_RATE, 48_000)
            .sending(sending::DSCP, 63)
            .sending(sending::HOP_LIMIT, 255)
            .sending(sending::MARK, u32::MAX)
            .sending(sending::DEVICE, 1)
            .sending(sending::OUTPUT, Output::Full as u32)
            .learning(learning::MODE, LearningMode::Nat as u32)
            .learning(learning::CONFIRMATIONS, 10)
            .learning(learning::WINDOW_MS, 5_000)
            .learning(learning::SILENCE_MS, 250)
            .learning(learning::ROAM_SILENCE_MS, 1_000)
            .learning(learning::ROAM_SEQUENCES, 500)
    }
}

/// The session of a call on a path, of whose endpoints everything is asked.
pub fn demanding_session_on(path: Path) -> Session {
    let mut session = session_on(path);
    for stream in &mut session.streams {
        stream.a.asked = everything();
        stream.b.asked = everything();
    }
    session
}

/// A network with the module in it, configured, without any session.
pub fn idle_relay(lab: &Lab) -> Result<(Topology, Relay)> {
    module::ensure_loaded()?;
    let net = Topology::new(lab)?;
    let relay = Relay::open(&net.relay)?;
    relay.configure(PORTS, &LOCALS)?;
    Ok((net, relay))
}

impl Call {
    /// Sets a call up on a path.
    pub fn new(lab: &Lab, path: Path) -> Result<Self> {
        Self::with(lab, path, &session_on(path))
    }

    /// Sets a call up whose parties are those of a path and whose session is this one.
    pub fn with(lab: &Lab, path: Path, session: &Session) -> Result<Self> {
        let (net, relay) = idle_relay(lab)?;
        let caller = Party::new(&net.caller, path.caller)?;
        let callee = Party::new(&net.callee, path.callee)?;
        let id = relay.make(session)?;
        Ok(Self {
            id,
            relay,
            caller,
            callee,
            net,
        })
    }

    /// A socket that sends frames from the caller's device to the relay's.
    pub fn callers_device(&self) -> Result<RawSocket> {
        RawSocket::new(&self.net.caller, "wire", &self.net.relay, "west")
    }

    /// Packets of all streams and directions, in the session's order: RTP from a, RTP from b,
    /// RTCP from a, RTCP from b.
    pub fn counters(&self) -> Result<Vec<Counters>> {
        let state = self.relay.get(self.id)?;
        Ok(state
            .streams
            .into_iter()
            .flat_map(|(_, from_a, from_b)| [from_a, from_b])
            .collect())
    }
}

/// Waits until a capture has seen these payloads come from one address to another, unchanged, in
/// order, and nothing else on that way; the checksums must be right. Returns what was seen.
pub fn expect(
    capture: &Capture,
    from: SocketAddr,
    to: SocketAddr,
    payloads: &[Vec<u8>],
) -> Result<Vec<Datagram>> {
    let seen = capture.wait_for(payloads.len(), LIMIT, |one| {
        one.to == to && one.from == from
    })?;
    ensure!(
        seen.len() == payloads.len(),
        "{}: {} packets instead of {}",
        capture.name(),
        seen.len(),
        payloads.len()
    );
    for (number, (seen, sent)) in seen.iter().zip(payloads).enumerate() {
        ensure!(
            &seen.payload == sent,
            "{}: packet {number} differs: sent {sent:02x?}, seen {:02x?}",
            capture.name(),
            seen.payload
        );
    }
    let wrong = wrong_checksums(&seen);
    ensure!(
        wrong.is_empty(),
        "{}: wrong checksums: {wrong:#?}",
        capture.name()
    );
    Ok(seen)
}

/// Waits until a capture has seen these datagrams go from one hardware address to another, and
/// nothing else to where the first of them goes. Each frame must be what it is to be, to the last
/// byte.
pub fn expect_frames(
    capture: &Capture,
    (from, to): ([u8; 6], [u8; 6]),
    datagrams: &[Build],
) -> Result<()> {
    let Some(receiver) = datagrams.first().map(|one| one.to) else {
        return Ok(());
    };
    let seen = capture.pick(datagrams.len(), LIMIT, |frame| {
        let is_wanted = Datagram::parse(frame).is_some_and(|one| one.to == receiver);
        is_wanted.then(|| frame.bytes.clone())
    })?;
    for (number, (seen, wanted)) in seen.iter().zip(datagrams).enumerate() {
        let wanted = wanted.frame(from, to)?;
        ensure!(
            *seen == wanted,
            "{}: frame {number} differs: {seen:02x?} instead of {wanted:02x?}",
            capture.name()
        );
    }
    ensure!(
        seen.len() == datagrams.len(),
        "{}: {} frames instead of {}",
        capture.name(),
        seen.len(),
        datagrams.len()
    );
    Ok(())
}
