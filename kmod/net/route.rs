// SPDX-License-Identifier: GPL-2.0

//! A cached route to a party.
//!
//! C headers: [`include/net/dst.h`](srctree/include/net/dst.h),
//! [`include/net/route.h`](srctree/include/net/route.h),
//! [`include/net/ip6_fib.h`](srctree/include/net/ip6_fib.h),
//! [`include/net/neighbour.h`](srctree/include/net/neighbour.h)

use super::{
    bindings,
    namespace::Net,
    rcu::ReadSide, //
};
use crate::relay::{
    ipv6,
    policy::{
        Output,
        Sending, //
    }, //
};
use core::{
    net::{
        SocketAddr,
        SocketAddrV4,
        SocketAddrV6, //
    },
    ptr::{
        self,
        NonNull, //
    },
    sync::atomic::{
        AtomicI32,
        Ordering, //
    },
};
use kernel::{
    error::from_err_ptr,
    prelude::*, //
};

/// The way from one local endpoint to one remote one.
///
/// # Invariants
///
/// - This value owns one reference of `dst`.
/// - `way` is [`Way::Full`] or what [`Way`] says of `dst`.
pub(crate) struct Route {
    dst: NonNull<bindings::dst_entry>,
    /// What `dst_check()` compares with in IPv6.
    cookie: u32,
    /// The generation of the routing tables before they were read.
    generation: Generation,
    /// The size of packets that fit for as long as the route [is current](Self::current).
    fits: u32,
    way: Way,
}

/// What a counter showed that counts the changes of a family's routes in a namespace.
///
/// `dst_check()` alone does not notice all of them. What it compares with is of the moment in which a
/// route is made (`rt_dst_alloc()`) or its cookie is read, so that a change just before is missed; and a
/// new local address changes another table than that of the cookie (`__ipv6_ifa_notify()`).
#[derive(Clone, Copy)]
struct Generation {
    /// Where in `struct net` the counter is: an `atomic_t`.
    counter: u32,
    value: i32,
}

impl Generation {
    /// Of IPv4: what `rt_genid_ipv4()` reads.
    const IPV4: u32 = bindings::LREP_RT_GENID_IPV4 as u32;
    /// Of IPv6: what `fib6_new_sernum()` counts.
    const IPV6: u32 = bindings::LREP_FIB6_SERNUM as u32;

    /// The generation now; what is read of the tables after this is not older.
    fn of(net: Net, counter: u32) -> Self {
        // SAFETY: `net` is alive, and the offset is that of an `atomic_t` in it, which is an `AtomicI32`
        // for Rust: of its size and alignment, and only accessed atomically.
        let now = unsafe { AtomicI32::from_ptr(net.as_ptr().byte_add(counter as usize).cast()) };
        Self {
            counter,
            value: now.load(Ordering::Acquire),
        }
    }
}

/// Which way packets leave. It changes only with the route.
#[derive(Clone, Copy)]
enum Way {
    /// The one the route's output function knows.
    Full,
    /// Straight to this address, as it lies in memory: `dst` is that of a `struct rtable` whose
    /// output function is `ip_output()`.
    Ipv4(u32),
    /// Straight to the IPv6 gateway (RFC 8950) of such a route.
    Ipv6OfIpv4,
    /// Straight to the next hop of the `struct rt6_info` that `dst` is of.
    Ipv6,
}

// SAFETY: A `dst_entry` is made to be shared between CPUs.
unsafe impl Send for Route {}

// SAFETY: As for `Send`.
unsafe impl Sync for Route {}

/// How a `dst_entry` sends packets.
type OutputFunction =
    unsafe extern "C" fn(*mut bindings::net, *mut bindings::sock, *mut bindings::sk_buff) -> c_int;

/// Why there is no way.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoRoute {
    /// The destination is this host.
    ThisHost,
    /// The destination is several hosts.
    Broadcast,
    /// The routing tables know none, or memory ran out.
    Unreachable,
}

impl Route {
    /// Looks a route up for UDP from one endpoint to another of its family. Does not sleep.
    ///
    /// There is none to this host: what it sent to itself could come back to the relay for ever.
    /// Only on loopback parties are expected there.
    pub(crate) fn resolve(
        net: Net,
        way: (SocketAddr, SocketAddr),
        sending: &Sending,
    ) -> Result<Self, NoRoute> {
        match Self::look_up(net, way, sending) {
            // While a route is replaced, a reader that has found the old one is told that there is
            // none: `fib_table_lookup()` passes over what `fib_release_info()` has marked dead,
            // `fib6_info_hold_safe()` fails. The new one is there by then.
            Err(NoRoute::Unreachable) => Self::look_up(net, way, sending),
            found => found,
        }
    }

