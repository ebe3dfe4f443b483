// SPDX-License-Identifier: MIT OR Apache-2.0

//! When sessions end by themselves.
//!
//! Ages are told by the kernel, in the event itself (idle-ms): how long a session had been idle
//! when it ended. The guest's clock counts instructions, so that no busy host makes a session late.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use genl_proto::generated::{DropReason, EndReason};

use super::fixture::{
    CALLEE_RTP, CALLER_RTP, Call, EAST_RTP, PORTS, WEST_RTP, expect, idle_relay, rtcp_of, session,
    streams,
};
use super::path::Path;
use super::{Test, tests};
use crate::guest::lab::Lab;
use crate::guest::relay::{Events, Session};
use crate::guest::topology::{EAST, WEST};

pub const TESTS: &[Test] = tests![
    an_idle_session_ends_on_time_with_its_final_counters,
    traffic_in_either_direction_keeps_a_session,
    rtcp_alone_keeps_a_call_on_hold,
    a_strangers_traffic_keeps_no_session,
    many_idle_sessions_end_on_time,
    every_end_is_told_with_its_reason,
];

/// How late a session may end: one second is promised.
const LATE_MS: u64 = 1000;

fn short() -> Session {
    Session {
        timeout_ms: 2000,
        ..session()
    }
}

fn an_idle_session_ends_on_time_with_its_final_counters(lab: &Lab) -> Result<()> {
    let call = Call::with(lab, Path::IPV4, &short())?;
    let events = Events::subscribe(&call.net.relay)?;
    let sent = call.caller.send_rtp(WEST_RTP, 0..50)?;
    expect(&call.net.at_callee, EAST_RTP, CALLEE_RTP, &sent)?;
    let ended = events.next()?;
    ensure!(
        ended.id == call.id && ended.label == short().label,
        "{ended:?}"
    );
    ensure!(ended.end_reason == Some(EndReason::Expired), "{ended:?}");
    ensure!(ended.streams[0].1.packets == 50, "{ended:?}");
    let latest = 2000 + LATE_MS;
    ensure!(
        (2000..=latest).contains(&ended.idle_ms),
        "idle for {} ms at its end",
        ended.idle_ms
    );
    ensure!(call.relay.sessions()?.is_empty(), "it is still there");
    let totals = call.relay.totals()?;
    ensure!((totals.sessions, totals.expired) == (0, 1), "{totals:?}");
    ensure!(totals.relayed.packets == 50, "{totals:?}");
    Ok(())
}

fn traffic_in_either_direction_keeps_a_session(lab: &Lab) -> Result<()> {
    for from_caller in [true, false] {
        let call = Call::with(lab, Path::IPV4, &short())?;
        let events = Events::subscribe(&call.net.relay)?;
        let began = Instant::now();
        let mut number = 0;
        // Twice the timeout, in one direction only.
        while began.elapsed() < Duration::from_secs(4) {
            if from_caller {
                call.caller.send_rtp(WEST_RTP, number..number + 1)?;
            } else {
                call.callee.send_rtp(EAST_RTP, number..number + 1)?;
            }
            number += 1;
            thread::sleep(Duration::from_millis(100));
        }
        let state = call.relay.get(call.id)?;
        ensure!(state.age_ms >= 4000, "{state:?}");
        ensure!(events.is_quiet(), "an event without an end");
        // It ends when the traffic does.
        ensure!(
            events.next()?.end_reason == Some(EndReason::Expired),
            "another end"
        );
    }
    Ok(())
}

fn rtcp_alone_keeps_a_call_on_hold(lab: &Lab) -> Result<()> {
    let mut held = short();
    for stream in &mut held.streams {
        stream.b.remote = None;
    }
    let call = Call::with(lab, Path::IPV4, &held)?;
    let events = Events::subscribe(&call.net.relay)?;
    let began = Instant::now();
    let mut number = 0;
    // Twice the timeout, and nobody hears it.
    while began.elapsed() < Duration::from_secs(4) {
        call.caller
            .send_rtcp(rtcp_of(WEST_RTP), number..number + 1)?;
        number += 1;
        thread::sleep(Duration::from_millis(100));
    }
    let state = call.relay.get(call.id)?;
    ensure!(state.age_ms >= 4000, "{state:?}");
    let held = state.streams[1].1.dropped(DropReason::Held);
    ensure!(held == u64::from(number), "{state:?}");
    ensure!(events.is_quiet(), "an event without an end");
    ensure!(
        events.next()?.end_reason == Some(EndReason::Expired),
        "another end"
    );
    Ok(())
}

