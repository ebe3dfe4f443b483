// SPDX-License-Identifier: GPL-2.0

//! A generic netlink family: commands, dumps, events, and the policies of their attributes.
//!
//! C header: [`include/net/genetlink.h`](srctree/include/net/genetlink.h)

use super::{
    bindings,
    namespace::{
        self,
        Namespace,
        Net, //
    },
    nlattr::{
        Attribute,
        Attributes,
        Writer,
        TYPES, //
    },
    rcu::ReadSide,
};
use crate::{
    policy,
    proto, //
};
use core::{
    fmt::{
        self,
        Write, //
    },
    marker::PhantomData,
    ptr::NonNull,
    sync::atomic::{
        AtomicBool,
        Ordering::{
            Acquire,
            Release, //
        }, //
    },
};
use kernel::{
    error::{
        from_result,
        to_result, //
    },
    prelude::*,
    sync::atomic::{
        ordering::Full,
        AtomicFlag, //
    },
    types::Opaque, //
};

const NETLINK_HEADER: usize = 16;
const GENL_HEADER: usize = 4;

/// Room for attributes in a datagram of the usual size, in bytes.
pub(crate) const DATAGRAM: usize = bindings::LREP_GENLMSG_DEFAULT_SIZE;

// ---- Policies ----

/// A set of attributes of the protocol.
pub(crate) trait AttributeSet {
    /// The attributes, in the order of their ids, which start at 1.
    const ATTRS: &'static [proto::Attribute];
}

/// What the attributes of one set, in one command, must look like. `SLOTS` is one more than the
/// highest id.
#[repr(transparent)]
pub(crate) struct Policy<const SLOTS: usize>([bindings::nla_policy; SLOTS]);

// SAFETY: Never written to.
unsafe impl<const SLOTS: usize> Sync for Policy<SLOTS> {}

/// The policy of a nested set.
#[derive(Clone, Copy)]
pub(crate) struct Nested {
    id: u16,
    policy: *const bindings::nla_policy,
    highest: u16,
}

impl<const SLOTS: usize> Policy<SLOTS> {
    /// Makes the policy of set `S`. Attributes that are not in `allowed` are refused; those in
    /// `nested` contain attributes themselves.
    pub(crate) const fn new<S: AttributeSet>(allowed: &[u16], nested: &[Nested]) -> Self {
        assert!(S::ATTRS.len() + 1 == SLOTS && SLOTS <= TYPES);
        let mut table = [leaf(bindings::NLA_UNSPEC, None); SLOTS];
        let mut index = 0;
        while index < S::ATTRS.len() {
            table[index + 1] = leaf(bindings::NLA_BINARY, Some(validator::<S>(index, false)));
            index += 1;
        }
        index = 0;
        while index < allowed.len() {
            let id = allowed[index] as usize;
            table[id] = leaf(bindings::NLA_BINARY, Some(validator::<S>(id - 1, true)));
            index += 1;
        }
        index = 0;
        while index < nested.len() {
            table[nested[index].id as usize] = bindings::nla_policy {
                type_: bindings::NLA_NESTED as u8,
                validation_type: 0,
                len: nested[index].highest,
                __bindgen_anon_1: bindings::nla_policy__bindgen_ty_1 {
                    nested_policy: nested[index].policy,
                },
            };
            index += 1;
        }
        Self(table)
    }

    /// This policy, for the attribute `id` of another set.
    pub(crate) const fn inside(&'static self, id: u16) -> Nested {
        Nested {
            id,
            policy: self.0.as_ptr(),
            highest: (SLOTS - 1) as u16,
        }
    }
}

type Validator =
    unsafe extern "C" fn(*const bindings::nlattr, *mut bindings::netlink_ext_ack) -> c_int;

const fn leaf(kind: u32, validate: Option<Validator>) -> bindings::nla_policy {
    bindings::nla_policy {
        type_: kind as u8,
        validation_type: match validate {
            Some(_) => bindings::nla_policy_validation_NLA_VALIDATE_FUNCTION as u8,
            None => 0,
        },
        len: 0,
        __bindgen_anon_1: bindings::nla_policy__bindgen_ty_1 { validate },
    }
}

