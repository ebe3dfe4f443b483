// SPDX-License-Identifier: GPL-2.0

//! A lock between commands and packets, of which packets never wait for it.
//!
//! C headers: [`include/linux/spinlock.h`](srctree/include/linux/spinlock.h),
//! [`include/linux/bottom_half.h`](srctree/include/linux/bottom_half.h)

use super::{
    bindings,
    rcu::ReadSide, //
};
use core::ops::DerefMut;
use kernel::{
    new_spinlock,
    prelude::*,
    sync::SpinLock,
    types::NotThreadSafe, //
};

/// A value that is locked for a few instructions at a time.
#[pin_data]
pub(crate) struct PacketLock<T> {
    #[pin]
    inner: SpinLock<T>,
}

impl<T> PacketLock<T> {
    /// Makes a lock.
    pub(crate) fn new(value: T) -> impl PinInit<Self> {
        pin_init!(Self {
            inner <- new_spinlock!(value, "lreproxy::PacketLock"),
        })
    }
}

impl<T: Unpin> PacketLock<T> {
    /// For packets: the value, unless somebody else has it just now. They are handled with bottom
    /// halves disabled, so this does not keep another CPU waiting for longer than it takes.
    pub(crate) fn try_lock(&self, _: ReadSide<'_>) -> Option<impl DerefMut<Target = T> + '_> {
        self.inner.try_lock()
    }

    /// For commands: works on the value. `work` must not sleep.
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        // Packets of this CPU would find the lock taken, and would be refused for it.
        let _disabled = BottomHalves::disable();
        work(&mut self.inner.lock())
    }
}

/// Keeps softirqs from this CPU while it exists.
struct BottomHalves(NotThreadSafe);

impl BottomHalves {
    fn disable() -> Self {
        // SAFETY: It may be called anywhere but in hard interrupts; `drop` reverts it.
        unsafe { bindings::lrep_local_bh_disable() };
        Self(NotThreadSafe)
    }
}

impl Drop for BottomHalves {
    fn drop(&mut self) {
        // SAFETY: Reverts what `disable` did on this CPU: the value stays in its thread, which does
        // not migrate meanwhile.
        unsafe { bindings::lrep_local_bh_enable() };
    }
}
