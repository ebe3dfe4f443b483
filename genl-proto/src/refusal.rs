// SPDX-License-Identifier: MIT OR Apache-2.0
//! Why the kernel did not do what it was asked to.

use std::fmt;
use std::io;

use netlink_packet_core::{
    NLM_F_ACK_TLVS, NLM_F_CAPPED, NLMSG_ALIGNTO, NetlinkMessage, NetlinkPayload, NlasIterator,
};

/// `NLMSGERR_ATTR_MSG`, `include/uapi/linux/netlink.h`.
const MESSAGE: u16 = 1;

/// Size of `struct nlmsghdr`, `include/uapi/linux/netlink.h`.
const HEADER_LEN: usize = 16;

/// An error number, and what the kernel says about it when the socket has asked
/// for that (`NETLINK_EXT_ACK`, with netlink-sys `Socket::set_ext_ack`).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Refusal {
    /// The error number, positive: `EEXIST` is 17.
    pub errno: i32,
    /// What is wrong, in the module's words. It names the attribute.
    pub message: Option<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = io::Error::from_raw_os_error(self.errno);
        match &self.message {
            Some(message) => write!(f, "{message}: {error}"),
            None => write!(f, "{error}"),
        }
    }
}

impl Refusal {
    /// The refusal that a message is: an error, or the end of a dump that
    /// failed. `None` for anything else, acknowledgements included.
    pub fn of<T>(message: &NetlinkMessage<T>) -> Option<Self> {
        let flags = message.header.flags;
        let (code, attributes) = match &message.payload {
            NetlinkPayload::Error(error) => {
                let after = error_attributes(&error.header, flags);
                (error.raw_code(), after)
            }
            NetlinkPayload::Done(done) => (done.code, done.extended_ack.as_slice()),
            _ => return None,
        };
        if code >= 0 {
            return None;
        }
        let explained = flags & NLM_F_ACK_TLVS != 0;
        Some(Self {
            errno: code.saturating_neg(),
            message: explained.then(|| text(attributes)).flatten(),
        })
    }
}

/// The attributes after the request that an error quotes: its header only when
/// the quotation is capped, else the whole of it, padded.
fn error_attributes(quoted: &[u8], flags: u16) -> &[u8] {
    let request_len = if flags & NLM_F_CAPPED != 0 {
        Some(HEADER_LEN)
    } else {
        quoted
            .first_chunk()
            .and_then(|len| usize::try_from(u32::from_ne_bytes(*len)).ok())
            .and_then(|len| len.checked_next_multiple_of(NLMSG_ALIGNTO.into()))
    };
    request_len
        .and_then(|len| quoted.get(len..))
        .unwrap_or_default()
}

fn text(attributes: &[u8]) -> Option<String> {
    let attribute = NlasIterator::new(attributes)
        .map_while(Result::ok)
        .find(|attribute| attribute.kind() == MESSAGE)?;
    let text = String::from_utf8_lossy(attribute.value());
    Some(text.trim_end_matches('\0').to_owned())
}
