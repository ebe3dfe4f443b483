// SPDX-License-Identifier: GPL-2.0

//! State and a packet hook for every network namespace.
//!
//! C headers: [`include/net/net_namespace.h`](srctree/include/net/net_namespace.h),
//! [`include/linux/netfilter.h`](srctree/include/linux/netfilter.h)

use super::{
    bindings,
    rcu::{
        self,
        ReadSide, //
    },
    skb::{
        Ipv4,
        Ipv6,
        Packet,
        Verdict,
        Version, //
    },
};
use core::{
    cell::UnsafeCell,
    ptr::NonNull, //
};
use kernel::{
    error::{
        from_result,
        to_result, //
    },
    prelude::*,
    sync::Arc, //
};

/// A network namespace.
///
/// # Invariants
///
/// The namespace is alive as long as this value is used: it is only handed to the
/// [`Namespace`] that belongs to it and to code that runs for a socket of it.
#[derive(Clone, Copy)]
pub(crate) struct Net(NonNull<bindings::net>);

// SAFETY: A `struct net` is made to be shared between CPUs.
unsafe impl Send for Net {}

// SAFETY: As for `Send`.
unsafe impl Sync for Net {}

impl Net {
    /// # Safety
    ///
    /// The type invariants must hold for `net`.
    pub(super) unsafe fn from_raw(net: NonNull<bindings::net>) -> Self {
        // INVARIANT: By the safety requirement.
        Self(net)
    }

    #[inline(always)]
    pub(super) fn as_ptr(self) -> *mut bindings::net {
        self.0.as_ptr()
    }
}

/// Where the kernel keeps the number of a [`Namespace`] type's state.
pub(crate) struct Id(UnsafeCell<c_uint>);

// SAFETY: Written once by `register_pernet_subsys()`, before anybody reads it.
unsafe impl Sync for Id {}

impl Id {
    /// A number that is not assigned yet.
    pub(crate) const fn new() -> Self {
        Self(UnsafeCell::new(0))
    }
}

/// What the module does in one network namespace.
pub(crate) trait Namespace: Send + Sync + Sized + 'static {
    /// Priority of the hooks among those of PRE_ROUTING (`enum nf_ip_hook_priorities`).
    const PRIORITY: i32;

    /// Where the number of this type is kept: a static of the implementation's own.
    fn id() -> &'static Id;

    /// Makes the state of a namespace.
    fn new(net: Net) -> impl PinInit<Self, Error>;

    /// Decides about an IPv4 packet at PRE_ROUTING. Must not sleep.
    fn ipv4(&self, packet: Packet<'_, Ipv4>) -> Verdict;

    /// Decides about an IPv6 packet at PRE_ROUTING. Must not sleep.
    fn ipv6(&self, packet: Packet<'_, Ipv6>) -> Verdict;

    /// The namespace goes: no packet and no command comes any more.
    fn exit(&self);
}

/// What `net_generic()` points to.
struct Entry<T: Namespace> {
    state: Arc<T>,
    hooks: [bindings::nf_hook_ops; 2],
}

/// `T` in all network namespaces, those to come included.
///
/// Dropping it removes the hooks, waits for the packets in flight, ends the states, and waits
/// until all they released is freed.
///
/// # Invariants
///
/// `ops` is registered.
pub(crate) struct Registration<T: Namespace> {
    ops: KBox<bindings::pernet_operations>,
    types: core::marker::PhantomData<T>,
}

// SAFETY: Registering and unregistering may happen on different threads.
unsafe impl<T: Namespace> Send for Registration<T> {}

// SAFETY: There is nothing to do with a shared reference.
unsafe impl<T: Namespace> Sync for Registration<T> {}

impl<T: Namespace> Registration<T> {
    /// Registers. There may be only one registration of a `T` at a time.
    pub(crate) fn new() -> Result<Self> {
        let mut ops = KBox::new(
            bindings::pernet_operations {
                init: Some(init::<T>),
                pre_exit: Some(pre_exit::<T>),
                exit: Some(exit::<T>),
                exit_batch: Some(exit_batch),
                id: T::id().0.get(),
                size: size_of::<*mut Entry<T>>(),
                ..Default::default()
            },
            GFP_KERNEL,
        )?;
        // SAFETY: `ops` stays where it is until it is unregistered, and its functions fit `T`.
        let registered = to_result(unsafe { bindings::register_pernet_subsys(&mut *ops) });
        if registered.is_err() {
            // The state of the namespace that failed may still be waiting to be freed.
            rcu::drain();
        }
        registered?;
        // INVARIANT: It was just registered.
        Ok(Self {
            ops,
            types: core::marker::PhantomData,
        })
    }
}

impl<T: Namespace> Drop for Registration<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants `ops` is registered.
        unsafe { bindings::unregister_pernet_subsys(&mut *self.ops) };
        // Their states have released what packets could still see. The code that frees it goes
        // with the module.
        rcu::drain();
    }
}

/// The state of a namespace.
///
/// # Safety
///
/// `net` must be alive, and a [`Registration`] of `T` must exist.
pub(super) unsafe fn state_of<'a, T: Namespace>(net: Net) -> &'a T {
    // SAFETY: Between `init` and `exit` the slot points to an `Entry<T>`.
    unsafe { &(**slot::<T>(net.as_ptr())).state }
}

