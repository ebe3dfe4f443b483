// SPDX-License-Identifier: MIT OR Apache-2.0

//! What TSLs tell, in JSON: for programs, and between the daemon and the command line.

use serde_json::{Value, json};

use crate::tsl::{
    self, Counters, Endpoint, Learned, Learning, Quality, Receiving, Sending, SessionState, Totals,
};

/// A session of this TSL: times in milliseconds, bytes of a Call-ID that are no UTF-8 replaced.
pub fn session(tsl: &str, session: &SessionState) -> Value {
    let endpoint =
        |endpoint: &Endpoint, learned: Option<Learned>, from, quality: Option<Quality>| {
            json!({
                "local": endpoint.local,
                "remote": endpoint.remote,
                "sending": sending_of(&endpoint.sending),
                "receiving": receiving_of(&endpoint.receiving),
                "learning": learning_of(&endpoint.learning),
                "learned": learned.map(|learned| json!({
                    "remote": learned.remote,
                    "locked": learned.locked,
                })),
                "received": counters(from),
                "quality": quality.map(quality_of),
            })
        };
    let streams = session.streams.iter().map(|state| {
        json!({
            "kind": state.stream.kind.name(),
            "a": endpoint(&state.stream.a, state.learned_a, &state.from_a, state.quality_a),
            "b": endpoint(&state.stream.b, state.learned_b, &state.from_b, state.quality_b),
        })
    });
    let (packets, bytes) = tsl::sum(session);
    json!({
        "tsl": tsl,
        "id": session.id,
        "call_id": String::from_utf8_lossy(&session.label),
        "owner": session.owner,
        "timeout_ms": session.timeout_ms,
        "age_ms": session.age_ms,
        "idle_ms": session.idle_ms,
        "packets": packets,
        "bytes": bytes,
        "streams": streams.collect::<Vec<_>>(),
    })
}

fn sending_of(sending: &Sending) -> Value {
    json!({
        "dscp": sending.dscp,
        "hop_limit": sending.hop_limit,
        "mark": sending.mark,
        "device": sending.device,
        "output": sending.output.name(),
    })
}

fn receiving_of(receiving: &Receiving) -> Value {
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

fn learning_of(learning: &Learning) -> Value {
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

fn quality_of(quality: Quality) -> Value {
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

/// What a whole relay has done.
pub fn totals(tsl: &str, totals: &Totals) -> Value {
    json!({
        "tsl": tsl,
        "sessions": totals.sessions,
        "created": totals.created,
        "expired": totals.expired,
        "replaced": totals.replaced,
        "relayed": counters(&totals.relayed),
        "half_open": totals.half_open,
        "memory": totals.memory,
        "refused": {
            "sessions": totals.refused.sessions,
            "half_open": totals.refused.half_open,
            "memory": totals.refused.memory,
        },
        "alarms": totals.alarms,
        "alarms_missed": totals.alarms_missed,
    })
}

/// Counters as JSON.
pub fn counters(counters: &Counters) -> Value {
    let drops = counters
        .drops
        .iter()
        .map(|(reason, packets)| (reason.name().to_owned(), Value::from(packets)));
    json!({
        "packets": counters.packets,
        "bytes": counters.bytes,
        "rtcp_packets": counters.rtcp_packets,
        "drops": drops.collect::<serde_json::Map<_, _>>(),
    })
}
