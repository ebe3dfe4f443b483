// SPDX-License-Identifier: MIT OR Apache-2.0

//! The ways through the relay that are compared.

use std::net::{IpAddr, SocketAddr};

use anyhow::Result;
use genl_proto::generated::{BULK_MAX, StreamKind, TIMEOUT_MAX_MS};
use serde::{Deserialize, Serialize};

use super::flows::{Ends, port, ports};
use crate::guest::netns::Namespace;
use crate::guest::relay::{Asked, Endpoint, Relay, Session, Stream};
use crate::guest::topology::{CALLEE, CALLER, EAST, WEST};
use crate::guest::{module, shell};

/// A way through the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Path {
    /// The kernel routes the packets, and nothing else is there: what all others are compared with.
    IpForward,
    /// The module relays them.
    Lreproxy,
    /// The kernel routes them past the module, which has sessions but none for them.
    IpForwardBeside,
    /// The kernel routes and tracks them.
    Conntrack,
    /// nftables translates their addresses, both source and destination.
    NftNat,
    /// The same for the first packets of a flow; the others take nftables' flow table.
    NftFlowtable,
}

impl Path {
    /// All of them, in the order in which they are counted.
    pub const ALL: [Self; 6] = [
        Self::IpForward,
        Self::Lreproxy,
        Self::IpForwardBeside,
        Self::Conntrack,
        Self::NftNat,
        Self::NftFlowtable,
    ];

    /// Those whose instructions are told by function.
    pub const PROFILED: [Self; 2] = [Self::IpForward, Self::Lreproxy];

    /// As tables and messages call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::IpForward => "ip_forward",
            Self::Lreproxy => "lreproxy",
            Self::IpForwardBeside => "ip_forward beside lreproxy",
            Self::Conntrack => "ip_forward, conntrack",
            Self::NftNat => "nft DNAT and SNAT",
            Self::NftFlowtable => "nft NAT, flowtable",
        }
    }

    /// Sender and receiver of a flow's packets when they enter the relay.
    pub fn entering(self, flow: usize) -> Result<Ends> {
        let receiver = if self.translates() { WEST } else { CALLEE };
        ends(CALLER, receiver, flow)
    }

    /// The same when they leave it.
    pub fn leaving(self, flow: usize) -> Result<Ends> {
        let sender = if self.translates() { EAST } else { CALLER };
        ends(sender, CALLEE, flow)
    }

    /// Whether both parties only see the relay's addresses.
    fn translates(self) -> bool {
        match self {
            Self::IpForward | Self::IpForwardBeside | Self::Conntrack => false,
            Self::Lreproxy | Self::NftNat | Self::NftFlowtable => true,
        }
    }

    /// Makes a namespace let this many flows through.
    pub fn set_up(self, namespace: &Namespace, flows: usize) -> Result<()> {
        match self {
            Self::Lreproxy | Self::IpForwardBeside => {
                module::ensure_loaded()?;
                set_sessions_up(namespace, flows)?;
            }
            // Its hook is in every namespace.
            _ if module::is_loaded() => module::unload()?,
            _ => {}
        }
        let rules = match self {
            Self::Lreproxy => return Ok(()),
            Self::IpForward | Self::IpForwardBeside => String::new(),
            Self::Conntrack => TRACK.to_owned(),
            Self::NftNat => nat(),
            Self::NftFlowtable => nat() + FLOWTABLE,
        };
        if !rules.is_empty() {
            shell::run_with_input(namespace.command("nft").args(["-f", "-"]), &rules)?;
        }
        namespace.set_sysctl("net/ipv4/ip_forward", "1")
    }
}

/// Both ports of a flow are the same.
fn ends(sender: IpAddr, receiver: IpAddr, flow: usize) -> Result<Ends> {
    let port = port(flow)?;
    Ok(Ends {
        from: SocketAddr::new(sender, port),
        to: SocketAddr::new(receiver, port),
    })
}

const TRACK: &str = "table ip track {
    chain forward {
        type filter hook forward priority filter
        ct state invalid drop
    }
}
";

/// Ports stay as they are.
fn nat() -> String {
    format!(
        "table ip relay {{
            chain in {{
                type nat hook prerouting priority dstnat
                ip daddr {WEST} meta l4proto udp dnat to {CALLEE}
            }}
            chain out {{
                type nat hook postrouting priority srcnat
                oifname east meta l4proto udp snat to {EAST}
            }}
        }}
        "
    )
}

const FLOWTABLE: &str = "table ip fast {
    flowtable media {
        hook ingress priority filter
        devices = { west, east }
    }
    chain forward {
        type filter hook forward priority filter
        meta l4proto udp flow add @media
    }
}
";

fn set_sessions_up(namespace: &Namespace, flows: usize) -> Result<()> {
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
        local: SocketAddr::new(local, port),
        remote: Some(SocketAddr::new(remote, port)),
        asked: Asked::default(),
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
