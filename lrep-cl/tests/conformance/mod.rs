// SPDX-License-Identifier: MIT OR Apache-2.0

//! What every transport layer promises, whichever it is: one set of tests over [`Tsl`], run against
//! each implementation where it can run. Each panics when a promise is broken.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use genl_proto::generated::ALARM_PACKETS;
use lrep_cl::tsl::{
    AlarmReason, DropReason, EndReason, Endpoint, Error, Event, Events, Learned, Learning,
    LearningMode, Limits, NewSession, SessionId, SessionState, SetConfig, SetSession, Stream,
    StreamKind, Tsl,
};
use nix::errno::Errno;

/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Owner of the sessions.
const OWNER: u32 = 7;

/// Two parties, and the relay between them.
#[derive(Debug)]
pub struct Place {
    /// Where the relay receives RTP of the caller, four ports of its own from here on.
    pub west: SocketAddr,
    /// Where the relay receives RTP of the callee.
    pub east: SocketAddr,
    /// The caller's socket.
    pub caller: UdpSocket,
    /// Somebody else's at the caller's address.
    pub neighbour: UdpSocket,
    /// The callee's socket.
    pub callee: UdpSocket,
}

impl Place {
    fn locals(&self) -> Vec<IpAddr> {
        vec![self.west.ip(), self.east.ip()]
    }

    fn settings(&self) -> SetConfig {
        SetConfig {
            ports: vec![
                self.west.port()..=self.west.port() + 99,
                self.west.port() + 200..=self.west.port() + 209,
            ],
            local_addresses: self.locals(),
            quality: Some(true),
            limits: Some(Limits::default()),
        }
    }

    fn stream(&self) -> Stream {
        let end = |local, party: &UdpSocket| {
            Endpoint::new(local, Some(party.local_addr().expect("bound")))
        };
        Stream {
            kind: StreamKind::Rtp,
            a: end(self.west, &self.caller),
            b: end(self.east, &self.callee),
        }
    }

    fn session(&self) -> NewSession {
        NewSession {
            label: b"call@conformance".to_vec(),
            owner: OWNER,
            timeout_ms: 60_000,
            streams: vec![self.stream()],
            replace: false,
        }
    }

    /// A session on other ports than [`Place::session`].
    fn another(&self, label: &str) -> NewSession {
        let mut stream = self.stream();
        for end in [&mut stream.a, &mut stream.b] {
            end.local.set_port(end.local.port() + 2);
        }
        NewSession {
            label: label.as_bytes().to_vec(),
            streams: vec![stream],
            ..self.session()
        }
    }
}

/// An RTP packet (RFC 3550 section 5.1) of G.711.
fn rtp(number: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 0];
    packet.extend_from_slice(&number.to_be_bytes());
    packet.extend_from_slice(&(u32::from(number) * 160).to_be_bytes());
    packet.extend_from_slice(&[1, 2, 3, 4]);
    packet.extend((0..160).map(|sample| (number as u8) ^ sample));
    packet
}

fn receive(at: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    at.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut buffer = [0; 2048];
    let (length, source) = at.recv_from(&mut buffer).expect("a packet");
    (buffer[..length].to_vec(), source)
}

/// Sends packets one after the other, each of which has to arrive as it was sent.
fn pass(
    (from, to): (&UdpSocket, SocketAddr),
    (at, source): (&UdpSocket, SocketAddr),
    numbers: std::ops::Range<u16>,
) {
    for number in numbers {
        from.send_to(&rtp(number), to).expect("sent");
        assert_eq!(receive(at), (rtp(number), source));
    }
}

fn refused<T: std::fmt::Debug>(result: Result<T, Error>, errno: Errno, part: &str) {
    let error = result.expect_err("refused");
    let text = error.to_string();
    assert!(error.is(errno), "{text}");
    assert!(text.contains(part), "{text}");
}

async fn event(events: &mut Events) -> Event {
    let event = tokio::time::timeout(PATIENCE, events.recv()).await;
    event.expect("in time").expect("an event")
}

