// SPDX-License-Identifier: GPL-2.0

//! What the path of a packet needs to know of a version of IP, for each of the two.

use crate::{
    endpoint::Forward,
    net::{
        route::Exit,
        skb::{
            Bytes,
            IcmpError,
            Ipv4,
            Ipv6,
            Packet,
            Verdict,
            Version, //
        },
    },
    relay::{
        arriving::Arriving,
        ipv4,
        ipv6,
        learning::Source,
        policy::Sending,
        rewrite::Rewrite,
        rtp,
        translate::Checksum, //
    },
    table::{
        Glance,
        Table, //
    },
};
use core::net::IpAddr;

/// What the path needs to know of a version of IP.
pub(crate) trait Relayed: Version + Sized {
    /// The IP header and the UDP header.
    type Headers: Bytes;
    /// Both headers and the first two bytes of the payload.
    type Start: Bytes;
    /// Both headers and an RTP header.
    type Rtp: Bytes;
    /// An address and a port.
    type TransportAddress: Copy + Into<Source>;
    /// The packet every link must take, in bytes, of which no sender is told less (RFC 8200 section
    /// 5). None in IPv4, whose routers fragment.
    const LEAST_MTU: u32;
    /// Whether a datagram may do without a checksum (RFC 768, RFC 8200 section 8.1).
    const CHECKSUM_IS_OPTIONAL: bool;

    /// Whether a packet is a whole UDP datagram right behind its IP header.
    fn is_candidate(header: &Self::Header) -> bool;

    /// Where a packet was sent to.
    fn destination(header: &Self::Header) -> IpAddr;

    /// Whether it was sent to a local address.
    fn glance<'t>(header: &Self::Header, table: &'t Table) -> Glance<'t>;

    /// Whether a packet may be sent in fragments of this length.
    fn may_be_fragmented(packet: &Packet<'_, Self>, length: u32) -> bool;

    /// What the headers say, and the port the packet was sent to.
    fn parse(headers: &Self::Headers) -> (Arriving<Self::TransportAddress>, u16);

    /// The first two bytes of the payload.
    fn payload(start: &Self::Start) -> [u8; 2];

    /// The RTP header.
    fn rtp(start: &Self::Rtp) -> rtp::Header;

    /// Rewriting without a change of the version.
    type InPlace;

    /// How packets that leave as they came are rewritten.
    fn in_place(rewrite: &Rewrite) -> Option<&Self::InPlace>;

    /// Rewrites headers.
    fn apply(rewrite: &Self::InPlace, headers: &mut Self::Headers, partial: bool);

    /// Changes the traffic class and the hops that are left.
    fn mark(headers: &mut Self::Headers, traffic_class: u8, hops: u8);

    /// Sends a packet on with the headers of the other version.
    fn translate<'r>(
        packet: Packet<'r, Self>,
        forward: &Forward,
        exit: Exit<'r>,
        leaving: Leaving,
    ) -> Result<Verdict, Packet<'r, Self>>;

    /// The priority that goes with a traffic class when packets are forwarded.
    fn priority(traffic_class: u8) -> u32;

    /// Drops a packet and tells its sender why.
    fn reject(packet: Packet<'_, Self>, error: IcmpError) -> Verdict;
}

impl Relayed for Ipv4 {
    type Headers = [u8; ipv4::HEADERS];
    type Start = [u8; ipv4::HEADERS + 2];
    type Rtp = [u8; ipv4::HEADERS + rtp::HEADER];
    type TransportAddress = ipv4::TransportAddress;
    type InPlace = ipv4::Rewrite;
    const LEAST_MTU: u32 = 0;
    const CHECKSUM_IS_OPTIONAL: bool = true;

    #[inline(always)]
    fn is_candidate(header: &Self::Header) -> bool {
        ipv4::is_candidate(header)
    }

    #[inline(always)]
    fn destination(header: &Self::Header) -> IpAddr {
        ipv4::destination(header).into()
    }

    #[inline(always)]
    fn glance<'t>(header: &Self::Header, table: &'t Table) -> Glance<'t> {
        table.glance_ipv4(ipv4::destination(header))
    }

    fn may_be_fragmented(packet: &Packet<'_, Self>, _: u32) -> bool {
        !ipv4::dont_fragment(packet.header())
    }

    #[inline(always)]
    fn parse(headers: &Self::Headers) -> (Arriving<Self::TransportAddress>, u16) {
        let arriving = ipv4::parse(headers);
        (arriving, arriving.destination.port())
    }

    #[inline(always)]
    fn payload(start: &Self::Start) -> [u8; 2] {
        let [.., first, second] = *start;
        [first, second]
    }

    #[inline(always)]
    fn rtp(start: &Self::Rtp) -> rtp::Header {
        rtp::parse(rtp::at_end_of(start))
    }

    #[inline(always)]
    fn in_place(rewrite: &Rewrite) -> Option<&Self::InPlace> {
        match rewrite {
            Rewrite::Ipv4(rewrite) => Some(rewrite),
            _ => None,
        }
    }

    #[inline(always)]
    fn apply(rewrite: &Self::InPlace, headers: &mut Self::Headers, partial: bool) {
        rewrite.apply(headers, partial);
    }

    #[inline(always)]
    fn mark(headers: &mut Self::Headers, traffic_class: u8, hops: u8) {
        ipv4::mark(headers, traffic_class, hops);
    }

    fn translate<'r>(
        mut packet: Packet<'r, Self>,
        forward: &Forward,
        exit: Exit<'r>,
        leaving: Leaving,
    ) -> Result<Verdict, Packet<'r, Self>> {
        let partial = packet.forget_sum();
        let (Rewrite::Ipv4ToIpv6(rewrite), Some(headers)) =
            (&forward.rewrite, packet.linear::<Self::Headers>())
        else {
            return Err(packet);
        };
        let (mut headers, checksum) = rewrite.apply(headers, partial);
        let partial = checksum == Checksum::Partial;
        ipv6::mark(&mut headers, leaving.traffic_class, leaving.hops);
        let mark = forward.sending.mark;
        let priority = Ipv6::priority(leaving.traffic_class);
        packet
            .replace_headers::<Ipv6, { ipv4::HEADERS }, { ipv6::HEADERS }>(&headers, partial, exit)
            .map(|mut packet| {
                // One that may not be fragmented has been refused when it is too big.
                packet.allow_fragmentation();
                packet.transmit(exit, mark, priority)
            })
    }

    #[inline(always)]
    fn priority(traffic_class: u8) -> u32 {
        Packet::<Self>::priority(traffic_class)
    }

    fn reject(packet: Packet<'_, Self>, error: IcmpError) -> Verdict {
        packet.reject(error)
    }
}

