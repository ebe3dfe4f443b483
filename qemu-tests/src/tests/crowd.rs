// SPDX-License-Identifier: MIT OR Apache-2.0

//! Many sessions at once.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{Test, tests};
use crate::guest::crowd::{Churn, check_dump, dump, make, make_place, session, sessions};
use crate::guest::lab::Lab;
use crate::guest::memory::unreclaimable;
use crate::guest::module;
use crate::guest::relay::Relay;
use crate::guest::topology::Topology;
use crate::guest::wait::{LIMIT, until};

pub const TESTS: &[Test] = tests![
    a_large_table_is_dumped_whole_while_it_changes,
    ended_sessions_give_their_memory_back,
];

const COUNT: usize = 10_000;

/// A relay with the addresses for that many sessions and a few more.
fn relay(lab: &Lab) -> Result<(Topology, Relay)> {
    module::ensure_loaded()?;
    let net = Topology::new(lab)?;
    let relay = Relay::open(&net.relay)?;
    make_place(&net.relay, &relay, 2 * COUNT)?;
    Ok((net, relay))
}

fn a_large_table_is_dumped_whole_while_it_changes(lab: &Lab) -> Result<()> {
    let (net, relay) = relay(lab)?;
    // The ids of those that come and go are below, between and above those of the others.
    let (early, late) = (
        sessions(COUNT..COUNT + 10)?,
        sessions(COUNT + 10..COUNT + 20)?,
    );
    let mut churns = vec![Churn::start(&net.relay, early, Duration::ZERO)?];
    let untouched = make(&relay, &sessions(0..COUNT)?)?;
    churns.push(Churn::start(&net.relay, late, Duration::ZERO)?);
    lab.step("made");
    for _ in 0..3 {
        check_dump(&dump(&relay)?, &untouched)?;
    }
    for churn in churns {
        let changes = churn.stop()?;
        lab.step(format!("{changes} changes"));
        ensure!(changes > 0, "nothing changed");
    }
    let told = relay.sessions()?;
    ensure!(
        told.iter().map(|one| one.id).eq(untouched),
        "other ids, or another order"
    );
    for (number, one) in told.iter().enumerate() {
        let made = session(number)?;
        ensure!(
            one.label == made.label && one.streams() == made.streams,
            "{one:?}"
        );
    }
    ensure!(relay.flush(None)? == COUNT as u64, "not all were flushed");
    ensure!(relay.sessions()?.is_empty(), "some are left");
    Ok(())
}

fn ended_sessions_give_their_memory_back(lab: &Lab) -> Result<()> {
    let (_net, relay) = relay(lab)?;
    let sessions = sessions(0..COUNT)?;
    // Caches and the tables of ports grow once and stay.
    make(&relay, &sessions)?;
    relay.flush(None)?;
    let mut before = 0;
    until("settled memory", LIMIT, || {
        let last = std::mem::replace(&mut before, unreclaimable()?);
        Ok((last.abs_diff(before) < 1 << 16).then_some(()))
    })?;
    make(&relay, &sessions)?;
    let taken = unreclaimable()?.saturating_sub(before);
    // Four directions, each with its counters, its headers and its route.
    let least = 4 * 256 * COUNT as u64;
    ensure!(taken > least, "{COUNT} sessions take {taken} bytes");
    relay.flush(None)?;
    until("memory that is given back", LIMIT, || {
        let kept = unreclaimable()?.saturating_sub(before);
        Ok((kept < taken / 20).then_some(()))
    })
}
