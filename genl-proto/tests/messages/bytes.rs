// SPDX-License-Identifier: MIT OR Apache-2.0
//! Messages byte by byte, written by hand from the netlink rules
//! (`Documentation/userspace-api/netlink/intro.rst`) for a little-endian
//! machine.

#![cfg(target_endian = "little")]

use genl_proto::generated::{Command, DropReason, EndReason, StreamKind};
use genl_proto::{
    Answer, Config, Counters, Created, Endpoint, Limits, Message, NewSession, Request,
    SessionState, SetConfig, SetSession, Stream, StreamState,
};
use netlink_packet_core::NetlinkMessage;
use netlink_packet_generic::GenlMessage;

const STREAM: [u8; 68] = [
    0x44, 0x00, 0x05, 0x80, // stream, a nest of 64 bytes
    0x08, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, // kind: rtp
    0x24, 0x00, 0x02, 0x80, // a, a nest of 32 bytes
    0x08, 0x00, 0x01, 0x00, 192, 0, 2, 1, // local-address
    0x06, 0x00, 0x02, 0x00, 0x75, 0x30, 0x00, 0x00, // local-port: 30000, padded
    0x08, 0x00, 0x03, 0x00, 198, 51, 100, 9, // remote-address
    0x06, 0x00, 0x04, 0x00, 0x0f, 0xa0, 0x00, 0x00, // remote-port: 4000, padded
    0x14, 0x00, 0x03, 0x80, // b, a nest of 16 bytes
    0x08, 0x00, 0x01, 0x00, 192, 0, 2, 1, // local-address
    0x06, 0x00, 0x02, 0x00, 0x75, 0x32, 0x00, 0x00, // local-port: 30002, padded
];

fn stream() -> Stream {
    Stream {
        kind: StreamKind::Rtp,
        a: Endpoint::new(
            ([192, 0, 2, 1], 30000).into(),
            Some(([198, 51, 100, 9], 4000).into()),
        ),
        b: Endpoint::new(([192, 0, 2, 1], 30002).into(), None),
    }
}

fn session() -> NewSession {
    NewSession {
        label: b"call-1".to_vec(),
        owner: 7,
        timeout_ms: 30_000,
        streams: vec![stream()],
        replace: true,
    }
}

fn new_session_bytes() -> Vec<u8> {
    [
        &[
            0x0a, 0x00, 0x02, 0x00, b'c', b'a', b'l', b'l', b'-', b'1', 0, 0, // label, padded
            0x08, 0x00, 0x03, 0x00, 0x07, 0x00, 0x00, 0x00, // owner: 7
            0x08, 0x00, 0x04, 0x00, 0x30, 0x75, 0x00, 0x00, // timeout-ms: 30000
        ],
        STREAM.as_slice(),
        &[0x04, 0x00, 0x06, 0x00], // replace, a flag
    ]
    .concat()
}

#[track_caller]
fn is_sent_as(request: &Request, bytes: &[u8]) {
    assert_eq!(request.encode().as_deref(), Ok(bytes));
}

#[test]
fn a_new_session_is_sent_as_these_bytes() {
    is_sent_as(&Request::SessionNew(session()), &new_session_bytes());
}

#[test]
fn a_message_starts_with_both_headers() {
    let request = Request::SessionNew(session());
    let mut message = NetlinkMessage::<GenlMessage<Message>>::try_from(&request).unwrap();
    message.header.sequence_number = 0x0102_0304;
    message.finalize();
    let mut sent = vec![0; message.buffer_len()];
    message.serialize(&mut sent);
    let headers = [
        0x78, 0x00, 0x00, 0x00, // length: 20 and 12 + 8 + 8 + 68 + 4
        0x00, 0x00, // family, not resolved yet
        0x05, 0x00, // NLM_F_REQUEST, NLM_F_ACK
        0x04, 0x03, 0x02, 0x01, // sequence number
        0x00, 0x00, 0x00, 0x00, // port
        0x01, // session-new
        0x02, // version
        0x00, 0x00, // reserved
    ];
    assert_eq!(sent, [&headers, new_session_bytes().as_slice()].concat());
}

