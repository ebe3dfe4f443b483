// SPDX-License-Identifier: MIT OR Apache-2.0

//! Calls at the same time, between two SIPp.

use anyhow::{Context, Result};

use super::fixture::expect;
use crate::guest::lab::Lab;
use crate::guest::relay::{Endpoint, State};
use crate::guest::rtp::Party;
use crate::guest::sip::{Message, Phone, Side, messages};
use crate::guest::topology::Topology;
use crate::guest::wait::{LIMIT, until};

/// Whether this is the success of a request.
pub fn is_answer(message: &Message, cseq: &str) -> bool {
    message.line.starts_with("SIP/2.0 200") && message.cseq == cseq
}

/// Answered calls.
pub struct ManyCalls {
    caller: Phone,
    callee: Phone,
    answers: Vec<Message>,
}

impl ManyCalls {
    /// Places calls, and waits until all are answered and acknowledged.
    pub fn place(lab: &Lab, net: &Topology, calls: u32) -> Result<Self> {
        net.at_caller.forget();
        net.at_callee.forget();
        let callee = Phone::start(lab, net, Side::Callee, "callee-many", calls)?;
        let caller = Phone::start(lab, net, Side::Caller, "caller-many", calls)?;
        let answers = until("all calls answered", LIMIT * 2, || {
            let mut found: Vec<_> = messages(&net.at_caller)
                .into_iter()
                .filter(|one| is_answer(one, "1 INVITE"))
                .collect();
            found.sort_by(|a, b| a.call_id.cmp(&b.call_id));
            found.dedup_by(|a, b| a.call_id == b.call_id);
            Ok((found.len() == calls as usize).then_some(found))
        })?;
        // Workers overtake each other; a callee that is hung up on before it is acknowledged gives
        // up.
        until("all calls acknowledged", LIMIT * 2, || {
            let mut found: Vec<_> = messages(&net.at_callee)
                .into_iter()
                .filter(|one| one.line.starts_with("ACK"))
                .map(|one| one.call_id)
                .collect();
            found.sort();
            found.dedup();
            Ok((found.len() == calls as usize).then_some(()))
        })?;
        Ok(Self {
            caller,
            callee,
            answers,
        })
    }

    /// Has the parties of all calls that have a session talk, and compares what they hear.
    pub fn talk(&self, net: &Topology, sessions: &[State]) -> Result<()> {
        let mut talks = Vec::new();
        for answer in &self.answers {
            let west = answer.media.context("the caller got no SDP")?;
            let found = sessions
                .iter()
                .find(|one| one.label == answer.call_id.as_bytes());
            let Some(session) = found else { continue };
            // The endpoint the caller sends to, and the one facing it.
            let (near, far) = session
                .streams()
                .iter()
                .find_map(|one| match () {
                    () if one.a.local == west => Some((one.a, one.b)),
                    () if one.b.local == west => Some((one.b, one.a)),
                    () => None,
                })
                .with_context(|| format!("no endpoint {west} in {session:?}"))?;
            let at_caller = near.remote.context("a caller without an address")?;
            let at_callee = far.remote.context("a callee without an address")?;
            let parties = (
                Party::new(&net.caller, at_caller)?,
                Party::new(&net.callee, at_callee)?,
            );
            let to_callee = parties.0.send_rtp(near.local, 0..10)?;
            let to_caller = parties.1.send_rtp(far.local, 0..10)?;
            talks.push((near, far, to_callee, to_caller));
        }
        for (near, far, to_callee, to_caller) in &talks {
            let remote = |one: &Endpoint| one.remote.context("no remote");
            expect(&net.at_callee, far.local, remote(far)?, to_callee)?;
            expect(&net.at_caller, near.local, remote(near)?, to_caller)?;
        }
        Ok(())
    }

    /// Ends all calls.
    pub fn hang_up(mut self) -> Result<()> {
        for answer in &self.answers {
            self.caller.press(&answer.call_id)?;
        }
        self.caller.finish()?;
        self.callee.finish()
    }
}
