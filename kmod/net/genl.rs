// SPDX-License-Identifier: GPL-2.0

//! A generic netlink family.
//!
//! C header: [`include/net/genetlink.h`](srctree/include/net/genetlink.h)

mod command;
mod event;
mod message;
mod policy;

pub(crate) use self::{
    command::{
        Do,
        Dump,
        Operation,
        Request, //
    },
    event::{
        is_heard,
        notify_of_packet,
        Events, //
    },
    message::DATAGRAM,
    policy::{
        AttributeSet,
        Policy, //
    },
};
use super::{
    bindings,
    namespace::{
        self,
        Namespace, //
    },
};
use core::{
    fmt::{
        self,
        Write, //
    },
    sync::atomic::{
        AtomicBool,
        Ordering::Release, //
    },
};
use kernel::{
    error::to_result,
    prelude::*,
    sync::atomic::{
        ordering::Full,
        AtomicFlag, //
    },
    types::Opaque, //
};

/// A multicast group that needs `CAP_NET_ADMIN` in the namespace to be joined.
#[repr(transparent)]
pub(crate) struct Group(bindings::genl_multicast_group);

// SAFETY: Never written to.
unsafe impl Sync for Group {}

impl Group {
    /// Makes a group.
    pub(crate) const fn new(name: &str) -> Self {
        Self(bindings::genl_multicast_group {
            name: padded(name),
            flags: bindings::LREP_GENL_MCAST_CAP_NET_ADMIN,
        })
    }
}

const fn padded(name: &str) -> [c_char; 16] {
    let mut field = [0; 16];
    let name = name.as_bytes();
    assert!(name.len() < field.len());
    let mut index = 0;
    while index < name.len() {
        field[index] = name[index] as c_char;
        index += 1;
    }
    field
}

/// A generic netlink family.
#[repr(transparent)]
pub(crate) struct Family(Opaque<bindings::genl_family>);

// SAFETY: Only the kernel writes to it, under its own lock.
unsafe impl Sync for Family {}

impl Family {
    /// Makes a family that is present in every network namespace, and whose commands may run in
    /// parallel.
    pub(crate) const fn new(
        module: &ThisModule,
        name: &str,
        version: u32,
        operations: &'static [Operation],
        groups: &'static [Group],
    ) -> Self {
        // `netnsok` and `parallel_ops` are the first two bits; bindgen's setters are not const.
        // SAFETY: The unit is one byte of plain bits.
        let flags =
            unsafe { core::mem::transmute::<u8, bindings::__BindgenBitfieldUnit<[u8; 1]>>(0b11) };
        Self(Opaque::new(bindings::genl_family {
            name: padded(name),
            version,
            _bitfield_1: flags,
            module: module.as_ptr().cast(),
            split_ops: operations.as_ptr().cast(),
            n_split_ops: operations.len() as u8,
            mcgrps: groups.as_ptr().cast(),
            n_mcgrps: groups.len() as u8,
            // SAFETY: All zeroes is a valid `struct genl_family`: C initialises the rest so.
            ..unsafe { core::mem::zeroed() }
        }))
    }

    fn as_ptr(&'static self) -> *mut bindings::genl_family {
        self.0.get()
    }
}

kernel::sync::global_lock! {
    // SAFETY: Initialised by the first `Registered::new`, before there is anything to notify of.
    unsafe(uninit) static REGISTERED: Mutex<bool> = false;
}

/// The same, for packets, which cannot wait for a lock.
static IS_OPEN: AtomicBool = AtomicBool::new(false);

/// A registered family, and the namespaces its commands work on.
///
/// Dropping it waits for the commands that run, and lets no new one in; only then the namespaces
/// go, which the commands use.
///
/// # Invariants
///
/// `family` is registered.
pub(crate) struct Registered<N: Namespace> {
    family: &'static Family,
    // Dropped after `Drop::drop` has unregistered the family.
    _namespaces: namespace::Registration<N>,
}

impl<N: Namespace> Registered<N> {
    /// Registers the namespaces and the family. There may be one such registration for as long as
    /// the module is loaded: a second one fails with `EBUSY`.
    pub(crate) fn new(family: &'static Family) -> Result<Self> {
        static USED: AtomicFlag = AtomicFlag::new(false);
        if USED.xchg(true, Full) {
            return Err(EBUSY);
        }
        // SAFETY: `USED` lets only one caller come here.
        unsafe { REGISTERED.init() };
        let namespaces = namespace::Registration::new()?;
        // SAFETY: The family is static, and so is what it points to.
        to_result(unsafe { bindings::genl_register_family(family.as_ptr()) })?;
        *REGISTERED.lock() = true;
        IS_OPEN.store(true, Release);
        // INVARIANT: It was just registered.
        Ok(Self {
            family,
            _namespaces: namespaces,
        })
    }
}

impl<N: Namespace> Drop for Registered<N> {
    fn drop(&mut self) {
        // From here on nobody sends events; without this, one could go to a group number that
        // already belongs to another family.
        *REGISTERED.lock() = false;
        IS_OPEN.store(false, Release);
        // The packets that have seen it open have been handled then.
        kernel::sync::rcu::synchronize_rcu();
        // SAFETY: By the type invariants it is registered.
        unsafe { bindings::genl_unregister_family(self.family.as_ptr()) };
    }
}

/// # Safety
///
/// `extack` must be valid or null, `attr` null or in the message that `extack` is about.
unsafe fn explain(
    extack: *mut bindings::netlink_ext_ack,
    attr: *const bindings::nlattr,
    text: fmt::Arguments<'_>,
) {
    // SAFETY: By the safety requirement.
    let Some(extack) = (unsafe { extack.as_mut() }) else {
        return;
    };
    // The kernel cuts longer texts too; the last byte stays NUL.
    struct Text<'a>(core::slice::IterMut<'a, c_char>);
    impl fmt::Write for Text<'_> {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            for &byte in text.as_bytes() {
                *self.0.next().ok_or(fmt::Error)? = byte as c_char;
            }
            Ok(())
        }
    }
    extack._msg_buf = [0; 80];
    let usable = extack._msg_buf.len() - 1;
    if let Some(buffer) = extack._msg_buf.get_mut(..usable) {
        let _ = Text(buffer.iter_mut()).write_fmt(text);
    }
    extack._msg = extack._msg_buf.as_ptr();
    extack.bad_attr = attr;
}
