// SPDX-License-Identifier: MIT OR Apache-2.0

//! Room in front of packets, as a network card's driver leaves it.
//!
//! A packet socket leaves none. A header that becomes longer would have the packet copied, which is
//! never so with packets from a network (NET_SKB_PAD of linux/skbuff.h). An XDP program that does
//! nothing makes the kernel give each packet 256 bytes before it looks at it.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::libc;
use nix::net::if_::if_nametoindex;

use crate::guest::netns::Namespace;

// Numbers of linux/bpf.h and linux/if_link.h.
const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_LINK_CREATE: libc::c_int = 28;
const BPF_PROG_TYPE_XDP: u32 = 6;
const BPF_XDP: u32 = 37;
const XDP_FLAGS_SKB_MODE: u32 = 2;

/// Move XDP_PASS (2) to register 0 and exit: two instructions (RFC 9669).
const PASS: [u64; 2] = [0x0000_0002_0000_00b7, 0x95];

/// What BPF_PROG_LOAD reads of union bpf_attr, up to what may be left out.
#[repr(C)]
struct Load {
    kind: u32,
    instructions: u32,
    program: u64,
    licence: u64,
}

/// What BPF_LINK_CREATE reads of it.
#[repr(C)]
struct Link {
    program: u32,
    device: u32,
    kind: u32,
    flags: u32,
}

/// Gives what arrives at a device room in front, as long as it lives.
pub struct Headroom {
    _link: OwnedFd,
}

impl Headroom {
    /// For a device of a namespace.
    pub fn new(namespace: &Namespace, device: &str) -> Result<Self> {
        let load = Load {
            kind: BPF_PROG_TYPE_XDP,
            instructions: PASS.len() as u32,
            program: PASS.as_ptr() as u64,
            licence: c"GPL".as_ptr() as u64,
        };
        // SAFETY: the program and its licence are constants.
        let program = unsafe { bpf(BPF_PROG_LOAD, &load) }.context("cannot load an XDP program")?;
        let link = namespace.enter(|| {
            let link = Link {
                program: u32::try_from(program.as_raw_fd()).context("a strange descriptor")?,
                device: if_nametoindex(device).with_context(|| format!("no device {device}"))?,
                kind: BPF_XDP,
                flags: XDP_FLAGS_SKB_MODE,
            };
            // SAFETY: there are no pointers in it.
            unsafe { bpf(BPF_LINK_CREATE, &link) }.context("cannot attach an XDP program")
        })?;
        Ok(Self { _link: link })
    }
}

/// The system call bpf(2), for commands that make a descriptor.
///
/// # Safety
///
/// `attributes` must be what the command reads, and its pointers must point to what it says.
unsafe fn bpf<T>(command: libc::c_int, attributes: &T) -> Result<OwnedFd, Errno> {
    // SAFETY: by the safety requirement; `attributes` is as long as said.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            &raw const *attributes,
            size_of::<T>() as libc::c_uint,
        )
    };
    let descriptor = Errno::result(result)?;
    // SAFETY: the kernel has just made it for us. Descriptors fit.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor as libc::c_int) })
}
