// SPDX-License-Identifier: MIT OR Apache-2.0
//! What holds for any message.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use genl_proto::generated::{
    AlarmReason, Attribute, BULK_MAX, Command, DropReason, EndReason, Kind, LABEL_MAX,
    LearningMode, OPERATIONS, Operation, Output, PORT_RANGES_MAX, REPORT_MAX, STREAMS_MAX,
    StreamKind, TIMEOUT_MAX_MS, TIMEOUT_MIN_MS,
};
use genl_proto::{
    Alarm, AlarmedSession, Answer, BulkCreated, Config, Counters, Created, Endpoint, Learned,
    Learning, Limits, Message, NewSession, Quality, Receiving, Refusal, Refused, Report, Request,
    Roam, Sending, SessionState, SetConfig, SetSession, Stream, StreamState, Totals,
};
use netlink_packet_core::{Emitable, NetlinkMessage, NetlinkPayload, ParseableParametrized};
use netlink_packet_generic::{GenlHeader, GenlMessage};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use crate::wire;

fn socket() -> impl Strategy<Value = SocketAddr> {
    (any::<IpAddr>(), 1..=u16::MAX).prop_map(SocketAddr::from)
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    (
        socket(),
        option::of(socket()),
        sending(),
        receiving(),
        learning(),
    )
        .prop_map(|(local, remote, sending, receiving, learning)| Endpoint {
            local,
            remote,
            sending,
            receiving,
            learning,
        })
}

prop_compose! {
    fn learning()(
        mode in select(&LearningMode::ALL[..]),
        signalling: Option<IpAddr>,
        confirmations in option::of(1..=u8::MAX),
        window_ms in option::of(0..=60_000_u32),
        silence_ms in option::of(0..=60_000_u32),
        roam in option::of((1..=60_000_u32, 1..=32_767_u16)),
    ) -> Learning {
        let roam = roam.map(|(silence_ms, sequences)| Roam { silence_ms, sequences });
        Learning { mode, signalling, confirmations, window_ms, silence_ms, roam }
    }
}

fn learned() -> impl Strategy<Value = Learned> {
    (socket(), any::<bool>()).prop_map(|(remote, locked)| Learned { remote, locked })
}

prop_compose! {
    fn sending()(
        dscp in option::of(0..=63_u8),
        hop_limit in option::of(1..=u8::MAX),
        mark: u32,
        device in option::of(1..=i32::MAX as u32),
        output in select(&Output::ALL[..]),
    ) -> Sending {
        Sending { dscp, hop_limit, mark, device, output }
    }
}

prop_compose! {
    fn receiving()(
        payload_types: Option<u128>,
        ssrc: Option<u32>,
        packet_rate in option::of(1..=u32::MAX),
        byte_rate in option::of(1..=u32::MAX),
        burst_ms in option::of(1..=60_000_u32),
        clock_rate in option::of(1..=249_999_999_u32),
    ) -> Receiving {
        Receiving { payload_types, ssrc, packet_rate, byte_rate, burst_ms, clock_rate }
    }
}

fn stream() -> impl Strategy<Value = Stream> {
    (select(&StreamKind::ALL[..]), endpoint(), endpoint()).prop_map(|(kind, a, b)| Stream {
        kind,
        a,
        b,
    })
}

fn label() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..=LABEL_MAX as usize)
}

fn timeout() -> impl Strategy<Value = u32> {
    TIMEOUT_MIN_MS..=TIMEOUT_MAX_MS
}

prop_compose! {
    fn new_session()(
        label in label(),
        owner: u32,
        timeout_ms in timeout(),
        streams in vec(stream(), 1..=STREAMS_MAX as usize),
        replace: bool,
    ) -> NewSession {
        NewSession { label, owner, timeout_ms, streams, replace }
    }
}

prop_compose! {
    fn set_session()(
        id: u64,
        label in option::of(label()),
        owner: Option<u32>,
        timeout_ms in option::of(timeout()),
        streams in vec(stream(), 0..4),
    ) -> SetSession {
        SetSession { id, label, owner, timeout_ms, streams }
    }
}

