// SPDX-License-Identifier: MIT OR Apache-2.0

//! A layer that is served, and used from elsewhere: real sockets, real certificates.

mod absence;
mod admission;
mod commands;
#[path = "../common/mod.rs"]
mod common;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lrep_cl::tls::{Directory, Files, Identity, Role, Subject};
use lrep_cl::tsl::remote::{Options, Remote};
use lrep_cl::tsl::serve::{Guard, Listener, serve};
use lrep_cl::tsl::{Endpoint, Error, Learning, LearningMode, NewSession, Stream, StreamKind, Tsl};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint as Dial};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A directory with a CA, a host `media1` and a controller `sip1`.
struct Certificates {
    path: tempfile::TempDir,
    directory: Directory,
}

impl Certificates {
    fn new() -> Self {
        let path = tempfile::tempdir().expect("a directory");
        let now = SystemTime::now();
        let directory = Directory::init(path.path(), now, 100 * DAY).expect("made");
        let made = Self { path, directory };
        made.issue("media1", Role::Host, now);
        made.issue("sip1", Role::Controller, now);
        made
    }

    /// A certificate that is valid for a day from `now`; hosts are called `localhost` and
    /// 127.0.0.1, too.
    fn issue(&self, name: &str, role: Role, now: SystemTime) {
        let mut subject = Subject {
            role,
            names: vec![name.to_owned()],
            addresses: vec![],
        };
        if role == Role::Host {
            subject.names.push("localhost".to_owned());
            subject.addresses.push(IpAddr::from([127, 0, 0, 1]));
        }
        self.directory.issue(&subject, now, DAY).expect("issued");
    }

    fn files(&self, name: &str) -> Files {
        let file = |name: String| self.path.path().join(name);
        Files {
            certificate: file(format!("{name}.pem")),
            key: file(format!("{name}.key")),
            authorities: file("ca.pem".to_owned()),
        }
    }

    fn identity(&self, name: &str) -> Option<Arc<Identity>> {
        let identity = Identity::load(self.files(name)).expect("an identity");
        Some(Arc::new(identity))
    }

    fn guard(&self, name: &str, names: &[&str]) -> Option<Guard> {
        Some(Guard {
            identity: self.identity(name).expect("an identity"),
            names: names.iter().map(ToString::to_string).collect(),
        })
    }
}

/// A host that serves a layer.
struct Host {
    at: SocketAddr,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Host {
    async fn start<T: Tsl>(tsl: Arc<T>, guard: Option<Guard>) -> Self {
        Self::start_at("127.0.0.1:0", tsl, guard).await
    }

    async fn start_at<T: Tsl>(address: &str, tsl: Arc<T>, guard: Option<Guard>) -> Self {
        let address = address.parse().expect("an address");
        let listener = Listener::bind(address, guard).await.expect("listens");
        let at = listener.local_address().expect("a port");
        let stop = CancellationToken::new();
        let token = stop.clone();
        let task = tokio::spawn(async move { serve(tsl, listener, token).await.expect("serves") });
        Self { at, stop, task }
    }

    /// Ends it as SIGTERM does.
    async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("ends well");
    }
}

fn options(address: &str, identity: Option<Arc<Identity>>) -> Options {
    Options {
        address: address.parse().expect("an address"),
        identity,
        deadline: PATIENCE,
        keep_alive: PATIENCE,
    }
}

/// A controller that calls a host of this machine by `name`.
fn controller(name: &str, host: &Host, identity: Option<Arc<Identity>>) -> Remote {
    Remote::new(options(&format!("{name}:{}", host.at.port()), identity))
}

/// Messages sent by hand.
fn by_hand(host: &Host) -> Channel {
    let uri = format!("http://{}", host.at);
    Dial::from_shared(uri).expect("valid").connect_lazy()
}

fn socket(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn new_session(port: u16) -> NewSession {
    let mut a = Endpoint::new(
        SocketAddr::new(IpAddr::from([192, 0, 2, 1]), port),
        Some(socket("198.51.100.1:4000")),
    );
    a.learning = Learning {
        mode: LearningMode::Nat,
        ..Learning::default()
    };
    a.sending.dscp = Some(46);
    a.receiving.payload_types = Some(0x101);
    NewSession {
        label: b"call\xff@host".to_vec(),
        owner: 7,
        timeout_ms: 60_000,
        streams: vec![Stream {
            kind: StreamKind::Rtp,
            a,
            b: Endpoint::new(socket("[2001:db8::1]:20002"), None),
        }],
        replace: false,
    }
}

/// Why a controller cannot work with a host.
async fn refused(remote: &Remote) -> String {
    let error = remote.config_get().await.expect_err("refused");
    assert!(matches!(error, Error::Channel(_)), "{error:?}");
    assert!(error.is_uncertain());
    error.to_string()
}

#[track_caller]
fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no `{part}` in: {text}");
    }
}
