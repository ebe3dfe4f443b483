// SPDX-License-Identifier: MIT OR Apache-2.0

//! RTCP reports are told to who listens, and nobody else notices.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::fixture::{Call, expect, rtcp_of};
use super::path::Path;
use super::{Test, tests, tests_on_all_paths};
use crate::guest::LREP_CL;
use crate::guest::lab::Lab;
use crate::guest::process::Process;
use crate::guest::relay::Reports;
use crate::guest::rtp::{rtcp, send_all};
use crate::guest::wait::{LIMIT, until};

pub const ON_ALL_PATHS: &[Test] = tests_on_all_paths![
    a_report_is_told_as_it_arrived,
    a_report_on_the_port_of_rtp_is_told_too,
];

pub const TESTS: &[Test] = tests![
    only_reports_are_told,
    no_more_than_ten_reports_a_second_of_a_direction_are_told,
    the_command_line_tells_the_round_trip,
];

fn a_report_is_told_as_it_arrived(lab: &Lab, path: Path) -> Result<()> {
    let call = Call::new(lab, path)?;
    let reports = Reports::subscribe(&call.net.relay)?;
    let sent = call.caller.send_rtcp(rtcp_of(path.west), 0..1)?;
    let first = reports.next()?;
    ensure!(first.session == call.id, "{first:?}");
    ensure!(
        (first.source, first.local) == (rtcp_of(path.caller), rtcp_of(path.west)),
        "{first:?}"
    );
    ensure!(
        first.packet == sent[0],
        "sent {sent:02x?}, told {first:02x?}"
    );
    // And the other way, longer than what is told of it.
    let mut long = rtcp(call.callee.source, 1);
    long.extend((0..700).map(|number| number as u8));
    let sent = send_all(&call.callee.rtcp, rtcp_of(path.east), [long])?;
    let second = reports.next()?;
    ensure!(second.source == rtcp_of(path.callee), "{second:?}");
    ensure!(
        second.packet == sent[0][..512] && second.arrived_ns > first.arrived_ns,
        "{second:02x?}"
    );
    expect(
        &call.net.at_caller,
        rtcp_of(path.west),
        rtcp_of(path.caller),
        &sent,
    )?;
    Ok(())
}

fn a_report_on_the_port_of_rtp_is_told_too(lab: &Lab, path: Path) -> Result<()> {
    let call = Call::new(lab, path)?;
    let reports = Reports::subscribe(&call.net.relay)?;
    let report = rtcp(call.caller.source, 1);
    let sent = send_all(&call.caller.rtp, path.west, [report])?;
    let told = reports.next()?;
    ensure!(told.source == path.caller, "{told:?}");
    ensure!(told.packet == sent[0], "{told:02x?}");
    expect(&call.net.at_callee, path.east, path.callee, &sent)?;
    Ok(())
}

fn only_reports_are_told(lab: &Lab) -> Result<()> {
    let path = Path::IPV4;
    let call = Call::new(lab, path)?;
    let reports = Reports::subscribe(&call.net.relay)?;
    call.caller.send_rtp(path.west, 0..10)?;
    // Every other type of RTCP (RFC 3550 section 12.1 and RFC 4585 section 6.1), and a stranger.
    let others = (192..=223).filter(|kind| ![200, 201].contains(kind));
    let others = others.map(|kind| {
        let mut packet = rtcp(call.caller.source, 0);
        packet[1] = kind;
        packet
    });
    send_all(&call.caller.rtcp, rtcp_of(path.west), others)?;
    let stranger = rtcp(call.caller.source, 1);
    send_all(&call.callee.rtcp, rtcp_of(path.west), [stranger])?;
    let sent = call.caller.send_rtcp(rtcp_of(path.west), 2..3)?;
    let told = reports.next()?;
    ensure!(told.packet == sent[0], "{told:02x?}");
    ensure!(reports.is_quiet(), "more than one report is told");
    Ok(())
}

fn no_more_than_ten_reports_a_second_of_a_direction_are_told(lab: &Lab) -> Result<()> {
    const COUNT: u16 = 200;
    let path = Path::IPV4;
    let call = Call::new(lab, path)?;
    let reports = Reports::subscribe(&call.net.relay)?;
    let began = Instant::now();
    let sent = call.caller.send_rtcp(rtcp_of(path.west), 0..COUNT)?;
    expect(
        &call.net.at_callee,
        rtcp_of(path.east),
        rtcp_of(path.callee),
        &sent,
    )?;
    // Each of them was told or not by now, however long that took.
    let most = 1 + began.elapsed().as_millis() / 100;
    ensure!(reports.next()?.packet == sent[0], "not the first one");
    let mut told = 1;
    while !reports.is_quiet() {
        reports.next()?;
        told += 1;
    }
    ensure!(told <= most, "{told} reports, not {most} at most");
    Ok(())
}

fn the_command_line_tells_the_round_trip(lab: &Lab) -> Result<()> {
    let path = Path::IPV4;
    let call = Call::new(lab, path)?;
    let log = lab.file("reports.log");
    let mut command = call.net.relay.command(LREP_CL);
    command.args(["reports", "--json"]);
    let _listener = Process::start("lrep-cl", &mut command, &log)?;
    // The caller's report, and the callee's answer to it.
    let mut sender = rtcp(call.caller.source, 7);
    sender[8..16].copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8]);
    let mut answer = vec![0x81, 201, 0, 7];
    answer.extend(call.callee.source.to_be_bytes());
    answer.extend(call.caller.source.to_be_bytes());
    answer.extend([128, 0, 0, 42, 0, 0, 0, 7, 0, 0, 0, 9]);
    answer.extend([3, 4, 5, 6, 0, 0, 0, 0]);
    // It listens at some moment from now on.
    let heard = until("the round trip", LIMIT, || {
        send_all(&call.caller.rtcp, rtcp_of(path.west), [sender.clone()])?;
        send_all(&call.callee.rtcp, rtcp_of(path.east), [answer.clone()])?;
        let text = std::fs::read_to_string(&log).context("no output")?;
        for line in text.lines().filter(|line| line.ends_with('}')) {
            let line: Value = serde_json::from_str(line).context("no JSON")?;
            let heard = &line["heard"][0];
            if heard["round_trip_us"].is_u64() {
                return Ok(Some(heard.clone()));
            }
        }
        Ok(None)
    })?;
    ensure!(heard["ssrc"] == call.caller.source, "{heard}");
    ensure!(
        heard["fraction_lost"] == 0.5 && heard["lost"] == 42,
        "{heard}"
    );
    ensure!(heard["jitter"] == 9, "{heard}");
    // One that wants one report ends with it.
    let mut command = call.net.relay.command(LREP_CL);
    command.args(["reports", "--count", "1"]);
    let mut listener = Process::start("lrep-cl", &mut command, &lab.file("report.log"))?;
    let status = until("the end after one report", LIMIT, || {
        send_all(&call.caller.rtcp, rtcp_of(path.west), [sender.clone()])?;
        listener.ended()
    })?;
    ensure!(status.success(), "{status}");
    let text = std::fs::read_to_string(lab.file("report.log")).context("no output")?;
    ensure!(text.lines().count() == 1, "{text}");
    Ok(())
}
