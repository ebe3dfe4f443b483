// SPDX-License-Identifier: MIT OR Apache-2.0

//! `lrep-cl sessions`: the session table.

use clap::Args;
use serde_json::{Value, json};

use super::block_on;
use super::exit::Failure;
use super::format;
use crate::logging::CallId;
use crate::tsl::kernel::Kernel;
use crate::tsl::{
    self, Counters, Endpoint, Learned, Learning, LearningMode, Quality, Receiving, Sending,
    SessionState, StreamKind, Tsl,
};

/// List the sessions in the kernel
#[derive(Args, Debug)]
pub struct Sessions {
    /// Only the sessions with this owner tag
    #[arg(long, value_name = "NUMBER")]
    owner: Option<u32>,

    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

impl Sessions {
    /// Tells the table.
    pub fn run(&self) -> Result<String, Failure> {
        let mut sessions = block_on(async { Ok(Kernel::connect().await?.session_dump().await?) })?;
        sessions.retain(|session| self.owner.is_none_or(|owner| session.owner == owner));
        Ok(if self.json {
            format!("{}\n", Value::from_iter(sessions.iter().map(to_json)))
        } else if sessions.is_empty() {
            "no sessions\n".to_owned()
        } else {
            let header = [
                "ID", "CALL-ID", "OFFERER", "AT", "ANSWERER", "AT", "PACKETS", "BYTES", "AGE",
                "IDLE", "TIMEOUT",
            ];
            let right = ["ID", "PACKETS", "BYTES", "AGE", "IDLE", "TIMEOUT"];
            let table = format::table(&header, &right, sessions.iter().map(row));
            format!("{table}\n")
        })
    }
}

fn row(session: &SessionState) -> Vec<String> {
    let rtp = session
        .streams
        .iter()
        .find(|state| state.stream.kind == StreamKind::Rtp);
    let (packets, bytes) = tsl::sum(session);
    vec![
        session.id.to_string(),
        CallId(&session.label).to_string(),
        rtp.map_or_else(String::new, |rtp| remote(&rtp.stream.a, rtp.learned_a)),
        rtp.map_or_else(String::new, |rtp| rtp.stream.a.local.to_string()),
        rtp.map_or_else(String::new, |rtp| remote(&rtp.stream.b, rtp.learned_b)),
        rtp.map_or_else(String::new, |rtp| rtp.stream.b.local.to_string()),
        format::number(packets),
        format::bytes(bytes),
        format::duration(session.age_ms),
        format::duration(session.idle_ms),
        format::duration(session.timeout_ms.into()),
    ]
}

/// A party where packets to it go, or why they go nowhere.
pub fn remote(endpoint: &Endpoint, learned: Option<Learned>) -> String {
    match (endpoint.remote, endpoint.learning.mode, learned) {
        (None, ..) => "on hold".to_owned(),
        (Some(remote), LearningMode::Signalled, _) => remote.to_string(),
        (Some(_), _, None) => "not heard yet".to_owned(),
        (Some(_), _, Some(learned)) if learned.locked => format!("{} (learned)", learned.remote),
        (Some(_), _, Some(learned)) => format!("{} (learning)", learned.remote),
    }
}

/// A session as JSON: times in milliseconds, bytes of a Call-ID that are no UTF-8 replaced.
pub fn to_json(session: &SessionState) -> Value {
    let endpoint =
        |endpoint: &Endpoint, learned: Option<Learned>, from, quality: Option<Quality>| {
            json!({
                "local": endpoint.local,
                "remote": endpoint.remote,
                "sending": sending_to_json(&endpoint.sending),
                "receiving": receiving_to_json(&endpoint.receiving),
                "learning": learning_to_json(&endpoint.learning),
                "learned": learned.map(|learned| json!({
                    "remote": learned.remote,
                    "locked": learned.locked,
                })),
                "received": counters_to_json(from),
                "quality": quality.map(quality_to_json),
            })
        };
    let streams = session.streams.iter().map(|state| {
        json!({
            "kind": state.stream.kind.name(),
            "a": endpoint(&state.stream.a, state.learned_a, &state.from_a, state.quality_a),
            "b": endpoint(&state.stream.b, state.learned_b, &state.from_b, state.quality_b),
        })
    });
    json!({
        "id": session.id,
        "call_id": String::from_utf8_lossy(&session.label),
        "owner": session.owner,
        "timeout_ms": session.timeout_ms,
        "age_ms": session.age_ms,
        "idle_ms": session.idle_ms,
        "streams": streams.collect::<Vec<_>>(),
    })
}

fn sending_to_json(sending: &Sending) -> Value {
    json!({
        "dscp": sending.dscp,
        "hop_limit": sending.hop_limit,
        "mark": sending.mark,
        "device": sending.device,
        "output": sending.output.name(),
    })
}

fn receiving_to_json(receiving: &Receiving) -> Value {
    let types = receiving.payload_types.map(|types| {
        let allowed = (0..128_u8).filter(|number| (types >> number) & 1 == 1);
        allowed.collect::<Vec<_>>()
    });
    json!({
        "payload_types": types,
        "ssrc": receiving.ssrc,
        "packet_rate": receiving.packet_rate,
        "byte_rate": receiving.byte_rate,
        "burst_ms": receiving.burst_ms,
        "clock_rate": receiving.clock_rate,
    })
}

fn learning_to_json(learning: &Learning) -> Value {
    json!({
        "mode": learning.mode.name(),
        "signalling": learning.signalling,
        "confirmations": learning.confirmations,
        "window_ms": learning.window_ms,
        "silence_ms": learning.silence_ms,
        "roam_silence_ms": learning.roam.map(|roam| roam.silence_ms),
        "roam_sequences": learning.roam.map(|roam| roam.sequences),
    })
}

fn quality_to_json(quality: Quality) -> Value {
    json!({
        "ssrc": quality.ssrc,
        "highest_sequence": quality.highest_sequence,
        "clock_rate": quality.clock_rate,
        "jitter": quality.jitter,
        "jitter_us": quality.jitter_us(),
        "lost": quality.lost,
        "reordered": quality.reordered,
        "duplicates": quality.duplicates,
        "jumps": quality.jumps,
        "restarts": quality.restarts,
        "ssrc_changes": quality.ssrc_changes,
        "last_ms": quality.last_ms,
    })
}

/// Counters as JSON.
pub fn counters_to_json(counters: &Counters) -> Value {
    let drops = counters
        .drops
        .iter()
        .map(|(reason, packets)| (reason.name().to_owned(), Value::from(packets)));
    json!({
        "packets": counters.packets,
        "bytes": counters.bytes,
        "drops": drops.collect::<serde_json::Map<_, _>>(),
    })
}
