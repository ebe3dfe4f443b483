// SPDX-License-Identifier: GPL-2.0

//! The checksums and headers as the RFCs define them, computed anew over every byte. Written for
//! clarity, and on purpose in another way than what is tested.

use std::net::{Ipv4Addr, SocketAddrV4};

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
