// SPDX-License-Identifier: GPL-2.0

//! Events: what the listeners of a group are told unasked.

use super::{
    super::{
        bindings,
        namespace::Net,
        nlattr::Writer,
        rcu::ReadSide, //
    },
    message::{
        Datagram,
        Message, //
    },
    Family,
    IS_OPEN,
    REGISTERED, //
};
use crate::proto;
use core::sync::atomic::Ordering::Acquire;
use kernel::prelude::*;

/// Events of a family that go to the listeners of a group in as few datagrams as they fit into, the
/// last of them when this is dropped. A listener that is too slow, or was not told of one for want of
/// memory, finds out from its socket (`ENOBUFS`).
pub(crate) struct Events {
    to: Listeners,
    command: proto::Command,
    /// Those that are written and not sent yet.
    written: Option<Datagram>,
}

impl Events {
    /// None yet, for the listeners of the family's group number `group` in `net`.
    pub(crate) fn new(
        family: &'static Family,
        net: Net,
        group: u32,
        command: proto::Command,
    ) -> Self {
        Self {
            to: Listeners { family, net, group },
            command,
            written: None,
        }
    }

    /// Adds an event. If it does not go with those before, it gets memory of the first of these sizes
    /// in bytes that it fits into, where others may follow. Does nothing when nobody listens. May
    /// sleep.
    pub(crate) fn add<const SIZES: usize>(
        &mut self,
        sizes: impl FnOnce() -> [usize; SIZES],
        write: impl Fn(&mut Writer<'_>) -> Result,
    ) {
        // Keeps the family registered until this returns.
        let registered = REGISTERED.lock();
        // SAFETY: It is registered.
        if !*registered || !unsafe { self.to.has_listeners() } {
            return;
        }
        if let Some(datagram) = self.written.take() {
            // SAFETY: As above.
            let begun = unsafe { datagram.begin(self.to.family.as_ptr(), (0, 0), self.command) };
            let full = match begun {
                Ok(mut message) => match write(&mut message.writer()) {
                    Ok(()) => {
                        self.written = Some(message.finish());
                        return;
                    }
                    Err(_) => message.cancel(),
                },
                Err(datagram) => datagram,
            };
            // SAFETY: As above.
            unsafe { self.to.send(full, bindings::LREP_GFP_KERNEL) };
        }
        let (command, flags) = (self.command, bindings::LREP_GFP_KERNEL);
        // SAFETY: As above.
        self.written = unsafe { self.to.write(command, sizes(), flags, write) };
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let Some(datagram) = self.written.take() else {
            return;
        };
        let registered = REGISTERED.lock();
        if *registered {
            // SAFETY: It is registered until the lock is open.
            unsafe { self.to.send(datagram, bindings::LREP_GFP_KERNEL) };
        }
    }
}

/// Whether packets would [`notify_of_packet`] anybody.
pub(crate) fn is_heard(family: &'static Family, net: Net, group: u32, _: ReadSide<'_>) -> bool {
    let to = Listeners { family, net, group };
    // SAFETY: The family is registered until a grace period after `IS_OPEN` has become false.
    IS_OPEN.load(Acquire) && unsafe { to.has_listeners() }
}

/// Sends an event of so many bytes in the middle of a packet's path: it takes memory and time, so it is
/// for the few packets that somebody listens for. Does not sleep.
pub(crate) fn notify_of_packet(
    family: &'static Family,
    net: Net,
    group: u32,
    command: proto::Command,
    size: usize,
    rcu: ReadSide<'_>,
    write: impl Fn(&mut Writer<'_>) -> Result,
) {
    if !is_heard(family, net, group, rcu) {
        return;
    }
    let (to, flags) = (Listeners { family, net, group }, bindings::LREP_GFP_ATOMIC);
    // SAFETY: As for `is_heard`.
    unsafe {
        if let Some(datagram) = to.write(command, [size], flags, write) {
            to.send(datagram, flags);
        }
    }
}

/// Whom events are for.
struct Listeners {
    family: &'static Family,
    net: Net,
    /// The group's number in the family.
    group: u32,
}

impl Listeners {
    /// # Safety
    ///
    /// The family must be registered, and stay so until this returns.
    unsafe fn has_listeners(&self) -> bool {
        let (family, net) = (self.family.as_ptr(), self.net.as_ptr());
        // SAFETY: By the safety requirement; `net` is alive.
        unsafe { bindings::lrep_genl_has_listeners(family, net, self.group) }
    }

    /// Writes an event, in the first of these sizes in bytes that it fits into. When that fails,
    /// whoever listens finds out as if it had been too slow.
    ///
    /// # Safety
    ///
    /// The family must be registered, and stay so until this returns.
    unsafe fn write<const SIZES: usize>(
        &self,
        command: proto::Command,
        sizes: [usize; SIZES],
        flags: bindings::gfp_t,
        write: impl Fn(&mut Writer<'_>) -> Result,
    ) -> Option<Datagram> {
        let (family, net) = (self.family.as_ptr(), self.net.as_ptr());
        let of_size = |size: usize| {
            // SAFETY: By the safety requirement.
            let mut message = unsafe { Message::new(family, size, (0, 0), command, flags) }?;
            write(&mut message.writer())?;
            Ok(message.finish())
        };
        let too_small = Err(EMSGSIZE);
        let written = sizes
            .into_iter()
            .fold(too_small, |written, size| match written {
                Err(error) if error == EMSGSIZE => of_size(size),
                written => written,
            });
        if written.is_err() {
            // SAFETY: By the safety requirement; `net` is alive.
            unsafe { bindings::lrep_genl_set_err(family, net, self.group, ENOBUFS.to_errno()) };
        }
        written.ok()
    }

    /// # Safety
    ///
    /// The family must be registered, and stay so until this returns.
    unsafe fn send(&self, datagram: Datagram, flags: bindings::gfp_t) {
        let (family, net, skb) = (self.family.as_ptr(), self.net.as_ptr(), datagram.into_raw());
        // Who is too slow finds out from its socket, and the last listener may just have gone.
        //
        // SAFETY: By the safety requirement; `net` is alive, and the datagram is given away.
        let _ =
            unsafe { bindings::lrep_genlmsg_multicast_netns(family, net, skb, self.group, flags) };
    }
}