/// A netlink policy only passes the attribute to its function, so each attribute has one.
const fn validator<S: AttributeSet>(index: usize, allowed: bool) -> Validator {
    macro_rules! choose {
        ($($i:literal)*) => {
            match (index, allowed) {
                $(
                    ($i, true) => validate::<S, $i, true>,
                    ($i, false) => validate::<S, $i, false>,
                )*
                _ => panic!("a set has more attributes than there are validators"),
            }
        };
    }
    choose!(0 1 2 3 4 5 6 7 8 9 10 11)
}

/// # Safety
///
/// Called by the kernel with a valid attribute and a valid or null `extack`.
unsafe extern "C" fn validate<S: AttributeSet, const INDEX: usize, const ALLOWED: bool>(
    attr: *const bindings::nlattr,
    extack: *mut bindings::netlink_ext_ack,
) -> c_int {
    let Some(attribute) = S::ATTRS.get(INDEX) else {
        return EINVAL.to_errno();
    };
    // SAFETY: `nla_len` bytes from `attr` on belong to it.
    let value = unsafe {
        let length = usize::from((*attr).nla_len).saturating_sub(size_of::<bindings::nlattr>());
        core::slice::from_raw_parts(attr.add(1).cast::<u8>(), length)
    };
    let fault = if !ALLOWED {
        policy::unexpected(attribute)
    } else if let Err(fault) = policy::check(attribute, value) {
        fault
    } else {
        return 0;
    };
    // SAFETY: By the safety requirement.
    unsafe { explain(extack, attr, format_args!("{fault}")) };
    EINVAL.to_errno()
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

// ---- Commands ----

/// A command that is answered once.
pub(crate) trait Do {
    /// Whose state the command works on.
    type Namespace: Namespace;
    /// Its number.
    const COMMAND: proto::Command;
    /// Executes it: all or nothing.
    fn execute(state: &Self::Namespace, request: &Request<'_>) -> Result;
}

/// A command that is answered by any number of messages.
pub(crate) trait Dump {
    /// Whose state the command works on.
    type Namespace: Namespace;
    /// Its number.
    const COMMAND: proto::Command;
    /// Room one message of the answer may need, in bytes.
    const MESSAGE_MAX: u32;
    /// Writes the first object whose number is at least `from` and returns its number; `None`
    /// when there is none.
    fn write_next(
        state: &Self::Namespace,
        from: u64,
        writer: &mut Writer<'_>,
    ) -> Result<Option<u64>>;
}

/// A command that came in.
///
/// # Invariants
///
/// `info` is valid for `'a`.
pub(crate) struct Request<'a> {
    info: NonNull<bindings::genl_info>,
    lifetime: PhantomData<&'a ()>,
}

impl<'a> Request<'a> {
    /// # Safety
    ///
    /// `info` must be valid for `'a`.
    unsafe fn from_raw(info: NonNull<bindings::genl_info>) -> Self {
        // INVARIANT: By the safety requirement.
        Self {
            info,
            lifetime: PhantomData,
        }
    }

    /// Its attributes, which its policy has checked.
    pub(crate) fn attributes(&self) -> Attributes<'a> {
        // SAFETY: `genl_rcv_msg()` checked that the message is as long as its headers, and the
        // message outlives `info`.
        Attributes(unsafe {
            let info = self.info.as_ref();
            let length = (*info.nlhdr).nlmsg_len as usize;
            core::slice::from_raw_parts(
                info.genlhdr.cast::<u8>().add(GENL_HEADER),
                length.saturating_sub(NETLINK_HEADER + GENL_HEADER),
            )
        })
    }

    /// Refuses the command: `text` tells the caller why, `at` which attribute is to blame.
    pub(crate) fn refuse(
        &self,
        error: Error,
        at: Option<Attribute<'_>>,
        text: fmt::Arguments<'_>,
    ) -> Error {
        let attr = at.map_or(core::ptr::null(), |attribute| attribute.as_ptr());
        // SAFETY: By the type invariants; attributes only come from the message itself.
        unsafe { explain(self.info.as_ref().extack, attr, text) };
        error
    }

    /// Refuses the command because `attribute` is missing, inside of `nest` if there is one.
    pub(crate) fn missing(
        &self,
        attribute: &proto::Attribute,
        nest: Option<Attribute<'_>>,
    ) -> Error {
        let name = attribute.name;
        let error = self.refuse(EINVAL, None, format_args!("{name}: missing"));
        // SAFETY: By the type invariants; `extack` is null or valid.
        if let Some(extack) = unsafe { self.info.as_ref().extack.as_mut() } {
            extack.miss_type = attribute.id;
            extack.miss_nest = nest.map_or(core::ptr::null(), |nest| nest.as_ptr());
        }
        error
    }

    /// Starts the answer, with room for `size` bytes of attributes.
    pub(crate) fn answer(&self, command: proto::Command, size: usize) -> Result<Message> {
        // SAFETY: By the type invariants.
        let info = unsafe { self.info.as_ref() };
        let to = (info.snd_portid, info.snd_seq);
        // SAFETY: `family` is the registered family the request came to.
        unsafe { Message::new(info.family, size, to, command, bindings::LREP_GFP_KERNEL) }
    }

    /// Sends the answer.
    pub(crate) fn send(&self, message: Message) -> Result {
        let skb = message.finish().into_raw();
        // SAFETY: By the type invariants; the message is given away, whatever the result.
        to_result(unsafe { bindings::lrep_genlmsg_reply(skb, self.info.as_ptr()) })
    }
}

