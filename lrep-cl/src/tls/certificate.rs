// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a certificate says.

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use clap::ValueEnum;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;
use x509_parser::time::ASN1Time;

/// What the holder of a certificate may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Serves its kernel's table with `lrep-cl tsl` (extended key usage serverAuth)
    Host,
    /// Works with the tables of hosts (extended key usage clientAuth)
    Controller,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "host",
            Self::Controller => "controller",
        })
    }
}

/// A certificate's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The DNS names it is for, or else its common name.
    pub names: Vec<String>,
    /// The addresses it is for.
    pub addresses: Vec<IpAddr>,
    /// What its holder may be; nothing for an authority.
    pub roles: Vec<Role>,
    /// Whether it may issue others.
    pub authority: bool,
    /// From when it is valid.
    pub not_before: SystemTime,
    /// Until when.
    pub not_after: SystemTime,
}

impl Certificate {
    /// Reads the first certificate of a PEM file's text; `None` when there is none that can be
    /// read.
    pub fn from_pem(pem: &str) -> Option<Self> {
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
        Self::from_der(&der)
    }

    /// Reads a certificate; `None` when it cannot be.
    pub fn from_der(der: &[u8]) -> Option<Self> {
        let (_, certificate) = parse_x509_certificate(der).ok()?;
        let (mut names, addresses) = alternative_names(&certificate)?;
        if names.is_empty() {
            let subject = certificate.subject();
            names.extend(
                subject
                    .iter_common_name()
                    .filter_map(|name| name.as_str().ok().map(str::to_owned)),
            );
        }
        let usage = certificate.extended_key_usage().ok()?;
        let mut roles = Vec::new();
        if let Some(usage) = usage {
            roles.extend(usage.value.server_auth.then_some(Role::Host));
            roles.extend(usage.value.client_auth.then_some(Role::Controller));
        }
        Some(Self {
            names,
            addresses,
            roles,
            authority: certificate.is_ca(),
            not_before: time(certificate.validity().not_before)?,
            not_after: time(certificate.validity().not_after)?,
        })
    }

    /// The name it is called by.
    pub fn name(&self) -> &str {
        self.names.first().map_or("(no name)", String::as_str)
    }

    /// How long it is still valid; `None` when it has expired.
    pub fn left(&self, now: SystemTime) -> Option<Duration> {
        self.not_after.duration_since(now).ok()
    }
}

fn alternative_names(certificate: &X509Certificate<'_>) -> Option<(Vec<String>, Vec<IpAddr>)> {
    let (mut names, mut addresses) = (Vec::new(), Vec::new());
    let alternative = certificate.subject_alternative_name().ok()?;
    for name in alternative
        .iter()
        .flat_map(|extension| &extension.value.general_names)
    {
        match name {
            GeneralName::DNSName(name) => names.push((*name).to_owned()),
            GeneralName::IPAddress(bytes) => addresses.extend(address(bytes)),
            _ => {}
        }
    }
    Some((names, addresses))
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(bytes) = <[u8; 4]>::try_from(bytes) {
        return Some(bytes.into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}

fn time(time: ASN1Time) -> Option<SystemTime> {
    let since_epoch = u64::try_from(time.timestamp()).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(since_epoch))
}
