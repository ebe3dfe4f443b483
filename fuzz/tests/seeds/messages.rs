// SPDX-License-Identifier: MIT OR Apache-2.0

//! Netlink and gRPC messages, whole and damaged.

use std::net::SocketAddr;

use genl_proto::generated::{
    AlarmReason, Command, DropReason, EndReason, LearningMode, Output, PROTOCOL_VERSION, StreamKind,
};
use genl_proto::{
    Alarm, AlarmedSession, Answer, BulkCreated, Config, Counters, Created, Endpoint, Learned,
    Learning, Limits, Message, NewSession, Quality, Receiving, Refused, Report, Request, Roam,
    Sending, SessionState, SetConfig, SetSession, Stream, Totals,
};
use lrep_cl::tsl::remote::wire;
use lrep_cl::tsl::{self, Error};
use netlink_packet_core::NetlinkMessage;
use netlink_packet_generic::GenlMessage;
use nix::errno::Errno;
use prost::Message as _;

use crate::Seeds;

fn socket(text: &str) -> SocketAddr {
    text.parse().expect("an address and a port")
}

fn stream() -> Stream {
    Stream {
        kind: StreamKind::Rtp,
        a: Endpoint::new(socket("10.0.0.5:20002"), Some(socket("192.0.2.10:4000"))),
        b: Endpoint::new(socket("203.0.113.5:20000"), None),
    }
}

/// A stream of which everything is asked that can be.
fn particular_stream() -> Stream {
    let endpoint = Endpoint {
        local: socket("[2001:db8:5::5]:20000"),
        remote: Some(socket("[2001:db8::10]:4000")),
        sending: Sending {
            dscp: Some(46),
            hop_limit: Some(64),
            mark: 7,
            device: Some(2),
            output: Output::Full,
        },
        receiving: Receiving {
            payload_types: Some((1 << 127) | 0x101),
            ssrc: Some(0xdead_beef),
            packet_rate: Some(100),
            byte_rate: Some(20_000),
            burst_ms: Some(500),
            clock_rate: Some(90_000),
        },
        learning: Learning {
            mode: LearningMode::Nat,
            signalling: Some(socket("192.0.2.1:5060").ip()),
            confirmations: Some(3),
            window_ms: Some(2000),
            silence_ms: Some(500),
            roam: Some(Roam {
                silence_ms: 1000,
                sequences: 500,
            }),
        },
    };
    Stream {
        kind: StreamKind::Rtcp,
        a: endpoint,
        b: endpoint,
    }
}

fn session(streams: &[Stream]) -> NewSession {
    NewSession {
        label: b"1-15683@127.0.0.1".to_vec(),
        owner: 1,
        timeout_ms: 60_000,
        streams: streams.to_vec(),
        replace: true,
    }
}

fn state() -> SessionState {
    SessionState::new(5, &session(&[stream()]))
}

/// A session that has met all that can be told of one.
fn eventful_state() -> SessionState {
    let mut state = SessionState::new(1 << 40, &session(&[particular_stream(), stream()]));
    state.age_ms = 5000;
    state.idle_ms = 1 << 33;
    let learned = Learned {
        remote: socket("[2001:db8::11]:4002"),
        locked: true,
    };
    let heard = &mut state.streams[0];
    heard.learned_a = Some(learned);
    heard.quality_b = Some(Quality {
        ssrc: 0xdead_beef,
        clock_rate: Some(8000),
        lost: 1 << 40,
        ..Quality::default()
    });
    heard.from_a = Counters {
        packets: 100,
        bytes: 17_200,
        drops: DropReason::ALL.into_iter().zip(1..).collect(),
        rtcp_packets: 7,
    };
    state
}

