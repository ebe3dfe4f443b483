// SPDX-License-Identifier: MIT OR Apache-2.0

//! The program; see the library for everything.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    lrep_cl::cli::main(std::env::args_os())
}
