// SPDX-License-Identifier: MIT OR Apache-2.0

//! The ways through the relay that are compared.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Result;
use genl_proto::generated::{BULK_MAX, StreamKind, TIMEOUT_MAX_MS};
use serde::{Deserialize, Serialize};

use super::NAME;
use super::flows::{Ends, Flow, port, ports};
use super::network::{CALLEE, CALLER, EAST, Host, WEST};
use super::rtpengine::Rtpengine;
use super::userspace::Userspace;
use crate::guest::netns::Namespace;
use crate::guest::relay::{Asked, Endpoint, Relay, Session, Stream};
use crate::guest::topology::Family;
use crate::guest::{module, shell};
use crate::protocol::{SHARE, WORK};

/// Most calls a relay in a process is measured with.
const PROCESS_MOST: usize = 1_000;

/// A way through the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Path {
    /// The kernel routes the packets, and nothing else is there: what the others are compared with.
    IpForward,
    /// The same for IPv6.
    Ip6Forward,
    /// The module relays them, and measures how well they arrive.
    Lreproxy,
    /// The same without measuring: admission and counters only.
    LreproxyCounters,
    /// The module relays IPv6.
    LreproxyIpv6,
    /// The module makes IPv6 of IPv4.
    LreproxyIpv4ToIpv6,
    /// The module makes IPv4 of IPv6.
    LreproxyIpv6ToIpv4,
    /// The kernel routes them past the module, which has sessions but none for them.
    IpForwardBeside,
    /// The kernel routes them past a hook that is there already: an empty chain of an operator.
    RawChain,
    /// Past that hook and the module.
    RawChainBeside,
    /// The kernel routes and tracks them.
    Conntrack,
    /// nftables translates their addresses, both source and destination.
    NftNat,
    /// The same for the first packets of a flow; the others take nftables' flow table.
    NftFlowtable,
    /// The least a process can be relays them.
    Userspace,
    /// rtpengine's kernel module relays them.
    RtpengineKernel,
    /// rtpengine's daemon does.
    RtpengineUserspace,
}

impl Path {
    /// All of them, in the order in which they are counted.
    pub const ALL: [Self; 16] = [
        Self::IpForward,
        Self::Lreproxy,
        Self::LreproxyCounters,
        Self::Ip6Forward,
        Self::LreproxyIpv6,
        Self::LreproxyIpv4ToIpv6,
        Self::LreproxyIpv6ToIpv4,
        Self::IpForwardBeside,
        Self::RawChain,
        Self::RawChainBeside,
        Self::Conntrack,
        Self::NftNat,
        Self::NftFlowtable,
        Self::Userspace,
        Self::RtpengineKernel,
        Self::RtpengineUserspace,
    ];

    /// Those whose instructions are told by function.
    pub const PROFILED: [Self; 5] = [
        Self::IpForward,
        Self::Lreproxy,
        Self::LreproxyCounters,
        Self::LreproxyIpv6,
        Self::LreproxyIpv4ToIpv6,
    ];

