// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the messages look like on the wire, and what is made of wrong ones.

mod bytes;
mod faults;
mod properties;
mod refusals;
mod wire;
