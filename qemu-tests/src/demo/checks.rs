// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whether the call went as it should, from captures.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::guest::packet::Datagram;
use crate::guest::sip::{Message, PORT};

/// One thing that was checked, with the figures it was found to be so by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Whether it is as it should be.
    pub good: bool,
    /// What was found.
    found: String,
}

impl Check {
    /// Something that is as it should be, or is not.
    pub fn new(good: bool, found: impl Into<String>) -> Self {
        Self {
            good,
            found: found.into(),
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.good { "ok" } else { "WRONG" };
        write!(to, "  {verdict:<5}  {}", self.found)
    }
}

/// One stream of packets from a party to the other.
pub struct Flow {
    /// What it carries, and between whom.
    pub name: String,
    /// What the sender sent.
    pub sent: Vec<Vec<u8>>,
    /// Where the relay sends it from.
    pub relay: SocketAddr,
    /// What reached the receiver.
    pub arrived: Vec<Datagram>,
    /// Packets the kernel says it has forwarded.
    pub counted: u64,
}

impl Flow {
    /// What was sent arrived, unchanged, in order and from the relay, and was counted.
    pub fn check(&self) -> Check {
        let whole = self
            .arrived
            .iter()
            .map(|one| &one.payload)
            .eq(self.sent.iter());
        let from_relay = self.arrived.iter().all(|one| one.from == self.relay);
        let (sent, arrived) = (self.sent.len(), self.arrived.len());
        Check::new(
            whole && from_relay && sent as u64 == self.counted,
            format!(
                "{}: {sent} sent, {} counted by the kernel, {arrived} arrived{}{}",
                self.name,
                self.counted,
                if whole {
                    ", unchanged and in order"
                } else {
                    ", but not what was sent"
                },
                if from_relay {
                    ""
                } else {
                    ", some of them past the relay"
                },
            ),
        )
    }
}

/// All a party got came from the relay host, and no session description (SDP) in it names the other
/// party.
pub fn privacy(name: &str, got: &[Datagram], relay: IpAddr, other: IpAddr) -> Check {
    let senders: BTreeSet<_> = got.iter().map(|one| one.from.ip()).collect();
    let named = got
        .iter()
        .filter(|one| one.from.port() == PORT)
        .filter_map(|one| Message::parse(&one.payload))
        .filter_map(|message| Some(message.text.split_once("\r\n\r\n")?.1.to_owned()))
        .any(|description| description.contains(&other.to_string()));
    let all: Vec<_> = senders.iter().map(ToString::to_string).collect();
    let count = got.len();
    let found = if named {
        format!("{other} stands in SDP that reached the {name}")
    } else if senders == BTreeSet::from([relay]) {
        format!("the {name} got {count} packets, all from {relay}, and no SDP that names {other}")
    } else {
        format!("the {name} got {count} packets, from: {}", all.join(", "))
    };
    Check::new(senders == BTreeSet::from([relay]) && !named, found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::packet::Checksum;
    use crate::guest::topology::{CALLEE, CALLER, WEST};

    const RELAY: SocketAddr = SocketAddr::new(WEST, 20_000);

    fn arrived(from: SocketAddr, payload: &[u8]) -> Datagram {
        Datagram {
            from,
            to: SocketAddr::new(CALLER, 40_000),
            ttl: 63,
            tos: 0,
            ip_checksum_is_right: true,
            checksum: Checksum::Right,
            payload: payload.to_vec(),
            flow_label: 0,
        }
    }

    fn flow(payloads: [&[u8]; 2]) -> Flow {
        Flow {
            name: "RTP".to_owned(),
            sent: vec![b"one".to_vec(), b"two".to_vec()],
            relay: RELAY,
            arrived: payloads.map(|one| arrived(RELAY, one)).to_vec(),
            counted: 2,
        }
    }

    fn sip(from: IpAddr, description: &str) -> Datagram {
        let text = format!("INVITE x SIP/2.0\r\nCall-ID: a\r\nCSeq: 1 INVITE\r\n\r\n{description}");
        arrived(SocketAddr::new(from, PORT), text.as_bytes())
    }

    #[test]
    fn a_flow_is_good_when_it_arrives_as_sent_and_is_counted() {
        let good = flow([b"one", b"two"]);
        assert!(good.check().good);
        assert!(!Flow { counted: 3, ..good }.check().good);
    }

    #[test]
    fn a_packet_changed_lost_or_late_is_noticed() {
        assert!(!flow([b"one", b"2"]).check().good);
        assert!(!flow([b"two", b"one"]).check().good);
        let mut lost = flow([b"one", b"two"]);
        lost.arrived.pop();
        assert!(!lost.check().good);
    }

    #[test]
    fn a_packet_past_the_relay_is_noticed() {
        let mut past = flow([b"one", b"two"]);
        past.arrived[1].from = SocketAddr::new(CALLEE, 41_000);
        assert!(!past.check().good);
    }

    #[test]
    fn an_address_is_given_away_by_a_sender_and_by_sdp() {
        let verdict = |got: &[Datagram]| privacy("caller", got, WEST, CALLEE).good;
        assert!(verdict(&[sip(WEST, "c=IN IP4 10.1.0.1")]));
        assert!(!verdict(&[sip(WEST, "c=IN IP4 10.2.0.2")]));
        assert!(!verdict(&[
            sip(WEST, ""),
            arrived(SocketAddr::new(CALLEE, 41_000), b"x")
        ]));
        assert!(!verdict(&[]));
    }
}
