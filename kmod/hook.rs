// SPDX-License-Identifier: GPL-2.0

//! The path of a packet: look up, admit, rewrite, send. No lock, no allocation, no reference
//! count and no route look-up in the ordinary case.

use crate::{
    alarms::Offence,
    control,
    endpoint::{
        Flow,
        Forward,
        Leg, //
    },
    learner::{
        self,
        Hearing, //
    },
    message,
    namespace::Relay,
    net::{
        rcu::ReadSide,
        route::Exit,
        skb::{
            IcmpError,
            Packet,
            Verdict, //
        },
        time, //
    },
    proto::{
        self,
        AlarmReason,
        DropReason, //
    },
    relay::{
        admission::{
            self,
            Carries,
            Refusal,
            Side, //
        },
        arriving::Arriving,
        learning,
        payload,
        policy::Sending,
        remote::Remote,
        rtcp,
        rtp, //
    },
    relayed::{
        Leaving,
        Relayed, //
    },
    table::{
        Glance,
        Ports,
        Table, //
    },
};
use core::net::SocketAddr;

/// What becomes of a packet at a relay that has a `table`.
#[inline(always)]
pub(crate) fn decide<V: Relayed>(relay: &Relay, table: &Table, packet: Packet<'_, V>) -> Verdict
where
    Remote: PartialEq<V::TransportAddress>,
{
    // Everything that is not ours leaves here, after a few instructions.
    let header = packet.header();
    if !V::is_candidate(header) {
        return packet.accept();
    }
    match V::glance(header, table) {
        Glance::Local(ports) => receive(relay, table, ports, packet),
        Glance::Foreign => packet.accept(),
        Glance::Unclear => look_further(relay, table, packet),
    }
}

/// What becomes of a packet to an address that is not known at first sight.
#[cold]
#[inline(never)]
fn look_further<V: Relayed>(relay: &Relay, table: &Table, packet: Packet<'_, V>) -> Verdict
where
    Remote: PartialEq<V::TransportAddress>,
{
    match table.ports(V::destination(packet.header())) {
        Some(ports) => receive(relay, table, ports, packet),
        None => packet.accept(),
    }
}

/// What becomes of a packet to a local address. Not inlined, so that only packets that come here
/// pay for saving registers.
#[inline(never)]
fn receive<V: Relayed>(
    relay: &Relay,
    table: &Table,
    ports: &Ports,
    mut packet: Packet<'_, V>,
) -> Verdict
where
    Remote: PartialEq<V::TransportAddress>,
{
    // The same code twice: in what is compiled for nearly all packets nothing is left of the tests
    // that are answered here.
    if packet.is_plain::<V::Rtp>() {
        arrive::<V, true>(relay, table, ports, packet)
    } else {
        arrive_uncommon(relay, table, ports, packet)
    }
}

/// What becomes of a packet to a local address that is short, aggregated or not linear.
#[cold]
#[inline(never)]
fn arrive_uncommon<V: Relayed>(
    relay: &Relay,
    table: &Table,
    ports: &Ports,
    packet: Packet<'_, V>,
) -> Verdict
where
    Remote: PartialEq<V::TransportAddress>,
{
    arrive::<V, false>(relay, table, ports, packet)
}

#[inline(always)]
fn arrive<V: Relayed, const PLAIN: bool>(
    relay: &Relay,
    table: &Table,
    ports: &Ports,
    mut packet: Packet<'_, V>,
) -> Verdict
where
    Remote: PartialEq<V::TransportAddress>,
{
    let rcu = packet.rcu();
    if !packet.is_for_this_host() {
        return packet.accept();
    }
    let Some(headers) = packet.linear::<V::Headers>() else {
        return packet.accept();
    };
    let (arriving, port) = V::parse(headers);
    let Some(leg) = ports.owner(port, rcu) else {
        if !table.in_range(port) {
            return packet.accept();
        }
        return refuse_unowned(relay, packet);
    };
    match facing(leg, arriving.source, rcu) {
        Some((leg, flow)) if PLAIN => forward::<V, true>(relay, table, leg, flow, packet),
        Some((leg, flow)) => forward_uncommon(relay, table, leg, flow, packet),
        None => arrive_from_stranger(relay, table, leg, packet),
    }
}

/// What becomes of a packet of nobody's remote.
#[cold]
#[inline(never)]
fn arrive_from_stranger<'r, V: Relayed>(
    relay: &Relay,
    table: &Table,
    leg: &'r Leg,
    mut packet: Packet<'r, V>,
) -> Verdict {
    match stranger(table, leg, &mut packet) {
        Ok((leg, flow)) => forward_uncommon(relay, table, leg, flow, packet),
        Err(reason) => {
            let segments = packet.segments().into();
            leg.counters().drops().count(reason, segments);
            alarm_stranger(relay, table, leg, reason, &mut packet);
            packet.drop()
        }
    }
}

/// Where a packet came from, and where it was sent to. Its headers are read once more, so that they
/// need not be at hand in the ordinary case.
fn path<V: Relayed>(packet: &mut Packet<'_, V>) -> Option<(SocketAddr, SocketAddr)> {
    let arriving = arriving(packet)?;
    let address = |end: V::TransportAddress| SocketAddr::from(end.into());
    Some((address(arriving.source), address(arriving.destination)))
}

fn arriving<V: Relayed>(packet: &mut Packet<'_, V>) -> Option<Arriving<V::TransportAddress>> {
    Some(V::parse(packet.linear::<V::Headers>()?).0)
}

/// Drops and counts packets to a port that no session owns.
#[cold]
#[inline(never)]
fn refuse_unowned<V: Relayed>(relay: &Relay, mut packet: Packet<'_, V>) -> Verdict {
    if let Some(path) = path(&mut packet) {
        relay.count_unowned(packet.segments().into(), path, packet.rcu());
    }
    packet.drop()
}

/// Raises an alarm about packets of a stranger that were dropped.
fn alarm_stranger<V: Relayed>(
    relay: &Relay,
    table: &Table,
    leg: &Leg,
    dropped: DropReason,
    packet: &mut Packet<'_, V>,
) {
    let Some((source, _)) = path(packet) else {
        return;
    };
    let is_loop = table.is_relay_port(source);
    let reason = match dropped {
        DropReason::ForeignSource | DropReason::UnusableSource if is_loop => AlarmReason::Loop,
        // Nobody is a stranger where nobody has been signalled yet.
        DropReason::ForeignSource if leg.expects_somebody(packet.rcu()) => {
            AlarmReason::ForeignSource
        }
        _ => return,
    };
    alarm(relay, leg, (dropped, reason), packet);
}

/// Raises an alarm about packets that were dropped.
#[cold]
#[inline(never)]
fn alarm<V: Relayed>(
    relay: &Relay,
    leg: &Leg,
    (dropped, reason): (DropReason, AlarmReason),
    packet: &mut Packet<'_, V>,
) {
    let Some((source, local)) = path(packet) else {
        return;
    };
    let offence = Offence {
        dropped,
        reason,
        local,
        source,
    };
    let packets = packet.segments().into();
    relay.alarms().raise(leg, offence, packets, packet.rcu());
}

/// The endpoint a packet arrived at: the one whose remote sent it, which is one of two when they share
/// a port. `None` when somebody else did.
#[inline(always)]
fn facing<'r, A: Copy>(leg: &'r Leg, source: A, rcu: ReadSide<'r>) -> Option<(&'r Leg, &'r Flow)>
where
    Remote: PartialEq<A>,
{
    let flow = leg.flow(rcu)?;
    let Some(twin) = leg.twin() else {
        return (flow.remote == source).then_some((leg, flow));
    };
    let opposite = twin.flow(rcu)?;
    match admission::direction(flow.remote, opposite.remote, source)? {
        Side::A => Some((leg, flow)),
        Side::B => Some((twin, opposite)),
    }
}

/// Where a packet of nobody's remote arrived, if that is learned and the packet makes its source one.
fn stranger<'r, V: Relayed>(
    table: &Table,
    leg: &'r Leg,
    packet: &mut Packet<'r, V>,
) -> Result<(&'r Leg, &'r Flow), DropReason> {
    let rcu = packet.rcu();
    let arriving = arriving(packet).ok_or(DropReason::NoMemory)?;
    let source = arriving.source.into();
    if !learner::is_acceptable(leg, source, rcu) {
        return Err(DropReason::ForeignSource);
    }
    let headers = size_of::<V::Headers>();
    let class = match (arriving.payload_length(), packet.segment(headers, 0)) {
        (Ok(length), Some(start)) => payload::classify(start, length),
        _ => payload::Class::Other,
    };
    let rtp = match class {
        payload::Class::Rtp => packet.segment(headers, 0).map(|header| rtp::parse(&header)),
        _ => None,
    };
    let ssrc = match class {
        payload::Class::Rtcp => packet.segment(headers, 0).map(|header| rtcp::ssrc(&header)),
        _ => rtp.map(|rtp| rtp.ssrc),
    };
    let heard = Hearing {
        table,
        packet: learning::Packet {
            source,
            class,
            ssrc: ssrc.unwrap_or_default(),
            sequence: rtp.map_or(0, |rtp| rtp.sequence),
        },
        rtp,
    };
    learner::hear(leg, &heard, rcu)
}