fn a_strangers_traffic_keeps_no_session(lab: &Lab) -> Result<()> {
    let call = Call::with(lab, Path::IPV4, &short())?;
    let events = Events::subscribe(&call.net.relay)?;
    let stop = AtomicBool::new(false);
    let ended = thread::scope(|scope| {
        scope.spawn(|| {
            // The callee's address is no party of the caller's side.
            while !stop.load(Ordering::Relaxed) {
                let _ = call.callee.send_rtp(WEST_RTP, 0..1);
                thread::sleep(Duration::from_millis(50));
            }
        });
        let ended = events.next();
        stop.store(true, Ordering::Relaxed);
        ended
    })?;
    ensure!(ended.end_reason == Some(EndReason::Expired), "{ended:?}");
    ensure!(
        !ended.streams[0].1.drops.is_empty(),
        "the stranger was not heard at all: {ended:?}"
    );
    Ok(())
}

fn many_idle_sessions_end_on_time(lab: &Lab) -> Result<()> {
    let (net, relay) = idle_relay(lab)?;
    let events = Events::subscribe(&net.relay)?;
    // Every block of four ports of the range.
    let sessions: Vec<_> = (PORTS.0..PORTS.1)
        .step_by(4)
        .map(|port| {
            let at = |address, port| std::net::SocketAddr::new(address, port);
            Session {
                streams: streams(
                    (at(WEST, port), Some(CALLER_RTP)),
                    (at(EAST, port + 2), Some(CALLEE_RTP)),
                ),
                timeout_ms: 2000,
                ..session()
            }
        })
        .collect();
    let mut ids = relay.make_many(&sessions)?;
    while !ids.is_empty() {
        let ended = events.next()?;
        ensure!(ended.end_reason == Some(EndReason::Expired), "{ended:?}");
        let latest = 2000 + LATE_MS;
        ensure!(
            (2000..=latest).contains(&ended.idle_ms),
            "idle for {} ms",
            ended.idle_ms
        );
        let at = ids.iter().position(|id| *id == ended.id);
        ids.swap_remove(at.ok_or_else(|| anyhow::anyhow!("ended twice: {ended:?}"))?);
    }
    ensure!(
        relay.totals()?.expired == sessions.len() as u64,
        "{:?}",
        relay.totals()?
    );
    Ok(())
}

fn every_end_is_told_with_its_reason(lab: &Lab) -> Result<()> {
    let (net, relay) = idle_relay(lab)?;
    let events = Events::subscribe(&net.relay)?;
    let deleted = relay.make(&session())?;
    let answer = relay.end(deleted)?;
    let replaced = relay.make(&session())?;
    let (flushed, gone) = relay.make_replacing(&Session {
        replace: true,
        ..session()
    })?;
    ensure!(gone == [replaced], "replaced {gone:?}");
    ensure!(
        relay.flush(Some(8))? == 0,
        "it flushed the sessions of another owner"
    );
    ensure!(
        relay.flush(Some(7))? == 1,
        "it did not flush its owner's session"
    );
    for (id, reason) in [
        (deleted, EndReason::Deleted),
        (replaced, EndReason::Replaced),
        (flushed, EndReason::Flushed),
    ] {
        let ended = events.next()?;
        ensure!(
            ended.id == id && ended.end_reason == Some(reason),
            "{ended:?}"
        );
        ensure!(ended.streams() == answer.streams(), "{ended:?}");
    }
    ensure!(events.is_quiet(), "one event too many");
    let totals = relay.totals()?;
    ensure!(
        (totals.sessions, totals.created, totals.replaced) == (0, 3, 1),
        "{totals:?}"
    );
    Ok(())
}
