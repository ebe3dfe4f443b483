// SPDX-License-Identifier: MIT OR Apache-2.0
//! Carries requests and answers through the `genetlink` crate.

use netlink_packet_core::{
    self as netlink, Emitable, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    ParseableParametrized,
};
use netlink_packet_generic::{GenlFamily, GenlHeader, GenlMessage};

use crate::answer::Answer;
use crate::attributes::{DecodeError, Problem};
use crate::generated::{Command, FAMILY_NAME, PROTOCOL_VERSION};
use crate::request::Request;
use crate::writer::EncodeError;

/// A message of the family: a command and its attributes as they are sent.
///
/// [`Request`] makes the messages to send, [`Message::answer`] tells what a
/// received one says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The number of the command, which a received message may have of a newer family.
    command: u8,
    attributes: Vec<u8>,
}

impl Message {
    /// What this answer or event says.
    ///
    /// # Errors
    ///
    /// See [`Answer::decode`]; also when the command is unknown.
    pub fn answer(&self) -> Result<Answer, DecodeError> {
        let command = Command::from_u8(self.command)
            .ok_or_else(|| DecodeError::of_message(Problem::Command(self.command)))?;
        Answer::decode(command, &self.attributes)
    }
}

impl TryFrom<&Request> for NetlinkMessage<GenlMessage<Message>> {
    type Error = EncodeError;

    /// The request as `GenetlinkHandle::request` takes it: a dump where the
    /// request is one, else with an acknowledgement, which ends the stream of
    /// its answers.
    fn try_from(request: &Request) -> Result<Self, EncodeError> {
        let message = Message {
            command: request.command() as u8,
            attributes: request.encode()?,
        };
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST
            | match request {
                Request::SessionDump => NLM_F_DUMP,
                _ => NLM_F_ACK,
            };
        Ok(Self::new(header, GenlMessage::from_payload(message).into()))
    }
}

impl GenlFamily for Message {
    fn family_name() -> &'static str {
        FAMILY_NAME
    }

    fn command(&self) -> u8 {
        self.command
    }

    fn version(&self) -> u8 {
        const { PROTOCOL_VERSION as u8 }
    }
}

impl Emitable for Message {
    fn buffer_len(&self) -> usize {
        self.attributes.len()
    }

    fn emit(&self, buffer: &mut [u8]) {
        buffer.copy_from_slice(&self.attributes);
    }
}

impl ParseableParametrized<[u8], GenlHeader> for Message {
    fn parse_with_param(
        attributes: &[u8],
        header: GenlHeader,
    ) -> Result<Self, netlink::DecodeError> {
        Ok(Self {
            command: header.cmd,
            attributes: attributes.to_vec(),
        })
    }
}