/// As [`forward`], for those few packets it is not compiled for.
#[cold]
#[inline(never)]
fn forward_uncommon<V: Relayed>(
    relay: &Relay,
    table: &Table,
    leg: &Leg,
    flow: &Flow,
    packet: Packet<'_, V>,
) -> Verdict {
    forward::<V, false>(relay, table, leg, flow, packet)
}

// What is rare is given the packet itself and gives it back, so that it has no place in memory.
#[inline(always)]
fn forward<V: Relayed, const PLAIN: bool>(
    relay: &Relay,
    table: &Table,
    leg: &Leg,
    flow: &Flow,
    mut packet: Packet<'_, V>,
) -> Verdict {
    let rcu = packet.rcu();
    let segments = packet.segments().into();
    let Some(headers) = packet.linear::<V::Headers>() else {
        return refuse(relay, leg, DropReason::NoMemory, segments, packet);
    };
    let (arriving, _) = V::parse(headers);
    if packet.is_aggregate() {
        packet = match unify(flow, packet) {
            Ok(packet) => packet,
            Err((reason, packet)) => return refuse(relay, leg, reason, segments, packet),
        };
    }
    let length = match arriving.payload_length() {
        Ok(length) => length,
        Err(refusal) => return refuse(relay, leg, refusal.into(), segments, packet),
    };
    if !V::CHECKSUM_IS_OPTIONAL && arriving.udp_checksum == 0 && !packet.checksum_is_partial() {
        return refuse(relay, leg, DropReason::Malformed, segments, packet);
    }
    let class = match packet.linear::<V::Start>() {
        Some(start) => payload::classify(V::payload(start), length),
        None => payload::Class::Other,
    };
    // First what mostly comes.
    if class == payload::Class::Rtp && flow.carries == Carries::Rtp {
        if flow.gate.is_some() {
            packet = match pass(flow, class, (segments, length), packet) {
                Ok(packet) => packet,
                Err((reason, packet)) => return refuse(relay, leg, reason, segments, packet),
            };
        }
        if table.settings().quality {
            if let Some(rtp) = packet.linear::<V::Rtp>().map(V::rtp) {
                leg.measure(&rtp, flow.clock);
                if segments > 1 {
                    measure_segments(leg, flow, &packet);
                }
            }
        }
    } else if PLAIN {
        // What follows is for media alone there.
        return forward_uncommon(relay, table, leg, flow, packet);
    } else {
        packet = match admit_other(relay, (leg, flow), class, (segments, length), packet) {
            Ok(packet) => packet,
            Err((reason, packet)) => return refuse(relay, leg, reason, segments, packet),
        };
    }
    leg.touch();
    let Some(forward) = &flow.forward else {
        return refuse(relay, leg, DropReason::Held, segments, packet);
    };
    if !arriving.hops_allow_forwarding() {
        return refuse(relay, leg, DropReason::TtlExceeded, segments, packet);
    }
    let exit = forward.exit(rcu);
    let Some(exit) = exit.or_else(|| forward.reroute(relay.net(), rcu)) else {
        return refuse(relay, leg, DropReason::NoRoute, segments, packet);
    };
    let Some(rewrite) = V::in_place(&forward.rewrite) else {
        let amount = (segments, length);
        return forward_translated(relay, (leg, flow), class, (forward, exit), amount, packet);
    };
    if !exit.fits(packet.len()) {
        packet = match fragment(leg, exit, 0, segments, packet) {
            Ok(packet) => packet,
            Err(verdict) => return verdict,
        };
    }
    let rewritten = packet.rewrite(|headers, partial| {
        V::apply(rewrite, headers, partial);
        if forward.changes_headers {
            mark::<V>(headers, &forward.sending);
        }
        V::parse(headers).0.traffic_class
    });
    let Some(traffic_class) = rewritten else {
        return refuse(relay, leg, DropReason::NoMemory, segments, packet);
    };
    if !packet.make_room(exit) {
        return refuse(relay, leg, DropReason::NoMemory, segments, packet);
    }
    leg.counters().count(segments, length.into());
    if !PLAIN && class == payload::Class::Rtcp {
        count_rtcp(leg, flow, segments);
    }
    packet.transmit(exit, forward.sending.mark, V::priority(traffic_class))
}

