// SPDX-License-Identifier: MIT OR Apache-2.0

//! Why host and controller do not come together, in words, and what to do about it.
//!
//! Who refuses the other tells it no more than an alert (RFC 8446 section 6.2). The words for both
//! sides stand here next to each other.

use rustls::{AlertDescription, CertificateError, Error};

/// Why the controller could not work with the host, to the controller.
pub fn seen_by_controller(error: &Error) -> String {
    let text = match error {
        Error::AlertReceived(alert) => match alert {
            AlertDescription::CertificateRequired => {
                "the host lets nobody in without a certificate: give this controller one of the \
                 host's CA"
            }
            AlertDescription::UnknownCA | AlertDescription::DecryptError => {
                "the host does not trust the CA of this controller's certificate: both need \
                 certificates of the same CA, or must trust each other's (--ca)"
            }
            AlertDescription::CertificateExpired => {
                "to the host, this controller's certificate has expired or is not valid yet: \
                 renew it with `lrep-cl tls renew`, and compare the clocks of both"
            }
            AlertDescription::UnsupportedCertificate => {
                "this controller's certificate is not one for controllers: make one with \
                 `lrep-cl tls issue --role controller`"
            }
            AlertDescription::AccessDenied => {
                "the host does not let in the name of this controller's certificate: name it in \
                 --allow-name of `lrep-cl tsl` there"
            }
            AlertDescription::NoApplicationProtocol => {
                "the host serves something else there: compare its port with --listen of \
                 `lrep-cl tsl`"
            }
            alert => return format!("the host refused the connection: {alert:?}"),
        },
        Error::InvalidCertificate(fault) => match fault {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "the host's certificate is not of the CA that is trusted here: both need \
                 certificates of the same CA, or must trust each other's (--ca)"
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "the host's certificate has expired: renew it with `lrep-cl tls renew`, and \
                 compare the clocks of both"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "the host's certificate is not valid yet: compare the clocks of both"
            }
            CertificateError::NotValidForNameContext {
                expected,
                presented,
            } => {
                let expected = expected.to_str();
                return format!(
                    "the host's certificate is for {}, not for {expected}: call the host by one of \
                     those, or make one with `lrep-cl tls issue --role host --address {expected}`",
                    names(presented)
                );
            }
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                "the host's certificate is not one for hosts: make one with `lrep-cl tls issue \
                 --role host`"
            }
            fault => return format!("the host's certificate cannot be trusted: {fault}"),
        },
        Error::InvalidMessage(_) => "the host does not speak TLS there",
        error => return format!("no encrypted connection: {error}"),
    };
    text.to_owned()
}

/// Why the host did not let the controller in, to the host.
pub fn seen_by_host(error: &Error) -> String {
    let text = match error {
        Error::NoCertificatesPresented => "it has no certificate",
        Error::AlertReceived(alert) => match alert {
            AlertDescription::UnknownCA | AlertDescription::DecryptError => {
                "it does not trust the CA of this host's certificate"
            }
            AlertDescription::CertificateExpired => {
                "to it, this host's certificate has expired or is not valid yet: renew it with \
                 `lrep-cl tls renew`, and compare the clocks of both"
            }
            AlertDescription::BadCertificate => {
                "it calls this host by a name or address that this host's certificate is not for"
            }
            AlertDescription::UnsupportedCertificate => {
                "this host's certificate is not one for hosts: make one with `lrep-cl tls issue \
                 --role host`"
            }
            alert => return format!("it refused the connection: {alert:?}"),
        },
        Error::InvalidCertificate(fault) => match fault {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "its certificate is not of the CA that is trusted here"
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "its certificate has expired"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "its certificate is not valid yet: compare the clocks of both"
            }
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                "its certificate is not one for controllers"
            }
            CertificateError::ApplicationVerificationFailure => {
                "the name of its certificate is not in --allow-name"
            }
            fault => return format!("its certificate cannot be trusted: {fault}"),
        },
        Error::InvalidMessage(_) => "it does not speak TLS",
        error => return format!("no encrypted connection: {error}"),
    };
    text.to_owned()
}

/// The names a certificate is for, as rustls tells them: `DnsName("media1")`.
fn names(presented: &[String]) -> String {
    let plain = |name: &String| match name.split_once('(') {
        Some((_, inner)) => inner.trim_matches([')', '"', '\\']).to_owned(),
        None => name.clone(),
    };
    match presented {
        [] => "no name".to_owned(),
        names => names.iter().map(plain).collect::<Vec<_>>().join(", "),
    }
}
