// SPDX-License-Identifier: MIT OR Apache-2.0

//! `lrep-cl doctor`: what may be wrong with this host.

use std::fmt::Write;
use std::fs;
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::available_parallelism;

use clap::Args;
use serde_json::json;

use super::block_on;
use super::control::Control;
use super::exit::Failure;
use crate::config::{self, Config, DEFAULT_FILE, TslUrl};
use crate::doctor::{self, Device, Finding, Taker, Verdict};
use crate::ephemeral::Ephemeral;
use crate::operator::{Answer, Request};
use crate::server::check_local;
use crate::tsl::Tsl;
use crate::tsl::kernel::Kernel;

const CLOCK: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
const DEVICES: &str = "/sys/class/net";
const FILTERS: &str = "/proc/sys/net/ipv4/conf";

/// Look for what keeps calls from working on this host, and say how to mend it
///
/// Run it as root. Exits with 1 when something is found that makes calls fail.
#[derive(Args, Debug)]
pub struct Doctor {
    /// The configuration file of the daemon
    #[arg(long, value_name = "FILE", default_value = DEFAULT_FILE, env = "LREP_CONFIG")]
    config: PathBuf,

    #[command(flatten)]
    control: Control,

    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
}

impl Doctor {
    /// Looks, and tells what was found.
    pub fn run(&self) -> Result<String, Failure> {
        let findings = self.look();
        let text = if self.json {
            format!("{}\n", json!(findings))
        } else {
            text(&findings)
        };
        if findings
            .iter()
            .any(|finding| finding.verdict == Verdict::Bad)
        {
            super::print(&text)?;
            return Err(Failure::absent("calls will fail: see what is BAD above"));
        }
        Ok(text)
    }

    fn look(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let config = match config::check(&self.config) {
            Ok(config) => {
                findings.push(Finding::good(
                    "configuration",
                    self.config.display().to_string(),
                ));
                Some(config)
            }
            Err(error) => {
                let file = self.config.display();
                findings.push(Finding::bad(
                    "configuration",
                    error.to_string(),
                    format!("lrep-cl config check {file}"),
                ));
                None
            }
        };
        let is_local = |config: &Config| config.tsls.iter().any(|tsl| tsl.url == TslUrl::Local);
        if config.as_ref().is_none_or(is_local) {
            findings.push(module());
        }
        findings.extend(self.daemon());
        let tsls = config.iter().flat_map(|config| &config.tsls);
        for tsl in tsls.filter(|tsl| tsl.url.is_here()) {
            for address in tsl.addresses.locals() {
                findings.push(match check_local(address) {
                    Ok(()) => Finding::good("address", format!("{address} is of this host")),
                    Err(error) => Finding::bad(
                        "address",
                        error.to_string(),
                        format!("ip address add {address}/32 dev lo # or correct the file"),
                    ),
                });
            }
            let ports = tsl.owned_ports();
            match Ephemeral::read() {
                Ok(ephemeral) => findings.push(doctor::ports(&ephemeral, &ports)),
                Err(error) => findings.push(unknown("ports", &error.to_string())),
            }
            let taker = match tsl.url {
                TslUrl::Userspace => Taker::Socket,
                _ => Taker::Module,
            };
            findings.extend(firewall(taker, &ports));
            findings.push(doctor::reverse_path(taker, &filters()));
        }
        let cpus = available_parallelism().map_or(1, usize::from);
        let devices = devices();
        findings.extend(devices.iter().map(|device| doctor::queues(device, cpus)));
        findings.extend(devices.iter().map(|device| offloads(&device.name)));
        if let Ok(clock) = fs::read_to_string(CLOCK) {
            findings.push(doctor::clock(clock.trim()));
        }
        findings
    }

    fn daemon(&self) -> Vec<Finding> {
        match self.control.ask(&Request::Status) {
            Ok(Answer::Status { status, .. }) => doctor::daemon(&status),
            Ok(_) => vec![unknown("daemon", "it answered something else")],
            Err(Failure::Because { text, .. }) => vec![Finding::bad(
                "daemon",
                text,
                "systemctl enable --now lrep-cl",
            )],
            Err(Failure::Usage(_)) => Vec::new(),
        }
    }
}

fn module() -> Finding {
    let config = block_on(async { Ok(Kernel::connect().await?.config_get().await?) });
    match config {
        Ok(config) => Finding::good(
            "module",
            format!(
                "lreproxy {}, protocol {}",
                config.module_version, config.protocol_version
            ),
        ),
        Err(Failure::Because { text, code }) => {
            let cure = match code {
                69 => "modprobe lreproxy",
                76 => "rmmod lreproxy && modprobe lreproxy # of the same release; ends calls",
                77 => "sudo lrep-cl doctor",
                _ => "journalctl -k -g lreproxy",
            };
            Finding::bad("module", text, cure)
        }
        Err(Failure::Usage(_)) => unknown("module", "it cannot be asked"),
    }
}

/// What a program of this Debian package prints, or what is found when it prints nothing.
fn said(about: &str, package: &str, program: &str, arguments: &[&str]) -> Result<String, Finding> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    match Command::new(program).args(arguments).output() {
        Ok(output) if output.status.success() => Ok(text(&output.stdout)),
        Ok(output) => Err(unknown(about, &text(&output.stderr))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Finding::advice(
            about,
            format!("not checked: {program} is not installed"),
            format!("apt-get install {package}"),
        )),
        Err(error) => Err(unknown(about, &format!("{program}: {error}"))),
    }
}

fn offloads(device: &str) -> Finding {
    let about = format!("device {device}");
    match said(&about, "ethtool", "ethtool", &["-k", device]) {
        Ok(features) => doctor::offloads(device, &features),
        Err(finding) => finding,
    }
}

fn firewall(taker: Taker, ports: &[RangeInclusive<u16>]) -> Vec<Finding> {
    let listed = said("firewall", "nftables", "nft", &["-j", "list", "ruleset"]);
    let ruleset = listed.and_then(|text| {
        let unreadable = |error: serde_json::Error| unknown("firewall", &error.to_string());
        serde_json::from_str(&text).map_err(unreadable)
    });
    match ruleset {
        Ok(ruleset) => doctor::firewall(&ruleset, taker, ports),
        Err(finding) => vec![finding],
    }
}

/// The reverse path filter of each device: its own or the one for all, whichever is the larger number.
fn filters() -> Vec<(String, u8)> {
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

/// Something that cannot be known.
fn unknown(about: &str, why: &str) -> Finding {
    Finding::advice(
        about,
        format!("not checked: {why}"),
        "lrep-cl doctor # as root",
    )
}

/// The devices that have hardware, or what a hypervisor says is.
fn devices() -> Vec<Device> {
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

fn text(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let Finding {
            about,
            verdict,
            found,
            cure,
        } = finding;
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{:<7} {about}: {found}", verdict.name());
        if let Some(cure) = cure {
            let _ = writeln!(text, "        -> {cure}");
        }
    }
    text
}
