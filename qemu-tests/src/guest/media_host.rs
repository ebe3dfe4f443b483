// SPDX-License-Identifier: MIT OR Apache-2.0

//! Hosts that serve their relay to controllers on other machines.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use lrep_cl::tls::Files;

use super::LREP_CL;
use super::lab::Lab;
use super::netns::Namespace;
use super::process::Process;
use super::shell;
use super::wait::{LIMIT, until};

/// Where such a host serves its table.
const PORT: u16 = 22_334;

/// What the controller's certificate is called.
const CONTROLLER: &str = "sip1";

/// Certificates of a CA of their own.
#[derive(Clone)]
pub struct Certificates(PathBuf);

impl Certificates {
    /// Has some made for hosts, by their addresses, and for a controller.
    pub fn new(hosts: &[(&str, IpAddr)]) -> Result<Self> {
        let directory = PathBuf::from("/tmp/tls");
        // From an earlier run in this guest.
        let _ = fs::remove_dir_all(&directory);
        let made = |arguments: &[&str]| {
            let mut command = Command::new(LREP_CL);
            command.args(["tls", arguments[0]]).arg(&directory);
            shell::run(command.args(&arguments[1..]))
        };
        made(&["init"])?;
        for (name, address) in hosts {
            let address = address.to_string();
            made(&["issue", name, "--role", "host", "--address", &address])?;
        }
        made(&["issue", CONTROLLER, "--role", "controller"])?;
        Ok(Self(directory))
    }

    /// The controller's.
    pub fn controller(&self) -> Files {
        self.files(CONTROLLER)
    }

    fn files(&self, name: &str) -> Files {
        let file = |name: String| self.0.join(name);
        Files {
            certificate: file(format!("{name}.pem")),
            key: file(format!("{name}.key")),
            authorities: file("ca.pem".to_owned()),
        }
    }
}

/// The program that serves the table of a host.
pub struct MediaHost {
    certificates: Certificates,
    name: String,
    address: IpAddr,
    log: PathBuf,
}

impl MediaHost {
    /// A host with one of the certificates.
    pub fn new(
        lab: &Lab,
        certificates: &Certificates,
        name: &str,
        address: IpAddr,
    ) -> Result<Self> {
        Ok(Self {
            certificates: certificates.clone(),
            name: name.to_owned(),
            address,
            log: lab.file(&format!("lrep-tsl-{name}.log")),
        })
    }

    /// Where it serves, as controllers are told.
    pub fn address(&self) -> String {
        format!("{}:{PORT}", self.address)
    }

    /// What a controller shows to it.
    pub fn controller(&self) -> Files {
        self.certificates.controller()
    }

    /// Serves, and waits until it does.
    pub fn start(&self, namespace: &Namespace) -> Result<Process> {
        let files = self.certificates.files(&self.name);
        let mut command = namespace.command(LREP_CL);
        command
            .args(["tsl", "--listen", &self.address()])
            .args(["--allow-name", CONTROLLER, "--log-level", "debug"])
            .args([Path::new("--cert"), &files.certificate])
            .args([Path::new("--key"), &files.key])
            .args([Path::new("--ca"), &files.authorities])
            .env_clear();
        let before = self.said("ready, serving")?;
        let mut host = Process::start("lrep-cl tsl", &mut command, &self.log)?;
        until("lrep-cl tsl being ready", LIMIT, || {
            if let Some(status) = host.ended()? {
                let log = fs::read_to_string(&self.log).unwrap_or_default();
                bail!("lrep-cl tsl ended with {status}: {log}");
            }
            Ok((self.said("ready, serving")? > before).then_some(()))
        })?;
        Ok(host)
    }

    /// How many lines of its log have this in them.
    pub fn said(&self, part: &str) -> Result<usize> {
        if !self.log.exists() {
            return Ok(0);
        }
        let log = fs::read_to_string(&self.log).context("no log")?;
        Ok(log.lines().filter(|line| line.contains(part)).count())
    }
}
