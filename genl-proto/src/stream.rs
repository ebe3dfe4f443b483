// SPDX-License-Identifier: MIT OR Apache-2.0
//! Endpoints and streams.

use std::net::SocketAddr;

use crate::attributes::{Attributes, DecodeError};
use crate::counters::Counters;
use crate::generated::{StreamKind, endpoint, stream};
use crate::learning::{Learned, Learning};
use crate::policy::{Receiving, Sending};
use crate::quality::Quality;
use crate::writer::{EncodeError, Writer};

/// One side of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Where the relay receives, and sends from.
    pub local: SocketAddr,
    /// The party; `None` while nothing may be sent to it (hold).
    pub remote: Option<SocketAddr>,
    /// How packets are sent to the party.
    pub sending: Sending,
    /// What is admitted from the party.
    pub receiving: Receiving,
    /// How the party's address and port are found out.
    pub learning: Learning,
}

/// Two endpoints facing each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    /// What the stream carries.
    pub kind: StreamKind,
    /// One endpoint.
    pub a: Endpoint,
    /// The other endpoint; it may share `a`'s local address and port.
    pub b: Endpoint,
}

/// A stream and what it has relayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamState {
    /// The stream.
    pub stream: Stream,
    /// The party that its endpoint `a` has learned.
    pub learned_a: Option<Learned>,
    /// The party that its endpoint `b` has learned.
    pub learned_b: Option<Learned>,
    /// What arrived at its endpoint `a`.
    pub from_a: Counters,
    /// What arrived at its endpoint `b`.
    pub from_b: Counters,
    /// How well RTP arrived at its endpoint `a`; `None` when there was none, or nothing was
    /// measured.
    pub quality_a: Option<Quality>,
    /// How well RTP arrived at its endpoint `b`.
    pub quality_b: Option<Quality>,
}

impl Endpoint {
    /// An endpoint of which nothing special is asked.
    pub fn new(local: SocketAddr, remote: Option<SocketAddr>) -> Self {
        Self {
            local,
            remote,
            sending: Sending::default(),
            receiving: Receiving::default(),
            learning: Learning::default(),
        }
    }

    fn encode(&self, writer: &mut Writer) -> Result<(), EncodeError> {
        writer.address(endpoint::LOCAL_ADDRESS, self.local.ip())?;
        writer.be16(endpoint::LOCAL_PORT, self.local.port())?;
        if let Some(remote) = self.remote {
            writer.address(endpoint::REMOTE_ADDRESS, remote.ip())?;
            writer.be16(endpoint::REMOTE_PORT, remote.port())?;
        }
        if self.sending != Sending::default() {
            writer.nest(endpoint::SENDING, |writer| self.sending.encode(writer))?;
        }
        if self.receiving != Receiving::default() {
            writer.nest(endpoint::RECEIVING, |writer| self.receiving.encode(writer))?;
        }
        if self.learning != Learning::default() {
            writer.nest(endpoint::LEARNING, |writer| self.learning.encode(writer))?;
        }
        Ok(())
    }

    fn decode(attributes: &Attributes<'_>) -> Result<Self, DecodeError> {
        let socket = |address, port| {
            let address = attributes.required(address)?.address()?;
            let port = attributes.required(port)?.u16()?;
            Ok(SocketAddr::new(address, port))
        };
        let on_hold = attributes.get(endpoint::REMOTE_ADDRESS).is_none()
            && attributes.get(endpoint::REMOTE_PORT).is_none();
        Ok(Self {
            local: socket(endpoint::LOCAL_ADDRESS, endpoint::LOCAL_PORT)?,
            remote: if on_hold {
                None
            } else {
                Some(socket(endpoint::REMOTE_ADDRESS, endpoint::REMOTE_PORT)?)
            },
            sending: match attributes.get(endpoint::SENDING) {
                Some(nest) => nest.nest(Sending::decode)?,
                None => Sending::default(),
            },
            receiving: match attributes.get(endpoint::RECEIVING) {
                Some(nest) => nest.nest(Receiving::decode)?,
                None => Receiving::default(),
            },
            learning: match attributes.get(endpoint::LEARNING) {
                Some(nest) => nest.nest(Learning::decode)?,
                None => Learning::default(),
            },
        })
    }
}

impl Stream {
    pub(crate) fn encode(&self, writer: &mut Writer) -> Result<(), EncodeError> {
        writer.u32(stream::KIND, self.kind as u32)?;
        writer.nest(stream::A, |writer| self.a.encode(writer))?;
        writer.nest(stream::B, |writer| self.b.encode(writer))
    }

    pub(crate) fn decode(attributes: &Attributes<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            kind: kind(attributes)?,
            a: attributes.required(stream::A)?.nest(Endpoint::decode)?,
            b: attributes.required(stream::B)?.nest(Endpoint::decode)?,
        })
    }
}

fn kind(attributes: &Attributes<'_>) -> Result<StreamKind, DecodeError> {
    let kind = attributes.required(stream::KIND)?;
    kind.one_of(StreamKind::from_u32)
}

impl StreamState {
    /// A stream nothing was sent on yet.
    pub fn new(stream: Stream) -> Self {
        Self {
            stream,
            learned_a: None,
            learned_b: None,
            from_a: Counters::default(),
            from_b: Counters::default(),
            quality_a: None,
            quality_b: None,
        }
    }

    pub(crate) fn encode(&self, writer: &mut Writer) -> Result<(), EncodeError> {
        writer.u32(stream::KIND, self.stream.kind as u32)?;
        for (id, endpoint, learned) in [
            (stream::A, self.stream.a, self.learned_a),
            (stream::B, self.stream.b, self.learned_b),
        ] {
            writer.nest(id, |writer| {
                endpoint.encode(writer)?;
                learned.map_or(Ok(()), |learned| learned.encode(writer))
            })?;
        }
        writer.nest(stream::FROM_A, |writer| self.from_a.encode(writer))?;
        writer.nest(stream::FROM_B, |writer| self.from_b.encode(writer))?;
        for (id, quality) in [
            (stream::QUALITY_A, self.quality_a),
            (stream::QUALITY_B, self.quality_b),
        ] {
            if let Some(quality) = quality {
                writer.nest(id, |writer| quality.encode(writer))?;
            }
        }
        Ok(())
    }

    pub(crate) fn decode(attributes: &Attributes<'_>) -> Result<Self, DecodeError> {
        let side = |id| {
            attributes
                .required(id)?
                .nest(|endpoint| Ok((Endpoint::decode(endpoint)?, Learned::decode(endpoint)?)))
        };
        let quality = |id| {
            let quality = attributes.get(id);
            quality
                .map(|quality| quality.nest(Quality::decode))
                .transpose()
        };
        let ((a, learned_a), (b, learned_b)) = (side(stream::A)?, side(stream::B)?);
        Ok(Self {
            stream: Stream {
                kind: kind(attributes)?,
                a,
                b,
            },
            learned_a,
            learned_b,
            from_a: attributes
                .required(stream::FROM_A)?
                .nest(Counters::decode)?,
            from_b: attributes
                .required(stream::FROM_B)?
                .nest(Counters::decode)?,
            quality_a: quality(stream::QUALITY_A)?,
            quality_b: quality(stream::QUALITY_B)?,
        })
    }
}
