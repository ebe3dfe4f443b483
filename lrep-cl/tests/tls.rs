// SPDX-License-Identifier: MIT OR Apache-2.0

//! The certificates in a directory, and identities made of them.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use lrep_cl::tls::{Certificate, Directory, Files, Identity, IdentityError, Role, Subject};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn subject(name: &str, role: Role) -> Subject {
    Subject {
        role,
        names: vec![name.to_owned()],
        addresses: vec![],
    }
}

fn mode(path: &Path) -> u32 {
    let data = fs::metadata(path).expect("is there");
    data.permissions().mode() & 0o777
}

fn files(directory: &Path, name: &str) -> Files {
    Files {
        certificate: directory.join(format!("{name}.pem")),
        key: directory.join(format!("{name}.key")),
        authorities: directory.join("ca.pem"),
    }
}

fn copy(from: &Files, to: &Files) {
    fs::copy(&from.certificate, &to.certificate).expect("copied");
    fs::copy(&from.key, &to.key).expect("copied");
    fs::copy(&from.authorities, &to.authorities).expect("copied");
}

#[test]
fn keys_can_be_read_by_their_owner_alone() {
    let base = tempfile::tempdir().expect("a directory");
    let path = base.path().join("tls");
    let now = SystemTime::now();
    let directory = Directory::init(&path, now, 10 * DAY).expect("made");
    let host = directory
        .issue(&subject("media1", Role::Host), now, DAY)
        .expect("issued");
    assert_eq!(mode(&path), 0o700);
    assert_eq!(mode(&path.join("ca.key")), 0o600);
    assert_eq!(mode(&host.key()), 0o600);
    fs::set_permissions(host.key(), fs::Permissions::from_mode(0o644)).expect("changed");
    directory.renew("media1", now, DAY).expect("renewed");
    assert_eq!(mode(&host.key()), 0o600);
}

#[test]
fn nothing_is_overwritten_but_by_renewal() {
    let path = tempfile::tempdir().expect("a directory");
    let now = SystemTime::now();
    let directory = Directory::init(path.path(), now, 10 * DAY).expect("made");
    let again = Directory::init(path.path(), now, DAY)
        .err()
        .expect("is there");
    assert!(
        again.to_string().contains("directory of its own"),
        "{again}"
    );
    let host = subject("media1", Role::Host);
    directory.issue(&host, now, DAY).expect("issued");
    let again = directory.issue(&host, now, DAY).expect_err("is there");
    assert!(again.to_string().contains("lrep-cl tls renew"), "{again}");
    directory
        .issue(&subject("ca", Role::Host), now, DAY)
        .expect_err("is the authority's");
    let none = directory
        .renew("media2", now, DAY)
        .expect_err("is not there");
    assert!(none.to_string().contains("lrep-cl tls issue"), "{none}");
    directory.renew("ca", now, DAY).expect_err("no subject");
}

#[test]
fn a_name_that_no_host_can_have_makes_no_file() {
    let base = tempfile::tempdir().expect("a directory");
    let path = base.path().join("tls");
    let now = SystemTime::now();
    let directory = Directory::init(&path, now, 10 * DAY).expect("made");
    for name in ["../media1", "", "media 1", "media1/x", ".", "média"] {
        let error = directory
            .issue(&subject(name, Role::Host), now, DAY)
            .expect_err(name);
        assert!(error.to_string().contains("no name"), "{error}");
    }
    assert_eq!(Directory::list(&path).expect("listed").len(), 1);
    assert_eq!(fs::read_dir(base.path()).expect("listed").count(), 1);
}

#[test]
fn a_renewed_certificate_is_for_the_same_with_another_key() {
    let path = tempfile::tempdir().expect("a directory");
    let now = SystemTime::now();
    let directory = Directory::init(path.path(), now, 100 * DAY).expect("made");
    let host = Subject {
        role: Role::Host,
        names: vec!["media1.example.org".to_owned(), "media1".to_owned()],
        addresses: vec![
            IpAddr::from([192, 0, 2, 1]),
            "2001:db8::1".parse().expect("valid"),
        ],
    };
    let old = directory.issue(&host, now, DAY).expect("issued");
    assert_eq!(old.certificate.names, host.names);
    assert_eq!(old.certificate.addresses, host.addresses);
    assert_eq!(old.certificate.roles, [Role::Host]);
    let key = fs::read(old.key()).expect("a key");
    let new = directory
        .renew("media1.example.org", now, 50 * DAY)
        .expect("renewed");
    assert_eq!(
        Certificate {
            not_after: old.certificate.not_after,
            ..new.certificate.clone()
        },
        old.certificate
    );
    assert!(new.certificate.not_after > old.certificate.not_after);
    assert_ne!(fs::read(new.key()).expect("a key"), key);
}

