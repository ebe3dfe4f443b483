// SPDX-License-Identifier: MIT OR Apache-2.0

//! How well RTP arrives, as the relay tells it.

use anyhow::{Context, Result, ensure};
use genl_proto::generated::quality;

use super::fixture::{Call, expect};
use super::path::Path;
use super::{Test, tests, tests_on_paths};
use crate::guest::lab::Lab;
use crate::guest::relay::Counters;
use crate::guest::rtp::{SIZE, rtcp, rtp, send_all};

pub const ON_PATHS: &[Test] = tests_on_paths![
    lost_reordered_and_repeated_packets_are_counted: IPV4 IPV6 IPV4_TO_IPV6 IPV6_TO_IPV4,
];

pub const TESTS: &[Test] = tests![
    the_sequence_may_wrap_and_begin_anew,
    another_source_is_noticed,
    a_jump_of_the_timestamps_is_jitter,
    rtcp_is_not_measured,
    nothing_is_measured_when_that_is_switched_off,
];

/// Sends RTP packets with these numbers, waits until all have arrived, and returns what the relay
/// says of them.
fn send(call: &Call, path: Path, numbers: &[u16]) -> Result<Counters> {
    let packets = numbers.iter().map(|n| rtp(call.caller.source, *n, SIZE));
    let sent = send_all(&call.caller.rtp, path.west, packets)?;
    expect(&call.net.at_callee, path.east, path.callee, &sent)?;
    Ok(call.counters()?[0].clone())
}

/// Whether the counters are these; those that are left out must be zero.
fn check(found: &Counters, source: u32, highest: u16, wanted: &[(u16, u64)]) -> Result<()> {
    let get = |id| found.quality.get(&id).copied().context("nothing measured");
    ensure!(get(quality::SSRC)? == u64::from(source), "{found:?}");
    ensure!(
        get(quality::HIGHEST_SEQUENCE)? == u64::from(highest),
        "{found:?}"
    );
    ensure!(get(quality::CLOCK_RATE)? == 8000, "{found:?}");
    for id in [
        quality::LOST,
        quality::REORDERED,
        quality::DUPLICATES,
        quality::JUMPS,
        quality::RESTARTS,
        quality::SSRC_CHANGES,
    ] {
        let wanted = wanted.iter().find(|(wanted, _)| *wanted == id);
        let wanted = wanted.map_or(0, |(_, count)| *count);
        ensure!(
            get(id)? == wanted,
            "attribute {id} is not {wanted}: {found:?}"
        );
    }
    Ok(())
}

fn lost_reordered_and_repeated_packets_are_counted(lab: &Lab, path: Path) -> Result<()> {
    let call = Call::new(lab, path)?;
    let found = send(
        &call,
        path,
        // 3 and 9 never arrive; 5 and 6 are late; 2, 7 and 7 are repeated.
        &[1, 2, 4, 7, 5, 6, 2, 7, 7, 8, 10, 11],
    )?;
    let wanted = [
        (quality::LOST, 2),
        (quality::REORDERED, 2),
        (quality::DUPLICATES, 3),
    ];
    check(&found, call.caller.source, 11, &wanted)?;
    // The other direction is another matter.
    let sent = call.callee.send_rtp(path.east, 0..20)?;
    expect(&call.net.at_caller, path.west, path.caller, &sent)?;
    check(&call.counters()?[1], call.callee.source, 19, &[])
}

fn the_sequence_may_wrap_and_begin_anew(lab: &Lab) -> Result<()> {
    let path = Path::IPV4;
    let call = Call::new(lab, path)?;
    let found = send(
        &call,
        path,
        &[65_533, 65_534, 65_535, 0, 2, 30_000, 30_001, 30_002],
    )?;
    let wanted = [
        (quality::LOST, 1),
        (quality::JUMPS, 1),
        (quality::RESTARTS, 1),
    ];
    check(&found, call.caller.source, 30_002, &wanted)
}

fn another_source_is_noticed(lab: &Lab) -> Result<()> {
    let path = Path::IPV4;
    let call = Call::new(lab, path)?;
    let of = |source, first: u16| (first..first + 10).map(move |number| rtp(source, number, SIZE));
    let packets = of(1, 100).chain(of(2, 7000)).chain(of(1, 200));
    let sent = send_all(&call.caller.rtp, path.west, packets)?;
    expect(&call.net.at_callee, path.east, path.callee, &sent)?;
    check(&call.counters()?[0], 1, 209, &[(quality::SSRC_CHANGES, 2)])
}

fn a_jump_of_the_timestamps_is_jitter(lab: &Lab) -> Result<()> {
    let path = Path::IPV4;
    let call = Call::new(lab, path)?;
    // Each packet's timestamp is 160 units more than the one before: 100 numbers are 16,000 units,
    // or two seconds, which the packets are not apart.
    let began = std::time::Instant::now();
    let packets = [100, 200].map(|stamp: u16| {
        let mut packet = rtp(call.caller.source, stamp, SIZE);
        packet[2..4].copy_from_slice(&(stamp / 100).to_be_bytes());
        packet
    });
    let sent = send_all(&call.caller.rtp, path.west, packets)?;
    expect(&call.net.at_callee, path.east, path.callee, &sent)?;
    let elapsed = began.elapsed().as_millis() as u64 * 8;
    let found = &call.counters()?[0];
    let jitter = found.quality.get(&quality::JITTER).copied();
    // RFC 3550 A.8: one sixteenth of the difference at the first one.
    let least = 16_000_u64.saturating_sub(elapsed) / 16;
    ensure!(
        jitter.is_some_and(|jitter| (least..=1000).contains(&jitter)),
        "{found:?} is not from {least} to 1000"
    );
    Ok(())
}

fn rtcp_is_not_measured(lab: &Lab) -> Result<()> {
    let path = Path::IPV4;
    let call = Call::new(lab, path)?;
    // On the port of RTP (RFC 5761), and on its own.
    let muxed = (0..5).map(|number| rtcp(call.caller.source, number));
    let sent = send_all(&call.caller.rtp, path.west, muxed)?;
    expect(&call.net.at_callee, path.east, path.callee, &sent)?;
    let own = call
        .caller
        .send_rtcp(super::fixture::rtcp_of(path.west), 0..5)?;
    let (from, to) = (path.east, path.callee);
    let (from, to) = (super::fixture::rtcp_of(from), super::fixture::rtcp_of(to));
    expect(&call.net.at_callee, from, to, &own)?;
    for counters in call.counters()? {
        ensure!(counters.quality.is_empty(), "{counters:?}");
    }
    Ok(())
}

fn nothing_is_measured_when_that_is_switched_off(lab: &Lab) -> Result<()> {
    let path = Path::IPV4;
    let call = Call::new(lab, path)?;
    ensure!(call.relay.config()?.quality, "it is off from the beginning");
    call.relay.measure(false)?;
    ensure!(!call.relay.config()?.quality, "it cannot be switched off");
    let found = send(&call, path, &[1, 2, 5])?;
    ensure!(found.quality.is_empty(), "{found:?}");
    call.relay.measure(true)?;
    let sent = call.caller.send_rtp(path.west, 10..12)?;
    call.net
        .at_callee
        .wait_for(3 + sent.len(), crate::guest::wait::LIMIT, |one| {
            one.to == path.callee
        })?;
    check(&call.counters()?[0], call.caller.source, 11, &[])
}
