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
    ptr::NonNull, //
};
use kernel::{
    error::from_err_ptr,
    prelude::*, //
};

/// The way from one local endpoint to one remote one.
///
/// # Invariants
///
/// - `dst` is the `dst` of a `struct rt6_info` when `next_hop` is [`NextHop::Ipv6`], else of a
///   `struct rtable`, and this value owns one reference of it.
pub(crate) struct Route {
    dst: NonNull<bindings::dst_entry>,
    /// What `dst_check()` compares with in IPv6.
    cookie: u32,
    /// The size of packets that fit for as long as the route [is current](Self::is_current).
    fits: u32,
    /// Whether packets go straight to the next hop.
    direct: bool,
    next_hop: NextHop,
}

/// Whose link-layer address packets are sent to. It changes only with the route.
#[derive(Clone, Copy)]
enum NextHop {
    /// This address, as it lies in memory.
    Ipv4(u32),
    /// The IPv6 gateway of an IPv4 route (RFC 8950).
    Ipv6OfIpv4,
    /// What the IPv6 route says.
    Ipv6,
}

// SAFETY: A `dst_entry` is made to be shared between CPUs.
unsafe impl Send for Route {}

// SAFETY: As for `Send`.
unsafe impl Sync for Route {}

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
        let next_hop = unsafe {
            match u32::from((*rtable).rt_gw_family) {
                bindings::AF_INET => NextHop::Ipv4((*rtable).__bindgen_anon_1.rt_gw4),
                bindings::AF_INET6 => NextHop::Ipv6OfIpv4,
                _ => NextHop::Ipv4(flow.daddr),
            }
        };
        let may_be_direct = kind == bindings::RTN_UNICAST && sending.output == Output::Automatic;
        // SAFETY: The reference the look-up took for us moves into the value.
        let route = unsafe { Self::new(&raw mut (*rtable).dst, may_be_direct, next_hop) };
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
        let mut route = unsafe { Self::new(dst, may_be_direct, NextHop::Ipv6) };
        // In IPv6 a route stays current when the MTU of its device changes.
        route.fits = route.fits.min(ipv6::LEAST_MTU);
        // SAFETY: As above.
        route.cookie = unsafe { bindings::lrep_rt6_get_cookie(dst.cast()) };
        if to_here && !to.ip().is_loopback() {
            return Err(NoRoute::ThisHost);
        }
        Ok(route)
    }

    /// # Safety
    ///
    /// `dst` must be the `dst` of a valid `struct rt6_info` when `next_hop` is [`NextHop::Ipv6`],
    /// else of a valid `struct rtable`, and the caller must own a reference, which moves here.
    unsafe fn new(dst: *mut bindings::dst_entry, may_be_direct: bool, next_hop: NextHop) -> Self {
        // SAFETY: By the safety requirement.
        let (entry, fits) = unsafe { (&*dst, bindings::lrep_dst_mtu(dst)) };
        // INVARIANT: By the safety requirement.
        Self {
            dst: NonNull::from(entry),
            cookie: 0,
            fits,
            // Everything else (IPsec, tunnels, loopback) goes the long way.
            direct: may_be_direct && entry.xfrm.is_null() && entry.lwtstate.is_null(),
            next_hop,
        }
    }

    /// Whether the routing tables still say the same.
    #[inline(always)]
    pub(crate) fn is_current(&self) -> bool {
        // SAFETY: By the type invariants `dst` is valid, and so is the cookie.
        !unsafe { bindings::lrep_dst_check(self.dst.as_ptr(), self.cookie) }.is_null()
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
        if !route.direct || !route.fits(len) {
            // SAFETY: `skb` is ours to give away and has a route. Its own namespace is right:
            // the route belongs to the one the device is in.
            unsafe { bindings::lrep_dst_output((*dev).nd_net.net, raw) };
            return;
        }
        // SAFETY: By the invariants of `Route` `dst` is part of the struct asked for, the RCU lock is
        // held, and the packet is given away exactly once: it is still ours when it was not taken.
        unsafe {
            let dst = route.dst.as_ptr();
            let is_taken = match route.next_hop {
                NextHop::Ipv4(address) => bindings::lrep_output_gw4(dev, address, raw),
                NextHop::Ipv6 => bindings::lrep_output_gw6(dst.cast(), raw),
                NextHop::Ipv6OfIpv4 => bindings::lrep_output_for_gw(dst.cast(), raw),
            };
            if !is_taken {
                bindings::lrep_kfree_skb(raw);
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