    fn look_up(
        net: Net,
        (from, to): (SocketAddr, SocketAddr),
        sending: &Sending,
    ) -> Result<Self, NoRoute> {
        match (from, to) {
            (SocketAddr::V4(from), SocketAddr::V4(to)) => {
                Self::resolve_ipv4(net, (from, to), sending)
            }
            (SocketAddr::V6(from), SocketAddr::V6(to)) => {
                Self::resolve_ipv6(net, (from, to), sending)
            }
            _ => Err(NoRoute::Unreachable),
        }
    }

    fn resolve_ipv4(
        net: Net,
        (from, to): (SocketAddrV4, SocketAddrV4),
        sending: &Sending,
    ) -> Result<Self, NoRoute> {
        let generation = Generation::of(net, Generation::IPV4);
        let mut flow = bindings::flowi4 {
            __fl_common: common(sending),
            saddr: u32::from_ne_bytes(from.ip().octets()),
            daddr: u32::from_ne_bytes(to.ip().octets()),
            uli: ports(from.port(), to.port()),
        };
        // SAFETY: `net` is alive, `flow` is valid for the call, and no socket is a valid choice.
        let rtable = from_err_ptr(unsafe {
            bindings::ip_route_output_flow(net.as_ptr(), &mut flow, core::ptr::null())
        })
        .map_err(|_| NoRoute::Unreachable)?;
        // SAFETY: The look-up returned a valid route.
        let kind = u32::from(unsafe { (*rtable).rt_type });
        // SAFETY: The look-up returned a valid route, whose gateway is of the family it says.
        let direct = unsafe {
            match u32::from((*rtable).rt_gw_family) {
                bindings::AF_INET => Way::Ipv4((*rtable).__bindgen_anon_1.rt_gw4),
                bindings::AF_INET6 => Way::Ipv6OfIpv4,
                _ => Way::Ipv4(flow.daddr),
            }
        };
        let may_be_direct = kind == bindings::RTN_UNICAST && sending.output == Output::Automatic;
        // SAFETY: The reference the look-up took for us moves into the value.
        let route = unsafe {
            let direct = may_be_direct.then_some((bindings::ip_output as OutputFunction, direct));
            Self::new(&raw mut (*rtable).dst, generation, direct)
        };
        match kind {
            bindings::RTN_UNICAST => Ok(route),
            bindings::RTN_LOCAL if to.ip().is_loopback() => Ok(route),
            bindings::RTN_LOCAL => Err(NoRoute::ThisHost),
            bindings::RTN_BROADCAST | bindings::RTN_ANYCAST | bindings::RTN_MULTICAST => {
                Err(NoRoute::Broadcast)
            }
            _ => Err(NoRoute::Unreachable),
        }
    }

    fn resolve_ipv6(
        net: Net,
        (from, to): (SocketAddrV6, SocketAddrV6),
        sending: &Sending,
    ) -> Result<Self, NoRoute> {
        let generation = Generation::of(net, Generation::IPV6);
        let mut flow = bindings::flowi6 {
            __fl_common: common(sending),
            saddr: in6(from.ip().octets()),
            daddr: in6(to.ip().octets()),
            uli: ports(from.port(), to.port()),
            ..Default::default()
        };
        // SAFETY: `net` is alive, `flow` is valid for the call, and neither a socket nor another
        // destination is a valid choice.
        let dst = from_err_ptr(unsafe {
            bindings::ip6_dst_lookup_flow(
                net.as_ptr(),
                core::ptr::null(),
                &mut flow,
                core::ptr::null(),
            )
        })
        .map_err(|_| NoRoute::Unreachable)?;
        // SAFETY: The look-up returned the `dst` of a valid `struct rt6_info`.
        let flags = unsafe { (*dst.cast::<bindings::rt6_info>()).rt6i_flags };
        let to_here = flags & (bindings::RTF_LOCAL | bindings::RTF_ANYCAST) != 0;
        let may_be_direct = !to_here && sending.output == Output::Automatic;
        // SAFETY: The reference the look-up took for us moves into the value.
        let mut route = unsafe {
            let direct =
                may_be_direct.then_some((bindings::ip6_output as OutputFunction, Way::Ipv6));
            Self::new(dst, generation, direct)
        };
        // In IPv6 a route stays current when the MTU of its device changes.
        route.fits = route.fits.min(ipv6::LEAST_MTU);
        // SAFETY: As above.
        route.cookie = unsafe { bindings::lrep_rt6_get_cookie(dst.cast()) };
        if to_here && !to.ip().is_loopback() {
            return Err(NoRoute::ThisHost);
        }
        Ok(route)
    }