/// Counts what looks like RTCP, unless the stream may carry anything.
#[cold]
#[inline(never)]
fn count_rtcp(leg: &Leg, flow: &Flow, segments: u64) {
    if flow.carries != Carries::Udp {
        leg.counters().count_rtcp(segments);
    }
}

/// Drops packets that were not admitted or cannot be sent, and tells whoever is to know.
#[cold]
#[inline(never)]
fn refuse<V: Relayed>(
    relay: &Relay,
    leg: &Leg,
    reason: DropReason,
    segments: u64,
    mut packet: Packet<'_, V>,
) -> Verdict {
    leg.counters().drops().count(reason, segments);
    match reason {
        DropReason::Rate => alarm(relay, leg, (reason, AlarmReason::Flood), &mut packet),
        DropReason::TtlExceeded => {
            alarm(relay, leg, (reason, AlarmReason::Loop), &mut packet);
            return V::reject(packet, IcmpError::TimeExceeded);
        }
        _ => {}
    }
    packet.drop()
}

/// Leaves it to the way out to fragment a packet that does not fit when it has become longer by so many
/// bytes. One that must not be fragmented, or stands for such a packet, is dropped, and its sender told
/// what would have fitted.
#[cold]
#[inline(never)]
fn fragment<'r, V: Relayed>(
    leg: &Leg,
    exit: Exit<'_>,
    growth: i32,
    segments: u64,
    packet: Packet<'r, V>,
) -> Result<Packet<'r, V>, Verdict> {
    let len = packet.longest(size_of::<V::Headers>() as u32);
    let mtu = exit.mtu().saturating_add_signed(growth.saturating_neg());
    let mtu = mtu.max(V::LEAST_MTU);
    if V::may_be_fragmented(&packet, mtu)
        || len <= V::LEAST_MTU
        || exit.fits(len.wrapping_add_signed(growth))
    {
        return Ok(packet);
    }
    leg.counters().drops().count(DropReason::TooBig, segments);
    Err(V::reject(packet, IcmpError::TooBig { mtu }))
}

