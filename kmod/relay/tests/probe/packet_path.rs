// SPDX-License-Identifier: GPL-2.0

//! The relay included as `lreproxy.ko` does, with everything that runs for a packet called once,
//! so that the compiler makes code of it. Compiled by the tests, run by nobody.

#![no_std]
#![deny(warnings)]

#[path = "../../lib.rs"]
pub mod relay;

use relay::{
    admission::{admit, direction, Carries, Refusal, Side},
    ipv4::{destination, is_candidate, parse, Remote, Rewrite, TransportAddress},
    payload::classify,
};

/// Looked at for every packet of the host.
#[no_mangle]
pub fn first_look(ip: &[u8; 20]) -> Option<u32> {
    is_candidate(ip).then(|| destination(ip).into())
}

/// Decided for packets to the relay.
#[no_mangle]
pub fn decide(
    headers: &[u8; 28],
    first_two: [u8; 2],
    carries: Carries,
    remote: Remote,
) -> Result<(u16, bool, bool), Refusal> {
    let arriving = parse(headers);
    let length = arriving.payload_length()?;
    let class = classify(first_two, length);
    admit(carries, remote, arriving.source, class)?;
    Ok((
        arriving.destination.port(),
        arriving.ttl_allows_forwarding(),
        arriving.dont_fragment,
    ))
}

/// Decided where two endpoints share a port.
#[no_mangle]
pub fn decide_direction(a: Remote, b: Remote, source: TransportAddress) -> Option<Side> {
    direction(a, b, source)
}

/// Done to packets that are let through.
#[no_mangle]
pub fn rewrite(rewrite: &Rewrite, headers: &mut [u8; 28], partial: bool) {
    rewrite.apply(headers, partial);
}

/// Proof that the test would see a way to panic.
#[cfg(can_panic)]
#[no_mangle]
pub fn outside(headers: &[u8; 28], at: usize) -> u8 {
    headers[at]
}