prop_compose! {
    fn limits()(sessions: u32, half_open: u32, memory: u64) -> Limits {
        Limits { sessions, half_open, memory }
    }
}

fn ports() -> impl Strategy<Value = Vec<RangeInclusive<u16>>> {
    let range = (1..=u16::MAX, 1..=u16::MAX).prop_map(|(first, last)| first..=last);
    vec(range, 0..=PORT_RANGES_MAX as usize)
}

prop_compose! {
    fn set_config()(
        ports in ports(),
        local_addresses: Vec<IpAddr>,
        quality: Option<bool>,
        limits in option::of(limits()),
    ) -> SetConfig {
        SetConfig { ports, local_addresses, quality, limits }
    }
}

fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        new_session().prop_map(Request::SessionNew),
        set_session().prop_map(Request::SessionSet),
        any::<u64>().prop_map(Request::SessionDel),
        any::<u64>().prop_map(Request::SessionGet),
        Just(Request::SessionDump),
        any::<Option<u32>>().prop_map(Request::SessionFlush),
        vec(new_session(), 0..8).prop_map(Request::SessionBulkNew),
        vec(any::<u64>(), 0..=BULK_MAX as usize).prop_map(Request::SessionBulkDel),
        Just(Request::ConfigGet),
        set_config().prop_map(Request::ConfigSet),
        Just(Request::TotalsGet),
    ]
}

prop_compose! {
    fn counters()(
        packets: u64,
        bytes: u64,
        drops in vec((select(&DropReason::ALL[..]), any::<u64>()), 0..4),
        rtcp_packets: u64,
    ) -> Counters {
        Counters { packets, bytes, drops: drops.into_iter().collect(), rtcp_packets }
    }
}

fn stream_state() -> impl Strategy<Value = StreamState> {
    (
        stream(),
        (option::of(learned()), option::of(learned())),
        (counters(), counters()),
        (option::of(quality()), option::of(quality())),
    )
        .prop_map(
            |(stream, (learned_a, learned_b), (from_a, from_b), (quality_a, quality_b))| {
                StreamState {
                    stream,
                    learned_a,
                    learned_b,
                    from_a,
                    from_b,
                    quality_a,
                    quality_b,
                }
            },
        )
}

prop_compose! {
    fn quality()(
        (ssrc, highest_sequence, jitter) in any::<(u32, u32, u32)>(),
        clock_rate: Option<u32>,
        (lost, reordered, duplicates) in any::<(u64, u64, u64)>(),
        (jumps, restarts, ssrc_changes) in any::<(u64, u64, u64)>(),
        last_ms: u64,
    ) -> Quality {
        Quality {
            ssrc, highest_sequence, clock_rate, jitter, lost, reordered, duplicates, jumps, restarts,
            ssrc_changes, last_ms,
        }
    }
}

prop_compose! {
    fn session_state()(
        id: u64,
        label in label(),
        owner: u32,
        timeout_ms: u32,
        streams in vec(stream_state(), 0..=STREAMS_MAX as usize),
        age_ms: u64,
        idle_ms: u64,
    ) -> SessionState {
        SessionState { id, label, owner, timeout_ms, streams, age_ms, idle_ms }
    }
}

prop_compose! {
    fn config()(
        protocol_version: u32,
        module_version in "[^\0]{0,20}",
        ports in ports(),
        local_addresses: Vec<IpAddr>,
        quality: bool,
        limits in limits(),
    ) -> Config {
        Config { protocol_version, module_version, ports, local_addresses, quality, limits }
    }
}

prop_compose! {
    fn totals()(
        sessions: u64,
        created: u64,
        expired: u64,
        replaced: u64,
        relayed in counters(),
        (half_open, memory) in any::<(u64, u64)>(),
        refused in any::<(u64, u64, u64)>(),
        (alarms, alarms_missed) in any::<(u64, u64)>(),
    ) -> Totals {
        let refused = Refused { sessions: refused.0, half_open: refused.1, memory: refused.2 };
        Totals {
            sessions, created, expired, replaced, relayed, half_open, memory, refused, alarms,
            alarms_missed,
        }
    }
}

