// SPDX-License-Identifier: MIT OR Apache-2.0
//! What module and controllers say to each other.

pub mod generated;
