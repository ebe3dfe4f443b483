// SPDX-License-Identifier: MIT OR Apache-2.0

//! A layer that is served, and used from elsewhere: real sockets, real certificates.

mod common;

use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use common::Memory;
use genl_proto::generated::{Command, PROTOCOL_VERSION};
use lrep_cl::tls::{Directory, Files, Identity, Role, Subject, seen_by_controller};
use lrep_cl::tsl::remote::wire::tsl_client::TslClient;
use lrep_cl::tsl::remote::{Options, Remote, wire};
use lrep_cl::tsl::serve::{Guard, ListenError, Listener, serve};
use lrep_cl::tsl::userspace::Userspace;
use lrep_cl::tsl::{
    Alarm, AlarmReason, AlarmedSession, Config, Created, EndReason, Endpoint, Error, Event, Events,
    Learning, LearningMode, Limits, NewSession, Patience, Refusal, Result, SessionId, SessionState,
    SetConfig, SetSession, Stream, StreamKind, Totals, Tsl,
};
use nix::errno::Errno;
use parking_lot::Mutex;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint as Dial};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

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

/// What is set while a remote is worked with.
const CHANGED: Patience = Patience {
    timeout: Duration::from_secs(19),
    tries: 1,
    bound: Duration::from_secs(19),
    life: Duration::from_secs(3600),
};

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

fn refusal(errno: Errno, message: Option<&str>) -> Error {
    Error::Refused(Refusal {
        errno: errno as i32,
        message: message.map(str::to_owned),
    })
}

/// Fails with one error, whatever is asked, and tells what it is given to tell.
struct Fixed {
    error: Error,
    events: Mutex<Option<mpsc::UnboundedReceiver<Event>>>,
}

impl Fixed {
    fn failing(error: Error) -> Arc<Self> {
        let events = Mutex::new(None);
        Arc::new(Self { error, events })
    }

    fn telling() -> (mpsc::UnboundedSender<Event>, Arc<Self>) {
        let (sender, events) = mpsc::unbounded_channel();
        let events = Mutex::new(Some(events));
        let error = Error::NoAnswer;
        (sender, Arc::new(Self { error, events }))
    }

    fn fail<T>(&self) -> Result<T> {
        Err(self.error.clone())
    }
}

impl Tsl for Fixed {
    async fn subscribe(&self, _: Option<u32>) -> Result<Events> {
        let events = self.events.lock().take();
        events.map(Events::from).ok_or_else(|| self.error.clone())
    }
    async fn session_new(&self, _: NewSession) -> Result<Created> {
        self.fail()
    }
    async fn session_set(&self, _: SetSession) -> Result<()> {
        self.fail()
    }
    async fn session_del(&self, _: SessionId) -> Result<()> {
        self.fail()
    }
    async fn session_get(&self, _: SessionId) -> Result<SessionState> {
        self.fail()
    }
    async fn session_dump(&self) -> Result<Vec<SessionState>> {
        self.fail()
    }
    async fn session_flush(&self, _: Option<u32>) -> Result<u64> {
        self.fail()
    }
    async fn config_get(&self) -> Result<Config> {
        self.fail()
    }
    async fn config_set(&self, _: SetConfig) -> Result<()> {
        self.fail()
    }
    async fn totals_get(&self) -> Result<Totals> {
        self.fail()
    }
}

