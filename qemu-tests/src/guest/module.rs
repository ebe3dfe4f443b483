// SPDX-License-Identifier: MIT OR Apache-2.0

//! The kernel module under test.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

use super::debug::is_debug_kernel;
use super::shell;
use crate::protocol::SHARE;

/// Makes sure the module is loaded. It stays so for the tests that follow.
pub fn ensure_loaded() -> Result<()> {
    if is_loaded() { Ok(()) } else { load() }
}

/// Loads the module.
pub fn load() -> Result<()> {
    let directory = if is_debug_kernel() {
        "module-debug"
    } else {
        "module"
    };
    let file = format!("{SHARE}/{directory}/lreproxy.ko");
    ensure!(
        Path::new(&file).is_file(),
        "build/{directory}/lreproxy.ko is missing: build it with scripts/build-module"
    );
    shell::run(Command::new("insmod").arg(file)).map(|_| ())
}

/// Unloads the module.
pub fn unload() -> Result<()> {
    shell::run(Command::new("rmmod").arg("lreproxy")).map(|_| ())
}

/// Whether the module is loaded.
pub fn is_loaded() -> bool {
    Path::new("/sys/module/lreproxy").exists()
}
