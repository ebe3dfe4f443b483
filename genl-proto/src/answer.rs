// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the kernel answers and tells.

use crate::attributes::{Attributes, DecodeError, Problem};
use crate::config::Config;
use crate::counters::Totals;
use crate::events::{Alarm, Report};
use crate::generated::{self, Command, EndReason, bulk, flush, session};
use crate::session::{BulkCreated, Created, SessionState};

/// The content of an answer or event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A session was made.
    Created(Created),
    /// Several sessions were made.
    BulkCreated(BulkCreated),
    /// The state of a session.
    Session(SessionState),
    /// So many sessions were flushed.
    Flushed(u64),
    /// Settings and versions.
    Config(Config),
    /// Counters of the namespace.
    Totals(Totals),
    /// An event: a session ended.
    Ended(SessionState, EndReason),
    /// An event: something is wrong with packets.
    Alarm(Alarm),
    /// An event: an RTCP packet has arrived.
    Report(Report),
}

impl Answer {
    /// Reads the attributes that follow the generic netlink header.
    ///
    /// # Errors
    ///
    /// Names the attribute that is missing or wrong. Unknown attributes are
    /// skipped.
    pub fn decode(command: Command, bytes: &[u8]) -> Result<Self, DecodeError> {
        let read = |set| Attributes::read(set, bytes);
        Ok(match command {
            Command::SessionNew => {
                let attributes = read(&session::ATTRS)?;
                Self::Created(Created {
                    id: attributes.required(session::ID)?.uint()?,
                    replaced: uints(&attributes, session::REPLACED)?,
                })
            }
            Command::SessionBulkNew => {
                let attributes = read(&bulk::ATTRS)?;
                Self::BulkCreated(BulkCreated {
                    ids: uints(&attributes, bulk::ID)?,
                    replaced: uints(&attributes, bulk::REPLACED)?,
                })
            }
            Command::SessionDel | Command::SessionGet => {
                Self::Session(SessionState::decode(&read(&session::ATTRS)?)?)
            }
            Command::SessionFlush => {
                Self::Flushed(read(&flush::ATTRS)?.required(flush::ENDED)?.uint()?)
            }
            Command::ConfigGet => Self::Config(Config::decode(&read(&generated::config::ATTRS)?)?),
            Command::TotalsGet => Self::Totals(Totals::decode(&read(&generated::totals::ATTRS)?)?),
            Command::SessionEnded => {
                let attributes = read(&session::ATTRS)?;
                let reason = attributes.required(session::END_REASON)?;
                Self::Ended(
                    SessionState::decode(&attributes)?,
                    reason.one_of(EndReason::from_u32)?,
                )
            }
            Command::Alarm => Self::Alarm(Alarm::decode(&read(&generated::alarm::ATTRS)?)?),
            Command::Report => Self::Report(Report::decode(&read(&generated::report::ATTRS)?)?),
            Command::SessionSet | Command::SessionBulkDel | Command::ConfigSet => {
                let problem = Problem::Command(command as u8);
                return Err(DecodeError::of_message(problem));
            }
        })
    }
}

fn uints(attributes: &Attributes<'_>, id: u16) -> Result<Vec<u64>, DecodeError> {
    attributes.all(id).map(|value| value.uint()).collect()
}
