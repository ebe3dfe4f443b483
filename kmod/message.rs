// SPDX-License-Identifier: GPL-2.0

//! From attributes to values and back.

use crate::{
    alarms::Told,
    counters::Totals,
    net::{
        genl::Request,
        nlattr::{
            Attribute,
            Attributes,
            ById,
            Writer, //
        },
        route,
        time::Jiffies, //
    },
    proto::{
        self,
        alarm,
        counters,
        drops,
        endpoint,
        learning,
        quality,
        receiving,
        report,
        sending,
        session,
        stream,
        DropReason,
        LearningMode,
        Output as OutputNumber,
        StreamKind, //
    },
    relay::{
        admission::Side,
        learning::{
            Mode,
            Roam, //
        },
        policy::{
            Learning,
            Output,
            PayloadTypes,
            Receiving,
            Sending, //
        },
        quality::{
            Counts,
            Standing, //
        },
        rate::Rate,
        validate::Endpoint, //
    },
    sessions::{
        Changes,
        Session,
        Wanted, //
    },
    stream::{
        Known,
        LiveStream,
        Stream, //
    },
};
use core::net::{
    IpAddr,
    SocketAddr, //
};
use kernel::prelude::*;

/// Room for what a session has besides streams, in bytes.
const SESSION_SIZE: usize = 512;
/// Room for one stream with its counters, in bytes.
const STREAM_SIZE: usize = 1536;
/// Room for the largest session, in bytes.
pub(crate) const SESSION_MAX: usize = SESSION_SIZE + STREAM_SIZE * proto::STREAMS_MAX as usize;

/// Room for an alarm, in bytes.
pub(crate) const ALARM_SIZE: usize = 512;
/// Room for an RTCP packet, in bytes.
pub(crate) const REPORT_SIZE: usize = 128 + proto::REPORT_MAX as usize;

/// An attribute that must be there.
pub(crate) fn required<'a>(
    request: &Request<'a>,
    set: &[proto::Attribute],
    attributes: &ById<'a>,
    nest: Option<Attribute<'a>>,
    id: u16,
) -> Result<Attribute<'a>> {
    if let Some(attribute) = attributes.get(id) {
        return Ok(attribute);
    }
    match set.iter().find(|attribute| attribute.id == id) {
        Some(missing) => Err(request.missing(missing, nest)),
        None => Err(EINVAL),
    }
}

/// The id a command is about.
pub(crate) fn session_id(request: &Request<'_>) -> Result<u64> {
    required(
        request,
        &session::ATTRS,
        &request.attributes().by_id(),
        None,
        session::ID,
    )?
    .uint()
    .ok_or(EINVAL)
}

/// A session to be made: from the attributes of a command, or from those inside `nest`.
pub(crate) fn wanted<'a>(
    request: &Request<'a>,
    attributes: Attributes<'a>,
    nest: Option<Attribute<'a>>,
) -> Result<Wanted> {
    let attributes = &attributes.by_id();
    let timeout = required(
        request,
        &session::ATTRS,
        attributes,
        nest,
        session::TIMEOUT_MS,
    )?;
    // That there is one.
    required(request, &session::ATTRS, attributes, nest, session::STREAM)?;
    Ok(Wanted {
        label: label(attributes)?.unwrap_or_default(),
        owner: owner(attributes).unwrap_or_default(),
        timeout_ms: timeout.u32().ok_or(EINVAL)?,
        streams: streams(request, attributes)?,
        replace: attributes.get(session::REPLACE).is_some(),
    })
}

/// Changes of a session.
pub(crate) fn changes(request: &Request<'_>) -> Result<Changes> {
    let attributes = &request.attributes().by_id();
    Ok(Changes {
        label: label(attributes)?,
        owner: owner(attributes),
        timeout_ms: attributes
            .get(session::TIMEOUT_MS)
            .and_then(|timeout| timeout.u32()),
        streams: streams(request, attributes)?,
    })
}

fn label(attributes: &ById<'_>) -> Result<Option<KVec<u8>>> {
    let Some(label) = attributes.get(session::LABEL) else {
        return Ok(None);
    };
    let mut bytes = KVec::new();
    bytes.extend_from_slice(label.payload(), GFP_KERNEL)?;
    Ok(Some(bytes))
}

fn owner(attributes: &ById<'_>) -> Option<u32> {
    attributes.get(session::OWNER)?.u32()
}