#[test]
fn only_the_request_for_all_sessions_is_a_dump() {
    let flags = |request| {
        NetlinkMessage::<GenlMessage<Message>>::try_from(&request)
            .unwrap()
            .header
            .flags
    };
    assert_eq!(flags(Request::SessionDump), 0x301); // NLM_F_REQUEST, NLM_F_DUMP
    assert_eq!(flags(Request::SessionGet(1)), 0x5); // NLM_F_REQUEST, NLM_F_ACK
}

#[test]
fn a_change_carries_only_what_is_to_change() {
    let change = SetSession {
        id: 0x1_0000_0000,
        streams: vec![stream()],
        ..SetSession::default()
    };
    let id = [0x0c, 0, 0x01, 0, 0, 0, 0, 0, 1, 0, 0, 0]; // a uint of 8 bytes
    is_sent_as(
        &Request::SessionSet(change),
        &[id.as_slice(), &STREAM].concat(),
    );

    let change = SetSession {
        id: 2,
        label: Some(b"x".to_vec()),
        owner: Some(3),
        timeout_ms: Some(4000),
        streams: vec![],
    };
    let bytes = [
        0x08, 0, 0x01, 0, 2, 0, 0, 0, // id, a uint of 4 bytes
        0x05, 0, 0x02, 0, b'x', 0, 0, 0, // label, padded
        0x08, 0, 0x03, 0, 3, 0, 0, 0, // owner
        0x08, 0, 0x04, 0, 0xa0, 0x0f, 0, 0, // timeout-ms: 4000
    ];
    is_sent_as(&Request::SessionSet(change), &bytes);
}

#[test]
fn sessions_of_a_bulk_command_are_nests_in_order() {
    let one = new_session_bytes();
    let head = [0x68, 0x00, 0x01, 0x80]; // session, a nest of 100 bytes
    is_sent_as(
        &Request::SessionBulkNew(vec![session(), session()]),
        &[&head, one.as_slice(), &head, &one].concat(),
    );
    is_sent_as(
        &Request::SessionBulkDel(vec![1, 2]),
        &[8, 0, 2, 0, 1, 0, 0, 0, 8, 0, 2, 0, 2, 0, 0, 0],
    );
}

#[test]
fn small_requests_are_sent_as_these_bytes() {
    let id_five = [8, 0, 1, 0, 5, 0, 0, 0];
    is_sent_as(&Request::SessionGet(5), &id_five);
    is_sent_as(&Request::SessionDel(5), &id_five);
    is_sent_as(&Request::SessionFlush(Some(5)), &id_five); // owner is 1 in its set
    is_sent_as(&Request::SessionFlush(None), &[]);
    is_sent_as(&Request::SessionDump, &[]);
    is_sent_as(&Request::ConfigGet, &[]);
    is_sent_as(&Request::TotalsGet, &[]);
}

#[test]
fn settings_are_sent_as_these_bytes() {
    let settings = SetConfig {
        ports: vec![30_000..=40_000, 50_000..=50_001],
        local_addresses: vec![[192, 0, 2, 1].into(), "2001:db8::1".parse().unwrap()],
        quality: Some(false),
        limits: Some(Limits {
            sessions: 1000,
            half_open: 100,
            memory: 1 << 32,
        }),
    };
    let bytes = [
        0x14, 0, 0x03, 0x80, // port-range
        0x06, 0, 0x01, 0, 0x30, 0x75, 0, 0, // first: 30000 in host order, padded
        0x06, 0, 0x02, 0, 0x40, 0x9c, 0, 0, // last: 40000
        0x14, 0, 0x03, 0x80, // port-range
        0x06, 0, 0x01, 0, 0x50, 0xc3, 0, 0, // first: 50000
        0x06, 0, 0x02, 0, 0x51, 0xc3, 0, 0, // last: 50001
        0x08, 0, 0x04, 0, 192, 0, 2, 1, // local-address
        0x14, 0, 0x04, 0, 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x08, 0,
        0x05, 0, 0, 0, 0, 0, // quality: 0
        0x08, 0, 0x06, 0, 0xe8, 0x03, 0, 0, // sessions-max: 1000
        0x08, 0, 0x07, 0, 100, 0, 0, 0, // half-open-max: 100
        0x0c, 0, 0x08, 0, 0, 0, 0, 0, 1, 0, 0, 0, // memory-max: 2^32
    ];
    is_sent_as(&Request::ConfigSet(settings), &bytes);
    is_sent_as(&Request::ConfigSet(SetConfig::default()), &[]);
}

