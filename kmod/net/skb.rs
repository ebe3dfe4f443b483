// SPDX-License-Identifier: GPL-2.0

//! A packet in a netfilter hook, and the verdict about it.
//!
//! The hook gets a [`Packet`] by value and must answer a [`Verdict`], which only consuming the
//! packet makes: a packet can be neither lost nor used after it was given away.
//!
//! C header: [`include/linux/skbuff.h`](srctree/include/linux/skbuff.h)

use super::{
    bindings,
    rcu::ReadSide,
    route::Route, //
};
use core::ptr::NonNull;

/// What netfilter is to do with the packet.
pub(crate) struct Verdict(u32);

impl Verdict {
    #[inline(always)]
    pub(super) fn as_raw(&self) -> u32 {
        self.0
    }
}

/// An IPv4 packet at the PRE_ROUTING hook.
///
/// # Invariants
///
/// - `skb` is valid and not shared, and this value alone decides what happens to it.
/// - `skb->data` is at an IPv4 header of at least 20 linear bytes, as `ip_rcv_core()` of
///   `net/ipv4/ip_input.c` leaves it.
/// - The RCU read-side lock is held while the packet exists.
pub(crate) struct Packet<'r> {
    skb: NonNull<bindings::sk_buff>,
    rcu: ReadSide<'r>,
}

impl<'r> Packet<'r> {
    /// # Safety
    ///
    /// The type invariants must hold for `skb` and last for `'r`.
    #[inline(always)]
    pub(super) unsafe fn from_raw(skb: NonNull<bindings::sk_buff>, rcu: ReadSide<'r>) -> Self {
        // INVARIANT: By the safety requirement.
        Self { skb, rcu }
    }

    #[inline(always)]
    fn raw(&self) -> &bindings::sk_buff {
        // SAFETY: By the type invariants `skb` is valid and ours.
        unsafe { self.skb.as_ref() }
    }

    #[inline(always)]
    fn raw_mut(&mut self) -> &mut bindings::sk_buff {
        // SAFETY: By the type invariants `skb` is valid and ours alone.
        unsafe { self.skb.as_mut() }
    }

    #[inline(always)]
    fn fields(&self) -> &bindings::sk_buff__bindgen_ty_4__bindgen_ty_2 {
        // SAFETY: `headers` is the `struct_group` around these fields: it is always there.
        unsafe { self.raw().__bindgen_anon_4.headers.as_ref() }
    }

    #[inline(always)]
    fn fields_mut(&mut self) -> &mut bindings::sk_buff__bindgen_ty_4__bindgen_ty_2 {
        // SAFETY: As for `fields`.
        unsafe { self.raw_mut().__bindgen_anon_4.headers.as_mut() }
    }

