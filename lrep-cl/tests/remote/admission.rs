// SPDX-License-Identifier: MIT OR Apache-2.0

//! Who may work with whom.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use lrep_cl::tls::{Identity, Role, seen_by_controller};
use lrep_cl::tsl::Tsl;
use lrep_cl::tsl::remote::Remote;
use lrep_cl::tsl::serve::{ListenError, Listener, serve};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::{Certificates, DAY, Host, controller, new_session, options, refused, says};
use crate::common::Memory;

#[tokio::test]
async fn a_host_lets_in_controllers_of_its_authority_alone() {
    let (certificates, others) = (Certificates::new(), Certificates::new());
    let memory = Memory::new();
    let host = Host::start(Arc::clone(&memory), certificates.guard("media1", &[])).await;

    // Its controller trusts the host, but not the other way round.
    let mut files = others.files("sip1");
    files.authorities = certificates.files("sip1").authorities;
    let stranger = Some(Arc::new(Identity::load(files).expect("an identity")));
    let text = refused(&controller("localhost", &host, stranger)).await;
    says(
        &text,
        &["does not trust the CA of this controller", "same CA"],
    );

    let past = SystemTime::now() - 3 * DAY;
    certificates.issue("sip2", Role::Controller, past);
    let expired = certificates.identity("sip2");
    let text = refused(&controller("localhost", &host, expired)).await;
    says(
        &text,
        &["controller's certificate has expired", "tls renew"],
    );

    certificates.issue("media2", Role::Host, SystemTime::now());
    let no_controller = certificates.identity("media2");
    let text = refused(&controller("localhost", &host, no_controller)).await;
    says(&text, &["not one for controllers", "--role controller"]);

    // Without encryption nothing is understood.
    refused(&controller("localhost", &host, None)).await;

    let good = controller("localhost", &host, certificates.identity("sip1"));
    good.config_get().await.expect("let in");
    assert_eq!(memory.subscriptions.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn who_shows_no_certificate_is_told_that_one_is_needed() {
    let certificates = Certificates::new();
    let host = Host::start(Memory::new(), certificates.guard("media1", &[])).await;
    let mut config = certificates
        .identity("sip1")
        .expect("an identity")
        .current()
        .for_controller()
        .expect("a configuration");
    config.client_auth_cert_resolver = Arc::new(NoCertificate);
    let name = "localhost".try_into().expect("a name");
    let stream = TcpStream::connect(host.at).await.expect("connects");
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect(name, stream).await.expect("half of it");
    let error = stream.read(&mut [0]).await.expect_err("refused");
    let error = error.get_ref().and_then(|error| error.downcast_ref());
    let text = seen_by_controller(error.expect("an alert"));
    says(
        &text,
        &["without a certificate", "give this controller one"],
    );
}

/// Shows nothing.
#[derive(Debug)]
struct NoCertificate;

impl rustls::client::ResolvesClientCert for NoCertificate {
    fn resolve(
        &self,
        _: &[&[u8]],
        _: &[rustls::SignatureScheme],
    ) -> Option<Arc<rustls::sign::CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

#[tokio::test]
async fn a_host_lets_in_the_names_it_was_told() {
    let certificates = Certificates::new();
    certificates.issue("sip2", Role::Controller, SystemTime::now());
    let guard = certificates.guard("media1", &["sip3", "SIP2"]);
    let host = Host::start(Memory::new(), guard).await;
    let text = refused(&controller(
        "localhost",
        &host,
        certificates.identity("sip1"),
    ))
    .await;
    says(&text, &["does not let in the name", "--allow-name"]);
    let named = controller("localhost", &host, certificates.identity("sip2"));
    named.config_get().await.expect("let in");
}

#[tokio::test]
async fn a_controller_works_with_hosts_of_its_authority_and_of_the_right_name_alone() {
    let (certificates, others) = (Certificates::new(), Certificates::new());
    let sip1 = || certificates.identity("sip1");

    let host = Host::start(Memory::new(), others.guard("media1", &[])).await;
    let text = refused(&controller("localhost", &host, sip1())).await;
    says(&text, &["host's certificate is not of the CA", "same CA"]);

    let past = SystemTime::now() - 3 * DAY;
    certificates.issue("media2", Role::Host, past);
    let host = Host::start(Memory::new(), certificates.guard("media2", &[])).await;
    let text = refused(&controller("localhost", &host, sip1())).await;
    says(&text, &["host's certificate has expired", "tls renew"]);

    let host = Host::start(Memory::new(), certificates.guard("sip1", &[])).await;
    let text = refused(&controller("localhost", &host, sip1())).await;
    says(&text, &["localhost"]);

    // An address of this host that its certificate does not have.
    let guard = certificates.guard("media1", &[]);
    let host = Host::start_at("127.0.0.2:0", Memory::new(), guard).await;
    let text = refused(&controller("127.0.0.2", &host, sip1())).await;
    says(
        &text,
        &[
            "is for media1, localhost, 127.0.0.1, not for 127.0.0.2",
            "--address 127.0.0.2",
        ],
    );

    let host = Host::start(Memory::new(), None).await;
    let text = refused(&controller("localhost", &host, sip1())).await;
    says(&text, &["does not speak TLS"]);
}

#[tokio::test]
async fn nothing_is_served_or_said_without_encryption_beyond_this_host() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:22334"] {
        let address = address.parse().expect("an address");
        let error = Listener::bind(address, None).await.expect_err("refused");
        assert!(matches!(error, ListenError::Open(_)), "{error}");
        says(&error.to_string(), &["--cert, --key and --ca", "127.0.0.1"]);
    }
    let remote = Remote::new(options("192.0.2.1:22334", None));
    says(&refused(&remote).await, &["over TLS only", "a certificate"]);
}

#[tokio::test]
async fn a_unix_socket_serves_its_user_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("tsl.sock");
    let address = format!("unix:{}", path.display());
    let memory = Memory::new();
    let listener = Listener::bind(address.parse().expect("valid"), None);
    let listener = listener.await.expect("listens");
    let mode = |path: &Path| path.metadata().expect("is there").permissions().mode();
    assert_eq!(mode(&path) & 0o777, 0o600);
    let stop = CancellationToken::new();
    let task = tokio::spawn(serve(Arc::clone(&memory), listener, stop.clone()));
    let remote = Remote::connect(options(&address, None))
        .await
        .expect("there");
    remote.session_new(new_session(20000)).await.expect("made");
    assert_eq!(memory.table.lock().len(), 1);
    stop.cancel();
    task.await.expect("ends").expect("well");
    assert!(!path.exists());
    let certificates = Certificates::new();
    let guard = certificates.guard("media1", &[]);
    let error = Listener::bind(address.parse().expect("valid"), guard).await;
    says(
        &error.expect_err("refused").to_string(),
        &["no certificates"],
    );
}

#[tokio::test]
async fn new_certificates_are_used_without_a_restart() {
    let (old, new) = (Certificates::new(), Certificates::new());
    let host = Host::start(Memory::new(), old.guard("media1", &[])).await;
    let before = controller("localhost", &host, old.identity("sip1"));
    before.config_get().await.expect("let in");

    // Everything is replaced, the authority too.
    let (from, to) = (new.files("media1"), old.files("media1"));
    std::fs::copy(&from.authorities, &to.authorities).expect("copied");
    std::fs::copy(&from.key, &to.key).expect("copied");
    std::fs::copy(&from.certificate, &to.certificate).expect("copied");

    let after = controller("localhost", &host, new.identity("sip1"));
    after.config_get().await.expect("let in");
    before
        .config_get()
        .await
        .expect("what is connected goes on");

    // A controller follows its files, too.
    let (from, to) = (new.files("sip1"), old.files("sip1"));
    let follower = controller("localhost", &host, old.identity("sip1"));
    refused(&follower).await;
    std::fs::copy(&from.key, &to.key).expect("copied");
    std::fs::copy(&from.certificate, &to.certificate).expect("copied");
    follower.config_get().await.expect("let in");
}
