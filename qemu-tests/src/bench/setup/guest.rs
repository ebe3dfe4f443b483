// SPDX-License-Identifier: MIT OR Apache-2.0

//! The guest's part: does it, and measures.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use genl_proto::generated::{BULK_MAX, Command};
use nix::sys::resource::{Usage, UsageWho, getrusage};

use super::others::Other;
use super::{Figure, Part, ticker};
use crate::bench::control;
use crate::bench::network::Network;
use crate::guest::crowd::{Churn, check_dump, dump, make, make_place, session, sessions};
use crate::guest::memory;
use crate::guest::module;
use crate::guest::relay::{Relay, Session, bulk_of};

/// Most NAT rules: a namespace has not tens of thousands of them.
const MOST_RULES: usize = 1_000;

/// Changes that somebody else makes while sessions are dumped: one each millisecond.
const PACE: Duration = Duration::from_millis(1);

/// Ticks of the module's clock that are measured take this long, at two in a second.
const TICKS: Duration = Duration::from_secs(8);

/// Sessions that expire while the clock is watched, and after how long.
const EXPIRING: usize = 1_000;
const EXPIRES_AFTER_MS: u32 = 2_000;

/// Measures one part.
pub fn measure(part: Part) -> Result<Vec<Figure>> {
    let of_the_kernel = |measure: fn(&Network, &Relay, usize) -> Result<Vec<Figure>>, count| {
        module::ensure_loaded()?;
        let network = Network::new()?;
        let relay = Relay::open(&network.relay)?;
        measure(&network, &relay, count)
    };
    match part {
        Part::Programming(count) => of_the_kernel(programming, count),
        Part::Keeping(count) => of_the_kernel(keeping, count),
        Part::Watching(count) => of_the_kernel(watching, count),
        Part::Controlling(controller, calls) => control::measure(controller, calls),
        Part::Flooding => control::measure_flood(),
    }
}

/// What something cost.
struct Cost {
    wall: Duration,
    user: Duration,
    system: Duration,
}

impl Cost {
    fn of<T>(who: UsageWho, act: impl FnOnce() -> Result<T>) -> Result<(T, Self)> {
        let usage = || getrusage(who).context("cannot tell how much time was used");
        let (before, began) = (usage()?, Instant::now());
        let done = act()?;
        let (after, wall) = (usage()?, began.elapsed());
        let spent = |time: fn(&Usage) -> nix::sys::time::TimeVal| {
            let time = time(&after) - time(&before);
            Duration::from_micros((time.tv_sec() * 1_000_000 + time.tv_usec()).unsigned_abs())
        };
        Ok((
            done,
            Self {
                wall,
                user: spent(Usage::user_time),
                system: spent(Usage::system_time),
            },
        ))
    }

    /// As figures for each of `count` things.
    fn figures(&self, what: &str, count: usize) -> Vec<Figure> {
        let each = |time: Duration| time.as_secs_f64() * 1e9 / count as f64;
        let processor = self.user + self.system;
        vec![
            Figure::new(format!("{what}: wall clock"), each(self.wall), "ns"),
            Figure::new(format!("{what}: processor, all"), each(processor), "ns"),
            Figure::new(
                format!("{what}: processor, kernel"),
                each(self.system),
                "ns",
            ),
        ]
    }
}

fn programming(network: &Network, relay: &Relay, count: usize) -> Result<Vec<Figure>> {
    make_place(&network.relay, relay, count)?;
    let all = sessions(0..count)?;
    let mut figures = Vec::new();
    // Once for the tables of ports, which stay.
    make(relay, &all)?;
    relay.flush(None)?;
    let bulks: Vec<_> = all.chunks(BULK_MAX as usize).map(bulk_of).collect();
    let singles: Vec<_> = all.iter().map(Session::attributes).collect();
    let ways = [
        (
            "session, many in one message",
            Command::SessionBulkNew,
            bulks,
        ),
        ("session, one in a message", Command::SessionNew, singles),
    ];
    for (what, command, messages) in ways {
        let ((), cost) = Cost::of(UsageWho::RUSAGE_THREAD, || {
            for message in &messages {
                relay
                    .call(command, message)?
                    .map_err(|refusal| anyhow::anyhow!("a session was refused: {refusal:?}"))?;
            }
            Ok(())
        })?;
        figures.extend(cost.figures(what, count));
        let (ended, cost) = Cost::of(UsageWho::RUSAGE_THREAD, || relay.flush(None))?;
        ensure!(
            ended == count as u64,
            "{ended} of {count} sessions were made"
        );
        figures.extend(cost.figures(&format!("end of a {what}"), count));
    }
    for other in Other::ALL {
        let sessions = match other {
            Other::NftRules => count.min(MOST_RULES),
            _ => count,
        };
        let (text, made) = other.prepare(&network.relay, sessions)?;
        let file = "/tmp/compared";
        fs::write(file, text).with_context(|| format!("cannot write {file}"))?;
        let ((), cost) = Cost::of(UsageWho::RUSAGE_CHILDREN, || {
            other.program(&network.relay, file)
        })?;
        figures.extend(cost.figures(other.name(), made));
        other.clear(&network.relay)?;
    }
    Ok(figures)
}

