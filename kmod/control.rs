// SPDX-License-Identifier: GPL-2.0

//! The commands and events of the generic netlink family, as `genl-proto/lreproxy.yaml` has them.

use crate::{
    alarms::Told,
    counters::Totals,
    message::{
        self,
        Report, //
    },
    namespace::{
        Control,
        Relay, //
    },
    net::{
        genl::{
            is_heard,
            notify_of_packet,
            AttributeSet,
            Do,
            Dump,
            Events,
            Family,
            Group,
            Operation,
            Policy,
            Request,
            DATAGRAM, //
        },
        namespace::Net,
        nlattr::Writer,
        rcu::ReadSide,
        time, //
    },
    proto::{
        self,
        bulk,
        config,
        endpoint,
        flush,
        learning,
        port_range,
        receiving,
        sending,
        session,
        stream,
        totals,
        Command,
        DropReason,
        EndReason, //
    },
    relay::{
        limits::Limits,
        ports::{
            Range,
            Ranges,
            Unfit,
            RANGES_MAX, //
        },
        validate, //
    },
    sessions::{
        Prepared,
        Refused,
        Session,
        Wanted, //
    },
    table::Settings,
    Lreproxy,
};
use kernel::{
    prelude::*,
    ModuleMetadata, //
};

/// The family.
pub(crate) static FAMILY: Family = Family::new(
    &Lreproxy::THIS_MODULE,
    proto::FAMILY_NAME,
    proto::PROTOCOL_VERSION,
    &OPERATIONS,
    &GROUPS,
);

static GROUPS: [Group; 2] = [
    Group::new(proto::GROUP_EVENTS),
    Group::new(proto::GROUP_REPORTS),
];
const EVENTS: u32 = 0;
const REPORTS: u32 = 1;

static OPERATIONS: [Operation; 11] = [
    Operation::doit::<New, _>(&NEW),
    Operation::doit::<Set, _>(&SET),
    Operation::doit::<Del, _>(&ONE),
    Operation::doit::<Get, _>(&ONE),
    Operation::dump::<GetAll, _>(&NO_SESSION),
    Operation::doit::<Flush, _>(&FLUSH),
    Operation::doit::<BulkNew, _>(&BULK_NEW),
    Operation::doit::<BulkDel, _>(&BULK_DEL),
    Operation::doit::<ConfigGet, _>(&NO_CONFIG),
    Operation::doit::<ConfigSet, _>(&CONFIG),
    Operation::doit::<TotalsGet, _>(&NO_TOTALS),
];

macro_rules! attribute_set {
    ($name:ident, $set:ident) => {
        struct $name;
        impl AttributeSet for $name {
            const ATTRS: &'static [proto::Attribute] = &$set::ATTRS;
        }
    };
}

attribute_set!(SendingAttributes, sending);
attribute_set!(ReceivingAttributes, receiving);
attribute_set!(LearningAttributes, learning);
attribute_set!(EndpointAttributes, endpoint);
attribute_set!(StreamAttributes, stream);
attribute_set!(SessionAttributes, session);
attribute_set!(BulkAttributes, bulk);
attribute_set!(FlushAttributes, flush);
attribute_set!(PortRangeAttributes, port_range);
attribute_set!(ConfigAttributes, config);
attribute_set!(TotalsAttributes, totals);

const fn slots(max: u16) -> usize {
    max as usize + 1
}

/// What a command may carry, as the protocol's table of operations has it.
const fn request(command: Command) -> &'static [u16] {
    let mut index = 0;
    while index < proto::OPERATIONS.len() {
        if proto::OPERATIONS[index].command as u8 == command as u8 {
            return proto::OPERATIONS[index].request;
        }
        index += 1;
    }
    panic!("not a command")
}

type SessionPolicy = Policy<{ slots(session::MAX) }>;
type BulkPolicy = Policy<{ slots(bulk::MAX) }>;