/// Waits for the end of a session, which is the next event; its final state.
async fn end(events: &mut Events, id: SessionId, reason: EndReason) -> SessionState {
    match event(events).await {
        Event::Ended(session, why) => {
            assert_eq!((session.id, why), (id, reason));
            session
        }
        other => panic!("{other:?}"),
    }
}

/// All of it, one promise after the other. `another` is what another controller works with the same
/// layer by.
pub async fn every_promise_is_kept<T: Tsl>(tsl: &T, another: &T, place: &Place) {
    settings_are_kept_and_bad_ones_change_nothing(tsl, place).await;
    a_session_is_told_as_it_was_made_until_it_ends(tsl, place).await;
    a_port_has_one_session_unless_it_is_replaced(tsl, place).await;
    commands_given_at_once_are_each_answered_for_themselves(tsl, place).await;
    what_makes_no_sense_is_refused_and_changes_nothing(tsl, place).await;
    an_address_with_a_session_stays(tsl, place).await;
    a_flush_ends_the_sessions_of_one_owner(tsl, place).await;
    an_owner_has_one_controller(tsl, another).await;
    limits_are_exact_and_counted(tsl, place).await;
    media_pass_both_ways_and_strangers_are_counted(tsl, place).await;
    loss_is_measured(tsl, place).await;
    new_signalling_moves_media_and_keeps_the_counters(tsl, place).await;
    a_party_behind_nat_is_learned(tsl, place).await;
    an_idle_session_ends_and_an_active_one_does_not(tsl, place).await;
}

async fn settings_are_kept_and_bad_ones_change_nothing(tsl: &impl Tsl, place: &Place) {
    tsl.config_set(place.settings()).await.expect("set");
    let config = tsl.config_get().await.expect("told");
    assert_eq!(config.ports, place.settings().ports);
    assert_eq!(config.local_addresses, place.locals());
    assert!(config.quality);
    let bad = |ports, address: &str| SetConfig {
        ports,
        local_addresses: vec![address.parse().expect("an address")],
        ..SetConfig::default()
    };
    let (first, last) = (place.west.port(), place.west.port() - 1);
    let west = place.west.ip().to_string();
    refused(
        tsl.config_set(bad(vec![first..=last], &west)).await,
        Errno::EINVAL,
        &format!("port-range: the last port of {first}-{last} is below the first"),
    );
    refused(
        tsl.config_set(bad(vec![2000..=2009, 2009..=2010], &west))
            .await,
        Errno::EINVAL,
        "port-range: 2009-2010 and 2000-2009 have ports in common",
    );
    let many = (0..9).map(|number| 2000 + number..=2000 + number);
    refused(
        tsl.config_set(bad(many.collect(), &west)).await,
        Errno::E2BIG,
        "port-range: 8 at most",
    );
    refused(
        tsl.config_set(bad(Vec::new(), "224.0.0.1")).await,
        Errno::EINVAL,
        "multicast",
    );
    assert_eq!(tsl.config_get().await, Ok(config));
}

async fn a_session_is_told_as_it_was_made_until_it_ends(tsl: &impl Tsl, place: &Place) {
    let mut events = tsl.subscribe(None).await.expect("events");
    let before = tsl.totals_get().await.expect("told");
    let made = tsl.session_new(place.session()).await.expect("made");
    assert!(made.id > 0 && made.replaced.is_empty(), "{made:?}");
    let told = tsl.session_get(made.id).await.expect("told");
    assert_eq!(
        (told.id, told.owner, told.timeout_ms),
        (made.id, OWNER, 60_000)
    );
    assert_eq!(told.label, place.session().label);
    assert_eq!(told.streams.len(), 1);
    assert_eq!(told.streams[0].stream, place.stream());
    let later = tsl.session_new(place.another("later")).await.expect("made");
    assert!(later.id > made.id);
    let dump = tsl.session_dump().await.expect("told");
    let ids: Vec<_> = dump.iter().map(|session| session.id).collect();
    assert_eq!(ids, [made.id, later.id]);
    let totals = tsl.totals_get().await.expect("told");
    assert_eq!((totals.sessions, totals.created), (2, before.created + 2));
    assert!(totals.memory > 0);

    for id in [made.id, later.id] {
        let told = tsl.session_get(id).await.expect("told");
        tsl.session_del(id).await.expect("ended");
        let ended = end(&mut events, id, EndReason::Deleted).await;
        assert_eq!((ended.label, ended.streams), (told.label, told.streams));
    }
    let (id, set) = (
        made.id,
        SetSession {
            id: made.id,
            ..SetSession::default()
        },
    );
    let part = &format!("there is no session {id}");
    refused(tsl.session_get(id).await, Errno::ENOENT, part);
    refused(tsl.session_del(id).await, Errno::ENOENT, part);
    refused(tsl.session_set(set).await, Errno::ENOENT, part);
    assert_eq!(tsl.session_dump().await, Ok(Vec::new()));
    let totals = tsl.totals_get().await.expect("told");
    assert_eq!((totals.sessions, totals.memory), (0, 0));
}

