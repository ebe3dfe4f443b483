// SPDX-License-Identifier: GPL-2.0

//! Netlink attributes: reading them from bytes, writing them into a message.
//!
//! C header: [`include/net/netlink.h`](srctree/include/net/netlink.h)

use super::bindings;
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::prelude::*;

const HEADER: usize = 4;
const ALIGNMENT: usize = 4;
/// `NLA_TYPE_MASK`: the type without its two flag bits.
const TYPE_MASK: u16 = 0x3fff;
/// `NLA_F_NESTED`: the flag bit of an attribute that has others inside.
const NESTED: u16 = 0x8000;

/// One attribute of a message.
///
/// # Invariants
///
/// `whole` is not shorter than its header.
#[derive(Clone, Copy)]
pub(crate) struct Attribute<'a> {
    whole: &'a [u8],
}

impl<'a> Attribute<'a> {
    /// The type, without flags.
    pub(crate) fn id(&self) -> u16 {
        match self.whole {
            [_, _, a, b, ..] => u16::from_ne_bytes([*a, *b]) & TYPE_MASK,
            _ => 0,
        }
    }

    /// The value.
    pub(crate) fn payload(&self) -> &'a [u8] {
        self.whole.get(HEADER..).unwrap_or_default()
    }

    /// Where the attribute's header is.
    pub(super) fn as_ptr(&self) -> *const bindings::nlattr {
        self.whole.as_ptr().cast()
    }

    /// The attributes inside this one.
    pub(crate) fn nested(&self) -> Attributes<'a> {
        Attributes(self.payload())
    }

    /// The value of a `u16` in network byte order.
    pub(crate) fn be16(&self) -> Option<u16> {
        Some(u16::from_be_bytes(self.payload().try_into().ok()?))
    }

    /// The value of a `u16`.
    pub(crate) fn u16(&self) -> Option<u16> {
        Some(u16::from_ne_bytes(self.payload().try_into().ok()?))
    }

    /// The value of a `u32`.
    pub(crate) fn u32(&self) -> Option<u32> {
        Some(u32::from_ne_bytes(self.payload().try_into().ok()?))
    }

    /// The value of a `uint`, which is 4 or 8 bytes long.
    pub(crate) fn uint(&self) -> Option<u64> {
        match self.payload().len() {
            8 => Some(u64::from_ne_bytes(self.payload().try_into().ok()?)),
            _ => self.u32().map(u64::from),
        }
    }
}

/// The attributes in a run of bytes. Stops at the first one that does not fit.
#[derive(Clone, Copy)]
pub(crate) struct Attributes<'a>(pub(super) &'a [u8]);

impl<'a> Attributes<'a> {
    /// The last attribute of a type, which is the one that counts when it may stand only once.
    pub(crate) fn get(self, id: u16) -> Option<Attribute<'a>> {
        self.all(id).last()
    }

    /// All attributes of a type.
    pub(crate) fn all(self, id: u16) -> impl Iterator<Item = Attribute<'a>> {
        self.filter(move |attribute| attribute.id() == id)
    }

    /// The same, for many to be asked for by their types: they are looked through only once.
    pub(crate) fn by_id(self) -> ById<'a> {
        let mut last = [None; TYPES];
        for attribute in self {
            if let Some(slot) = last.get_mut(usize::from(attribute.id())) {
                *slot = Some(attribute);
            }
        }
        ById { all: self, last }
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Attribute<'a>> {
        let (length, _) = self.0.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_ne_bytes(*length));
        let whole = self.0.get(..length)?;
        if length < HEADER {
            return None;
        }
        self.0 = self
            .0
            .get(length.next_multiple_of(ALIGNMENT)..)
            .unwrap_or_default();
        // INVARIANT: It has a whole header.
        Some(Attribute { whole })
    }
}

/// Types that a set of attributes may have, from 0; that no set has more is checked where policies
/// are made.
pub(super) const TYPES: usize = 16;

/// Attributes that are found by their types, of which there are fewer than [`TYPES`].
#[derive(Clone, Copy)]
pub(crate) struct ById<'a> {
    all: Attributes<'a>,
    last: [Option<Attribute<'a>>; TYPES],
}

impl<'a> ById<'a> {
    /// The last attribute of a type, which is the one that counts when it may stand only once.
    pub(crate) fn get(&self, id: u16) -> Option<Attribute<'a>> {
        *self.last.get(usize::from(id))?
    }

    /// All attributes of a type.
    pub(crate) fn all(&self, id: u16) -> impl Iterator<Item = Attribute<'a>> {
        self.all.all(id)
    }
}

