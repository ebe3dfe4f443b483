// SPDX-License-Identifier: MIT OR Apache-2.0

//! How much the sessions of a namespace may hold.

use anyhow::{Result, ensure};
use genl_proto::generated::{Command, LearningMode, learning, session as attr};
use nix::errno::Errno;

use super::fixture::{CALLEE_RTP, Call, EAST_RTP, expect, idle_relay, session_on};
use super::path::Path;
use super::{Test, tests};
use crate::guest::lab::Lab;
use crate::guest::netlink::{Attributes, Refusal};
use crate::guest::relay::{Asked, Relay, Session, bulk_of};

pub const TESTS: &[Test] = tests![
    there_are_no_more_sessions_than_the_limit,
    there_are_no_more_half_open_sessions_than_the_limit,
    sessions_hold_no_more_memory_than_the_limit,
    a_limit_that_is_lowered_ends_no_session,
];

/// The n-th of several calls.
fn nth(number: u16) -> Session {
    session_on(Path::IPV4.nth(number))
}

/// The same before it is answered.
fn unanswered(number: u16) -> Session {
    let mut session = nth(number);
    for stream in &mut session.streams {
        stream.b.remote = None;
    }
    session
}

fn refused(relay: &Relay, session: &Session) -> Result<Refusal> {
    relay.refusal(Command::SessionNew, &session.attributes())
}

fn is(refusal: &Refusal, errno: Errno, text: &str) -> Result<()> {
    ensure!(
        refusal.errno == errno && refusal.text == text,
        "not {errno} with \"{text}\": {refusal:?}"
    );
    Ok(())
}

fn there_are_no_more_sessions_than_the_limit(lab: &Lab) -> Result<()> {
    const TEXT: &str = "sessions-max: there are 3 sessions already";
    let (_net, relay) = idle_relay(lab)?;
    relay.limit(3, 0, 0)?;
    let first = relay.make(&nth(0))?;
    // Two more fit, three do not, and then none of them is made.
    let three = [nth(1), nth(2), nth(3)];
    let refusal = relay.refusal(Command::SessionBulkNew, &bulk_of(&three))?;
    is(&refusal, Errno::ENOSPC, TEXT)?;
    ensure!(relay.sessions()?.len() == 1, "half a command was done");
    relay.make_many(&three[..2])?;
    is(&refused(&relay, &nth(3))?, Errno::ENOSPC, TEXT)?;
    // One that takes the place of another one is not one more.
    let (_, replaced) = relay.make_replacing(&Session {
        replace: true,
        ..nth(0)
    })?;
    ensure!(replaced == [first], "replaced {replaced:?}");
    let totals = relay.totals()?;
    ensure!(totals.refused == (2, 0, 0), "{totals:?}");
    ensure!((totals.sessions, totals.created) == (3, 4), "{totals:?}");
    relay.flush(None)?;
    relay.make(&nth(3)).map(|_| ())
}

fn there_are_no_more_half_open_sessions_than_the_limit(lab: &Lab) -> Result<()> {
    const TEXT: &str = "half-open-max: 2 sessions are half open already";
    let (_net, relay) = idle_relay(lab)?;
    relay.limit(0, 2, 0)?;
    let first = relay.make(&unanswered(0))?;
    relay.make(&unanswered(1))?;
    is(&refused(&relay, &unanswered(2))?, Errno::EUSERS, TEXT)?;
    // Answered calls are not held up.
    relay.make(&nth(2))?;
    ensure!(relay.totals()?.half_open == 2, "{:?}", relay.totals()?);
    // An answer makes room, and a call that is put on hold later takes none.
    relay.set_streams(first, &nth(0).streams)?;
    ensure!(relay.totals()?.half_open == 1, "{:?}", relay.totals()?);
    relay.set_streams(first, &unanswered(0).streams)?;
    let totals = relay.totals()?;
    ensure!(totals.half_open == 1, "{totals:?}");
    ensure!(totals.refused == (0, 1, 0), "{totals:?}");
    relay.make(&unanswered(3))?;
    is(&refused(&relay, &unanswered(4))?, Errno::EUSERS, TEXT)?;
    relay.flush(None)?;
    ensure!(relay.totals()?.half_open == 0, "{:?}", relay.totals()?);
    Ok(())
}

fn sessions_hold_no_more_memory_than_the_limit(lab: &Lab) -> Result<()> {
    let (_net, relay) = idle_relay(lab)?;
    let id = relay.make(&nth(0))?;
    let one = relay.totals()?.memory;
    ensure!(one > 0, "a session without memory");
    relay.limit(0, 0, 2 * one)?;
    relay.make(&nth(1))?;
    let refusal = refused(&relay, &nth(2))?;
    let text = format!(
        "memory-max: sessions would hold more than {} bytes",
        2 * one
    );
    is(&refusal, Errno::EDQUOT, &text)?;
    // What an endpoint has to learn with is memory, too; what needs no more is no more.
    let mut learning_one = nth(0).streams;
    learning_one[0].a.asked = Asked::default().learning(learning::MODE, LearningMode::Nat as u32);
    let change = learning_one
        .iter()
        .fold(Attributes::new().uint(attr::ID, id), |change, stream| {
            change.nest(attr::STREAM, &stream.attributes())
        });
    let before = relay.get(id)?.streams();
    is(
        &relay.refusal(Command::SessionSet, &change)?,
        Errno::EDQUOT,
        &text,
    )?;
    ensure!(relay.get(id)?.streams() == before, "half a change was made");
    relay.set_streams(id, &nth(0).streams)?;
    let totals = relay.totals()?;
    ensure!(totals.refused == (0, 0, 2), "{totals:?}");
    ensure!(totals.memory == 2 * one, "{totals:?}");
    relay.limit(0, 0, 0)?;
    relay.set_streams(id, &learning_one)?;
    ensure!(relay.totals()?.memory > 2 * one, "{:?}", relay.totals()?);
    // All of it comes back.
    relay.flush(None)?;
    ensure!(relay.totals()?.memory == 0, "{:?}", relay.totals()?);
    Ok(())
}

fn a_limit_that_is_lowered_ends_no_session(lab: &Lab) -> Result<()> {
    let call = Call::new(lab, Path::IPV4)?;
    let other = call.relay.make(&unanswered(1))?;
    call.relay.limit(1, 1, 1)?;
    ensure!(call.relay.config()?.limits == (1, 1, 1), "other limits");
    let sent = call.caller.send_rtp(Path::IPV4.west, 0..10)?;
    expect(&call.net.at_callee, EAST_RTP, CALLEE_RTP, &sent)?;
    // Nor is a change refused that takes no more.
    call.relay.set_streams(call.id, &nth(0).streams)?;
    call.relay.end(other)?;
    is(
        &refused(&call.relay, &unanswered(1))?,
        Errno::ENOSPC,
        "sessions-max: there are 1 sessions already",
    )
}
