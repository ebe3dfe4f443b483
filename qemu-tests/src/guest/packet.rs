// SPDX-License-Identifier: MIT OR Apache-2.0

//! Packets as bytes: taken apart and put together with the `etherparse` crate, so that nothing the
//! module computes is checked with the module's own arithmetic.

use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::{Context, Result};
use etherparse::checksum::Sum16BitWords;
use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};

use super::capture::Frame;

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

/// A UDP datagram over IPv4, as captured.
#[derive(Clone, Debug)]
pub struct Datagram {
    /// Sender.
    pub from: SocketAddrV4,
    /// Receiver.
    pub to: SocketAddrV4,
    /// Time to live.
    pub ttl: u8,
    /// Whether the IPv4 header's checksum fits.
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
        let Some(NetSlice::Ipv4(ip)) = &sliced.net else {
            return None;
        };
        let Some(TransportSlice::Udp(udp)) = &sliced.transport else {
            return None;
        };
        let header = ip.header().to_header();
        if header.is_fragmenting_payload() {
            return None;
        }
        let right = udp.to_header().with_ipv4_checksum(&header, udp.payload())?;
        let checksum = match udp.checksum() {
            found if frame.partial => {
                if found == pseudo_header_sum(header.source, header.destination, udp.length()) {
                    Checksum::Partial
                } else {
                    Checksum::Wrong
                }
            }
            0 => Checksum::None,
            found if found == right => Checksum::Right,
            _ => Checksum::Wrong,
        };
        Some(Self {
            from: SocketAddrV4::new(header.source.into(), udp.source_port()),
            to: SocketAddrV4::new(header.destination.into(), udp.destination_port()),
            ttl: header.time_to_live,
            ip_checksum_is_right: header.calc_header_checksum() == header.header_checksum,
            checksum,
            payload: udp.payload().to_vec(),
        })
    }
}

/// The checksum a UDP header should carry.
trait WithChecksum {
    fn with_ipv4_checksum(&self, ip: &etherparse::Ipv4Header, payload: &[u8]) -> Option<u16>;
}

impl WithChecksum for etherparse::UdpHeader {
    fn with_ipv4_checksum(&self, ip: &etherparse::Ipv4Header, payload: &[u8]) -> Option<u16> {
        self.calc_checksum_ipv4(ip, payload).ok()
    }
}

/// What the checksum field holds while a device is still to fill it in: the sum over the pseudo
/// header, not complemented (include/linux/skbuff.h, CHECKSUM_PARTIAL).
pub fn pseudo_header_sum(from: [u8; 4], to: [u8; 4], length: u16) -> u16 {
    let complemented = Sum16BitWords::new()
        .add_4bytes(from)
        .add_4bytes(to)
        .add_2bytes([0, 17])
        .add_2bytes(length.to_be_bytes())
        .ones_complement();
    // The sum is kept in the machine's byte order.
    !complemented.to_be()
}

/// A UDP datagram to be sent as raw bytes.
#[derive(Clone, Debug)]
pub struct Build {
    /// Sender.
    pub from: SocketAddrV4,
    /// Receiver.
    pub to: SocketAddrV4,
    /// Time to live.
    pub ttl: u8,
    /// Whether routers may not fragment it.
    pub dont_fragment: bool,
    /// UDP payload.
    pub payload: Vec<u8>,
}

impl Build {
    /// An ordinary datagram.
    pub fn new(from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) -> Self {
        Self {
            from,
            to,
            ttl: 64,
            dont_fragment: false,
            payload: payload.to_vec(),
        }
    }

    /// The frame that carries it, with valid checksums.
    pub fn frame(&self, from: [u8; 6], to: [u8; 6]) -> Result<Vec<u8>> {
        let mut header = etherparse::Ipv4Header::new(
            0,
            self.ttl,
            etherparse::IpNumber::UDP,
            self.from.ip().octets(),
            self.to.ip().octets(),
        )
        .context("a packet longer than IPv4 allows")?;
        header.dont_fragment = self.dont_fragment;
        let builder = PacketBuilder::ethernet2(from, to)
            .ip(etherparse::IpHeaders::Ipv4(
                header,
                etherparse::Ipv4Extensions::default(),
            ))
            .udp(self.from.port(), self.to.port());
        let mut frame = Vec::with_capacity(builder.size(self.payload.len()));
        builder
            .write(&mut frame, &self.payload)
            .context("cannot build a packet")?;
        Ok(frame)
    }
}

/// Offset of the UDP checksum in a frame without IP options.
pub const UDP_CHECKSUM_AT: usize = 14 + 20 + 6;

/// An ICMP message about a datagram that did not get through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IcmpError {
    /// Who says it.
    pub from: Ipv4Addr,
    /// ICMP type (RFC 792).
    pub kind: u8,
    /// ICMP code.
    pub code: u8,
    /// Next-hop MTU of a Fragmentation Needed message (RFC 1191), zero in others.
    pub mtu: u16,
    /// Sender and receiver of the datagram it is about.
    pub about: (SocketAddrV4, SocketAddrV4),
}

impl IcmpError {
    /// Takes a frame apart; none when it is anything else.
    pub fn parse(frame: &Frame) -> Option<Self> {
        let sliced = SlicedPacket::from_ethernet(&frame.bytes).ok()?;
        let Some(NetSlice::Ipv4(ip)) = &sliced.net else {
            return None;
        };
        let Some(TransportSlice::Icmpv4(icmp)) = &sliced.transport else {
            return None;
        };
        let bytes = icmp.slice();
        let inner = bytes.get(8..)?;
        let (header, rest) = etherparse::Ipv4HeaderSlice::from_slice(inner)
            .ok()
            .and_then(|header| Some((header.to_header(), inner.get(header.slice().len()..)?)))?;
        let port = |at: usize| Some(u16::from_be_bytes([*rest.get(at)?, *rest.get(at + 1)?]));
        Some(Self {
            from: ip.header().source_addr(),
            kind: *bytes.first()?,
            code: *bytes.get(1)?,
            mtu: u16::from_be_bytes([*bytes.get(6)?, *bytes.get(7)?]),
            about: (
                SocketAddrV4::new(header.source.into(), port(0)?),
                SocketAddrV4::new(header.destination.into(), port(2)?),
            ),
        })
    }
}
