// SPDX-License-Identifier: MIT OR Apache-2.0

//! Packets as bytes: taken apart and put together with the `etherparse` crate, so that nothing the
//! module computes is checked with the module's own arithmetic.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, bail};
use etherparse::checksum::Sum16BitWords;
use etherparse::{
    IpDscp, IpEcn, IpHeaders, IpNumber, Ipv4Header, Ipv4HeaderSlice, Ipv6Extensions, Ipv6FlowLabel,
    Ipv6Header, Ipv6HeaderSlice, Ipv6RawExtHeader, NetSlice, PacketBuilder, SlicedPacket,
    TransportSlice, UdpSlice,
};

use super::capture::Frame;
use super::topology::Family;

/// Bytes of an Ethernet header.
const ETHERNET: usize = 14;

/// Bytes of a UDP header (RFC 768).
const UDP_HEADER: usize = 8;

/// What a captured UDP checksum was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// It fits the packet.
    Right,
    /// Zero: the sender left it out (RFC 768).
    None,
    /// The device was to fill it in, and the sum of the pseudo header it starts from is right.
    Partial,
    /// It does not fit.
    Wrong,
}

/// A UDP datagram, as captured.
#[derive(Clone, Debug)]
pub struct Datagram {
    /// Sender.
    pub from: SocketAddr,
    /// Receiver.
    pub to: SocketAddr,
    /// IPv4's time to live, IPv6's hop limit.
    pub ttl: u8,
    /// IPv4's type of service, IPv6's traffic class: DSCP and ECN.
    pub tos: u8,
    /// IPv6's flow label; zero in IPv4.
    pub flow_label: u32,
    /// Whether the IP header's checksum fits. IPv6 has none that could be wrong.
    pub ip_checksum_is_right: bool,
    /// What the UDP checksum was.
    pub checksum: Checksum,
    /// UDP payload.
    pub payload: Vec<u8>,
}

impl Datagram {
    /// Takes a frame apart; none when it is anything else than an unfragmented UDP datagram.
    pub fn parse(frame: &Frame) -> Option<Self> {
        let sliced = SlicedPacket::from_ethernet(&frame.bytes).ok()?;
        let Some(TransportSlice::Udp(udp)) = &sliced.transport else {
            return None;
        };
        let (from, to): (IpAddr, IpAddr);
        let (ttl, tos, flow_label, ip_checksum_is_right);
        match &sliced.net {
            Some(NetSlice::Ipv4(ip)) if !ip.header().is_fragmenting_payload() => {
                let header = ip.header().to_header();
                (from, to) = (header.source.into(), header.destination.into());
                ttl = header.time_to_live;
                tos = (header.dscp.value() << 2) | header.ecn.value();
                flow_label = 0;
                ip_checksum_is_right = header.calc_header_checksum() == header.header_checksum;
            }
            Some(NetSlice::Ipv6(ip)) if !ip.is_payload_fragmented() => {
                let header = ip.header().to_header();
                (from, to) = (header.source.into(), header.destination.into());
                ttl = header.hop_limit;
                tos = header.traffic_class;
                flow_label = header.flow_label.value();
                ip_checksum_is_right = true;
            }
            _ => return None,
        }
        Some(Self {
            from: SocketAddr::new(from, udp.source_port()),
            to: SocketAddr::new(to, udp.destination_port()),
            ttl,
            tos,
            flow_label,
            ip_checksum_is_right,
            checksum: checksum(udp, from, to, frame.partial)?,
            payload: udp.payload().to_vec(),
        })
    }
}

/// What the checksum of a captured datagram is; none when the addresses are of two families.
fn checksum(udp: &UdpSlice<'_>, from: IpAddr, to: IpAddr, partial: bool) -> Option<Checksum> {
    let header = udp.to_header();
    let (right, may_be_none) = match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let right = header.calc_checksum_ipv4_raw(from.octets(), to.octets(), udp.payload());
            (right.ok()?, true)
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let right = header.calc_checksum_ipv6_raw(from.octets(), to.octets(), udp.payload());
            (right.ok()?, false)
        }
        _ => return None,
    };
    Some(match udp.checksum() {
        found if partial && found == pseudo_header_sum(from, to, udp.length()) => Checksum::Partial,
        _ if partial => Checksum::Wrong,
        0 if may_be_none => Checksum::None,
        found if found == right => Checksum::Right,
        _ => Checksum::Wrong,
    })
}