/// A packet that goes on, or why it does not.
type Admitted<'r, V> = Result<Packet<'r, V>, (DropReason, Packet<'r, V>)>;

/// Asks the gate of an endpoint that has one about packets with so much payload in all.
#[cold]
#[inline(never)]
fn pass<'r, V: Relayed>(
    flow: &Flow,
    class: payload::Class,
    (segments, length): (u64, u16),
    mut packet: Packet<'r, V>,
) -> Admitted<'r, V> {
    let Some(gate) = &flow.gate else {
        return Ok(packet);
    };
    let rtp = match class {
        payload::Class::Rtp => packet.linear::<V::Rtp>().map(V::rtp),
        _ => None,
    };
    match gate.pass(rtp, segments, length.into()) {
        Ok(()) => Ok(packet),
        Err(reason) => Err((reason, packet)),
    }
}

/// Admits packets that are not the media of a stream of RTP, or says why not.
#[cold]
#[inline(never)]
fn admit_other<'r, V: Relayed>(
    relay: &Relay,
    (leg, flow): (&Leg, &Flow),
    class: payload::Class,
    amount: (u64, u16),
    packet: Packet<'r, V>,
) -> Admitted<'r, V> {
    if let Err(refusal) = admission::admit(flow.carries, class) {
        return Err((refusal.into(), packet));
    }
    let mut packet = pass(flow, class, amount, packet)?;
    if class == payload::Class::Rtcp {
        report(relay, leg, &mut packet);
    }
    Ok(packet)
}

/// Makes the headers of a packet that was rewritten say what is asked for.
#[cold]
#[inline(never)]
fn mark<V: Relayed>(headers: &mut V::Headers, sending: &Sending) {
    let (rewritten, _) = V::parse(headers);
    let leaving = Leaving {
        traffic_class: rewritten.traffic_class,
        hops: rewritten.hops,
    };
    let Leaving {
        traffic_class,
        hops,
    } = leaving.asked(sending);
    V::mark(headers, traffic_class, hops);
}

