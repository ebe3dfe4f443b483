// SPDX-License-Identifier: MIT OR Apache-2.0

//! A call, programmed into the module by the test itself.
//!
//! ```text
//!   caller                        relay                           callee
//!   10.1.0.2:40000  <->  10.1.0.1:20000 | 10.2.0.1:20002  <->  10.2.0.2:41000   RTP
//!   10.1.0.2:40001  <->  10.1.0.1:20001 | 10.2.0.1:20003  <->  10.2.0.2:41001   RTCP
//!                             endpoint a  endpoint b
//! ```

use std::net::SocketAddrV4;

use anyhow::{Result, ensure};
use genl_proto::generated::StreamKind;

use crate::guest::capture::{Capture, wrong_checksums};
use crate::guest::lab::Lab;
use crate::guest::module;
use crate::guest::packet::Datagram;
use crate::guest::relay::{Counters, Endpoint, Relay, Session, Stream};
use crate::guest::rtp::Party;
pub use crate::guest::rtp::rtcp_of;
use crate::guest::topology::{CALLEE, CALLER, EAST, Topology, WEST};
use crate::guest::wait::LIMIT;

/// The relay's port range.
pub const PORTS: (u16, u16) = (20_000, 20_999);

/// Where the caller receives RTP.
pub const CALLER_RTP: SocketAddrV4 = SocketAddrV4::new(CALLER, 40_000);
/// Where the callee receives RTP.
pub const CALLEE_RTP: SocketAddrV4 = SocketAddrV4::new(CALLEE, 41_000);
/// Where the relay receives RTP of the caller.
pub const WEST_RTP: SocketAddrV4 = SocketAddrV4::new(WEST, 20_000);
/// Where the relay receives RTP of the callee.
pub const EAST_RTP: SocketAddrV4 = SocketAddrV4::new(EAST, 20_002);

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
    a: (SocketAddrV4, Option<SocketAddrV4>),
    b: (SocketAddrV4, Option<SocketAddrV4>),
) -> Vec<Stream> {
    let rtp = |(local, remote)| Endpoint { local, remote };
    let rtcp = |(local, remote): (SocketAddrV4, Option<SocketAddrV4>)| Endpoint {
        local: rtcp_of(local),
        remote: remote.map(rtcp_of),
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

/// The session of the call drawn above.
pub fn session() -> Session {
    Session {
        label: b"call@caller".to_vec(),
        owner: 7,
        timeout_ms: 60_000,
        streams: streams((WEST_RTP, Some(CALLER_RTP)), (EAST_RTP, Some(CALLEE_RTP))),
        replace: false,
    }
}

/// A network with the module in it, configured, without any session.
pub fn idle_relay(lab: &Lab) -> Result<(Topology, Relay)> {
    module::ensure_loaded()?;
    let net = Topology::new(lab)?;
    let relay = Relay::open(&net.relay)?;
    relay.configure(PORTS, &[WEST, EAST])?;
    Ok((net, relay))
}

impl Call {
    /// Sets the call drawn above up.
    pub fn new(lab: &Lab) -> Result<Self> {
        Self::with(lab, &session())
    }

    /// Sets a call up whose session is this one.
    pub fn with(lab: &Lab, session: &Session) -> Result<Self> {
        let (net, relay) = idle_relay(lab)?;
        let caller = Party::new(&net.caller, CALLER_RTP)?;
        let callee = Party::new(&net.callee, CALLEE_RTP)?;
        let id = relay.make(session)?;
        Ok(Self {
            id,
            relay,
            caller,
            callee,
            net,
        })
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
    from: SocketAddrV4,
    to: SocketAddrV4,
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
