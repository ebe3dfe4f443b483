// SPDX-License-Identifier: MIT OR Apache-2.0

//! The laboratory itself: what the other tests observe can be trusted.

use std::net::SocketAddrV4;

use anyhow::{Result, ensure};

use super::{Test, tests};
use crate::guest::capture::wrong_checksums;
use crate::guest::lab::Lab;
use crate::guest::packet::Checksum;
use crate::guest::topology::{CALLEE, CALLER, Topology, udp};
use crate::guest::wait::LIMIT;

pub const TESTS: &[Test] = tests![
    the_relay_host_forwards_nothing_by_itself,
    captures_show_what_the_kernel_forwards,
];

const COUNT: usize = 50;

fn the_relay_host_forwards_nothing_by_itself(lab: &Lab) -> Result<()> {
    let net = Topology::new(lab)?;
    let caller = udp(&net.caller, SocketAddrV4::new(CALLER, 4000))?;
    let _callee = udp(&net.callee, SocketAddrV4::new(CALLEE, 5000))?;
    for _ in 0..COUNT {
        caller.send_to(b"through?", (CALLEE, 5000))?;
    }
    // A packet the kernel does deliver shows that the others had their time.
    net.relay.set_sysctl("net/ipv4/ip_forward", "1")?;
    caller.send_to(b"last", (CALLEE, 5000))?;
    let seen = net.at_callee.wait_for(1, LIMIT, |_| true)?;
    ensure!(
        seen.len() == 1 && seen[0].payload == b"last",
        "forwarded: {seen:?}"
    );
    Ok(())
}

fn captures_show_what_the_kernel_forwards(lab: &Lab) -> Result<()> {
    for offload in [true, false] {
        lab.step(format!("checksum offload: {offload}"));
        let net = Topology::new(lab)?;
        net.set_checksum_offload(offload)?;
        net.relay.set_sysctl("net/ipv4/ip_forward", "1")?;
        let caller = udp(&net.caller, SocketAddrV4::new(CALLER, 4000))?;
        let _callee = udp(&net.callee, SocketAddrV4::new(CALLEE, 5000))?;
        let sent: Vec<_> = (0..COUNT).map(|n| vec![n as u8; 160]).collect();
        for payload in &sent {
            caller.send_to(payload, (CALLEE, 5000))?;
        }
        let seen = net.at_callee.wait_for(COUNT, LIMIT, |_| true)?;
        ensure!(
            seen.iter().map(|one| &one.payload).eq(&sent),
            "other payloads arrived"
        );
        let wrong = wrong_checksums(&seen);
        ensure!(wrong.is_empty(), "wrong checksums: {wrong:?}");
        let expected = if offload {
            Checksum::Partial
        } else {
            Checksum::Right
        };
        ensure!(
            seen.iter()
                .all(|one| one.checksum == expected && one.ttl == 63),
            "{seen:?}"
        );
    }
    Ok(())
}
