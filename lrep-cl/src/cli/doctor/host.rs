// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the host says when it is looked at, or why it says nothing.

use std::fs;
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::geteuid;

use crate::config::TslConfig;
use crate::doctor::device::Device;
use crate::doctor::kernels::Kernel;
use crate::doctor::{Finding, Taker, clock, device, firewall, ports};

const CLOCK: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
const DEVICES: &str = "/sys/class/net";
const RELEASE: &str = "/proc/sys/kernel/osrelease";
/// Has a directory for each kernel.
const MODULES: &str = "/lib/modules";
const BOOT: &str = "/boot";
const FILTERS: &str = "/proc/sys/net/ipv4/conf";
/// Tables of iptables-legacy that were made use of in this network namespace.
const LEGACY_TABLES: &str = "/proc/net/ip_tables_names";

/// The release of the running kernel, and the kernels that this host has modules for and can be started
/// with. One that runs is among them wherever it was started from.
pub fn kernels() -> (String, Vec<Kernel>) {
    let running = fs::read_to_string(RELEASE).unwrap_or_default();
    let running = running.trim();
    let directories = fs::read_dir(MODULES).into_iter().flatten().flatten();
    let installed = directories.filter_map(|directory| {
        let release = directory.file_name().into_string().ok()?;
        let image = Path::new(BOOT).join(format!("vmlinuz-{release}"));
        if release != running && !image.exists() {
            return None;
        }
        let modules = fs::read_to_string(directory.path().join("modules.dep")).ok()?;
        Some(Kernel::new(&release, &modules))
    });
    (running.to_owned(), installed.collect())
}

/// What a process may do; nothing where it cannot be read.
pub fn process(process: u32) -> String {
    fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default()
}

/// The clock that packets are timed with, where the kernel names it.
pub fn clock_source() -> Option<Finding> {
    let source = fs::read_to_string(CLOCK).ok()?;
    Some(clock::source(source.trim()))
}

/// Programs that have relay ports. Whose sockets are whose, only root is told.
pub fn squatters(
    tsl: &TslConfig,
    taker: Taker,
    ports: &[RangeInclusive<u16>],
    daemon: Option<u32>,
) -> Vec<Finding> {
    if !geteuid().is_root() {
        let why = "only root is told who has which port";
        return vec![Finding::unknown("ports", why, "lrep-cl doctor")];
    }
    match said("ports", "iproute2", "ss", &["-Hulnp"]) {
        Ok(shown) => ports::taken(&shown, taker, &tsl.addresses.locals(), ports, daemon),
        Err(finding) => vec![finding],
    }
}

/// What a program of this Debian package prints, or what is found when it prints nothing.
fn said(about: &str, package: &str, program: &str, arguments: &[&str]) -> Result<String, Finding> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    let failed = |why: String| {
        let command = [&[program], arguments].concat().join(" ");
        Finding::unknown(about, why, &command)
    };
    match Command::new(program).args(arguments).output() {
        Ok(output) if output.status.success() => Ok(text(&output.stdout)),
        Ok(output) => Err(failed(text(&output.stderr))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(Finding::missing(about, program, package))
        }
        Err(error) => Err(failed(format!("{program}: {error}"))),
    }
}

/// Whether a device leaves packets as they came.
pub fn offloads(device: &str) -> Finding {
    let about = format!("device {device}");
    match said(&about, "ethtool", "ethtool", &["-k", device]) {
        Ok(features) => device::offloads(device, &features),
        Err(finding) => finding,
    }
}

/// Whether the time of day is synchronised.
pub fn time() -> Finding {
    let arguments = ["show", "-p", "CanNTP", "-p", "NTP", "-p", "NTPSynchronized"];
    match said("time", "systemd", "timedatectl", &arguments) {
        Ok(shown) => clock::time(&shown),
        Err(finding) => finding,
    }
}

/// Rules of nft that could drop media.
pub fn nft(taker: Taker, ports: &[RangeInclusive<u16>]) -> Vec<Finding> {
    let listed = said("firewall", "nftables", "nft", &["-j", "list", "ruleset"]);
    let ruleset = listed.and_then(|text| {
        let unreadable = |error| Finding::unknown("firewall", error, "nft -j list ruleset");
        serde_json::from_str(&text).map_err(unreadable)
    });
    match ruleset {
        Ok(ruleset) => firewall::nft(&ruleset, taker, ports),
        Err(finding) => vec![finding],
    }
}

/// Rules of iptables-legacy that could drop media. They are only listed where there are any, since
/// listing them could load the kernel's part of it.
pub fn legacy(taker: Taker, ports: &[RangeInclusive<u16>]) -> Vec<Finding> {
    match fs::read_to_string(LEGACY_TABLES) {
        Ok(tables) if tables.trim().is_empty() => Vec::new(),
        Ok(_) => match said("firewall", "iptables", "iptables-legacy-save", &[]) {
            Ok(saved) => firewall::legacy(&saved, taker, ports),
            Err(finding) => vec![finding],
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            let why = format!("whether there are legacy rules of iptables: {error}");
            vec![Finding::unknown("firewall", why, "iptables-legacy-save")]
        }
    }
}

/// The reverse path filter of each device: its own or the one for all, whichever is the larger number.
pub fn filters() -> Vec<(String, u8)> {
    let filter = |device: &str| {
        let text = fs::read_to_string(Path::new(FILTERS).join(device).join("rp_filter"));
        text.ok()?.trim().parse::<u8>().ok()
    };
    let all = filter("all").unwrap_or_default();
    let Ok(entries) = fs::read_dir(DEVICES) else {
        return Vec::new();
    };
    let mut filters: Vec<_> = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter_map(|device| Some((filter(&device)?.max(all), device)))
        .map(|(filter, device)| (device, filter))
        .collect();
    filters.sort();
    filters
}

/// The devices that have hardware, or what a hypervisor says is.
pub fn devices() -> Vec<Device> {
    let Ok(entries) = fs::read_dir(DEVICES) else {
        return Vec::new();
    };
    let mut devices: Vec<Device> = entries
        .flatten()
        .filter(|entry| entry.path().join("device").exists())
        .map(|entry| {
            device(
                &entry.path(),
                entry.file_name().to_string_lossy().into_owned(),
            )
        })
        .collect();
    devices.sort_by(|a, b| a.name.cmp(&b.name));
    devices
}

fn device(path: &Path, name: String) -> Device {
    let queues: Vec<PathBuf> = fs::read_dir(path.join("queues"))
        .into_iter()
        .flatten()
        .flatten()
        .filter(|queue| queue.file_name().to_string_lossy().starts_with("rx-"))
        .map(|queue| queue.path())
        .collect();
    let spreads = |queue: &PathBuf| {
        let mask = fs::read_to_string(queue.join("rps_cpus")).unwrap_or_default();
        mask.chars()
            .any(|digit| digit.is_ascii_hexdigit() && digit != '0')
    };
    Device {
        name,
        queues: queues.len(),
        spreads: queues.iter().any(spreads),
    }
}
