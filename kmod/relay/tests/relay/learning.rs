// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0

//! A party is found where it is, and nobody else gets its call.

mod attacks;
mod limits;
mod roaming;
mod rules;

use relay::{
    admission::Carries,
    learning::{Heard, Mode, Packet, Policy, Source, State, Verdict},
    payload::Class,
};
use std::net::SocketAddr;

fn at(address: &str) -> Source {
    address.parse::<SocketAddr>().unwrap().into()
}

/// What a party behind NAT signals: its private address, in a message from its public one.
fn nat() -> Policy {
    Policy {
        mode: Mode::Nat,
        carries: Carries::Rtp,
        media: Some(at("192.168.1.10:4000")),
        signalling: Some(at("203.0.113.7:0").address),
        ssrc: None,
        confirmations: Policy::RTP_CONFIRMATIONS,
        window_ms: Policy::WINDOW_MS,
        silence_ms: Policy::SILENCE_MS,
        roam: None,
        loopback: false,
    }
}

fn open() -> Policy {
    Policy {
        mode: Mode::Open,
        ..nat()
    }
}

/// What it sends from.
fn party() -> Source {
    at("203.0.113.7:50000")
}

/// Behind the same NAT.
fn housemate() -> Source {
    at("203.0.113.7:6000")
}

fn neighbour() -> Source {
    at("203.0.113.99:5000")
}

fn stranger() -> Source {
    at("198.51.100.66:5000")
}

const SSRC: u32 = 0xcafe;
const OTHER_SSRC: u32 = 0xbad;

/// An endpoint, run as the packet path runs it.
#[derive(Clone, Copy)]
struct Endpoint {
    policy: Policy,
    state: State,
    now: u64,
    heard: Option<Heard>,
}

impl Endpoint {
    fn new(policy: Policy) -> Self {
        Self {
            policy,
            state: State::new(&policy, 0),
            now: 0,
            heard: None,
        }
    }

    /// A packet arrives 20 ms after the one before.
    fn hear(&mut self, packet: Packet) -> Verdict {
        self.now += 20;
        let before = self.state;
        let verdict = if before.is_locked() && before.remote() == Some(packet.source) {
            Verdict::Relay
        } else {
            let (state, verdict) =
                before.hear(&self.policy, &packet, self.heard, |_| false, self.now);
            self.state = state;
            verdict
        };
        let is_remote = self.state.remote() == Some(packet.source);
        match verdict {
            Verdict::Refuse(_) => {
                assert!(!is_remote);
                assert_eq!(self.state.remote(), before.remote());
                assert_eq!(self.state.is_locked(), before.is_locked());
            }
            Verdict::Relay | Verdict::Adopt | Verdict::Lock => {
                assert!(is_remote);
                let changed = before.remote() != self.state.remote();
                assert!(!changed || verdict != Verdict::Relay);
                self.heard = Some(Heard {
                    at: self.now,
                    ssrc: packet.ssrc,
                    sequence: packet.sequence,
                });
            }
        }
        verdict
    }

    fn rtp(&mut self, source: Source, ssrc: u32, sequence: u16) -> Verdict {
        self.hear(Packet {
            source,
            class: Class::Rtp,
            ssrc,
            sequence,
        })
    }

    fn wait(&mut self, ms: u64) {
        self.now += ms;
    }

    fn remote(&self) -> Option<Source> {
        self.state.remote()
    }

    /// Sends so many packets of one SSRC, from a sequence number on.
    fn stream(&mut self, source: Source, ssrc: u32, from: u16, packets: u16) -> Verdict {
        let verdicts = (0..packets).map(|n| self.rtp(source, ssrc, from.wrapping_add(n)));
        verdicts.last().expect("there are packets")
    }
}
