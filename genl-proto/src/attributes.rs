// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reads the attributes of a message.
//!
//! Layout: `Documentation/userspace-api/netlink/intro.rst` and
//! `include/uapi/linux/netlink.h` of the kernel. Nothing the sender writes can
//! make the reader panic. Attributes of unknown numbers are skipped in what is told, and refused
//! in what is asked for: who asks for more than is understood must not get less unawares.

use std::fmt;
use std::net::IpAddr;

use netlink_packet_core::{NLA_HEADER_SIZE, NlasIterator};

use crate::generated::{Attribute, Kind};

/// What is wrong with a message.
///
/// Its text names the attribute with the nests around it:
/// `stream: a: local-port: missing`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct DecodeError {
    /// Names of the attribute and of the nests around it, innermost first;
    /// empty when the message itself is at fault.
    path: Vec<&'static str>,
    problem: Problem,
}

/// What can be wrong with an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// It must be there and is not.
    #[error("missing")]
    Missing,
    /// Its value is of this many bytes, which its type cannot be.
    #[error("a value of {0} bytes does not fit the type")]
    Length(usize),
    /// The enumeration has no such value.
    #[error("{0} is not a known value")]
    Unknown(u32),
    /// The string is not UTF-8.
    #[error("not UTF-8")]
    NotUtf8,
    /// Nothing of this number may be there.
    #[error("attribute {0} is not known")]
    Unexpected(u16),
    /// The attributes inside do not fit into the bytes there are.
    #[error("truncated attribute")]
    Truncated,
    /// Messages of this command carry no answer, or ask for nothing.
    #[error("no such message has command {0}")]
    Command(u8),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for name in self.path.iter().rev() {
            write!(f, "{name}: ")?;
        }
        write!(f, "{}", self.problem)
    }
}

impl DecodeError {
    /// An error of the message itself.
    pub(crate) fn of_message(problem: Problem) -> Self {
        let path = Vec::new();
        Self { path, problem }
    }

    fn at(name: &'static str, problem: Problem) -> Self {
        let path = vec![name];
        Self { path, problem }
    }

    fn within(mut self, name: &'static str) -> Self {
        self.path.push(name);
        self
    }

    /// What is wrong.
    pub fn problem(&self) -> Problem {
        self.problem
    }
}

/// The attributes of a message or nest.
pub(crate) struct Attributes<'a> {
    set: &'static [Attribute],
    found: Vec<Value<'a>>,
}

/// What is done with attributes of unknown numbers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unknown {
    Skipped,
    Refused,
}

/// The value of one attribute.
#[derive(Clone, Copy)]
pub(crate) struct Value<'a> {
    attribute: &'static Attribute,
    bytes: &'a [u8],
    unknown: Unknown,
}

impl<'a> Attributes<'a> {
    /// Reads attributes of this set, and skips others.
    pub(crate) fn read(set: &'static [Attribute], bytes: &'a [u8]) -> Result<Self, DecodeError> {
        Self::read_with(set, bytes, Unknown::Skipped)
    }

    /// Reads attributes of this set; no others may be there, nor in their nests.
    pub(crate) fn read_strictly(
        set: &'static [Attribute],
        bytes: &'a [u8],
    ) -> Result<Self, DecodeError> {
        Self::read_with(set, bytes, Unknown::Refused)
    }

    fn read_with(
        set: &'static [Attribute],
        bytes: &'a [u8],
        unknown: Unknown,
    ) -> Result<Self, DecodeError> {
        let mut found = Vec::new();
        for attribute in NlasIterator::new(bytes) {
            let truncated = DecodeError::of_message(Problem::Truncated);
            let Ok(attribute) = attribute else {
                return Err(truncated);
            };
            let (id, length) = (attribute.kind(), usize::from(attribute.length()));
            let Some(bytes) = attribute.into_inner().get(NLA_HEADER_SIZE..length) else {
                return Err(truncated);
            };
            match set.iter().find(|known| known.id == id) {
                Some(attribute) => found.push(Value {
                    attribute,
                    bytes,
                    unknown,
                }),
                None if unknown == Unknown::Skipped => {}
                None => return Err(DecodeError::of_message(Problem::Unexpected(id))),
            }
        }
        Ok(Self { set, found })
    }

    /// All attributes of this number, in their order.
    pub(crate) fn all(&self, id: u16) -> impl Iterator<Item = Value<'a>> {
        self.found
            .iter()
            .copied()
            .filter(move |value| value.attribute.id == id)
    }

    /// The attribute of this number; as in the kernel, the last one counts.
    pub(crate) fn get(&self, id: u16) -> Option<Value<'a>> {
        self.all(id).last()
    }

    /// The attribute of this number, which must be there.
    pub(crate) fn required(&self, id: u16) -> Result<Value<'a>, DecodeError> {
        self.get(id).ok_or_else(|| {
            let known = self.set.iter().find(|known| known.id == id);
            let name = known.map_or("attribute", |known| known.name);
            DecodeError::at(name, Problem::Missing)
        })
    }
}

impl<'a> Value<'a> {
    pub(crate) fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    pub(crate) fn u16(self) -> Result<u16, DecodeError> {
        let bytes = self.array()?;
        Ok(match self.attribute.kind {
            Kind::U16 {
                big_endian: true, ..
            } => u16::from_be_bytes(bytes),
            _ => u16::from_ne_bytes(bytes),
        })
    }

    pub(crate) fn u32(self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_ne_bytes)
    }

    /// A `uint`: 4 or 8 bytes.
    pub(crate) fn uint(self) -> Result<u64, DecodeError> {
        match self.bytes.len() {
            4 => self.u32().map(u64::from),
            _ => self.array().map(u64::from_ne_bytes),
        }
    }

    /// A value of an enumeration, by its `from_u32`.
    pub(crate) fn one_of<T>(self, from_u32: impl Fn(u32) -> Option<T>) -> Result<T, DecodeError> {
        let number = self.u32()?;
        from_u32(number).ok_or_else(|| self.wrong(Problem::Unknown(number)))
    }

    /// An IPv4 or IPv6 address in network byte order.
    pub(crate) fn address(self) -> Result<IpAddr, DecodeError> {
        match self.bytes.len() {
            4 => self.array::<4>().map(IpAddr::from),
            _ => self.array::<16>().map(IpAddr::from),
        }
    }

    /// A string, which ends at its first zero byte.
    pub(crate) fn string(self) -> Result<String, DecodeError> {
        let end = self.bytes.iter().position(|byte| *byte == 0);
        let text = self.bytes.get(..end.unwrap_or(self.bytes.len()));
        std::str::from_utf8(text.unwrap_or_default())
            .map(str::to_owned)
            .map_err(|_| self.wrong(Problem::NotUtf8))
    }

    /// What `decode` makes of the attributes inside.
    pub(crate) fn nest<T>(
        self,
        decode: impl FnOnce(&Attributes<'a>) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        let set = match self.attribute.kind {
            Kind::Nest(set) => set,
            _ => &[],
        };
        Attributes::read_with(set, self.bytes, self.unknown)
            .and_then(|attributes| decode(&attributes))
            .map_err(|error| error.within(self.attribute.name))
    }

    pub(crate) fn array<const N: usize>(self) -> Result<[u8; N], DecodeError> {
        self.bytes
            .try_into()
            .map_err(|_| self.wrong(Problem::Length(self.bytes.len())))
    }

    pub(crate) fn wrong(self, problem: Problem) -> DecodeError {
        DecodeError::at(self.attribute.name, problem)
    }
}
