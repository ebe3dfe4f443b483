// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whatever another host shows for a certificate, and whatever a file holds for one: the same is
//! read from both forms, and it ends when it says.

use std::time::Duration;

use lrep_cl::tls::Certificate;
use pem::Pem;

/// The bytes of a certificate (DER), or the text of a file (PEM).
pub fn check(bytes: &[u8]) {
    let read = match std::str::from_utf8(bytes) {
        Ok(text) => Certificate::from_pem(text),
        Err(_) => {
            let read = Certificate::from_der(bytes);
            let text = pem::encode(&Pem::new("CERTIFICATE", bytes));
            assert_eq!(Certificate::from_pem(&text), read);
            read
        }
    };
    let Some(certificate) = read else { return };
    let end = certificate.not_after;
    assert_eq!(certificate.left(end), Some(Duration::ZERO));
    assert_eq!(certificate.left(end + Duration::from_secs(1)), None);
    assert!(certificate.names.is_empty() || certificate.name() == certificate.names[0]);
}
