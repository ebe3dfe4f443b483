// SPDX-License-Identifier: GPL-2.0

//! Safe wrappers of the kernel's C interfaces the module uses.
//!
//! All `unsafe` code of the module is in this folder, one file for each C header, so that
//! everything above it (the packet path, the tables, the netlink commands) is safe Rust.

pub(crate) mod bindings;
pub(crate) mod genl;
pub(crate) mod lock;
pub(crate) mod namespace;
pub(crate) mod nlattr;
pub(crate) mod rcu;
pub(crate) mod route;
pub(crate) mod skb;
pub(crate) mod ticker;
pub(crate) mod time;
