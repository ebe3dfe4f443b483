// SPDX-License-Identifier: MIT OR Apache-2.0

//! Media: packets no two of which are alike, and the sockets they travel between.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use anyhow::{Context, Result};

use super::netns::Namespace;
use super::topology::udp;

/// UDP payload of an RTP packet with 20 ms of G.711: header and 160 samples.
pub const SIZE: usize = 172;

/// An RTP packet (RFC 3550, section 5.1) whose samples follow from its number.
pub fn rtp(source: u32, number: u16, size: usize) -> Vec<u8> {
    let mut packet = vec![0x80, 0];
    packet.extend_from_slice(&number.to_be_bytes());
    packet.extend_from_slice(&(u32::from(number) * 160).to_be_bytes());
    packet.extend_from_slice(&source.to_be_bytes());
    let samples = size.saturating_sub(packet.len());
    packet.extend((0..samples).map(|n| (n as u16).wrapping_mul(31).wrapping_add(number) as u8));
    packet
}

/// An RTCP sender report (RFC 3550, section 6.4.1) without report blocks.
pub fn rtcp(source: u32, number: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 200, 0, 6];
    packet.extend_from_slice(&source.to_be_bytes());
    packet.extend_from_slice(&[0; 8]);
    packet.extend_from_slice(&(u32::from(number) * 160).to_be_bytes());
    packet.extend_from_slice(&u32::from(number).to_be_bytes());
    packet.extend_from_slice(&(u32::from(number) * 160).to_be_bytes());
    packet
}

/// Where the RTCP of an RTP stream goes: one port above (RFC 3550, section 11).
pub fn rtcp_of(rtp: SocketAddr) -> SocketAddr {
    SocketAddr::new(rtp.ip(), rtp.port() + 1)
}

/// A number to know a party by: the last four bytes of its address.
fn source(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(address) => u32::from(address),
        IpAddr::V6(address) => u128::from(address) as u32,
    }
}

/// The media sockets of one party: RTP, and RTCP one port above.
pub struct Party {
    /// Identifies what it sends (SSRC).
    pub source: u32,
    /// RTP socket.
    pub rtp: UdpSocket,
    /// RTCP socket.
    pub rtcp: UdpSocket,
}

impl Party {
    /// Binds both sockets.
    pub fn new(namespace: &Namespace, address: SocketAddr) -> Result<Self> {
        Ok(Self {
            source: source(address.ip()),
            rtp: udp(namespace, address)?,
            rtcp: udp(namespace, rtcp_of(address))?,
        })
    }

    /// Sends RTP packets with these numbers and returns them.
    pub fn send_rtp(&self, to: SocketAddr, numbers: std::ops::Range<u16>) -> Result<Vec<Vec<u8>>> {
        send_all(
            &self.rtp,
            to,
            numbers.map(|number| rtp(self.source, number, SIZE)),
        )
    }

    /// Sends RTCP packets with these numbers and returns them.
    pub fn send_rtcp(&self, to: SocketAddr, numbers: std::ops::Range<u16>) -> Result<Vec<Vec<u8>>> {
        send_all(
            &self.rtcp,
            to,
            numbers.map(|number| rtcp(self.source, number)),
        )
    }
}

/// Sends packets one after another and returns them.
pub fn send_all(
    socket: &UdpSocket,
    to: SocketAddr,
    packets: impl IntoIterator<Item = Vec<u8>>,
) -> Result<Vec<Vec<u8>>> {
    packets
        .into_iter()
        .map(|packet| {
            socket
                .send_to(&packet, to)
                .with_context(|| format!("cannot send to {to}"))?;
            Ok(packet)
        })
        .collect()
}