#[test]
fn no_certificate_outlives_its_authority() {
    let path = tempfile::tempdir().expect("a directory");
    let now = SystemTime::now();
    let directory = Directory::init(path.path(), now, 10 * DAY).expect("made");
    let host = subject("media1", Role::Host);
    let issued = directory.issue(&host, now, 365 * DAY).expect("issued");
    let left = issued.certificate.left(now).expect("valid");
    assert!(left <= 10 * DAY && left > 9 * DAY, "{left:?}");
    assert_eq!(issued.certificate.left(now + 11 * DAY), None);
    let late = directory
        .renew("media1", now + 11 * DAY, DAY)
        .expect_err("expired");
    assert!(late.to_string().contains("make a new CA"), "{late}");
}

#[test]
fn the_authority_is_listed_first_then_by_name() {
    let path = tempfile::tempdir().expect("a directory");
    let now = SystemTime::now();
    let directory = Directory::init(path.path(), now, 10 * DAY).expect("made");
    for (name, role) in [("sip1", Role::Controller), ("a.media", Role::Host)] {
        directory
            .issue(&subject(name, role), now, DAY)
            .expect("issued");
    }
    let listed = Directory::list(path.path()).expect("listed");
    let names: Vec<_> = listed.iter().map(|issued| issued.file_name()).collect();
    assert_eq!(names, ["ca", "a.media", "sip1"]);
    assert!(listed[0].certificate.authority && !listed[1].certificate.authority);
    assert_eq!(listed[2].certificate.roles, [Role::Controller]);
}

#[test]
fn an_identity_follows_its_files() {
    let path = tempfile::tempdir().expect("a directory");
    let now = SystemTime::now();
    let directory = Directory::init(path.path(), now, 100 * DAY).expect("made");
    let host = subject("media1", Role::Host);
    let old = directory
        .issue(&host, now, DAY)
        .expect("issued")
        .certificate;
    let identity = Identity::load(files(path.path(), "media1")).expect("an identity");
    assert_eq!(identity.current().certificate, old);
    let new = directory.renew("media1", now, 50 * DAY).expect("renewed");
    assert_eq!(identity.current().certificate, new.certificate);
}

#[test]
fn while_files_hold_nothing_useful_the_old_identity_stays() {
    let path = tempfile::tempdir().expect("a directory");
    let now = SystemTime::now();
    let directory = Directory::init(path.path(), now, 100 * DAY).expect("made");
    let (mine, other) = (subject("media1", Role::Host), subject("media2", Role::Host));
    let old = directory
        .issue(&mine, now, DAY)
        .expect("issued")
        .certificate;
    directory.issue(&other, now, 2 * DAY).expect("issued");
    let used = path.path().join("used");
    fs::create_dir(&used).expect("made");
    let (mine, other) = (files(path.path(), "media1"), files(path.path(), "media2"));
    let used = files(&used, "host");
    copy(&mine, &used);
    let identity = Identity::load(used.clone()).expect("an identity");
    // Half of a renewal: the key is new, the certificate old.
    fs::copy(&other.key, &used.key).expect("copied");
    assert_eq!(identity.current().certificate, old);
    fs::remove_file(&used.certificate).expect("removed");
    assert_eq!(identity.current().certificate, old);
    fs::write(&used.certificate, "nothing").expect("written");
    assert_eq!(identity.current().certificate, old);
    fs::copy(&other.certificate, &used.certificate).expect("copied");
    assert_eq!(identity.current().certificate.name(), "media2");
}

#[test]
fn files_that_make_no_identity_are_named() {
    let path = tempfile::tempdir().expect("a directory");
    let now = SystemTime::now();
    let directory = Directory::init(path.path(), now, 100 * DAY).expect("made");
    for name in ["media1", "media2"] {
        directory
            .issue(&subject(name, Role::Host), now, DAY)
            .expect("issued");
    }
    let good = files(path.path(), "media1");
    let refused = |change: &dyn Fn(&mut Files)| -> IdentityError {
        let mut files = good.clone();
        change(&mut files);
        Identity::load(files).expect_err("bad files")
    };
    let other = files(path.path(), "media2");
    for (change, part) in [
        (
            &(|files: &mut Files| files.key = other.key.clone()) as &dyn Fn(&mut Files),
            "cannot be used together",
        ),
        (
            &|files| files.key = good.certificate.clone(),
            "no private key",
        ),
        (
            &|files| files.certificate = good.key.clone(),
            "no certificate",
        ),
        (
            &|files| files.authorities = good.key.clone(),
            "no certificate",
        ),
        (
            &|files| files.key = path.path().join("gone.key"),
            "gone.key",
        ),
    ] {
        let error = refused(change).to_string();
        assert!(error.contains(part), "{error}");
        assert!(
            error.contains(path.path().to_str().expect("text")),
            "{error}"
        );
    }
}