/// Memory for messages that are sent together.
///
/// # Invariants
///
/// It is a valid netlink `sk_buff` that is ours.
struct Datagram(NonNull<bindings::sk_buff>);

impl Datagram {
    /// Memory for one message with so many bytes of attributes, or for several smaller ones.
    fn new(size: usize, flags: bindings::gfp_t) -> Result<Self> {
        // SAFETY: No requirements.
        let skb = unsafe { bindings::lrep_genlmsg_new(size, flags) };
        // INVARIANT: It was just made.
        Ok(Self(NonNull::new(skb).ok_or(ENOMEM)?))
    }

    /// Begins a message behind those that are finished, or gives itself back when there is no room.
    ///
    /// # Safety
    ///
    /// `family` must be registered.
    unsafe fn begin(
        self,
        family: *const bindings::genl_family,
        (portid, seq): (u32, u32),
        command: proto::Command,
    ) -> Result<Message, Self> {
        let skb = self.0.as_ptr();
        // SAFETY: `skb` is valid by the type invariants, `family` by the safety requirement.
        let header = unsafe { bindings::genlmsg_put(skb, portid, seq, family, 0, command as u8) };
        match NonNull::new(header) {
            // INVARIANT: It was just made.
            Some(header) => Ok(Message {
                datagram: self,
                header,
            }),
            None => Err(self),
        }
    }

    /// Gives it away.
    fn into_raw(self) -> *mut bindings::sk_buff {
        core::mem::ManuallyDrop::new(self).0.as_ptr()
    }
}

impl Drop for Datagram {
    fn drop(&mut self) {
        // SAFETY: By the type invariants.
        unsafe { bindings::lrep_nlmsg_free(self.0.as_ptr()) };
    }
}

/// A message under construction.
///
/// # Invariants
///
/// `header` is the generic netlink header of the last message of `datagram`.
pub(crate) struct Message {
    datagram: Datagram,
    header: NonNull<c_void>,
}

impl Message {
    /// # Safety
    ///
    /// `family` must be registered.
    unsafe fn new(
        family: *const bindings::genl_family,
        size: usize,
        to: (u32, u32),
        command: proto::Command,
        flags: bindings::gfp_t,
    ) -> Result<Self> {
        let datagram = Datagram::new(size, flags)?;
        // SAFETY: By the safety requirement.
        unsafe { datagram.begin(family, to, command) }.map_err(|_| EMSGSIZE)
    }

    /// Its attributes, for writing.
    pub(crate) fn writer(&mut self) -> Writer<'_> {
        // SAFETY: By the type invariants; the result borrows `self`.
        unsafe { Writer::from_raw(self.datagram.0) }
    }

    /// It is whole.
    fn finish(self) -> Datagram {
        // SAFETY: By the type invariants.
        unsafe { bindings::lrep_genlmsg_end(self.datagram.0.as_ptr(), self.header.as_ptr()) };
        self.datagram
    }

    /// Nothing of it stays.
    fn cancel(self) -> Datagram {
        // SAFETY: By the type invariants.
        unsafe { bindings::lrep_genlmsg_cancel(self.datagram.0.as_ptr(), self.header.as_ptr()) };
        self.datagram
    }
}