    /// Packets take the way `direct` if the route's output function is the one beside it.
    ///
    /// # Safety
    ///
    /// `dst` must be valid, and what [`Way`] says of the way `direct` if that is its output
    /// function. The caller must own a reference, which moves here.
    unsafe fn new(
        dst: *mut bindings::dst_entry,
        generation: Generation,
        direct: Option<(OutputFunction, Way)>,
    ) -> Self {
        // SAFETY: By the safety requirement.
        let (entry, fits) = unsafe { (&*dst, bindings::lrep_dst_mtu(dst)) };
        let way = match (direct, entry.output) {
            // Everything else (IPsec, also while it waits for keys, and tunnels) goes the long way.
            (Some((ordinary, way)), Some(output))
                if ptr::fn_addr_eq(ordinary, output)
                    && entry.xfrm.is_null()
                    && entry.lwtstate.is_null() =>
            {
                way
            }
            _ => Way::Full,
        };
        // INVARIANT: By the safety requirement.
        Self {
            dst: NonNull::from(entry),
            cookie: 0,
            generation,
            fits,
            way,
        }
    }

    /// The way out, if the routing tables still say the same.
    #[inline(always)]
    pub(crate) fn current<'r>(&'r self, rcu: ReadSide<'r>) -> Option<Exit<'r>> {
        let dst = self.dst.as_ptr();
        if let Way::Ipv4(_) = self.way {
            // What `dst_check()` asks `ipv4_dst_check()` of `net/ipv4/route.c`, which is the check of
            // all routes that leave by `ip_output()`, without the calls.
            //
            // SAFETY: By the type invariants `dst` is valid.
            let obsolete = unsafe { (&raw const (*dst).obsolete).read_volatile() };
            if i32::from(obsolete) != bindings::DST_OBSOLETE_FORCE_CHK {
                return None;
            }
            // The generation of the route itself is never older than that of the tables it is of.
            let exit = self.exit(rcu);
            return (self.generation.value == exit.generation(Generation::IPV4)).then_some(exit);
        }
        // SAFETY: By the type invariants `dst` is valid, and so is the cookie.
        if unsafe { bindings::lrep_dst_check(dst, self.cookie) }.is_null() {
            return None;
        }
        let exit = self.exit(rcu);
        let Generation { counter, value } = self.generation;
        (value == exit.generation(counter)).then_some(exit)
    }

    /// Whether a packet fits that is so many bytes long from the IP header on.
    #[inline(always)]
    pub(crate) fn fits(&self, len: u32) -> bool {
        len <= self.fits || len <= self.mtu()
    }

    /// The largest packet that fits, in bytes from the IP header on.
    #[cold]
    pub(crate) fn mtu(&self) -> u32 {
        // SAFETY: By the type invariants `dst` is valid.
        unsafe { bindings::lrep_dst_mtu(self.dst.as_ptr()) }
    }

    /// The way out as it is now.
    #[inline(always)]
    pub(crate) fn exit<'r>(&'r self, _: ReadSide<'r>) -> Exit<'r> {
        // SAFETY: By the type invariants `dst` is valid. The device is read through the route,
        // under RCU, because it changes when a NIC goes away.
        let dev = unsafe { (&raw const (*self.dst.as_ptr()).__bindgen_anon_1.dev).read_volatile() };
        // INVARIANT: A route has a device, which stays valid while the RCU lock is held.
        Exit { route: self, dev }
    }
}

/// A route, and the device it leads through at the moment.
///
/// # Invariants
///
/// The RCU lock is held for `'r`, and `dev` is valid for as long.
#[derive(Clone, Copy)]
pub(crate) struct Exit<'r> {
    route: &'r Route,
    dev: *mut bindings::net_device,
}

