// SPDX-License-Identifier: GPL-2.0

//! `lreproxy.ko`: the transport stateful layer of lreproxy, an RTP relay in the kernel.
//!
//! A packet's path is in [`hook`], the table it is looked up in is in [`table`], the sessions
//! behind it are in [`sessions`], and the commands that make them are in [`control`]. All of them
//! are safe Rust: what touches the kernel's C interfaces is in [`net`], and what needs no kernel
//! at all is in [`relay`], which is also an ordinary crate with tests of its own.

use kernel::prelude::*;
use net::genl::Registered;

mod alarms;
mod control;
mod counters;
mod endpoint;
mod gate;
mod hook;
mod learner;
mod message;
mod namespace;
mod net;
mod policy;
#[path = "../genl-proto/src/generated.rs"]
#[expect(
    dead_code,
    unreachable_pub,
    reason = "the same file is a part of the controllers' crate"
)]
mod proto;
#[path = "relay/lib.rs"]
#[expect(unreachable_pub, reason = "the same file is an ordinary crate")]
mod relay;
mod relayed;
mod sessions;
mod stream;
mod table;

module! {
    type: Lreproxy,
    name: "lreproxy",
    authors: ["The lreproxy authors"],
    description: "RTP relay in PREROUTING, programmed over generic netlink",
    license: "GPL",
}

/// The loaded module.
struct Lreproxy {
    /// Unloading drops it: first the commands go, then the hooks, then the sessions, then it
    /// waits until everything that packets could still see is freed.
    _registered: Registered<namespace::Relay>,
}

impl kernel::Module for Lreproxy {
    fn init(_: &'static ThisModule) -> Result<Self> {
        let registered = Registered::new(&control::FAMILY)?;
        pr_info!("ready, protocol version {}\n", proto::PROTOCOL_VERSION);
        Ok(Self {
            _registered: registered,
        })
    }
}