/// # Safety
///
/// Called by generic netlink for a registered family.
unsafe extern "C" fn doit<D: Do>(
    _skb: *mut bindings::sk_buff,
    info: *mut bindings::genl_info,
) -> c_int {
    from_result(|| {
        let info = NonNull::new(info).ok_or(EINVAL)?;
        // SAFETY: `info` is valid for the call. The namespace is that of the sender's socket,
        // which keeps it alive; `Registered` keeps the states while the family is registered.
        let (request, state) = unsafe {
            let net = NonNull::new(bindings::lrep_genl_info_net(info.as_ptr())).ok_or(EINVAL)?;
            (
                Request::from_raw(info),
                namespace::state_of::<D::Namespace>(Net::from_raw(net)),
            )
        };
        D::execute(state, &request)?;
        Ok(0)
    })
}

/// # Safety
///
/// Called by generic netlink for a registered family.
unsafe extern "C" fn start<D: Dump>(cb: *mut bindings::netlink_callback) -> c_int {
    // SAFETY: `cb` is valid for the call.
    unsafe { (*cb).min_dump_alloc = D::MESSAGE_MAX };
    0
}

/// # Safety
///
/// Called by generic netlink for a registered family, again and again until it returns 0.
unsafe extern "C" fn dumpit<D: Dump>(
    skb: *mut bindings::sk_buff,
    cb: *mut bindings::netlink_callback,
) -> c_int {
    from_result(|| {
        let skb = NonNull::new(skb).ok_or(EINVAL)?;
        // SAFETY: `cb` is valid for the call, and its context is ours: the number to go on at,
        // zero at first. For the namespace see `doit`.
        let (state, info, next) = unsafe {
            let info = &*bindings::lrep_genl_info_dump(cb);
            let net = NonNull::new(bindings::lrep_genl_info_net(info)).ok_or(EINVAL)?;
            (
                namespace::state_of::<D::Namespace>(Net::from_raw(net)),
                info,
                &mut *(&raw mut (*cb).__bindgen_anon_1.ctx).cast::<u64>(),
            )
        };
        let mut written = false;
        loop {
            // SAFETY: `skb` is the answer under construction, the family is registered.
            let header = unsafe {
                bindings::genlmsg_put(
                    skb.as_ptr(),
                    info.snd_portid,
                    info.snd_seq,
                    info.family,
                    bindings::NLM_F_MULTI as i32,
                    D::COMMAND as u8,
                )
            };
            let result = match NonNull::new(header) {
                // SAFETY: As above; the writer is gone before the header is used again.
                Some(_) => D::write_next(state, *next, &mut unsafe { Writer::from_raw(skb) }),
                None => Err(EMSGSIZE),
            };
            match result {
                Ok(Some(number)) => {
                    // SAFETY: `header` was returned for this message.
                    unsafe { bindings::lrep_genlmsg_end(skb.as_ptr(), header) };
                    *next = number.saturating_add(1);
                    written = true;
                }
                end => {
                    if !header.is_null() {
                        // SAFETY: As above.
                        unsafe { bindings::lrep_genlmsg_cancel(skb.as_ptr(), header) };
                    }
                    // SAFETY: `skb` is valid.
                    let length = unsafe { skb.as_ref() }.len;
                    return match end {
                        // The message is full: the rest goes into the next one.
                        Err(error) if error == EMSGSIZE && written => Ok(length as c_int),
                        Err(error) => Err(error),
                        Ok(_) => Ok(if written { length as c_int } else { 0 }),
                    };
                }
            }
        }
    })
}

/// One entry of a family's table of operations.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(crate) struct Operation(bindings::genl_split_ops);

// SAFETY: Never written to.
unsafe impl Sync for Operation {}

impl Operation {
    /// The operation that executes `D`. Its caller needs `CAP_NET_ADMIN` in the namespace.
    pub(crate) const fn doit<D: Do, const SLOTS: usize>(policy: &'static Policy<SLOTS>) -> Self {
        Self(bindings::genl_split_ops {
            __bindgen_anon_1: bindings::genl_split_ops__bindgen_ty_1 {
                __bindgen_anon_1: bindings::genl_split_ops__bindgen_ty_1__bindgen_ty_1 {
                    pre_doit: None,
                    doit: Some(doit::<D>),
                    post_doit: None,
                },
            },
            policy: policy.0.as_ptr(),
            maxattr: (SLOTS - 1) as u32,
            cmd: D::COMMAND as u8,
            internal_flags: 0,
            flags: (bindings::GENL_UNS_ADMIN_PERM | bindings::GENL_CMD_CAP_DO) as u8,
            validate: 0,
        })
    }

