// SPDX-License-Identifier: MIT OR Apache-2.0
//! A second writer of the wire, for the tests alone: attributes as the kernel's
//! `nla_put()` lays them out.

use std::net::{IpAddr, SocketAddr};

use genl_proto::generated::{
    Output, alarm, bulk, config, counters, drops, endpoint, flush, learning, port_range, quality,
    receiving, report, sending, session, stream, totals,
};
use genl_proto::{
    Alarm, Answer, Config, Counters, Endpoint, Learned, Learning, NewSession, Quality, Receiving,
    Report, Sending, SessionState, Stream, StreamState, Totals,
};

/// One attribute: length and number, the value, zeros up to a multiple of four.
pub fn attribute(id: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).expect("a test's value is short");
    let mut bytes = Vec::new();
    bytes.extend(length.to_ne_bytes());
    bytes.extend(id.to_ne_bytes());
    bytes.extend(value);
    while bytes.len() % 4 != 0 {
        bytes.push(0);
    }
    bytes
}

/// An attribute that holds others, with `NLA_F_NESTED`.
pub fn nest(id: u16, inside: &[Vec<u8>]) -> Vec<u8> {
    attribute(0x8000 | id, &inside.concat())
}

fn uint(id: u16, value: u64) -> Vec<u8> {
    if value > u64::from(u32::MAX) {
        attribute(id, &value.to_ne_bytes())
    } else {
        attribute(id, &(value as u32).to_ne_bytes())
    }
}

fn uint32(id: u16, value: u32) -> Vec<u8> {
    attribute(id, &value.to_ne_bytes())
}

fn address(id: u16, value: IpAddr) -> Vec<u8> {
    match value {
        IpAddr::V4(address) => attribute(id, &address.octets()),
        IpAddr::V6(address) => attribute(id, &address.octets()),
    }
}

/// The attributes of an answer or event.
pub fn answer(answer: &Answer) -> Vec<Vec<u8>> {
    match answer {
        Answer::Created(created) => {
            let replaced = created.replaced.iter();
            std::iter::once(uint(session::ID, created.id))
                .chain(replaced.map(|id| uint(session::REPLACED, *id)))
                .collect()
        }
        Answer::BulkCreated(created) => {
            let ids = created.ids.iter().map(|id| uint(bulk::ID, *id));
            let replaced = created.replaced.iter();
            ids.chain(replaced.map(|id| uint(bulk::REPLACED, *id)))
                .collect()
        }
        Answer::Session(state) => session_state(state),
        Answer::Flushed(ended) => vec![uint(flush::ENDED, *ended)],
        Answer::Config(config) => settings(config),
        Answer::Totals(totals) => sums(totals),
        Answer::Ended(state, reason) => {
            let mut attributes = session_state(state);
            attributes.push(uint32(session::END_REASON, *reason as u32));
            attributes
        }
        Answer::Alarm(told) => alarmed(told),
        Answer::Report(told) => reported(told),
    }
}

/// The attributes of a session to make.
pub fn new_session(new: &NewSession) -> Vec<Vec<u8>> {
    let mut attributes = vec![
        attribute(session::LABEL, &new.label),
        uint32(session::OWNER, new.owner),
        uint32(session::TIMEOUT_MS, new.timeout_ms),
    ];
    let streams = new.streams.iter();
    attributes.extend(streams.map(|stream| nest(session::STREAM, &both_sides(stream))));
    if new.replace {
        attributes.push(attribute(session::REPLACE, &[]));
    }
    attributes
}

fn session_state(state: &SessionState) -> Vec<Vec<u8>> {
    let mut attributes = vec![
        uint(session::ID, state.id),
        attribute(session::LABEL, &state.label),
        uint32(session::OWNER, state.owner),
        uint32(session::TIMEOUT_MS, state.timeout_ms),
    ];
    attributes.extend(state.streams.iter().map(stream_state));
    attributes.push(uint(session::AGE_MS, state.age_ms));
    attributes.push(uint(session::IDLE_MS, state.idle_ms));
    attributes
}

