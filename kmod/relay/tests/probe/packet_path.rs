// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0

//! The relay included as `lreproxy.ko` does, with everything that runs for a packet called once,
//! so that the compiler makes code of it. Compiled by the tests, run by nobody.

#![no_std]
#![deny(warnings)]

#[path = "../../lib.rs"]
pub mod relay;

use relay::{
    admission::{admit, direction, Carries, Refusal, Side},
    ipv4, ipv6,
    learning::{self, Heard, Rank, Source, State, Verdict},
    payload::{classify, Class},
    policy::{Receiving, Sending},
    quality::{Clock, Reception, Tally},
    rate::Rate,
    remote::Remote,
    rewrite::Rewrite,
    rtcp, rtp,
    translate::{Checksum, Ipv4ToIpv6, Ipv6ToIpv4},
    validate::{self, Endpoint, Invalid},
};
use core::{net::SocketAddr, sync::atomic::AtomicU64};

/// Looked at for every packet of the host.
#[no_mangle]
pub fn first_look(ip: &[u8; 20]) -> Option<u32> {
    ipv4::is_candidate(ip).then(|| ipv4::destination(ip).into())
}

/// Looked at for every IPv6 packet of the host.
#[no_mangle]
pub fn first_look_6(ip: &[u8; 40]) -> Option<u128> {
    ipv6::is_candidate(ip).then(|| ipv6::destination(ip).into())
}

/// Looked at in packets that are too big.
#[no_mangle]
pub fn too_big(ip: &[u8; 20]) -> bool {
    ipv4::dont_fragment(ip)
}

/// Decided for packets to the relay.
#[no_mangle]
pub fn decide(
    headers: &[u8; 28],
    first_two: [u8; 2],
    carries: Carries,
    remote: Remote,
) -> Result<(bool, u16, bool), Refusal> {
    let arriving = ipv4::parse(headers);
    let length = arriving.payload_length()?;
    let class = classify(first_two, length);
    admit(carries, class)?;
    Ok((
        remote == arriving.source,
        arriving.destination.port(),
        arriving.hops_allow_forwarding(),
    ))
}

/// Decided for IPv6 packets to the relay.
#[no_mangle]
pub fn decide_6(
    headers: &[u8; 48],
    first_two: [u8; 2],
    carries: Carries,
    remote: Remote,
) -> Result<(bool, u16, bool, u16), Refusal> {
    let arriving = ipv6::parse(headers);
    let length = arriving.payload_length()?;
    let class = classify(first_two, length);
    admit(carries, class)?;
    Ok((
        remote == arriving.source,
        arriving.destination.port(),
        arriving.hops_allow_forwarding(),
        arriving.udp_checksum,
    ))
}

/// Decided where two endpoints share a port.
#[no_mangle]
pub fn decide_direction(a: Remote, b: Remote, source: ipv4::TransportAddress) -> Option<Side> {
    direction(a, b, source)
}

/// Done to packets that are let through.
#[no_mangle]
pub fn rewrite(rewrite: &ipv4::Rewrite, headers: &mut [u8; 28], partial: bool) {
    rewrite.apply(headers, partial);
}

/// Done to IPv6 packets that are let through.
#[no_mangle]
pub fn rewrite_6(rewrite: &ipv6::Rewrite, headers: &mut [u8; 48], partial: bool) {
    rewrite.apply(headers, partial);
}

/// Done to packets that leave with the other version.
#[no_mangle]
pub fn translate_4_to_6(
    rewrite: &Ipv4ToIpv6,
    headers: &[u8; 28],
    partial: bool,
) -> ([u8; 48], Checksum) {
    rewrite.apply(headers, partial)
}

/// Done to packets that leave with the other version.
#[no_mangle]
pub fn translate_6_to_4(rewrite: &Ipv6ToIpv4, headers: &[u8; 48], partial: bool) -> [u8; 28] {
    rewrite.apply(headers, partial)
}

/// Decided where an endpoint has a gate.
#[no_mangle]
pub fn pass(asked: &Receiving, start: &[u8; 40]) -> Result<(), Refusal> {
    asked.admit(&rtp::parse(rtp::at_end_of(start)))
}

/// Decided where an endpoint has a rate.
#[no_mangle]
pub fn take(rate: &Rate, full_at: u64, units: u64, now: u64) -> Option<u64> {
    rate.take(full_at, units, now)
}

/// Done where a party gets its packets marked.
#[no_mangle]
pub fn mark(asked: &Sending, headers: &mut [u8; 28], arrived: u8, hops: u8) {
    if asked.changes_headers() {
        ipv4::mark(headers, asked.traffic_class(arrived), hops);
    }
}

/// Done where a party gets its IPv6 packets marked.
#[no_mangle]
pub fn mark_6(headers: &mut [u8; 48], class: u8, hops: u8) {
    ipv6::mark(headers, class, hops);
}

/// Asked for packets that are let through.
#[no_mangle]
pub fn growth(rewrite: &Rewrite) -> i32 {
    rewrite.growth()
}

/// Done to RTP packets that are let through.
#[no_mangle]
pub fn measure(
    reception: &Reception<AtomicU64>,
    tally: &Tally<AtomicU64>,
    signalled: Option<Clock>,
    header: &[u8; 12],
    arrival: u64,
) {
    let packet = rtp::parse(header);
    let clock = signalled.unwrap_or(Clock::of_payload_type(packet.payload_type));
    tally.note(reception.receive(&packet, clock, arrival));
}

/// Asked about packets of others than the remote, where one is learned.
#[no_mangle]
pub fn rank(policy: &learning::Policy, source: ipv4::TransportAddress) -> Option<Rank> {
    policy.rank(source.into())
}

/// Asked about IPv6 packets of others than the remote, where one is learned.
#[no_mangle]
pub fn rank_6(policy: &learning::Policy, source: ipv6::TransportAddress) -> Option<Rank> {
    policy.rank(source.into())
}

/// Done to packets whose source may be learned.
#[no_mangle]
pub fn learn(
    state: State,
    policy: &learning::Policy,
    source: Source,
    class: Class,
    start: &[u8; 8],
    heard: Option<Heard>,
    endpoint: &Endpoint,
    opposite: SocketAddr,
    now: u64,
) -> (State, Verdict) {
    let packet = learning::Packet {
        source,
        class,
        ssrc: rtcp::ssrc(start),
        sequence: 0,
    };
    let is_own = |source: Source| {
        let party = Endpoint {
            remote: Some(source.into()),
            ..*endpoint
        };
        let is_elsewhere = |_: &Endpoint, _| Err::<Option<()>, _>(Invalid::ThisHost);
        validate::remote(&party, opposite, is_elsewhere).is_err()
    };
    state.hear(policy, &packet, heard, is_own, now)
}

/// Proof that the test would see a way to panic.
#[cfg(can_panic)]
#[no_mangle]
pub fn outside(headers: &[u8; 28], at: usize) -> u8 {
    headers[at]
}