#[tokio::test]
async fn every_command_does_what_it_does_without_a_network() {
    let certificates = Certificates::new();
    let (near, far) = (Memory::new(), Memory::new());
    let host = Host::start(Arc::clone(&far), certificates.guard("media1", &[])).await;
    let remote = controller("localhost", &host, certificates.identity("sip1"));

    let settings = SetConfig {
        ports: vec![20000..=30000],
        local_addresses: vec![socket("192.0.2.1:1").ip(), socket("[2001:db8::1]:1").ip()],
        quality: Some(false),
        limits: Some(Limits {
            sessions: 3,
            half_open: 2,
            memory: u64::MAX,
        }),
    };
    assert_eq!(remote.config_set(settings.clone()).await, Ok(()));
    near.config_set(settings.clone()).await.expect("set");
    assert_eq!(*far.settings.lock(), settings);
    assert_eq!(remote.config_get().await, near.config_get().await);

    for port in [20000, 20010] {
        let new = new_session(port);
        let mut new = NewSession {
            replace: port == 20010,
            ..new
        };
        assert_eq!(
            remote.session_new(new.clone()).await,
            near.session_new(new.clone()).await
        );
        assert_eq!(far.table.lock().values().last(), Some(&new));
        // What is taken already is refused in the same way.
        new.replace = false;
        let taken = remote.session_new(new.clone()).await;
        assert_eq!(taken, near.session_new(new).await);
        assert!(taken.expect_err("taken").is(Errno::EEXIST));
    }
    let (&id, _) = far.table.lock().first_key_value().expect("a session");
    let mut stream = new_session(20010).streams[0];
    stream.b.remote = Some(socket("[2001:db8::2]:4000"));
    let set = SetSession {
        id,
        timeout_ms: Some(5000),
        streams: vec![stream],
        ..SetSession::default()
    };
    assert_eq!(remote.session_set(set.clone()).await, Ok(()));
    near.session_set(set).await.expect("set");
    assert_eq!(remote.session_get(id).await, near.session_get(id).await);
    assert_eq!(remote.session_get(99).await, near.session_get(99).await);
    assert_eq!(remote.session_dump().await, near.session_dump().await);
    assert_eq!(remote.totals_get().await, near.totals_get().await);
    assert_eq!(remote.session_del(id).await, near.session_del(id).await);
    assert_eq!(remote.session_del(id).await, near.session_del(id).await);
    for owner in [Some(8), None] {
        assert_eq!(
            remote.session_flush(owner).await,
            near.session_flush(owner).await
        );
    }
    assert_eq!(remote.session_dump().await, Ok(vec![]));
}

#[tokio::test]
async fn a_table_larger_than_any_message_is_told_whole() {
    let memory = Memory::new();
    let count = 30_000;
    for index in 0..count {
        let mut new = new_session(1 + u16::try_from(index % 60_000).expect("small"));
        new.streams[0]
            .b
            .local
            .set_port(1 + u16::try_from(index).expect("small"));
        new.label = vec![b'x'; 200];
        memory.table.lock().insert(index + 1, new);
    }
    let host = Host::start(Arc::clone(&memory), None).await;
    let remote = controller("127.0.0.1", &host, None);
    let told = remote.session_dump().await.expect("told");
    assert!(told == memory.session_dump().await.expect("told"));
    assert_eq!(told.len() as u64, count);
}

#[tokio::test]
async fn every_error_comes_through_as_it_is() {
    for error in [
        refusal(Errno::EINVAL, Some("local-port: 0 is not from 1 to 65535")),
        refusal(Errno::ENOMEM, None),
        refusal(Errno::ENOSPC, Some("")),
        Error::Permission,
        Error::ModuleAbsent,
        Error::VersionDiffers {
            module: "9.8.7".to_owned(),
            theirs: 9,
            ours: 8,
        },
        Error::NoAnswer,
        Error::Channel("the module was loaded anew".to_owned()),
    ] {
        let host = Host::start(Fixed::failing(error.clone()), None).await;
        let remote = controller("127.0.0.1", &host, None);
        let failed = Some(error);
        assert_eq!(remote.subscribe(None).await.err(), failed);
        assert_eq!(remote.session_new(new_session(1)).await.err(), failed);
        let set = SetSession::default();
        assert_eq!(remote.session_set(set).await.err(), failed);
        assert_eq!(remote.session_del(1).await.err(), failed);
        assert_eq!(remote.session_get(1).await.err(), failed);
        assert_eq!(remote.session_dump().await.err(), failed);
        assert_eq!(remote.session_flush(None).await.err(), failed);
        assert_eq!(remote.config_get().await.err(), failed);
        let set = SetConfig::default();
        assert_eq!(remote.config_set(set).await.err(), failed);
        assert_eq!(remote.totals_get().await.err(), failed);
    }
}

#[tokio::test]
async fn every_event_comes_through_as_it_is() {
    let memory = Memory::new();
    let host = Host::start(Arc::clone(&memory), None).await;
    let remote = controller("127.0.0.1", &host, None);
    let mut events = remote.subscribe(None).await.expect("subscribed");
    let id = memory
        .session_new(new_session(20000))
        .await
        .expect("made")
        .id;
    let ended = memory.session_get(id).await.expect("told");
    memory.expire(id);
    assert_eq!(
        events.recv().await,
        Some(Event::Ended(ended, EndReason::Expired))
    );
    for session in [
        None,
        Some(AlarmedSession {
            id: u64::MAX,
            label: vec![0, 255],
            owner: 3,
        }),
    ] {
        let alarm = Event::Alarm(Alarm {
            reason: AlarmReason::ALL[0],
            session,
            local: socket("192.0.2.1:20000"),
            source: socket("[2001:db8::1]:1"),
            packets: 12,
        });
        memory.tell(alarm.clone());
        assert_eq!(events.recv().await, Some(alarm));
    }
    memory.tell(Event::Overrun);
    assert_eq!(events.recv().await, Some(Event::Overrun));
    // The layer ceases: so does what is told here.
    memory.cease_events();
    assert_eq!(events.recv().await, None);
}

