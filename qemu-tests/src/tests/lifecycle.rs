// SPDX-License-Identifier: MIT OR Apache-2.0

//! Ends of all kinds while packets are on their way. What these tests prove is mostly the
//! runner's to see: that the kernel has nothing to say about it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use super::fixture::{LOCALS, PORTS, idle_relay, session_on};
use super::path::Path;
use super::{Test, tests};
use crate::guest::debug::patience;
use crate::guest::lab::Lab;
use crate::guest::module;
use crate::guest::relay::Relay;
use crate::guest::rtp::Party;
use crate::guest::topology::{Family, Topology};
use crate::guest::wait::{LIMIT, until};

pub const TESTS: &[Test] = tests![
    the_module_is_loaded_and_unloaded_idle,
    the_module_is_unloaded_under_traffic,
    a_namespace_ends_with_live_sessions_and_traffic,
    a_device_is_removed_under_traffic,
    a_device_is_down_for_a_moment_under_traffic,
    a_device_is_renamed_under_traffic,
];

/// How often each of them is tried in every run.
const TIMES: u32 = 10;

/// What they promise of time.
pub const TIMED: &[Test] = tests![media_goes_on_within_a_second_of_a_reload];

/// The same with more tries.
pub const LONG: &[Test] = tests![
    the_module_is_loaded_and_unloaded_idle_100_times,
    the_module_is_unloaded_under_traffic_50_times,
    a_hundred_namespaces_end_with_live_sessions_and_traffic,
    a_device_is_removed_under_traffic_100_times,
    a_device_is_down_for_a_moment_under_traffic_100_times,
    a_device_is_renamed_under_traffic_100_times,
];

/// The calls of these tests: one on each path, all at once.
fn calls() -> impl Iterator<Item = Path> {
    (0..).zip(Path::ALL).map(|(number, path)| path.nth(number))
}

/// Makes the sessions of all calls and returns their ids.
fn make_sessions(relay: &Relay) -> Result<Vec<u64>> {
    let sessions: Vec<_> = calls().map(session_on).collect();
    relay.make_many(&sessions)
}

