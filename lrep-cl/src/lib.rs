// SPDX-License-Identifier: MIT OR Apache-2.0

//! `lrep-cl`, the controller of the lreproxy RTP relay.
//!
//! SIP servers ask it for relays ([`protocol`], over the [`frontend`]s); it turns what they ask
//! ([`intent`]) into calls ([`call`]) and has the [transport layer](tsl), the kernel module,
//! forward their media. The kernel's table is the truth: the controller can be killed and started
//! again without a packet lost.
//!
//! Decisions are made in modules without sockets, clocks or tasks: [`protocol`], [`intent`],
//! [`call`], [`ports`], [`balance`], [`doctor`], [`rate`], [`reply_cache`], [`answers`], [`addresses`], [`alarm`], and [`core`],
//! which ties them together. [`server`] and [`driver`] are the edge: they move bytes.

#![forbid(unsafe_code)]

// What tests share with fuzz targets names the crate as these do.
#[cfg(test)]
extern crate self as lrep_cl;

pub mod addresses;
pub mod alarm;
pub mod answers;
pub mod balance;
pub mod call;
pub mod cli;
pub mod config;
pub mod core;
pub mod doctor;
pub mod documents;
pub mod driver;
pub mod ephemeral;
pub mod frontend;
pub mod inherited;
pub mod intent;
pub mod json;
pub mod logging;
pub mod notify;
pub mod operator;
pub mod ports;
pub mod protocol;
pub mod rate;
pub mod reply_cache;
pub mod rtcp;
pub mod server;
pub mod tls;
pub mod top;
pub mod tsl;