    /// As tables and messages call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::IpForward => "ip_forward",
            Self::Ip6Forward => "ip6_forward",
            Self::Lreproxy => "lreproxy",
            Self::LreproxyCounters => "lreproxy, quality off",
            Self::LreproxyIpv6 => "lreproxy, IPv6",
            Self::LreproxyIpv4ToIpv6 => "lreproxy, IPv4 to IPv6",
            Self::LreproxyIpv6ToIpv4 => "lreproxy, IPv6 to IPv4",
            Self::IpForwardBeside => "ip_forward beside lreproxy",
            Self::RawChain => "ip_forward, raw chain",
            Self::RawChainBeside => "raw chain beside lreproxy",
            Self::Conntrack => "ip_forward, conntrack",
            Self::NftNat => "nft DNAT and SNAT",
            Self::NftFlowtable => "nft NAT, flowtable",
            Self::Userspace => "recvmmsg, sendmmsg",
            Self::RtpengineKernel => "rtpengine, kernel",
            Self::RtpengineUserspace => "rtpengine, userspace",
        }
    }

    /// Whether the module relays the packets.
    pub fn is_ours(self) -> bool {
        self.has_sessions() && self.translates()
    }

    /// Whether rtpengine relays the packets, which is not in the guest's own image.
    pub fn is_rtpengine(self) -> bool {
        matches!(self, Self::RtpengineKernel | Self::RtpengineUserspace)
    }

    /// Whether a process relays the packets, some time after they were sent.
    pub fn is_process(self) -> bool {
        matches!(self, Self::Userspace | Self::RtpengineUserspace)
    }

    /// Whether so many sessions are counted: rtpengine takes more time than all others to set ten
    /// thousand up, and each batch of a process is waited for.
    pub fn takes(self, sessions: usize) -> bool {
        !(self.is_process() || self.is_rtpengine()) || sessions <= PROCESS_MOST
    }

    /// The versions of IP packets arrive and leave with.
    pub fn families(self) -> (Family, Family) {
        match self {
            Self::Ip6Forward | Self::LreproxyIpv6 => (Family::Ipv6, Family::Ipv6),
            Self::LreproxyIpv4ToIpv6 => (Family::Ipv4, Family::Ipv6),
            Self::LreproxyIpv6ToIpv4 => (Family::Ipv6, Family::Ipv4),
            _ => (Family::Ipv4, Family::Ipv4),
        }
    }

    /// Plain forwarding of packets that arrive as these do.
    pub fn forwarding(self) -> Self {
        match self.families().0 {
            Family::Ipv4 => Self::IpForward,
            Family::Ipv6 => Self::Ip6Forward,
        }
    }

    /// Whether packets become longer, for which those of a network have room.
    pub fn lengthens(self) -> bool {
        self.families() == (Family::Ipv4, Family::Ipv6)
    }

    /// Whether packets leave with the IP header they arrived with, but for addresses and one hop;
    /// sockets and rtpengine make a new one.
    pub fn keeps_ip_header(self) -> bool {
        !(self.is_process() || self.is_rtpengine())
    }

    /// Whether routers may not fragment what leaves, by its IPv4 header. Nothing that enters says
    /// so, but IPv6 means it (RFC 7915 section 5.1).
    pub fn leaves_unfragmentable(self) -> bool {
        self == Self::LreproxyIpv6ToIpv4
    }

    /// Packets of a flow that go first, and are not counted: an endpoint measures its first packet
    /// in another way than the others, and a flow table takes a flow on with its second one.
    pub fn first_packets(self) -> usize {
        match self {
            // A relay in a process hands a flow to its kernel module with its first packet.
            Self::NftFlowtable | Self::RtpengineKernel => 2,
            _ => 1,
        }
    }

    /// Whether both parties only see the relay's addresses.
    fn translates(self) -> bool {
        !matches!(
            self,
            Self::IpForward
                | Self::Ip6Forward
                | Self::IpForwardBeside
                | Self::RawChain
                | Self::RawChainBeside
                | Self::Conntrack
        )
    }

    /// Whether the module has sessions; without, it is not loaded.
    fn has_sessions(self) -> bool {
        matches!(
            self,
            Self::Lreproxy
                | Self::LreproxyCounters
                | Self::LreproxyIpv6
                | Self::LreproxyIpv4ToIpv6
                | Self::LreproxyIpv6ToIpv4
                | Self::IpForwardBeside
                | Self::RawChainBeside
        )
    }

    /// Makes a namespace let this many flows through, and tells which.
    pub fn set_up(self, namespace: &Namespace, flows: usize) -> Result<SetUp> {
        if self.has_sessions() {
            module::ensure_loaded()?;
            self.set_sessions_up(namespace, flows)?;
        } else if module::is_loaded() {
            // Its hook is in every namespace.
            module::unload()?;
        }
        if self.is_rtpengine() {
            let log = PathBuf::from(SHARE)
                .join(WORK)
                .join(NAME)
                .join("rtpengine.log");
            let in_kernel = self == Self::RtpengineKernel;
            let rtpengine = Rtpengine::start(namespace, in_kernel, &log)?;
            return Ok(SetUp {
                flows: rtpengine.calls(flows)?,
                process: Some(Process::Rtpengine(rtpengine)),
            });
        }
        if self == Self::Userspace {
            let flows = self.flows(flows)?;
            let userspace = Userspace::start(namespace, &flows)?;
            return Ok(SetUp {
                flows,
                process: Some(Process::Userspace(userspace)),
            });
        }
        let rules = match self {
            Self::RawChain | Self::RawChainBeside => RAW_CHAIN.to_owned(),
            Self::Conntrack => TRACK.to_owned(),
            Self::NftNat => nat(),
            Self::NftFlowtable => nat() + FLOWTABLE,
            _ => String::new(),
        };
        if !rules.is_empty() {
            shell::run_with_input(namespace.command("nft").args(["-f", "-"]), &rules)?;
        }
        if self.is_ours() {
            // What gets through was relayed.
            return self.without_process(flows);
        }
        self.families().0.set_forwarding(namespace, true)?;
        self.without_process(flows)
    }

    fn without_process(self, flows: usize) -> Result<SetUp> {
        Ok(SetUp {
            flows: self.flows(flows)?,
            process: None,
        })
    }

    fn flows(self, flows: usize) -> Result<Vec<Flow>> {
        let (arriving, leaving) = self.families();
        let (receiver, sender) = if self.translates() {
            (WEST, EAST)
        } else {
            (CALLEE, CALLER)
        };
        let flow = |number| {
            Ok(Flow {
                entering: ends(arriving, CALLER, receiver, number)?,
                leaving: ends(leaving, sender, CALLEE, number)?,
            })
        };
        (0..flows).map(flow).collect()
    }

    fn set_sessions_up(self, namespace: &Namespace, flows: usize) -> Result<()> {
        let (arriving, leaving) = self.families();
        let relay = Relay::open(namespace)?;
        relay.configure(ports(flows)?, &[WEST.of(arriving), EAST.of(leaving)])?;
        relay.measure(self != Self::LreproxyCounters)?;
        let sessions = (0..flows)
            .map(|flow| self.session(flow))
            .collect::<Result<Vec<_>>>()?;
        for some in sessions.chunks(BULK_MAX as usize) {
            relay.make_many(some)?;
        }
        Ok(())
    }

    fn session(self, flow: usize) -> Result<Session> {
        let (arriving, leaving) = self.families();
        let port = port(flow)?;
        let endpoint = |family, local: Host, remote: Host| Endpoint {
            local: SocketAddr::new(local.of(family), port),
            remote: Some(SocketAddr::new(remote.of(family), port)),
            asked: Asked::default(),
        };
        Ok(Session {
            label: format!("flow {flow}").into_bytes(),
            owner: 0,
            timeout_ms: TIMEOUT_MAX_MS,
            streams: vec![Stream {
                kind: StreamKind::Rtp,
                a: endpoint(arriving, WEST, CALLER),
                b: endpoint(leaving, EAST, CALLEE),
            }],
            replace: false,
        })
    }
}

