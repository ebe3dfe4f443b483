// SPDX-License-Identifier: MIT OR Apache-2.0

//! The demonstration's call.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use genl_proto::generated::StreamKind;

use super::checks::Flow;
use super::relay_host::Host;
use super::words::told;
use crate::guest::lab::Lab;
use crate::guest::packet::Datagram;
use crate::guest::relay::State;
use crate::guest::rtp::{Party, rtcp_of};
use crate::guest::sip::{CALLEE_MEDIA, CALLER_MEDIA, Phone, Side};
use crate::guest::topology::{CALLEE, CALLER};
use crate::guest::wait::LIMIT;

/// Audio is sent for this long.
pub const SECONDS: u16 = 10;
/// RTP packets a second and direction: 20 ms of audio in each.
pub const RATE: u16 = 50;

const CALLER_RTP: SocketAddr = SocketAddr::new(CALLER, CALLER_MEDIA);
const CALLEE_RTP: SocketAddr = SocketAddr::new(CALLEE, CALLEE_MEDIA);

/// How late a packet may reach a capture after the call.
const LATEST: Duration = Duration::from_secs(5);

/// The answered call.
pub struct Call {
    call_id: String,
    caller_phone: Phone,
    callee_phone: Phone,
    caller: Party,
    callee: Party,
    /// Where the caller was told to send audio.
    west: SocketAddr,
    /// Where the callee was told to send audio.
    east: SocketAddr,
}

/// What a party said.
#[derive(Default)]
pub struct Spoken {
    /// Its RTP packets.
    pub rtp: Vec<Vec<u8>>,
    /// Its RTCP packets.
    pub rtcp: Vec<Vec<u8>>,
}

impl Call {
    /// Places the call and shows its signalling until it is answered.
    pub fn place(lab: &Lab, host: &mut Host<'_>) -> Result<Self> {
        let caller = Party::new(&host.net.caller, CALLER_RTP)?;
        let callee = Party::new(&host.net.callee, CALLEE_RTP)?;
        let callee_phone = Phone::start(lab, &host.net, Side::Callee, "callee", 1)?;
        let caller_phone = Phone::start(lab, &host.net, Side::Caller, "caller", 1)?;
        host.follow("the call answered", |to, message| {
            to.ip() == CALLEE && message.line.starts_with("ACK")
        })?;
        let messages = &host.signalling.messages;
        Ok(Self {
            call_id: messages
                .first()
                .map(|(_, message)| message.call_id.clone())
                .context("nothing was said")?,
            caller_phone,
            callee_phone,
            caller,
            callee,
            west: told(messages, CALLER).context("the caller was not told where to send audio")?,
            east: told(messages, CALLEE).context("the callee was not told where to send audio")?,
        })
    }

    /// Lets both parties talk and shows the session table meanwhile. Returns what the caller and
    /// what the callee said.
    pub fn talk(&self, host: &Host<'_>) -> Result<(Spoken, Spoken)> {
        thread::scope(|scope| {
            let caller = scope.spawn(|| speak(&self.caller, self.west));
            let callee = scope.spawn(|| speak(&self.callee, self.east));
            let shown = self.first_packets(host).and_then(|()| {
                host.stage.text("\n# lrep-cl sessions, once a second")?;
                while !(caller.is_finished() && callee.is_finished()) {
                    host.stage.table(host.lrep_cl("sessions")?)?;
                    thread::sleep(Duration::from_secs(1));
                }
                Ok(())
            });
            let said = [caller, callee].map(|party| {
                party
                    .join()
                    .unwrap_or_else(|_| Err(anyhow!("a party lost its voice")))
            });
            shown?;
            let [caller, callee] = said;
            Ok((caller?, callee?))
        })
    }

