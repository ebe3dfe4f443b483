// SPDX-License-Identifier: MIT OR Apache-2.0

//! Certificates, which hosts and controllers know each other by (TLS 1.3, RFC 8446; RFC 5280).
//!
//! A [`Directory`] holds a certificate authority and what it has issued. An [`Identity`] is what
//! one process shows and whom it trusts; it follows its files when they are replaced.
//!
//! Hosts and controllers have certificates of different kinds ([`Role`]): what is stolen from a
//! host does not let anybody control another one.

mod authority;
mod certificate;
mod directory;
mod identity;
mod refusal;

pub use authority::{Authority, AuthorityError, Pair, Subject};
pub use certificate::{Certificate, Role};
pub use directory::{Directory, DirectoryError, Issued};
pub use identity::{Files, Identity, IdentityError, Material};
pub use refusal::{seen_by_controller, seen_by_host};