/// What the checksum field holds while a device is still to fill it in: the sum over the pseudo
/// header, not complemented (include/linux/skbuff.h, CHECKSUM_PARTIAL).
pub fn pseudo_header_sum(from: IpAddr, to: IpAddr, length: u16) -> u16 {
    let complemented = [from, to]
        .into_iter()
        .fold(Sum16BitWords::new(), |mut sum, address| match address {
            IpAddr::V4(address) => sum.add_4bytes(address.octets()),
            IpAddr::V6(address) => sum.add_16bytes(address.octets()),
        })
        .add_2bytes([0, 17])
        .add_2bytes(length.to_be_bytes())
        .ones_complement();
    // The sum is kept in the machine's byte order.
    !complemented.to_be()
}

/// Offset of the UDP checksum in a frame without options or extension headers.
pub const fn udp_checksum_at(family: Family) -> usize {
    let header = match family {
        Family::Ipv4 => Ipv4Header::MIN_LEN,
        Family::Ipv6 => Ipv6Header::LEN,
    };
    ETHERNET + header + 6
}

/// A UDP datagram to be sent as raw bytes.
#[derive(Clone, Debug)]
pub struct Build {
    /// Sender.
    pub from: SocketAddr,
    /// Receiver.
    pub to: SocketAddr,
    /// IPv4's time to live, IPv6's hop limit.
    pub ttl: u8,
    /// IPv4's type of service, IPv6's traffic class: DSCP and ECN.
    pub tos: u8,
    /// IPv6's flow label, less than 2^20; IPv4 has none.
    pub flow_label: u32,
    /// IPv4's identification; IPv6 has none.
    pub identification: u16,
    /// Whether routers may not fragment it, which they never may in IPv6.
    pub dont_fragment: bool,
    /// Whether an IPv4 header has an option, and an IPv6 header an extension header (destination
    /// options), neither of which says anything.
    pub options: bool,
    /// UDP payload.
    pub payload: Vec<u8>,
}

impl Build {
    /// An ordinary datagram.
    pub fn new(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Self {
        Self {
            from,
            to,
            ttl: 64,
            tos: 0,
            flow_label: 0,
            identification: 0,
            dont_fragment: false,
            options: false,
            payload: payload.to_vec(),
        }
    }

    /// The frame that carries it, with valid checksums.
    pub fn frame(&self, from: [u8; 6], to: [u8; 6]) -> Result<Vec<u8>> {
        let builder = PacketBuilder::ethernet2(from, to)
            .ip(self.ip()?)
            .udp(self.from.port(), self.to.port());
        let mut frame = Vec::with_capacity(builder.size(self.payload.len()));
        builder
            .write(&mut frame, &self.payload)
            .context("cannot build a packet")?;
        Ok(frame)
    }

    /// A frame with the same IP header, and other bytes than UDP's behind it.
    pub fn frame_of(&self, from: [u8; 6], to: [u8; 6], bytes: &[u8]) -> Result<Vec<u8>> {
        let builder = PacketBuilder::ethernet2(from, to).ip(self.ip()?);
        let mut frame = Vec::with_capacity(builder.size(bytes.len()));
        builder
            .write(&mut frame, IpNumber::UDP, bytes)
            .context("cannot build a packet")?;
        Ok(frame)
    }

    /// The same frame while a device is still to compute its UDP checksum.
    pub fn partial_frame(&self, from: [u8; 6], to: [u8; 6]) -> Result<Vec<u8>> {
        let mut frame = self.frame(from, to)?;
        let length =
            u16::try_from(UDP_HEADER + self.payload.len()).context("a too long payload")?;
        let sum = pseudo_header_sum(self.from.ip(), self.to.ip(), length);
        let at = udp_checksum_at(Family::of(self.from.ip()));
        frame
            .get_mut(at..at + 2)
            .context("a frame without a UDP header")?
            .copy_from_slice(&sum.to_be_bytes());
        Ok(frame)
    }

    fn ip(&self) -> Result<IpHeaders> {
        match (self.from.ip(), self.to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let (from, to) = (from.octets(), to.octets());
                let mut header = Ipv4Header::new(0, self.ttl, IpNumber::UDP, from, to)
                    .context("a packet longer than IPv4 allows")?;
                header.dscp = IpDscp::try_new(self.tos >> 2).context("a strange DSCP")?;
                header.ecn = IpEcn::try_new(self.tos & 3).context("a strange ECN")?;
                header.identification = self.identification;
                header.dont_fragment = self.dont_fragment;
                if self.options {
                    // No operation, three times, and the end of the list (RFC 791 section 3.1).
                    header.options = [1, 1, 1, 0].into();
                }
                Ok(IpHeaders::Ipv4(header, Default::default()))
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let header = Ipv6Header {
                    traffic_class: self.tos,
                    flow_label: Ipv6FlowLabel::try_new(self.flow_label)
                        .context("a strange flow label")?,
                    hop_limit: self.ttl,
                    source: from.octets(),
                    destination: to.octets(),
                    ..Ipv6Header::default()
                };
                let mut extensions = Ipv6Extensions::default();
                if self.options {
                    // Padding of six bytes (RFC 8200 section 4.2).
                    extensions.destination_options = Some(
                        Ipv6RawExtHeader::new_raw(IpNumber::UDP, &[1, 4, 0, 0, 0, 0])
                            .context("strange options")?,
                    );
                }
                Ok(IpHeaders::Ipv6(header, extensions))
            }
            _ => bail!("from {} to {}, of another family", self.from, self.to),
        }
    }
}

