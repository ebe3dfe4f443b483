// SPDX-License-Identifier: MIT OR Apache-2.0

//! The files a guest is booted from, and the directory it shares with the host.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::protocol::{SHARE, WORK};

/// Which kernel a guest runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// The one Debian ships.
    Stock,
    /// The same source with everything switched on that finds faults.
    Debug,
}

/// What `make setup` prepared, and this build's products.
pub struct Image {
    /// The kernel.
    pub kernel: PathBuf,
    /// Mounts the root file system and starts what the command line names.
    pub initramfs: PathBuf,
    /// Read-only root file system.
    pub root: PathBuf,
    /// Read-only root file system of what the benchmark compares with, if it was set up.
    pub rtpengine: Option<PathBuf>,
    /// Directory shared with the guest: the tree's build/.
    pub share: PathBuf,
    /// The guest's first process, by its path in the guest.
    pub init: String,
    /// What random tests start from: LREP_SEED, or else another one each time.
    pub seed: u64,
}

impl Image {
    /// Finds the files of the set-up and puts this binary where the guest sees it.
    pub fn prepare(kernel: Kernel) -> Result<Self> {
        let cache = env::var_os("LREP_CACHE").unwrap_or("/var/cache/lreproxy".into());
        let cache = PathBuf::from(cache);
        let (verb, vmlinuz, initramfs) = match kernel {
            Kernel::Stock => ("setup", "kernel/vmlinuz", "guest/initramfs.cpio.gz"),
            Kernel::Debug => ("debug-kernel", "debug/vmlinuz", "debug/initramfs.cpio.gz"),
        };
        let image = Self {
            kernel: cache.join(vmlinuz),
            initramfs: cache.join(initramfs),
            root: cache.join("guest/root.squashfs"),
            rtpengine: Some(cache.join("guest/rtpengine.squashfs")).filter(|file| file.is_file()),
            share: build_directory()?,
            init: format!("{SHARE}/{WORK}/bin/qemu-tests"),
            seed: seed()?,
        };
        for file in [&image.kernel, &image.initramfs, &image.root] {
            ensure!(
                file.is_file(),
                "{} is missing: run 'make {verb}' (as root)",
                file.display()
            );
        }
        let binary = env::current_exe().context("cannot find this program's own file")?;
        let bin = image.work().join("bin");
        fs::create_dir_all(&bin).with_context(|| format!("cannot create {}", bin.display()))?;
        copy_program(&binary, &bin.join("qemu-tests"))?;
        let controller = binary.with_file_name("lrep-cl");
        if controller.is_file() {
            copy_program(&controller, &bin.join("lrep-cl"))?;
        }
        Ok(image)
    }

    /// Where binaries, logs and captures are kept.
    pub fn work(&self) -> PathBuf {
        self.share.join(WORK)
    }
}

fn seed() -> Result<u64> {
    match env::var("LREP_SEED") {
        Ok(seed) => seed.parse().context("LREP_SEED is not a number"),
        Err(_) => Ok(fastrand::u64(..)),
    }
}

/// The build directory of the tree this program is run in.
fn build_directory() -> Result<PathBuf> {
    let here = env::current_dir().context("cannot tell the current directory")?;
    let tree = here
        .ancestors()
        .find(|directory| directory.join("genl-proto/lreproxy.yaml").is_file())
        .context("not inside a lreproxy source tree: change to it and start again")?;
    Ok(tree.join("build"))
}

/// Copies under another name and renames, so that a running copy is never written to.
fn copy_program(from: &Path, to: &Path) -> Result<()> {
    let new = to.with_extension("new");
    fs::copy(from, &new).with_context(|| format!("cannot copy {}", from.display()))?;
    fs::rename(&new, to).with_context(|| format!("cannot write {}", to.display()))
}
