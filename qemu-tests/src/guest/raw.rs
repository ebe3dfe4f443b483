// SPDX-License-Identifier: MIT OR Apache-2.0

//! Sending what an ordinary socket would not send.

use std::fs::{self, File};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};

use anyhow::{Context, Result, ensure};
use nix::libc;
use nix::sys::socket::{MsgFlags, send};

use super::capture::set_packet_option;
use super::netns::Namespace;
use super::observer::packet_socket;
use super::packet::Build;

/// linux/if_packet.h; the libc crate does not have it.
const PACKET_VNET_HDR: libc::c_int = 15;

/// A packet socket that sends whole frames through one device.
pub struct RawSocket {
    socket: OwnedFd,
    from: [u8; 6],
    to: [u8; 6],
}

impl RawSocket {
    /// Sends through a device of one namespace to the device of another it is connected with.
    pub fn new(
        namespace: &Namespace,
        device: &str,
        peer_namespace: &Namespace,
        peer: &str,
    ) -> Result<Self> {
        let socket = packet_socket(namespace, device, 0)?;
        Ok(Self {
            socket,
            from: hardware_address(namespace, device)?,
            to: hardware_address(peer_namespace, peer)?,
        })
    }

    /// The frame that carries a datagram from one device to the other.
    pub fn frame(&self, datagram: &Build) -> Result<Vec<u8>> {
        datagram.frame(self.from, self.to)
    }

    /// The same while a device is still to compute its UDP checksum.
    pub fn partial_frame(&self, datagram: &Build) -> Result<Vec<u8>> {
        datagram.partial_frame(self.from, self.to)
    }

    /// A frame with the same IP header, and other bytes than UDP's behind it.
    pub fn frame_of(&self, datagram: &Build, bytes: &[u8]) -> Result<Vec<u8>> {
        datagram.frame_of(self.from, self.to, bytes)
    }

    /// Lets frames be sent that leave work to the device.
    pub fn accept_offload(&self) -> Result<()> {
        set_packet_option(&self.socket, PACKET_VNET_HDR)
    }

    /// Sends a frame that leaves work to the device, or lies in pages.
    pub fn send_offloaded(&self, offload: Offload, frame: &[u8]) -> Result<()> {
        self.send(&[&offload.header(frame), frame].concat())
    }

    /// Sends a frame.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        let sent = send(self.socket.as_raw_fd(), frame, MsgFlags::empty())
            .context("cannot send a frame")?;
        ensure!(
            sent == frame.len(),
            "only {sent} bytes of a frame were sent"
        );
        Ok(())
    }
}

/// What a sender leaves to the device, and where the packet lies: `struct virtio_net_hdr` of
/// linux/virtio_net.h.
#[derive(Clone, Copy, Debug)]
pub struct Offload {
    /// Whether the device computes the UDP checksum.
    pub checksum: bool,
    /// Kind of segmentation.
    pub kind: u8,
    /// Payload bytes of each segment.
    pub segment_size: u16,
    /// Whether as much of the packet lies in pages as the kernel lets: what is behind its headers,
    /// in a frame that is longer than a page.
    pub in_pages: bool,
}

impl Offload {
    /// No segments.
    pub fn none() -> Self {
        Self {
            checksum: false,
            kind: 0,
            segment_size: 0,
            in_pages: false,
        }
    }

    /// UDP segments of this size (VIRTIO_NET_HDR_GSO_UDP_L4).
    pub fn udp(segment_size: u16) -> Self {
        Self {
            checksum: true,
            kind: 5,
            segment_size,
            in_pages: true,
        }
    }

    fn header(self, frame: &[u8]) -> [u8; 10] {
        // A packet without IP options or extension headers: Ethernet, IP, UDP.
        let network = if frame.get(12..14) == Some(&[0x86, 0xdd]) {
            40
        } else {
            20
        };
        let checksum_start = 14_u16 + network;
        let (headers, checksum_offset) = (checksum_start + 8, 6_u16);
        let linear = if self.in_pages {
            headers
        } else {
            frame.len() as u16
        };
        let mut header = [0; 10];
        header[1] = self.kind;
        header[2..4].copy_from_slice(&linear.to_ne_bytes());
        header[4..6].copy_from_slice(&self.segment_size.to_ne_bytes());
        if self.checksum {
            // VIRTIO_NET_HDR_F_NEEDS_CSUM.
            header[0] = 1;
            header[6..8].copy_from_slice(&checksum_start.to_ne_bytes());
            header[8..10].copy_from_slice(&checksum_offset.to_ne_bytes());
        }
        header
    }
}

/// The Ethernet address of a device of a namespace.
pub fn hardware_address(namespace: &Namespace, device: &str) -> Result<[u8; 6]> {
    // `ip -brief link` prints name, state, address.
    let line = namespace.run("ip", &["-brief", "link", "show", "dev", device])?;
    let text = line
        .split_whitespace()
        .nth(2)
        .context("a device without an address")?;
    let bytes: Vec<_> = text
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16))
        .collect::<Result<_, _>>()
        .with_context(|| format!("strange hardware address {text}"))?;
    bytes
        .try_into()
        .ok()
        .context("a hardware address is 6 bytes long")
}

/// Sends a datagram whose payload the kernel takes from a file's pages, without copying it: the
/// packet's headers are in linear memory and its payload is not (sendfile(2)).
pub fn send_pages(socket: &UdpSocket, to: SocketAddr, payload: &[u8]) -> Result<()> {
    let path = "/tmp/payload";
    fs::write(path, payload).with_context(|| format!("cannot write {path}"))?;
    let file = File::open(path).with_context(|| format!("cannot open {path}"))?;
    socket.connect(to).context("cannot connect a socket")?;
    // SAFETY: both descriptors are open, and a null offset means the file's own position.
    let sent = unsafe {
        libc::sendfile(
            socket.as_raw_fd(),
            file.as_raw_fd(),
            std::ptr::null_mut(),
            payload.len(),
        )
    };
    ensure!(
        usize::try_from(sent) == Ok(payload.len()),
        "sendfile sent {sent} bytes"
    );
    // The pages still belong to packets on their way; the next payload gets pages of its own.
    fs::remove_file(path).with_context(|| format!("cannot remove {path}"))
}
