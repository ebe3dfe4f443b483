// SPDX-License-Identifier: MIT OR Apache-2.0

//! The part on the host: boots guests and tells what happens in them.

pub mod console;
pub mod follow;
pub mod image;
pub mod monitor;
mod runner;
pub mod vm;

pub use image::Kernel;
pub use runner::{list, remove_directory, run};
