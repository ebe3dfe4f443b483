// SPDX-License-Identifier: MIT OR Apache-2.0
//! Settings of the relay in a network namespace.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use crate::attributes::{Attributes, DecodeError};
use crate::generated::config;
use crate::writer::{EncodeError, Writer};

/// Settings and versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Version of the protocol the module speaks. Work with it only when it is
    /// [`PROTOCOL_VERSION`](crate::generated::PROTOCOL_VERSION).
    pub protocol_version: u32,
    /// Version of the module.
    pub module_version: String,
    /// The relay's ports; `None` while not configured.
    pub ports: Option<RangeInclusive<u16>>,
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
    pub(crate) fn decode(attributes: &Attributes<'_>) -> Result<Self, DecodeError> {
        let port = |id| attributes.get(id).map(|port| port.u16()).transpose();
        let ports = match (port(config::PORT_MIN)?, port(config::PORT_MAX)?) {
            (Some(min), Some(max)) if min > 0 => Some(min..=max),
            _ => None,
        };
        Ok(Self {
            protocol_version: attributes.required(config::PROTOCOL_VERSION)?.u32()?,
            module_version: attributes.required(config::MODULE_VERSION)?.string()?,
            ports,
            local_addresses: attributes
                .all(config::LOCAL_ADDRESS)
                .map(|address| address.address())
                .collect::<Result<_, _>>()?,
            quality: attributes.required(config::QUALITY)?.u32()? != 0,
            limits: Limits {
                sessions: attributes.required(config::SESSIONS_MAX)?.u32()?,
                half_open: attributes.required(config::HALF_OPEN_MAX)?.u32()?,
                memory: attributes.required(config::MEMORY_MAX)?.uint()?,
            },
        })
    }
}

/// Settings to make.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetConfig {
    /// The relay's ports; `None` leaves them.
    pub ports: Option<RangeInclusive<u16>>,
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
        if let Some(ports) = &self.ports {
            writer.u16(config::PORT_MIN, *ports.start())?;
            writer.u16(config::PORT_MAX, *ports.end())?;
        }
        for address in &self.local_addresses {
            writer.address(config::LOCAL_ADDRESS, *address)?;
        }
        if let Some(quality) = self.quality {
            writer.u32(config::QUALITY, quality.into())?;
        }
        if let Some(limits) = self.limits {
            writer.u32(config::SESSIONS_MAX, limits.sessions)?;
            writer.u32(config::HALF_OPEN_MAX, limits.half_open)?;
            writer.uint(config::MEMORY_MAX, limits.memory)?;
        }
        Ok(())
    }
}
