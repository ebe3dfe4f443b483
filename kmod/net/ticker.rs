// SPDX-License-Identifier: GPL-2.0

//! A task that runs again and again for as long as it asks for it.
//!
//! C header: [`include/linux/workqueue.h`](srctree/include/linux/workqueue.h)

use super::{
    bindings,
    time::ms_to_jiffies, //
};
use kernel::{
    prelude::*,
    types::Opaque, //
};

/// The task of a `T` that holds a [`Ticker`] and is found from it.
///
/// # Safety
///
/// `OFFSET` must be the offset of a `Ticker<Self>` in `Self`, and that field must be the first to
/// be dropped. Implemented by [`impl_tick!`](crate::impl_tick).
pub(crate) unsafe trait HasTicker: Tick + Sync {
    /// Offset of the ticker.
    const OFFSET: usize;
}

/// What is to be done at every tick.
pub(crate) trait Tick {
    /// Does it, in process context. Returns the time until the next tick in milliseconds, or
    /// `None` to stop ticking.
    fn tick(&self) -> Option<u32>;
}

/// Implements [`HasTicker`] for a type whose first field is the ticker.
#[macro_export]
macro_rules! impl_tick {
    ($type:ty, $field:ident) => {
        // SAFETY: The offset is the field's. Fields are dropped in the order of their
        // declaration; the macro is used for types that declare the ticker first.
        unsafe impl $crate::net::ticker::HasTicker for $type {
            const OFFSET: usize = core::mem::offset_of!($type, $field);
        }
    };
}

/// A delayed work item inside its owner `T`.
///
/// Dropping it waits until the task does not run and cannot run again.
///
/// # Invariants
///
/// `work` is initialised, and is only queued while it is part of a `T`.
#[pin_data(PinnedDrop)]
pub(crate) struct Ticker<T: HasTicker> {
    #[pin]
    work: Opaque<bindings::delayed_work>,
    owner: core::marker::PhantomData<fn(&T)>,
}

// SAFETY: The work queue's functions may be called from any thread.
unsafe impl<T: HasTicker> Send for Ticker<T> {}

// SAFETY: As for `Send`.
unsafe impl<T: HasTicker> Sync for Ticker<T> {}

impl<T: HasTicker> Ticker<T> {
    /// Makes a ticker that does not tick yet.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            work <- Opaque::ffi_init(|work| {
                // SAFETY: `work` is valid and pinned from now on.
                unsafe { bindings::lrep_init_delayed_work(work, Some(run::<T>)) }
            }),
            owner: core::marker::PhantomData,
        })
    }

    /// Ticks after `delay_ms` milliseconds, unless a tick is already due.
    pub(crate) fn start(owner: &T, delay_ms: u32) {
        // SAFETY: By the trait's safety requirement there is a `Ticker<T>` at that offset, which
        // is initialised and lives as long as `owner`; its `drop` cancels what is queued here.
        unsafe {
            let ticker = &*core::ptr::from_ref(owner)
                .byte_add(T::OFFSET)
                .cast::<Self>();
            bindings::lrep_queue_delayed_work(ticker.work.get(), ms_to_jiffies(delay_ms));
        }
    }

    /// Stops for ever, and waits for the task to end if it runs.
    pub(crate) fn stop(&self) {
        // SAFETY: By the type invariants `work` is initialised.
        unsafe { bindings::disable_delayed_work_sync(self.work.get()) };
    }
}

#[pinned_drop]
impl<T: HasTicker> PinnedDrop for Ticker<T> {
    fn drop(self: Pin<&mut Self>) {
        self.stop();
    }
}

/// # Safety
///
/// Called by the work queue with the `work` of a `Ticker<T>` that is part of a `T`.
unsafe extern "C" fn run<T: HasTicker>(work: *mut bindings::work_struct) {
    let within = core::mem::offset_of!(bindings::delayed_work, work)
        + core::mem::offset_of!(Ticker<T>, work)
        + T::OFFSET;
    // SAFETY: By the safety requirement, `work` is that far into a `T`, which stays alive until
    // the ticker is dropped, and that waits for this function.
    let owner = unsafe { &*work.byte_sub(within).cast::<T>() };
    if let Some(delay) = owner.tick() {
        Ticker::start(owner, delay);
    }
}