static SENDING: Policy<{ slots(sending::MAX) }> = Policy::new::<SendingAttributes>(
    &[
        sending::DSCP,
        sending::HOP_LIMIT,
        sending::MARK,
        sending::DEVICE,
        sending::OUTPUT,
    ],
    &[],
);
static RECEIVING: Policy<{ slots(receiving::MAX) }> = Policy::new::<ReceivingAttributes>(
    &[
        receiving::PAYLOAD_TYPES,
        receiving::SSRC,
        receiving::PACKET_RATE,
        receiving::BYTE_RATE,
        receiving::BURST_MS,
        receiving::CLOCK_RATE,
    ],
    &[],
);
static LEARNING: Policy<{ slots(learning::MAX) }> = Policy::new::<LearningAttributes>(
    &[
        learning::MODE,
        learning::SIGNALLING_ADDRESS,
        learning::CONFIRMATIONS,
        learning::WINDOW_MS,
        learning::SILENCE_MS,
        learning::ROAM_SILENCE_MS,
        learning::ROAM_SEQUENCES,
    ],
    &[],
);
static ENDPOINT: Policy<{ slots(endpoint::MAX) }> = Policy::new::<EndpointAttributes>(
    &[
        endpoint::LOCAL_ADDRESS,
        endpoint::LOCAL_PORT,
        endpoint::REMOTE_ADDRESS,
        endpoint::REMOTE_PORT,
    ],
    &[
        SENDING.inside(endpoint::SENDING),
        RECEIVING.inside(endpoint::RECEIVING),
        LEARNING.inside(endpoint::LEARNING),
    ],
);
static STREAM: Policy<{ slots(stream::MAX) }> = Policy::new::<StreamAttributes>(
    &[stream::KIND],
    &[ENDPOINT.inside(stream::A), ENDPOINT.inside(stream::B)],
);
static NEW: SessionPolicy = Policy::new::<SessionAttributes>(
    request(Command::SessionNew),
    &[STREAM.inside(session::STREAM)],
);
static SET: SessionPolicy = Policy::new::<SessionAttributes>(
    request(Command::SessionSet),
    &[STREAM.inside(session::STREAM)],
);
static ONE: SessionPolicy = Policy::new::<SessionAttributes>(request(Command::SessionGet), &[]);
static NO_SESSION: SessionPolicy = Policy::new::<SessionAttributes>(&[], &[]);
static FLUSH: Policy<{ slots(flush::MAX) }> =
    Policy::new::<FlushAttributes>(request(Command::SessionFlush), &[]);
static BULK_NEW: BulkPolicy = Policy::new::<BulkAttributes>(
    request(Command::SessionBulkNew),
    &[NEW.inside(bulk::SESSION)],
);
static BULK_DEL: BulkPolicy = Policy::new::<BulkAttributes>(request(Command::SessionBulkDel), &[]);
static PORT_RANGE: Policy<{ slots(port_range::MAX) }> =
    Policy::new::<PortRangeAttributes>(&[port_range::FIRST, port_range::LAST], &[]);
static CONFIG: Policy<{ slots(config::MAX) }> = Policy::new::<ConfigAttributes>(
    request(Command::ConfigSet),
    &[PORT_RANGE.inside(config::PORT_RANGE)],
);
static NO_CONFIG: Policy<{ slots(config::MAX) }> = Policy::new::<ConfigAttributes>(&[], &[]);
static NO_TOTALS: Policy<{ slots(totals::MAX) }> = Policy::new::<TotalsAttributes>(&[], &[]);

/// Tells the listeners of sessions that have ended, of as many at once as go into a datagram: the last
/// of them when this is dropped.
pub(crate) struct Ends {
    events: Events,
    /// How many more are expected, for which there is to be room.
    expected: usize,
}

impl Ends {
    /// None yet. A wrong number costs only time.
    pub(crate) fn new(net: Net, expected: usize) -> Self {
        Self {
            events: Events::new(&FAMILY, net, EVENTS, Command::SessionEnded),
            expected,
        }
    }

    /// Tells of one.
    pub(crate) fn tell(&mut self, session: &Session, reason: EndReason) {
        let expected = self.expected;
        let sizes = || {
            let one = message::likely_size(session);
            let all = one.saturating_mul(expected).min(DATAGRAM);
            [all.max(one), message::session_size(session)]
        };
        self.events.add(sizes, |writer| {
            message::write_session(writer, session, time::now())?;
            writer.u32(session::END_REASON, reason as u32)
        });
        self.expected = expected.saturating_sub(1);
    }
}

/// Tells the listeners of an alarm.
pub(crate) fn notify_alarm(net: Net, told: &Told<'_>) {
    Events::new(&FAMILY, net, EVENTS, Command::Alarm).add(
        || [message::ALARM_SIZE],
        |writer| message::write_alarm(writer, told),
    );
}

/// Whether anybody wants to know of RTCP packets.
pub(crate) fn are_reports_heard(net: Net, rcu: ReadSide<'_>) -> bool {
    is_heard(&FAMILY, net, REPORTS, rcu)
}

/// Tells the listeners of an RTCP packet. If one is lost, there will be another one.
pub(crate) fn notify_report(net: Net, report: &Report<'_>, rcu: ReadSide<'_>) {
    let size = message::REPORT_SIZE;
    notify_of_packet(
        &FAMILY,
        net,
        REPORTS,
        Command::Report,
        size,
        rcu,
        |writer| message::write_report(writer, report),
    );
}