async fn a_port_has_one_session_unless_it_is_replaced(tsl: &impl Tsl, place: &Place) {
    let mut events = tsl.subscribe(None).await.expect("events");
    let before = tsl.totals_get().await.expect("told");
    let old = tsl.session_new(place.session()).await.expect("made").id;
    let part = &format!("{} belongs to session {old}", place.west);
    refused(tsl.session_new(place.session()).await, Errno::EEXIST, part);
    assert!(tsl.session_get(old).await.is_ok());
    let mut anew = place.session();
    anew.replace = true;
    let made = tsl.session_new(anew).await.expect("made");
    assert_eq!(made.replaced, [old]);
    end(&mut events, old, EndReason::Replaced).await;
    let totals = tsl.totals_get().await.expect("told");
    assert_eq!((totals.sessions, totals.replaced), (1, before.replaced + 1));
    pass(
        (&place.caller, place.west),
        (&place.callee, place.east),
        0..5,
    );
    tsl.session_del(made.id).await.expect("ended");
}

/// A layer may carry out together what it is asked for at the same time.
async fn commands_given_at_once_are_each_answered_for_themselves(tsl: &impl Tsl, place: &Place) {
    let one = tsl.session_new(place.session()).await.expect("made");
    let unknown = one.id + 1_000_000;
    let (told, taken, made, absent, totals, config, dumped) = tokio::join!(
        tsl.session_get(one.id),
        tsl.session_new(place.session()),
        tsl.session_new(place.another("another@conformance")),
        tsl.session_del(unknown),
        tsl.totals_get(),
        tsl.config_get(),
        tsl.session_dump(),
    );
    assert_eq!(told.expect("told").id, one.id);
    refused(taken, Errno::EEXIST, "local-port");
    let made = made.expect("made");
    refused(absent, Errno::ENOENT, "id");
    assert!((1..=2).contains(&totals.expect("told").sessions));
    assert_eq!(config.expect("told").local_addresses, place.locals());
    assert!((1..=2).contains(&dumped.expect("told").len()));
    let (first, absent, second) = tokio::join!(
        tsl.session_del(one.id),
        tsl.session_del(unknown),
        tsl.session_del(made.id)
    );
    assert_eq!((first, second), (Ok(()), Ok(())));
    refused(absent, Errno::ENOENT, "id");
    assert_eq!(tsl.session_dump().await, Ok(Vec::new()));
}

