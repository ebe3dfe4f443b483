// SPDX-License-Identifier: MIT OR Apache-2.0

//! The part on the host: boots guests and tells what happens in them.

mod console;
mod image;
mod runner;
mod vm;

pub use runner::{list, run};
