// SPDX-License-Identifier: GPL-2.0

//! Pointers that packets read without a lock.
//!
//! An [`RcuSlot`] publishes an [`RcuArc`]. A reader that is inside an RCU read-side critical
//! section ([`ReadSide`]) gets a plain reference from the slot, at the price of one load. What a
//! slot held is freed at the earliest one grace period after it was replaced.
//!
//! C header: [`include/linux/rcupdate.h`](srctree/include/linux/rcupdate.h)

use super::bindings;
use core::{
    marker::PhantomData,
    mem::MaybeUninit,
    ops::Deref,
    ptr::{
        self,
        NonNull, //
    },
};
use kernel::{
    alloc::{
        AllocError,
        Flags, //
    },
    prelude::*,
    sync::{
        atomic::{
            ordering::{
                Full,
                Relaxed, //
            },
            Atomic, //
        },
        Refcount, //
    },
    types::{
        NotThreadSafe,
        Opaque, //
    },
};

/// Evidence that an RCU read-side critical section lasts for `'r`.
///
/// # Invariants
///
/// This CPU is inside an RCU read-side critical section while a value of this type exists.
#[derive(Clone, Copy)]
pub(crate) struct ReadSide<'r>(PhantomData<&'r NotThreadSafe>);

impl<'r> ReadSide<'r> {
    /// Takes over a critical section the caller is already in.
    ///
    /// # Safety
    ///
    /// This CPU must stay inside an RCU read-side critical section for the whole of `'r`.
    #[inline(always)]
    pub(super) unsafe fn assume() -> Self {
        // INVARIANT: By the safety requirement.
        Self(PhantomData)
    }
}

impl<'r> From<&'r kernel::sync::rcu::Guard> for ReadSide<'r> {
    fn from(_: &'r kernel::sync::rcu::Guard) -> Self {
        // INVARIANT: The guard holds the read-side lock and outlives `'r`.
        Self(PhantomData)
    }
}

/// Callbacks that were queued and have not finished.
static PENDING: Atomic<i64> = Atomic::new(0);

/// At most so many objects hold each other in a row, from the table of a namespace down to what
/// its flows have in common: table, ports, page, two endpoints that share a port, flow, terms,
/// learner. (A learner holds the endpoints in turn, but not those of a session that has ended.)
const DEPTH: usize = 8;

/// Waits until everything that was released before the call has been freed.
///
/// Freeing one object can release another, which needs a grace period of its own; a single
/// `rcu_barrier()` does not wait for that one.
pub(crate) fn settle() {
    for _ in 0..DEPTH {
        if PENDING.load(Relaxed) == 0 {
            return;
        }
        kernel::sync::rcu::rcu_barrier();
    }
}

/// Waits until everything that was released has been freed, and the code that frees it is done.
/// To be called when nothing is released any more.
pub(crate) fn drain() {
    while PENDING.load(Relaxed) != 0 {
        kernel::sync::rcu::rcu_barrier();
    }
    // The callback that took the count to zero may still have its last instructions to run.
    kernel::sync::rcu::rcu_barrier();
}

#[repr(C)]
#[pin_data]
struct Inner<T> {
    // The first field: who has found an object uses it without adding to its address, and what
    // comes first in `T` comes first in a cache line.
    #[pin]
    value: T,
    references: Refcount,
    head: Opaque<bindings::callback_head>,
}

/// A counted reference to a `T` that is freed one grace period after the last reference is gone.
///
/// `T` is dropped in softirq context: its `drop` must not sleep.
///
/// # Invariants
///
/// `inner` points to an allocation made by [`KBox`], and this value owns one of its references.
pub(crate) struct RcuArc<T: 'static> {
    inner: NonNull<Inner<T>>,
}

// SAFETY: Like `Arc`: references to `T` are shared between threads, the last one drops it.
unsafe impl<T: Send + Sync> Send for RcuArc<T> {}

// SAFETY: As for `Send`.
unsafe impl<T: Send + Sync> Sync for RcuArc<T> {}

impl<T: Send + Sync> RcuArc<T> {
    /// Bytes of memory one value takes.
    pub(crate) const SIZE: usize = size_of::<Inner<T>>();

    /// Allocates a new reference-counted value.
    pub(crate) fn new(value: T, flags: Flags) -> Result<Self, AllocError> {
        // SAFETY: The closure writes a `T` to where there is room for one.
        unsafe { Self::written(flags, |place| place.write(value)) }
    }

    /// Allocates a value that is made in its place, where it stays.
    pub(crate) fn pin_init(value: impl PinInit<T>, flags: Flags) -> Result<Self, AllocError> {
        let inner = KBox::pin_init(
            pin_init!(Inner {
                references: Refcount::new(1),
                head: Opaque::uninit(),
                value <- value,
            }),
            flags,
        )
        .map_err(|_| AllocError)?;
        // SAFETY: The value is never moved: nobody gets more than a shared reference to it, and it
        // is dropped in its place.
        let inner = unsafe { Pin::into_inner_unchecked(inner) };
        // INVARIANT: The pointer comes from a `KBox`, the count is one.
        Ok(Self {
            inner: NonNull::from(Box::leak(inner)),
        })
    }

    /// Allocates a value of all zero bytes, without building it on the stack first.
    pub(crate) fn zeroed(flags: Flags) -> Result<Self, AllocError>
    where
        T: Zeroable,
    {
        // SAFETY: The closure writes a `T`: all zeroes is one.
        unsafe { Self::written(flags, |place| place.write_bytes(0, 1)) }
    }