/// Parties that send to the relay without a pause, whatever becomes of it.
struct Traffic {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Traffic {
    fn start(net: &Topology) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        let ways = calls().flat_map(|path| {
            [
                (&net.caller, path.caller, path.west),
                (&net.callee, path.callee, path.east),
            ]
        });
        for (namespace, from, to) in ways {
            let party = Party::new(namespace, from)?;
            let stopped = Arc::clone(&stop);
            threads.push(thread::spawn(move || {
                let mut number = 0_u16;
                while !stopped.load(Ordering::Relaxed) {
                    // Without a device or a route the packet cannot leave: the next one may.
                    let _ = party.send_rtp(to, number..number.saturating_add(1));
                    number = number.wrapping_add(1);
                    // Dense enough to meet every moment, and the guest still has time for more.
                    thread::sleep(Duration::from_millis(2));
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

/// Waits until media of all calls arrives at both ends, looking at what arrives from now on only.
fn wait_for_media(lab: &Lab, net: &Topology) -> Result<()> {
    let at_caller = lab.capture(&net.caller, "wire")?;
    let at_callee = lab.capture(&net.callee, "wire")?;
    for path in calls() {
        for (capture, to) in [(&at_caller, path.caller), (&at_callee, path.callee)] {
            capture
                .wait_for(20, LIMIT, |one| one.to == to)
                .with_context(|| format!("no media to {to}"))?;
        }
    }
    lab.forget_captures();
    Ok(())
}

fn the_module_is_loaded_and_unloaded_idle(lab: &Lab) -> Result<()> {
    load_and_unload_idle(lab, TIMES)
}

fn the_module_is_loaded_and_unloaded_idle_100_times(lab: &Lab) -> Result<()> {
    load_and_unload_idle(lab, 100)
}

fn load_and_unload_idle(lab: &Lab, times: u32) -> Result<()> {
    module::ensure_loaded()?;
    for time in 1..=times {
        lab.step(format!("load and unload {time}"));
        module::unload()?;
        ensure!(!module::is_loaded(), "it is still there");
        module::load()?;
    }
    Ok(())
}

fn the_module_is_unloaded_under_traffic(lab: &Lab) -> Result<()> {
    unload_under_traffic(lab, TIMES)
}

fn the_module_is_unloaded_under_traffic_50_times(lab: &Lab) -> Result<()> {
    unload_under_traffic(lab, 50)
}

fn a_namespace_ends_with_live_sessions_and_traffic(lab: &Lab) -> Result<()> {
    end_namespaces(lab, TIMES)
}

fn a_hundred_namespaces_end_with_live_sessions_and_traffic(lab: &Lab) -> Result<()> {
    end_namespaces(lab, 100)
}

fn a_device_is_removed_under_traffic(lab: &Lab) -> Result<()> {
    disturb_device(lab, TIMES, remove)
}

fn a_device_is_removed_under_traffic_100_times(lab: &Lab) -> Result<()> {
    disturb_device(lab, 100, remove)
}

fn a_device_is_down_for_a_moment_under_traffic(lab: &Lab) -> Result<()> {
    disturb_device(lab, TIMES, take_down)
}

fn a_device_is_down_for_a_moment_under_traffic_100_times(lab: &Lab) -> Result<()> {
    disturb_device(lab, 100, take_down)
}

fn a_device_is_renamed_under_traffic(lab: &Lab) -> Result<()> {
    disturb_device(lab, TIMES, rename)
}

fn a_device_is_renamed_under_traffic_100_times(lab: &Lab) -> Result<()> {
    disturb_device(lab, 100, rename)
}

fn unload_under_traffic(lab: &Lab, times: u32) -> Result<()> {
    longest_reload(lab, times).map(drop)
}

fn media_goes_on_within_a_second_of_a_reload(lab: &Lab) -> Result<()> {
    let longest = longest_reload(lab, TIMES)?;
    ensure!(
        longest <= patience(Duration::from_secs(1)),
        "after {longest:?}"
    );
    Ok(())
}

/// Unloads and loads the module so often; the longest time from then until the media of all calls
/// was relayed again.
fn longest_reload(lab: &Lab, times: u32) -> Result<Duration> {
    module::ensure_loaded()?;
    let net = Topology::new(lab)?;
    let traffic = Traffic::start(&net)?;
    let mut longest = Duration::ZERO;
    for time in 0..=times {
        lab.step(format!("load and unload {time}"));
        let began = Instant::now();
        if time > 0 {
            module::unload()?;
            module::load()?;
        }
        let relay = Relay::open(&net.relay)?;
        relay.configure(PORTS, &LOCALS)?;
        make_sessions(&relay)?;
        wait_for_media(lab, &net)?;
        longest = longest.max(began.elapsed());
    }
    traffic.stop()?;
    lab.step(format!("{longest:?} at most"));
    Ok(longest)
}

fn end_namespaces(lab: &Lab, times: u32) -> Result<()> {
    module::ensure_loaded()?;
    for time in 1..=times {
        lab.step(format!("namespace {time}"));
        let net = Topology::new(lab)?;
        let relay = Relay::open(&net.relay)?;
        relay.configure(PORTS, &LOCALS)?;
        make_sessions(&relay)?;
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

/// Does something to the device towards the callee while media passes it, and waits until it does
/// again, without a command to the relay.
fn disturb_device(lab: &Lab, times: u32, disturb: impl Fn(&Topology) -> Result<()>) -> Result<()> {
    let (net, relay) = idle_relay(lab)?;
    let ids = make_sessions(&relay)?;
    let traffic = Traffic::start(&net)?;
    for time in 1..=times {
        lab.step(format!("disturbance {time}"));
        wait_for_media(lab, &net)?;
        disturb(&net)?;
    }
    wait_for_media(lab, &net)?;
    traffic.stop()?;
    relay.end_many(&ids).context("the sessions did not survive")
}

fn remove(net: &Topology) -> Result<()> {
    net.disconnect_callee()?;
    net.connect_callee()
}

fn take_down(net: &Topology) -> Result<()> {
    net.relay.ip("link set east down\n")?;
    // A device that goes down loses its IPv6 addresses.
    let addresses = Family::Ipv6.add_address(2, 1, "east");
    net.relay.ip(&format!("link set east up\n{addresses}"))
}

fn rename(net: &Topology) -> Result<()> {
    net.relay.ip("link set east name other\n")?;
    net.relay.ip("link set other name east\n")
}
