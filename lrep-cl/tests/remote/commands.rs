// SPDX-License-Identifier: MIT OR Apache-2.0

//! What is asked and told comes through as it is.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use genl_proto::generated::{Command, PROTOCOL_VERSION};
use lrep_cl::tsl::remote::wire::tsl_client::TslClient;
use lrep_cl::tsl::remote::{Remote, wire};
use lrep_cl::tsl::{
    Alarm, AlarmReason, AlarmedSession, Config, Created, EndReason, Error, Event, Events, Limits,
    NewSession, Refusal, Result, SessionId, SessionState, SetConfig, SetSession, Totals, Tsl,
};
use nix::errno::Errno;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tonic::transport::Endpoint as Dial;

use super::{Certificates, Host, by_hand, controller, new_session, options, socket};
use crate::common::Memory;

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