fn requests() -> Vec<(&'static str, Request)> {
    let id = 1 << 40;
    vec![
        ("session-new", Request::SessionNew(session(&[stream()]))),
        ("session-new-particular", {
            Request::SessionNew(session(&[particular_stream()]))
        }),
        (
            "session-new-without-streams",
            Request::SessionNew(session(&[])),
        ),
        ("session-set", {
            Request::SessionSet(SetSession {
                id: 5,
                timeout_ms: Some(1000),
                streams: vec![stream()],
                ..SetSession::default()
            })
        }),
        (
            "session-set-nothing",
            Request::SessionSet(SetSession::default()),
        ),
        ("session-del", Request::SessionDel(5)),
        ("session-get-large-id", Request::SessionGet(id)),
        ("session-dump", Request::SessionDump),
        ("session-flush-owner", Request::SessionFlush(Some(1))),
        ("session-flush-all", Request::SessionFlush(None)),
        ("session-bulk-new", {
            Request::SessionBulkNew(vec![session(&[stream()]), session(&[])])
        }),
        ("session-bulk-del", Request::SessionBulkDel(vec![1, id])),
        ("config-get", Request::ConfigGet),
        ("config-set", {
            Request::ConfigSet(SetConfig {
                ports: vec![20_000..=29_999, 40_000..=49_999],
                local_addresses: vec![stream().a.local.ip(), particular_stream().a.local.ip()],
                quality: Some(false),
                limits: Some(Limits {
                    sessions: 10,
                    half_open: 5,
                    memory: id,
                }),
            })
        }),
        ("totals-get", Request::TotalsGet),
    ]
}

fn answers() -> Vec<(&'static str, Answer)> {
    let id = 1 << 40;
    let replaced = vec![1, id];
    let alarm = |session| {
        Answer::Alarm(Alarm {
            reason: AlarmReason::ALL[0],
            session,
            local: socket("10.0.0.5:20002"),
            source: socket("198.51.100.9:4000"),
            packets: 10,
        })
    };
    vec![
        ("session-created", {
            let replaced = replaced.clone();
            Answer::Created(Created { id, replaced })
        }),
        ("sessions-created", {
            let ids = vec![2, 3];
            Answer::BulkCreated(BulkCreated { ids, replaced })
        }),
        ("session", Answer::Session(state())),
        ("session-eventful", Answer::Session(eventful_state())),
        ("flushed", Answer::Flushed(7)),
        ("config", {
            Answer::Config(Config {
                protocol_version: PROTOCOL_VERSION,
                module_version: "0.1.0".to_owned(),
                ports: vec![20_000..=29_999, 40_000..=49_999],
                local_addresses: vec![stream().a.local.ip(), particular_stream().a.local.ip()],
                quality: true,
                limits: Limits::default(),
            })
        }),
        ("config-not-configured", {
            Answer::Config(Config {
                protocol_version: u32::MAX,
                module_version: String::new(),
                ports: vec![],
                local_addresses: vec![],
                quality: false,
                limits: Limits::default(),
            })
        }),
        ("totals", {
            Answer::Totals(Totals {
                relayed: eventful_state().streams[0].from_a,
                refused: Refused {
                    sessions: 1,
                    half_open: 2,
                    memory: u64::MAX,
                },
                ..Totals::default()
            })
        }),
        ("session-ended", Answer::Ended(state(), EndReason::Expired)),
        ("alarm", alarm(None)),
        ("alarm-of-session", {
            alarm(Some(AlarmedSession {
                id: 5,
                label: b"c@h".to_vec(),
                owner: 1,
            }))
        }),
        ("report", {
            Answer::Report(Report {
                session: 5,
                local: socket("10.0.0.5:20003"),
                source: socket("192.0.2.10:4001"),
                arrived_ns: 1 << 50,
                packet: vec![0x80, 201, 0, 1, 0xbb, 0xbb, 0, 2],
            })
        }),
    ]
}

/// Attributes that are not as they should be.
fn damaged(good: &[u8]) -> Seeds {
    let mut longer = good.to_vec();
    longer[0] = 0xff;
    let mut shorter = good.to_vec();
    shorter[0] = 3;
    let mut doubled = good.to_vec();
    doubled.extend(good);
    vec![
        ("damaged-cut-off", good[..good.len() - 3].to_vec()),
        ("damaged-length-too-large", longer),
        ("damaged-length-too-small", shorter),
        ("damaged-everything-twice", doubled),
        (
            "damaged-unknown-attribute",
            [good, &[8, 0, 0xff, 0x3f, 1, 2, 3, 4]].concat(),
        ),
        ("damaged-header-only", vec![4, 0]),
    ]
}

/// A command's number before its attributes.
fn numbered(command: Command, attributes: &[u8]) -> Vec<u8> {
    [&[command as u8], attributes].concat()
}

pub fn netlink_requests() -> Seeds {
    let encoded = |request: &Request| request.encode().expect("short enough");
    let good = requests();
    let wrong = damaged(&encoded(&good[0].1));
    let wrong = wrong.into_iter().map(|(name, attributes)| {
        let bytes = numbered(Command::SessionNew, &attributes);
        (name, bytes)
    });
    let good = good.iter().map(|(name, request)| {
        let bytes = numbered(request.command(), &encoded(request));
        (*name, bytes)
    });
    good.chain(wrong)
        .chain([("no-request-but-event", vec![Command::Alarm as u8])])
        .collect()
}

