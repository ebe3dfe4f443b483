// SPDX-License-Identifier: MIT OR Apache-2.0

//! What every transport layer promises, of each of them: the kernel module, the same from another host,
//! and the relay inside the daemon.

#[path = "../../../lrep-cl/tests/conformance/mod.rs"]
mod promises;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use lrep_cl::tls::Identity;
use lrep_cl::tsl::kernel::Kernel;
use lrep_cl::tsl::remote::{Options, Remote};
use lrep_cl::tsl::userspace::Userspace;

use self::promises::{Place, every_promise_is_kept};
use super::fixture::{CALLEE_RTP, CALLER_RTP, EAST_RTP, WEST_RTP};
use super::{Test, tests};
use crate::guest::lab::Lab;
use crate::guest::media_host::{Certificates, MediaHost};
use crate::guest::module;
use crate::guest::topology::{Topology, WEST, udp};
use crate::guest::wait::LIMIT;

pub const TESTS: &[Test] = tests![
    the_kernel_keeps_every_promise_of_a_tsl,
    the_kernel_of_another_host_keeps_every_promise_of_a_tsl,
    the_userspace_relay_keeps_every_promise_of_a_tsl,
];

fn place(net: &Topology) -> Result<Place> {
    let neighbour = SocketAddr::new(CALLER_RTP.ip(), CALLER_RTP.port() + 2);
    Ok(Place {
        west: WEST_RTP,
        east: EAST_RTP,
        caller: udp(&net.caller, CALLER_RTP)?,
        neighbour: udp(&net.caller, neighbour)?,
        callee: udp(&net.callee, CALLEE_RTP)?,
    })
}

fn block_on(work: impl Future<Output = Result<()>>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no runtime")?;
    runtime.block_on(work)
}

fn the_kernel_keeps_every_promise_of_a_tsl(lab: &Lab) -> Result<()> {
    module::ensure_loaded()?;
    let net = Topology::new(lab)?;
    let place = place(&net)?;
    net.relay.enter(|| {
        block_on(async {
            let (kernel, another) = (Kernel::connect().await?, Kernel::connect().await?);
            every_promise_is_kept(&kernel, &another, &place).await;
            Ok(())
        })
    })
}

fn the_kernel_of_another_host_keeps_every_promise_of_a_tsl(lab: &Lab) -> Result<()> {
    module::ensure_loaded()?;
    let net = Topology::new(lab)?;
    let place = place(&net)?;
    let certificates = Certificates::new(&[("relay", WEST)])?;
    let host = MediaHost::new(lab, &certificates, "relay", WEST)?;
    let _served = host.start(&net.relay)?;
    let options = Options {
        address: host.address().parse()?,
        identity: Some(Arc::new(Identity::load(host.controller())?)),
        deadline: LIMIT,
        keep_alive: Duration::from_secs(5),
    };
    net.caller.enter(|| {
        block_on(async {
            let another = Remote::new(options.clone());
            every_promise_is_kept(&Remote::connect(options).await?, &another, &place).await;
            Ok(())
        })
    })
}

fn the_userspace_relay_keeps_every_promise_of_a_tsl(lab: &Lab) -> Result<()> {
    let net = Topology::new(lab)?;
    let place = place(&net)?;
    // Its thread is of the namespace it was started in.
    net.relay.enter(|| {
        block_on(async {
            let relay = Userspace::start()?;
            every_promise_is_kept(&relay, &relay, &place).await;
            Ok(())
        })
    })
}