#[tokio::test]
async fn who_does_not_keep_up_with_the_events_is_told_that_they_end() {
    let (sender, layer) = Fixed::telling();
    let host = Host::start(layer, None).await;
    let uri = format!("http://{}", host.at);
    let dial = Dial::from_shared(uri).expect("valid");
    let dial = dial.initial_stream_window_size(65_535);
    let mut client = TslClient::new(dial.connect_lazy());
    let subscription = wire::Subscription {
        protocol_version: PROTOCOL_VERSION,
        ..wire::Subscription::default()
    };
    let told = client.subscribe(subscription).await.expect("subscribed");
    let mut told = told.into_inner();
    let many = 100_000;
    for _ in 0..many {
        let _ = sender.send(Event::Overrun);
    }
    // Nothing is read until the host has given up.
    sender.closed().await;
    let mut received = 0;
    while let Some(event) = told.message().await.expect("an orderly end") {
        assert!(event.event.is_some());
        received += 1;
    }
    assert!(received < many, "{received}");
}

#[tokio::test]
async fn a_controller_that_is_gone_is_no_longer_told_events() {
    let (sender, layer) = Fixed::telling();
    let host = Host::start(layer, None).await;
    let remote = controller("127.0.0.1", &host, None);
    drop(remote.subscribe(None).await.expect("subscribed"));
    sender.closed().await;
}

#[tokio::test]
async fn another_version_of_the_protocol_is_refused_on_either_side() {
    let host = Host::start(Memory::new(), None).await;
    let mut client = TslClient::new(by_hand(&host));
    let command = wire::Command {
        protocol_version: PROTOCOL_VERSION + 1,
        command: Command::ConfigGet as u32,
        attributes: vec![],
    };
    let differs = Error::VersionDiffers {
        module: env!("CARGO_PKG_VERSION").to_owned(),
        theirs: PROTOCOL_VERSION,
        ours: PROTOCOL_VERSION + 1,
    };
    let answer = client.execute(command.clone()).await.expect("an answer");
    assert_eq!(
        wire::outcome(answer.into_inner()).err(),
        Some(differs.clone())
    );
    let mut dump = client.dump(command).await.expect("an answer").into_inner();
    let answer = dump.message().await.expect("well").expect("an answer");
    assert_eq!(wire::outcome(answer).err(), Some(differs.clone()));
    let subscription = wire::Subscription {
        protocol_version: PROTOCOL_VERSION + 1,
        ..wire::Subscription::default()
    };
    let told = client.subscribe(subscription).await.expect("an answer");
    let first = told.into_inner().message().await.expect("well");
    let first = first.expect("an answer");
    assert_eq!(wire::listening(first).err(), Some(differs));
    Remote::connect(options(&host.at.to_string(), None))
        .await
        .expect("the same version");
}