impl Relayed for Ipv6 {
    type Headers = [u8; ipv6::HEADERS];
    type Start = [u8; ipv6::HEADERS + 2];
    type Rtp = [u8; ipv6::HEADERS + rtp::HEADER];
    type TransportAddress = ipv6::TransportAddress;
    type InPlace = ipv6::Rewrite;
    const LEAST_MTU: u32 = ipv6::LEAST_MTU;
    const CHECKSUM_IS_OPTIONAL: bool = false;

    #[inline(always)]
    fn is_candidate(header: &Self::Header) -> bool {
        ipv6::is_candidate(header)
    }

    #[inline(always)]
    fn destination(header: &Self::Header) -> IpAddr {
        ipv6::destination(header).into()
    }

    #[inline(always)]
    fn glance<'t>(header: &Self::Header, table: &'t Table) -> Glance<'t> {
        table.glance_ipv6(ipv6::destination(header))
    }

    fn may_be_fragmented(packet: &Packet<'_, Self>, length: u32) -> bool {
        // Only by its sender (RFC 8200 section 5), who did it with one that was put together here.
        packet
            .longest_fragment()
            .is_some_and(|longest| longest <= length)
    }

    #[inline(always)]
    fn parse(headers: &Self::Headers) -> (Arriving<Self::TransportAddress>, u16) {
        let arriving = ipv6::parse(headers);
        (arriving, arriving.destination.port())
    }

    #[inline(always)]
    fn payload(start: &Self::Start) -> [u8; 2] {
        let [.., first, second] = *start;
        [first, second]
    }

    #[inline(always)]
    fn rtp(start: &Self::Rtp) -> rtp::Header {
        rtp::parse(rtp::at_end_of(start))
    }

    #[inline(always)]
    fn in_place(rewrite: &Rewrite) -> Option<&Self::InPlace> {
        match rewrite {
            Rewrite::Ipv6(rewrite) => Some(rewrite),
            _ => None,
        }
    }

    #[inline(always)]
    fn apply(rewrite: &Self::InPlace, headers: &mut Self::Headers, partial: bool) {
        rewrite.apply(headers, partial);
    }

    #[inline(always)]
    fn mark(headers: &mut Self::Headers, traffic_class: u8, hops: u8) {
        ipv6::mark(headers, traffic_class, hops);
    }

    fn translate<'r>(
        mut packet: Packet<'r, Self>,
        forward: &Forward,
        exit: Exit<'r>,
        leaving: Leaving,
    ) -> Result<Verdict, Packet<'r, Self>> {
        let partial = packet.forget_sum();
        let (Rewrite::Ipv6ToIpv4(rewrite), Some(headers)) =
            (&forward.rewrite, packet.linear::<Self::Headers>())
        else {
            return Err(packet);
        };
        let mut headers = rewrite.apply(headers, partial);
        ipv4::mark(&mut headers, leaving.traffic_class, leaving.hops);
        let mark = forward.sending.mark;
        let priority = Ipv4::priority(leaving.traffic_class);
        packet
            .replace_headers::<Ipv4, { ipv6::HEADERS }, { ipv4::HEADERS }>(&headers, false, exit)
            .map(|mut packet| {
                // Nobody is told to send less than what every IPv6 link takes.
                if !exit.fits(packet.longest(ipv4::HEADERS as u32)) {
                    packet.allow_fragmentation();
                }
                packet.transmit(exit, mark, priority)
            })
    }

    #[inline(always)]
    fn priority(_: u8) -> u32 {
        0
    }

    fn reject(packet: Packet<'_, Self>, error: IcmpError) -> Verdict {
        packet.reject(error)
    }
}

/// What the IP header of a packet says when it leaves.
#[derive(Clone, Copy)]
pub(crate) struct Leaving {
    /// Its traffic class: DSCP and ECN.
    pub(crate) traffic_class: u8,
    /// The hops that are left to it.
    pub(crate) hops: u8,
}

impl Leaving {
    /// What is asked for, in the place of what it says without.
    pub(crate) fn asked(self, sending: &Sending) -> Self {
        Self {
            traffic_class: sending.traffic_class(self.traffic_class),
            hops: sending.hops.unwrap_or(self.hops),
        }
    }
}
