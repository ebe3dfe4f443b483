// SPDX-License-Identifier: MIT OR Apache-2.0
//! How well RTP packets arrive.

use crate::attributes::{Attributes, DecodeError};
use crate::generated::quality;
use crate::writer::{EncodeError, Writer};

/// How well the RTP packets of one direction arrived at the relay (RFC 3550 sections 6.4.1 and A.1
/// to A.8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quality {
    /// Synchronisation source of the last run of packets.
    pub ssrc: u32,
    /// Highest sequence number of the run.
    pub highest_sequence: u32,
    /// Rate of the timestamps in Hz; `None` when it is an uncommon one that was given.
    pub clock_rate: Option<u32>,
    /// Interarrival jitter of the run, in timestamp units.
    pub jitter: u32,
    /// Packets of which no copy arrived. The cumulative number of RFC 3550 is this less the
    /// duplicates.
    pub lost: u64,
    /// Packets that arrived after a later one.
    pub reordered: u64,
    /// Packets that had arrived before.
    pub duplicates: u64,
    /// Packets too far from the others in the sequence to belong to it.
    pub jumps: u64,
    /// Times the sequence began anew, with the same source.
    pub restarts: u64,
    /// Times another source took the place of one.
    pub ssrc_changes: u64,
    /// Milliseconds since the last packet of any kind was admitted.
    pub last_ms: u64,
}

impl Quality {
    pub(crate) fn encode(&self, writer: &mut Writer) -> Result<(), EncodeError> {
        writer.u32(quality::SSRC, self.ssrc)?;
        writer.u32(quality::HIGHEST_SEQUENCE, self.highest_sequence)?;
        writer.u32(quality::JITTER, self.jitter)?;
        for (id, number) in [
            (quality::LOST, self.lost),
            (quality::REORDERED, self.reordered),
            (quality::DUPLICATES, self.duplicates),
            (quality::JUMPS, self.jumps),
            (quality::RESTARTS, self.restarts),
            (quality::SSRC_CHANGES, self.ssrc_changes),
            (quality::LAST_MS, self.last_ms),
        ] {
            writer.uint(id, number)?;
        }
        match self.clock_rate {
            Some(rate) => writer.u32(quality::CLOCK_RATE, rate),
            None => Ok(()),
        }
    }

    pub(crate) fn decode(attributes: &Attributes<'_>) -> Result<Self, DecodeError> {
        let number = |id| attributes.required(id)?.uint();
        Ok(Self {
            ssrc: attributes.required(quality::SSRC)?.u32()?,
            highest_sequence: attributes.required(quality::HIGHEST_SEQUENCE)?.u32()?,
            clock_rate: attributes
                .get(quality::CLOCK_RATE)
                .map(|rate| rate.u32())
                .transpose()?,
            jitter: attributes.required(quality::JITTER)?.u32()?,
            lost: number(quality::LOST)?,
            reordered: number(quality::REORDERED)?,
            duplicates: number(quality::DUPLICATES)?,
            jumps: number(quality::JUMPS)?,
            restarts: number(quality::RESTARTS)?,
            ssrc_changes: number(quality::SSRC_CHANGES)?,
            last_ms: number(quality::LAST_MS)?,
        })
    }

    /// Interarrival jitter in microseconds; `None` when the rate of the timestamps is not known.
    pub fn jitter_us(&self) -> Option<u64> {
        (u64::from(self.jitter) * 1_000_000).checked_div(self.clock_rate?.into())
    }
}