async fn what_makes_no_sense_is_refused_and_changes_nothing(tsl: &impl Tsl, place: &Place) {
    let with = |change: &dyn Fn(&mut NewSession)| {
        let mut new = place.session();
        change(&mut new);
        new
    };
    let elsewhere: SocketAddr = "192.0.2.77:20000".parse().expect("an address");
    let cases: [(NewSession, Errno, &str); 8] = [
        (with(&|new| new.timeout_ms = 0), Errno::EINVAL, "timeout-ms"),
        (with(&|new| new.streams.clear()), Errno::EINVAL, "stream"),
        (
            with(&|new| new.streams[0].a.local.set_port(0)),
            Errno::EINVAL,
            "local-port",
        ),
        (
            with(&|new| new.label = vec![b'x'; 256]),
            Errno::EINVAL,
            "label",
        ),
        (
            with(&|new| new.streams[0].a = Endpoint::new(elsewhere, None)),
            Errno::EADDRNOTAVAIL,
            "192.0.2.77 is not configured",
        ),
        (
            with(&|new| new.streams[0].b.remote = Some(place.west)),
            Errno::EINVAL,
            "b.remote-address: is a port of this relay",
        ),
        (
            with(&|new| new.streams.push(place.stream())),
            Errno::EEXIST,
            "asked for twice",
        ),
        (
            with(&|new| new.streams[0].a.sending.dscp = Some(64)),
            Errno::EINVAL,
            "dscp",
        ),
    ];
    for (new, errno, part) in cases {
        refused(tsl.session_new(new).await, errno, part);
    }
    assert_eq!(tsl.session_dump().await, Ok(Vec::new()));

    let id = tsl.session_new(place.session()).await.expect("made").id;
    let mut stream = place.stream();
    stream.a.local.set_port(stream.a.local.port() + 1);
    let set = SetSession {
        id,
        label: Some(b"changed".to_vec()),
        streams: vec![stream],
        ..SetSession::default()
    };
    refused(tsl.session_set(set).await, Errno::ENOENT, "stream");
    let told = tsl.session_get(id).await.expect("told");
    assert_eq!(told.label, place.session().label);
    tsl.session_del(id).await.expect("ended");
}

async fn an_address_with_a_session_stays(tsl: &impl Tsl, place: &Place) {
    let id = tsl.session_new(place.session()).await.expect("made").id;
    let settings = SetConfig {
        local_addresses: vec![place.west.ip()],
        ..SetConfig::default()
    };
    let part = &format!("session {id} lives at");
    // With one address for both sides nothing would go.
    if place.west.ip() != place.east.ip() {
        refused(tsl.config_set(settings).await, Errno::EBUSY, part);
    }
    assert_eq!(
        tsl.config_get().await.expect("told").local_addresses,
        place.locals()
    );
    tsl.session_del(id).await.expect("ended");
}

async fn a_flush_ends_the_sessions_of_one_owner(tsl: &impl Tsl, place: &Place) {
    let mut events = tsl.subscribe(None).await.expect("events");
    let ours = tsl.session_new(place.session()).await.expect("made").id;
    let mut other = place.another("other");
    other.owner = OWNER + 1;
    let theirs = tsl.session_new(other).await.expect("made").id;
    assert_eq!(tsl.session_flush(Some(OWNER)).await, Ok(1));
    end(&mut events, ours, EndReason::Flushed).await;
    let left = tsl.session_dump().await.expect("told");
    assert!(left.len() == 1 && left[0].id == theirs, "{left:?}");
    assert_eq!(tsl.session_flush(None).await, Ok(1));
    end(&mut events, theirs, EndReason::Flushed).await;
}

