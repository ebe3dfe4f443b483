// SPDX-License-Identifier: GPL-2.0

//! What the attributes of a command must look like: what generic netlink checks before it is executed.
//!
//! C header: [`include/net/netlink.h`](srctree/include/net/netlink.h)

use super::{
    super::{
        bindings,
        nlattr::TYPES, //
    },
    explain,
};
use crate::{
    policy,
    proto, //
};
use kernel::prelude::*;

/// A set of attributes of the protocol.
pub(crate) trait AttributeSet {
    /// The attributes, in the order of their ids, which start at 1.
    const ATTRS: &'static [proto::Attribute];
}

/// What the attributes of one set, in one command, must look like. `SLOTS` is one more than the
/// highest id.
#[repr(transparent)]
pub(crate) struct Policy<const SLOTS: usize>(pub(super) [bindings::nla_policy; SLOTS]);

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
