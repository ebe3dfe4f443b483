// SPDX-License-Identifier: MIT OR Apache-2.0

//! Listeners: they move bytes between sockets and the [`Service`](crate::server::Service).

pub mod control;
pub mod udp;
pub mod unix;
