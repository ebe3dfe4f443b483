// SPDX-License-Identifier: GPL-2.0

//! The path of a packet: look up, admit, rewrite, send. No lock, no allocation, no reference
//! count and no route look-up in the ordinary case.

use crate::{
    endpoint::{
        Flow,
        Leg, //
    },
    net::{
        namespace::Net,
        rcu::ReadSide,
        skb::{
            IcmpError,
            Packet,
            Verdict, //
        },
    },
    proto::DropReason,
    relay::{
        admission::{
            self,
            Refusal,
            Side, //
        },
        ipv4,
        payload, //
    },
    table::Table,
};

const PAYLOAD_START: usize = ipv4::HEADERS + 2;

/// What becomes of a packet at a relay that has a `table`. `unowned` counts the packets to ports
/// of the range that no session owns.
#[inline(always)]
pub(crate) fn ipv4(
    net: Net,
    table: &Table,
    unowned: impl FnOnce(u64),
    mut packet: Packet<'_>,
) -> Verdict {
    let rcu = packet.rcu();
    // Everything that is not ours leaves here, after a few instructions.
    let header = packet.ipv4_header();
    if !ipv4::is_candidate(header) {
        return packet.accept();
    }
    let Some(ports) = table.ports(ipv4::destination(header)) else {
        return packet.accept();
    };
    if !packet.is_for_this_host() {
        return packet.accept();
    }
    let Some(headers) = packet.linear::<{ ipv4::HEADERS }>() else {
        return packet.accept();
    };
    let arriving = ipv4::parse(headers);
    let port = arriving.destination.port();
    let Some(leg) = ports.owner(port, rcu) else {
        if !table.in_range(port) {
            return packet.accept();
        }
        unowned(u64::from(packet.segments()));
        return packet.drop();
    };
    let Some((leg, flow)) = facing(leg, arriving.source, rcu) else {
        leg.counters()
            .drops()
            .count(DropReason::ForeignSource, packet.segments().into());
        return packet.drop();
    };
    relay(net, leg, flow, &arriving, packet)
}

/// The endpoint a packet arrived at: of two that share a port, the one whose remote sent it.
/// `None` when neither did.
#[inline(always)]
fn facing<'r>(
    leg: &'r Leg,
    source: ipv4::TransportAddress,
    rcu: ReadSide<'r>,
) -> Option<(&'r Leg, &'r Flow)> {
    let flow = leg.flow(rcu)?;
    let Some(twin) = leg.twin() else {
        return Some((leg, flow));
    };
    let opposite = twin.flow(rcu)?;
    match admission::direction(flow.remote, opposite.remote, source)? {
        Side::A => Some((leg, flow)),
        Side::B => Some((twin, opposite)),
    }
}

#[inline(always)]
fn relay(
    net: Net,
    leg: &Leg,
    flow: &Flow,
    arriving: &ipv4::Arriving,
    mut packet: Packet<'_>,
) -> Verdict {
    let rcu = packet.rcu();
    let segments = u64::from(packet.segments());
    let refuse = |reason| leg.counters().drops().count(reason, segments);

    let length = arriving.payload_length();
    let class = match (length, packet.linear::<PAYLOAD_START>()) {
        (Ok(length), Some(&[.., first, second])) => payload::classify([first, second], length),
        _ => payload::Class::Other,
    };
    if let Err(refusal) = admission::admit(flow.carries, flow.remote, arriving.source, class) {
        refuse(match refusal {
            Refusal::ForeignSource => DropReason::ForeignSource,
            Refusal::Malformed => DropReason::Malformed,
        });
        return packet.drop();
    }
    leg.touch();
    let Some(forward) = &flow.forward else {
        refuse(DropReason::Held);
        return packet.drop();
    };
    if !arriving.ttl_allows_forwarding() {
        refuse(DropReason::TtlExceeded);
        return packet.reject(IcmpError::TimeExceeded);
    }
    let Some(route) = forward.route(net, rcu) else {
        refuse(DropReason::NoRoute);
        return packet.drop();
    };
    if packet.len() > route.mtu() && segments == 1 && arriving.dont_fragment {
        refuse(DropReason::TooBig);
        return packet.reject(IcmpError::FragmentationNeeded { mtu: route.mtu() });
    }
    let partial = packet.checksum_is_partial();
    let Some(headers) = packet.writable::<{ ipv4::HEADERS }>() else {
        refuse(DropReason::NoMemory);
        return packet.drop();
    };
    forward.rewrite.apply(headers, partial);
    leg.counters()
        .count(segments, length.unwrap_or_default().into());
    packet.transmit(route, arriving.type_of_service)
}
