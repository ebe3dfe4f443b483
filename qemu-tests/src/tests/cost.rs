// SPDX-License-Identifier: MIT OR Apache-2.0

//! What packets and sessions may cost, in instructions of the guest: a second of its clock is
//! 1,000 million of them.
//!
//! `make bench` counts the same at more points, and tells where the instructions go.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use genl_proto::generated::BULK_MAX;

use super::{Test, tests};
use crate::bench::flows::Checksum;
use crate::bench::goals::goals;
use crate::bench::paths::Path;
use crate::bench::table::figures;
use crate::bench::{Point, describe, guest};
use crate::guest::crowd::{check_dump, dump, make_place, sessions};
use crate::guest::lab::Lab;
use crate::guest::relay::{Relay, bulk_of};
use crate::guest::topology::namespaces;
use crate::guest::{memory, module};

pub const TESTS: &[Test] = tests![
    a_relayed_packet_costs_less_than_a_forwarded_one,
    a_relayed_packet_costs_less_than_a_translated_one,
    a_relayed_packet_costs_less_than_one_a_process_relays,
    a_packet_costs_as_much_among_many_sessions_as_alone,
    many_sessions_are_made_told_and_kept_within_their_cost,
];

/// Counts at these points and fails where a goal that they say something about is not reached.
fn expect_goals(lab: &Lab, paths: &[Path], checksums: &[Checksum], counts: &[usize]) -> Result<()> {
    let mut samples = Vec::new();
    for &path in paths {
        for &checksum in checksums {
            for &sessions in counts.iter().filter(|count| path.takes(**count)) {
                let point = Point {
                    path,
                    checksum,
                    sessions,
                };
                lab.step(describe(point));
                samples.push(guest::measure(point)?);
            }
        }
    }
    let mut judged = 0;
    for goal in goals(&figures(&samples)) {
        let Some(is_reached) = goal.is_reached() else {
            continue;
        };
        lab.step(format!("{goal:?}"));
        ensure!(is_reached, "not reached: {goal:?}");
        judged += 1;
    }
    ensure!(judged > 0, "no goal says anything about {paths:?}");
    Ok(())
}

fn a_relayed_packet_costs_less_than_a_forwarded_one(lab: &Lab) -> Result<()> {
    use Path::*;
    let paths = [
        IpForward,
        Lreproxy,
        LreproxyCounters,
        Ip6Forward,
        LreproxyIpv6,
        LreproxyIpv4ToIpv6,
    ];
    expect_goals(lab, &paths, &Checksum::ALL, &[1_000])
}

fn a_relayed_packet_costs_less_than_a_translated_one(lab: &Lab) -> Result<()> {
    use Path::*;
    let paths = [Lreproxy, Conntrack, NftNat, NftFlowtable];
    expect_goals(lab, &paths, &Checksum::ALL, &[1_000])
}

fn a_relayed_packet_costs_less_than_one_a_process_relays(lab: &Lab) -> Result<()> {
    let paths = [Path::Lreproxy, Path::Userspace];
    expect_goals(lab, &paths, &Checksum::ALL, &[100])
}

fn a_packet_costs_as_much_among_many_sessions_as_alone(lab: &Lab) -> Result<()> {
    expect_goals(lab, &[Path::Lreproxy], &[Checksum::Full], &[1, 50_000])
}

fn many_sessions_are_made_told_and_kept_within_their_cost(lab: &Lab) -> Result<()> {
    /// Each has four directions.
    const COUNT: usize = 100_000;
    /// Most memory of a direction, with all it counts.
    const BYTES: u64 = 1024;
    /// Fewest sessions made in a second.
    const RATE: usize = 20_000;
    const TIME_OF_A_DUMP: Duration = Duration::from_secs(1);
    module::ensure_loaded()?;
    let (_caller, host, _callee) = namespaces()?;
    let relay = Relay::open(&host)?;
    make_place(&host, &relay, COUNT)?;
    let slabs = memory::unreclaimable()?;
    let mut ids = Vec::with_capacity(COUNT);
    let mut making = Duration::ZERO;
    for from in (0..COUNT).step_by(BULK_MAX as usize) {
        let some = bulk_of(&sessions(from..COUNT.min(from + BULK_MAX as usize))?);
        let began = Instant::now();
        ids.extend(relay.make_bulk(&some)?);
        making += began.elapsed();
    }
    let bytes = memory::unreclaimable()?.saturating_sub(slabs) / (4 * COUNT as u64);
    let began = Instant::now();
    let told = dump(&relay)?;
    let telling = began.elapsed();
    check_dump(&told, &ids)?;
    let began = Instant::now();
    let ended = relay.flush(None)?;
    let ending = began.elapsed();
    ensure!(ended == COUNT as u64, "{ended} of {COUNT} sessions ended");
    lab.step(format!(
        "made in {making:?}, told in {telling:?}, ended in {ending:?}, {bytes} bytes a direction"
    ));
    let most = Duration::from_secs_f64(COUNT as f64 / RATE as f64);
    ensure!(making <= most, "{COUNT} sessions were made in {making:?}");
    ensure!(telling <= TIME_OF_A_DUMP, "they were told in {telling:?}");
    ensure!(ending <= most, "they ended in {ending:?}");
    ensure!(bytes <= BYTES, "a direction takes {bytes} bytes");
    Ok(())
}
