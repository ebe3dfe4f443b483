// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the kernel answers and tells.

use crate::attributes::{Attributes, DecodeError, Problem};
use crate::config::Config;
use crate::counters::Totals;
use crate::events::{Alarm, Report};
use crate::generated::{self, Command, EndReason, bulk, flush, session};
use crate::session::{BulkCreated, Created, SessionState};
use crate::writer::{EncodeError, Writer};

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
    /// The session that was made, if it says so.
    pub fn created(self) -> Option<Created> {
        match self {
            Self::Created(created) => Some(created),
            _ => None,
        }
    }

    /// The state of a session, if it is one.
    pub fn session(self) -> Option<SessionState> {
        match self {
            Self::Session(session) => Some(session),
            _ => None,
        }
    }

    /// How many sessions were flushed, if it says so.
    pub fn flushed(self) -> Option<u64> {
        match self {
            Self::Flushed(ended) => Some(ended),
            _ => None,
        }
    }

    /// The settings, if it tells them.
    pub fn config(self) -> Option<Config> {
        match self {
            Self::Config(config) => Some(config),
            _ => None,
        }
    }

    /// The counters, if it tells them.
    pub fn totals(self) -> Option<Totals> {
        match self {
            Self::Totals(totals) => Some(totals),
            _ => None,
        }
    }

    /// The command it comes with; a session may come with `session-del`, too.
    pub const fn command(&self) -> Command {
        match self {
            Self::Created(_) => Command::SessionNew,
            Self::BulkCreated(_) => Command::SessionBulkNew,
            Self::Session(_) => Command::SessionGet,
            Self::Flushed(_) => Command::SessionFlush,
            Self::Config(_) => Command::ConfigGet,
            Self::Totals(_) => Command::TotalsGet,
            Self::Ended(..) => Command::SessionEnded,
            Self::Alarm(_) => Command::Alarm,
            Self::Report(_) => Command::Report,
        }
    }

    /// The attributes as [`Answer::decode`] reads them: those the kernel would send.
    ///
    /// # Errors
    ///
    /// A label, or what is known of a stream, that no netlink attribute can hold.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let mut writer = Writer::default();
        match self {
            Self::Created(created) => {
                writer.uint(session::ID, created.id)?;
                write_uints(&mut writer, session::REPLACED, &created.replaced)?;
            }
            Self::BulkCreated(created) => {
                write_uints(&mut writer, bulk::ID, &created.ids)?;
                write_uints(&mut writer, bulk::REPLACED, &created.replaced)?;
            }
            Self::Session(state) => state.encode(&mut writer)?,
            Self::Flushed(ended) => writer.uint(flush::ENDED, *ended)?,
            Self::Config(config) => config.encode(&mut writer)?,
            Self::Totals(totals) => totals.encode(&mut writer)?,
            Self::Ended(state, reason) => {
                state.encode(&mut writer)?;
                writer.u32(session::END_REASON, *reason as u32)?;
            }
            Self::Alarm(alarm) => alarm.encode(&mut writer)?,
            Self::Report(report) => report.encode(&mut writer)?,
        }
        Ok(writer.finish())
    }

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

fn write_uints(writer: &mut Writer, id: u16, values: &[u64]) -> Result<(), EncodeError> {
    values.iter().try_for_each(|value| writer.uint(id, *value))
}
