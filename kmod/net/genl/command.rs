// SPDX-License-Identifier: GPL-2.0

//! Commands: how they come in, are executed and answered.

use super::{
    super::{
        bindings,
        namespace::{
            self,
            Namespace,
            Net, //
        },
        nlattr::{
            Attribute,
            Attributes,
            Writer, //
        },
    },
    explain,
    message::Message,
    policy::Policy,
};
use crate::proto;
use core::{
    fmt,
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
    error::{
        from_result,
        to_result, //
    },
    prelude::*, //
};

const NETLINK_HEADER: usize = 16;
const GENL_HEADER: usize = 4;

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
        let handlers = bindings::genl_split_ops__bindgen_ty_1 {
            __bindgen_anon_1: bindings::genl_split_ops__bindgen_ty_1__bindgen_ty_1 {
                pre_doit: None,
                doit: Some(doit::<D>),
                post_doit: None,
            },
        };
        Self::new(handlers, policy, D::COMMAND, bindings::GENL_CMD_CAP_DO)
    }

    /// The operation that dumps `D`. Its caller needs `CAP_NET_ADMIN` in the namespace.
    pub(crate) const fn dump<D: Dump, const SLOTS: usize>(policy: &'static Policy<SLOTS>) -> Self {
        let handlers = bindings::genl_split_ops__bindgen_ty_1 {
            __bindgen_anon_2: bindings::genl_split_ops__bindgen_ty_1__bindgen_ty_2 {
                start: Some(start::<D>),
                dumpit: Some(dumpit::<D>),
                done: None,
            },
        };
        Self::new(handlers, policy, D::COMMAND, bindings::GENL_CMD_CAP_DUMP)
    }

    const fn new<const SLOTS: usize>(
        handlers: bindings::genl_split_ops__bindgen_ty_1,
        policy: &'static Policy<SLOTS>,
        command: proto::Command,
        capability: u32,
    ) -> Self {
        Self(bindings::genl_split_ops {
            __bindgen_anon_1: handlers,
            policy: policy.0.as_ptr(),
            maxattr: (SLOTS - 1) as u32,
            cmd: command as u8,
            internal_flags: 0,
            flags: (bindings::GENL_UNS_ADMIN_PERM | capability) as u8,
            validate: 0,
        })
    }
}
