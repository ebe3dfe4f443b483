// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reads the attributes of a message.
//!
//! Layout: `Documentation/userspace-api/netlink/intro.rst` and
//! `include/uapi/linux/netlink.h` of the kernel. Nothing the sender writes can
//! make the reader panic. Attributes of unknown numbers are skipped in what is told, and refused
//! in what is asked for: who asks for more than is understood must not get less unawares.

use std::fmt;
use std::net::IpAddr;

use netlink_packet_core::{NLA_ALIGNTO, NLA_HEADER_SIZE, NLA_TYPE_MASK};

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

/// Most attributes a set has.
const SET_MAX: usize = 16;

/// The attributes of a message or nest.
pub(crate) struct Attributes<'a> {
    set: &'static [Attribute],
    bytes: &'a [u8],
    /// Where what begins with the last attribute of each number is, from the end of the bytes; 0
    /// without one.
    last: [u32; SET_MAX + 1],
    unknown: Unknown,
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
        let mut last = [0; SET_MAX + 1];
        let mut rest = bytes;
        while !rest.is_empty() {
            // A message's length is a number of 32 bits.
            let from_end = u32::try_from(rest.len()).unwrap_or(0);
            let Some((id, _)) = next(&mut rest) else {
                return Err(DecodeError::of_message(Problem::Truncated));
            };
            if unknown == Unknown::Refused && known(set, id).is_none() {
                return Err(DecodeError::of_message(Problem::Unexpected(id)));
            }
            if let Some(last) = last.get_mut(usize::from(id)) {
                *last = from_end;
            }
        }
        Ok(Self {
            set,
            bytes,
            last,
            unknown,
        })
    }

    /// All attributes of this number, in their order.
    pub(crate) fn all(&self, id: u16) -> impl Iterator<Item = Value<'a>> {
        let attribute = known(self.set, id);
        let (mut rest, unknown) = (self.bytes, self.unknown);
        let all = std::iter::from_fn(move || next(&mut rest));
        all.filter(move |(found, _)| *found == id)
            .filter_map(move |(_, bytes)| {
                Some(Value {
                    attribute: attribute?,
                    bytes,
                    unknown,
                })
            })
    }

    /// The attribute of this number; as in the kernel, the last one counts.
    pub(crate) fn get(&self, id: u16) -> Option<Value<'a>> {
        let attribute = known(self.set, id)?;
        let last = *self.last.get(usize::from(id))?;
        let begin = self.bytes.len().checked_sub(last as usize)?;
        let (_, bytes) = next(&mut self.bytes.get(begin..)?)?;
        Some(Value {
            attribute,
            bytes,
            unknown: self.unknown,
        })
    }

    /// The attribute of this number, which must be there.
    pub(crate) fn required(&self, id: u16) -> Result<Value<'a>, DecodeError> {
        self.get(id).ok_or_else(|| {
            let name = known(self.set, id).map_or("attribute", |attribute| attribute.name);
            DecodeError::at(name, Problem::Missing)
        })
    }
}

/// The attribute of this number in a set, where it stands in the place that its number says, from 1.
fn known(set: &'static [Attribute], id: u16) -> Option<&'static Attribute> {
    let attribute = set.get(usize::from(id).checked_sub(1)?)?;
    (attribute.id == id).then_some(attribute)
}

/// Takes the first attribute of a run: its number and its value. `None` when it does not fit into
/// the bytes there are.
fn next<'a>(run: &mut &'a [u8]) -> Option<(u16, &'a [u8])> {
    let (&[l0, l1, k0, k1], _) = run.split_first_chunk::<NLA_HEADER_SIZE>()?;
    let length = usize::from(u16::from_ne_bytes([l0, l1]));
    let value = run.get(NLA_HEADER_SIZE..length)?;
    // The last one may do without its padding.
    *run = run
        .get(length.next_multiple_of(NLA_ALIGNTO)..)
        .unwrap_or_default();
    Some((u16::from_ne_bytes([k0, k1]) & NLA_TYPE_MASK, value))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generated::*;

    #[test]
    fn no_set_has_more_attributes_than_can_be_found() {
        let sets: [&[Attribute]; 16] = [
            &alarm::ATTRS,
            &bulk::ATTRS,
            &config::ATTRS,
            &counters::ATTRS,
            &drops::ATTRS,
            &endpoint::ATTRS,
            &flush::ATTRS,
            &learning::ATTRS,
            &port_range::ATTRS,
            &quality::ATTRS,
            &receiving::ATTRS,
            &report::ATTRS,
            &sending::ATTRS,
            &session::ATTRS,
            &stream::ATTRS,
            &totals::ATTRS,
        ];
        for set in sets {
            for attribute in set {
                assert!(known(set, attribute.id).is_some(), "{}", attribute.name);
                assert!(usize::from(attribute.id) <= SET_MAX, "{}", attribute.name);
            }
        }
    }
}