fn stream_state(state: &StreamState) -> Vec<u8> {
    let with = |endpoint, found: Option<Learned>| {
        let mut inside = side(endpoint);
        if let Some(found) = found {
            let port = found.remote.port().to_be_bytes();
            inside.push(address(endpoint::LEARNED_ADDRESS, found.remote.ip()));
            inside.push(attribute(endpoint::LEARNED_PORT, &port));
            inside.extend(found.locked.then(|| attribute(endpoint::LOCKED, &[])));
        }
        inside
    };
    let mut inside = vec![
        uint32(stream::KIND, state.stream.kind as u32),
        nest(stream::A, &with(&state.stream.a, state.learned_a)),
        nest(stream::B, &with(&state.stream.b, state.learned_b)),
    ];
    inside.push(nest(stream::FROM_A, &counted(&state.from_a)));
    inside.push(nest(stream::FROM_B, &counted(&state.from_b)));
    for (id, quality) in [
        (stream::QUALITY_A, state.quality_a),
        (stream::QUALITY_B, state.quality_b),
    ] {
        inside.extend(quality.map(|quality| nest(id, &measured(&quality))));
    }
    nest(session::STREAM, &inside)
}

fn both_sides(stream: &Stream) -> Vec<Vec<u8>> {
    vec![
        uint32(stream::KIND, stream.kind as u32),
        nest(stream::A, &side(&stream.a)),
        nest(stream::B, &side(&stream.b)),
    ]
}

fn side(side: &Endpoint) -> Vec<Vec<u8>> {
    let mut attributes = socket((endpoint::LOCAL_ADDRESS, endpoint::LOCAL_PORT), side.local);
    if let Some(remote) = side.remote {
        let ids = (endpoint::REMOTE_ADDRESS, endpoint::REMOTE_PORT);
        attributes.extend(socket(ids, remote));
    }
    if side.sending != Sending::default() {
        attributes.push(nest(endpoint::SENDING, &sent(&side.sending)));
    }
    if side.receiving != Receiving::default() {
        attributes.push(nest(endpoint::RECEIVING, &received(&side.receiving)));
    }
    if side.learning != Learning::default() {
        attributes.push(nest(endpoint::LEARNING, &learns(&side.learning)));
    }
    attributes
}

fn learns(asked: &Learning) -> Vec<Vec<u8>> {
    let mut attributes = vec![uint32(learning::MODE, asked.mode as u32)];
    if let Some(from) = asked.signalling {
        attributes.push(address(learning::SIGNALLING_ADDRESS, from));
    }
    if let Some(packets) = asked.confirmations {
        attributes.push(uint32(learning::CONFIRMATIONS, packets.into()));
    }
    if let Some(ms) = asked.window_ms {
        attributes.push(uint32(learning::WINDOW_MS, ms));
    }
    if let Some(ms) = asked.silence_ms {
        attributes.push(uint32(learning::SILENCE_MS, ms));
    }
    if let Some(roam) = asked.roam {
        attributes.push(uint32(learning::ROAM_SILENCE_MS, roam.silence_ms));
        attributes.push(uint32(learning::ROAM_SEQUENCES, roam.sequences.into()));
    }
    attributes
}

fn sent(asked: &Sending) -> Vec<Vec<u8>> {
    let mut attributes = Vec::new();
    if let Some(dscp) = asked.dscp {
        attributes.push(uint32(sending::DSCP, dscp.into()));
    }
    if let Some(hops) = asked.hop_limit {
        attributes.push(uint32(sending::HOP_LIMIT, hops.into()));
    }
    if asked.mark != 0 {
        attributes.push(uint32(sending::MARK, asked.mark));
    }
    if let Some(device) = asked.device {
        attributes.push(uint32(sending::DEVICE, device));
    }
    if asked.output != Output::Automatic {
        attributes.push(uint32(sending::OUTPUT, asked.output as u32));
    }
    attributes
}

fn received(asked: &Receiving) -> Vec<Vec<u8>> {
    let mut attributes = Vec::new();
    if let Some(types) = asked.payload_types {
        let bitmap: Vec<u8> = (0..16).map(|byte| (types >> (8 * byte)) as u8).collect();
        attributes.push(attribute(receiving::PAYLOAD_TYPES, &bitmap));
    }
    for (id, number) in [
        (receiving::SSRC, asked.ssrc),
        (receiving::PACKET_RATE, asked.packet_rate),
        (receiving::BYTE_RATE, asked.byte_rate),
        (receiving::BURST_MS, asked.burst_ms),
        (receiving::CLOCK_RATE, asked.clock_rate),
    ] {
        attributes.extend(number.map(|number| uint32(id, number)));
    }
    attributes
}