fn socket_address() -> impl Strategy<Value = SocketAddr> {
    any::<(IpAddr, u16)>().prop_map(|(ip, port)| SocketAddr::new(ip, port))
}

prop_compose! {
    fn alarm()(
        reason in select(&AlarmReason::ALL[..]),
        session in option::of((any::<u64>(), label(), any::<u32>())),
        local in socket_address(),
        source in socket_address(),
        packets: u64,
    ) -> Alarm {
        let session = session.map(|(id, label, owner)| AlarmedSession { id, label, owner });
        Alarm { reason, session, local, source, packets }
    }
}

prop_compose! {
    fn report()(
        session: u64,
        local in socket_address(),
        source in socket_address(),
        arrived_ns: u64,
        packet in vec(any::<u8>(), 0..REPORT_MAX as usize),
    ) -> Report {
        Report { session, local, source, arrived_ns, packet }
    }
}

/// Answers with the commands they come with.
fn answer() -> impl Strategy<Value = (Command, Answer)> {
    let created = any::<(u64, Vec<u64>)>().prop_map(|(id, replaced)| Created { id, replaced });
    let several =
        any::<(Vec<u64>, Vec<u64>)>().prop_map(|(ids, replaced)| BulkCreated { ids, replaced });
    let state = select(vec![Command::SessionGet, Command::SessionDel]);
    let reason = select(&EndReason::ALL[..]);
    // Boxed, or their values would not fit onto the stack of a test's thread together.
    prop_oneof![
        created
            .prop_map(|created| (Command::SessionNew, Answer::Created(created)))
            .boxed(),
        several
            .prop_map(|several| (Command::SessionBulkNew, Answer::BulkCreated(several)))
            .boxed(),
        (state, session_state())
            .prop_map(|(command, state)| (command, Answer::Session(state)))
            .boxed(),
        any::<u64>()
            .prop_map(|ended| (Command::SessionFlush, Answer::Flushed(ended)))
            .boxed(),
        config()
            .prop_map(|config| (Command::ConfigGet, Answer::Config(config)))
            .boxed(),
        totals()
            .prop_map(|totals| (Command::TotalsGet, Answer::Totals(totals)))
            .boxed(),
        (session_state(), reason)
            .prop_map(|(state, reason)| (Command::SessionEnded, Answer::Ended(state, reason)))
            .boxed(),
        alarm()
            .prop_map(|alarm| (Command::Alarm, Answer::Alarm(alarm)))
            .boxed(),
        report()
            .prop_map(|report| (Command::Report, Answer::Report(report)))
            .boxed(),
    ]
}

/// Checks attributes as the kernel does when it validates strictly
/// (`__nla_validate_parse()`, `lib/nlattr.c`).
fn validate(set: &[Attribute], allowed: &dyn Fn(u16) -> bool, mut bytes: &[u8]) {
    let mut seen = Vec::new();
    while !bytes.is_empty() {
        let length = usize::from(u16::from_ne_bytes([bytes[0], bytes[1]]));
        let kind = u16::from_ne_bytes([bytes[2], bytes[3]]);
        let (id, nested) = (kind & 0x3fff, kind & 0x8000 != 0);
        let value = &bytes[4..length];
        assert!(allowed(id), "attribute {id} is not part of the command");
        let known = set.iter().find(|known| known.id == id);
        let known = known.unwrap_or_else(|| panic!("attribute {id} is not in the set"));
        assert!(known.multi || !seen.contains(&id), "{} twice", known.name);
        seen.push(id);
        assert_eq!(nested, matches!(known.kind, Kind::Nest(_)));
        match known.kind {
            Kind::Flag => assert!(value.is_empty()),
            Kind::U16 {
                big_endian,
                min,
                max,
            } => {
                let value: [u8; 2] = value.try_into().unwrap();
                let value = match big_endian {
                    true => u16::from_be_bytes(value),
                    false => u16::from_ne_bytes(value),
                };
                assert!((min..=max).contains(&value));
            }
            Kind::U32 { min, max } => {
                let value = u32::from_ne_bytes(value.try_into().unwrap());
                assert!((min..=max).contains(&value));
            }
            Kind::Uint => assert!(matches!(value.len(), 4 | 8)),
            Kind::String => assert_eq!(value.last(), Some(&0)),
            Kind::Binary { min_len, max_len } => {
                assert!((min_len.into()..=max_len.into()).contains(&value.len()));
            }
            Kind::Nest(inside) => validate(inside, &|_| true, value),
        }
        let padded = length.next_multiple_of(4);
        assert!(bytes[length..padded].iter().all(|byte| *byte == 0));
        bytes = &bytes[padded..];
    }
}