fn streams<'a>(request: &Request<'a>, attributes: &ById<'a>) -> Result<KVec<Stream>> {
    let count = attributes.all(session::STREAM).count();
    let mut streams = KVec::with_capacity(count.min(proto::STREAMS_MAX as usize), GFP_KERNEL)?;
    for nest in attributes.all(session::STREAM) {
        if streams.len() == proto::STREAMS_MAX as usize {
            return Err(request.refuse(
                E2BIG,
                Some(nest),
                format_args!("stream: a session can have {} at most", proto::STREAMS_MAX),
            ));
        }
        streams.push(one_stream(request, nest)?, GFP_KERNEL)?;
    }
    Ok(streams)
}

fn one_stream<'a>(request: &Request<'a>, nest: Attribute<'a>) -> Result<Stream> {
    let attributes = nest.nested().by_id();
    let inside = |id| required(request, &stream::ATTRS, &attributes, Some(nest), id);
    Ok(Stream {
        kind: inside(stream::KIND)?
            .u32()
            .and_then(StreamKind::from_u32)
            .ok_or(EINVAL)?,
        a: one_endpoint(request, inside(stream::A)?)?,
        b: one_endpoint(request, inside(stream::B)?)?,
    })
}

fn one_endpoint<'a>(request: &Request<'a>, nest: Attribute<'a>) -> Result<Endpoint> {
    let attributes = nest.nested().by_id();
    let inside = |id| required(request, &endpoint::ATTRS, &attributes, Some(nest), id);
    let socket = |address: u16, port: u16| -> Result<SocketAddr> {
        Ok(SocketAddr::new(
            ip(request, &endpoint::ATTRS, inside(address)?)?,
            inside(port)?.be16().ok_or(EINVAL)?,
        ))
    };
    let on_hold = attributes.get(endpoint::REMOTE_ADDRESS).is_none()
        && attributes.get(endpoint::REMOTE_PORT).is_none();
    Ok(Endpoint {
        local: socket(endpoint::LOCAL_ADDRESS, endpoint::LOCAL_PORT)?,
        remote: if on_hold {
            None
        } else {
            Some(socket(endpoint::REMOTE_ADDRESS, endpoint::REMOTE_PORT)?)
        },
        sending: attributes
            .get(endpoint::SENDING)
            .map_or_else(Sending::default, one_sending),
        receiving: attributes
            .get(endpoint::RECEIVING)
            .map_or_else(Receiving::default, one_receiving),
        learning: match attributes.get(endpoint::LEARNING) {
            Some(nest) => one_learning(request, nest)?,
            None => Learning::default(),
        },
    })
}

fn one_learning<'a>(request: &Request<'a>, nest: Attribute<'a>) -> Result<Learning> {
    let attributes = nest.nested().by_id();
    let number = |id| attributes.get(id).and_then(|attribute| attribute.u32());
    let roam = match (
        number(learning::ROAM_SILENCE_MS),
        number(learning::ROAM_SEQUENCES),
    ) {
        (Some(silence_ms), Some(sequences)) => Some(Roam {
            silence_ms,
            sequences: sequences.try_into().map_err(|_| EINVAL)?,
        }),
        (None, None) => None,
        (None, Some(_)) => return Err(missing(request, nest, learning::ROAM_SILENCE_MS)),
        (Some(_), None) => return Err(missing(request, nest, learning::ROAM_SEQUENCES)),
    };
    Ok(Learning {
        mode: match number(learning::MODE).and_then(LearningMode::from_u32) {
            Some(LearningMode::Nat) => Mode::Nat,
            Some(LearningMode::Open) => Mode::Open,
            Some(LearningMode::Signalled) | None => Mode::Signalled,
        },
        signalling: attributes
            .get(learning::SIGNALLING_ADDRESS)
            .map(|address| ip(request, &learning::ATTRS, address))
            .transpose()?,
        // The policy has checked that they fit.
        confirmations: number(learning::CONFIRMATIONS).and_then(|number| number.try_into().ok()),
        window_ms: number(learning::WINDOW_MS),
        silence_ms: number(learning::SILENCE_MS),
        roam,
    })
}

fn missing<'a>(request: &Request<'a>, nest: Attribute<'a>, id: u16) -> Error {
    let attributes = nest.nested().by_id();
    match required(request, &learning::ATTRS, &attributes, Some(nest), id) {
        Err(error) => error,
        Ok(_) => EINVAL,
    }
}

