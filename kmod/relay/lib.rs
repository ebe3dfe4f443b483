// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0

//! The pure decisions of the relay: what a packet is, who may send it, how it leaves.
//!
//! Values go in and values come out; nothing here knows the kernel. The same files are a part of
//! `lreproxy.ko` and, as the crate `relay`, of `cargo test`. So they use `core` only, refer to each
//! other through `super`, and what runs for each packet has no way to panic: in the kernel a panic
//! is a BUG.

#![forbid(unsafe_code)]
#![warn(clippy::std_instead_of_core)]

pub mod admission;
pub mod alarm;
pub mod arriving;
pub mod checksum;
mod field;
pub mod ipv4;
pub mod ipv6;
pub mod learning;
pub mod limits;
pub mod payload;
pub mod policy;
pub mod ports;
pub mod quality;
pub mod rate;
pub mod remote;
pub mod rewrite;
pub mod rtcp;
pub mod rtp;
pub mod translate;
pub mod udp;
pub mod validate;