async fn an_owner_has_one_controller<T: Tsl>(tsl: &T, another: &T) {
    let mut held = tsl.subscribe(Some(OWNER)).await.expect("free");
    refused(
        another.subscribe(Some(OWNER)).await,
        Errno::ENOTUNIQ,
        &format!("owner {OWNER} belongs to another controller"),
    );
    // Neither another owner's controller nor who only listens is in the way, or held up.
    drop(another.subscribe(Some(OWNER + 1)).await.expect("free"));
    drop(another.subscribe(None).await.expect("events"));
    // It can listen anew at any time, as when it has missed something.
    for _ in 0..20 {
        drop(held);
        held = tsl.subscribe(Some(OWNER)).await.expect("its own");
    }
    drop(held);
    // From elsewhere it takes a while to be seen that it is free.
    let freed = async {
        while another.subscribe(Some(OWNER)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, freed).await.expect("free");
}

async fn limits_are_exact_and_counted(tsl: &impl Tsl, place: &Place) {
    let limit = |sessions, half_open| SetConfig {
        limits: Some(Limits {
            sessions,
            half_open,
            memory: 0,
        }),
        ..SetConfig::default()
    };
    let before = tsl.totals_get().await.expect("told").refused;
    tsl.config_set(limit(1, 0)).await.expect("set");
    let id = tsl.session_new(place.session()).await.expect("made").id;
    let another = tsl.session_new(place.another("more")).await;
    refused(another, Errno::ENOSPC, "there are 1 sessions already");
    tsl.config_set(limit(0, 1)).await.expect("set");
    let mut half = place.another("half open");
    half.streams[0].b.remote = None;
    let half = tsl.session_new(half).await.expect("made").id;
    let mut more = place.another("half open, too");
    let stream = &mut more.streams[0];
    for end in [&mut stream.a, &mut stream.b] {
        end.local.set_port(end.local.port() + 2);
    }
    stream.b.remote = None;
    refused(tsl.session_new(more).await, Errno::EUSERS, "half open");
    let after = tsl.totals_get().await.expect("told").refused;
    assert_eq!(
        (after.sessions, after.half_open),
        (before.sessions + 1, before.half_open + 1)
    );
    for id in [id, half] {
        tsl.session_del(id).await.expect("ended");
    }
    tsl.config_set(place.settings()).await.expect("set");
}

async fn media_pass_both_ways_and_strangers_are_counted(tsl: &impl Tsl, place: &Place) {
    let before = tsl.totals_get().await.expect("told").relayed;
    let mut events = tsl.subscribe(None).await.expect("events");
    let id = tsl.session_new(place.session()).await.expect("made").id;
    for _ in 0..20 {
        place.neighbour.send_to(&rtp(1), place.west).expect("sent");
    }
    // No RTP version.
    place.caller.send_to(&[0xff; 40], place.west).expect("sent");
    // Nobody of them comes before, or between, the party's.
    pass(
        (&place.caller, place.west),
        (&place.callee, place.east),
        0..30,
    );
    pass(
        (&place.callee, place.east),
        (&place.caller, place.west),
        0..20,
    );
    let told = tsl.session_get(id).await.expect("told");
    let stream = &told.streams[0];
    let length = rtp(0).len() as u64;
    assert_eq!(
        (stream.from_a.packets, stream.from_a.bytes),
        (30, 30 * length)
    );
    assert_eq!(
        (stream.from_b.packets, stream.from_b.bytes),
        (20, 20 * length)
    );
    assert_eq!(stream.from_a.drops.get(DropReason::ForeignSource), 20);
    assert_eq!(stream.from_a.drops.get(DropReason::Malformed), 1);
    assert_eq!(stream.from_b.drops.total(), 0);
    match event(&mut events).await {
        Event::Alarm(alarm) => {
            assert_eq!(alarm.reason, AlarmReason::ForeignSource);
            assert_eq!(alarm.session.map(|session| session.id), Some(id));
            assert_eq!(Ok(alarm.source), place.neighbour.local_addr().map_err(drop));
            assert_eq!(alarm.local, place.west);
            // It may be raised before the last of them.
            let enough = u64::from(ALARM_PACKETS)..=20;
            assert!(enough.contains(&alarm.packets), "{}", alarm.packets);
        }
        other => panic!("{other:?}"),
    }
    tsl.session_del(id).await.expect("ended");
    let after = tsl.totals_get().await.expect("told").relayed;
    assert_eq!(after.packets - before.packets, 50);
}

async fn loss_is_measured(tsl: &impl Tsl, place: &Place) {
    let mut events = tsl.subscribe(None).await.expect("events");
    let id = tsl.session_new(place.session()).await.expect("made").id;
    pass(
        (&place.caller, place.west),
        (&place.callee, place.east),
        0..10,
    );
    pass(
        (&place.caller, place.west),
        (&place.callee, place.east),
        13..20,
    );
    tsl.session_del(id).await.expect("ended");
    let told = end(&mut events, id, EndReason::Deleted).await;
    let quality = told.streams[0].quality_a.expect("measured");
    assert_eq!((quality.lost, quality.ssrc), (3, 0x0102_0304));
    assert_eq!(told.streams[0].quality_b, None);
}

async fn new_signalling_moves_media_and_keeps_the_counters(tsl: &impl Tsl, place: &Place) {
    let mut events = tsl.subscribe(None).await.expect("events");
    let id = tsl.session_new(place.session()).await.expect("made").id;
    pass(
        (&place.callee, place.east),
        (&place.caller, place.west),
        0..5,
    );
    let mut stream = place.stream();
    stream.a.remote = Some(place.neighbour.local_addr().expect("bound"));
    let set = SetSession {
        id,
        label: Some(b"moved".to_vec()),
        timeout_ms: Some(30_000),
        streams: vec![stream],
        ..SetSession::default()
    };
    tsl.session_set(set).await.expect("set");
    pass(
        (&place.callee, place.east),
        (&place.neighbour, place.west),
        5..10,
    );
    stream.a.remote = None;
    let hold = SetSession {
        id,
        streams: vec![stream],
        ..SetSession::default()
    };
    tsl.session_set(hold).await.expect("set");
    place.callee.send_to(&rtp(10), place.east).expect("sent");
    // The next one that arrives is of after the hold.
    let back = SetSession {
        id,
        streams: vec![place.stream()],
        ..SetSession::default()
    };
    while tsl.session_get(id).await.expect("told").streams[0]
        .from_b
        .drops
        .total()
        == 0
    {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tsl.session_set(back).await.expect("set");
    pass(
        (&place.callee, place.east),
        (&place.caller, place.west),
        11..15,
    );
    tsl.session_del(id).await.expect("ended");
    let told = end(&mut events, id, EndReason::Deleted).await;
    assert_eq!(
        (told.label.as_slice(), told.timeout_ms),
        (&b"moved"[..], 30_000)
    );
    assert_eq!(told.streams[0].from_b.packets, 14);
    assert_eq!(told.streams[0].from_b.drops.get(DropReason::Held), 1);
}

async fn a_party_behind_nat_is_learned(tsl: &impl Tsl, place: &Place) {
    let mut new = place.session();
    new.streams[0].a.learning = Learning {
        mode: LearningMode::Nat,
        ..Learning::default()
    };
    let id = tsl.session_new(new).await.expect("made").id;
    // It was signalled as the caller, and sends from another port.
    pass(
        (&place.neighbour, place.west),
        (&place.callee, place.east),
        0..1,
    );
    let learned = async || {
        let told = tsl.session_get(id).await.expect("told");
        told.streams[0].learned_a
    };
    let party = |locked| {
        Some(Learned {
            remote: place.neighbour.local_addr().expect("bound"),
            locked,
        })
    };
    assert_eq!(learned().await, party(false));
    pass(
        (&place.neighbour, place.west),
        (&place.callee, place.east),
        1..5,
    );
    assert_eq!(learned().await, party(true));
    pass(
        (&place.callee, place.east),
        (&place.neighbour, place.west),
        0..5,
    );
    tsl.session_del(id).await.expect("ended");
}

async fn an_idle_session_ends_and_an_active_one_does_not(tsl: &impl Tsl, place: &Place) {
    let mut events = tsl.subscribe(None).await.expect("events");
    let before = tsl.totals_get().await.expect("told").expired;
    let mut idle = place.another("idle");
    idle.timeout_ms = 1000;
    let active = tsl.session_new(place.session()).await.expect("made").id;
    let idle = tsl.session_new(idle).await.expect("made").id;
    end(&mut events, idle, EndReason::Expired).await;
    assert_eq!(tsl.totals_get().await.expect("told").expired, before + 1);
    pass(
        (&place.caller, place.west),
        (&place.callee, place.east),
        0..5,
    );
    let told = tsl.session_get(active).await.expect("told");
    assert!(
        told.age_ms >= 1000 && told.idle_ms < told.age_ms,
        "{told:?}"
    );
    tsl.session_del(active).await.expect("ended");
}