    /// The critical section the packet lives in.
    #[inline(always)]
    pub(crate) fn rcu(&self) -> ReadSide<'r> {
        self.rcu
    }

    /// The fixed part of the IPv4 header.
    #[inline(always)]
    pub(crate) fn ipv4_header(&self) -> &[u8; 20] {
        // SAFETY: By the type invariants 20 bytes at `data` are linear; the reference borrows
        // `self`, and whatever moves the bytes takes `&mut self`.
        unsafe { &*self.raw().data.cast() }
    }

    /// Whether the packet was sent to this host's link-layer address.
    #[inline(always)]
    pub(crate) fn is_for_this_host(&self) -> bool {
        u32::from(self.fields().pkt_type()) == bindings::PACKET_HOST
    }

    /// Bytes of the packet from the IPv4 header on.
    #[inline(always)]
    pub(crate) fn len(&self) -> u32 {
        self.raw().len
    }

    /// The first `N` bytes, made linear if they are not. `None` when the packet is shorter or
    /// memory ran out.
    #[inline(always)]
    pub(crate) fn linear<const N: usize>(&mut self) -> Option<&[u8; N]> {
        if !self.has_linear(N) {
            // SAFETY: `skb` is valid and ours, so its data may move.
            if !unsafe { bindings::lrep_pskb_may_pull(self.skb.as_ptr(), N as u32) } {
                return None;
            }
        }
        // SAFETY: `N` bytes at `data` are linear now.
        Some(unsafe { &*self.raw().data.cast() })
    }

    /// The first `N` bytes, for writing: linear, and copied if somebody else (a packet socket)
    /// holds a clone. `None` when the packet is shorter or memory ran out.
    #[inline(always)]
    pub(crate) fn writable<const N: usize>(&mut self) -> Option<&mut [u8; N]> {
        if self.raw().cloned() != 0 || !self.has_linear(N) {
            // SAFETY: `skb` is valid, ours and not shared.
            if unsafe { bindings::skb_ensure_writable(self.skb.as_ptr(), N as u32) } != 0 {
                return None;
            }
        }
        // SAFETY: `N` bytes at `data` are linear and nobody else's now.
        Some(unsafe { &mut *self.raw().data.cast() })
    }

    #[inline(always)]
    fn has_linear(&self, bytes: usize) -> bool {
        let skb = self.raw();
        skb.len.wrapping_sub(skb.data_len) as usize >= bytes
    }

    /// Whether the UDP checksum field only covers the pseudo header, for the device to complete.
    #[inline(always)]
    pub(crate) fn checksum_is_partial(&self) -> bool {
        u32::from(self.fields().ip_summed()) == bindings::CHECKSUM_PARTIAL
    }

    /// How many packets of the wire this one stands for (1 unless it was aggregated).
    #[inline(always)]
    pub(crate) fn segments(&self) -> u16 {
        let skb = self.raw();
        // SAFETY: `struct skb_shared_info` stands at the end of the linear buffer
        // (`skb_end_pointer()`), for every `sk_buff`.
        let shared = unsafe {
            &*skb
                .head
                .add(skb.end as usize)
                .cast::<bindings::skb_shared_info>()
        };
        if shared.gso_size == 0 {
            1
        } else {
            shared.gso_segs.max(1)
        }
    }

    /// Lets the packet go on through the stack.
    #[inline(always)]
    pub(crate) fn accept(self) -> Verdict {
        Verdict(bindings::LREP_NF_ACCEPT)
    }

    /// Frees the packet.
    pub(crate) fn drop(self) -> Verdict {
        Verdict(bindings::LREP_NF_DROP)
    }

    /// Drops the packet and tells its sender why by ICMP, as a router would.
    pub(crate) fn reject(mut self, error: IcmpError) -> Verdict {
        let header = self.ipv4_header();
        let (source, destination) = (wire_u32(&header[12..16]), wire_u32(&header[16..20]));
        // `icmp_send()` answers along the packet's route, which is not looked up before PRE_ROUTING.
        let (kind, code, info) = match error {
            IcmpError::TimeExceeded => (bindings::ICMP_TIME_EXCEEDED, bindings::ICMP_EXC_TTL, 0),
            IcmpError::FragmentationNeeded { mtu } => {
                (bindings::ICMP_DEST_UNREACH, bindings::ICMP_FRAG_NEEDED, mtu)
            }
        };
        let skb = self.skb.as_ptr();
        // SAFETY: A packet at PRE_ROUTING has a device.
        let dev = unsafe { self.dev() };
        // SAFETY: `skb` is valid and ours, the RCU lock is held as `noref` demands.
        unsafe {
            if bindings::ip_route_input_noref(skb, destination, source, 0, dev) == 0 {
                bindings::lrep_icmp_send(skb, kind as i32, code as i32, info.to_be());
            }
        }
        self.drop()
    }

    /// # Safety
    ///
    /// The packet must have a device.
    unsafe fn dev(&mut self) -> *mut bindings::net_device {
        // SAFETY: Outside of queues the union holds `dev`.
        unsafe {
            self.raw()
                .__bindgen_anon_1
                .__bindgen_anon_1
                .__bindgen_anon_1
                .dev
        }
    }

    /// Forgets what the packet's first way here left in it, and sends it along `route`.
    ///
    /// A stale mark, queue or time stamp would make traffic control of the way out drop it.
    #[inline(always)]
    pub(crate) fn transmit(mut self, route: &Route, type_of_service: u8) -> Verdict {
        self.forget();
        if type_of_service != 0 {
            // SAFETY: A table look-up without requirements.
            let priority = unsafe { bindings::lrep_rt_tos2priority(type_of_service) };
            self.fields_mut().priority = u32::from(priority as u8);
        }
        route.send(self.skb, self.rcu);
        Verdict(bindings::LREP_NF_STOLEN)
    }

    #[inline(always)]
    fn forget(&mut self) {
        let skb = self.skb.as_ptr();
        if self.raw()._nfct != 0 {
            // SAFETY: `skb` is valid and ours.
            unsafe { bindings::lrep_nf_reset_ct(skb) };
        }
        if self.raw().active_extensions != 0 {
            // SAFETY: `skb` is valid and ours.
            unsafe { bindings::lrep_skb_ext_reset(skb) };
        }
        // SAFETY: `_skb_refdst` is valid outside of TCP queues; dropping what it holds is right
        // before another route is set.
        unsafe {
            if self.raw().__bindgen_anon_3.__bindgen_anon_1._skb_refdst != 0 {
                bindings::lrep_skb_dst_drop(skb);
            }
        }
        let skb = self.raw_mut();
        skb.queue_mapping = 0;
        skb.__bindgen_anon_2.tstamp = 0;
        let fields = self.fields_mut();
        fields.set_tstamp_type(0);
        fields.__bindgen_anon_4.mark = 0;
        fields.priority = 0;
        if u32::from(fields.ip_summed()) == bindings::CHECKSUM_COMPLETE {
            // The sum over the old bytes is of no use any more (`skb_forward_csum()`).
            fields.set_ip_summed(bindings::CHECKSUM_NONE as u8);
        }
    }
}

/// An ICMP error to the sender of a packet.
#[derive(Clone, Copy)]
pub(crate) enum IcmpError {
    /// Time Exceeded in transit (RFC 792).
    TimeExceeded,
    /// Fragmentation Needed (RFC 1191).
    FragmentationNeeded {
        /// What would have fitted, in bytes.
        mtu: u32,
    },
}

/// Four bytes of a header as the kernel's `__be32`.
fn wire_u32(bytes: &[u8]) -> u32 {
    bytes.try_into().map_or(0, u32::from_ne_bytes)
}