/// Sends a packet on with the headers of the other version of IP, which are longer or shorter.
#[inline(never)]
fn forward_translated<'r, V: Relayed>(
    relay: &Relay,
    (leg, flow): (&Leg, &Flow),
    class: payload::Class,
    (forward, exit): (&Forward, Exit<'r>),
    (segments, length): (u64, u16),
    mut packet: Packet<'r, V>,
) -> Verdict {
    let growth = forward.growth;
    // Both versions' headers are longer than what a change takes away.
    let len = packet.len().wrapping_add_signed(growth);
    if !exit.fits(len) {
        packet = match fragment(leg, exit, growth, segments, packet) {
            Ok(packet) => packet,
            Err(verdict) => return verdict,
        };
    }
    let Some(arriving) = arriving(&mut packet) else {
        return refuse(relay, leg, DropReason::NoMemory, segments, packet);
    };
    let leaving = Leaving {
        traffic_class: arriving.traffic_class,
        hops: arriving.hops.wrapping_sub(1),
    };
    match V::translate(packet, forward, exit, leaving.asked(&forward.sending)) {
        Ok(verdict) => {
            leg.counters().count(segments, length.into());
            if class == payload::Class::Rtcp {
                count_rtcp(leg, flow, segments);
            }
            verdict
        }
        Err(packet) => refuse(relay, leg, DropReason::NoMemory, segments, packet),
    }
}

/// Makes one of the packets that were aggregated, or says why one after the first is not admitted:
/// they are relayed together or not at all.
#[cold]
#[inline(never)]
fn unify<'r, V: Relayed>(flow: &Flow, mut packet: Packet<'r, V>) -> Admitted<'r, V> {
    for number in 1..packet.segments() {
        if let Err(reason) = admit_segment(flow, &packet, number) {
            return Err((reason, packet));
        }
    }
    packet.unify();
    Ok(packet)
}

fn admit_segment<V: Relayed>(
    flow: &Flow,
    packet: &Packet<'_, V>,
    number: u16,
) -> Result<(), DropReason> {
    let headers = size_of::<V::Headers>();
    let length = packet.segment_len(headers as u32, number);
    let length = u16::try_from(length).unwrap_or(u16::MAX);
    let class = match packet.segment(headers, number) {
        Some(start) => payload::classify(start, length),
        None => payload::Class::Other,
    };
    admission::admit(flow.carries, class)?;
    if let (Some(gate), payload::Class::Rtp) = (&flow.gate, class) {
        if let Some(header) = packet.segment(headers, number) {
            gate.admit(&rtp::parse(&header))?;
        }
    }
    Ok(())
}

/// Tells whoever listens of an RTCP packet with a sender or receiver report.
#[cold]
#[inline(never)]
fn report<V: Relayed>(relay: &Relay, leg: &Leg, packet: &mut Packet<'_, V>) {
    let headers = size_of::<V::Headers>();
    let Some(header) = packet.segment::<{ rtcp::HEADER }>(headers, 0) else {
        return;
    };
    if !rtcp::is_report(&header)
        || !control::are_reports_heard(relay.net(), packet.rcu())
        || !leg.is_report_due()
    {
        return;
    }
    let mut bytes = [0; proto::REPORT_MAX as usize];
    let (Some((source, local)), Some(arriving)) = (path(packet), arriving(packet)) else {
        return;
    };
    let length = usize::from(arriving.payload_length().unwrap_or_default());
    let length = length.min(bytes.len());
    let Some(bytes) = bytes.get_mut(..length) else {
        return;
    };
    if packet.read(headers, bytes) {
        let report = message::Report {
            session: leg.session(),
            local,
            source,
            arrived: time::nanoseconds(),
            packet: bytes,
        };
        control::notify_report(relay.net(), &report, packet.rcu());
    }
}

/// Measures the packets after the first of those that were aggregated to one.
#[cold]
fn measure_segments<V: Relayed>(leg: &Leg, flow: &Flow, packet: &Packet<'_, V>) {
    for number in 1..packet.segments() {
        let header = packet.segment::<{ rtp::HEADER }>(size_of::<V::Headers>(), number);
        if let Some(header) = header {
            leg.measure_further(&rtp::parse(&header), flow.clock);
        }
    }
}

impl From<Refusal> for DropReason {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Malformed => Self::Malformed,
            Refusal::PayloadType => Self::PayloadType,
            Refusal::ForeignSsrc => Self::ForeignSsrc,
        }
    }
}