pub fn netlink_answers() -> Seeds {
    let encoded = |answer: &Answer| answer.encode().expect("short enough");
    let wrong = damaged(&encoded(&Answer::Session(state())));
    let wrong = wrong.into_iter().map(|(name, attributes)| {
        let bytes = numbered(Command::SessionGet, &attributes);
        (name, bytes)
    });
    answers()
        .into_iter()
        .map(|(name, answer)| (name, numbered(answer.command(), &encoded(&answer))))
        .chain(wrong)
        .chain([("acknowledged-only", vec![Command::ConfigSet as u8])])
        .collect()
}

/// The header of a message (`struct nlmsghdr`) and what follows it.
fn message(kind: u16, flags: u16, parts: &[&[u8]]) -> Vec<u8> {
    let payload = parts.concat();
    let length = u32::try_from(16 + payload.len()).expect("short");
    [
        &length.to_le_bytes()[..],
        &kind.to_le_bytes(),
        &flags.to_le_bytes(),
        &[1, 0, 0, 0, 0, 0, 0, 0],
        &payload,
    ]
    .concat()
}

pub fn netlink_messages() -> Seeds {
    const FAMILY: u16 = 0x20;
    const ERROR: u16 = 2;
    const DONE: u16 = 3;
    const CAPPED: u16 = 0x100;
    const ACK_TLVS: u16 = 0x200;
    let errno = |errno: Errno| (-(errno as i32)).to_le_bytes();
    let quoted = message(FAMILY, 5, &[&[4, 1, 0, 0, 0xff]]);
    // Padded, as the kernel quotes it.
    let request = [&quoted[..], &[0; 3]].concat();
    let header = &quoted[..16];
    let words = b"\x20\0\x01\0local-port: 30000 is taken\0\0";
    let all = ACK_TLVS | CAPPED;
    let sent = NetlinkMessage::<GenlMessage<Message>>::try_from(&requests()[0].1);
    let mut sent = sent.expect("short enough");
    sent.finalize();
    let mut request_bytes = vec![0; sent.buffer_len()];
    sent.serialize(&mut request_bytes);
    let answer = |command: Command, answer: &Answer| {
        let attributes = answer.encode().expect("short enough");
        message(FAMILY, 0, &[&[command as u8, 1, 0, 0], &attributes])
    };
    vec![
        ("request", request_bytes),
        (
            "answer",
            answer(Command::SessionGet, &Answer::Session(state())),
        ),
        (
            "answer-to-other-command",
            answer(Command::TotalsGet, &Answer::Flushed(1)),
        ),
        ("unknown-command", message(FAMILY, 0, &[&[0xff, 1, 0, 0]])),
        ("without-genl-header", message(FAMILY, 0, &[])),
        (
            "acknowledgement",
            message(ERROR, CAPPED, &[&[0; 4], header]),
        ),
        (
            "error-in-words",
            message(ERROR, all, &[&errno(Errno::EEXIST), header, words]),
        ),
        ("error-quoting-all", {
            message(ERROR, ACK_TLVS, &[&errno(Errno::EINVAL), &request, words])
        }),
        (
            "error-without-words",
            message(ERROR, CAPPED, &[&errno(Errno::ENOENT), header]),
        ),
        (
            "error-quoting-nothing",
            message(ERROR, ACK_TLVS, &[&errno(Errno::EINVAL)]),
        ),
        ("error-quoting-more-than-there-is", {
            let longer = [&[0xff; 4], &header[4..]].concat();
            message(ERROR, ACK_TLVS, &[&errno(Errno::EINVAL), &longer, words])
        }),
        ("error-words-no-utf8", {
            let words = b"\x08\0\x01\0\xff\xfe\xfd\0";
            message(ERROR, all, &[&errno(Errno::EINVAL), header, words])
        }),
        (
            "error-largest",
            message(ERROR, CAPPED, &[&i32::MIN.to_le_bytes(), header]),
        ),
        ("error-cut-off", message(ERROR, 0, &[&[0xff, 0xff]])),
        ("dump-done", message(DONE, 2, &[&[0; 4]])),
        (
            "dump-failed",
            message(DONE, 2 | ACK_TLVS, &[&errno(Errno::ENOMEM), words]),
        ),
        ("dump-done-without-code", message(DONE, 2, &[])),
        ("overrun", message(4, 0, &[])),
        (
            "length-too-large",
            [&[0xff, 0, 0, 0][..], &message(FAMILY, 0, &[])[4..]].concat(),
        ),
        (
            "length-too-small",
            [&[15, 0, 0, 0][..], &message(FAMILY, 0, &[])[4..]].concat(),
        ),
        ("half-header", header[..8].to_vec()),
    ]
}

