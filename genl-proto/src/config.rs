// SPDX-License-Identifier: MIT OR Apache-2.0
//! Settings of the relay in a network namespace.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use crate::attributes::{Attributes, DecodeError};
use crate::generated::{config, port_range};
use crate::writer::{EncodeError, Writer};

/// Settings and versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Version of the protocol the module speaks. Work with it only when it is
    /// [`PROTOCOL_VERSION`](crate::generated::PROTOCOL_VERSION).
    pub protocol_version: u32,
    /// Version of the module.
    pub module_version: String,
    /// The relay's ports, in ranges; none while not configured.
    pub ports: Vec<RangeInclusive<u16>>,
    /// Addresses the relay receives on.
    pub local_addresses: Vec<IpAddr>,
    /// Whether loss, reordering and jitter are measured.
    pub quality: bool,
    /// How much sessions may hold.
    pub limits: Limits,
}

/// The most that sessions may hold at the same time; 0 for any amount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// How many there may be.
    pub sessions: u32,
    /// How many may be half open: no stream has had both remotes yet.
    pub half_open: u32,
    /// Bytes of memory.
    pub memory: u64,
}

impl Config {
    pub(crate) fn encode(&self, writer: &mut Writer) -> Result<(), EncodeError> {
        writer.u32(config::PROTOCOL_VERSION, self.protocol_version)?;
        let version = [self.module_version.as_bytes(), &[0]].concat();
        writer.bytes(config::MODULE_VERSION, &version)?;
        encode_ports(&self.ports, writer)?;
        encode_addresses(&self.local_addresses, writer)?;
        writer.u32(config::QUALITY, self.quality.into())?;
        self.limits.encode(writer)
    }

    pub(crate) fn decode(attributes: &Attributes<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            protocol_version: attributes.required(config::PROTOCOL_VERSION)?.u32()?,
            module_version: attributes.required(config::MODULE_VERSION)?.string()?,
            ports: decode_ports(attributes)?,
            local_addresses: decode_addresses(attributes)?,
            quality: attributes.required(config::QUALITY)?.u32()? != 0,
            limits: Limits::decode(attributes)?,
        })
    }
}

impl Limits {
    fn encode(&self, writer: &mut Writer) -> Result<(), EncodeError> {
        writer.u32(config::SESSIONS_MAX, self.sessions)?;
        writer.u32(config::HALF_OPEN_MAX, self.half_open)?;
        writer.uint(config::MEMORY_MAX, self.memory)
    }

    fn decode(attributes: &Attributes<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            sessions: attributes.required(config::SESSIONS_MAX)?.u32()?,
            half_open: attributes.required(config::HALF_OPEN_MAX)?.u32()?,
            memory: attributes.required(config::MEMORY_MAX)?.uint()?,
        })
    }
}

/// Settings to make.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetConfig {
    /// The relay's ports, in ranges, which replace the old ones; none given leaves them.
    pub ports: Vec<RangeInclusive<u16>>,
    /// The addresses to receive on, which replace the old ones; none given
    /// leaves them.
    pub local_addresses: Vec<IpAddr>,
    /// Whether loss, reordering and jitter are measured; `None` leaves it.
    pub quality: Option<bool>,
    /// How much sessions may hold; `None` leaves it.
    pub limits: Option<Limits>,
}

impl SetConfig {
    pub(crate) fn encode(&self, writer: &mut Writer) -> Result<(), EncodeError> {
        encode_ports(&self.ports, writer)?;
        encode_addresses(&self.local_addresses, writer)?;
        if let Some(quality) = self.quality {
            writer.u32(config::QUALITY, quality.into())?;
        }
        self.limits.map_or(Ok(()), |limits| limits.encode(writer))
    }

    pub(crate) fn decode(attributes: &Attributes<'_>) -> Result<Self, DecodeError> {
        let quality = attributes.get(config::QUALITY);
        let limits = [
            config::SESSIONS_MAX,
            config::HALF_OPEN_MAX,
            config::MEMORY_MAX,
        ];
        let limited = limits.iter().any(|id| attributes.get(*id).is_some());
        Ok(Self {
            ports: decode_ports(attributes)?,
            local_addresses: decode_addresses(attributes)?,
            quality: quality
                .map(|quality| quality.u32())
                .transpose()?
                .map(|quality| quality != 0),
            limits: limited.then(|| Limits::decode(attributes)).transpose()?,
        })
    }
}

fn encode_addresses(addresses: &[IpAddr], writer: &mut Writer) -> Result<(), EncodeError> {
    let mut addresses = addresses.iter();
    addresses.try_for_each(|address| writer.address(config::LOCAL_ADDRESS, *address))
}

fn decode_addresses(attributes: &Attributes<'_>) -> Result<Vec<IpAddr>, DecodeError> {
    let addresses = attributes.all(config::LOCAL_ADDRESS);
    addresses.map(|address| address.address()).collect()
}

fn encode_ports(ranges: &[RangeInclusive<u16>], writer: &mut Writer) -> Result<(), EncodeError> {
    ranges.iter().try_for_each(|range| {
        writer.nest(config::PORT_RANGE, |writer| {
            writer.u16(port_range::FIRST, *range.start())?;
            writer.u16(port_range::LAST, *range.end())
        })
    })
}

fn decode_ports(attributes: &Attributes<'_>) -> Result<Vec<RangeInclusive<u16>>, DecodeError> {
    let ranges = attributes.all(config::PORT_RANGE);
    ranges
        .map(|range| {
            range.nest(|inside| {
                let port = |id| inside.required(id)?.u16();
                Ok(port(port_range::FIRST)?..=port(port_range::LAST)?)
            })
        })
        .collect()
}
