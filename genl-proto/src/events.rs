// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the kernel tells of packets.

use std::net::SocketAddr;

use crate::attributes::{Attributes, DecodeError};
use crate::generated::{AlarmReason, alarm, report};
use crate::writer::{EncodeError, Writer};

/// Something is wrong with packets that arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// What is wrong.
    pub reason: AlarmReason,
    /// Whose packets they are; `None` when they go to ports of no session.
    pub session: Option<AlarmedSession>,
    /// Where the first of them was sent to.
    pub local: SocketAddr,
    /// Where the first of them came from.
    pub source: SocketAddr,
    /// How many were dropped since the alarm was told last, or began.
    pub packets: u64,
}

/// The session an alarm is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlarmedSession {
    /// Its id.
    pub id: u64,
    /// Its label.
    pub label: Vec<u8>,
    /// Tag of its controller.
    pub owner: u32,
}

impl Alarm {
    pub(crate) fn encode(&self, writer: &mut Writer) -> Result<(), EncodeError> {
        writer.u32(alarm::REASON, self.reason as u32)?;
        if let Some(session) = &self.session {
            writer.uint(alarm::SESSION, session.id)?;
            writer.bytes(alarm::LABEL, &session.label)?;
            writer.u32(alarm::OWNER, session.owner)?;
        }
        writer.address(alarm::LOCAL_ADDRESS, self.local.ip())?;
        writer.be16(alarm::LOCAL_PORT, self.local.port())?;
        writer.address(alarm::SOURCE_ADDRESS, self.source.ip())?;
        writer.be16(alarm::SOURCE_PORT, self.source.port())?;
        writer.uint(alarm::PACKETS, self.packets)
    }

    pub(crate) fn decode(attributes: &Attributes<'_>) -> Result<Self, DecodeError> {
        let session = attributes.get(alarm::SESSION).map(|id| {
            Ok(AlarmedSession {
                id: id.uint()?,
                label: attributes.required(alarm::LABEL)?.bytes().to_vec(),
                owner: attributes.required(alarm::OWNER)?.u32()?,
            })
        });
        let reason = attributes.required(alarm::REASON)?;
        Ok(Self {
            reason: reason.one_of(AlarmReason::from_u32)?,
            session: session.transpose()?,
            local: address(attributes, alarm::LOCAL_ADDRESS, alarm::LOCAL_PORT)?,
            source: address(attributes, alarm::SOURCE_ADDRESS, alarm::SOURCE_PORT)?,
            packets: attributes.required(alarm::PACKETS)?.uint()?,
        })
    }
}

/// An RTCP packet that has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The session's id.
    pub session: u64,
    /// Where it was sent to.
    pub local: SocketAddr,
    /// Where it came from.
    pub source: SocketAddr,
    /// When it arrived, in nanoseconds of CLOCK_MONOTONIC.
    pub arrived_ns: u64,
    /// Its beginning, [`REPORT_MAX`](crate::generated::REPORT_MAX) bytes at most.
    pub packet: Vec<u8>,
}

impl Report {
    pub(crate) fn encode(&self, writer: &mut Writer) -> Result<(), EncodeError> {
        writer.uint(report::SESSION, self.session)?;
        writer.address(report::LOCAL_ADDRESS, self.local.ip())?;
        writer.be16(report::LOCAL_PORT, self.local.port())?;
        writer.address(report::SOURCE_ADDRESS, self.source.ip())?;
        writer.be16(report::SOURCE_PORT, self.source.port())?;
        writer.uint(report::ARRIVED_NS, self.arrived_ns)?;
        writer.bytes(report::PACKET, &self.packet)
    }

    pub(crate) fn decode(attributes: &Attributes<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            session: attributes.required(report::SESSION)?.uint()?,
            local: address(attributes, report::LOCAL_ADDRESS, report::LOCAL_PORT)?,
            source: address(attributes, report::SOURCE_ADDRESS, report::SOURCE_PORT)?,
            arrived_ns: attributes.required(report::ARRIVED_NS)?.uint()?,
            packet: attributes.required(report::PACKET)?.bytes().to_vec(),
        })
    }
}

fn address(attributes: &Attributes<'_>, ip: u16, port: u16) -> Result<SocketAddr, DecodeError> {
    let ip = attributes.required(ip)?.address()?;
    Ok(SocketAddr::new(ip, attributes.required(port)?.u16()?))
}