    /// Shows what became of the first packet of each party.
    fn first_packets(&self, host: &Host<'_>) -> Result<()> {
        for (at, to, receiver) in [
            (&host.net.at_callee, self.west, CALLEE_RTP),
            (&host.net.at_caller, self.east, CALLER_RTP),
        ] {
            let seen = at.wait_for(1, LIMIT, |one| one.to == receiver)?;
            let arrived = seen.first().context("no packet")?;
            let entered = host.signalling.capture.wait_for(1, LIMIT, |one| {
                one.to == to && one.payload == arrived.payload
            })?;
            let entered = entered.first().context("no packet")?;
            host.stage.text(&format!(
                "  {} → {}  left the relay host as  {} → {}, its {} bytes of RTP unchanged",
                entered.from,
                entered.to,
                arrived.from,
                arrived.to,
                arrived.payload.len()
            ))?;
        }
        Ok(())
    }

    /// The caller hangs up, and the signalling is shown until both know.
    pub fn hang_up(&mut self, host: &mut Host<'_>) -> Result<()> {
        self.caller_phone.press(&self.call_id)?;
        host.follow("the call ended", |to, message| {
            to.ip() == CALLER
                && message.line.starts_with("SIP/2.0 200")
                && message.cseq.ends_with(" BYE")
        })?;
        self.caller_phone.finish()?;
        self.callee_phone.finish()
    }

    /// What became of everything that was said.
    pub fn flows(
        &self,
        host: &Host<'_>,
        (caller, callee): (Spoken, Spoken),
        ended: &State,
    ) -> Result<Vec<Flow>> {
        [
            (StreamKind::Rtp, Side::Caller, caller.rtp),
            (StreamKind::Rtp, Side::Callee, callee.rtp),
            (StreamKind::Rtcp, Side::Caller, caller.rtcp),
            (StreamKind::Rtcp, Side::Callee, callee.rtcp),
        ]
        .into_iter()
        .map(|(kind, from, sent)| self.flow(host, kind, from, sent, ended))
        .collect()
    }

    /// What became of the packets of one kind that one party sent.
    fn flow(
        &self,
        host: &Host<'_>,
        kind: StreamKind,
        from: Side,
        sent: Vec<Vec<u8>>,
        ended: &State,
    ) -> Result<Flow> {
        let (name, ways, at) = match from {
            Side::Caller => (
                "caller to callee",
                [self.west, self.east, CALLEE_RTP],
                &host.net.at_callee,
            ),
            Side::Callee => (
                "callee to caller",
                [self.east, self.west, CALLER_RTP],
                &host.net.at_caller,
            ),
        };
        let [entry, exit, receiver] = match kind {
            StreamKind::Rtp | StreamKind::Udp => ways,
            StreamKind::Rtcp => ways.map(rtcp_of),
        };
        let fits = |one: &Datagram| one.to == receiver;
        let arrived = at.wait_for(sent.len(), LATEST, fits).unwrap_or_else(|_| {
            // What is missing by now was lost, and the check tells so.
            at.datagrams().into_iter().filter(fits).collect()
        });
        let counted = ended
            .streams
            .iter()
            .find_map(|(stream, from_a, from_b)| match entry {
                _ if stream.a.local == entry => Some(from_a.packets),
                _ if stream.b.local == entry => Some(from_b.packets),
                _ => None,
            })
            .with_context(|| format!("the session had no stream at {entry}"))?;
        Ok(Flow {
            name: format!("{}, {name}", kind.name().to_uppercase()),
            sent,
            relay: exit,
            arrived,
            counted,
        })
    }
}

/// Sends audio as a phone does.
fn speak(party: &Party, to: SocketAddr) -> Result<Spoken> {
    let mut spoken = Spoken::default();
    let began = Instant::now();
    for number in 0..SECONDS * RATE {
        let due = Duration::from_secs(number.into()) / u32::from(RATE);
        thread::sleep(due.saturating_sub(began.elapsed()));
        spoken.rtp.extend(party.send_rtp(to, number..number + 1)?);
        if number % RATE == RATE / 2 {
            let reports = party.send_rtcp(rtcp_of(to), number..number + 1)?;
            spoken.rtcp.extend(reports);
        }
    }
    Ok(spoken)
}
