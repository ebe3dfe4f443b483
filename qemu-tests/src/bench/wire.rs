// SPDX-License-Identifier: MIT OR Apache-2.0

//! The beginning of the way: whole frames go in through a packet socket (packet(7)).

use std::arch::x86_64::_rdtsc;
use std::os::fd::{AsRawFd, OwnedFd};

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::libc;

use super::flows::Checksum;
use crate::guest::netns::Namespace;
use crate::guest::observer::packet_socket;
use crate::guest::packet::udp_checksum_at;
use crate::guest::topology::Family;

/// Before each frame on a socket with PACKET_VNET_HDR (struct virtio_net_hdr of
/// linux/virtio_net.h): the checksum is to be completed from the UDP header on.
const fn partial_checksum(family: Family) -> [u8; 10] {
    let start = (udp_checksum_at(family) - UDP_CHECKSUM_IN_HEADER) as u8;
    let offset = UDP_CHECKSUM_IN_HEADER as u8;
    let flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
    [flags, 0, 0, 0, 0, 0, start, 0, offset, 0]
}
const VIRTIO_NET_HDR_F_NEEDS_CSUM: u8 = 1;
const UDP_CHECKSUM_IN_HEADER: usize = 6;

/// Sends frames through a device.
///
/// A packet socket without queueing: the way from the system call to the device is short and is
/// the same for every frame.
pub struct Sender {
    socket: OwnedFd,
    /// What stands before each frame.
    prefix: Vec<u8>,
}

impl Sender {
    /// Sends through a device of a namespace.
    pub fn new(
        namespace: &Namespace,
        device: &str,
        family: Family,
        checksum: Checksum,
    ) -> Result<Self> {
        let socket = packet_socket(namespace, device, 0)?;
        set_option(&socket, libc::PACKET_QDISC_BYPASS)?;
        let prefix = match checksum {
            Checksum::Full => Vec::new(),
            Checksum::Partial => {
                set_option(&socket, libc::PACKET_VNET_HDR)?;
                partial_checksum(family).to_vec()
            }
        };
        Ok(Self { socket, prefix })
    }

    /// Sends frames in one system call and returns the instructions it took, all that the kernel
    /// did with the frames included.
    pub fn send(&self, frames: &[Vec<u8>]) -> Result<u64> {
        let mut buffers: Vec<_> = frames
            .iter()
            .map(|frame| [self.prefix.as_slice(), frame].concat())
            .collect();
        let mut parts: Vec<_> = buffers
            .iter_mut()
            .map(|buffer| libc::iovec {
                iov_base: buffer.as_mut_ptr().cast(),
                iov_len: buffer.len(),
            })
            .collect();
        let mut messages: Vec<_> = parts.iter_mut().map(message).collect();
        let count = u32::try_from(messages.len()).context("too many frames for one call")?;
        // SAFETY: reading the time stamp counter has no effect.
        let before = unsafe { _rdtsc() };
        // SAFETY: `messages` are as many as said and point into `parts`, which point into
        // `buffers`; all live across the call.
        let sent =
            unsafe { libc::sendmmsg(self.socket.as_raw_fd(), messages.as_mut_ptr(), count, 0) };
        // SAFETY: as above.
        let after = unsafe { _rdtsc() };
        let sent = Errno::result(sent).context("cannot send frames")?;
        ensure!(
            u32::try_from(sent) == Ok(count),
            "{sent} of {count} frames were sent"
        );
        Ok(after.wrapping_sub(before))
    }
}

fn message(part: &mut libc::iovec) -> libc::mmsghdr {
    // SAFETY: an all-zero mmsghdr is a valid one, without address, buffers and control data.
    let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
    message.msg_hdr.msg_iov = part;
    message.msg_hdr.msg_iovlen = 1;
    message
}

fn set_option(socket: &OwnedFd, option: libc::c_int) -> Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: `on` lives across the call and its size is the one given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            option,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    Errno::result(result).context("cannot set an option of a packet socket")?;
    Ok(())
}
