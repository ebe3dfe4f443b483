// SPDX-License-Identifier: MIT OR Apache-2.0
//! Writes the attributes of a message.

use std::net::IpAddr;

use netlink_packet_core::{NLA_ALIGNTO, NLA_F_NESTED, NLA_HEADER_SIZE};

/// Most bytes the value of an attribute can have: its length field is a `u16`.
const VALUE_MAX: usize = u16::MAX as usize - NLA_HEADER_SIZE;

/// A value that no netlink attribute can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a netlink attribute holds {VALUE_MAX} bytes at most, not {length}")]
pub struct EncodeError {
    length: usize,
}

/// Bytes of a command that most need less than.
const USUAL: usize = 512;

/// Attributes in the making.
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Default for Writer {
    fn default() -> Self {
        Self {
            bytes: Vec::with_capacity(USUAL),
        }
    }
}

impl Writer {
    pub(crate) fn finish(self) -> Vec<u8> {
        self.bytes
    }

    // Inline, so that values whose length is known are written without looking at it.
    #[inline]
    pub(crate) fn bytes(&mut self, id: u16, value: &[u8]) -> Result<(), EncodeError> {
        let error = EncodeError {
            length: value.len(),
        };
        let length = u16::try_from(value.len() + NLA_HEADER_SIZE).map_err(|_| error)?;
        let ([l0, l1], [k0, k1]) = (length.to_ne_bytes(), id.to_ne_bytes());
        self.bytes.extend_from_slice(&[l0, l1, k0, k1]);
        self.bytes.extend_from_slice(value);
        let padding = value.len().next_multiple_of(NLA_ALIGNTO) - value.len();
        self.bytes.resize(self.bytes.len() + padding, 0);
        Ok(())
    }

    pub(crate) fn flag(&mut self, id: u16) -> Result<(), EncodeError> {
        self.bytes(id, &[])
    }

    pub(crate) fn u16(&mut self, id: u16, value: u16) -> Result<(), EncodeError> {
        self.bytes(id, &value.to_ne_bytes())
    }

    /// A `u16` in network byte order.
    pub(crate) fn be16(&mut self, id: u16, value: u16) -> Result<(), EncodeError> {
        self.bytes(id, &value.to_be_bytes())
    }

    pub(crate) fn u32(&mut self, id: u16, value: u32) -> Result<(), EncodeError> {
        self.bytes(id, &value.to_ne_bytes())
    }

    /// A `uint`: 4 bytes when they suffice, else 8, as the kernel's
    /// `nla_put_uint()` writes it.
    pub(crate) fn uint(&mut self, id: u16, value: u64) -> Result<(), EncodeError> {
        match u32::try_from(value) {
            Ok(value) => self.u32(id, value),
            Err(_) => self.bytes(id, &value.to_ne_bytes()),
        }
    }

    pub(crate) fn address(&mut self, id: u16, value: IpAddr) -> Result<(), EncodeError> {
        match value {
            IpAddr::V4(address) => self.bytes(id, &address.octets()),
            IpAddr::V6(address) => self.bytes(id, &address.octets()),
        }
    }

    /// Attributes inside an attribute.
    pub(crate) fn nest(
        &mut self,
        id: u16,
        write: impl FnOnce(&mut Self) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        let begin = self.bytes.len();
        // The length follows when it is known.
        self.bytes(id | NLA_F_NESTED, &[])?;
        write(self)?;
        let length = self.bytes.len() - begin;
        let error = EncodeError {
            length: length - NLA_HEADER_SIZE,
        };
        let length = u16::try_from(length).map_err(|_| error)?;
        if let Some(field) = self.bytes.get_mut(begin..begin + size_of::<u16>()) {
            field.copy_from_slice(&length.to_ne_bytes());
        }
        Ok(())
    }
}