/// A path that is ready.
pub struct SetUp {
    /// What gets through.
    pub flows: Vec<Flow>,
    /// Who lets it through, if that is a process.
    pub process: Option<Process>,
}

/// A process that relays, or has set up who does. Dropping it ends it.
pub enum Process {
    /// rtpengine's daemon.
    Rtpengine(Rtpengine),
    /// A thread of ours.
    Userspace(#[expect(dead_code, reason = "it is only held")] Userspace),
}

/// Both ports of a flow are the same.
fn ends(family: Family, sender: Host, receiver: Host, flow: usize) -> Result<Ends> {
    let port = port(flow)?;
    Ok(Ends {
        from: SocketAddr::new(sender.of(family), port),
        to: SocketAddr::new(receiver.of(family), port),
    })
}

const RAW_CHAIN: &str = "table ip operator {
    chain in {
        type filter hook prerouting priority raw
    }
}
";

const TRACK: &str = "table ip track {
    chain forward {
        type filter hook forward priority filter
        ct state invalid drop
    }
}
";

/// Ports stay as they are.
fn nat() -> String {
    let [callee, east, west] = [CALLEE, EAST, WEST].map(|host| host.of(Family::Ipv4));
    format!(
        "table ip relay {{
            chain in {{
                type nat hook prerouting priority dstnat
                ip daddr {west} meta l4proto udp dnat to {callee}
            }}
            chain out {{
                type nat hook postrouting priority srcnat
                oifname east meta l4proto udp snat to {east}
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