/// What an ICMP error says, in the terms of both versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IcmpKind {
    /// Time exceeded in transit (RFC 792; RFC 4443 section 3.3).
    TimeExceeded,
    /// Fragmentation needed (RFC 1191), packet too big (RFC 4443 section 3.2).
    TooBig {
        /// What fits, in bytes.
        mtu: u32,
    },
    /// Nobody receives at the port (RFC 792; RFC 4443 section 3.1).
    PortUnreachable,
    /// Something else.
    Other {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
    },
}

/// An ICMP or ICMPv6 message about a datagram that did not get through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IcmpError {
    /// Who says it.
    pub from: IpAddr,
    /// What it says.
    pub kind: IcmpKind,
    /// Sender and receiver of the datagram it is about.
    pub about: (SocketAddr, SocketAddr),
}

impl IcmpError {
    /// Takes a frame apart; none when it is anything else, or its checksum is wrong.
    pub fn parse(frame: &Frame) -> Option<Self> {
        let sliced = SlicedPacket::from_ethernet(&frame.bytes).ok()?;
        match (&sliced.net, &sliced.transport) {
            (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Icmpv4(icmp))) => {
                let inner = Ipv4HeaderSlice::from_slice(icmp.payload()).ok()?;
                let [_, _, high, low] = icmp.bytes5to8();
                let kind = match (icmp.type_u8(), icmp.code_u8()) {
                    (11, 0) => IcmpKind::TimeExceeded,
                    (3, 3) => IcmpKind::PortUnreachable,
                    (3, 4) => IcmpKind::TooBig {
                        mtu: u16::from_be_bytes([high, low]).into(),
                    },
                    (kind, code) => IcmpKind::Other { kind, code },
                };
                let about = (inner.source_addr().into(), inner.destination_addr().into());
                let rest = icmp.payload().get(inner.slice().len()..)?;
                Self::new(ip.header().source_addr().into(), kind, about, rest)
            }
            (Some(NetSlice::Ipv6(ip)), Some(TransportSlice::Icmpv6(icmp))) => {
                let outer = ip.header();
                if !icmp.is_checksum_valid(outer.source(), outer.destination()) {
                    return None;
                }
                let inner = Ipv6HeaderSlice::from_slice(icmp.payload()).ok()?;
                let kind = match (icmp.type_u8(), icmp.code_u8()) {
                    (3, 0) => IcmpKind::TimeExceeded,
                    (1, 4) => IcmpKind::PortUnreachable,
                    (2, 0) => IcmpKind::TooBig {
                        mtu: u32::from_be_bytes(icmp.bytes5to8()),
                    },
                    // From here on it is not about a datagram at all.
                    (128.., _) => return None,
                    (kind, code) => IcmpKind::Other { kind, code },
                };
                let about = (inner.source_addr().into(), inner.destination_addr().into());
                let rest = icmp.payload().get(Ipv6Header::LEN..)?;
                Self::new(outer.source_addr().into(), kind, about, rest)
            }
            _ => None,
        }
    }

    /// `datagram` is what the message repeats of the datagram behind its IP header.
    fn new(from: IpAddr, kind: IcmpKind, about: (IpAddr, IpAddr), datagram: &[u8]) -> Option<Self> {
        let port = |at: usize| {
            Some(u16::from_be_bytes([
                *datagram.get(at)?,
                *datagram.get(at + 1)?,
            ]))
        };
        Some(Self {
            from,
            kind,
            about: (
                SocketAddr::new(about.0, port(0)?),
                SocketAddr::new(about.1, port(2)?),
            ),
        })
    }
}
