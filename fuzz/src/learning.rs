// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whoever sends whatever in whatever order: only who is near to what was signalled is ever sent
//! to or let through, and nobody but the remote once it is settled.

use std::net::{Ipv6Addr, SocketAddr};

use arbitrary::Arbitrary;
use relay::admission::Carries;
use relay::learning::{Heard, Mode, Packet, Policy, Roam, Source, State, Verdict};
use relay::payload::Class;

use crate::structured;

#[derive(Arbitrary, Debug)]
struct Input {
    is_nat: bool,
    is_rtcp: bool,
    media: Option<(u8, u16)>,
    signalling: Option<u8>,
    ssrc: Option<u8>,
    confirmations: u8,
    window_ms: u16,
    silence_ms: u16,
    roam: Option<(u16, u16)>,
    events: Vec<Event>,
}

#[derive(Arbitrary, Debug)]
enum Event {
    Packet {
        host: u8,
        port: u8,
        class: u8,
        ssrc: u8,
        sequence: u16,
        is_own: bool,
    },
    Time(u16),
    Signalling(Option<(u8, u16)>),
}

/// A few hosts in four networks of IPv4 and four of IPv6, so that some are each other's neighbours.
fn host(number: u8) -> SocketAddr {
    let (network, host) = (number & 3, number >> 3);
    match number & 4 {
        0 => SocketAddr::from(([10, 0, network, host + 1], 0)),
        _ => {
            let end = u16::from(host) + 1;
            SocketAddr::from(([0x2001, 0xdb8, 0, network.into(), 0, 0, 0, end], 0))
        }
    }
}

fn source(number: u8, port: u16) -> Source {
    let mut address = host(number);
    // Packets without a port of their own are no remotes.
    address.set_port(port.max(1));
    address.into()
}

/// An address in the form in which the policy holds it.
fn bare(number: u8) -> Ipv6Addr {
    source(number, 1).address
}

fn class(number: u8) -> Class {
    match number % 5 {
        0 => Class::Rtcp,
        1 => Class::Stun,
        2 => Class::Dtls,
        3 => Class::Other,
        _ => Class::Rtp,
    }
}

/// Whether two addresses are of one /24 or one /64, found digit by digit.
fn is_near(one: Ipv6Addr, other: Ipv6Addr) -> bool {
    match (one.to_ipv4_mapped(), other.to_ipv4_mapped()) {
        (Some(one), Some(other)) => one.octets()[..3] == other.octets()[..3],
        (None, None) => one.octets()[..8] == other.octets()[..8],
        _ => false,
    }
}

/// Whether anything may ever be sent to, or let through from, a source.
fn may(policy: &Policy, source: Source) -> bool {
    match policy.mode {
        Mode::Signalled => policy.media == Some(source),
        _ => [policy.media.map(|media| media.address), policy.signalling]
            .into_iter()
            .flatten()
            .any(|address| is_near(address, source.address)),
    }
}

/// Any bytes.
pub fn check(bytes: &[u8]) {
    let Some(input) = structured::<Input>(bytes) else {
        return;
    };
    let mut policy = Policy {
        mode: match input.is_nat {
            true => Mode::Nat,
            false => Mode::Signalled,
        },
        carries: match input.is_rtcp {
            true => Carries::Rtcp,
            false => Carries::Rtp,
        },
        media: input.media.map(|(host, port)| source(host, port)),
        signalling: input.signalling.map(bare),
        ssrc: input.ssrc.map(u32::from),
        confirmations: input.confirmations.max(1),
        window_ms: input.window_ms.into(),
        silence_ms: input.silence_ms.into(),
        roam: input.roam.map(|(silence_ms, sequences)| Roam {
            silence_ms: u32::from(silence_ms).max(1),
            sequences: sequences.max(1),
        }),
        loopback: false,
    };
    let mut now = 0;
    let mut state = State::new(&policy, now);
    let mut heard: Option<Heard> = None;
    for event in input.events {
        match event {
            Event::Time(ms) => now += u64::from(ms),
            Event::Signalling(media) => {
                policy.media = media.map(|(host, port)| source(host, port));
                state = state.signalled_again(&policy, now);
            }
            Event::Packet {
                host,
                port,
                class: kind,
                ssrc,
                sequence,
                is_own,
            } => {
                let packet = Packet {
                    source: source(host, port.into()),
                    class: class(kind),
                    ssrc: ssrc.into(),
                    sequence,
                };
                let before = state;
                // As the packet path does it: a settled remote is not heard.
                let verdict = if before.is_locked() && before.remote() == Some(packet.source) {
                    Verdict::Relay
                } else {
                    let (after, verdict) = before.hear(&policy, &packet, heard, |_| is_own, now);
                    state = after;
                    verdict
                };
                let passes = !matches!(verdict, Verdict::Refuse(_));
                assert_eq!(passes, state.remote() == Some(packet.source));
                if passes {
                    assert!(may(&policy, packet.source), "{packet:?} of {policy:?}");
                    heard = Some(Heard {
                        at: now,
                        ssrc: packet.ssrc,
                        sequence,
                    });
                }
                let changed = before.remote() != state.remote();
                assert!(!changed || !is_own, "an own address was learned");
                assert!(
                    !changed || passes,
                    "a packet that is refused changed the remote"
                );
            }
        }
        if let Some(remote) = state.remote() {
            assert!(may(&policy, remote), "{remote:?} of {policy:?}");
        }
    }
}
