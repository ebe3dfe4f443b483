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
        Ok(())
    }
}
