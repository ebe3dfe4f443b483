// SPDX-License-Identifier: GPL-2.0

//! The relay of one network namespace: its table, its sessions, its clock.

use crate::{
    alarms::Alarms,
    control::{
        self,
        Ends, //
    },
    hook, impl_tick,
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
            Ipv4,
            Ipv6,
            Packet,
            Verdict, //
        },
        ticker::{
            Tick,
            Ticker, //
        },
        time, //
    },
    relay::{
        limits::Limits,
        ports::Ranges,
        remote::Remote, //
    },
    relayed::Relayed,
    sessions::{
        Refused,
        Sessions, //
    },
    table::{
        Ports,
        Settings,
        Table, //
    },
};
use core::net::{
    IpAddr,
    SocketAddr, //
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

/// What a namespace that was told nothing does.
const UNSET: Settings = Settings {
    ports: Ranges::EMPTY,
    quality: true,
    limits: Limits {
        sessions: 0,
        half_open: 0,
        memory: 0,
    },
};

/// The relay of one network namespace.
#[pin_data]
pub(crate) struct Relay {
    // The first field: what ticks stops before anything it uses goes.
    #[pin]
    ticker: Ticker<Relay>,
    net: Net,
    table: RcuSlot<Table>,
    #[pin]
    alarms: Alarms,
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
        if control.sessions.usage().sessions != 0 {
            Ticker::start(self, TICK_MS);
        }
        result
    }

    /// The namespace.
    pub(crate) fn net(&self) -> Net {
        self.net
    }

    #[inline(always)]
    fn decide<V: Relayed>(&self, packet: Packet<'_, V>) -> Verdict
    where
        Remote: PartialEq<V::TransportAddress>,
    {
        let rcu: ReadSide<'_> = packet.rcu();
        match self.table.load(rcu) {
            Some(table) => hook::decide(self, table, packet),
            None => packet.accept(),
        }
    }

    /// What is wrong with packets.
    pub(crate) fn alarms(&self) -> &Alarms {
        &self.alarms
    }

    /// Counts packets from somewhere to a port of the relay that no session owns.
    #[cold]
    pub(crate) fn count_unowned(
        &self,
        packets: u64,
        path: (SocketAddr, SocketAddr),
        rcu: ReadSide<'_>,
    ) {
        if self.alarms.count_unowned(packets, path, rcu) {
            Ticker::start(self, TICK_MS);
        }
    }

    /// Changes the settings, and the local addresses unless that is `None`. All or nothing.
    pub(crate) fn configure(
        &self,
        change: impl FnOnce(Settings) -> Settings,
        addresses: Option<KVec<IpAddr>>,
    ) -> Result<(), Refused> {
        let mut control = self.control.lock();
        let mut table = Table::new(change(*control.table.settings()));
        match addresses {
            None => {
                for (address, ports) in control.table.addresses() {
                    table.add(address, ports.clone())?;
                }
            }
            Some(addresses) => {
                let stays = |address| addresses.contains(&address);
                if let Some((local, id)) = control.sessions.outside(stays) {
                    return Err(Refused::InUse(local, id));
                }
                for address in addresses {
                    let ports = match control.table.ports(address) {
                        Some(ports) => ports.clone(),
                        None => Ports::new()?,
                    };
                    table.add(address, ports)?;
                }
            }
        }
        let table = RcuArc::new(table, GFP_KERNEL)?;
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
            alarms <- Alarms::new(),
            control <- new_mutex!(Control {
                table: RcuArc::new(Table::new(UNSET), GFP_KERNEL)?,
                sessions: Sessions::new(*net),
            }),
        })
    }

    #[inline(always)]
    fn ipv4(&self, packet: Packet<'_, Ipv4>) -> Verdict {
        self.decide(packet)
    }

    #[inline(always)]
    fn ipv6(&self, packet: Packet<'_, Ipv6>) -> Verdict {
        self.decide(packet)
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
            self.alarms.look(sessions, |told| {
                control::notify_alarm(self.net, told);
            });
            // Mostly there is one or none.
            let mut ends = Ends::new(self.net, 1);
            let more = sessions.expire(table, now, EXPIRE_BATCH, |session, reason| {
                ends.tell(session, reason);
            });
            if !more {
                let is_idle = sessions.usage().sessions == 0 && self.alarms.is_empty();
                return (!is_idle).then_some(TICK_MS);
            }
        }
    }
}