fn one_sending(nest: Attribute<'_>) -> Sending {
    let attributes = nest.nested().by_id();
    let number = |id| attributes.get(id).and_then(|attribute| attribute.u32());
    // The policy has checked that they fit.
    let byte = |id| number(id).and_then(|number| u8::try_from(number).ok());
    Sending {
        dscp: byte(sending::DSCP),
        hops: byte(sending::HOP_LIMIT),
        mark: number(sending::MARK).unwrap_or_default(),
        device: number(sending::DEVICE).unwrap_or_default(),
        output: match number(sending::OUTPUT).and_then(OutputNumber::from_u32) {
            Some(OutputNumber::Full) => Output::Full,
            Some(OutputNumber::Automatic) | None => Output::Automatic,
        },
    }
}

/// Milliseconds of a rate that may come at once, when nothing else is asked.
const BURST_MS: u32 = 1000;

fn one_receiving(nest: Attribute<'_>) -> Receiving {
    let attributes = nest.nested().by_id();
    let number = |id| attributes.get(id).and_then(|attribute| attribute.u32());
    let burst_ms = number(receiving::BURST_MS).unwrap_or(BURST_MS);
    let rate = |id| Rate::new(number(id)?, burst_ms);
    Receiving {
        payload_types: attributes
            .get(receiving::PAYLOAD_TYPES)
            .and_then(|types| types.payload().try_into().ok())
            .map(PayloadTypes::from_le_bytes),
        ssrc: number(receiving::SSRC),
        packets: rate(receiving::PACKET_RATE),
        bytes: rate(receiving::BYTE_RATE),
        clock_rate: number(receiving::CLOCK_RATE),
    }
}

/// An address attribute of `set`.
pub(crate) fn ip<'a>(
    request: &Request<'a>,
    set: &[proto::Attribute],
    address: Attribute<'a>,
) -> Result<IpAddr> {
    let payload = address.payload();
    if let Ok(octets) = <[u8; 4]>::try_from(payload) {
        return Ok(IpAddr::from(octets));
    }
    let name = set
        .iter()
        .find(|attribute| attribute.id == address.id())
        .map_or("address", |attribute| attribute.name);
    let Ok(octets) = <[u8; 16]>::try_from(payload) else {
        let length = payload.len();
        return Err(request.refuse(
            EINVAL,
            Some(address),
            format_args!("{name}: {length} bytes, must be 4 or 16"),
        ));
    };
    if !route::has_ipv6() {
        return Err(request.refuse(
            EAFNOSUPPORT,
            Some(address),
            format_args!("{name}: IPv6 is disabled in this kernel"),
        ));
    }
    Ok(IpAddr::from(octets))
}

/// Writes an address attribute.
pub(crate) fn write_ip(writer: &mut Writer<'_>, id: u16, address: IpAddr) -> Result {
    match address {
        IpAddr::V4(address) => writer.bytes(id, &address.octets()),
        IpAddr::V6(address) => writer.bytes(id, &address.octets()),
    }
}

/// Room the state of a session takes, in bytes.
pub(crate) fn session_size(session: &Session) -> usize {
    SESSION_SIZE + STREAM_SIZE * session.streams().len()
}

/// Room that is enough for the state of a session unless much is asked of it or many of its packets
/// were dropped. The kernel copies a message with more room than it needs.
pub(crate) fn likely_size(session: &Session) -> usize {
    /// What has no label and no streams, and why it ended.
    const OWN: usize = 128;
    /// Its addresses may be IPv6.
    const STREAM: usize = 192;
    /// How well RTP arrived at both endpoints, and a reason of drops at each.
    const HEARD: usize = 320;
    let streams = session.streams().iter().map(|live| {
        let is_heard = [&live.a, &live.b]
            .into_iter()
            .any(|leg| leg.quality().is_some());
        STREAM + if is_heard { HEARD } else { 0 }
    });
    streams.fold(
        OWN.saturating_add(session.label().len()),
        usize::saturating_add,
    )
}

/// Writes the state of a session.
pub(crate) fn write_session(writer: &mut Writer<'_>, session: &Session, now: Jiffies) -> Result {
    writer.uint(session::ID, session.id())?;
    writer.bytes(session::LABEL, session.label())?;
    writer.u32(session::OWNER, session.owner())?;
    writer.u32(session::TIMEOUT_MS, session.timeout_ms())?;
    for live in session.streams() {
        writer.nest(session::STREAM, |writer| write_stream(writer, live, now))?;
    }
    writer.uint(session::AGE_MS, session.age_ms(now))?;
    writer.uint(session::IDLE_MS, session.idle_ms(now))
}

