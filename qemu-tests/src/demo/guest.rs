// SPDX-License-Identifier: MIT OR Apache-2.0

//! The guest's part: the demonstration from its first step to its verdict.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, bail};

use super::call::{Call, RATE, SECONDS};
use super::checks::{Check, Flow, privacy};
use super::relay_host::Host;
use super::stage::{Show, Stage};
use crate::guest::lab::Lab;
use crate::guest::relay::{Counters, Events, Relay, State, Totals};
use crate::guest::topology::{CALLEE, CALLER, EAST, Topology, WEST};
use crate::guest::wait::{LIMIT, until};

/// Plays the whole demonstration. An error says what did not go as it should.
pub fn run(lab: &Lab, show: Show<'_>) -> Result<()> {
    let mut host = Host::start(lab, Stage(show))?;
    let stage = host.stage;
    let relay = Relay::open(&host.net.relay)?;
    let events = Events::subscribe(&host.net.relay)?;

    stage.text(&format!(
        "
The call

  caller {CALLER} ------ {WEST}  relay host  {EAST} ------ {CALLEE} callee
                            Kamailio, lrep-cl and lreproxy.ko

  The relay host routes nothing between its two sides. Seconds since the first message:
"
    ))?;
    let mut call = Call::place(lab, &mut host)?;
    until("the call's session in the kernel", LIMIT, || {
        Ok((relay.sessions()?.len() == 1).then_some(()))
    })?;

    stage.text(&format!(
        "\nThe audio: {SECONDS} s, {RATE} packets a second each way, and RTCP once a second\n"
    ))?;
    let spoken = call.talk(&host)?;

    stage.text("\nThe end of the call\n")?;
    call.hang_up(&mut host)?;
    let ended = events.next()?;
    stage.text(&last_words(&ended))?;
    for verb in ["sessions", "stats"] {
        stage.text(&format!("\n# lrep-cl {verb}"))?;
        stage.text(host.lrep_cl(verb)?.trim_end())?;
    }

    stage.text(
        "\nThe check: what was sent, what the kernel counted, what captures at both parties show\n",
    )?;
    let checks = checks(
        &host.net,
        &call.flows(&host, spoken, &ended)?,
        &relay.totals()?,
    );
    for check in &checks {
        stage.text(&check.to_string())?;
    }
    match checks.iter().filter(|check| !check.good).count() {
        0 => Ok(()),
        wrong => bail!("{wrong} of these {} checks failed", checks.len()),
    }
}

/// Everything that is checked when the call is over.
fn checks(net: &Topology, flows: &[Flow], totals: &Totals) -> Vec<Check> {
    let mut checks: Vec<_> = flows.iter().map(Flow::check).collect();
    let counted: u64 = flows.iter().map(|flow| flow.counted).sum();
    let (forwarded, dropped) = (totals.relayed.packets, dropped(&totals.relayed));
    checks.push(Check::new(
        forwarded == counted && dropped == 0,
        format!("totals of the kernel: {forwarded} packets forwarded, {dropped} dropped"),
    ));
    checks.push(Check::new(
        totals.sessions == 0,
        format!("sessions left in the kernel: {}", totals.sessions),
    ));
    checks.push(privacy("caller", &net.at_caller.datagrams(), WEST, CALLEE));
    checks.push(privacy("callee", &net.at_callee.datagrams(), EAST, CALLER));
    checks
}

/// The kernel's event about a session that has ended.
fn last_words(ended: &State) -> String {
    let mut text = format!(
        "\nThe kernel's last word: session {} {} after {:.1} s\n",
        ended.id,
        ended.end_reason.map_or("ended", |reason| reason.name()),
        Duration::from_millis(ended.age_ms).as_secs_f64()
    );
    for (stream, from_a, from_b) in &ended.streams {
        for (from, to, counters) in [(stream.a, stream.b, from_a), (stream.b, stream.a, from_b)] {
            let party = |remote: Option<SocketAddr>| {
                remote.map_or_else(|| "on hold".to_owned(), |remote| remote.to_string())
            };
            text += &format!(
                "  {:<4}  {:>14} → {:<14}  {:>6} packets  {:>8} bytes  {} dropped\n",
                stream.kind.name(),
                party(from.remote),
                party(to.remote),
                counters.packets,
                counters.bytes,
                dropped(counters)
            );
        }
    }
    text.truncate(text.trim_end().len());
    text
}

fn dropped(counters: &Counters) -> u64 {
    counters.drops.iter().map(|(_, packets)| packets).sum()
}