#[tokio::test]
async fn what_a_host_does_not_understand_it_refuses() {
    let memory = Memory::new();
    let host = Host::start(Arc::clone(&memory), None).await;
    let mut client = TslClient::new(by_hand(&host));
    let mut execute = async |command: u32, attributes: &[u8]| {
        let command = wire::Command {
            protocol_version: PROTOCOL_VERSION,
            command,
            attributes: attributes.to_vec(),
        };
        let answer = client.execute(command).await.expect("an answer");
        wire::outcome(answer.into_inner()).expect_err("refused")
    };
    let unknown = [8, 0, 0xe7, 3, 1, 2, 3, 4];
    let flush = Command::SessionFlush as u32;
    let error = execute(flush, &unknown).await;
    assert_eq!(
        error,
        refusal(Errno::EINVAL, Some("attribute 999 is not known"))
    );
    for command in [0, 200, 256 + flush, Command::SessionBulkDel as u32] {
        assert!(execute(command, &[]).await.is(Errno::EOPNOTSUPP));
    }
    assert!(execute(Command::Alarm as u32, &[]).await.is(Errno::EINVAL));
    // The dump has a call of its own.
    let get = Command::SessionGet as u32;
    assert!(execute(get, &[]).await.is(Errno::EOPNOTSUPP));
    assert_eq!(memory.dels.load(Ordering::SeqCst), 0);
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
async fn a_layer_that_is_stuck_gives_no_answer_and_does_not_do_it_later() {
    let certificates = Certificates::new();
    let memory = Memory::new();
    let host = Host::start(Arc::clone(&memory), certificates.guard("media1", &[])).await;
    let at = format!("localhost:{}", host.at.port());
    let remote = Remote::new(Options {
        deadline: Duration::from_millis(700),
        ..options(&at, certificates.identity("sip1"))
    });
    // Connecting takes time, too, which is not what this is about.
    while remote.config_get().await.is_err() {}
    memory.set_stuck(true);
    let wanted = remote.session_new(new_session(20000)).await;
    assert_eq!(wanted, Err(Error::NoAnswer));
    assert_eq!(remote.session_dump().await, Err(Error::NoAnswer));
    assert_eq!(remote.subscribe(None).await.err(), Some(Error::NoAnswer));
    memory.set_stuck(false);
    let patient = controller("localhost", &host, certificates.identity("sip1"));
    assert_eq!(patient.session_dump().await, Ok(vec![]));
    assert_eq!(memory.news.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_host_that_accepts_and_says_nothing_is_not_waited_for() {
    let certificates = Certificates::new();
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("listens");
    let at = format!("localhost:{}", socket.local_addr().expect("bound").port());
    for identity in [certificates.identity("sip1"), None] {
        let remote = Remote::new(Options {
            deadline: Duration::from_secs(86_400),
            ..options(&at, identity)
        });
        remote.set_patience(Patience {
            bound: Duration::from_millis(300),
            ..CHANGED
        });
        let error = remote.config_get().await.expect_err("nobody there");
        assert!(error.is_uncertain(), "{error:?}");
    }
}

#[tokio::test]
async fn another_patience_loses_no_event_and_no_command() {
    let memory = Memory::new();
    let host = Host::start(Arc::clone(&memory), None).await;
    let remote = Remote::new(options(&host.at.to_string(), None));
    let mut events = remote.subscribe(None).await.expect("subscribed");
    remote.set_patience(CHANGED);
    remote.session_new(new_session(20000)).await.expect("made");
    memory.tell(Event::Overrun);
    assert_eq!(events.recv().await, Some(Event::Overrun));
}

/// A line to a host, and what cuts it without a word to either side; who connects later is let through.
async fn line(host: &Host) -> (String, Arc<Notify>) {
    let between = TcpListener::bind("127.0.0.1:0").await.expect("listens");
    let at = between.local_addr().expect("bound").to_string();
    let cut = Arc::new(Notify::new());
    tokio::spawn({
        let (cut, host) = (Arc::clone(&cut), host.at);
        async move {
            loop {
                let (mut near, _) = between.accept().await.expect("accepted");
                let mut far = TcpStream::connect(host).await.expect("connects");
                let cut = Arc::clone(&cut);
                tokio::spawn(async move {
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => return,
                        () = cut.notified() => {}
                    }
                    // Held, but neither read nor written any more.
                    std::future::pending::<()>().await;
                });
            }
        }
    });
    (at, cut)
}

#[tokio::test]
async fn a_connection_whose_host_falls_silent_is_given_up() {
    let memory = Memory::new();
    let host = Host::start(Arc::clone(&memory), None).await;
    let (at, cut) = line(&host).await;
    let remote = Remote::new(Options {
        keep_alive: Duration::from_millis(200),
        ..options(&at, None)
    });
    let mut events = remote.subscribe(None).await.expect("subscribed");
    memory.tell(Event::Overrun);
    assert_eq!(events.recv().await, Some(Event::Overrun));
    cut.notify_waiters();
    assert_eq!(events.recv().await, None);
}

async fn refused_the_owner(remote: &Remote) -> bool {
    match remote.subscribe(Some(7)).await {
        Ok(_) => false,
        Err(error) => {
            assert!(error.is(Errno::ENOTUNIQ), "{error}");
            says(&error.to_string(), &["owner 7", "another controller"]);
            true
        }
    }
}

#[tokio::test]
async fn an_owner_has_the_next_controller_when_the_connection_of_the_first_ends() {
    let tsl = Arc::new(Userspace::start().expect("starts"));
    let host = Host::start(Arc::clone(&tsl), None).await;
    let (first, second) = (
        controller("127.0.0.1", &host, None),
        controller("127.0.0.1", &host, None),
    );
    let events = first.subscribe(Some(7)).await.expect("free");
    assert!(refused_the_owner(&second).await);
    // The daemon of the host itself is a controller like any other.
    let error = tsl.subscribe(Some(7)).await.expect_err("taken");
    assert!(error.is(Errno::ENOTUNIQ), "{error}");
    drop((events, first));
    while refused_the_owner(&second).await {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_controller_that_vanishes_without_a_word_is_soon_let_go() {
    let host = Host::start(Arc::new(Userspace::start().expect("starts")), None).await;
    let (at, cut) = line(&host).await;
    let first = Remote::new(options(&at, None));
    let _events = first.subscribe(Some(7)).await.expect("free");
    let second = controller("127.0.0.1", &host, None);
    assert!(refused_the_owner(&second).await);
    cut.notify_waiters();
    let freed = async { while refused_the_owner(&second).await {} };
    tokio::time::timeout(PATIENCE / 2, freed)
        .await
        .expect("soon");
}

#[tokio::test]
async fn a_controller_that_comes_back_takes_over_from_itself() {
    let host = Host::start(Arc::new(Userspace::start().expect("starts")), None).await;
    let (at, cut) = line(&host).await;
    let first = Remote::new(Options {
        keep_alive: Duration::from_millis(200),
        ..options(&at, None)
    });
    let mut events = first.subscribe(Some(7)).await.expect("free");
    let second = controller("127.0.0.1", &host, None);
    assert!(refused_the_owner(&second).await);
    cut.notify_waiters();
    // The host notices it seconds later.
    assert_eq!(events.recv().await, None);
    let _events = first.subscribe(Some(7)).await.expect("its own");
    assert!(refused_the_owner(&second).await);
}

#[tokio::test]
async fn a_host_that_comes_back_is_worked_with_again() {
    let certificates = Certificates::new();
    let memory = Memory::new();
    let guard = || certificates.guard("media1", &[]);
    let host = Host::start(Arc::clone(&memory), guard()).await;
    let at = host.at;
    let remote = controller("localhost", &host, certificates.identity("sip1"));
    let mut events = remote.subscribe(None).await.expect("subscribed");
    remote.session_new(new_session(20000)).await.expect("made");

    host.stop().await;
    assert_eq!(events.recv().await, None);
    let error = remote.session_dump().await.expect_err("nobody there");
    assert!(error.is_uncertain(), "{error:?}");
    says(
        &remote.session_dump().await.expect_err("nobody").to_string(),
        &["localhost", "refused"],
    );

    let _host = Host::start_at(&at.to_string(), Arc::clone(&memory), guard()).await;
    assert_eq!(remote.session_dump().await.expect("there again").len(), 1);
    let mut events = remote.subscribe(None).await.expect("subscribed again");
    memory.tell(Event::Overrun);
    assert_eq!(events.recv().await, Some(Event::Overrun));
}

#[tokio::test]
async fn a_host_killed_in_the_middle_leaves_nobody_waiting() {
    let memory = Memory::new();
    // A runtime of its own, to be dropped with everything on it.
    let kill = CancellationToken::new();
    let (started, host) = tokio::sync::oneshot::channel();
    let thread = std::thread::spawn({
        let (layer, kill) = (Arc::clone(&memory), kill.clone());
        move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let host = Host::start(layer, None).await;
                started.send(host).ok().expect("awaited");
                kill.cancelled().await;
            });
        }
    });
    let host = host.await.expect("started");
    let remote = controller("127.0.0.1", &host, None);
    let mut events = remote.subscribe(None).await.expect("subscribed");
    memory.set_stuck(true);
    let waiting = memory.waiting();
    let wanted = tokio::spawn({
        let remote = remote.clone();
        async move { remote.session_new(new_session(20000)).await }
    });
    while memory.waiting() == waiting {
        tokio::task::yield_now().await;
    }
    kill.cancel();
    thread.join().expect("ends");
    let error = wanted.await.expect("no panic").expect_err("killed");
    assert!(error.is_uncertain(), "{error:?}");
    assert_eq!(events.recv().await, None);
    assert_eq!(memory.news.load(Ordering::SeqCst), 0);
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

#[tokio::test]
async fn the_health_is_that_of_the_layer() {
    let memory = Memory::new();
    let host = Host::start(Arc::clone(&memory), None).await;
    let mut client = HealthClient::new(by_hand(&host));
    for service in ["", "lreproxy.v1.Tsl"] {
        let service = service.to_owned();
        let request = HealthCheckRequest { service };
        let watched = client.watch(request).await.expect("watched");
        let mut watched = watched.into_inner();
        let mut next = async || {
            let status = watched.message().await.expect("well").expect("a status");
            status.status()
        };
        if next().await == ServingStatus::NotServing {
            // Before it was asked for the first time.
            assert_eq!(next().await, ServingStatus::Serving);
        }
        memory.set_stuck(true);
        assert_eq!(next().await, ServingStatus::NotServing);
        memory.set_stuck(false);
        assert_eq!(next().await, ServingStatus::Serving);
    }
}
