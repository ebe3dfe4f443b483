// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sessions.

use crate::attributes::{Attributes, DecodeError};
use crate::generated::session;
use crate::stream::{Stream, StreamState};
use crate::writer::{EncodeError, Writer};

/// A session to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSession {
    /// Its name, usually the Call-ID. Any bytes, `LABEL_MAX` at most.
    pub label: Vec<u8>,
    /// Tag of the controller that owns it; 0 for none.
    pub owner: u32,
    /// Idle timeout in milliseconds, `TIMEOUT_MIN_MS` to `TIMEOUT_MAX_MS`.
    pub timeout_ms: u32,
    /// Its streams, 1 to `STREAMS_MAX`.
    pub streams: Vec<Stream>,
    /// End the sessions that own one of the local ports asked for, instead of
    /// failing with `EEXIST`.
    pub replace: bool,
}

impl NewSession {
    pub(crate) fn encode(&self, writer: &mut Writer) -> Result<(), EncodeError> {
        writer.bytes(session::LABEL, &self.label)?;
        writer.u32(session::OWNER, self.owner)?;
        writer.u32(session::TIMEOUT_MS, self.timeout_ms)?;
        encode_streams(&self.streams, writer)?;
        if self.replace {
            writer.flag(session::REPLACE)?;
        }
        Ok(())
    }

    pub(crate) fn decode(attributes: &Attributes<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            label: attributes.required(session::LABEL)?.bytes().to_vec(),
            owner: attributes.required(session::OWNER)?.u32()?,
            timeout_ms: attributes.required(session::TIMEOUT_MS)?.u32()?,
            streams: decode_streams(attributes, Stream::decode)?,
            replace: attributes.get(session::REPLACE).is_some(),
        })
    }
}

/// What is to change of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetSession {
    /// The session.
    pub id: u64,
    /// Its new label; `None` leaves it.
    pub label: Option<Vec<u8>>,
    /// Its new owner; `None` leaves it.
    pub owner: Option<u32>,
    /// Its new idle timeout in milliseconds; `None` leaves it.
    pub timeout_ms: Option<u32>,
    /// Streams it has, by kind and local endpoints, with the remotes they get.
    /// Streams not named stay as they are.
    pub streams: Vec<Stream>,
}

impl SetSession {
    pub(crate) fn encode(&self, writer: &mut Writer) -> Result<(), EncodeError> {
        writer.uint(session::ID, self.id)?;
        if let Some(label) = &self.label {
            writer.bytes(session::LABEL, label)?;
        }
        if let Some(owner) = self.owner {
            writer.u32(session::OWNER, owner)?;
        }
        if let Some(timeout_ms) = self.timeout_ms {
            writer.u32(session::TIMEOUT_MS, timeout_ms)?;
        }
        encode_streams(&self.streams, writer)
    }

    pub(crate) fn decode(attributes: &Attributes<'_>) -> Result<Self, DecodeError> {
        let number = |id| attributes.get(id).map(|number| number.u32()).transpose();
        let label = attributes.get(session::LABEL);
        Ok(Self {
            id: attributes.required(session::ID)?.uint()?,
            label: label.map(|label| label.bytes().to_vec()),
            owner: number(session::OWNER)?,
            timeout_ms: number(session::TIMEOUT_MS)?,
            streams: decode_streams(attributes, Stream::decode)?,
        })
    }
}

fn encode_streams(streams: &[Stream], writer: &mut Writer) -> Result<(), EncodeError> {
    for stream in streams {
        writer.nest(session::STREAM, |writer| stream.encode(writer))?;
    }
    Ok(())
}

fn decode_streams<T>(
    attributes: &Attributes<'_>,
    decode: fn(&Attributes<'_>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    // They are large, so there is to be no room for more, nor are they to be moved for want of it.
    let mut streams = Vec::with_capacity(attributes.all(session::STREAM).count());
    for stream in attributes.all(session::STREAM) {
        streams.push(stream.nest(decode)?);
    }
    Ok(streams)
}

/// What came of making a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// The number of the new session.
    pub id: u64,
    /// The numbers of the sessions that were ended to make room.
    pub replaced: Vec<u64>,
}

/// What came of making several sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BulkCreated {
    /// The numbers of the new sessions, in the order asked for.
    pub ids: Vec<u64>,
    /// The numbers of the sessions that were ended to make room.
    pub replaced: Vec<u64>,
}

/// A session as it is, or as it was when it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionState {
    /// Its number: never zero, never given twice while the module is loaded.
    pub id: u64,
    /// Its name, usually the Call-ID.
    pub label: Vec<u8>,
    /// Tag of its controller; 0 when none was given.
    pub owner: u32,
    /// Its idle timeout in milliseconds.
    pub timeout_ms: u32,
    /// Its streams.
    pub streams: Vec<StreamState>,
    /// Milliseconds since it was made.
    pub age_ms: u64,
    /// Milliseconds since the last packet was admitted, or since it was made.
    pub idle_ms: u64,
}

impl SessionState {
    /// A session that was just made.
    pub fn new(id: u64, new: &NewSession) -> Self {
        Self {
            id,
            label: new.label.clone(),
            owner: new.owner,
            timeout_ms: new.timeout_ms,
            streams: new.streams.iter().copied().map(StreamState::new).collect(),
            age_ms: 0,
            idle_ms: 0,
        }
    }

    pub(crate) fn encode(&self, writer: &mut Writer) -> Result<(), EncodeError> {
        writer.uint(session::ID, self.id)?;
        writer.bytes(session::LABEL, &self.label)?;
        writer.u32(session::OWNER, self.owner)?;
        writer.u32(session::TIMEOUT_MS, self.timeout_ms)?;
        for stream in &self.streams {
            writer.nest(session::STREAM, |writer| stream.encode(writer))?;
        }
        writer.uint(session::AGE_MS, self.age_ms)?;
        writer.uint(session::IDLE_MS, self.idle_ms)
    }

    pub(crate) fn decode(attributes: &Attributes<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            id: attributes.required(session::ID)?.uint()?,
            label: attributes.required(session::LABEL)?.bytes().to_vec(),
            owner: attributes.required(session::OWNER)?.u32()?,
            timeout_ms: attributes.required(session::TIMEOUT_MS)?.u32()?,
            streams: decode_streams(attributes, StreamState::decode)?,
            age_ms: attributes.required(session::AGE_MS)?.uint()?,
            idle_ms: attributes.required(session::IDLE_MS)?.uint()?,
        })
    }
}
