// SPDX-License-Identifier: MIT OR Apache-2.0

//! What happens when memory runs out, moves, or is lost. The debug kernel makes it happen.

use anyhow::{Context, Result, bail, ensure};
use genl_proto::generated::{Command, DropReason, config, session as attr};
use nix::errno::Errno;
use nix::libc;

use super::control::{many, valid_messages};
use super::fixture::{
    CALLER_RTP, Call, EAST_RTP, LOCALS, PORTS, WEST_RTP, demanding_session_on, expect, idle_relay,
    session, streams,
};
use super::path::Path;
use super::{Test, tests, tests_on_all_paths};
use super::{
    datapath, exact, impaired, learning, links, neighbours, output, policy, quality, reports, rtcp,
    versions,
};
use crate::guest::debug::{FailNth, Faults, leaks, wait_for_packets_on_their_way};
use crate::guest::lab::Lab;
use crate::guest::module;
use crate::guest::netlink::Attributes;
use crate::guest::observer::Observer;
use crate::guest::relay::{
    Config, Events, Relay, Session, State, bulk_ids, bulk_of, id_told, octets, ranges_of,
};
use crate::guest::topology::CALLEE;
use crate::guest::wait::{LIMIT, until};

pub const TESTS: &[Test] = tests![
    every_promise_about_media_holds_while_packets_move_in_memory,
    every_byte_is_as_specified_while_packets_move_in_memory,
    every_promise_about_links_holds_while_packets_move_in_memory,
    every_promise_about_ways_out_holds_while_packets_move_in_memory,
    every_promise_about_admission_holds_while_packets_move_in_memory,
    every_promise_about_quality_holds_while_packets_move_in_memory,
    a_command_without_memory_fails_and_changes_nothing,
    an_end_that_cannot_be_told_is_noticed,
    a_dump_without_memory_fails_and_the_next_is_whole,
];

pub const TIMED: &[Test] = tests![every_measure_is_right_while_packets_move_in_memory];

pub const ON_ALL_PATHS: &[Test] = tests_on_all_paths![media_without_memory_is_dropped_and_counted];

/// Ends every run: none of the tests before may have lost memory.
pub static NO_MEMORY_IS_LOST: Test = Test {
    name: "no_memory_is_lost",
    run: no_memory_is_lost,
};

/// Commands allocate this often at most. It only ends a loop that would not end by itself.
const MOST_ALLOCATIONS: u32 = 2000;

fn no_memory_is_lost(_lab: &Lab) -> Result<()> {
    let leaks = leaks()?;
    ensure!(leaks.is_empty(), "lost memory:\n{leaks}");
    Ok(())
}

/// Runs tests while every packet that the relay makes writable or longer gets other memory.
fn hold_while_packets_move(lab: &Lab, promises: &[&[Test]]) -> Result<()> {
    for test in promises.iter().copied().flatten() {
        lab.step(test.name);
        let faults = Faults::in_packet_memory()?;
        (test.run)(lab).context(test.name)?;
        drop(faults);
        lab.clean_up();
    }
    Ok(())
}

fn every_promise_about_media_holds_while_packets_move_in_memory(lab: &Lab) -> Result<()> {
    let promises = [datapath::ON_ALL_PATHS, datapath::ON_SOME_PATHS];
    hold_while_packets_move(lab, &promises)
}

fn every_byte_is_as_specified_while_packets_move_in_memory(lab: &Lab) -> Result<()> {
    hold_while_packets_move(lab, &[exact::ON_ALL_PATHS])
}

fn every_promise_about_links_holds_while_packets_move_in_memory(lab: &Lab) -> Result<()> {
    let promises = [
        neighbours::ON_PATHS,
        links::ON_ALL_PATHS,
        links::ON_PATHS,
        links::TESTS,
    ];
    hold_while_packets_move(lab, &promises)
}

fn every_promise_about_ways_out_holds_while_packets_move_in_memory(lab: &Lab) -> Result<()> {
    let promises = [
        output::ON_ALL_PATHS,
        output::ON_PATHS,
        output::TESTS,
        versions::TESTS,
        versions::ON_PATHS,
    ];
    hold_while_packets_move(lab, &promises)
}

fn every_promise_about_admission_holds_while_packets_move_in_memory(lab: &Lab) -> Result<()> {
    let promises = [rtcp::ON_ALL_PATHS, policy::ON_PATHS, learning::ON_PATHS];
    hold_while_packets_move(lab, &promises)
}

fn every_promise_about_quality_holds_while_packets_move_in_memory(lab: &Lab) -> Result<()> {
    let promises = [quality::ON_PATHS, quality::TESTS, reports::ON_ALL_PATHS];
    hold_while_packets_move(lab, &promises)
}

fn every_measure_is_right_while_packets_move_in_memory(lab: &Lab) -> Result<()> {
    hold_while_packets_move(lab, &[impaired::ON_PATHS])
}