fn refused(request: &Request<'_>, refused: Refused) -> Error {
    request.refuse(refused.error(), None, format_args!("{refused}"))
}

/// Makes sessions, all or none, and answers with the ids in the attributes given.
fn make(
    relay: &Relay,
    request: &Request<'_>,
    command: Command,
    wanted: KVec<Wanted>,
    (id, replaced): (u16, u16),
) -> Result {
    let answer = relay.control(|Control { table, sessions }| -> Result<_> {
        let prepared = sessions
            .prepare(table, wanted)
            .map_err(|error| refused(request, error))?;
        // The answer is written first: when there is no room for it nothing must have happened.
        let ids = |prepared: &Prepared| prepared.replaces().len().saturating_add(1);
        let room = prepared.iter().map(ids).fold(0usize, usize::saturating_add);
        let mut answer = request.answer(command, room.saturating_mul(16))?;
        for prepared in &prepared {
            answer.writer().uint(id, prepared.id())?;
        }
        for victim in prepared.iter().flat_map(|prepared| prepared.replaces()) {
            answer.writer().uint(replaced, *victim)?;
        }
        let victims = prepared.iter().map(|prepared| prepared.replaces().len());
        let mut ends = Ends::new(relay.net(), victims.fold(0, usize::saturating_add));
        for prepared in prepared {
            sessions.commit(table, prepared, |session, reason| {
                ends.tell(session, reason);
            });
        }
        Ok(answer)
    })?;
    request.send(answer)
}

/// `session-new`.
struct New;

impl Do for New {
    type Namespace = Relay;
    const COMMAND: Command = Command::SessionNew;

    fn execute(relay: &Relay, request: &Request<'_>) -> Result {
        let wanted = message::wanted(request, request.attributes(), None)?;
        let mut one = KVec::with_capacity(1, GFP_KERNEL)?;
        one.push(wanted, GFP_KERNEL)?;
        let names = (session::ID, session::REPLACED);
        make(relay, request, Self::COMMAND, one, names)
    }
}

/// `session-bulk-new`.
struct BulkNew;

impl Do for BulkNew {
    type Namespace = Relay;
    const COMMAND: Command = Command::SessionBulkNew;

    fn execute(relay: &Relay, request: &Request<'_>) -> Result {
        let mut several = KVec::new();
        for nest in request.attributes().all(bulk::SESSION) {
            if several.len() == proto::BULK_MAX as usize {
                return Err(request.refuse(
                    E2BIG,
                    Some(nest),
                    format_args!("session: {} at most in one command", proto::BULK_MAX),
                ));
            }
            let wanted = message::wanted(request, nest.nested(), Some(nest))?;
            several.push(wanted, GFP_KERNEL)?;
        }
        let names = (bulk::ID, bulk::REPLACED);
        make(relay, request, Self::COMMAND, several, names)
    }
}

/// `session-set`.
struct Set;

impl Do for Set {
    type Namespace = Relay;
    const COMMAND: Command = Command::SessionSet;

    fn execute(relay: &Relay, request: &Request<'_>) -> Result {
        let id = message::session_id(request)?;
        let changes = message::changes(request)?;
        relay
            .control(|Control { table, sessions }| sessions.change(table, id, changes))
            .map_err(|error| refused(request, error))
    }
}

/// `session-del`.
struct Del;

impl Do for Del {
    type Namespace = Relay;
    const COMMAND: Command = Command::SessionDel;

    fn execute(relay: &Relay, request: &Request<'_>) -> Result {
        let id = message::session_id(request)?;
        let answer = relay.control(|Control { table, sessions }| -> Result<_> {
            let session = sessions.get(id).map_err(|error| refused(request, error))?;
            // Room first: after the session is gone nothing may fail.
            let mut answer = request.answer(Self::COMMAND, message::session_size(session))?;
            let Some(session) = sessions.remove(table, id) else {
                return Err(ENOENT);
            };
            message::write_session(&mut answer.writer(), &session, time::now())?;
            Ends::new(relay.net(), 1).tell(&session, EndReason::Deleted);
            Ok(answer)
        })?;
        request.send(answer)
    }
}

/// `session-get` of one.
struct Get;

impl Do for Get {
    type Namespace = Relay;
    const COMMAND: Command = Command::SessionGet;

