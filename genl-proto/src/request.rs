// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a controller asks for.

use crate::attributes::{Attributes, DecodeError, Problem};
use crate::config::SetConfig;
use crate::generated::{self, Command, bulk, flush, session};
use crate::session::{NewSession, SetSession};
use crate::writer::{EncodeError, Writer};

/// A command and its attributes.
///
/// What each does and how it fails is in `docs/protocol.md`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Make a session. Answered by [`Answer::Created`](crate::Answer::Created).
    SessionNew(NewSession),
    /// Change a session. Acknowledged without an answer.
    SessionSet(SetSession),
    /// End the session of this id. Answered by
    /// [`Answer::Session`](crate::Answer::Session), its final state.
    SessionDel(u64),
    /// Tell the session of this id. Answered by
    /// [`Answer::Session`](crate::Answer::Session).
    SessionGet(u64),
    /// Tell all sessions: a dump, one [`Answer::Session`](crate::Answer::Session)
    /// for each, in the order of their ids.
    SessionDump,
    /// End the sessions of this owner, or all of them. Answered by
    /// [`Answer::Flushed`](crate::Answer::Flushed).
    SessionFlush(Option<u32>),
    /// Make several sessions, `BULK_MAX` at most. Answered by
    /// [`Answer::BulkCreated`](crate::Answer::BulkCreated).
    SessionBulkNew(Vec<NewSession>),
    /// End the sessions of these ids, `BULK_MAX` at most. Acknowledged without
    /// an answer.
    SessionBulkDel(Vec<u64>),
    /// Tell settings and versions. Answered by
    /// [`Answer::Config`](crate::Answer::Config).
    ConfigGet,
    /// Make settings. Acknowledged without an answer.
    ConfigSet(SetConfig),
    /// Tell the counters of the namespace. Answered by
    /// [`Answer::Totals`](crate::Answer::Totals).
    TotalsGet,
}

impl Request {
    /// The command.
    pub const fn command(&self) -> Command {
        match self {
            Self::SessionNew(_) => Command::SessionNew,
            Self::SessionSet(_) => Command::SessionSet,
            Self::SessionDel(_) => Command::SessionDel,
            Self::SessionGet(_) | Self::SessionDump => Command::SessionGet,
            Self::SessionFlush(_) => Command::SessionFlush,
            Self::SessionBulkNew(_) => Command::SessionBulkNew,
            Self::SessionBulkDel(_) => Command::SessionBulkDel,
            Self::ConfigGet => Command::ConfigGet,
            Self::ConfigSet(_) => Command::ConfigSet,
            Self::TotalsGet => Command::TotalsGet,
        }
    }

    /// Whether it is answered by one [`Answer`](crate::Answer) when it is carried out: not when it is
    /// only acknowledged, nor when it is a dump.
    pub const fn is_answered_once(&self) -> bool {
        match self {
            Self::SessionNew(_)
            | Self::SessionDel(_)
            | Self::SessionGet(_)
            | Self::SessionFlush(_)
            | Self::SessionBulkNew(_)
            | Self::ConfigGet
            | Self::TotalsGet => true,
            Self::SessionSet(_)
            | Self::SessionBulkDel(_)
            | Self::SessionDump
            | Self::ConfigSet(_) => false,
        }
    }

    /// Reads what [`Request::encode`] has written for this command. `session-get` without an `id`
    /// is the dump.
    ///
    /// # Errors
    ///
    /// Names the attribute that is missing, wrong or unknown. The limits of the protocol are not
    /// checked.
    pub fn decode(command: Command, bytes: &[u8]) -> Result<Self, DecodeError> {
        let read = |set| Attributes::read_strictly(set, bytes);
        let id = || read(&session::ATTRS)?.required(session::ID)?.uint();
        Ok(match command {
            Command::SessionNew => Self::SessionNew(NewSession::decode(&read(&session::ATTRS)?)?),
            Command::SessionSet => Self::SessionSet(SetSession::decode(&read(&session::ATTRS)?)?),
            Command::SessionDel => Self::SessionDel(id()?),
            Command::SessionGet if bytes.is_empty() => Self::SessionDump,
            Command::SessionGet => Self::SessionGet(id()?),
            Command::SessionFlush => {
                let attributes = read(&flush::ATTRS)?;
                let owner = attributes.get(flush::OWNER);
                Self::SessionFlush(owner.map(|owner| owner.u32()).transpose()?)
            }
            Command::SessionBulkNew => {
                let attributes = read(&bulk::ATTRS)?;
                let several = attributes.all(bulk::SESSION);
                let several = several.map(|session| session.nest(NewSession::decode));
                Self::SessionBulkNew(several.collect::<Result<_, _>>()?)
            }
            Command::SessionBulkDel => {
                let attributes = read(&bulk::ATTRS)?;
                let ids = attributes.all(bulk::ID).map(|id| id.uint());
                Self::SessionBulkDel(ids.collect::<Result<_, _>>()?)
            }
            Command::ConfigGet => read(&generated::config::ATTRS).map(|_| Self::ConfigGet)?,
            Command::ConfigSet => {
                Self::ConfigSet(SetConfig::decode(&read(&generated::config::ATTRS)?)?)
            }
            Command::TotalsGet => read(&generated::totals::ATTRS).map(|_| Self::TotalsGet)?,
            Command::SessionEnded | Command::Alarm | Command::Report => {
                let problem = Problem::Command(command as u8);
                return Err(DecodeError::of_message(problem));
            }
        })
    }

    /// The attributes as they follow the generic netlink header.
    ///
    /// # Errors
    ///
    /// A label, or the streams of one session of several, that no netlink
    /// attribute can hold. The kernel checks the limits of the protocol, which
    /// are lower.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let mut writer = Writer::default();
        match self {
            Self::SessionNew(new) => new.encode(&mut writer)?,
            Self::SessionSet(set) => set.encode(&mut writer)?,
            Self::SessionDel(id) | Self::SessionGet(id) => writer.uint(session::ID, *id)?,
            Self::SessionFlush(Some(owner)) => writer.u32(flush::OWNER, *owner)?,
            Self::SessionBulkNew(several) => {
                for new in several {
                    writer.nest(bulk::SESSION, |writer| new.encode(writer))?;
                }
            }
            Self::SessionBulkDel(ids) => {
                for id in ids {
                    writer.uint(bulk::ID, *id)?;
                }
            }
            Self::ConfigSet(set) => set.encode(&mut writer)?,
            Self::SessionDump | Self::SessionFlush(None) | Self::ConfigGet | Self::TotalsGet => {}
        }
        Ok(writer.finish())
    }
}
