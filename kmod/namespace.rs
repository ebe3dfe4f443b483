// SPDX-License-Identifier: GPL-2.0

//! The relay of one network namespace: its table, its sessions, its clock.

use crate::{
    control, hook, impl_tick,
    net::{
        namespace::{
            Id,
            Namespace,
            Net, //
        },
        rcu::{
            RcuArc,
            RcuSlot,
            ReadSide, //
        },
        skb::{
            Packet,
            Verdict, //
        },
        ticker::{
            Tick,
            Ticker, //
        },
        time, //
    },
    sessions::{
        Refused,
        Sessions, //
    },
    table::{
        Ports,
        Table, //
    },
};
use core::{
    net::Ipv4Addr,
    sync::atomic::{
        AtomicU64,
        Ordering::Relaxed, //
    },
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::Mutex, //
};

/// How often sessions that are due are looked for, in milliseconds: a session ends this much
/// late at most.
const TICK_MS: u32 = 500;

/// How many sessions one look ends before it lets commands in.
const EXPIRE_BATCH: usize = 64;

/// The relay of one network namespace.
#[pin_data]
pub(crate) struct Relay {
    // The first field: what ticks stops before anything it uses goes.
    #[pin]
    ticker: Ticker<Relay>,
    net: Net,
    table: RcuSlot<Table>,
    unowned: AtomicU64,
    #[pin]
    control: Mutex<Control>,
}

impl_tick!(Relay, ticker);

/// What commands work on, one at a time.
pub(crate) struct Control {
    /// The table packets are looked up in.
    pub(crate) table: RcuArc<Table>,
    /// The sessions.
    pub(crate) sessions: Sessions,
}

impl Relay {
    /// Works on the sessions, and sees to it that they expire.
    pub(crate) fn control<R>(&self, work: impl FnOnce(&mut Control) -> R) -> R {
        let mut control = self.control.lock();
        let result = work(&mut control);
        if control.sessions.live() != 0 {
            Ticker::start(self, TICK_MS);
        }
        result
    }

    /// The namespace.
    pub(crate) fn net(&self) -> Net {
        self.net
    }

    /// Packets to ports of the range that no session owned.
    pub(crate) fn unowned(&self) -> u64 {
        self.unowned.load(Relaxed)
    }

    /// Sets the port range and the local addresses; what is `None` stays. All or nothing.
    pub(crate) fn configure(
        &self,
        range: Option<(u16, u16)>,
        addresses: Option<KVec<Ipv4Addr>>,
    ) -> Result<(), Refused> {
        let mut control = self.control.lock();
        let (port_min, port_max) = range.unwrap_or(control.table.range());
        let old = control.table.addresses();
        let mut ports = KVec::with_capacity(old.len(), GFP_KERNEL)?;
        match addresses {
            None => {
                for entry in old {
                    ports.push(entry.clone(), GFP_KERNEL)?;
                }
            }
            Some(addresses) => {
                let stays = |address| addresses.contains(&address);
                if let Some((local, id)) = control.sessions.outside(stays) {
                    return Err(Refused::InUse(local, id));
                }
                for address in addresses {
                    let entry = match control.table.ports(address) {
                        Some(ports) => ports.clone(),
                        None => Ports::new()?,
                    };
                    ports.push((address, entry), GFP_KERNEL)?;
                }
            }
        }
        let table = RcuArc::new(Table::new(port_min, port_max, ports), GFP_KERNEL)?;
        control.table = table.clone();
        self.table.replace(Some(table));
        Ok(())
    }
}

impl Namespace for Relay {
    // After the operator's raw chain (-300), before connection tracking (-200).
    const PRIORITY: i32 = -250;

    fn id() -> &'static Id {
        static ID: Id = Id::new();
        &ID
    }

    fn new(net: Net) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            ticker <- Ticker::new(),
            net,
            // Until it is configured the relay has no table, and no packet is looked at.
            table: RcuSlot::new(None),
            unowned: AtomicU64::new(0),
            control <- new_mutex!(Control {
                table: RcuArc::new(Table::new(0, 0, KVec::new()), GFP_KERNEL)?,
                sessions: Sessions::new(*net),
            }),
        })
    }

    #[inline(always)]
    fn ipv4(&self, packet: Packet<'_>) -> Verdict {
        let rcu: ReadSide<'_> = packet.rcu();
        match self.table.load(rcu) {
            Some(table) => hook::ipv4(
                self.net,
                table,
                |packets| {
                    self.unowned.fetch_add(packets, Relaxed);
                },
                packet,
            ),
            None => packet.accept(),
        }
    }

    fn exit(&self) {
        self.ticker.stop();
    }
}

impl Tick for Relay {
    fn tick(&self) -> Option<u32> {
        let now = time::now();
        loop {
            let mut control = self.control.lock();
            let Control { table, sessions } = &mut *control;
            let more = sessions.expire(table, now, EXPIRE_BATCH, |session, reason| {
                control::notify_ended(self.net, session, reason);
            });
            if !more {
                return (sessions.live() != 0).then_some(TICK_MS);
            }
        }
    }
}
