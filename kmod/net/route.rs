// SPDX-License-Identifier: GPL-2.0

//! A cached route to a party.
//!
//! C headers: [`include/net/dst.h`](srctree/include/net/dst.h),
//! [`include/net/route.h`](srctree/include/net/route.h),
//! [`include/net/neighbour.h`](srctree/include/net/neighbour.h)

use super::{
    bindings,
    namespace::Net,
    rcu::ReadSide, //
};
use core::{
    net::SocketAddrV4,
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
/// `dst` is the `dst` of a `struct rtable`, and this value owns one reference of it.
pub(crate) struct Route {
    dst: NonNull<bindings::dst_entry>,
    mtu: u32,
    direct: bool,
}

// SAFETY: A `dst_entry` is made to be shared between CPUs.
unsafe impl Send for Route {}

// SAFETY: As for `Send`.
unsafe impl Sync for Route {}

impl Route {
    /// Looks a route up for UDP between two endpoints. Does not sleep.
    pub(crate) fn resolve(net: Net, from: SocketAddrV4, to: SocketAddrV4) -> Result<Self> {
        let mut flow = bindings::flowi4 {
            saddr: u32::from_ne_bytes(from.ip().octets()),
            daddr: u32::from_ne_bytes(to.ip().octets()),
            uli: bindings::flowi_uli {
                ports: bindings::flowi_uli__bindgen_ty_1 {
                    dport: to.port().to_be(),
                    sport: from.port().to_be(),
                },
            },
            ..Default::default()
        };
        flow.__fl_common.flowic_proto = bindings::IPPROTO_UDP as u8;
        // SAFETY: `net` is alive, `flow` is valid for the call, and no socket is a valid choice.
        let rtable = from_err_ptr(unsafe {
            bindings::ip_route_output_flow(net.as_ptr(), &mut flow, core::ptr::null())
        })?;
        // SAFETY: The look-up returned a valid route with a reference for us.
        let (dst, kind) = unsafe {
            (
                NonNull::new_unchecked(&raw mut (*rtable).dst),
                (*rtable).rt_type,
            )
        };
        // INVARIANT: `dst` is part of a `struct rtable` whose reference moves here.
        let mut route = Self {
            dst,
            mtu: 0,
            direct: false,
        };
        // SAFETY: By the type invariants `dst` is valid.
        let entry = unsafe { dst.as_ref() };
        // SAFETY: As above.
        route.mtu = unsafe { bindings::lrep_dst_mtu(dst.as_ptr()) };
        // Everything else (IPsec, tunnels, this host itself) goes the long way.
        route.direct = entry.xfrm.is_null()
            && entry.lwtstate.is_null()
            && u32::from(kind) == bindings::RTN_UNICAST;
        if matches!(u32::from(kind), bindings::RTN_UNICAST | bindings::RTN_LOCAL) {
            Ok(route)
        } else {
            Err(ENETUNREACH)
        }
    }

    /// Whether the routing tables still say the same.
    #[inline(always)]
    pub(crate) fn is_current(&self) -> bool {
        // SAFETY: By the type invariants `dst` is valid. The cookie of IPv4 routes is 0.
        !unsafe { bindings::lrep_dst_check(self.dst.as_ptr(), 0) }.is_null()
    }

    /// The largest packet that fits, in bytes from the IP header on.
    #[inline(always)]
    pub(crate) fn mtu(&self) -> u32 {
        self.mtu
    }

    /// Sends a packet whose headers are already those of this route. Consumes it.
    #[inline(always)]
    pub(super) fn send(&self, skb: NonNull<bindings::sk_buff>, _: ReadSide<'_>) {
        let raw = skb.as_ptr();
        // SAFETY: The RCU lock is held (`ReadSide`) and `dst` lives as long as a reader can see
        // it, which is what a reference without a count (`skb_dst_set_noref()`) demands. The
        // device is read through the route, under RCU, because it changes when a NIC goes away.
        let dev = unsafe {
            (*raw).__bindgen_anon_3.__bindgen_anon_1._skb_refdst =
                self.dst.as_ptr() as c_ulong | bindings::LREP_SKB_DST_NOREF;
            (&raw const (*self.dst.as_ptr()).__bindgen_anon_1.dev).read_volatile()
        };
        // SAFETY: A route has a device, which stays valid while the RCU lock is held.
        let (room, mtu_fits) = unsafe {
            (*raw)
                .__bindgen_anon_1
                .__bindgen_anon_1
                .__bindgen_anon_1
                .dev = dev;
            (link_layer_room(&*dev), (*raw).len <= self.mtu)
        };
        if !self.direct || !mtu_fits {
            // SAFETY: `skb` is ours to give away and has a route. Its own namespace is right:
            // the route belongs to the one the device is in.
            unsafe { bindings::lrep_dst_output((*dev).nd_net.net, raw) };
            return;
        }
        // SAFETY: `skb` is valid; `skb_expand_head()` frees it when memory runs out.
        let raw = unsafe {
            if (*raw).data.offset_from((*raw).head) < room as isize {
                bindings::skb_expand_head(raw, room)
            } else {
                raw
            }
        };
        if raw.is_null() {
            return;
        }
        let mut over_ipv6 = false;
        // SAFETY: `dst` is part of a `struct rtable` by the type invariants, the RCU lock is held,
        // and the packet is given away exactly once.
        unsafe {
            let neighbour =
                bindings::lrep_ip_neigh_for_gw(self.dst.as_ptr().cast(), raw, &mut over_ipv6);
            match from_err_ptr(neighbour) {
                Ok(neighbour) => {
                    bindings::lrep_neigh_output(neighbour, raw, over_ipv6);
                }
                Err(_) => bindings::lrep_kfree_skb(raw),
            }
        }
    }
}

/// `LL_RESERVED_SPACE()` of `include/linux/netdevice.h`.
#[inline(always)]
fn link_layer_room(dev: &bindings::net_device) -> u32 {
    const MODULUS: u32 = 16;
    let needed = u32::from(dev.hard_header_len).wrapping_add(u32::from(dev.needed_headroom));
    (needed & !(MODULUS - 1)).wrapping_add(MODULUS)
}

impl Drop for Route {
    fn drop(&mut self) {
        // SAFETY: By the type invariants one reference is ours. What frees the route waits for
        // a grace period of its own.
        unsafe { bindings::dst_release(self.dst.as_ptr()) };
    }
}
