// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0

//! The checksums and headers as the RFCs define them, computed anew over every byte. Written for
//! clarity, and on purpose in another way than what is tested.

use std::net::{Ipv4Addr, SocketAddrV4, SocketAddrV6};

/// RFC 1071 section 1: 16-bit words in network order, an odd byte padded with zero, the sum's
/// carries added back.
pub fn sum(bytes: &[u8]) -> u16 {
    let mut sum = 0_u64;
    for (at, byte) in bytes.iter().enumerate() {
        sum += u64::from(*byte) << if at % 2 == 0 { 8 } else { 0 };
    }
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}

/// RFC 791 section 3.1: the checksum of a header, taking its field for zero.
pub fn ip_checksum(header: &[u8]) -> u16 {
    let mut header = header.to_vec();
    header[10..12].fill(0);
    !sum(&header)
}

/// RFC 768: addresses, zero, protocol, UDP length.
pub fn pseudo_header(packet: &[u8]) -> Vec<u8> {
    let mut bytes = packet[12..20].to_vec();
    bytes.extend([0, 17]);
    bytes.extend(&packet[24..26]);
    bytes
}

/// RFC 768: the checksum of the datagram, taking its field for zero. Zero is sent as all ones.
pub fn udp_checksum(packet: &[u8]) -> u16 {
    let length = usize::from(u16::from_be_bytes([packet[24], packet[25]]));
    let mut bytes = pseudo_header(packet);
    bytes.extend(&packet[20..20 + length]);
    bytes[12 + 6..12 + 8].fill(0);
    match !sum(&bytes) {
        0 => 0xffff,
        checksum => checksum,
    }
}

/// What a sender that leaves the checksum to its device writes: the pseudo header's sum
/// (`CHECKSUM_PARTIAL` of `include/linux/skbuff.h`).
pub fn partial_checksum(packet: &[u8]) -> u16 {
    sum(&pseudo_header(packet))
}

/// What the device then makes of it: it sums the datagram as it is, the field included.
pub fn completed(packet: &[u8]) -> u16 {
    let length = usize::from(u16::from_be_bytes([packet[24], packet[25]]));
    match !sum(&packet[20..20 + length]) {
        0 => 0xffff,
        checksum => checksum,
    }
}

/// Who sends, and to whom.
pub type Flow = (SocketAddrV4, SocketAddrV4);

/// A packet as its sender makes it, with both checksums.
pub fn packet((source, destination): Flow, ttl: u8, id: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x45, 0xb8];
    bytes.extend((28 + payload.len() as u16).to_be_bytes());
    bytes.extend(id.to_be_bytes());
    bytes.extend([0x40, 0, ttl, 17, 0, 0]);
    bytes.extend(source.ip().octets());
    bytes.extend(destination.ip().octets());
    bytes.extend(source.port().to_be_bytes());
    bytes.extend(destination.port().to_be_bytes());
    bytes.extend((8 + payload.len() as u16).to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend(payload);
    set_ip_checksum(&mut bytes);
    let checksum = udp_checksum(&bytes);
    set_udp_checksum(&mut bytes, checksum);
    bytes
}

/// What the relay is to make of a packet: everything but the UDP checksum, which is left alone.
pub fn forwarded(packet: &[u8], (source, destination): Flow) -> Vec<u8> {
    let mut bytes = packet.to_vec();
    bytes[8] -= 1;
    bytes[12..16].copy_from_slice(&source.ip().octets());
    bytes[16..20].copy_from_slice(&destination.ip().octets());
    bytes[20..22].copy_from_slice(&source.port().to_be_bytes());
    bytes[22..24].copy_from_slice(&destination.port().to_be_bytes());
    set_ip_checksum(&mut bytes);
    bytes
}

/// Makes the IPv4 header's checksum right.
pub fn set_ip_checksum(packet: &mut [u8]) {
    let checksum = ip_checksum(&packet[..20]);
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
}

/// Writes the field of the UDP checksum.
pub fn set_udp_checksum(packet: &mut [u8], checksum: u16) {
    packet[26..28].copy_from_slice(&checksum.to_be_bytes());
}

/// Reads the field of the UDP checksum.
pub fn get_udp_checksum(packet: &[u8]) -> u16 {
    u16::from_be_bytes([packet[26], packet[27]])
}

/// Reads the field of the IPv4 header's checksum.
pub fn get_ip_checksum(packet: &[u8]) -> u16 {
    u16::from_be_bytes([packet[10], packet[11]])
}

/// An address and a port.
pub fn at(address: [u8; 4], port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::from(address), port)
}

/// Who sends over IPv6, and to whom.
pub type Flow6 = (SocketAddrV6, SocketAddrV6);

/// RFC 8200 section 8.1: addresses, 32 bits of length, 24 of zero, next header.
pub fn pseudo_header6(packet: &[u8]) -> Vec<u8> {
    let mut bytes = packet[8..40].to_vec();
    bytes.extend([0, 0]);
    bytes.extend(&packet[44..46]);
    bytes.extend([0, 0, 0, 17]);
    bytes
}

/// RFC 8200 section 8.1: the checksum of the datagram, taking its field for zero. Zero is sent as
/// all ones.
pub fn udp_checksum6(packet: &[u8]) -> u16 {
    let length = usize::from(u16::from_be_bytes([packet[44], packet[45]]));
    let mut bytes = pseudo_header6(packet);
    bytes.extend(&packet[40..40 + length]);
    bytes[40 + 6..40 + 8].fill(0);
    match !sum(&bytes) {
        0 => 0xffff,
        checksum => checksum,
    }
}

/// As [`partial_checksum`] for IPv6.
pub fn partial_checksum6(packet: &[u8]) -> u16 {
    sum(&pseudo_header6(packet))
}

/// As [`completed`] for IPv6.
pub fn completed6(packet: &[u8]) -> u16 {
    let length = usize::from(u16::from_be_bytes([packet[44], packet[45]]));
    match !sum(&packet[40..40 + length]) {
        0 => 0xffff,
        checksum => checksum,
    }
}

/// An IPv6 packet as its sender makes it, but for the flow label.
pub fn packet6((source, destination): Flow6, hops: u8, class: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x60 | (class >> 4), class << 4, 0, 0];
    bytes.extend((8 + payload.len() as u16).to_be_bytes());
    bytes.extend([17, hops]);
    bytes.extend(source.ip().octets());
    bytes.extend(destination.ip().octets());
    bytes.extend(source.port().to_be_bytes());
    bytes.extend(destination.port().to_be_bytes());
    bytes.extend((8 + payload.len() as u16).to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend(payload);
    let checksum = udp_checksum6(&bytes);
    set_udp_checksum6(&mut bytes, checksum);
    bytes
}

/// Writes the field of the UDP checksum behind an IPv6 header.
pub fn set_udp_checksum6(packet: &mut [u8], checksum: u16) {
    packet[46..48].copy_from_slice(&checksum.to_be_bytes());
}

/// Reads the field of the UDP checksum behind an IPv6 header.
pub fn get_udp_checksum6(packet: &[u8]) -> u16 {
    u16::from_be_bytes([packet[46], packet[47]])
}

/// An IPv6 address and a port.
pub fn at6(address: [u8; 16], port: u16) -> SocketAddrV6 {
    SocketAddrV6::new(address.into(), port, 0, 0)
}
