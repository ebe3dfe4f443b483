// SPDX-License-Identifier: MIT OR Apache-2.0
//! What may be asked of the packets of one endpoint.

use crate::attributes::{Attributes, DecodeError, Problem, Value};
use crate::generated::{Output, receiving, sending};
use crate::writer::{EncodeError, Writer};

/// How packets are sent to an endpoint's party. What is `None` is left as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sending {
    /// Differentiated services code point, from 0 to 63 (RFC 2474).
    pub dscp: Option<u8>,
    /// Time to live, or hop limit, from 1; one less than it arrived with without.
    pub hop_limit: Option<u8>,
    /// Mark of the packets and of their route look-up; 0 for none.
    pub mark: u32,
    /// Index of the device packets leave through, or of the VRF their route is looked up in.
    pub device: Option<u32>,
    /// Which way they leave.
    pub output: Output,
}

impl Default for Sending {
    fn default() -> Self {
        Self {
            dscp: None,
            hop_limit: None,
            mark: 0,
            device: None,
            output: Output::Automatic,
        }
    }
}

/// What is admitted from an endpoint's party. What is `None` is not asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Receiving {
    /// RTP payload types, the lowest bit for type 0.
    pub payload_types: Option<u128>,
    /// The only RTP synchronisation source.
    pub ssrc: Option<u32>,
    /// Packets a second in the long run, from 1.
    pub packet_rate: Option<u32>,
    /// UDP payload bytes a second in the long run, from 1.
    pub byte_rate: Option<u32>,
    /// Milliseconds of either rate that may come at once, from 1 to 60,000; the module's choice
    /// (1,000) without.
    pub burst_ms: Option<u32>,
    /// Rate of the RTP timestamps in Hz, from 1 to 249,999,999, which jitter is measured by; that
    /// of the payload type without.
    pub clock_rate: Option<u32>,
}

impl Sending {
    pub(crate) fn encode(&self, writer: &mut Writer) -> Result<(), EncodeError> {
        let numbers = [
            (sending::DSCP, self.dscp.map(u32::from)),
            (sending::HOP_LIMIT, self.hop_limit.map(u32::from)),
            (sending::MARK, (self.mark != 0).then_some(self.mark)),
            (sending::DEVICE, self.device),
            (
                sending::OUTPUT,
                (self.output != Output::Automatic).then_some(self.output as u32),
            ),
        ];
        write(writer, &numbers)
    }

    pub(crate) fn decode(attributes: &Attributes<'_>) -> Result<Self, DecodeError> {
        let byte = |id| {
            number(attributes, id)?
                .map(|(value, number)| {
                    u8::try_from(number).map_err(|_| value.wrong(Problem::Unknown(number)))
                })
                .transpose()
        };
        Ok(Self {
            dscp: byte(sending::DSCP)?,
            hop_limit: byte(sending::HOP_LIMIT)?,
            mark: number(attributes, sending::MARK)?.map_or(0, |(_, mark)| mark),
            device: number(attributes, sending::DEVICE)?.map(|(_, device)| device),
            output: match attributes.get(sending::OUTPUT) {
                Some(output) => output.one_of(Output::from_u32)?,
                None => Output::Automatic,
            },
        })
    }
}

impl Receiving {
    pub(crate) fn encode(&self, writer: &mut Writer) -> Result<(), EncodeError> {
        if let Some(types) = self.payload_types {
            writer.bytes(receiving::PAYLOAD_TYPES, &types.to_le_bytes())?;
        }
        let numbers = [
            (receiving::SSRC, self.ssrc),
            (receiving::PACKET_RATE, self.packet_rate),
            (receiving::BYTE_RATE, self.byte_rate),
            (receiving::BURST_MS, self.burst_ms),
            (receiving::CLOCK_RATE, self.clock_rate),
        ];
        write(writer, &numbers)
    }

    pub(crate) fn decode(attributes: &Attributes<'_>) -> Result<Self, DecodeError> {
        let number = |id| Ok(number(attributes, id)?.map(|(_, number)| number));
        let types = attributes.get(receiving::PAYLOAD_TYPES);
        Ok(Self {
            payload_types: types
                .map(|types| types.array().map(u128::from_le_bytes))
                .transpose()?,
            ssrc: number(receiving::SSRC)?,
            packet_rate: number(receiving::PACKET_RATE)?,
            byte_rate: number(receiving::BYTE_RATE)?,
            burst_ms: number(receiving::BURST_MS)?,
            clock_rate: number(receiving::CLOCK_RATE)?,
        })
    }
}

fn write(writer: &mut Writer, numbers: &[(u16, Option<u32>)]) -> Result<(), EncodeError> {
    for (id, number) in numbers {
        if let Some(number) = number {
            writer.u32(*id, *number)?;
        }
    }
    Ok(())
}

fn number<'a>(
    attributes: &Attributes<'a>,
    id: u16,
) -> Result<Option<(Value<'a>, u32)>, DecodeError> {
    let value = attributes.get(id);
    value.map(|value| Ok((value, value.u32()?))).transpose()
}
