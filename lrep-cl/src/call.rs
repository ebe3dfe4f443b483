// SPDX-License-Identifier: MIT OR Apache-2.0

//! The calls this controller has in the relay.
//!
//! A call is what one Call-ID holds: one media per pair of relay ports, each a session of the
//! layer below. A media has two parties, the offerer and the answerer, and is carried by two
//! streams, RTP and RTCP. Nothing here does I/O: the caller asks what to do, does it, and tells
//! what came of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ahash::HashMap;

use crate::tsl::{Endpoint, Learning, SessionId, SessionState, Stream, StreamKind};

/// One side of a media: where the relay faces a party, and the party.
pub type Party = Endpoint;

/// What two parties exchange through the relay. Ports are those of RTP; RTCP is at the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Media {
    /// Who made the offer, and the relay address its media arrives at.
    pub offerer: Party,
    /// Who answered, and the relay address its media arrives at.
    pub answerer: Party,
    /// The media ends after this long without a packet.
    pub timeout: Duration,
}

impl Media {
    /// The streams that carry this media, offerer first.
    pub fn streams(&self) -> Vec<Stream> {
        let rtp = Stream {
            kind: StreamKind::Rtp,
            a: self.offerer,
            b: self.answerer,
        };
        let rtcp = rtcp_of(self.offerer)
            .zip(rtcp_of(self.answerer))
            .map(|(a, b)| Stream {
                kind: StreamKind::Rtcp,
                a,
                b,
            });
        [Some(rtp), rtcp].into_iter().flatten().collect()
    }

    /// The same media, whose parties are found out in this way.
    pub fn learning(mut self, learning: Learning) -> Self {
        self.offerer.learning = learning;
        self.answerer.learning = learning;
        self
    }

    /// Where the relay faces the parties.
    pub fn locals(&self) -> Locals {
        Locals {
            offerer: self.offerer.local,
            answerer: self.answerer.local,
        }
    }

    /// The media a session of the layer carries; `None` when no controller of this kind made it.
    pub fn of(session: &SessionState) -> Option<Self> {
        session
            .streams
            .iter()
            .map(|state| state.stream)
            .find(|stream| stream.kind == StreamKind::Rtp)
            .map(|rtp| Self {
                offerer: rtp.a,
                answerer: rtp.b,
                timeout: Duration::from_millis(session.timeout_ms.into()),
            })
    }
}

/// Where the relay faces the parties of a media, with the ports of RTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Locals {
    /// Where the offerer's media arrives.
    pub offerer: SocketAddr,
    /// Where the answerer's media arrives.
    pub answerer: SocketAddr,
}

impl Locals {
    /// Whether both parties are faced at one and the same relay address and port.
    pub fn is_shared(&self) -> bool {
        self.offerer == self.answerer
    }

    /// The relay ports of the media.
    pub fn ports(&self) -> impl Iterator<Item = u16> + use<> {
        let answerer = (!self.is_shared()).then(|| self.answerer.port());
        [Some(self.offerer.port()), answerer]
            .into_iter()
            .flatten()
            .flat_map(|port| [port, port.saturating_add(1)])
    }
}

/// RTCP's endpoint: everything one port higher. `None` when the local port has no next one; a
/// remote without one is left out.
fn rtcp_of(rtp: Party) -> Option<Party> {
    let next = |address: SocketAddr| {
        let port = address.port().checked_add(1)?;
        Some(SocketAddr::new(address.ip(), port))
    };
    Some(Party {
        local: next(rtp.local)?,
        remote: rtp.remote.and_then(next),
        ..rtp
    })
}

/// How a wanted media is brought about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Make a session, in place of any that owns one of its ports.
    New,
    /// Give this session new remotes, so that its counters go on.
    Change(SessionId),
}

/// A session that had to go because another call was given its ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collision {
    /// The session that was replaced.
    pub id: SessionId,
    /// Its Call-ID, if this controller knew it.
    pub label: Option<Vec<u8>>,
}

/// What one Call-ID holds, by number: seldom more than one or two.
type Call = Vec<(SessionId, Locals)>;

/// All calls, by Call-ID. There are many: what a media is besides its relay addresses is in the
/// layer's table only.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Calls {
    calls: HashMap<Arc<[u8]>, Call>,
    labels: HashMap<SessionId, Arc<[u8]>>,
}

impl Calls {
    /// The calls of a table found in the layer, and the ids of sessions that are none of ours in
    /// shape.
    pub fn adopt(sessions: &[SessionState]) -> (Self, Vec<SessionId>) {
        let mut calls = Self::default();
        let mut strange = Vec::new();
        for session in sessions {
            match Media::of(session) {
                Some(media) => calls.insert(session.id, &session.label, media.locals()),
                None => strange.push(session.id),
            }
        }
        (calls, strange)
    }

