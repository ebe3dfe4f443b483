// SPDX-License-Identifier: MIT OR Apache-2.0

//! Makes certificates: values in, PEM texts out.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::pki_types::DnsName;

use super::certificate::{Certificate, Role};

/// How much earlier than now certificates are valid, for clocks that are behind.
const EARLIER: Duration = Duration::from_secs(3600);

/// Why a certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A name that no host can have.
    #[error("`{0}` is no name for a certificate: letters, digits, dots and hyphens make one")]
    Name(String),
    /// The authority has expired.
    #[error(
        "the CA's certificate has expired: make a new CA with `lrep-cl tls init` in another \
         directory, and let hosts and controllers trust both until all have new certificates"
    )]
    Expired,
    /// What should be the authority is none.
    #[error("that is not the certificate of a CA")]
    NoAuthority,
    /// Something that should not have happened.
    #[error("cannot make the certificate: {0}")]
    Made(#[from] rcgen::Error),
}

/// A certificate and its key, as the texts of two PEM files.
#[derive(Clone)]
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// The private key.
    pub key: String,
}

/// Whom a certificate is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// What the holder may be.
    pub role: Role,
    /// Its DNS names, at least one: what controllers call a host, or how hosts know a controller.
    pub names: Vec<String>,
    /// Addresses that controllers call a host by.
    pub addresses: Vec<IpAddr>,
}

/// An authority that can issue certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    not_after: SystemTime,
}

impl Authority {
    /// Makes an authority, valid from now for so long.
    ///
    /// # Errors
    ///
    /// Only when there is no randomness.
    pub fn create(now: SystemTime, valid: Duration) -> Result<Pair, AuthorityError> {
        let key = KeyPair::generate()?;
        let mut params = params(now, now + valid);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        // Each authority has a name of its own, or else two would be mistaken for one another.
        let identifier = params.key_identifier(&key);
        let id = identifier
            .iter()
            .take(4)
            .fold(0_u32, |id, byte| (id << 8) | u32::from(*byte));
        params
            .distinguished_name
            .push(DnType::CommonName, format!("lreproxy CA {id:08x}"));
        let certificate = params.self_signed(&key)?;
        Ok(Pair {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }

    /// Takes up an authority that exists.
    ///
    /// # Errors
    ///
    /// [`AuthorityError::NoAuthority`], or when certificate or key cannot be read.
    pub fn load(pair: &Pair) -> Result<Self, AuthorityError> {
        let certificate = Certificate::from_pem(&pair.certificate)
            .filter(|certificate| certificate.authority)
            .ok_or(AuthorityError::NoAuthority)?;
        let key = KeyPair::from_pem(&pair.key)?;
        Ok(Self {
            issuer: Issuer::from_ca_cert_pem(&pair.certificate, key)?,
            not_after: certificate.not_after,
        })
    }

    /// Issues a certificate with a new key, valid from now for so long, but no longer than the
    /// authority itself.
    ///
    /// # Errors
    ///
    /// [`AuthorityError::Name`] or [`AuthorityError::Expired`].
    pub fn issue(
        &self,
        subject: &Subject,
        now: SystemTime,
        valid: Duration,
    ) -> Result<Pair, AuthorityError> {
        if self.not_after <= now {
            return Err(AuthorityError::Expired);
        }
        let key = KeyPair::generate()?;
        let mut params = params(now, self.not_after.min(now + valid));
        for name in &subject.names {
            DnsName::try_from(name.as_str()).map_err(|_| AuthorityError::Name(name.clone()))?;
            let name = SanType::DnsName(name.as_str().try_into()?);
            params.subject_alt_names.push(name);
        }
        let addresses = subject.addresses.iter().copied().map(SanType::IpAddress);
        params.subject_alt_names.extend(addresses);
        if let Some(name) = subject.names.first() {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![match subject.role {
            Role::Host => ExtendedKeyUsagePurpose::ServerAuth,
            Role::Controller => ExtendedKeyUsagePurpose::ClientAuth,
        }];
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Pair {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }
}

/// Without a name yet.
fn params(now: SystemTime, not_after: SystemTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.not_before = (now - EARLIER).into();
    params.not_after = not_after.into();
    params
}
