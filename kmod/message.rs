// SPDX-License-Identifier: GPL-2.0

//! From attributes to values and back.

use crate::{
    counters::Totals,
    net::{
        genl::Request,
        nlattr::{
            Attribute,
            Attributes,
            Writer, //
        },
        time::Jiffies, //
    },
    proto::{
        self,
        counters,
        drops,
        endpoint,
        session,
        stream,
        DropReason,
        StreamKind, //
    },
    relay::validate::Endpoint,
    sessions::{
        Changes,
        Session,
        Stream,
        Wanted, //
    },
};
use core::net::{
    Ipv4Addr,
    SocketAddrV4, //
};
use kernel::prelude::*;

/// Room for what a session has besides streams, in bytes.
const SESSION_SIZE: usize = 512;
/// Room for one stream with its counters, in bytes.
const STREAM_SIZE: usize = 640;
/// Room for the largest session, in bytes.
pub(crate) const SESSION_MAX: usize = SESSION_SIZE + STREAM_SIZE * proto::STREAMS_MAX as usize;

/// An attribute that must be there.
pub(crate) fn required<'a>(
    request: &Request<'a>,
    set: &[proto::Attribute],
    attributes: Attributes<'a>,
    nest: Option<Attribute<'a>>,
    id: u16,
) -> Result<Attribute<'a>> {
    match (
        attributes.get(id),
        set.iter().find(|attribute| attribute.id == id),
    ) {
        (Some(attribute), _) => Ok(attribute),
        (None, Some(missing)) => Err(request.missing(missing, nest)),
        (None, None) => Err(EINVAL),
    }
}

/// The id a command is about.
pub(crate) fn session_id(request: &Request<'_>) -> Result<u64> {
    required(
        request,
        &session::ATTRS,
        request.attributes(),
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
    let attributes = request.attributes();
    Ok(Changes {
        label: label(attributes)?,
        owner: owner(attributes),
        timeout_ms: attributes
            .get(session::TIMEOUT_MS)
            .and_then(|timeout| timeout.u32()),
        streams: streams(request, attributes)?,
    })
}

fn label(attributes: Attributes<'_>) -> Result<Option<KVec<u8>>> {
    let Some(label) = attributes.get(session::LABEL) else {
        return Ok(None);
    };
    let mut bytes = KVec::new();
    bytes.extend_from_slice(label.payload(), GFP_KERNEL)?;
    Ok(Some(bytes))
}

fn owner(attributes: Attributes<'_>) -> Option<u32> {
    attributes.get(session::OWNER)?.u32()
}

fn streams<'a>(request: &Request<'a>, attributes: Attributes<'a>) -> Result<KVec<Stream>> {
    let mut streams = KVec::new();
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
    let inside = |id| required(request, &stream::ATTRS, nest.nested(), Some(nest), id);
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
    let inside = |id| required(request, &endpoint::ATTRS, nest.nested(), Some(nest), id);
    let socket = |address: u16, port: u16| -> Result<SocketAddrV4> {
        Ok(SocketAddrV4::new(
            ipv4(request, &endpoint::ATTRS, inside(address)?)?,
            inside(port)?.be16().ok_or(EINVAL)?,
        ))
    };
    let on_hold = nest.nested().get(endpoint::REMOTE_ADDRESS).is_none()
        && nest.nested().get(endpoint::REMOTE_PORT).is_none();
    Ok(Endpoint {
        local: socket(endpoint::LOCAL_ADDRESS, endpoint::LOCAL_PORT)?,
        remote: if on_hold {
            None
        } else {
            Some(socket(endpoint::REMOTE_ADDRESS, endpoint::REMOTE_PORT)?)
        },
    })
}

/// An address attribute of `set`.
pub(crate) fn ipv4<'a>(
    request: &Request<'a>,
    set: &[proto::Attribute],
    address: Attribute<'a>,
) -> Result<Ipv4Addr> {
    let name = set
        .iter()
        .find(|attribute| attribute.id == address.id())
        .map_or("address", |attribute| attribute.name);
    match (
        <[u8; 4]>::try_from(address.payload()),
        address.payload().len(),
    ) {
        (Ok(octets), _) => Ok(octets.into()),
        (Err(_), 16) => Err(request.refuse(
            EAFNOSUPPORT,
            Some(address),
            format_args!("{name}: this version of the module relays IPv4 only"),
        )),
        (Err(_), length) => Err(request.refuse(
            EINVAL,
            Some(address),
            format_args!("{name}: {length} bytes, must be 4 or 16"),
        )),
    }
}

/// Room the state of a session takes, in bytes.
pub(crate) fn session_size(session: &Session) -> usize {
    SESSION_SIZE + STREAM_SIZE * session.streams().count()
}

/// Writes the state of a session.
pub(crate) fn write_session(writer: &mut Writer<'_>, session: &Session, now: Jiffies) -> Result {
    writer.uint(session::ID, session.id())?;
    writer.bytes(session::LABEL, session.label())?;
    writer.u32(session::OWNER, session.owner())?;
    writer.u32(session::TIMEOUT_MS, session.timeout_ms())?;
    for (stream, from_a, from_b) in session.streams() {
        writer.nest(session::STREAM, |writer| {
            writer.u32(stream::KIND, stream.kind as u32)?;
            writer.nest(stream::A, |writer| write_endpoint(writer, &stream.a))?;
            writer.nest(stream::B, |writer| write_endpoint(writer, &stream.b))?;
            writer.nest(stream::FROM_A, |writer| write_totals(writer, &from_a))?;
            writer.nest(stream::FROM_B, |writer| write_totals(writer, &from_b))
        })?;
    }
    writer.uint(session::AGE_MS, session.age_ms(now))?;
    writer.uint(session::IDLE_MS, session.idle_ms(now))
}

fn write_endpoint(writer: &mut Writer<'_>, endpoint: &Endpoint) -> Result {
    writer.bytes(endpoint::LOCAL_ADDRESS, &endpoint.local.ip().octets())?;
    writer.be16(endpoint::LOCAL_PORT, endpoint.local.port())?;
    if let Some(remote) = endpoint.remote {
        writer.bytes(endpoint::REMOTE_ADDRESS, &remote.ip().octets())?;
        writer.be16(endpoint::REMOTE_PORT, remote.port())?;
    }
    Ok(())
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
    Ok(())
}
