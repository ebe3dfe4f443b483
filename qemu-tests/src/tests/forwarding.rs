// SPDX-License-Identifier: MIT OR Apache-2.0

//! The laboratory itself: what the other tests observe can be trusted.

use anyhow::{Result, ensure};

use super::path::Path;
use super::{Test, tests_on_paths};
use crate::guest::capture::wrong_checksums;
use crate::guest::lab::Lab;
use crate::guest::packet::Checksum;
use crate::guest::topology::{Topology, udp};
use crate::guest::wait::LIMIT;

pub const TESTS: &[Test] = tests_on_paths![
    the_relay_host_forwards_nothing_by_itself: IPV4 IPV6,
    captures_show_what_the_kernel_forwards: IPV4 IPV6,
];

const COUNT: usize = 50;

fn the_relay_host_forwards_nothing_by_itself(lab: &Lab, path: Path) -> Result<()> {
    let net = Topology::new(lab)?;
    let caller = udp(&net.caller, path.caller)?;
    let _callee = udp(&net.callee, path.callee)?;
    for _ in 0..COUNT {
        // The sender may have been told that there is no way.
        let _ = caller.send_to(b"through?", path.callee);
    }
    // A packet the kernel does deliver shows that the others had their time.
    path.west_family().set_forwarding(&net.relay, true)?;
    caller.send_to(b"last", path.callee)?;
    let seen = net.at_callee.wait_for(1, LIMIT, |_| true)?;
    ensure!(
        seen.len() == 1 && seen[0].payload == b"last",
        "forwarded: {seen:?}"
    );
    Ok(())
}

fn captures_show_what_the_kernel_forwards(lab: &Lab, path: Path) -> Result<()> {
    for offload in [true, false] {
        lab.step(format!("checksum offload: {offload}"));
        let net = Topology::new(lab)?;
        net.set_checksum_offload(offload)?;
        path.west_family().set_forwarding(&net.relay, true)?;
        let caller = udp(&net.caller, path.caller)?;
        let _callee = udp(&net.callee, path.callee)?;
        let sent: Vec<_> = (0..COUNT).map(|n| vec![n as u8; 160]).collect();
        for payload in &sent {
            caller.send_to(payload, path.callee)?;
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
