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
    route::Exit, //
};
use crate::relay::udp::{
    CHECKSUM as UDP_CHECKSUM,
    HEADER as UDP_HEADER, //
};
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::prelude::*;

/// What netfilter is to do with the packet.
pub(crate) struct Verdict(u32);

impl Verdict {
    #[inline(always)]
    pub(super) fn as_raw(&self) -> u32 {
        self.0
    }
}

/// Plain bytes.
///
/// # Safety
///
/// Every pattern of `size_of::<Self>()` bytes at any address must be a value.
pub(crate) unsafe trait Bytes {}

// SAFETY: Bytes have neither alignment nor forbidden values.
unsafe impl<const N: usize> Bytes for [u8; N] {}

/// A version of IP.
pub(crate) trait Version {
    /// The bytes of its fixed header.
    type Header;
    /// Its number in a link-layer header (`include/uapi/linux/if_ether.h`).
    const ETHERTYPE: u16;
}

/// IPv4.
pub(crate) struct Ipv4;

impl Version for Ipv4 {
    type Header = [u8; 20];
    const ETHERTYPE: u16 = bindings::ETH_P_IP as u16;
}

/// IPv6.
pub(crate) struct Ipv6;

impl Version for Ipv6 {
    type Header = [u8; 40];
    const ETHERTYPE: u16 = bindings::ETH_P_IPV6 as u16;
}

/// A packet of one version of IP at the PRE_ROUTING hook.
///
/// # Invariants
///
/// - `skb` is valid and not shared, and this value alone decides what happens to it.
/// - `skb->data` is at an IP header of at least `size_of::<V::Header>()` linear bytes, as
///   `ip_rcv_core()` of `net/ipv4/ip_input.c` and `ip6_rcv_core()` of `net/ipv6/ip6_input.c`
///   leave it.
/// - The first `linear` bytes are linear. No call makes them fewer, but for one that makes another
///   packet.
/// - The RCU read-side lock is held while the packet exists.
pub(crate) struct Packet<'r, V: Version> {
    skb: NonNull<bindings::sk_buff>,
    /// For the compiler to know, which then leaves tests out.
    linear: u32,
    rcu: ReadSide<'r>,
    version: PhantomData<V>,
}