impl Exit<'_> {
    /// What such a [`Generation::counter`] shows in the device's namespace.
    #[inline(always)]
    fn generation(&self, counter: u32) -> i32 {
        // SAFETY: By the type invariants `dev` is valid, and so is its namespace while the RCU lock
        // is held (`dev_net_rcu()`). The offset is that of an `atomic_t`.
        unsafe {
            let net = (&raw const (*self.dev).nd_net.net).read_volatile();
            net.byte_add(counter as usize).cast::<i32>().read_volatile()
        }
    }

    /// The largest packet that fits, in bytes from the IP header on.
    pub(crate) fn mtu(&self) -> u32 {
        self.route.mtu()
    }

    /// Whether a packet fits that is so many bytes long from the IP header on.
    #[inline(always)]
    pub(crate) fn fits(&self, len: u32) -> bool {
        self.route.fits(len)
    }

    /// The room the device wants in front of a packet: `LL_RESERVED_SPACE()` of
    /// `include/linux/netdevice.h`.
    #[inline(always)]
    pub(super) fn room(&self) -> u32 {
        const MODULUS: u32 = 16;
        // SAFETY: By the type invariants `dev` is valid.
        let (header, more) = unsafe { ((*self.dev).hard_header_len, (*self.dev).needed_headroom) };
        let needed = u32::from(header).wrapping_add(u32::from(more));
        (needed & !(MODULUS - 1)).wrapping_add(MODULUS)
    }

    /// Sends a packet whose headers are already those of this route, with [`room`](Self::room) in
    /// front of them. Consumes it.
    #[inline(always)]
    pub(super) fn send(self, skb: NonNull<bindings::sk_buff>) {
        let Self { route, dev } = self;
        let raw = skb.as_ptr();
        // SAFETY: `skb` is ours. The RCU lock is held and `dst` lives as long as a reader can see it,
        // which is what a reference without a count (`skb_dst_set_noref()`) demands.
        let len = unsafe {
            (*raw).__bindgen_anon_3.__bindgen_anon_1._skb_refdst =
                route.dst.as_ptr() as c_ulong | bindings::LREP_SKB_DST_NOREF;
            (*raw)
                .__bindgen_anon_1
                .__bindgen_anon_1
                .__bindgen_anon_1
                .dev = dev;
            (*raw).len
        };
        let way = if route.fits(len) {
            route.way
        } else {
            Way::Full
        };
        // SAFETY: `skb` is ours to give away, once, and has a route, which by the invariants of
        // `Route` is part of the struct asked for. The RCU lock is held. Its own namespace is right:
        // the route belongs to the one the device is in.
        unsafe {
            let dst = route.dst.as_ptr();
            match way {
                Way::Ipv4(address) => bindings::lrep_output_gw4(dev, address, raw),
                Way::Ipv6 => bindings::lrep_output_gw6(dst.cast(), raw),
                Way::Ipv6OfIpv4 => bindings::lrep_output_for_gw(dst.cast(), raw),
                Way::Full => bindings::lrep_dst_output((*dev).nd_net.net, raw),
            }
        }
    }
}

/// Whether the kernel does IPv6: it can be switched off when the kernel is started.
pub(crate) fn has_ipv6() -> bool {
    // SAFETY: A look at a flag without requirements.
    unsafe { bindings::lrep_ipv6_mod_enabled() }
}

fn common(sending: &Sending) -> bindings::flowi_common {
    bindings::flowi_common {
        flowic_oif: sending.device as c_int,
        flowic_mark: sending.mark,
        flowic_proto: bindings::IPPROTO_UDP as u8,
        ..Default::default()
    }
}

fn ports(from: u16, to: u16) -> bindings::flowi_uli {
    bindings::flowi_uli {
        ports: bindings::flowi_uli__bindgen_ty_1 {
            dport: to.to_be(),
            sport: from.to_be(),
        },
    }
}

fn in6(octets: [u8; 16]) -> bindings::in6_addr {
    bindings::in6_addr {
        in6_u: bindings::in6_addr__bindgen_ty_1 { u6_addr8: octets },
    }
}

impl Drop for Route {
    fn drop(&mut self) {
        // SAFETY: By the type invariants one reference is ours. What frees the route waits for
        // a grace period of its own.
        unsafe { bindings::dst_release(self.dst.as_ptr()) };
    }
}
