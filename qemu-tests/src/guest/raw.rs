// SPDX-License-Identifier: MIT OR Apache-2.0

//! Sending what an ordinary socket would not send.

use std::fs::{self, File};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};

use anyhow::{Context, Result, ensure};
use nix::libc;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, send, socket};

use super::capture::bind;
use super::netns::Namespace;
use super::packet::Build;

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
        let socket = namespace.enter(|| {
            // Protocol 0: it receives nothing.
            let socket = socket(
                AddressFamily::Packet,
                SockType::Raw,
                SockFlag::SOCK_CLOEXEC,
                None,
            )
            .context("cannot make a packet socket")?;
            bind(&socket, device, 0)?;
            Ok(socket)
        })?;
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
