// SPDX-License-Identifier: MIT OR Apache-2.0

//! Frames that wait in a packet socket (packet(7)) until somebody asks for them.

use std::os::fd::{AsRawFd, OwnedFd};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, recv, setsockopt, socket, sockopt,
};

use super::capture::bind;
use super::netns::Namespace;

/// Longest frame there is: that of a device for jumbo frames.
const LONGEST: usize = 9018;

/// Sees all frames that arrive at a device, as long as it lives. It holds a clone of each until it is
/// fetched.
pub struct Observer {
    socket: OwnedFd,
}

impl Observer {
    /// Looks at a device of a namespace. For all protocols: sockets for one see no packet that is
    /// dropped at ingress.
    pub fn new(namespace: &Namespace, device: &str) -> Result<Self> {
        let socket = packet_socket(namespace, device, libc::ETH_P_ALL as u16)?;
        setsockopt(&socket, sockopt::RcvBufForce, &(4 << 20)).context("cannot enlarge a buffer")?;
        Ok(Self { socket })
    }

    /// The frames that have arrived and were not fetched yet.
    pub fn fetch(&self) -> Result<Vec<Vec<u8>>> {
        let mut frames = Vec::new();
        let mut buffer = vec![0; LONGEST];
        loop {
            match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(length) => frames.push(buffer.get(..length).unwrap_or_default().to_vec()),
                Err(Errno::EAGAIN) => return Ok(frames),
                Err(error) => return Err(error).context("cannot receive frames"),
            }
        }
    }
}

/// Makes a packet socket for a protocol (an Ethernet type; zero: it receives nothing) of a device.
pub fn packet_socket(namespace: &Namespace, device: &str, protocol: u16) -> Result<OwnedFd> {
    namespace.enter(|| {
        let socket = socket(
            AddressFamily::Packet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            None,
        )
        .context("cannot make a packet socket")?;
        bind(&socket, device, protocol)?;
        Ok(socket)
    })
}
