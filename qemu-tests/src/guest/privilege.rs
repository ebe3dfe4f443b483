// SPDX-License-Identifier: MIT OR Apache-2.0

//! Giving up privileges.

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::libc;

/// CAP_NET_ADMIN of linux/capability.h.
const NETWORK_ADMINISTRATION: u32 = 12;
/// _LINUX_CAPABILITY_VERSION_3.
const VERSION: u32 = 0x2008_0522;

#[repr(C)]
struct Header {
    version: u32,
    thread: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Set {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Makes this thread, and no other, one of this user for good.
pub fn become_user(user: u32) -> Result<()> {
    // The C library's function would change the user of all threads.
    // SAFETY: the system call takes three numbers.
    let set = unsafe { libc::syscall(libc::SYS_setresuid, user, user, user) };
    Errno::result(set).with_context(|| format!("cannot become user {user}"))?;
    Ok(())
}

/// Gives up the right to administer networks, in this thread and for good.
pub fn drop_network_administration() -> Result<()> {
    let header = Header {
        version: VERSION,
        thread: 0,
    };
    let mut sets = [Set::default(); 2];
    // SAFETY: the kernel writes two sets for this version, and both arguments live that long.
    let got = unsafe { libc::syscall(libc::SYS_capget, &raw const header, sets.as_mut_ptr()) };
    Errno::result(got).context("cannot read the capabilities")?;
    let keep = !(1 << NETWORK_ADMINISTRATION);
    sets[0].effective &= keep;
    sets[0].permitted &= keep;
    // SAFETY: as above; the kernel reads two sets.
    let set = unsafe { libc::syscall(libc::SYS_capset, &raw const header, sets.as_ptr()) };
    Errno::result(set).context("cannot give up a capability")?;
    Ok(())
}
