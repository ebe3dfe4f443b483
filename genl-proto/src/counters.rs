// SPDX-License-Identifier: MIT OR Apache-2.0
//! What has been relayed and what not.

use crate::attributes::{Attributes, DecodeError, Value};
use crate::generated::{DropReason, counters, drops, totals};
use crate::writer::{EncodeError, Writer};

/// What one direction of a stream, or the whole namespace, has relayed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets forwarded.
    pub packets: u64,
    /// UDP payload bytes forwarded.
    pub bytes: u64,
    /// Packets not forwarded.
    pub drops: Drops,
    /// RTCP packets among those forwarded.
    pub rtcp_packets: u64,
}

/// Packets not forwarded, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drops([u64; DropReason::ALL.len()]);

impl Drops {
    /// Packets dropped for this reason.
    pub fn get(&self, reason: DropReason) -> u64 {
        self.iter()
            .find_map(|(met, packets)| (met == reason).then_some(packets))
            .unwrap_or(0)
    }

    /// The reasons that were met and the packets dropped for them.
    pub fn iter(&self) -> impl Iterator<Item = (DropReason, u64)> {
        DropReason::ALL
            .into_iter()
            .zip(self.0)
            .filter(|(_, packets)| *packets > 0)
    }

    /// Packets dropped for any reason.
    pub fn total(&self) -> u64 {
        self.0.into_iter().fold(0, u64::saturating_add)
    }
}

impl FromIterator<(DropReason, u64)> for Drops {
    /// Reasons that are there more than once add up.
    fn from_iter<T: IntoIterator<Item = (DropReason, u64)>>(reasons: T) -> Self {
        let mut drops = Self::default();
        for (reason, packets) in reasons {
            if let Some(count) = drops.0.get_mut(reason as usize) {
                *count = count.saturating_add(packets);
            }
        }
        drops
    }
}

impl Counters {
    pub(crate) fn encode(&self, writer: &mut Writer) -> Result<(), EncodeError> {
        writer.uint(counters::PACKETS, self.packets)?;
        writer.uint(counters::BYTES, self.bytes)?;
        for (reason, packets) in self.drops.iter() {
            writer.nest(counters::DROPS, |writer| {
                writer.u32(drops::REASON, reason as u32)?;
                writer.uint(drops::PACKETS, packets)
            })?;
        }
        if self.rtcp_packets > 0 {
            writer.uint(counters::RTCP_PACKETS, self.rtcp_packets)?;
        }
        Ok(())
    }

    pub(crate) fn decode(attributes: &Attributes<'_>) -> Result<Self, DecodeError> {
        let drops = attributes.all(counters::DROPS).map(|drops| {
            drops.nest(|attributes| {
                let reason = attributes.required(drops::REASON)?;
                let packets = attributes.required(drops::PACKETS)?;
                Ok((reason.one_of(DropReason::from_u32)?, packets.uint()?))
            })
        });
        let rtcp_packets = attributes.get(counters::RTCP_PACKETS);
        Ok(Self {
            packets: attributes.required(counters::PACKETS)?.uint()?,
            bytes: attributes.required(counters::BYTES)?.uint()?,
            drops: drops.collect::<Result<_, _>>()?,
            rtcp_packets: rtcp_packets.map_or(Ok(0), Value::uint)?,
        })
    }
}

/// What the relay of the whole namespace has done since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Sessions alive.
    pub sessions: u64,
    /// Sessions ever made.
    pub created: u64,
    /// Sessions that ended by their idle timeout.
    pub expired: u64,
    /// Sessions that a newer one replaced.
    pub replaced: u64,
    /// All packets, those of ended sessions included.
    pub relayed: Counters,
    /// Sessions alive that are half open.
    pub half_open: u64,
    /// Bytes of memory the sessions alive hold.
    pub memory: u64,
    /// Commands refused because of a limit.
    pub refused: Refused,
    /// Times an alarm was told.
    pub alarms: u64,
    /// Packets dropped for a reason of alarm while there were too many alarms.
    pub alarms_missed: u64,
}

/// Commands that were refused because of each of the [`Limits`](crate::Limits).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// Because of the number of sessions.
    pub sessions: u64,
    /// Because of the number of half-open sessions.
    pub half_open: u64,
    /// Because of memory.
    pub memory: u64,
}

impl Totals {
    pub(crate) fn encode(&self, writer: &mut Writer) -> Result<(), EncodeError> {
        for (id, number) in [
            (totals::SESSIONS, self.sessions),
            (totals::CREATED, self.created),
            (totals::EXPIRED, self.expired),
            (totals::REPLACED, self.replaced),
        ] {
            writer.uint(id, number)?;
        }
        writer.nest(totals::RELAYED, |writer| self.relayed.encode(writer))?;
        for (id, number) in [
            (totals::HALF_OPEN, self.half_open),
            (totals::MEMORY, self.memory),
            (totals::REFUSED_SESSIONS, self.refused.sessions),
            (totals::REFUSED_HALF_OPEN, self.refused.half_open),
            (totals::REFUSED_MEMORY, self.refused.memory),
            (totals::ALARMS, self.alarms),
            (totals::ALARMS_MISSED, self.alarms_missed),
        ] {
            writer.uint(id, number)?;
        }
        Ok(())
    }

    pub(crate) fn decode(attributes: &Attributes<'_>) -> Result<Self, DecodeError> {
        let number = |id| attributes.required(id)?.uint();
        Ok(Self {
            sessions: number(totals::SESSIONS)?,
            created: number(totals::CREATED)?,
            expired: number(totals::EXPIRED)?,
            replaced: number(totals::REPLACED)?,
            relayed: attributes
                .required(totals::RELAYED)?
                .nest(Counters::decode)?,
            half_open: number(totals::HALF_OPEN)?,
            memory: number(totals::MEMORY)?,
            refused: Refused {
                sessions: number(totals::REFUSED_SESSIONS)?,
                half_open: number(totals::REFUSED_HALF_OPEN)?,
                memory: number(totals::REFUSED_MEMORY)?,
            },
            alarms: number(totals::ALARMS)?,
            alarms_missed: number(totals::ALARMS_MISSED)?,
        })
    }
}