pub fn grpc_requests() -> Seeds {
    let all = requests();
    let good = all.iter().map(|(name, request)| {
        let command = wire::command(request).expect("short enough");
        (*name, command.encode_to_vec())
    });
    let command = wire::command(&all[0].1).expect("short enough");
    let other = wire::Command {
        protocol_version: PROTOCOL_VERSION + 1,
        ..command.clone()
    };
    let unknown = wire::Command {
        command: 256,
        ..command.clone()
    };
    let cut_off = wire::Command {
        attributes: command.attributes[..30].to_vec(),
        ..command.clone()
    };
    let bytes = command.encode_to_vec();
    let subscription = wire::Subscription {
        protocol_version: PROTOCOL_VERSION,
        owner: Some(7),
        controller: 0x0123_4567_89ab_cdef,
    };
    good.chain([
        ("subscription", subscription.encode_to_vec()),
        ("other-version", other.encode_to_vec()),
        ("unknown-command", unknown.encode_to_vec()),
        ("attributes-cut-off", cut_off.encode_to_vec()),
        ("message-cut-off", bytes[..bytes.len() - 1].to_vec()),
        ("field-twice", [&bytes[..], &bytes].concat()),
        ("unknown-field", [&bytes[..], &[0x7a, 1, b'x']].concat()),
        ("length-too-large", vec![0x1a, 0xff, 0xff, 0xff, 0xff, 0x0f]),
        (
            "number-of-eleven-bytes",
            [&[0x08][..], &[0x80; 10], &[1]].concat(),
        ),
        ("group", vec![0x0b; 200]),
        ("empty", vec![]),
    ])
    .collect()
}

pub fn grpc_answers() -> Seeds {
    let told = answers().into_iter().map(|(name, told)| {
        let answer = wire::answer(0, Ok(Some(told)));
        (name, answer.encode_to_vec())
    });
    let failed = |error| wire::answer(0, Err(error)).encode_to_vec();
    let event = |event| wire::tell(event).encode_to_vec();
    let differs = Error::VersionDiffers {
        module: "0.2.0".to_owned(),
        theirs: PROTOCOL_VERSION + 1,
        ours: PROTOCOL_VERSION,
    };
    let wordless = Error::Refused(tsl::Refusal {
        errno: -1,
        message: None,
    });
    let alarm = |(_, told)| match told {
        Answer::Alarm(alarm) => Some(alarm),
        _ => None,
    };
    let alarm = answers().into_iter().find_map(alarm).expect("an alarm");
    let ended = event(tsl::Event::Ended(eventful_state(), EndReason::Replaced));
    told.chain([
        ("acknowledged", wire::answer(2, Ok(None)).encode_to_vec()),
        ("refused", {
            let words = "local-port: 30000 is taken by session 5".to_owned();
            failed(wire::refused(Errno::EEXIST, words))
        }),
        ("refused-without-words", failed(wordless)),
        ("no-permission", failed(Error::Permission)),
        ("module-absent", failed(Error::ModuleAbsent)),
        ("version-differs", failed(differs)),
        ("no-answer", failed(Error::NoAnswer)),
        (
            "channel-broke",
            failed(Error::Channel("it broke".to_owned())),
        ),
        ("failure-without-why", vec![0x12, 0]),
        ("message-without-command", vec![0x0a, 0]),
        ("text-no-utf8", vec![0x12, 4, 0x32, 2, 0xff, 0xfe]),
        ("event-cut-off", ended[..ended.len() - 1].to_vec()),
        ("event-ended", ended),
        ("event-alarm", event(tsl::Event::Alarm(alarm))),
        ("event-overrun", event(tsl::Event::Overrun)),
        ("first-event", wire::listens(Ok(())).encode_to_vec()),
        ("first-event-failed", {
            wire::listens(Err(Error::ModuleAbsent)).encode_to_vec()
        }),
        ("empty", vec![]),
    ])
    .collect()
}
