// SPDX-License-Identifier: MIT OR Apache-2.0

//! From the words of the netlink family to those of the decisions, and what this relay cannot do.

use std::ops::RangeInclusive;

use genl_proto::generated::Output;
use genl_proto::{Endpoint, Learning, Quality, Receiving, Sending};
use nix::errno::Errno;
use relay::admission::Carries;
use relay::learning::{Mode, Roam};
use relay::policy::{self, PayloadTypes};
use relay::quality::{Clock, Counts, Standing};
use relay::rate::Rate;
use relay::validate;

use super::super::{Error, LearningMode, Refusal, Result, StreamKind};

/// Milliseconds of a rate that may come at once, when nothing else is asked.
const BURST_MS: u32 = 1000;

/// A refusal with an error number, in the words of the module: the attribute first.
pub(super) fn refuse(errno: Errno, message: impl Into<String>) -> Error {
    Error::Refused(Refusal {
        errno: errno as i32,
        message: Some(message.into()),
    })
}

pub(super) fn carries(kind: StreamKind) -> Carries {
    match kind {
        StreamKind::Rtp => Carries::Rtp,
        StreamKind::Rtcp => Carries::Rtcp,
        StreamKind::Udp => Carries::Udp,
    }
}

/// An endpoint as the decisions see it.
///
/// # Errors
///
/// EINVAL where a number is not from its range, EOPNOTSUPP where only the kernel module can do what
/// is asked.
pub(super) fn endpoint(endpoint: &Endpoint) -> Result<validate::Endpoint> {
    check(endpoint)?;
    Ok(validate::Endpoint {
        local: endpoint.local,
        remote: endpoint.remote,
        sending: sending(&endpoint.sending)?,
        receiving: receiving(&endpoint.receiving),
        learning: learning(&endpoint.learning),
    })
}

/// The ranges of `genl-proto/lreproxy.yaml`, which the module's netlink policy sees to.
fn check(endpoint: &Endpoint) -> Result<()> {
    let Endpoint {
        sending,
        receiving,
        learning,
        ..
    } = endpoint;
    let roam = learning.roam;
    let ranges: [(&str, Option<u32>, RangeInclusive<u32>); 12] = [
        ("local-port", Some(endpoint.local.port().into()), 1..=65_535),
        ("dscp", sending.dscp.map(u32::from), 0..=63),
        ("hop-limit", sending.hop_limit.map(u32::from), 1..=255),
        ("packet-rate", receiving.packet_rate, 1..=u32::MAX),
        ("byte-rate", receiving.byte_rate, 1..=u32::MAX),
        ("burst-ms", receiving.burst_ms, 1..=60_000),
        ("clock-rate", receiving.clock_rate, 1..=Clock::MAX_HZ),
        (
            "confirmations",
            learning.confirmations.map(u32::from),
            1..=255,
        ),
        ("window-ms", learning.window_ms, 0..=60_000),
        ("silence-ms", learning.silence_ms, 0..=60_000),
        (
            "roam-silence-ms",
            roam.map(|roam| roam.silence_ms),
            1..=60_000,
        ),
        (
            "roam-sequences",
            roam.map(|roam| roam.sequences.into()),
            1..=32_767,
        ),
    ];
    for (name, asked, range) in ranges {
        if let Some(number) = asked.filter(|number| !range.contains(number)) {
            let (least, most) = range.into_inner();
            let message = format!("{name}: {number} is not from {least} to {most}");
            return Err(refuse(Errno::EINVAL, message));
        }
    }
    Ok(())
}

fn sending(asked: &Sending) -> Result<policy::Sending> {
    let unable = [
        ("mark", asked.mark != 0),
        ("device", asked.device.is_some()),
        ("output", asked.output == Output::Full),
    ];
    if let Some((name, _)) = unable.into_iter().find(|(_, is_asked)| *is_asked) {
        let message = format!("{name}: the userspace relay cannot, the kernel module can");
        return Err(refuse(Errno::EOPNOTSUPP, message));
    }
    Ok(policy::Sending {
        dscp: asked.dscp,
        hops: asked.hop_limit,
        ..policy::Sending::default()
    })
}

fn receiving(asked: &Receiving) -> policy::Receiving {
    let burst_ms = asked.burst_ms.unwrap_or(BURST_MS);
    let rate = |per_second: Option<u32>| Rate::new(per_second?, burst_ms);
    policy::Receiving {
        payload_types: asked.payload_types.map(PayloadTypes::from),
        ssrc: asked.ssrc,
        packets: rate(asked.packet_rate),
        bytes: rate(asked.byte_rate),
        clock_rate: asked.clock_rate,
    }
}

fn learning(asked: &Learning) -> policy::Learning {
    policy::Learning {
        mode: match asked.mode {
            LearningMode::Signalled => Mode::Signalled,
            LearningMode::Nat => Mode::Nat,
            LearningMode::Open => Mode::Open,
        },
        signalling: asked.signalling,
        confirmations: asked.confirmations,
        window_ms: asked.window_ms,
        silence_ms: asked.silence_ms,
        roam: asked.roam.map(|roam| Roam {
            silence_ms: roam.silence_ms,
            sequences: roam.sequences,
        }),
    }
}

pub(super) fn quality(standing: &Standing, counts: &Counts, last_ms: u64) -> Quality {
    Quality {
        ssrc: standing.ssrc,
        highest_sequence: standing.highest.into(),
        clock_rate: standing.hz,
        jitter: standing.jitter,
        lost: counts.never_arrived(),
        reordered: counts.reordered,
        duplicates: counts.duplicates,
        jumps: counts.jumps,
        restarts: counts.restarts,
        ssrc_changes: counts.ssrc_changes,
        last_ms,
    }
}
