// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a process shows, and whom it trusts.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use rustls::client::Resumption;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, RootCertStore,
    ServerConfig, SignatureScheme,
};
use tracing::{info, warn};

use super::certificate::Certificate;

/// HTTP/2, as gRPC has it (RFC 9113 section 3.2).
const PROTOCOL: &[u8] = b"h2";

/// A certificate that is valid for less than this should have been renewed.
const RENEWED_BEFORE: Duration = Duration::from_secs(14 * 24 * 3600);

/// The files of an identity, in PEM format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// Its certificate, followed by those between it and the authority, if any.
    pub certificate: PathBuf,
    /// The private key of the certificate.
    pub key: PathBuf,
    /// The certificates of the authorities that are trusted.
    pub authorities: PathBuf,
}

/// Why files make no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file cannot be read.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// No certificate in a file.
    #[error("{}: holds no certificate in PEM format", .0.display())]
    NoCertificate(PathBuf),
    /// No key in a file.
    #[error("{}: holds no private key in PEM format", .0.display())]
    NoKey(PathBuf),
    /// Certificate and key do not belong together, or cannot be used.
    #[error("{} and {} cannot be used together: {error}", certificate.display(), key.display())]
    Pair {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
        /// What is wrong.
        error: rustls::Error,
    },
}

/// What an identity's files held when they were read.
#[derive(Debug)]
pub struct Material {
    provider: Arc<CryptoProvider>,
    shown: Arc<SingleCertAndKey>,
    authorities: Arc<RootCertStore>,
    /// The certificate that is shown.
    pub certificate: Certificate,
}

/// What a process shows and whom it trusts. When its files change, connections made from then on
/// use the new ones.
#[derive(Debug)]
pub struct Identity {
    files: Files,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// What tells the files from later ones; also of files that could not be used.
    seen: [Option<Stamp>; 3],
    material: Arc<Material>,
}

/// Tells a file from the one that replaces it: device and inode, size, time of change in seconds
/// and nanoseconds.
type Stamp = (u64, u64, u64, i64, i64);

impl Identity {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// Names the file and what is wrong with it.
    pub fn load(files: Files) -> Result<Self, IdentityError> {
        let seen = files.stamps();
        let material = Arc::new(Material::read(&files)?);
        material.warn_of_expiry(&files);
        let state = Mutex::new(State { seen, material });
        Ok(Self { files, state })
    }

    /// What the files hold now. While they hold nothing that can be used, as between the moments
    /// in which one and the other are replaced, what they held before.
    pub fn current(&self) -> Arc<Material> {
        let mut state = self.state.lock();
        let seen = self.files.stamps();
        if seen != state.seen {
            state.seen = seen;
            match Material::read(&self.files) {
                Ok(material) => {
                    let until = humantime::format_rfc3339_seconds(material.certificate.not_after);
                    info!(%until, "a new certificate is in use");
                    material.warn_of_expiry(&self.files);
                    state.material = Arc::new(material);
                }
                Err(error) => warn!("the new certificate is not used: {error}"),
            }
        }
        Arc::clone(&state.material)
    }
}

impl Files {
    fn stamps(&self) -> [Option<Stamp>; 3] {
        [&self.certificate, &self.key, &self.authorities].map(|path| {
            let data = fs::metadata(path).ok()?;
            Some((
                data.dev(),
                data.ino(),
                data.len(),
                data.ctime(),
                data.ctime_nsec(),
            ))
        })
    }
}

impl Material {
    fn read(files: &Files) -> Result<Self, IdentityError> {
        let provider = Arc::new(ring::default_provider());
        let chain = certificates(&files.certificate)?;
        let certificate = chain
            .first()
            .and_then(|der| Certificate::from_der(der))
            .ok_or_else(|| IdentityError::NoCertificate(files.certificate.clone()))?;
        let key = PrivateKeyDer::from_pem_slice(&contents(&files.key)?)
            .map_err(|_| IdentityError::NoKey(files.key.clone()))?;
        let shown =
            CertifiedKey::from_der(chain, key, &provider).map_err(|error| IdentityError::Pair {
                certificate: files.certificate.clone(),
                key: files.key.clone(),
                error,
            })?;
        let mut authorities = RootCertStore::empty();
        let (added, _) = authorities.add_parsable_certificates(certificates(&files.authorities)?);
        if added == 0 {
            return Err(IdentityError::NoCertificate(files.authorities.clone()));
        }
        Ok(Self {
            provider,
            shown: Arc::new(shown.into()),
            authorities: Arc::new(authorities),
            certificate,
        })
    }

    fn warn_of_expiry(&self, files: &Files) {
        let left = self.certificate.left(SystemTime::now());
        if left.is_none_or(|left| left < RENEWED_BEFORE) {
            warn!(
                "{}: the certificate {} on {}: renew it with `lrep-cl tls renew`",
                files.certificate.display(),
                if left.is_some() { "expires" } else { "expired" },
                humantime::format_rfc3339_seconds(self.certificate.not_after)
            );
        }
    }

    /// How a host meets controllers: they need certificates of the authorities, for controllers,
    /// with one of these names; with any name when none is given.
    ///
    /// # Errors
    ///
    /// None that is known: everything was looked at when it was read.
    pub fn for_host(&self, names: &[String]) -> Result<ServerConfig, rustls::Error> {
        let verifier = WebPkiClientVerifier::builder_with_provider(
            Arc::clone(&self.authorities),
            Arc::clone(&self.provider),
        )
        .build()
        .map_err(|error: VerifierBuilderError| rustls::Error::General(error.to_string()))?;
        let names = names.to_vec();
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(Arc::new(Named { verifier, names }))
            .with_cert_resolver(Arc::<SingleCertAndKey>::clone(&self.shown));
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        // Connections live long: each is looked at anew.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }

    /// How a controller meets hosts: they need certificates of the authorities, for hosts, with the
    /// name or address they were called by.
    ///
    /// # Errors
    ///
    /// As [`Material::for_host`].
    pub fn for_controller(&self) -> Result<ClientConfig, rustls::Error> {
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(Arc::clone(&self.authorities))
            .with_client_cert_resolver(Arc::<SingleCertAndKey>::clone(&self.shown));
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        config.resumption = Resumption::disabled();
        Ok(config)
    }
}

fn contents(path: &Path) -> Result<Vec<u8>, IdentityError> {
    fs::read(path).map_err(|error| IdentityError::File {
        path: path.to_owned(),
        error,
    })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    CertificateDer::pem_slice_iter(&contents(path)?)
        .collect::<Result<Vec<_>, _>>()
        .ok()
        .filter(|found| !found.is_empty())
        .ok_or_else(|| IdentityError::NoCertificate(path.to_owned()))
}

/// Lets controllers in by their names, if names are given.
#[derive(Debug)]
struct Named {
    verifier: Arc<dyn ClientCertVerifier>,
    names: Vec<String>,
}

impl Named {
    fn admits(&self, der: &CertificateDer<'_>) -> bool {
        let admitted = |name: &String| self.names.iter().any(|one| one.eq_ignore_ascii_case(name));
        self.names.is_empty()
            || Certificate::from_der(der)
                .is_some_and(|certificate| certificate.names.iter().any(admitted))
    }
}

impl ClientCertVerifier for Named {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.verifier.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self
            .verifier
            .verify_client_cert(end_entity, intermediates, now)?;
        if self.admits(end_entity) {
            Ok(verified)
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