fn operation(command: Command) -> &'static Operation {
    const ALL: &[Operation] = &OPERATIONS;
    ALL.iter()
        .find(|operation| operation.command == command)
        .expect("a request is an operation")
}

proptest! {
    #[test]
    fn a_request_passes_the_checks_of_its_operation(request in request()) {
        let operation = operation(request.command());
        let bytes = request.encode().unwrap();
        let allowed = |id| operation.request.contains(&id);
        validate(operation.attributes, &allowed, &bytes);
        if matches!(request, Request::SessionDump) {
            prop_assert!(operation.dump && bytes.is_empty());
        }
    }

    #[test]
    fn a_new_session_is_sent_as_the_kernel_lays_attributes_out(new in new_session()) {
        let sent = Request::SessionNew(new.clone()).encode();
        prop_assert_eq!(sent, Ok(wire::new_session(&new).concat()));
    }

    #[test]
    fn a_request_is_read_as_it_was_written(request in request()) {
        let bytes = request.encode().unwrap();
        prop_assert_eq!(Request::decode(request.command(), &bytes), Ok(request));
    }

    #[test]
    fn an_answer_is_written_as_the_kernel_lays_attributes_out((_, answer) in answer()) {
        prop_assert_eq!(answer.encode(), Ok(wire::answer(&answer).concat()));
    }

    #[test]
    fn an_answer_is_read_as_it_was_written((command, answer) in answer()) {
        let bytes = wire::answer(&answer).concat();
        prop_assert_eq!(Answer::decode(command, &bytes), Ok(answer));
    }

    #[test]
    fn a_message_goes_through_netlink_unchanged((command, answer) in answer()) {
        let bytes = wire::answer(&answer).concat();
        let header = GenlHeader { cmd: command as u8, version: 1 };
        let message = Message::parse_with_param(&bytes, header).unwrap();
        prop_assert_eq!(message.answer(), Ok(answer));
        let mut emitted = vec![0; message.buffer_len()];
        message.emit(&mut emitted);
        prop_assert_eq!(emitted, bytes);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(
        command in select(&Command::ALL[..]),
        bytes in vec(any::<u8>(), 0..200),
    ) {
        let _ = Answer::decode(command, &bytes);
        let _ = Request::decode(command, &bytes);
    }

    #[test]
    fn no_damage_makes_the_reader_panic(
        (command, answer) in answer(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        end in any::<prop::sample::Index>(),
    ) {
        let mut bytes = wire::answer(&answer).concat();
        bytes.truncate(end.index(bytes.len() + 1));
        for (at, byte) in damage {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        let _ = Answer::decode(command, &bytes);
    }

    #[test]
    fn a_message_of_an_unknown_command_is_an_error(
        cmd in (Command::ALL.len() as u8 + 1)..,
        bytes: Vec<u8>,
    ) {
        let header = GenlHeader { cmd, version: 1 };
        let message = Message::parse_with_param(&bytes, header).unwrap();
        let error = message.answer().unwrap_err();
        prop_assert_eq!(error.to_string(), format!("no such message has command {cmd}"));
    }

    #[test]
    fn no_error_makes_the_reader_panic(
        kind in select(vec![2u16, 3]),
        flags: u16,
        payload in vec(any::<u8>(), 4..80),
    ) {
        let length = 16 + payload.len() as u32;
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend([0; 8]);
        bytes.extend(payload);
        let message = NetlinkMessage::<GenlMessage<Message>>::deserialize(&bytes).unwrap();
        prop_assert!(!matches!(message.payload, NetlinkPayload::InnerMessage(_)));
        let _ = Refusal::of(&message).map(|refusal| refusal.to_string());
    }
}
