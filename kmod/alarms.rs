// SPDX-License-Identifier: GPL-2.0

//! Alarms: what is wrong with packets, for somebody to look into.
//!
//! A packet that is dropped for a reason of alarm puts its endpoint on a short list; the others of the
//! endpoint then only find that it is there. Twice a second the list is looked through, the
//! listeners are told, and who has calmed down is taken off. So neither a flood of packets nor a
//! flood of alarms makes much work.

use crate::{
    endpoint::Leg,
    net::{
        lock::PacketLock,
        rcu::ReadSide,
        time, //
    },
    proto::{
        self,
        AlarmReason,
        DropReason, //
    },
    relay::{
        alarm::{
            Alarm,
            Patience,
            Step, //
        },
        rate::Rate, //
    },
    sessions::{
        Session,
        Sessions, //
    },
};
use core::{
    net::SocketAddr,
    sync::atomic::{
        AtomicBool,
        AtomicU64,
        Ordering::Relaxed, //
    },
};
use kernel::prelude::*;

const PATIENCE: Patience = Patience {
    interval_ms: proto::ALARM_INTERVAL_MS as u64,
    packets: proto::ALARM_PACKETS as u64,
};

/// A packet that was dropped for a reason of alarm.
#[derive(Clone, Copy)]
pub(crate) struct Offence {
    /// Why it was dropped.
    pub(crate) dropped: DropReason,
    /// What that means.
    pub(crate) reason: AlarmReason,
    /// Where it was sent to.
    pub(crate) local: SocketAddr,
    /// Where it came from.
    pub(crate) source: SocketAddr,
}

/// An offence that goes on.
#[derive(Clone, Copy)]
struct Entry {
    /// The session's id and the address of its endpoint, which is only compared; `None` when it is
    /// about ports that no session owns.
    place: Option<(u64, usize)>,
    offence: Offence,
    alarm: Alarm,
}

/// An alarm that is to be told now.
pub(crate) struct Told<'s> {
    /// Whose packets they are, if anybody's.
    pub(crate) session: Option<&'s Session>,
    /// The first of them.
    pub(crate) offence: Offence,
    /// How many of them were dropped since it was told last.
    pub(crate) packets: u64,
}

/// The alarms of a namespace.
#[pin_data]
pub(crate) struct Alarms {
    /// With room for all there may be.
    #[pin]
    entries: PacketLock<KVec<Entry>>,
    raised: AtomicU64,
    missed: AtomicU64,
    /// Packets to ports of the relay that no session owned.
    unowned: AtomicU64,
    /// When the bucket of such packets is full again.
    unowned_full_at: AtomicU64,
    is_flooded: AtomicBool,
}

impl Alarms {
    /// None yet.
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            entries <- PacketLock::new(KVec::with_capacity(proto::ALARMS_MAX as usize, GFP_KERNEL)?),
            raised: AtomicU64::new(0),
            missed: AtomicU64::new(0),
            unowned: AtomicU64::new(0),
            unowned_full_at: AtomicU64::new(0),
            is_flooded: AtomicBool::new(false),
        })
    }

    /// Packets to ports of the relay that no session owned.
    pub(crate) fn unowned(&self) -> u64 {
        self.unowned.load(Relaxed)
    }

    /// Alarms raised so far, and packets that raised none because there were too many.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.raised.load(Relaxed), self.missed.load(Relaxed))
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.with(|entries| entries.is_empty())
    }

    /// Counts packets to a port that no session owns. Tells whether an alarm was raised.
    #[cold]
    pub(crate) fn count_unowned(
        &self,
        packets: u64,
        path: (SocketAddr, SocketAddr),
        rcu: ReadSide<'_>,
    ) -> bool {
        let before = self.unowned.fetch_add(packets, Relaxed);
        if self.is_flooded.load(Relaxed) {
            return false;
        }
        let Some(rate) = Rate::new(proto::FLOOD_RATE, 1000) else {
            return false;
        };
        let now = time::nanoseconds();
        let taken = self
            .unowned_full_at
            .fetch_update(Relaxed, Relaxed, |full_at| rate.take(full_at, packets, now));
        if taken.is_ok() {
            return false;
        }
        let (source, local) = path;
        let offence = Offence {
            dropped: DropReason::NoSession,
            reason: AlarmReason::Flood,
            local,
            source,
        };
        self.add(None, offence, before, rcu, || {
            self.is_flooded.swap(true, Relaxed)
        })
    }

    /// Raises an alarm about `packets` that an endpoint has just dropped, unless it goes on already.
    #[cold]
    pub(crate) fn raise(&self, leg: &Leg, offence: Offence, packets: u64, rcu: ReadSide<'_>) {
        if leg.is_alarmed(offence.dropped) {
            return;
        }
        let before = leg.dropped(offence.dropped).saturating_sub(packets);
        let place = Some((leg.session(), core::ptr::from_ref(leg).addr()));
        self.add(place, offence, before, rcu, || {
            leg.set_alarmed(offence.dropped, true)
        });
    }

    /// Adds an entry unless `mark` tells that it is there already.
    fn add(
        &self,
        place: Option<(u64, usize)>,
        offence: Offence,
        before: u64,
        rcu: ReadSide<'_>,
        mark: impl FnOnce() -> bool,
    ) -> bool {
        // Another packet will find the lock open.
        let Some(mut entries) = self.entries.try_lock(rcu) else {
            return false;
        };
        if entries.len() >= proto::ALARMS_MAX as usize {
            self.missed.fetch_add(1, Relaxed);
            return false;
        }
        if mark() {
            return false;
        }
        let entry = Entry {
            place,
            offence,
            alarm: Alarm::new(before, time::now().as_ms()),
        };
        entries.push_within_capacity(entry).is_ok()
    }

    /// Looks through the alarms, and tells those that are due.
    pub(crate) fn look(&self, sessions: &Sessions, mut tell: impl FnMut(&Told<'_>)) {
        let now = time::now().as_ms();
        // Telling may sleep, so it waits until the lock is open again.
        let Ok(mut due) = KVec::with_capacity(proto::ALARMS_MAX as usize, GFP_KERNEL) else {
            return;
        };
        self.entries.with(|entries| {
            entries.retain(|entry| match self.step(entry, sessions, now) {
                Step::Wait => true,
                Step::Tell(packets) => {
                    // There is room for all.
                    let _ = due.push_within_capacity((*entry, packets));
                    true
                }
                Step::End => false,
            });
        });
        for (entry, packets) in due {
            self.raised.fetch_add(1, Relaxed);
            let session = entry.place.and_then(|(id, _)| sessions.get(id).ok());
            tell(&Told {
                session,
                offence: entry.offence,
                packets,
            });
        }
    }

    fn step(&self, entry: &mut Entry, sessions: &Sessions, now: u64) -> Step {
        let (leg, counted) = match entry.place {
            None => (None, self.unowned()),
            Some((id, address)) => {
                let leg = sessions
                    .get(id)
                    .ok()
                    .and_then(|session| session.leg(address));
                match leg {
                    Some(leg) => (Some(leg), leg.dropped(entry.offence.dropped)),
                    // The session has ended.
                    None => return Step::End,
                }
            }
        };
        let (alarm, step) = entry.alarm.look(counted, now, &PATIENCE);
        entry.alarm = alarm;
        if step == Step::End {
            match leg {
                Some(leg) => _ = leg.set_alarmed(entry.offence.dropped, false),
                None => self.is_flooded.store(false, Relaxed),
            }
        }
        step
    }
}
