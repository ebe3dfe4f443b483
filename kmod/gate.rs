// SPDX-License-Identifier: GPL-2.0

//! What a controller may ask of packets beside their source and their kind.

use crate::{
    net::{
        rcu::RcuArc,
        time, //
    },
    proto::DropReason,
    relay::{
        policy::Receiving,
        rate::Rate,
        rtp, //
    },
};
use core::sync::atomic::{
    AtomicU64,
    Ordering::Relaxed, //
};
use kernel::{
    alloc::AllocError,
    prelude::*, //
};

/// The gate of an endpoint that has one. Flows that follow each other without new signalling have it
/// in common, so that its rates go on.
pub(crate) struct Gate {
    receiving: Receiving,
    packets: AtomicU64,
    bytes: AtomicU64,
}

impl Gate {
    /// Makes a gate; none when everything is admitted.
    pub(crate) fn new(receiving: Receiving) -> Result<Option<RcuArc<Self>>, AllocError> {
        if !receiving.is_selective() {
            return Ok(None);
        }
        let gate = Self {
            receiving,
            packets: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        };
        RcuArc::new(gate, GFP_KERNEL).map(Some)
    }

    /// Lets `packets` with `bytes` of payload in all through, or says why not. `rtp` is the header
    /// of RTP packets.
    ///
    /// A packet that one of two rates refuses may have been counted by the other: both are upper
    /// limits.
    pub(crate) fn pass(
        &self,
        rtp: Option<rtp::Header>,
        packets: u64,
        bytes: u64,
    ) -> Result<(), DropReason> {
        if let Some(rtp) = rtp {
            self.admit(&rtp)?;
        }
        let asked = [
            (self.receiving.packets, &self.packets, packets),
            (self.receiving.bytes, &self.bytes, bytes),
        ];
        for (rate, full_at, units) in asked {
            if let Some(rate) = rate {
                take(rate, full_at, units)?;
            }
        }
        Ok(())
    }

    /// Lets an RTP packet of the kind and the source wanted through, or says why not.
    pub(crate) fn admit(&self, rtp: &rtp::Header) -> Result<(), DropReason> {
        self.receiving.admit(rtp).map_err(DropReason::from)
    }
}

fn take(rate: Rate, full_at: &AtomicU64, units: u64) -> Result<(), DropReason> {
    let now = time::nanoseconds();
    full_at
        .fetch_update(Relaxed, Relaxed, |full_at| rate.take(full_at, units, now))
        .map(|_| ())
        .map_err(|_| DropReason::Rate)
}