    /// The operation that dumps `D`. Its caller needs `CAP_NET_ADMIN` in the namespace.
    pub(crate) const fn dump<D: Dump, const SLOTS: usize>(policy: &'static Policy<SLOTS>) -> Self {
        Self(bindings::genl_split_ops {
            __bindgen_anon_1: bindings::genl_split_ops__bindgen_ty_1 {
                __bindgen_anon_2: bindings::genl_split_ops__bindgen_ty_1__bindgen_ty_2 {
                    start: Some(start::<D>),
                    dumpit: Some(dumpit::<D>),
                    done: None,
                },
            },
            policy: policy.0.as_ptr(),
            maxattr: (SLOTS - 1) as u32,
            cmd: D::COMMAND as u8,
            internal_flags: 0,
            flags: (bindings::GENL_UNS_ADMIN_PERM | bindings::GENL_CMD_CAP_DUMP) as u8,
            validate: 0,
        })
    }
}

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

    /// Builds an event, in the first of these sizes in bytes that it fits into, and sends it to the
    /// listeners of the family's group number `group` in `net`. Does nothing when there is none.
    /// May sleep.
    pub(crate) fn notify<const SIZES: usize>(
        &'static self,
        net: Net,
        group: u32,
        command: proto::Command,
        sizes: impl FnOnce() -> [usize; SIZES],
        write: impl Fn(&mut Writer<'_>) -> Result,
    ) -> Result {
        // Keeps the family registered until the event is sent.
        let registered = REGISTERED.lock();
        if !*registered {
            return Ok(());
        }
        // SAFETY: It is registered.
        unsafe {
            let flags = bindings::LREP_GFP_KERNEL;
            self.multicast(net, group, command, sizes, flags, write)
        }
    }

    /// Whether packets would [`notify_of_packet`](Self::notify_of_packet) anybody.
    pub(crate) fn is_heard(&'static self, net: Net, group: u32, _: ReadSide<'_>) -> bool {
        if !IS_OPEN.load(Acquire) {
            return false;
        }
        // SAFETY: The family is registered until a grace period after `IS_OPEN` has become false,
        // and `net` is alive.
        unsafe { bindings::lrep_genl_has_listeners(self.0.get(), net.as_ptr(), group) }
    }

    /// As [`notify`](Self::notify), in the middle of a packet's path: it takes memory and time, so it
    /// is for the few packets that somebody listens for. Does not sleep.
    pub(crate) fn notify_of_packet<const SIZES: usize>(
        &'static self,
        net: Net,
        group: u32,
        command: proto::Command,
        sizes: impl FnOnce() -> [usize; SIZES],
        _: ReadSide<'_>,
        write: impl Fn(&mut Writer<'_>) -> Result,
    ) -> Result {
        if !IS_OPEN.load(Acquire) {
            return Ok(());
        }
        // SAFETY: As for `is_heard`.
        unsafe {
            let flags = bindings::LREP_GFP_ATOMIC;
            self.multicast(net, group, command, sizes, flags, write)
        }
    }

    /// # Safety
    ///
    /// The family must be registered, and stay so until this returns.
    unsafe fn multicast<const SIZES: usize>(
        &'static self,
        net: Net,
        group: u32,
        command: proto::Command,
        sizes: impl FnOnce() -> [usize; SIZES],
        flags: bindings::gfp_t,
        write: impl Fn(&mut Writer<'_>) -> Result,
    ) -> Result {
        // SAFETY: By the safety requirement.
        unsafe {
            if !self.has_listeners(net, group) {
                return Ok(());
            }
            let datagram = self.write(net, group, command, sizes(), flags, write)?;
            self.send(net, group, datagram, flags)
        }
    }

    /// # Safety
    ///
    /// The family must be registered, and stay so until this returns.
    unsafe fn has_listeners(&'static self, net: Net, group: u32) -> bool {
        // SAFETY: By the safety requirement; `net` is alive.
        unsafe { bindings::lrep_genl_has_listeners(self.0.get(), net.as_ptr(), group) }
    }

    /// Writes an event, in the first of these sizes that it fits into. When that fails, whoever
    /// listens finds out as if it had been too slow.
    ///
    /// # Safety
    ///
    /// The family must be registered, and stay so until this returns.
    unsafe fn write<const SIZES: usize>(
        &'static self,
        net: Net,
        group: u32,
        command: proto::Command,
        sizes: [usize; SIZES],
        flags: bindings::gfp_t,
        write: impl Fn(&mut Writer<'_>) -> Result,
    ) -> Result<Datagram> {
        let family = self.0.get();
        let of_size = |size: usize| {
            // SAFETY: By the safety requirement.
            let mut message = unsafe { Message::new(family, size, (0, 0), command, flags) }?;
            write(&mut message.writer())?;
            Ok(message.finish())
        };
        let too_small = Err(EMSGSIZE);
        let written = sizes
            .into_iter()
            .fold(too_small, |written, size| match written {
                Err(error) if error == EMSGSIZE => of_size(size),
                written => written,
            });
        written.inspect_err(|_| {
            // SAFETY: By the safety requirement; `net` is alive.
            unsafe { bindings::lrep_genl_set_err(family, net.as_ptr(), group, ENOBUFS.to_errno()) };
        })
    }

    /// # Safety
    ///
    /// The family must be registered, and stay so until this returns.
    unsafe fn send(
        &'static self,
        net: Net,
        group: u32,
        datagram: Datagram,
        flags: bindings::gfp_t,
    ) -> Result {
        let (family, net, skb) = (self.0.get(), net.as_ptr(), datagram.into_raw());
        // SAFETY: By the safety requirement; `net` is alive, and the datagram is given away.
        let sent =
            unsafe { bindings::lrep_genlmsg_multicast_netns(family, net, skb, group, flags) };
        match to_result(sent) {
            // The last listener has just gone.
            Err(error) if error == ESRCH => Ok(()),
            result => result,
        }
    }
}

/// Events that go to the listeners of a group in as few datagrams as they fit into, the last of them
/// when this is dropped. A listener that is too slow, or was not told of one for want of memory, finds
/// out from its socket (`ENOBUFS`).
pub(crate) struct Events {
    family: &'static Family,
    net: Net,
    group: u32,
    command: proto::Command,
    /// Those that are written and not sent yet.
    written: Option<Datagram>,
}

impl Events {
    /// None yet, for the listeners of the family's group number `group` in `net`.
    pub(crate) fn new(
        family: &'static Family,
        net: Net,
        group: u32,
        command: proto::Command,
    ) -> Self {
        Self {
            family,
            net,
            group,
            command,
            written: None,
        }
    }

    /// Adds an event. If it does not go with those before, it gets memory of the first of these sizes
    /// in bytes that it fits into, where others may follow. Does nothing when nobody listens. May
    /// sleep.
    pub(crate) fn add<const SIZES: usize>(
        &mut self,
        sizes: impl FnOnce() -> [usize; SIZES],
        write: impl Fn(&mut Writer<'_>) -> Result,
    ) {
        // Keeps the family registered until this returns.
        let registered = REGISTERED.lock();
        // SAFETY: It is registered.
        if !*registered || !unsafe { self.family.has_listeners(self.net, self.group) } {
            return;
        }
        if let Some(datagram) = self.written.take() {
            // SAFETY: As above.
            let begun = unsafe { datagram.begin(self.family.0.get(), (0, 0), self.command) };
            let full = match begun {
                Ok(mut message) => match write(&mut message.writer()) {
                    Ok(()) => {
                        self.written = Some(message.finish());
                        return;
                    }
                    Err(_) => message.cancel(),
                },
                Err(datagram) => datagram,
            };
            // SAFETY: As above.
            let _ = unsafe { self.send(full) };
        }
        let flags = bindings::LREP_GFP_KERNEL;
        let (net, group, command) = (self.net, self.group, self.command);
        // SAFETY: As above.
        let written = unsafe {
            self.family
                .write(net, group, command, sizes(), flags, write)
        };
        self.written = written.ok();
    }

    /// # Safety
    ///
    /// The family must be registered, and stay so until this returns.
    unsafe fn send(&self, datagram: Datagram) -> Result {
        let flags = bindings::LREP_GFP_KERNEL;
        // SAFETY: By the safety requirement.
        unsafe { self.family.send(self.net, self.group, datagram, flags) }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let Some(datagram) = self.written.take() else {
            return;
        };
        let registered = REGISTERED.lock();
        if *registered {
            // SAFETY: It is registered until the lock is open.
            let _ = unsafe { self.send(datagram) };
        }
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
        to_result(unsafe { bindings::genl_register_family(family.0.get()) })?;
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
        unsafe { bindings::genl_unregister_family(self.family.0.get()) };
    }
}