#[test]
fn the_number_of_a_session_is_read_in_both_sizes() {
    let bytes = [
        0x08, 0, 0x01, 0, 5, 0, 0, 0, // id, 4 bytes
        0x0c, 0, 0x07, 0, 0, 0, 0, 0, 1, 0, 0, 0, // replaced, 8 bytes
    ];
    let created = Created {
        id: 5,
        replaced: vec![1 << 32],
    };
    assert_eq!(
        Answer::decode(Command::SessionNew, &bytes),
        Ok(Answer::Created(created))
    );
}

#[test]
fn a_session_that_ended_is_read_from_these_bytes() {
    let counters_a = [
        0x08, 0, 0x01, 0, 50, 0, 0, 0, // packets: 50
        0x08, 0, 0x02, 0, 0x40, 0x1f, 0, 0, // bytes: 8000
        0x14, 0, 0x03, 0x80, // drops, a nest of 16 bytes
        0x08, 0, 0x01, 0, 3, 0, 0, 0, // reason: held
        0x08, 0, 0x02, 0, 9, 0, 0, 0, // packets: 9
    ];
    let counters_b = [0x08, 0, 0x01, 0, 0, 0, 0, 0, 0x08, 0, 0x02, 0, 0, 0, 0, 0];
    let mut stream_bytes = STREAM.to_vec();
    stream_bytes.extend([0x28, 0, 0x04, 0x80]); // from-a, a nest of 36 bytes
    stream_bytes.extend(counters_a);
    stream_bytes.extend([0x14, 0, 0x05, 0x80]); // from-b, a nest of 16 bytes
    stream_bytes.extend(counters_b);
    stream_bytes[0] = 0x80; // the stream now has 124 bytes

    let bytes = [
        &[
            0x08, 0, 0x01, 0, 5, 0, 0, 0, // id
            0x04, 0, 0x02, 0, // label, empty
            0x08, 0, 0x03, 0, 7, 0, 0, 0, // owner
            0x08, 0, 0x04, 0, 0x30, 0x75, 0, 0, // timeout-ms
        ],
        stream_bytes.as_slice(),
        &[
            0x08, 0, 0x08, 0, 0x10, 0x27, 0, 0, // age-ms: 10000
            0x08, 0, 0x09, 0, 0xe8, 0x03, 0, 0, // idle-ms: 1000
            0x08, 0, 0x0a, 0, 3, 0, 0, 0, // end-reason: replaced
        ],
    ]
    .concat();
    let state = SessionState {
        id: 5,
        label: vec![],
        owner: 7,
        timeout_ms: 30_000,
        streams: vec![StreamState {
            stream: stream(),
            learned_a: None,
            learned_b: None,
            from_a: Counters {
                packets: 50,
                bytes: 8000,
                drops: [(DropReason::Held, 9)].into_iter().collect(),
                rtcp_packets: 0,
            },
            from_b: Counters::default(),
            quality_a: None,
            quality_b: None,
        }],
        age_ms: 10_000,
        idle_ms: 1000,
    };
    assert_eq!(
        Answer::decode(Command::SessionEnded, &bytes),
        Ok(Answer::Ended(state, EndReason::Replaced))
    );
}

#[test]
fn settings_not_made_yet_are_read_as_none() {
    let bytes = [
        0x08, 0, 0x01, 0, 1, 0, 0, 0, // protocol-version
        0x0a, 0, 0x02, 0, b'0', b'.', b'1', b'.', b'0', 0, 0, 0, // module-version, padded
        0x08, 0, 0x05, 0, 1, 0, 0, 0, // quality: 1
        0x08, 0, 0x06, 0, 0, 0, 0, 0, // sessions-max: 0
        0x08, 0, 0x07, 0, 0, 0, 0, 0, // half-open-max: 0
        0x08, 0, 0x08, 0, 0, 0, 0, 0, // memory-max: 0
    ];
    let config = Config {
        protocol_version: 1,
        module_version: "0.1.0".to_owned(),
        ports: vec![],
        local_addresses: vec![],
        quality: true,
        limits: Limits::default(),
    };
    assert_eq!(
        Answer::decode(Command::ConfigGet, &bytes),
        Ok(Answer::Config(config))
    );
}
