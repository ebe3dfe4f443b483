// SPDX-License-Identifier: MIT OR Apache-2.0

//! The ways through the relay that are compared.

use std::net::SocketAddrV4;

use anyhow::Result;
use genl_proto::generated::{BULK_MAX, StreamKind, TIMEOUT_MAX_MS};
use serde::{Deserialize, Serialize};

use super::flows::{Ends, port, ports};
use crate::guest::module;
use crate::guest::netns::Namespace;
use crate::guest::relay::{Endpoint, Relay, Session, Stream};
use crate::guest::topology::{CALLEE, CALLER, EAST, WEST};

/// A way through the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Path {
    /// The kernel routes the packets, and nothing else is loaded: what all others are compared
    /// with.
    #[serde(rename = "ip_forward")]
    Forward,
    /// The module relays them.
    #[serde(rename = "lreproxy")]
    Relay,
}

impl Path {
    /// All of them, in the order in which they are counted: plain forwarding before the module is
    /// loaded.
    pub const ALL: [Self; 2] = [Self::Forward, Self::Relay];

    /// As tables and messages call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Forward => "ip_forward",
            Self::Relay => "lreproxy",
        }
    }

    /// Sender and receiver of a flow's packets when they enter the relay.
    pub fn entering(self, flow: usize) -> Result<Ends> {
        let port = port(flow)?;
        let receiver = match self {
            Self::Forward => CALLEE,
            Self::Relay => WEST,
        };
        Ok(Ends {
            from: SocketAddrV4::new(CALLER, port),
            to: SocketAddrV4::new(receiver, port),
        })
    }

    /// The same when they leave it.
    pub fn leaving(self, flow: usize) -> Result<Ends> {
        let port = port(flow)?;
        let sender = match self {
            Self::Forward => CALLER,
            Self::Relay => EAST,
        };
        Ok(Ends {
            from: SocketAddrV4::new(sender, port),
            to: SocketAddrV4::new(CALLEE, port),
        })
    }

    /// Makes a namespace let this many flows through.
    pub fn set_up(self, namespace: &Namespace, flows: usize) -> Result<()> {
        match self {
            Self::Forward => namespace.set_sysctl("net/ipv4/ip_forward", "1"),
            Self::Relay => set_relay_up(namespace, flows),
        }
    }
}

fn set_relay_up(namespace: &Namespace, flows: usize) -> Result<()> {
    module::ensure_loaded()?;
    let relay = Relay::open(namespace)?;
    relay.configure(ports(flows)?, &[WEST, EAST])?;
    let sessions = (0..flows).map(session).collect::<Result<Vec<_>>>()?;
    for some in sessions.chunks(BULK_MAX as usize) {
        relay.make_many(some)?;
    }
    Ok(())
}

fn session(flow: usize) -> Result<Session> {
    let port = port(flow)?;
    let endpoint = |local, remote| Endpoint {
        local: SocketAddrV4::new(local, port),
        remote: Some(SocketAddrV4::new(remote, port)),
    };
    Ok(Session {
        label: format!("flow {flow}").into_bytes(),
        owner: 0,
        timeout_ms: TIMEOUT_MAX_MS,
        streams: vec![Stream {
            kind: StreamKind::Rtp,
            a: endpoint(WEST, CALLER),
            b: endpoint(EAST, CALLEE),
        }],
        replace: false,
    })
}
