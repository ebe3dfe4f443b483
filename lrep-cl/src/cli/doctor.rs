// SPDX-License-Identifier: MIT OR Apache-2.0

//! `lrep-cl doctor`: what may be wrong with this host.

mod host;

use std::fmt::Write;
use std::path::PathBuf;
use std::thread::available_parallelism;
use std::time::Instant;

use clap::Args;
use serde_json::json;

use super::block_on;
use super::control::Control;
use super::exit::Failure;
use super::sessions::LOCAL;
use crate::config::{self, Config, DEFAULT_FILE, TslConfig, TslUrl};
use crate::core::status::{Status, TslHealth, TslStatus};
use crate::doctor::kernels::{self, Kernel as Installed};
use crate::doctor::{self, Finding, Taker, Verdict, device, ports};
use crate::ephemeral::Ephemeral;
use crate::operator::{Answer, Request};
use crate::server::check_local;
use crate::tsl::kernel::Kernel;
use crate::tsl::{SessionState, Tsl};

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
        let checked = config::check(&self.config);
        let mut findings = vec![doctor::configuration(&self.config, checked.as_ref().err())];
        let config = checked.ok();
        let is_local = |config: &Config| config.tsls.iter().any(|tsl| tsl.url == TslUrl::Local);
        let needs_module = config.as_ref().is_none_or(is_local);
        if needs_module {
            let (running, installed) = host::kernels();
            let is_running = |kernel: &&Installed| kernel.release == running;
            findings.push(module(installed.iter().find(is_running)));
            findings.push(kernels::updates(&running, &installed));
        }
        let asked = Instant::now();
        let daemon = self.daemon();
        match &daemon {
            Ok((process, status)) => {
                findings.extend(doctor::daemon::status(status, &self.config));
                if needs_module {
                    findings.push(doctor::daemon::capabilities(
                        *process,
                        &host::process(*process),
                    ));
                    let owner = config.as_ref().map(|config| config.owner);
                    findings.extend(owner.and_then(|owner| orphans(status, owner, asked)));
                }
            }
            Err(finding) => {
                findings.push(finding.clone());
                if needs_module {
                    let own = host::process(std::process::id());
                    findings.extend(doctor::daemon::own_capabilities(&own));
                }
            }
        }
        let process = daemon.ok().map(|(process, _)| process);
        let tsls = config.iter().flat_map(|config| &config.tsls);
        for tsl in tsls.filter(|tsl| tsl.url.is_here()) {
            findings.extend(relay(tsl, process));
        }
        let cpus = available_parallelism().map_or(1, usize::from);
        let devices = host::devices();
        findings.extend(devices.iter().map(|device| device::queues(device, cpus)));
        findings.extend(devices.iter().map(|device| host::offloads(&device.name)));
        findings.extend(host::clock_source());
        findings.push(host::time());
        findings
    }

    /// The running daemon's process, and what it says of itself; or why it does not.
    fn daemon(&self) -> Result<(u32, Status), Finding> {
        let unknown = |why| Finding::unknown("daemon", why, "lrep-cl status");
        match self.control.ask(&Request::Status) {
            Ok(Answer::Status { pid, status, .. }) => Ok((pid, status)),
            Ok(_) => Err(unknown("it answered something else".to_owned())),
            Err(failure) if failure.is_permission() => Err(unknown(failure.to_string())),
            Err(failure) => Err(Finding::bad(
                "daemon",
                failure.to_string(),
                "systemctl enable --now lrep-cl",
            )),
        }
    }
}

fn module(running: Option<&Installed>) -> Finding {
    let answer = block_on(async {
        let asked = async { Kernel::connect().await?.config_get().await };
        Ok(asked.await)
    });
    match answer {
        Ok(answer) => doctor::module(&answer, running),
        Err(failure) => Finding::unknown("module", failure, "lrep-cl doctor"),
    }
}

/// Sessions in the kernel that the daemon, which was asked before, does not know.
fn orphans(status: &Status, owner: u32, asked: Instant) -> Option<Finding> {
    // While it is being read, its sessions are not known yet.
    let is_read = |tsl: &&TslStatus| tsl.name == LOCAL && tsl.health == TslHealth::Ready;
    let local = status.tsls.iter().find(is_read)?;
    let dumped = block_on(async { Ok(Kernel::connect().await?.session_dump().await?) });
    // What keeps it from being read was told of the module.
    let sessions: Vec<SessionState> = dumped.ok()?;
    let own = sessions.iter().filter(|session| session.owner == owner);
    let ages: Vec<_> = own.map(|session| session.age_ms).collect();
    let since = u64::try_from(asked.elapsed().as_millis()).unwrap_or(u64::MAX);
    doctor::daemon::orphans(local.sessions, &ages, since)
}

/// What concerns the relay that a TSL of this host is.
fn relay(tsl: &TslConfig, daemon: Option<u32>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for address in tsl.addresses.locals() {
        let problem = check_local(address).err().map(|error| error.to_string());
        findings.push(doctor::address(address, problem.as_deref()));
    }
    let ports = tsl.owned_ports();
    findings.push(match Ephemeral::read() {
        Ok(ephemeral) => ports::given(&ephemeral, &ports),
        Err(error) => Finding::unknown("ports", error, "sysctl net.ipv4.ip_local_reserved_ports"),
    });
    let taker = match tsl.url {
        TslUrl::Userspace => Taker::Socket,
        _ => Taker::Module,
    };
    findings.extend(host::squatters(tsl, taker, &ports, daemon));
    findings.extend(host::nft(taker, &ports));
    findings.extend(host::legacy(taker, &ports));
    findings.push(doctor::reverse_path(taker, &host::filters()));
    findings
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