/// Writes an alarm.
pub(crate) fn write_alarm(writer: &mut Writer<'_>, told: &Told<'_>) -> Result {
    let offence = &told.offence;
    writer.u32(alarm::REASON, offence.reason as u32)?;
    if let Some(session) = told.session {
        writer.uint(alarm::SESSION, session.id())?;
        writer.bytes(alarm::LABEL, session.label())?;
        writer.u32(alarm::OWNER, session.owner())?;
    }
    write_ip(writer, alarm::LOCAL_ADDRESS, offence.local.ip())?;
    writer.be16(alarm::LOCAL_PORT, offence.local.port())?;
    write_ip(writer, alarm::SOURCE_ADDRESS, offence.source.ip())?;
    writer.be16(alarm::SOURCE_PORT, offence.source.port())?;
    writer.uint(alarm::PACKETS, told.packets)
}

/// An RTCP packet that has arrived.
pub(crate) struct Report<'p> {
    /// The session's id.
    pub(crate) session: u64,
    /// Where it was sent to.
    pub(crate) local: SocketAddr,
    /// Where it came from.
    pub(crate) source: SocketAddr,
    /// When, in nanoseconds.
    pub(crate) arrived: u64,
    /// Its beginning.
    pub(crate) packet: &'p [u8],
}

/// Writes an RTCP packet.
pub(crate) fn write_report(writer: &mut Writer<'_>, told: &Report<'_>) -> Result {
    writer.uint(report::SESSION, told.session)?;
    write_ip(writer, report::LOCAL_ADDRESS, told.local.ip())?;
    writer.be16(report::LOCAL_PORT, told.local.port())?;
    write_ip(writer, report::SOURCE_ADDRESS, told.source.ip())?;
    writer.be16(report::SOURCE_PORT, told.source.port())?;
    writer.uint(report::ARRIVED_NS, told.arrived)?;
    writer.bytes(report::PACKET, told.packet)
}

fn write_stream(writer: &mut Writer<'_>, live: &LiveStream, now: Jiffies) -> Result {
    let Stream { kind, a, b } = live.signalled();
    writer.u32(stream::KIND, *kind as u32)?;
    let known = live.known();
    for (nest, endpoint, side) in [(stream::A, a, Side::A), (stream::B, b, Side::B)] {
        writer.nest(nest, |writer| {
            write_endpoint(writer, endpoint)?;
            match &known {
                Some(known) => write_learned(writer, known, side),
                None => Ok(()),
            }
        })?;
    }
    for (counters, quality, leg) in [
        (stream::FROM_A, stream::QUALITY_A, &live.a),
        (stream::FROM_B, stream::QUALITY_B, &live.b),
    ] {
        writer.nest(counters, |writer| write_totals(writer, &leg.totals()))?;
        if let Some((standing, counts)) = leg.quality() {
            let last_ms = now.ms_since(leg.last_admitted());
            writer.nest(quality, |writer| {
                write_quality(writer, &standing, &counts, last_ms)
            })?;
        }
    }
    Ok(())
}

fn write_quality(
    writer: &mut Writer<'_>,
    standing: &Standing,
    counts: &Counts,
    last_ms: u64,
) -> Result {
    writer.u32(quality::SSRC, standing.ssrc)?;
    writer.u32(quality::HIGHEST_SEQUENCE, standing.highest.into())?;
    if let Some(hz) = standing.hz {
        writer.u32(quality::CLOCK_RATE, hz)?;
    }
    writer.u32(quality::JITTER, standing.jitter)?;
    writer.uint(quality::LOST, counts.never_arrived())?;
    writer.uint(quality::REORDERED, counts.reordered)?;
    writer.uint(quality::DUPLICATES, counts.duplicates)?;
    writer.uint(quality::JUMPS, counts.jumps)?;
    writer.uint(quality::RESTARTS, counts.restarts)?;
    writer.uint(quality::SSRC_CHANGES, counts.ssrc_changes)?;
    writer.uint(quality::LAST_MS, last_ms)
}