    /// Allocates a value that is written to where it stays.
    ///
    /// # Safety
    ///
    /// `write` must write a `T` to the address it is given.
    unsafe fn written(flags: Flags, write: impl FnOnce(*mut T)) -> Result<Self, AllocError> {
        let inner: KBox<MaybeUninit<Inner<T>>> = KBox::new_uninit(flags)?;
        let inner = KBox::into_raw(inner).cast::<Inner<T>>();
        // SAFETY: The allocation is large enough for `Inner<T>` and nobody else knows it. The value
        // is written by the safety requirement, the count here; `head` needs no value.
        unsafe {
            write(&raw mut (*inner).value);
            (&raw mut (*inner).references).write(Refcount::new(1));
        }
        // INVARIANT: The pointer comes from a `KBox`, the count is one.
        Ok(Self {
            // SAFETY: `KBox` never returns null.
            inner: unsafe { NonNull::new_unchecked(inner) },
        })
    }
}

impl<T> Deref for RcuArc<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: By the type invariants the allocation is alive.
        unsafe { &self.inner.as_ref().value }
    }
}

impl<T> Clone for RcuArc<T> {
    fn clone(&self) -> Self {
        // SAFETY: By the type invariants the allocation is alive.
        unsafe { self.inner.as_ref() }.references.inc();
        // INVARIANT: One more reference was counted.
        Self { inner: self.inner }
    }
}

impl<T> Drop for RcuArc<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants the allocation is alive.
        let inner = unsafe { self.inner.as_ref() };
        if inner.references.dec_and_test() {
            PENDING.fetch_add(1, Relaxed);
            // SAFETY: The last reference is gone, so nobody else uses `head`, and the
            // allocation stays until the callback frees it. `RcuSlot` readers may still look at
            // `value`: they are waited for.
            unsafe { bindings::lrep_call_rcu(inner.head.get(), Some(free::<T>)) };
        }
    }
}

/// # Safety
///
/// `head` must be the `head` of an `Inner<T>` from a [`KBox`] that nobody refers to.
unsafe extern "C" fn free<T>(head: *mut bindings::callback_head) {
    let offset = core::mem::offset_of!(Inner<T>, head);
    // SAFETY: By the safety requirement `head` is `offset` bytes into an `Inner<T>`.
    let inner = unsafe { head.byte_sub(offset) }.cast::<Inner<T>>();
    // SAFETY: By the safety requirement it came from a `KBox`, and this is the only user.
    drop(unsafe { KBox::from_raw(inner) });
    PENDING.fetch_sub(1, Full);
}

/// A place that holds an [`RcuArc`] or nothing, and that packets read.
///
/// # Invariants
///
/// The pointer is null or owns one reference of an `RcuArc<T>`.
#[repr(transparent)]
pub(crate) struct RcuSlot<T: 'static> {
    pointer: Atomic<*mut Inner<T>>,
}

// SAFETY: The slot hands out `&T` and moves `RcuArc<T>`, on any thread.
unsafe impl<T: Send + Sync> Send for RcuSlot<T> {}

// SAFETY: As for `Send`.
unsafe impl<T: Send + Sync> Sync for RcuSlot<T> {}

// SAFETY: All zeroes is the null pointer: an empty slot.
unsafe impl<T> Zeroable for RcuSlot<T> {}

impl<T: Send + Sync> RcuSlot<T> {
    /// Makes a slot.
    pub(crate) fn new(content: Option<RcuArc<T>>) -> Self {
        // INVARIANT: The reference of `content` moves into the slot.
        Self {
            pointer: Atomic::new(into_raw(content)),
        }
    }

    /// Reads the slot: one load.
    #[inline(always)]
    pub(crate) fn load<'r>(&self, _: ReadSide<'r>) -> Option<&'r T> {
        // A plain volatile load, as `rcu_dereference()` does: the address dependency orders what
        // is read through the pointer. `Atomic::load` would be an out-of-line call.
        //
        // SAFETY: `as_ptr` is valid for reads, and the slot is only written atomically.
        let inner = unsafe { self.pointer.as_ptr().read_volatile() };
        // SAFETY: By the type invariants a pointer that is not null had a reference when it was
        // read, and the object outlives the read-side critical section, which lasts for `'r`.
        unsafe { inner.as_ref().map(|inner| &inner.value) }
    }

    /// Puts `content` in and returns what was there before.
    pub(crate) fn replace(&self, content: Option<RcuArc<T>>) -> Option<RcuArc<T>> {
        // `Full` orders the initialisation of the content before its publication.
        // INVARIANT: The reference of `content` moves into the slot, the old one out of it.
        let old = self.pointer.xchg(into_raw(content), Full);
        NonNull::new(old).map(|inner| RcuArc { inner })
    }
}

impl<T> Drop for RcuSlot<T> {
    fn drop(&mut self) {
        let inner = *self.pointer.get_mut();
        // INVARIANT: The reference moves out of the slot.
        drop(NonNull::new(inner).map(|inner| RcuArc { inner }));
    }
}

fn into_raw<T>(content: Option<RcuArc<T>>) -> *mut Inner<T> {
    match content {
        Some(arc) => core::mem::ManuallyDrop::new(arc).inner.as_ptr(),
        None => ptr::null_mut(),
    }
}