fn media_without_memory_is_dropped_and_counted(lab: &Lab, path: Path) -> Result<()> {
    const COUNT: u16 = 100;
    let call = Call::new(lab, path)?;
    let at_relay = lab.capture(&call.net.relay, "west")?;
    // It holds a clone of each packet, so that the relay has to copy it: the capture's own may be
    // gone by then.
    let _clones = Observer::new(&call.net.relay, "west")?;
    let sent = call.caller.send_rtp(path.west, 0..COUNT)?;
    expect(&call.net.at_callee, path.east, path.callee, &sent)?;
    let faults = Faults::in_allocations_of_the_module()?;
    call.caller.send_rtp(path.west, 0..COUNT)?;
    // Asking for counters takes memory, too: the packets have to have been there before.
    at_relay.wait_for(2 * usize::from(COUNT), LIMIT, |one| one.to == path.west)?;
    wait_for_packets_on_their_way()?;
    drop(faults);
    until("packets without memory counted", LIMIT, || {
        let dropped = call.counters()?[0].dropped(DropReason::NoMemory);
        Ok((dropped == u64::from(COUNT)).then_some(()))
    })?;
    let more = call.caller.send_rtp(path.west, COUNT..2 * COUNT)?;
    let all: Vec<_> = sent.into_iter().chain(more).collect();
    expect(&call.net.at_callee, path.east, path.callee, &all)?;
    Ok(())
}

/// What a command can change, without the numbers that differ from one try to the next.
#[derive(Debug, PartialEq)]
struct Table {
    sessions: Vec<State>,
    config: Config,
}

impl Table {
    fn read(relay: &Relay) -> Result<Self> {
        let mut sessions = relay.sessions()?;
        for session in &mut sessions {
            (session.id, session.age_ms, session.idle_ms) = (0, 0, 0);
        }
        Ok(Self {
            sessions,
            config: relay.config()?,
        })
    }
}

/// Lets the table be what it was before every try, and tells the id of its only session.
fn restore(relay: &Relay) -> Result<u64> {
    relay.flush(None)?;
    relay.configure(PORTS, &LOCALS)?;
    relay.limit(0, 0, 0)?;
    relay.make(&session())
}

/// A request of each kind, about the session with this id where it is about one.
fn requests(id: u64) -> Vec<(Command, Attributes)> {
    let mut requests = valid_messages(id);
    let moved = std::net::SocketAddr::new(CALLEE, 42_000);
    let mut set = Attributes::new().uint(attr::ID, id).u32(attr::OWNER, 8);
    for stream in streams((WEST_RTP, Some(CALLER_RTP)), (EAST_RTP, Some(moved))) {
        set = set.nest(attr::STREAM, &stream.attributes());
    }
    let replacing = Session {
        label: b"another call".to_vec(),
        replace: true,
        ..session()
    };
    let wider = ranges_of(&[(PORTS.0, PORTS.1 + 1), (40_000, 40_003)])
        .bytes(config::LOCAL_ADDRESS, &[10, 5, 0, 1]);
    let wider = LOCALS.into_iter().fold(wider, |wider, address| {
        wider.bytes(config::LOCAL_ADDRESS, &octets(address))
    });
    // Over IPv6, with all that can be asked.
    let demanding = demanding_session_on(Path::IPV6);
    let mut asked = Attributes::new().uint(attr::ID, id);
    for stream in &demanding_session_on(Path::IPV4).streams {
        asked = asked.nest(attr::STREAM, &stream.attributes());
    }
    requests.extend([
        (Command::SessionNew, demanding.attributes()),
        (Command::SessionBulkNew, bulk_of(&[demanding])),
        (Command::SessionSet, asked),
        (Command::SessionSet, set),
        (Command::SessionNew, replacing.attributes()),
        (Command::ConfigSet, wider),
        (Command::ConfigGet, Attributes::new()),
        (Command::TotalsGet, Attributes::new()),
    ]);
    requests
}