    fn execute(relay: &Relay, request: &Request<'_>) -> Result {
        let id = message::session_id(request)?;
        let answer = relay.control(|control| -> Result<_> {
            let session = control
                .sessions
                .get(id)
                .map_err(|error| refused(request, error))?;
            let mut answer = request.answer(Self::COMMAND, message::session_size(session))?;
            message::write_session(&mut answer.writer(), session, time::now())?;
            Ok(answer)
        })?;
        request.send(answer)
    }
}

/// `session-get` of all.
struct GetAll;

impl Dump for GetAll {
    type Namespace = Relay;
    const COMMAND: Command = Command::SessionGet;
    const MESSAGE_MAX: u32 = message::SESSION_MAX as u32;

    fn write_next(relay: &Relay, from: u64, writer: &mut Writer<'_>) -> Result<Option<u64>> {
        relay.control(|control| {
            let Some(session) = control.sessions.at_or_after(from) else {
                return Ok(None);
            };
            message::write_session(writer, session, time::now())?;
            Ok(Some(session.id()))
        })
    }
}

/// `session-flush`.
struct Flush;

impl Do for Flush {
    type Namespace = Relay;
    const COMMAND: Command = Command::SessionFlush;

    fn execute(relay: &Relay, request: &Request<'_>) -> Result {
        let owner = request
            .attributes()
            .get(flush::OWNER)
            .and_then(|owner| owner.u32());
        let mut answer = request.answer(Self::COMMAND, 16)?;
        let ended = relay.control(|Control { table, sessions }| {
            let most = sessions.usage().sessions;
            let mut ends = Ends::new(relay.net(), usize::try_from(most).unwrap_or(usize::MAX));
            let (mut next, mut ended) = (0, 0u64);
            while let Some(session) = sessions.at_or_after(next) {
                let id = session.id();
                next = id.saturating_add(1);
                if owner.is_some_and(|owner| owner != session.owner()) {
                    continue;
                }
                if let Some(session) = sessions.remove(table, id) {
                    ends.tell(&session, EndReason::Flushed);
                    ended = ended.saturating_add(1);
                }
            }
            ended
        });
        answer.writer().uint(flush::ENDED, ended)?;
        request.send(answer)
    }
}

/// `session-bulk-del`.
struct BulkDel;

impl Do for BulkDel {
    type Namespace = Relay;
    const COMMAND: Command = Command::SessionBulkDel;

    fn execute(relay: &Relay, request: &Request<'_>) -> Result {
        relay.control(|Control { table, sessions }| {
            let ids = || request.attributes().all(bulk::ID);
            if ids().count() > proto::BULK_MAX as usize {
                return Err(request.refuse(
                    E2BIG,
                    None,
                    format_args!("id: {} at most in one command", proto::BULK_MAX),
                ));
            }
            for id in ids().filter_map(|id| id.uint()) {
                sessions.get(id).map_err(|error| refused(request, error))?;
            }
            let mut ends = Ends::new(relay.net(), ids().count());
            for id in ids().filter_map(|id| id.uint()) {
                if let Some(session) = sessions.remove(table, id) {
                    ends.tell(&session, EndReason::Deleted);
                }
            }
            Ok(())
        })
    }
}

/// `config-get`.
struct ConfigGet;

impl Do for ConfigGet {
    type Namespace = Relay;
    const COMMAND: Command = Command::ConfigGet;

    fn execute(relay: &Relay, request: &Request<'_>) -> Result {
        let answer = relay.control(|control| -> Result<_> {
            let addresses = control.table.addresses();
            let room = control.table.addresses().count().saturating_mul(20);
            let mut answer = request.answer(Self::COMMAND, room + 128 + PORT_RANGES_SIZE)?;
            let mut writer = answer.writer();
            writer.u32(config::PROTOCOL_VERSION, proto::PROTOCOL_VERSION)?;
            writer.string(config::MODULE_VERSION, VERSION)?;
            let settings = control.table.settings();
            for range in settings.ports.iter() {
                writer.nest(config::PORT_RANGE, |writer| {
                    writer.u16(port_range::FIRST, range.first)?;
                    writer.u16(port_range::LAST, range.last)
                })?;
            }
            writer.u32(config::QUALITY, settings.quality.into())?;
            let limits = settings.limits;
            writer.u32(config::SESSIONS_MAX, limits.sessions)?;
            writer.u32(config::HALF_OPEN_MAX, limits.half_open)?;
            writer.uint(config::MEMORY_MAX, limits.memory)?;
            for (address, _) in addresses {
                message::write_ip(&mut writer, config::LOCAL_ADDRESS, address)?;
            }
            Ok(answer)
        })?;
        request.send(answer)
    }
}

/// Room for all ranges of ports, in bytes.
const PORT_RANGES_SIZE: usize = 20 * RANGES_MAX;