/// Writes attributes at the end of a message. Every method fails with `EMSGSIZE` when the
/// message is full.
///
/// It does what `nla_put()` does, without calls: a session has some fifty attributes.
///
/// # Invariants
///
/// `skb` is a valid netlink message under construction, all in one piece, that nobody else writes
/// to for `'m`.
pub(crate) struct Writer<'m> {
    skb: NonNull<bindings::sk_buff>,
    message: PhantomData<&'m mut ()>,
}

impl Writer<'_> {
    /// # Safety
    ///
    /// The type invariants must hold for `skb`.
    pub(super) unsafe fn from_raw(skb: NonNull<bindings::sk_buff>) -> Self {
        // INVARIANT: By the safety requirement.
        Self {
            skb,
            message: PhantomData,
        }
    }

    /// Where the message ends, in bytes from the head of its memory.
    fn tail(&self) -> u32 {
        // SAFETY: By the type invariants.
        unsafe { self.skb.as_ref() }.tail
    }

    /// Writes bytes.
    #[inline(always)]
    pub(crate) fn bytes(&mut self, id: u16, value: &[u8]) -> Result {
        let length = value.len().saturating_add(HEADER);
        let header = u16::try_from(length).map_err(|_| EMSGSIZE)?;
        // No more than fits into 17 bits.
        let size = length.next_multiple_of(ALIGNMENT) as u32;
        // SAFETY: By the type invariants.
        let skb = unsafe { self.skb.as_mut() };
        if size > skb.end.saturating_sub(skb.tail) {
            return Err(EMSGSIZE);
        }
        // SAFETY: Behind `tail`, before `end`, there are so many bytes of the message's memory that
        // nobody reads yet: at least a header. What it is written to needs no alignment.
        unsafe {
            let place = skb.head.add(skb.tail as usize);
            // The padding, which would tell what was in memory before.
            place
                .add((size as usize).wrapping_sub(ALIGNMENT))
                .cast::<u32>()
                .write_unaligned(0);
            place.cast::<[u16; 2]>().write_unaligned([header, id]);
            place
                .add(HEADER)
                .copy_from_nonoverlapping(value.as_ptr(), value.len());
        }
        skb.tail = skb.tail.wrapping_add(size);
        skb.len = skb.len.wrapping_add(size);
        Ok(())
    }

    /// Writes a `u16`.
    pub(crate) fn u16(&mut self, id: u16, value: u16) -> Result {
        self.bytes(id, &value.to_ne_bytes())
    }

    /// Writes a `u16` in network byte order.
    pub(crate) fn be16(&mut self, id: u16, value: u16) -> Result {
        self.bytes(id, &value.to_be_bytes())
    }

    /// Writes a `u32`.
    pub(crate) fn u32(&mut self, id: u16, value: u32) -> Result {
        self.bytes(id, &value.to_ne_bytes())
    }

    /// Writes a `uint`: 4 bytes when they suffice, else 8, as `nla_put_uint()` does.
    pub(crate) fn uint(&mut self, id: u16, value: u64) -> Result {
        match u32::try_from(value) {
            Ok(value) => self.u32(id, value),
            Err(_) => self.bytes(id, &value.to_ne_bytes()),
        }
    }

    /// Writes a NUL-terminated string.
    pub(crate) fn string(&mut self, id: u16, value: &CStr) -> Result {
        self.bytes(id, value.to_bytes_with_nul())
    }

    /// Writes attributes inside an attribute; nothing of it stays when that fails.
    pub(crate) fn nest(&mut self, id: u16, write: impl FnOnce(&mut Self) -> Result) -> Result {
        let begin = self.tail();
        self.bytes(id | NESTED, &[])?;
        let result = write(self);
        let length = self.tail().wrapping_sub(begin);
        // SAFETY: By the type invariants.
        let skb = unsafe { self.skb.as_mut() };
        let result = result.and_then(|()| u16::try_from(length).map_err(|_| EMSGSIZE));
        match result {
            Ok(length) => {
                // SAFETY: The header of the nest is there, which begins with its length.
                unsafe {
                    let place = skb.head.add(begin as usize);
                    place.cast::<u16>().write_unaligned(length);
                }
                Ok(())
            }
            Err(error) => {
                skb.tail = begin;
                skb.len = skb.len.wrapping_sub(length);
                Err(error)
            }
        }
    }
}