fn write_endpoint(writer: &mut Writer<'_>, endpoint: &Endpoint) -> Result {
    write_ip(writer, endpoint::LOCAL_ADDRESS, endpoint.local.ip())?;
    writer.be16(endpoint::LOCAL_PORT, endpoint.local.port())?;
    if let Some(remote) = endpoint.remote {
        write_ip(writer, endpoint::REMOTE_ADDRESS, remote.ip())?;
        writer.be16(endpoint::REMOTE_PORT, remote.port())?;
    }
    if endpoint.sending != Sending::default() {
        writer.nest(endpoint::SENDING, |writer| {
            write_sending(writer, &endpoint.sending)
        })?;
    }
    if endpoint.receiving != Receiving::default() {
        writer.nest(endpoint::RECEIVING, |writer| {
            write_receiving(writer, &endpoint.receiving)
        })?;
    }
    if endpoint.learning != Learning::default() {
        writer.nest(endpoint::LEARNING, |writer| {
            write_learning(writer, &endpoint.learning)
        })?;
    }
    Ok(())
}

fn write_learning(writer: &mut Writer<'_>, asked: &Learning) -> Result {
    let mode = match asked.mode {
        Mode::Signalled => LearningMode::Signalled,
        Mode::Nat => LearningMode::Nat,
        Mode::Open => LearningMode::Open,
    };
    writer.u32(learning::MODE, mode as u32)?;
    if let Some(address) = asked.signalling {
        write_ip(writer, learning::SIGNALLING_ADDRESS, address)?;
    }
    let (roam_silence, roam_sequences) = match asked.roam {
        Some(roam) => (Some(roam.silence_ms), Some(roam.sequences.into())),
        None => (None, None),
    };
    for (id, number) in [
        (learning::CONFIRMATIONS, asked.confirmations.map(u32::from)),
        (learning::WINDOW_MS, asked.window_ms),
        (learning::SILENCE_MS, asked.silence_ms),
        (learning::ROAM_SILENCE_MS, roam_silence),
        (learning::ROAM_SEQUENCES, roam_sequences),
    ] {
        if let Some(number) = number {
            writer.u32(id, number)?;
        }
    }
    Ok(())
}

fn write_learned(writer: &mut Writer<'_>, known: &Known, side: Side) -> Result {
    let Some(party) = known.learned(side) else {
        return Ok(());
    };
    write_ip(writer, endpoint::LEARNED_ADDRESS, party.ip())?;
    writer.be16(endpoint::LEARNED_PORT, party.port())?;
    if known.state(side).is_locked() {
        writer.bytes(endpoint::LOCKED, &[])?;
    }
    Ok(())
}

fn write_sending(writer: &mut Writer<'_>, asked: &Sending) -> Result {
    let mut number = |id, value: u32| match value {
        0 => Ok(()),
        value => writer.u32(id, value),
    };
    number(sending::HOP_LIMIT, asked.hops.unwrap_or_default().into())?;
    number(sending::MARK, asked.mark)?;
    number(sending::DEVICE, asked.device)?;
    let output = match asked.output {
        Output::Automatic => OutputNumber::Automatic,
        Output::Full => OutputNumber::Full,
    };
    number(sending::OUTPUT, output as u32)?;
    match asked.dscp {
        Some(dscp) => writer.u32(sending::DSCP, dscp.into()),
        None => Ok(()),
    }
}

fn write_receiving(writer: &mut Writer<'_>, asked: &Receiving) -> Result {
    if let Some(types) = asked.payload_types {
        writer.bytes(receiving::PAYLOAD_TYPES, &types.to_le_bytes())?;
    }
    if let Some(ssrc) = asked.ssrc {
        writer.u32(receiving::SSRC, ssrc)?;
    }
    for (id, rate) in [
        (receiving::PACKET_RATE, asked.packets),
        (receiving::BYTE_RATE, asked.bytes),
    ] {
        if let Some(rate) = rate {
            writer.u32(id, rate.per_second())?;
        }
    }
    if let Some(rate) = asked.packets.or(asked.bytes) {
        writer.u32(receiving::BURST_MS, rate.burst_ms())?;
    }
    match asked.clock_rate {
        Some(hz) => writer.u32(receiving::CLOCK_RATE, hz),
        None => Ok(()),
    }
}

/// Writes the values of counters.
pub(crate) fn write_totals(writer: &mut Writer<'_>, totals: &Totals) -> Result {
    writer.uint(counters::PACKETS, totals.packets)?;
    writer.uint(counters::BYTES, totals.bytes)?;
    for (reason, packets) in DropReason::ALL.into_iter().zip(totals.drops) {
        if packets != 0 {
            writer.nest(counters::DROPS, |writer| {
                writer.u32(drops::REASON, reason as u32)?;
                writer.uint(drops::PACKETS, packets)
            })?;
        }
    }
    if totals.rtcp_packets != 0 {
        writer.uint(counters::RTCP_PACKETS, totals.rtcp_packets)?;
    }
    Ok(())
}