fn measured(measured: &Quality) -> Vec<Vec<u8>> {
    let mut attributes = vec![
        uint32(quality::SSRC, measured.ssrc),
        uint32(quality::HIGHEST_SEQUENCE, measured.highest_sequence),
        uint32(quality::JITTER, measured.jitter),
        uint(quality::LOST, measured.lost),
        uint(quality::REORDERED, measured.reordered),
        uint(quality::DUPLICATES, measured.duplicates),
        uint(quality::JUMPS, measured.jumps),
        uint(quality::RESTARTS, measured.restarts),
        uint(quality::SSRC_CHANGES, measured.ssrc_changes),
        uint(quality::LAST_MS, measured.last_ms),
    ];
    let rate = measured.clock_rate;
    attributes.extend(rate.map(|rate| uint32(quality::CLOCK_RATE, rate)));
    attributes
}

fn counted(counted: &Counters) -> Vec<Vec<u8>> {
    let mut attributes = vec![
        uint(counters::PACKETS, counted.packets),
        uint(counters::BYTES, counted.bytes),
    ];
    for (reason, packets) in counted.drops.iter() {
        let inside = [
            uint32(drops::REASON, reason as u32),
            uint(drops::PACKETS, packets),
        ];
        attributes.push(nest(counters::DROPS, &inside));
    }
    if counted.rtcp_packets > 0 {
        attributes.push(uint(counters::RTCP_PACKETS, counted.rtcp_packets));
    }
    attributes
}

fn settings(settings: &Config) -> Vec<Vec<u8>> {
    let mut version = settings.module_version.clone().into_bytes();
    version.push(0);
    let mut attributes = vec![
        uint32(config::PROTOCOL_VERSION, settings.protocol_version),
        attribute(config::MODULE_VERSION, &version),
    ];
    attributes.extend(settings.ports.iter().map(|range| {
        let inside = [
            attribute(port_range::FIRST, &range.start().to_ne_bytes()),
            attribute(port_range::LAST, &range.end().to_ne_bytes()),
        ];
        nest(config::PORT_RANGE, &inside)
    }));
    let addresses = settings.local_addresses.iter();
    attributes.extend(addresses.map(|of| address(config::LOCAL_ADDRESS, *of)));
    attributes.push(uint32(config::QUALITY, settings.quality.into()));
    attributes.push(uint32(config::SESSIONS_MAX, settings.limits.sessions));
    attributes.push(uint32(config::HALF_OPEN_MAX, settings.limits.half_open));
    attributes.push(uint(config::MEMORY_MAX, settings.limits.memory));
    attributes
}

fn sums(sums: &Totals) -> Vec<Vec<u8>> {
    vec![
        uint(totals::SESSIONS, sums.sessions),
        uint(totals::CREATED, sums.created),
        uint(totals::EXPIRED, sums.expired),
        uint(totals::REPLACED, sums.replaced),
        nest(totals::RELAYED, &counted(&sums.relayed)),
        uint(totals::HALF_OPEN, sums.half_open),
        uint(totals::MEMORY, sums.memory),
        uint(totals::REFUSED_SESSIONS, sums.refused.sessions),
        uint(totals::REFUSED_HALF_OPEN, sums.refused.half_open),
        uint(totals::REFUSED_MEMORY, sums.refused.memory),
        uint(totals::ALARMS, sums.alarms),
        uint(totals::ALARMS_MISSED, sums.alarms_missed),
    ]
}

fn alarmed(told: &Alarm) -> Vec<Vec<u8>> {
    let mut attributes = vec![uint32(alarm::REASON, told.reason as u32)];
    if let Some(session) = &told.session {
        attributes.push(uint(alarm::SESSION, session.id));
        attributes.push(attribute(alarm::LABEL, &session.label));
        attributes.push(uint32(alarm::OWNER, session.owner));
    }
    let local = (alarm::LOCAL_ADDRESS, alarm::LOCAL_PORT);
    let source = (alarm::SOURCE_ADDRESS, alarm::SOURCE_PORT);
    attributes.extend(socket(local, told.local));
    attributes.extend(socket(source, told.source));
    attributes.push(uint(alarm::PACKETS, told.packets));
    attributes
}

fn reported(told: &Report) -> Vec<Vec<u8>> {
    let local = (report::LOCAL_ADDRESS, report::LOCAL_PORT);
    let source = (report::SOURCE_ADDRESS, report::SOURCE_PORT);
    let mut attributes = vec![uint(report::SESSION, told.session)];
    attributes.extend(socket(local, told.local));
    attributes.extend(socket(source, told.source));
    attributes.push(uint(report::ARRIVED_NS, told.arrived_ns));
    attributes.push(attribute(report::PACKET, &told.packet));
    attributes
}

fn socket((ip, port): (u16, u16), of: SocketAddr) -> Vec<Vec<u8>> {
    let port = attribute(port, &of.port().to_be_bytes());
    vec![address(ip, of.ip()), port]
}
