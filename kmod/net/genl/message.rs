// SPDX-License-Identifier: GPL-2.0

//! Messages under construction.

use super::super::{
    bindings,
    nlattr::Writer, //
};
use crate::proto;
use core::{
    mem::ManuallyDrop,
    ptr::NonNull, //
};
use kernel::prelude::*;

/// Room for attributes in a datagram of the usual size, in bytes.
pub(crate) const DATAGRAM: usize = bindings::LREP_GENLMSG_DEFAULT_SIZE;

/// Memory for messages that are sent together.
///
/// # Invariants
///
/// It is a valid netlink `sk_buff` that is ours.
pub(super) struct Datagram(NonNull<bindings::sk_buff>);

impl Datagram {
    /// Memory for one message with so many bytes of attributes, or for several smaller ones.
    fn new(size: usize, flags: bindings::gfp_t) -> Result<Self> {
        // SAFETY: No requirements.
        let skb = unsafe { bindings::lrep_genlmsg_new(size, flags) };
        // INVARIANT: It was just made.
        Ok(Self(NonNull::new(skb).ok_or(ENOMEM)?))
    }

    /// Begins a message behind those that are finished, or gives itself back when there is no room.
    ///
    /// # Safety
    ///
    /// `family` must be registered.
    pub(super) unsafe fn begin(
        self,
        family: *const bindings::genl_family,
        (portid, seq): (u32, u32),
        command: proto::Command,
    ) -> Result<Message, Self> {
        let skb = self.0.as_ptr();
        // SAFETY: `skb` is valid by the type invariants, `family` by the safety requirement.
        let header = unsafe { bindings::genlmsg_put(skb, portid, seq, family, 0, command as u8) };
        match NonNull::new(header) {
            // INVARIANT: It was just made.
            Some(header) => Ok(Message {
                datagram: self,
                header,
            }),
            None => Err(self),
        }
    }

    /// Gives it away.
    pub(super) fn into_raw(self) -> *mut bindings::sk_buff {
        ManuallyDrop::new(self).0.as_ptr()
    }
}

impl Drop for Datagram {
    fn drop(&mut self) {
        // SAFETY: By the type invariants.
        unsafe { bindings::lrep_nlmsg_free(self.0.as_ptr()) };
    }
}

/// A message under construction.
///
/// # Invariants
///
/// `header` is the generic netlink header of the last message of `datagram`.
pub(crate) struct Message {
    datagram: Datagram,
    header: NonNull<c_void>,
}

impl Message {
    /// # Safety
    ///
    /// `family` must be registered.
    pub(super) unsafe fn new(
        family: *const bindings::genl_family,
        size: usize,
        to: (u32, u32),
        command: proto::Command,
        flags: bindings::gfp_t,
    ) -> Result<Self> {
        let datagram = Datagram::new(size, flags)?;
        // SAFETY: By the safety requirement.
        unsafe { datagram.begin(family, to, command) }.map_err(|_| EMSGSIZE)
    }

    /// Its attributes, for writing.
    pub(crate) fn writer(&mut self) -> Writer<'_> {
        // SAFETY: By the type invariants; the result borrows `self`.
        unsafe { Writer::from_raw(self.datagram.0) }
    }

    /// It is whole.
    pub(super) fn finish(self) -> Datagram {
        // SAFETY: By the type invariants.
        unsafe { bindings::lrep_genlmsg_end(self.datagram.0.as_ptr(), self.header.as_ptr()) };
        self.datagram
    }

    /// Nothing of it stays.
    pub(super) fn cancel(self) -> Datagram {
        // SAFETY: By the type invariants.
        unsafe { bindings::lrep_genlmsg_cancel(self.datagram.0.as_ptr(), self.header.as_ptr()) };
        self.datagram
    }
}