    /// Whether the call has a session.
    pub fn contains(&self, label: &[u8]) -> bool {
        self.calls.contains_key(label)
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no session.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The Call-IDs.
    pub fn labels(&self) -> impl Iterator<Item = &[u8]> {
        self.calls.keys().map(AsRef::as_ref)
    }

    /// Where each media is.
    pub fn locals(&self) -> impl Iterator<Item = &Locals> {
        self.calls.values().flatten().map(|(_, locals)| locals)
    }

    /// How to give the call `label` this media: a session of the call that faces both parties at
    /// the same relay addresses is changed, anything else is a new session.
    pub fn plan(&self, label: &[u8], media: &Media) -> Plan {
        self.calls
            .get(label)
            .and_then(|call| {
                let locals = media.locals();
                call.iter().find(|(_, known)| *known == locals)
            })
            .map_or(Plan::New, |(id, _)| Plan::Change(*id))
    }

    /// A session was made or changed.
    pub fn insert(&mut self, id: SessionId, label: &[u8], locals: Locals) {
        self.remove(id);
        let label = match self.calls.get_key_value(label) {
            Some((label, _)) => Arc::clone(label),
            None => label.into(),
        };
        self.labels.insert(id, Arc::clone(&label));
        let call = self.calls.entry(label).or_default();
        let at = call.partition_point(|(known, _)| *known < id);
        call.insert(at, (id, locals));
    }

    /// Sessions were replaced by a new one of call `label`; tells which of them were another
    /// call's, and where the media are that are gone.
    pub fn replaced(&mut self, label: &[u8], ids: &[SessionId]) -> (Vec<Collision>, Vec<Locals>) {
        let mut collisions = Vec::new();
        let mut gone = Vec::new();
        for &id in ids {
            let owner = self.labels.get(&id).map(|owner| owner.to_vec());
            gone.extend(self.remove(id));
            if owner.as_deref() != Some(label) {
                collisions.push(Collision { id, label: owner });
            }
        }
        (collisions, gone)
    }

    /// The session of call `label` whose answerer was told the relay address `answerer`.
    pub fn find(&self, label: &[u8], answerer: SocketAddr) -> Option<SessionId> {
        self.calls
            .get(label)?
            .iter()
            .find(|(_, locals)| locals.answerer == answerer)
            .map(|(id, _)| *id)
    }

    /// A session has ended; tells where its media was if it was ours.
    pub fn remove(&mut self, id: SessionId) -> Option<Locals> {
        let label = self.labels.remove(&id)?;
        let call = self.calls.get_mut(&label)?;
        let at = call.iter().position(|(known, _)| *known == id)?;
        let (_, locals) = call.remove(at);
        if call.is_empty() {
            self.calls.remove(&label);
        }
        Some(locals)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tsl::LearningMode;
    use crate::tsl::NewSession;

    fn at(text: &str) -> SocketAddr {
        text.parse().expect("an address and a port")
    }

    fn media(dst: &str, snat: &str) -> Media {
        Media {
            offerer: Party::new(at(snat), Some(at("192.0.2.1:4000"))),
            answerer: Party::new(at(dst), Some(at("192.0.2.2:5000"))),
            timeout: Duration::from_secs(60),
        }
    }

    fn block(port: u16) -> Media {
        media(
            &format!("10.0.0.5:{port}"),
            &format!("10.0.0.5:{}", port + 2),
        )
    }

    #[test]
    fn a_media_is_two_streams_with_rtcp_one_port_higher() {
        let streams = block(20000).streams();
        let [rtp, rtcp] = streams.as_slice() else {
            panic!("two streams: {streams:?}");
        };
        assert_eq!((rtp.kind, rtcp.kind), (StreamKind::Rtp, StreamKind::Rtcp));
        assert_eq!(rtp.a.local, at("10.0.0.5:20002"));
        assert_eq!(rtp.b.local, at("10.0.0.5:20000"));
        assert_eq!(rtcp.a.local, at("10.0.0.5:20003"));
        assert_eq!(rtcp.b.local, at("10.0.0.5:20001"));
        assert_eq!(rtcp.a.remote, Some(at("192.0.2.1:4001")));
        assert_eq!(rtcp.b.remote, Some(at("192.0.2.2:5001")));
    }

    #[test]
    fn both_parties_of_both_streams_are_learned_alike() {
        let learning = Learning {
            mode: LearningMode::Nat,
            ..Learning::default()
        };
        let streams = block(20000).learning(learning).streams();
        assert_eq!(streams.len(), 2);
        for stream in streams {
            assert_eq!((stream.a.learning, stream.b.learning), (learning, learning));
        }
    }

    #[test]
    fn a_party_on_the_last_port_has_no_rtcp() {
        let mut media = block(20000);
        media.offerer.remote = Some(at("192.0.2.1:65535"));
        let streams = media.streams();
        assert_eq!(streams[0].a.remote, Some(at("192.0.2.1:65535")));
        assert_eq!(streams[1].a.remote, None);
    }

    #[test]
    fn a_shared_port_is_occupied_once() {
        assert_eq!(
            block(20000).locals().ports().collect::<Vec<_>>(),
            [20002, 20003, 20000, 20001]
        );
        let shared = media("10.0.0.5:20000", "10.0.0.5:20000");
        assert!(shared.locals().is_shared());
        assert_eq!(shared.locals().ports().collect::<Vec<_>>(), [20000, 20001]);
        assert!(
            !media("10.0.0.5:20000", "10.0.0.6:20000")
                .locals()
                .is_shared()
        );
    }

    #[test]
    fn the_same_call_on_the_same_ports_is_changed_and_keeps_its_counters() {
        let mut calls = Calls::default();
        assert_eq!(calls.plan(b"a", &block(20000)), Plan::New);
        calls.insert(1, b"a", block(20000).locals());
        let mut moved = block(20000);
        moved.answerer.remote = Some(at("192.0.2.9:9000"));
        assert_eq!(calls.plan(b"a", &moved), Plan::Change(1));
    }

    #[test]
    fn a_new_block_of_the_same_call_stands_beside_the_old_one() {
        let mut calls = Calls::default();
        calls.insert(1, b"a", block(20000).locals());
        assert_eq!(calls.plan(b"a", &block(20004)), Plan::New);
        calls.insert(2, b"a", block(20004).locals());
        assert_eq!(calls.len(), 2);
        assert_eq!(calls.plan(b"a", &block(20000)), Plan::Change(1));
        assert_eq!(calls.plan(b"a", &block(20004)), Plan::Change(2));
    }

    #[test]
    fn another_call_on_the_same_ports_is_a_collision_and_the_newer_wins() {
        let mut calls = Calls::default();
        calls.insert(1, b"old", block(20000).locals());
        assert_eq!(calls.plan(b"new", &block(20000)), Plan::New);
        let (collisions, gone) = calls.replaced(b"new", &[1, 77]);
        calls.insert(2, b"new", block(20000).locals());
        assert_eq!(gone, [block(20000).locals()]);
        assert_eq!(
            collisions,
            [
                Collision {
                    id: 1,
                    label: Some(b"old".to_vec())
                },
                Collision {
                    id: 77,
                    label: None
                }
            ]
        );
        assert_eq!(calls.find(b"old", at("10.0.0.5:20000")), None);
        assert_eq!(calls.find(b"new", at("10.0.0.5:20000")), Some(2));
    }

    #[test]
    fn replacing_ones_own_session_is_no_collision() {
        let mut calls = Calls::default();
        calls.insert(1, b"a", block(20000).locals());
        let (collisions, gone) = calls.replaced(b"a", &[1]);
        assert!(collisions.is_empty());
        assert_eq!(gone.len(), 1);
        assert!(calls.is_empty());
    }

    #[test]
    fn only_the_call_id_with_the_answerers_relay_address_finds_a_session() {
        let mut calls = Calls::default();
        calls.insert(1, b"a", block(20000).locals());
        assert_eq!(calls.find(b"a", at("10.0.0.5:20000")), Some(1));
        assert_eq!(calls.find(b"a", at("10.0.0.5:20002")), None);
        assert_eq!(calls.find(b"a", at("10.0.0.6:20000")), None);
        assert_eq!(calls.find(b"b", at("10.0.0.5:20000")), None);
        assert_eq!(calls.remove(1), Some(block(20000).locals()));
        assert_eq!(calls.remove(1), None);
        assert_eq!(calls.find(b"a", at("10.0.0.5:20000")), None);
    }

    #[test]
    fn what_is_found_in_the_table_is_adopted() {
        let session = |id, streams: Vec<Stream>| {
            let new = NewSession {
                label: b"a".to_vec(),
                owner: 1,
                timeout_ms: 60_000,
                streams,
                replace: true,
            };
            SessionState::new(id, &new)
        };
        let (calls, strange) =
            Calls::adopt(&[session(5, block(20000).streams()), session(6, Vec::new())]);
        assert_eq!(calls.plan(b"a", &block(20000)), Plan::Change(5));
        assert_eq!(calls.locals().collect::<Vec<_>>(), [&block(20000).locals()]);
        assert_eq!(strange, [6]);
    }
}
