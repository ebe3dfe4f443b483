// SPDX-License-Identifier: MIT OR Apache-2.0

//! The kernel's memory (proc_meminfo(5), slabinfo(5)).

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result};

/// Bytes in a field of /proc/meminfo.
fn field(name: &str) -> Result<u64> {
    let path = "/proc/meminfo";
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    let kilobytes: u64 = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .and_then(|rest| rest.trim().strip_suffix(" kB"))
        .with_context(|| format!("{path} has no {name}"))?
        .parse()?;
    Ok(kilobytes * 1024)
}

/// Bytes in slabs that the kernel cannot take back by itself: what it and its modules have
/// allocated.
pub fn unreclaimable() -> Result<u64> {
    field("SUnreclaim")
}

/// Bytes of whole pages that the kernel has mapped for itself (vmalloc), and of variables that each
/// processor has for itself.
pub fn mapped() -> Result<u64> {
    Ok(field("VmallocUsed")? + field("Percpu")?)
}

/// Bytes that nobody uses, once the caches of files are dropped.
pub fn free() -> Result<u64> {
    let path = "/proc/sys/vm/drop_caches";
    fs::write(path, "3").with_context(|| format!("cannot write {path}"))?;
    field("MemFree")
}

/// How many objects of each size are allocated in slabs.
pub fn objects() -> Result<BTreeMap<u64, u64>> {
    let path = "/proc/slabinfo";
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    let mut objects = BTreeMap::new();
    // Two lines of headings; then name, objects in use, objects, size.
    for line in text.lines().skip(2) {
        let columns: Vec<_> = line.split_whitespace().collect();
        let (Some(used), Some(size)) = (columns.get(1), columns.get(3)) else {
            continue;
        };
        *objects.entry(size.parse()?).or_default() += used.parse::<u64>()?;
    }
    Ok(objects)
}
