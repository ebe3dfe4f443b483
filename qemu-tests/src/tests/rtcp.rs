// SPDX-License-Identifier: MIT OR Apache-2.0

//! RTCP: on a port of its own, wherever that is, and on the port of RTP (RFC 5761).

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use genl_proto::generated::DropReason;

use super::fixture::{Call, expect, rtcp_of, session_on};
use super::path::Path;
use super::{Test, tests_on_all_paths};
use crate::guest::lab::Lab;
use crate::guest::rtp::{SIZE, rtcp, rtp, send_all};
use crate::guest::topology::udp;

pub const ON_ALL_PATHS: &[Test] = tests_on_all_paths![
    rtcp_goes_to_the_port_that_was_signalled,
    multiplexed_rtcp_goes_where_rtp_goes,
    what_is_of_the_other_kind_is_dropped_and_counted,
];

/// An RTCP packet of a type: 200 to 204 (RFC 3550), 205 and 206 (RFC 4585), 207 (RFC 3611), and what
/// else RFC 5761 leaves to RTCP.
fn of_type(kind: u8, number: u16) -> Vec<u8> {
    let mut packet = rtcp(9, number);
    packet[1] = kind;
    packet
}

fn rtcp_goes_to_the_port_that_was_signalled(lab: &Lab, path: Path) -> Result<()> {
    let at = |mut address: SocketAddr, port| {
        address.set_port(port);
        address
    };
    // Nothing about these ports tells which RTP they belong to.
    let (caller, west) = (at(path.caller, 50_000), at(path.west, 20_500));
    let (east, callee) = (at(path.east, 20_777), at(path.callee, 33_333));
    let mut session = session_on(path);
    let stream = &mut session.streams[1];
    (stream.a.local, stream.a.remote) = (west, Some(caller));
    (stream.b.local, stream.b.remote) = (east, Some(callee));
    let call = Call::with(lab, path, &session)?;
    let (at_caller, at_callee) = (&call.net.at_caller, &call.net.at_callee);
    let callers = udp(&call.net.caller, caller)?;
    let callees = udp(&call.net.callee, callee)?;
    let media = call.caller.send_rtp(path.west, 0..20)?;
    let reports = send_all(&callers, west, (0..10).map(|number| rtcp(1, number)))?;
    let answers = send_all(&callees, east, (0..7).map(|number| rtcp(2, number)))?;
    expect(at_callee, path.east, path.callee, &media)?;
    expect(at_callee, east, callee, &reports)?;
    expect(at_caller, west, caller, &answers)?;
    // The port above RTP is nobody's.
    call.caller.send_rtcp(rtcp_of(path.west), 0..3)?;
    let last = call.caller.send_rtp(path.west, 20..21)?;
    let media = [media, last].concat();
    expect(at_callee, path.east, path.callee, &media)?;
    let packets = call.counters()?.into_iter().map(|one| one.packets);
    ensure!(packets.eq([21, 0, 10, 7]), "{:?}", call.counters()?);
    let reports = call.counters()?.into_iter().map(|one| one.rtcp_packets);
    ensure!(reports.eq([0, 0, 10, 7]), "{:?}", call.counters()?);
    let lost = call.relay.totals()?.relayed;
    ensure!(lost.dropped(DropReason::NoSession) == 3, "{lost:?}");
    ensure!(at_callee.datagrams().len() == 31, "something else arrived");
    Ok(())
}

fn multiplexed_rtcp_goes_where_rtp_goes(lab: &Lab, path: Path) -> Result<()> {
    let mut session = session_on(path);
    session.streams.truncate(1);
    let call = Call::with(lab, path, &session)?;
    let mixed = |source| {
        (192..=223)
            .zip(0..)
            .flat_map(move |(kind, number)| [rtp(source, number, SIZE), of_type(kind, number)])
    };
    let to_callee = send_all(&call.caller.rtp, path.west, mixed(1))?;
    let to_caller = send_all(&call.callee.rtp, path.east, mixed(2))?;
    expect(&call.net.at_callee, path.east, path.callee, &to_callee)?;
    expect(&call.net.at_caller, path.west, path.caller, &to_caller)?;
    for counters in call.counters()? {
        ensure!(
            counters.packets == 64 && counters.drops.is_empty(),
            "{counters:?}"
        );
        // Those of all types are told apart.
        ensure!(counters.rtcp_packets == 32, "{counters:?}");
        // Only RTP is measured: its numbers are without a gap.
        let lost = counters.quality.get(&genl_proto::generated::quality::LOST);
        ensure!(lost == Some(&0), "{counters:?}");
    }
    Ok(())
}

fn what_is_of_the_other_kind_is_dropped_and_counted(lab: &Lab, path: Path) -> Result<()> {
    let call = Call::new(lab, path)?;
    let (at_caller, at_callee) = (&call.net.at_caller, &call.net.at_callee);
    // RTP at a port of RTCP is what nobody has asked for. RTCP at the port of RTP is, by RFC 5761.
    let media = (0..10).map(|number| rtp(1, number, SIZE));
    send_all(&call.caller.rtcp, rtcp_of(path.west), media)?;
    let media = (0..5).map(|number| rtp(2, number, SIZE));
    send_all(&call.callee.rtcp, rtcp_of(path.east), media)?;
    let reports = call.caller.send_rtcp(rtcp_of(path.west), 0..3)?;
    let answers = call.callee.send_rtcp(rtcp_of(path.east), 0..3)?;
    let (from, to) = (rtcp_of(path.east), rtcp_of(path.callee));
    expect(at_callee, from, to, &reports)?;
    let (from, to) = (rtcp_of(path.west), rtcp_of(path.caller));
    expect(at_caller, from, to, &answers)?;
    let counters = call.counters()?;
    for (counters, dropped) in counters.iter().skip(2).zip([10, 5]) {
        ensure!(
            counters.packets == 3 && counters.drops == [(DropReason::Malformed, dropped)],
            "{counters:?}"
        );
    }
    Ok(())
}
