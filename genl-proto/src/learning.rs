// SPDX-License-Identifier: MIT OR Apache-2.0
//! How the address and port of an endpoint's party are found out, and what was.

use std::net::{IpAddr, SocketAddr};

use crate::attributes::{Attributes, DecodeError, Problem};
use crate::generated::{LearningMode, endpoint, learning};
use crate::writer::{EncodeError, Writer};

/// How the address and port of an endpoint's party are found out. What is `None` is the module's
/// choice, which `docs/protocol.md` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Learning {
    /// How much signalling is trusted.
    pub mode: LearningMode,
    /// Where the signalling message came from.
    pub signalling: Option<IpAddr>,
    /// Consistent packets after which the endpoint locks, from 1.
    pub confirmations: Option<u8>,
    /// Milliseconds for which a better source can take the place of a locked one, to 60,000.
    pub window_ms: Option<u32>,
    /// Milliseconds of silence after which any acceptable source can take the place of one that
    /// is not locked, to 60,000.
    pub silence_ms: Option<u32>,
    /// Whether a locked endpoint follows its party to another source.
    pub roam: Option<Roam>,
}

/// How a locked endpoint follows its party.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roam {
    /// Milliseconds for which the old source must have been silent, from 1 to 60,000.
    pub silence_ms: u32,
    /// How far ahead of its last sequence number the new one's may be, from 1 to 32,767.
    pub sequences: u16,
}

/// The party an endpoint has learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Learned {
    /// Its address and port.
    pub remote: SocketAddr,
    /// Whether that is confirmed.
    pub locked: bool,
}

impl Default for Learning {
    fn default() -> Self {
        Self {
            mode: LearningMode::Signalled,
            signalling: None,
            confirmations: None,
            window_ms: None,
            silence_ms: None,
            roam: None,
        }
    }
}

impl Learning {
    pub(crate) fn encode(&self, writer: &mut Writer) -> Result<(), EncodeError> {
        writer.u32(learning::MODE, self.mode as u32)?;
        if let Some(address) = self.signalling {
            writer.address(learning::SIGNALLING_ADDRESS, address)?;
        }
        let numbers = [
            (learning::CONFIRMATIONS, self.confirmations.map(u32::from)),
            (learning::WINDOW_MS, self.window_ms),
            (learning::SILENCE_MS, self.silence_ms),
            (
                learning::ROAM_SILENCE_MS,
                self.roam.map(|roam| roam.silence_ms),
            ),
            (
                learning::ROAM_SEQUENCES,
                self.roam.map(|roam| roam.sequences.into()),
            ),
        ];
        for (id, number) in numbers {
            if let Some(number) = number {
                writer.u32(id, number)?;
            }
        }
        Ok(())
    }

    pub(crate) fn decode(attributes: &Attributes<'_>) -> Result<Self, DecodeError> {
        let number = |id| attributes.get(id).map(|number| number.u32()).transpose();
        let confirmations = attributes.get(learning::CONFIRMATIONS).map(|value| {
            let number = value.u32()?;
            u8::try_from(number).map_err(|_| value.wrong(Problem::Unknown(number)))
        });
        let sequences = attributes.get(learning::ROAM_SEQUENCES).map(|value| {
            let number = value.u32()?;
            u16::try_from(number).map_err(|_| value.wrong(Problem::Unknown(number)))
        });
        let roam = match (number(learning::ROAM_SILENCE_MS)?, sequences.transpose()?) {
            (Some(silence_ms), Some(sequences)) => Some(Roam {
                silence_ms,
                sequences,
            }),
            _ => None,
        };
        Ok(Self {
            mode: match attributes.get(learning::MODE) {
                Some(mode) => mode.one_of(LearningMode::from_u32)?,
                None => LearningMode::Signalled,
            },
            signalling: attributes
                .get(learning::SIGNALLING_ADDRESS)
                .map(|address| address.address())
                .transpose()?,
            confirmations: confirmations.transpose()?,
            window_ms: number(learning::WINDOW_MS)?,
            silence_ms: number(learning::SILENCE_MS)?,
            roam,
        })
    }
}

impl Learned {
    /// Into the attributes of an endpoint.
    pub(crate) fn encode(&self, writer: &mut Writer) -> Result<(), EncodeError> {
        writer.address(endpoint::LEARNED_ADDRESS, self.remote.ip())?;
        writer.be16(endpoint::LEARNED_PORT, self.remote.port())?;
        if self.locked {
            writer.flag(endpoint::LOCKED)?;
        }
        Ok(())
    }

    /// From the attributes of an endpoint; `None` when it has learned nothing.
    pub(crate) fn decode(attributes: &Attributes<'_>) -> Result<Option<Self>, DecodeError> {
        let Some(address) = attributes.get(endpoint::LEARNED_ADDRESS) else {
            return Ok(None);
        };
        let port = attributes.required(endpoint::LEARNED_PORT)?.u16()?;
        Ok(Some(Self {
            remote: SocketAddr::new(address.address()?, port),
            locked: attributes.get(endpoint::LOCKED).is_some(),
        }))
    }
}