/// # Safety
///
/// `net` must be valid, and `T` registered.
unsafe fn slot<T: Namespace>(net: *mut bindings::net) -> *mut *mut Entry<T> {
    // SAFETY: `T::id()` was assigned at registration; its area is one pointer large.
    unsafe { bindings::lrep_net_generic(net, *T::id().0.get()) }.cast()
}

/// # Safety
///
/// Called by the kernel for a namespace that has no state yet.
unsafe extern "C" fn init<T: Namespace>(raw: *mut bindings::net) -> c_int {
    from_result(|| {
        let net = NonNull::new(raw).ok_or(EINVAL)?;
        // SAFETY: The namespace outlives its `Entry`, which `exit` frees.
        let net = unsafe { Net::from_raw(net) };
        let state = Arc::pin_init(T::new(net), GFP_KERNEL)?;
        let hook = |version, function| bindings::nf_hook_ops {
            hook: Some(function),
            priv_: core::ptr::from_ref::<T>(&state).cast_mut().cast(),
            pf: version as u8,
            hooknum: bindings::nf_inet_hooks_NF_INET_PRE_ROUTING,
            priority: T::PRIORITY,
            ..Default::default()
        };
        let hooks = [
            hook(bindings::NFPROTO_IPV4, ipv4::<T> as Hook),
            hook(bindings::NFPROTO_IPV6, ipv6::<T> as Hook),
        ];
        let entry = KBox::new(Entry { state, hooks }, GFP_KERNEL)?;
        let [first, ..] = &entry.hooks;
        // SAFETY: The hooks and what they point to stay in place until `exit`, after `pre_exit`
        // has unregistered them.
        to_result(unsafe { bindings::nf_register_net_hooks(raw, first, 2) })?;
        // SAFETY: The kernel calls `init` for registered types.
        unsafe { *slot::<T>(raw) = KBox::into_raw(entry) };
        Ok(0)
    })
}

/// # Safety
///
/// Called by the kernel once after a successful [`init`], before [`exit`].
unsafe extern "C" fn pre_exit<T: Namespace>(net: *mut bindings::net) {
    // SAFETY: `init` registered the hooks and filled the slot; nobody takes its `Entry` out before
    // `exit`.
    unsafe {
        let [first, ..] = &(**slot::<T>(net)).hooks;
        bindings::nf_unregister_net_hooks(net, first, 2);
    }
}

/// # Safety
///
/// Called by the kernel once after [`pre_exit`] and a grace period (`ops_undo_list()` of
/// `net/core/net_namespace.c`), so that no packet is in [`packet`] any more.
unsafe extern "C" fn exit<T: Namespace>(net: *mut bindings::net) {
    // SAFETY: `init` put a `KBox` there, and nobody takes it out but here.
    let entry = unsafe {
        KBox::from_raw(core::mem::replace(
            &mut *slot::<T>(net),
            core::ptr::null_mut(),
        ))
    };
    entry.state.exit();
}

/// Called by the kernel once after [`exit`] of several namespaces.
///
/// The IPv6 routes of a namespace must be gone before it is: they are counted in it.
unsafe extern "C" fn exit_batch(_: *mut bindings::list_head) {
    rcu::settle();
}

type Hook = unsafe extern "C" fn(
    *mut c_void,
    *mut bindings::sk_buff,
    *const bindings::nf_hook_state,
) -> c_uint;

/// # Safety
///
/// Called by netfilter with the `priv_` given at registration and a packet at PRE_ROUTING.
unsafe extern "C" fn ipv4<T: Namespace>(
    private: *mut c_void,
    skb: *mut bindings::sk_buff,
    _state: *const bindings::nf_hook_state,
) -> c_uint {
    // SAFETY: By the safety requirement; the header was checked by `ip_rcv_core()`.
    let (state, packet) = unsafe { arrived::<T, Ipv4>(private, skb) };
    state.ipv4(packet).as_raw()
}

/// # Safety
///
/// Called by netfilter with the `priv_` given at registration and a packet at PRE_ROUTING.
unsafe extern "C" fn ipv6<T: Namespace>(
    private: *mut c_void,
    skb: *mut bindings::sk_buff,
    _state: *const bindings::nf_hook_state,
) -> c_uint {
    // SAFETY: By the safety requirement; the header was checked by `ip6_rcv_core()`.
    let (state, packet) = unsafe { arrived::<T, Ipv6>(private, skb) };
    state.ipv6(packet).as_raw()
}

/// # Safety
///
/// Must be called from a hook with its arguments; the packet must have a whole header of `V`.
#[inline(always)]
unsafe fn arrived<'a, T: Namespace, V: Version>(
    private: *mut c_void,
    skb: *mut bindings::sk_buff,
) -> (&'a T, Packet<'a, V>) {
    // SAFETY: `private` is the `T` of an `Entry`, which is freed a grace period after its hooks
    // were unregistered. `nf_hook()` holds the RCU lock, and hands over an `skb` that is not
    // shared, for the length of the call.
    unsafe {
        (
            &*private.cast::<T>(),
            Packet::from_raw(NonNull::new_unchecked(skb), ReadSide::assume()),
        )
    }
}