impl<'r, V: Version> Packet<'r, V> {
    /// # Safety
    ///
    /// The type invariants must hold for `skb` and last for `'r`.
    #[inline(always)]
    pub(super) unsafe fn from_raw(skb: NonNull<bindings::sk_buff>, rcu: ReadSide<'r>) -> Self {
        // INVARIANT: By the safety requirement.
        Self {
            skb,
            linear: size_of::<V::Header>() as u32,
            rcu,
            version: PhantomData,
        }
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

    /// The fixed IP header.
    #[inline(always)]
    pub(crate) fn header(&self) -> &V::Header {
        // SAFETY: By the type invariants so many bytes at `data` are linear; the reference borrows
        // `self`, and whatever moves the bytes takes `&mut self`.
        unsafe { &*self.raw().data.cast() }
    }

    /// Whether the packet was sent to this host's link-layer address.
    #[inline(always)]
    pub(crate) fn is_for_this_host(&self) -> bool {
        u32::from(self.fields().pkt_type()) == bindings::PACKET_HOST
    }

    /// Bytes of the packet from the IP header on.
    #[inline(always)]
    pub(crate) fn len(&self) -> u32 {
        self.raw().len
    }

    /// The first bytes, made linear if they are not. `None` when the packet is shorter or memory
    /// ran out.
    #[inline(always)]
    pub(crate) fn linear<B: Bytes>(&mut self) -> Option<&B> {
        if !self.has_linear(size_of::<B>()) {
            // SAFETY: `skb` is valid and ours, so its data may move.
            if !unsafe { bindings::lrep_pskb_may_pull(self.skb.as_ptr(), size_of::<B>() as u32) } {
                return None;
            }
            // INVARIANT: They have just been made linear.
            self.linear = self.linear.max(size_of::<B>() as u32);
        }
        // SAFETY: So many bytes at `data` are linear now.
        Some(unsafe { &*self.data().cast() })
    }

    /// The first bytes, for writing: linear, and copied if somebody else (a packet socket) holds a
    /// clone. `None` when the packet is shorter or memory ran out.
    #[inline(always)]
    pub(crate) fn writable<B: Bytes>(&mut self) -> Option<&mut B> {
        if self.raw().cloned() != 0 || !self.has_linear(size_of::<B>()) {
            // SAFETY: `skb` is valid, ours and not shared.
            if unsafe { bindings::skb_ensure_writable(self.skb.as_ptr(), size_of::<B>() as u32) }
                != 0
            {
                return None;
            }
        }
        // SAFETY: So many bytes at `data` are linear and nobody else's now.
        Some(unsafe { &mut *self.data().cast() })
    }

    /// Where the packet begins. The compiler is told that it is not null, else it tests that.
    #[inline(always)]
    fn data(&self) -> *mut u8 {
        let data = self.raw().data;
        // SAFETY: By the type invariants `data` points to the packet.
        unsafe { core::hint::assert_unchecked(!data.is_null()) };
        data
    }

    /// Whether so many bytes are linear, so that no call is needed.
    #[inline(always)]
    fn has_linear(&self, bytes: usize) -> bool {
        // A kernel that moves packets wherever they might move does so in the calls that are
        // skipped otherwise.
        !cfg!(CONFIG_FAIL_SKB_REALLOC) && self.is_linear(bytes)
    }

    #[inline(always)]
    fn is_linear(&self, bytes: usize) -> bool {
        if bytes <= self.linear as usize {
            return true;
        }
        let skb = self.raw();
        skb.len.wrapping_sub(skb.data_len) as usize >= bytes
    }

    /// Whether the UDP checksum field only covers the pseudo header, for the device to complete.
    #[inline(always)]
    pub(crate) fn checksum_is_partial(&self) -> bool {
        u32::from(self.fields().ip_summed()) == bindings::CHECKSUM_PARTIAL
    }

    /// Forgets the sum of bytes that are about to be rewritten, which is of no use any more
    /// (`skb_forward_csum()`). Tells whether the checksum [is partial](Self::checksum_is_partial).
    #[inline(always)]
    pub(crate) fn forget_sum(&mut self) -> bool {
        // One bit tells the common values from the others.
        const { assert!(bindings::CHECKSUM_PARTIAL & bindings::CHECKSUM_COMPLETE == 2) };
        const { assert!((bindings::CHECKSUM_NONE | bindings::CHECKSUM_UNNECESSARY) & 2 == 0) };
        let summed = u32::from(self.fields().ip_summed());
        if summed & 2 == 0 {
            return false;
        }
        let is_partial = summed == bindings::CHECKSUM_PARTIAL;
        if !is_partial {
            self.fields_mut()
                .set_ip_summed(bindings::CHECKSUM_NONE as u8);
        }
        is_partial
    }

    /// Changes the first bytes, which are made [writable](Self::writable). `change` is told whether
    /// the checksum is partial; the sum of what was there is [forgotten](Self::forget_sum). `None`
    /// when the packet is shorter or memory ran out.
    #[inline(always)]
    pub(crate) fn rewrite<B: Bytes, R>(
        &mut self,
        change: impl FnOnce(&mut B, bool) -> R,
    ) -> Option<R> {
        self.writable::<B>()?;
        let partial = self.forget_sum();
        // SAFETY: So many bytes at `data` are linear and nobody else's now.
        Some(change(unsafe { &mut *self.data().cast() }, partial))
    }

    /// Whether so many bytes are linear, in one packet of the wire.
    #[inline(always)]
    pub(crate) fn is_plain<B: Bytes>(&mut self) -> bool {
        let is_plain = self.is_linear(size_of::<B>()) && !self.is_aggregate();
        if is_plain {
            // INVARIANT: They are.
            self.linear = self.linear.max(size_of::<B>() as u32);
        }
        is_plain
    }

    #[inline(always)]
    fn shared_info(&self) -> &bindings::skb_shared_info {
        let skb = self.raw();
        // SAFETY: `struct skb_shared_info` stands at the end of the linear buffer
        // (`skb_end_pointer()`), for every `sk_buff`.
        unsafe {
            &*skb
                .head
                .add(skb.end as usize)
                .cast::<bindings::skb_shared_info>()
        }
    }

    /// The first `N` bytes behind the headers (of so many bytes) of the packet with this number,
    /// from 0, among those this one stands for. `None` when it is shorter.
    pub(crate) fn segment<const N: usize>(&self, headers: usize, number: u16) -> Option<[u8; N]> {
        let size = usize::from(self.shared_info().gso_size);
        let offset = headers.checked_add(size.checked_mul(number.into())?)?;
        let mut bytes = [0; N];
        self.read(offset, &mut bytes).then_some(bytes)
    }

    /// Reads bytes from `offset` on. Tells whether the packet has so many.
    pub(crate) fn read(&self, offset: usize, bytes: &mut [u8]) -> bool {
        let (Ok(offset), Ok(length)) = (c_int::try_from(offset), c_int::try_from(bytes.len()))
        else {
            return false;
        };
        // SAFETY: `skb` is valid and `bytes` has room for so many; whether the packet has them is
        // checked by the function.
        let result = unsafe {
            bindings::skb_copy_bits(self.skb.as_ptr(), offset, bytes.as_mut_ptr().cast(), length)
        };
        result == 0
    }

    /// How many packets of the wire this one stands for (1 unless it was aggregated).
    #[inline(always)]
    pub(crate) fn segments(&self) -> u16 {
        let shared = self.shared_info();
        if shared.gso_size == 0 {
            1
        } else {
            shared.gso_segs.max(1)
        }
    }

    /// Whether this one stands for several packets of the wire.
    #[inline(always)]
    pub(crate) fn is_aggregate(&self) -> bool {
        self.shared_info().gso_size != 0
    }

    /// Makes the packets that this one stands for all get its headers, when those are changed.
    ///
    /// Packets in a list (`NETIF_F_GRO_FRAGLIST`) have kept headers of their own, of which only
    /// addresses and ports are brought up to date when they part again. A list that is said to have
    /// been tampered with is put together first (`__udp_gso_segment()` of
    /// `net/ipv4/udp_offload.c`), as every other aggregate is.
    #[cold]
    pub(crate) fn unify(&mut self) {
        let is_list = self.shared_info().gso_type & bindings::LREP_SKB_GSO_FRAGLIST != 0;
        // What describes the segments is shared with clones, as the bytes are. A packet that cannot
        // be copied now will not be rewritten either.
        if is_list && self.writable::<[u8; 1]>().is_some() {
            let skb = self.raw();
            // SAFETY: As for `shared_info`, and now it is nobody else's.
            let shared = unsafe {
                &mut *skb
                    .head
                    .add(skb.end as usize)
                    .cast::<bindings::skb_shared_info>()
            };
            shared.gso_type |= bindings::LREP_SKB_GSO_DODGY;
        }
    }

    /// Bytes behind the headers (of so many bytes) of the packet with this number, from 0, among
    /// those this one stands for.
    pub(crate) fn segment_len(&self, headers: u32, number: u16) -> u32 {
        let size = u32::from(self.shared_info().gso_size);
        let rest = self.len().saturating_sub(headers);
        rest.saturating_sub(size.saturating_mul(number.into()))
            .min(size)
    }

    /// Bytes of the longest packet of the wire this one stands for, from the IP header on, which with
    /// the UDP header has so many bytes.
    pub(crate) fn longest(&self, headers: u32) -> u32 {
        match self.shared_info().gso_size {
            0 => self.len(),
            size => headers.saturating_add(size.into()),
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

    /// Makes room in front of the packet for the way out, which [`transmit`](Self::transmit) needs.
    /// `false` when memory ran out.
    #[inline(always)]
    #[must_use]
    pub(crate) fn make_room(&mut self, exit: Exit<'_>) -> bool {
        let skb = self.raw();
        // SAFETY: Both point into the packet's buffer.
        let there = unsafe { skb.data.offset_from(skb.head) };
        if there >= exit.room() as isize {
            return true;
        }
        // SAFETY: `skb` is valid, ours and not shared.
        unsafe { bindings::lrep_skb_cow_head(self.skb.as_ptr(), exit.room()) == 0 }
    }

    /// Forgets what the packet's first way here left in it, and sends it through `exit`. Its
    /// [sum](Self::forget_sum) is forgotten already.
    ///
    /// A stale mark, queue or time stamp would make traffic control of the way out drop it.
    #[inline(always)]
    pub(crate) fn transmit(mut self, exit: Exit<'r>, mark: u32, priority: u32) -> Verdict {
        self.forget();
        self.fields_mut().__bindgen_anon_4.mark = mark;
        self.fields_mut().priority = priority;
        exit.send(self.skb);
        Verdict(bindings::LREP_NF_STOLEN)
    }

    /// Replaces the IP header and the UDP header behind it by those of the other version, with room
    /// in front of them for the way out. The packet comes back when memory runs out.
    ///
    /// `partial` tells that the new UDP checksum is only the pseudo header's sum.
    #[cold]
    pub(crate) fn replace_headers<W: Version, const OLD: usize, const NEW: usize>(
        mut self,
        new: &[u8; NEW],
        partial: bool,
        exit: Exit<'_>,
    ) -> Result<Packet<'r, W>, Self> {
        const { assert!(OLD == size_of::<V::Header>() + UDP_HEADER) };
        const { assert!(NEW == size_of::<W::Header>() + UDP_HEADER) };
        let skb = self.skb.as_ptr();
        if self.writable::<[u8; OLD]>().is_none() {
            return Err(self);
        }
        let room = (NEW as u32)
            .wrapping_add(exit.room())
            .saturating_sub(OLD as u32);
        // SAFETY: `skb` is valid, ours and not shared; it stays as it is on failure.
        if unsafe { bindings::lrep_skb_cow_head(skb, room) } != 0 {
            return Err(self);
        }
        // SAFETY: The old headers are linear and the room in front of them is enough for the new
        // ones, which are linear and nobody else's when they have been pushed.
        unsafe {
            bindings::skb_pull(skb, OLD as u32);
            bindings::skb_push(skb, NEW as u32)
                .cast::<[u8; NEW]>()
                .write(*new);
            bindings::lrep_skb_reset_network_header(skb);
            bindings::lrep_skb_set_transport_header(skb, size_of::<W::Header>() as c_int);
        }
        // The control block is the other version's now, empty as its `rcv` function makes it.
        self.raw_mut().cb = [0; 48];
        self.fields_mut().protocol = W::ETHERTYPE.to_be();
        if partial {
            // SAFETY: The UDP header is linear.
            unsafe {
                bindings::skb_partial_csum_set(
                    skb,
                    size_of::<W::Header>() as u16,
                    UDP_CHECKSUM as u16,
                );
            }
        }
        // INVARIANT: `data` is at a whole header of `W`.
        Ok(Packet {
            skb: self.skb,
            linear: NEW as u32,
            rcu: self.rcu,
            version: PhantomData,
        })
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
        self.fields_mut().set_tstamp_type(0);
    }
}

impl Packet<'_, Ipv4> {
    /// The priority that goes with a type of service, as for any forwarded packet.
    #[inline(always)]
    pub(crate) fn priority(type_of_service: u8) -> u32 {
        if type_of_service == 0 {
            return 0;
        }
        // SAFETY: A table look-up without requirements.
        u32::from(unsafe { bindings::lrep_rt_tos2priority(type_of_service) } as u8)
    }

    /// Lets this host and the routers behind it fragment the packet: no Don't Fragment, and an
    /// identification to know the fragments by (RFC 6864 section 4.2). Nothing changes when memory
    /// runs out.
    #[cold]
    pub(crate) fn allow_fragmentation(&mut self) {
        // SAFETY: A packet at PRE_ROUTING has a device.
        let net = unsafe { (*self.dev()).nd_net.net };
        let Some(header) = self.writable::<<Ipv4 as Version>::Header>() else {
            return;
        };
        // Flags and fragment offset (RFC 791 section 3.1).
        header[6..8].fill(0);
        let header = header.as_mut_ptr().cast();
        // SAFETY: It is a whole IPv4 header, and `net` is the namespace the packet is in.
        unsafe {
            bindings::__ip_select_ident(net, header, 1);
            bindings::lrep_ip_send_check(header);
        }
    }

    /// Drops the packet and tells its sender why by ICMP, as a router would.
    #[cold]
    pub(crate) fn reject(mut self, error: IcmpError) -> Verdict {
        let header = self.header();
        let (source, destination) = (wire_u32(&header[12..16]), wire_u32(&header[16..20]));
        // `icmp_send()` answers along the packet's route, which is not looked up before PRE_ROUTING.
        let (kind, code, info) = match error {
            IcmpError::TimeExceeded => (bindings::ICMP_TIME_EXCEEDED, bindings::ICMP_EXC_TTL, 0),
            IcmpError::TooBig { mtu } => {
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
}

impl Packet<'_, Ipv6> {
    /// Bytes of the longest fragment the packet was put together from, from the IP header on; none
    /// when it came whole (`nf_ct_frag6_reasm()` of `net/ipv6/netfilter/nf_conntrack_reasm.c`).
    pub(crate) fn longest_fragment(&self) -> Option<u32> {
        if self.fields().ignore_df() == 0 {
            return None;
        }
        let control = (&raw const self.raw().cb).cast::<bindings::inet6_skb_parm>();
        // SAFETY: At PRE_ROUTING the control buffer is IPv6's (`ipv6_rcv()`), which any bytes are; it
        // is aligned for pointers (`include/linux/skbuff.h`).
        let longest = unsafe { (*control).frag_max_size };
        Some(longest.into()).filter(|longest| *longest > 0)
    }

    /// Lets this host fragment the packet, as it does with its own. Routers never do (RFC 8200
    /// section 5).
    pub(crate) fn allow_fragmentation(&mut self) {
        self.fields_mut().set_ignore_df(1);
    }

    /// Drops the packet and tells its sender why by ICMPv6, as a router would.
    #[cold]
    pub(crate) fn reject(self, error: IcmpError) -> Verdict {
        let (kind, code, info) = match error {
            IcmpError::TimeExceeded => (
                bindings::ICMPV6_TIME_EXCEED,
                bindings::ICMPV6_EXC_HOPLIMIT,
                0,
            ),
            IcmpError::TooBig { mtu } => (bindings::ICMPV6_PKT_TOOBIG, 0, mtu),
        };
        // SAFETY: `skb` is valid and ours, and has a device.
        unsafe {
            bindings::lrep_icmpv6_send(self.skb.as_ptr(), kind as u8, code as u8, info);
        }
        self.drop()
    }
}

/// An ICMP error to the sender of a packet.
#[derive(Clone, Copy)]
pub(crate) enum IcmpError {
    /// Time Exceeded in transit (RFC 792, RFC 4443 section 3.3).
    TimeExceeded,
    /// Fragmentation Needed (RFC 1191), Packet Too Big (RFC 4443 section 3.2).
    TooBig {
        /// What would have fitted, in bytes.
        mtu: u32,
    },
}

/// Four bytes of a header as the kernel's `__be32`.
fn wire_u32(bytes: &[u8]) -> u32 {
    bytes.try_into().map_or(0, u32::from_ne_bytes)
}
