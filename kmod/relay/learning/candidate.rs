// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0

//! A source that is, or may become, the remote.

use super::{
    super::admission::Carries,
    policy::{Policy, Rank},
    source::Source,
    Packet,
};

/// What is known of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) source: Source,
    pub(super) rank: Rank,
    /// Of its last packet that counted.
    pub(super) ssrc: u32,
    pub(super) sequence: u16,
    /// Consistent packets so far.
    pub(super) consistent: u8,
    /// When it was adopted, in milliseconds.
    pub(super) since: u64,
    /// When it was heard last, in milliseconds.
    pub(super) heard: u64,
}

impl Candidate {
    /// After its first packet.
    pub(super) fn new(packet: &Packet, rank: Rank, now: u64) -> Self {
        Self {
            source: packet.source,
            rank,
            ssrc: packet.ssrc,
            sequence: packet.sequence,
            consistent: 1,
            since: now,
            heard: now,
        }
    }

    /// After another packet that counts. Late packets and duplicates neither count nor harm; with
    /// another SSRC, counting begins anew.
    pub(super) fn heard_again(self, packet: &Packet, carries: Carries, now: u64) -> Self {
        let ahead = packet.sequence.wrapping_sub(self.sequence);
        let is_rising = carries == Carries::Rtcp || (1..0x8000).contains(&ahead);
        let heard = Self { heard: now, ..self };
        if !self.is_of(packet) {
            Self {
                ssrc: packet.ssrc,
                sequence: packet.sequence,
                consistent: 1,
                ..heard
            }
        } else if is_rising {
            Self {
                sequence: packet.sequence,
                consistent: self.consistent.saturating_add(1),
                ..heard
            }
        } else {
            heard
        }
    }

    /// Whether a packet has the SSRC of those before.
    pub(super) fn is_of(&self, packet: &Packet) -> bool {
        self.ssrc == packet.ssrc
    }

    pub(super) fn is_confirmed(&self, policy: &Policy) -> bool {
        self.consistent >= policy.confirmations
    }

    pub(super) fn is_silent(&self, silence_ms: u32, now: u64) -> bool {
        now.saturating_sub(self.heard) >= silence_ms.into()
    }
}