const _: () = assert!(RANGES_MAX == proto::PORT_RANGES_MAX as usize);

/// Version of the module.
const VERSION: &CStr = c"0.1.0";

/// `config-set`.
struct ConfigSet;

impl Do for ConfigSet {
    type Namespace = Relay;
    const COMMAND: Command = Command::ConfigSet;

    fn execute(relay: &Relay, request: &Request<'_>) -> Result {
        let attributes = request.attributes().by_id();
        let mut ports = None;
        for nest in attributes.all(config::PORT_RANGE) {
            let of_range = nest.nested().by_id();
            let inside = |id| {
                let port =
                    message::required(request, &port_range::ATTRS, &of_range, Some(nest), id)?;
                port.u16().ok_or(EINVAL)
            };
            let range = Range {
                first: inside(port_range::FIRST)?,
                last: inside(port_range::LAST)?,
            };
            let known = ports.unwrap_or(Ranges::EMPTY);
            ports = Some(known.with(range).map_err(|unfit| {
                let error = match unfit {
                    Unfit::TooMany => E2BIG,
                    Unfit::Zero(_) | Unfit::Reversed(_) | Unfit::Overlap(..) => EINVAL,
                };
                request.refuse(error, Some(nest), format_args!("port-range: {unfit}"))
            })?);
        }
        let mut addresses = None;
        for attribute in attributes.all(config::LOCAL_ADDRESS) {
            let address = message::ip(request, &config::ATTRS, attribute)?;
            let list = addresses.get_or_insert_with(KVec::new);
            if let Err(invalid) = validate::unicast(address) {
                return Err(request.refuse(
                    EINVAL,
                    Some(attribute),
                    format_args!("local-address: {}", invalid.as_str()),
                ));
            }
            if list.len() == proto::LOCAL_ADDRESSES_MAX as usize {
                return Err(request.refuse(
                    E2BIG,
                    Some(attribute),
                    format_args!("local-address: {} at most", proto::LOCAL_ADDRESSES_MAX),
                ));
            }
            if !list.contains(&address) {
                list.push(address, GFP_KERNEL)?;
            }
        }
        let number = |id| attributes.get(id).and_then(|number| number.u32());
        let quality = number(config::QUALITY);
        let memory = attributes
            .get(config::MEMORY_MAX)
            .and_then(|memory| memory.uint());
        let change = |old: Settings| Settings {
            ports: ports.unwrap_or(old.ports),
            quality: quality.map_or(old.quality, |quality| quality != 0),
            limits: Limits {
                sessions: number(config::SESSIONS_MAX).unwrap_or(old.limits.sessions),
                half_open: number(config::HALF_OPEN_MAX).unwrap_or(old.limits.half_open),
                memory: memory.unwrap_or(old.limits.memory),
            },
        };
        relay
            .configure(change, addresses)
            .map_err(|error| refused(request, error))
    }
}

/// `totals-get`.
struct TotalsGet;

impl Do for TotalsGet {
    type Namespace = Relay;
    const COMMAND: Command = Command::TotalsGet;

    fn execute(relay: &Relay, request: &Request<'_>) -> Result {
        let mut answer = request.answer(Self::COMMAND, 512)?;
        relay.control(|control| -> Result {
            let mut unowned = Totals::default();
            if let Some(count) = unowned.drops.get_mut(DropReason::NoSession as usize) {
                *count = relay.alarms().unowned();
            }
            let mut relayed = control.sessions.relayed();
            relayed.add(&unowned);
            let history = control.sessions.history();
            let mut writer = answer.writer();
            writer.uint(totals::SESSIONS, control.sessions.usage().sessions)?;
            writer.uint(totals::CREATED, history.created)?;
            writer.uint(totals::EXPIRED, history.expired)?;
            writer.uint(totals::REPLACED, history.replaced)?;
            writer.nest(totals::RELAYED, |writer| {
                message::write_totals(writer, &relayed)
            })?;
            let usage = control.sessions.usage();
            writer.uint(totals::HALF_OPEN, usage.half_open)?;
            writer.uint(totals::MEMORY, usage.memory)?;
            writer.uint(totals::REFUSED_SESSIONS, history.refused.sessions)?;
            writer.uint(totals::REFUSED_HALF_OPEN, history.refused.half_open)?;
            writer.uint(totals::REFUSED_MEMORY, history.refused.memory)?;
            let (alarms, missed) = relay.alarms().counts();
            writer.uint(totals::ALARMS, alarms)?;
            writer.uint(totals::ALARMS_MISSED, missed)
        })?;
        request.send(answer)
    }
}