fn keeping(network: &Network, relay: &Relay, count: usize) -> Result<Vec<Figure>> {
    const CHANGING: usize = 100;
    make_place(&network.relay, relay, count + CHANGING)?;
    let (slabs, mapped, free) = (memory::unreclaimable()?, memory::mapped()?, memory::free()?);
    let objects = memory::objects()?;
    let mut ids = Vec::with_capacity(count);
    for from in (0..count).step_by(1_000) {
        ids.extend(make(relay, &sessions(from..count.min(from + 1_000))?)?);
    }
    let directions = (4 * count) as f64;
    let more = |now: u64, before: u64| (now as f64 - before as f64) / directions;
    let mut figures = vec![
        Figure::new(
            "memory: slabs",
            more(memory::unreclaimable()?, slabs),
            "bytes",
        ),
        Figure::new("memory: mapped", more(memory::mapped()?, mapped), "bytes"),
        Figure::new("memory: all", -more(memory::free()?, free), "bytes"),
    ];
    for (size, now) in memory::objects()? {
        let each = more(now, objects.get(&size).copied().unwrap_or_default());
        if each > 0.05 {
            figures.push(Figure::new(
                format!("objects of {size} bytes"),
                each,
                "objects",
            ));
        }
    }
    let (told, cost) = Cost::of(UsageWho::RUSAGE_THREAD, || dump(relay))?;
    check_dump(&told, &ids)?;
    figures.extend(cost.figures("dump of a quiet table, a session", count));
    let changing = sessions(count..count + CHANGING)?;
    let churn = Churn::start(&network.relay, changing, PACE)?;
    let (told, cost) = Cost::of(UsageWho::RUSAGE_THREAD, || dump(relay))?;
    let changes = churn.stop()?;
    check_dump(&told, &ids)?;
    let rate = changes as f64 / cost.wall.as_secs_f64();
    figures.extend(cost.figures("dump of a changing table, a session", count));
    figures.push(Figure::new("changes while it was dumped", rate, "a second"));
    let (ended, cost) = Cost::of(UsageWho::RUSAGE_THREAD, || relay.flush(None))?;
    ensure!(
        ended == count as u64,
        "{ended} of {count} sessions were there"
    );
    figures.extend(cost.figures("flush, a session", count));
    Ok(figures)
}

fn watching(network: &Network, relay: &Relay, count: usize) -> Result<Vec<Figure>> {
    make_place(&network.relay, relay, count + EXPIRING)?;
    for from in (0..count).step_by(1_000) {
        make(relay, &sessions(from..count.min(from + 1_000))?)?;
    }
    let idle = middle(ticker::ticks(TICKS)?).context("the module's clock did not tick")?;
    let short = (count..count + EXPIRING)
        .map(|number| {
            Ok(Session {
                timeout_ms: EXPIRES_AFTER_MS,
                ..session(number)?
            })
        })
        .collect::<Result<Vec<_>>>()?;
    make(relay, &short)?;
    let lengths = ticker::ticks(TICKS)?;
    let expired = relay.totals()?.expired;
    ensure!(
        expired == EXPIRING as u64,
        "{expired} of {EXPIRING} sessions expired"
    );
    let work: u64 = lengths.iter().map(|one| one.saturating_sub(idle)).sum();
    Ok(vec![
        Figure::new("a tick with nothing to do", idle as f64, "instructions"),
        Figure::new(
            "a session that expires",
            work as f64 / EXPIRING as f64,
            "instructions",
        ),
    ])
}

fn middle(mut values: Vec<u64>) -> Option<u64> {
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}
