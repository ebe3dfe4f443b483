// SPDX-License-Identifier: MIT OR Apache-2.0

//! More sessions than one address has ports for.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use genl_proto::generated::{BULK_MAX, Command, StreamKind, TIMEOUT_MAX_MS};
use nix::libc;

use super::netlink::Attributes;
use super::netns::Namespace;
use super::relay::{Asked, Endpoint, Relay, Session, Stream, id_told};
use super::rtp::rtcp_of;
use super::topology::{CALLEE, CALLER};

/// Sessions that fit on one pair of addresses, each with two ports on either.
const PER_PAIR: usize = 25_000;

/// The port range they need.
const PORTS: (u16, u16) = (10_000, 59_999);

/// The relay's addresses for these numbers of sessions: towards the caller and towards the callee.
fn pair(of: usize) -> Result<(IpAddr, IpAddr)> {
    let host = u8::try_from(10 + of / PER_PAIR).context("too many sessions")?;
    let address = |network| IpAddr::V4(Ipv4Addr::new(10, network, 0, host));
    Ok((address(1), address(2)))
}

/// Gives a relay the addresses that sessions with numbers below `most` need.
pub fn make_place(namespace: &Namespace, relay: &Relay, most: usize) -> Result<()> {
    let pairs = (0..most)
        .step_by(PER_PAIR)
        .map(pair)
        .collect::<Result<Vec<_>>>()?;
    let commands: Vec<_> = pairs
        .iter()
        .map(|(west, east)| {
            format!("address add {west}/24 dev west\naddress add {east}/24 dev east\n")
        })
        .collect();
    namespace.ip(&commands.concat())?;
    let addresses: Vec<_> = pairs.iter().flat_map(|pair| [pair.0, pair.1]).collect();
    relay.configure(PORTS, &addresses)
}

/// The session with this number, from 0: a stream of RTP and one of RTCP.
pub fn session(number: usize) -> Result<Session> {
    let (west, east) = pair(number)?;
    let port = u16::try_from(number % PER_PAIR * 2)? + PORTS.0;
    let endpoint = |local, remote| Endpoint {
        local: SocketAddr::new(local, port),
        remote: Some(SocketAddr::new(remote, port)),
        asked: Asked::default(),
    };
    let rtp = Stream {
        kind: StreamKind::Rtp,
        a: endpoint(west, CALLER),
        b: endpoint(east, CALLEE),
    };
    let above = |one: Endpoint| Endpoint {
        local: rtcp_of(one.local),
        remote: one.remote.map(rtcp_of),
        ..one
    };
    let rtcp = Stream {
        kind: StreamKind::Rtcp,
        a: above(rtp.a),
        b: above(rtp.b),
    };
    Ok(Session {
        label: format!("{number:016x}@pbx.example.net").into_bytes(),
        owner: 7,
        timeout_ms: TIMEOUT_MAX_MS,
        streams: vec![rtp, rtcp],
        replace: false,
    })
}

/// The sessions with these numbers.
pub fn sessions(numbers: Range<usize>) -> Result<Vec<Session>> {
    numbers.map(session).collect()
}

/// Makes sessions, as many with one command as it can carry, and returns their ids.
pub fn make(relay: &Relay, sessions: &[Session]) -> Result<Vec<u64>> {
    let mut ids = Vec::with_capacity(sessions.len());
    for some in sessions.chunks(BULK_MAX as usize) {
        ids.extend(relay.make_many(some)?);
    }
    Ok(ids)
}

/// The ids in one dump of all sessions, in the order in which they were told.
pub fn dump(relay: &Relay) -> Result<Vec<u64>> {
    let get = Command::SessionGet as u8;
    let answers = relay
        .netlink
        .call(get, libc::NLM_F_DUMP, &Attributes::new())?
        .map_err(|refusal| anyhow!("a dump was refused: {refusal:?}"))?;
    answers.iter().map(|answer| id_told(answer)).collect()
}

/// Fails unless a dump told every one of these sessions, and none of all it told twice.
pub fn check_dump(told: &[u64], untouched: &[u64]) -> Result<()> {
    ensure!(
        told.is_sorted_by(|one, next| one < next),
        "the dump told a session twice, or out of order"
    );
    let missing: Vec<_> = untouched
        .iter()
        .filter(|id| told.binary_search(id).is_err())
        .collect();
    ensure!(missing.is_empty(), "the dump left out {missing:?}");
    Ok(())
}

/// Somebody who makes and ends sessions all the time.
pub struct Churn {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<u64>>>,
}

impl Churn {
    /// Makes and ends one session after the other, one such change each `pace` or as fast as it
    /// goes.
    pub fn start(namespace: &Namespace, sessions: Vec<Session>, pace: Duration) -> Result<Self> {
        let relay = Relay::open(namespace)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut due = Instant::now();
            let mut changes = 0;
            let mut wait = || {
                due += pace;
                thread::sleep(due.saturating_duration_since(Instant::now()));
            };
            for session in sessions.iter().cycle() {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let id = relay.make(session)?;
                wait();
                relay.end(id)?;
                wait();
                changes += 2;
            }
            Ok(changes)
        });
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }

    /// Stops it and returns the number of changes.
    pub fn stop(mut self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("it was stopped before")?;
        thread
            .join()
            .map_err(|_| anyhow!("who changes sessions has panicked"))?
    }
}

impl Drop for Churn {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
