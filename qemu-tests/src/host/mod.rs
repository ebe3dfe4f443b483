// SPDX-License-Identifier: MIT OR Apache-2.0

//! The part on the host: boots guests and tells what happens in them.

pub mod console;
pub mod follow;
pub mod image;
pub mod monitor;
mod runner;
mod screen;
mod verdict;
pub mod vm;

pub use image::Kernel;
pub use runner::{list, run};
pub use verdict::remove_directory;