fn a_command_without_memory_fails_and_changes_nothing(lab: &Lab) -> Result<()> {
    let (net, relay) = idle_relay(lab)?;
    // Somebody listens, so that events are made.
    let _events = Events::subscribe(&net.relay)?;
    let mut faults = FailNth::new()?;
    let id = restore(&relay)?;
    for number in 0..requests(id).len() {
        let id = restore(&relay)?;
        let before = Table::read(&relay)?;
        let (command, attributes) = requests(id).swap_remove(number);
        relay
            .call(command, &attributes)?
            .map_err(|refusal| anyhow::anyhow!("{} was refused: {refusal:?}", command.name()))?;
        let after = Table::read(&relay)?;
        let (mut refused, mut lost, mut done) = (0, 0, 0);
        for nth in 1..=MOST_ALLOCATIONS {
            let id = restore(&relay)?;
            let (command, attributes) = requests(id).swap_remove(number);
            let what = || format!("{} with allocation {nth} failing", command.name());
            let (sent, reached) =
                faults.during(nth, || relay.netlink.send(command as u8, 0, &attributes))?;
            let outcome = match sent.with_context(what)? {
                Ok(sequence) => match relay.netlink.answers(sequence) {
                    Ok(outcome) => outcome.map_err(|refusal| refusal.errno).map(|_| true),
                    Err(error) if error.downcast_ref() == Some(&Errno::ENOBUFS) => Ok(false),
                    Err(error) => return Err(error).with_context(what),
                },
                Err(errno) => Err(errno),
            };
            let now = Table::read(&relay)?;
            match outcome {
                Err(Errno::ENOMEM | Errno::ENOBUFS) => {
                    refused += 1;
                    ensure!(now == before, "{} changed {before:?} to {now:?}", what());
                }
                Err(other) => bail!("{}: {other}", what()),
                // The kernel had no memory for the acknowledgement.
                Ok(false) => {
                    lost += 1;
                    ensure!(
                        now == before || now == after,
                        "{} left half a change: {now:?}",
                        what()
                    );
                }
                Ok(true) => {
                    done += 1;
                    ensure!(now == after, "{} did {now:?}, not {after:?}", what());
                }
            }
            if !reached {
                ensure!(outcome == Ok(true), "{} of none: {outcome:?}", what());
                break;
            }
            ensure!(nth < MOST_ALLOCATIONS, "{} has no end", what());
        }
        lab.step(format!(
            "{}: {refused} refused, {lost} answers lost, {done} done all the same",
            command.name()
        ));
        ensure!(refused > 0, "{} needs no memory at all", command.name());
    }
    drop(relay);
    drop(net);
    no_memory_is_lost(lab)
}

fn an_end_that_cannot_be_told_is_noticed(lab: &Lab) -> Result<()> {
    let (net, relay) = idle_relay(lab)?;
    // More than one datagram holds.
    let sessions = many(20);
    let mut faults = FailNth::new()?;
    let (mut told, mut noticed) = (0, 0);
    for nth in 1..=MOST_ALLOCATIONS {
        relay.flush(None)?;
        let ids = relay.make_many(&sessions)?;
        let events = Events::subscribe(&net.relay)?;
        let (sent, reached) = faults.during(nth, || {
            let command = Command::SessionBulkDel as u8;
            relay.netlink.send(command, 0, &bulk_ids(&ids))
        })?;
        // Whatever it is answered, or not: the table says whether it was carried out.
        let _ = sent?;
        relay.netlink.settle()?;
        if relay.sessions()?.is_empty() {
            let mut waited_for = ids.into_iter();
            let outcome = waited_for.try_for_each(|id| {
                let session = events.next()?;
                ensure!(session.id == id, "session {} of {id} ended", session.id);
                Ok(())
            });
            match outcome {
                Ok(()) => told += 1,
                Err(error) if error.downcast_ref() == Some(&Errno::ENOBUFS) => noticed += 1,
                Err(error) => return Err(error.context("the end of a session")),
            }
        } else {
            ensure!(events.is_quiet(), "an event of what was not done");
        }
        if !reached {
            break;
        }
    }
    lab.step(format!(
        "{told} times all ends were told, {noticed} times it was noticed that not"
    ));
    ensure!(told > 0 && noticed > 0, "{told} told, {noticed} noticed");
    Ok(())
}

fn a_dump_without_memory_fails_and_the_next_is_whole(lab: &Lab) -> Result<()> {
    let (net, relay) = idle_relay(lab)?;
    // More than one message holds.
    let ids = relay.make_many(&many(200))?;
    let mut faults = FailNth::new()?;
    let (mut failed, mut whole) = (0, 0);
    for nth in 1..=MOST_ALLOCATIONS {
        let relay = Relay::open(&net.relay)?;
        let (outcome, reached) = faults.during(nth, || {
            relay.netlink.call(
                Command::SessionGet as u8,
                libc::NLM_F_DUMP,
                &Attributes::new(),
            )
        })?;
        match outcome {
            Ok(Ok(answers)) => {
                whole += 1;
                let told: Vec<_> = answers.iter().map(|one| id_told(one)).collect();
                ensure!(
                    told.iter().flatten().eq(&ids),
                    "with allocation {nth} failing: {told:?}"
                );
            }
            Ok(Err(refusal)) => {
                failed += 1;
                ensure!(refusal.errno == Errno::ENOMEM, "{nth}: {refusal:?}");
            }
            Err(error) => {
                failed += 1;
                ensure!(
                    matches!(error.downcast_ref(), Some(Errno::ENOBUFS | Errno::ENOMEM)),
                    "{nth}: {error:#}"
                );
            }
        }
        // The socket is closed in the middle of it.
        drop(relay);
        if !reached {
            break;
        }
        ensure!(nth < MOST_ALLOCATIONS, "a dump has no end");
    }
    lab.step(format!("{failed} failed, {whole} whole"));
    ensure!(failed > 0, "a dump needs no memory at all");
    ensure!(relay.sessions()?.len() == ids.len(), "sessions are missing");
    relay.end_many(&ids)?;
    module::unload()?;
    module::load()?;
    Ok(())
}
