// SPDX-License-Identifier: MIT OR Apache-2.0

//! Ends of all kinds while packets are on their way. What these tests prove is mostly the
//! runner's to see: that the kernel has nothing to say about it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};

use super::fixture::{CALLEE_RTP, CALLER_RTP, Call, EAST_RTP, PORTS, WEST_RTP, session};
use super::{Test, tests};
use crate::guest::capture::Capture;
use crate::guest::lab::Lab;
use crate::guest::module;
use crate::guest::netns::Namespace;
use crate::guest::relay::Relay;
use crate::guest::rtp::Party;
use crate::guest::topology::{EAST, Topology, WEST};
use crate::guest::wait::{LIMIT, until};

pub const TESTS: &[Test] = tests![
    the_module_is_loaded_and_unloaded_idle,
    the_module_is_unloaded_under_traffic,
    a_namespace_ends_with_live_sessions_and_traffic,
    a_device_is_removed_under_traffic,
];

const TIMES: u32 = 10;

/// Two parties that send to the relay without a pause, whatever becomes of it.
struct Traffic {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Traffic {
    fn start(net: &Topology) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for (namespace, from, to) in [
            (&net.caller, CALLER_RTP, WEST_RTP),
            (&net.callee, CALLEE_RTP, EAST_RTP),
        ] {
            let party = Party::new(namespace, from)?;
            let stopped = Arc::clone(&stop);
            threads.push(thread::spawn(move || {
                let mut number = 0_u16;
                while !stopped.load(Ordering::Relaxed) {
                    // Without a device or a route the packet cannot leave: the next one may.
                    let _ = party.send_rtp(to, number..number.saturating_add(1));
                    number = number.wrapping_add(1);
                    // Dense enough to meet every moment, and the guest still has time for more.
                    thread::sleep(Duration::from_micros(500));
                }
            }));
        }
        Ok(Self { stop, threads })
    }

    fn stop(mut self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().map_err(|_| anyhow!("a sender panicked"))?;
        }
        Ok(())
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Waits until media arrives at both ends, looking at what arrives from now on only.
fn wait_for_media(lab: &Lab, net: &Topology) -> Result<()> {
    let ends: [(&Namespace, _); 2] = [(&net.caller, CALLER_RTP), (&net.callee, CALLEE_RTP)];
    for (namespace, to) in ends {
        let capture: Capture = lab.capture(namespace, "wire")?;
        capture.wait_for(20, LIMIT, |one| one.to == to)?;
        lab.forget_captures();
    }
    Ok(())
}

fn the_module_is_loaded_and_unloaded_idle(_lab: &Lab) -> Result<()> {
    module::ensure_loaded()?;
    for _ in 0..TIMES {
        module::unload()?;
        ensure!(!module::is_loaded(), "it is still there");
        module::load()?;
    }
    Ok(())
}

fn the_module_is_unloaded_under_traffic(lab: &Lab) -> Result<()> {
    module::ensure_loaded()?;
    let net = Topology::new(lab)?;
    let traffic = Traffic::start(&net)?;
    for time in 1..=TIMES {
        lab.step(format!("load and unload {time}"));
        let relay = Relay::open(&net.relay)?;
        relay.configure(PORTS, &[WEST, EAST])?;
        relay.make(&session())?;
        wait_for_media(lab, &net)?;
        module::unload()?;
        module::load()?;
    }
    traffic.stop()
}

fn a_namespace_ends_with_live_sessions_and_traffic(lab: &Lab) -> Result<()> {
    module::ensure_loaded()?;
    for time in 1..=TIMES {
        lab.step(format!("namespace {time}"));
        let net = Topology::new(lab)?;
        let relay = Relay::open(&net.relay)?;
        relay.configure(PORTS, &[WEST, EAST])?;
        relay.make(&session())?;
        let traffic = Traffic::start(&net)?;
        wait_for_media(lab, &net)?;
        let Topology {
            relay: host,
            caller,
            callee,
            ..
        } = net;
        // The namespace ends when nothing refers to it any more, sockets included.
        drop(relay);
        drop(host);
        for end in [&caller, &callee] {
            until("the end of the relay's devices", LIMIT, || {
                let links = end.run("ip", &["-brief", "link"])?;
                Ok((!links.contains("wire")).then_some(()))
            })?;
        }
        traffic.stop()?;
    }
    Ok(())
}

fn a_device_is_removed_under_traffic(lab: &Lab) -> Result<()> {
    let call = Call::new(lab)?;
    let Call {
        net,
        caller,
        callee,
        relay,
        id,
    } = call;
    drop((caller, callee));
    let traffic = Traffic::start(&net)?;
    for time in 1..=TIMES {
        lab.step(format!("removal {time}"));
        wait_for_media(lab, &net)?;
        net.relay.ip("link del east\n")?;
        net.relay
            .ip("link add east type veth peer name wire netns callee\n\
             address add 10.2.0.1/24 dev east\n\
             link set east up\n")?;
        net.callee.ip("address add 10.2.0.2/24 dev wire\n\
             link set wire up\n\
             route add default via 10.2.0.1\n")?;
    }
    wait_for_media(lab, &net)?;
    traffic.stop()?;
    relay.end(id).context("the session did not survive")?;
    Ok(())
}
