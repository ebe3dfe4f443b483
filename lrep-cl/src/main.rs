// SPDX-License-Identifier: MIT OR Apache-2.0

//! The program; see the library for everything.

use std::process::ExitCode;

fn main() -> ExitCode {
    lrep_cl::cli::main(std::env::args_os())
}
