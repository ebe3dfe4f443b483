// SPDX-License-Identifier: MIT OR Apache-2.0

//! The relay of one namespace, as its netlink family shows it.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, anyhow, bail, ensure};
use genl_proto::generated::{
    AlarmReason, Command, DropReason, EndReason, FAMILY_NAME, GROUP_EVENTS, GROUP_REPORTS,
    StreamKind, alarm, bulk, config, counters, drops, endpoint, flush, learning, port_range,
    receiving, report, session, stream, totals,
};
use nix::libc;

use super::netlink::{self, Attributes, Netlink, Outcome, Refusal, parse};
use super::netns::Namespace;

/// One side of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// What the relay receives on and sends from.
    pub local: SocketAddr,
    /// The party; none while it is on hold.
    pub remote: Option<SocketAddr>,
    /// What is asked of its packets.
    pub asked: Asked,
}

/// The party an endpoint has learned, as the kernel tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Learned {
    /// Its address and port.
    pub remote: SocketAddr,
    /// Whether that is final.
    pub locked: bool,
}

/// What is asked of an endpoint's packets: values by the number of their attribute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// How they are sent, from attribute 1 on.
    pub sending: [Option<u32>; 5],
    /// Which are admitted, from attribute 1 on; payload types are apart.
    pub receiving: [Option<u32>; 6],
    /// How the party is learned, from attribute 1 on; the signalling address is apart.
    pub learning: [Option<u32>; 7],
    /// Where signalling came from.
    pub signalling: Option<IpAddr>,
    /// Which RTP payload types are admitted, as bits.
    pub payload_types: Option<u128>,
}

impl Asked {
    /// Asks for one more thing about packets to the party.
    pub fn sending(mut self, id: u16, value: u32) -> Self {
        self.sending[usize::from(id) - 1] = Some(value);
        self
    }

    /// Asks for one more thing about packets from the party.
    pub fn receiving(mut self, id: u16, value: u32) -> Self {
        self.receiving[usize::from(id) - 1] = Some(value);
        self
    }

    /// Asks for one more thing about learning the party.
    pub fn learning(mut self, id: u16, value: u32) -> Self {
        self.learning[usize::from(id) - 1] = Some(value);
        self
    }

    fn attributes(&self, mut to: Attributes) -> Attributes {
        if self.sending != Self::default().sending {
            to = to.nest(endpoint::SENDING, &numbers(&self.sending));
        }
        let mut received = numbers(&self.receiving);
        if let Some(types) = self.payload_types {
            received = received.bytes(receiving::PAYLOAD_TYPES, &types.to_le_bytes());
        }
        if !received.as_slice().is_empty() {
            to = to.nest(endpoint::RECEIVING, &received);
        }
        let mut learned = numbers(&self.learning);
        if let Some(address) = self.signalling {
            learned = learned.bytes(learning::SIGNALLING_ADDRESS, &octets(address));
        }
        if learned.as_slice().is_empty() {
            to
        } else {
            to.nest(endpoint::LEARNING, &learned)
        }
    }
}

fn numbers(numbers: &[Option<u32>]) -> Attributes {
    (1..)
        .zip(numbers)
        .filter_map(|(id, number)| Some((id, (*number)?)))
        .fold(Attributes::new(), |all, (id, number)| all.u32(id, number))
}

/// Two endpoints facing each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    /// What it carries.
    pub kind: StreamKind,
    /// One endpoint.
    pub a: Endpoint,
    /// The other.
    pub b: Endpoint,
}

/// A session to be made or changed.
#[derive(Clone, Debug)]
pub struct Session {
    /// Its name.
    pub label: Vec<u8>,
    /// Tag of its owner.
    pub owner: u32,
    /// Idle timeout, in milliseconds.
    pub timeout_ms: u32,
    /// Its streams.
    pub streams: Vec<Stream>,
    /// Whether it takes ports that others have.
    pub replace: bool,
}

/// What one direction has relayed, and from whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets forwarded.
    pub packets: u64,
    /// UDP payload bytes forwarded.
    pub bytes: u64,
    /// Packets not forwarded, by reason.
    pub drops: Vec<(DropReason, u64)>,
    /// RTCP packets among those forwarded.
    pub rtcp_packets: u64,
    /// How well RTP arrived, by the number of the attribute; empty when there was none.
    pub quality: BTreeMap<u16, u64>,
    /// The party that was learned.
    pub learned: Option<Learned>,
}

/// A session as the kernel tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Its number.
    pub id: u64,
    /// Its name.
    pub label: Vec<u8>,
    /// Tag of its owner.
    pub owner: u32,
    /// Idle timeout, in milliseconds.
    pub timeout_ms: u32,
    /// Its streams, with what arrived at endpoint a and at endpoint b.
    pub streams: Vec<(Stream, Counters, Counters)>,
    /// Milliseconds since it was made.
    pub age_ms: u64,
    /// Milliseconds since a packet was admitted.
    pub idle_ms: u64,
    /// Why it ended; events only.
    pub end_reason: Option<EndReason>,
}

/// Settings of the namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Version of the protocol.
    pub protocol_version: u32,
    /// Version of the module.
    pub module_version: String,
    /// First and last port of the range.
    pub ports: Vec<(u16, u16)>,
    /// Addresses the relay receives on.
    pub addresses: Vec<IpAddr>,
    /// Whether quality is measured.
    pub quality: bool,
    /// Most sessions, half-open sessions and bytes of memory; 0 for any.
    pub limits: (u32, u32, u64),
}

/// What the whole namespace has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Totals {
    /// Sessions alive.
    pub sessions: u64,
    /// Sessions ever made.
    pub created: u64,
    /// Sessions that ended by their idle timeout.
    pub expired: u64,
    /// Sessions that a newer one replaced.
    pub replaced: u64,
    /// All packets.
    pub relayed: Counters,
    /// Sessions alive that are half open.
    pub half_open: u64,
    /// Bytes of memory the sessions hold.
    pub memory: u64,
    /// Commands refused because of the limits of sessions, half-open sessions, memory.
    pub refused: (u64, u64, u64),
    /// Alarms told, and packets that raised none because there were too many.
    pub alarms: (u64, u64),
}

impl Counters {
    /// Packets dropped for this reason.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.drops
            .iter()
            .find(|(found, _)| *found == reason)
            .map_or(0, |(_, packets)| *packets)
    }

    fn parse(bytes: &[u8]) -> Result<Self> {
        let mut found = Self::default();
        for (id, value) in parse(bytes)? {
            match id {
                counters::PACKETS => found.packets = netlink::uint(value)?,
                counters::BYTES => found.bytes = netlink::uint(value)?,
                counters::RTCP_PACKETS => found.rtcp_packets = netlink::uint(value)?,
                counters::DROPS => {
                    let (mut reason, mut packets) = (None, None);
                    for (id, value) in parse(value)? {
                        match id {
                            drops::REASON => reason = DropReason::from_u32(netlink::u32(value)?),
                            drops::PACKETS => packets = Some(netlink::uint(value)?),
                            other => bail!("attribute {other} in drops"),
                        }
                    }
                    found.drops.push((
                        reason.context("drops without a reason")?,
                        packets.context("drops without a number")?,
                    ));
                }
                other => bail!("attribute {other} in counters"),
            }
        }
        Ok(found)
    }
}

impl Endpoint {
    /// Its attributes.
    pub fn attributes(&self) -> Attributes {
        let local = Attributes::new()
            .bytes(endpoint::LOCAL_ADDRESS, &octets(self.local.ip()))
            .be16(endpoint::LOCAL_PORT, self.local.port());
        let both = match self.remote {
            Some(remote) => local
                .bytes(endpoint::REMOTE_ADDRESS, &octets(remote.ip()))
                .be16(endpoint::REMOTE_PORT, remote.port()),
            None => local,
        };
        self.asked.attributes(both)
    }

    fn parse(bytes: &[u8]) -> Result<(Self, Option<Learned>)> {
        let (mut local, mut remote) = ((None, None), (None, None));
        let (mut learned, mut locked) = ((None, None), false);
        let mut asked = Asked::default();
        for (id, value) in parse(bytes)? {
            match id {
                endpoint::LOCAL_ADDRESS => local.0 = Some(address(value)?),
                endpoint::LOCAL_PORT => local.1 = Some(netlink::u16(value)?.to_be()),
                endpoint::REMOTE_ADDRESS => remote.0 = Some(address(value)?),
                endpoint::REMOTE_PORT => remote.1 = Some(netlink::u16(value)?.to_be()),
                endpoint::SENDING => {
                    for (id, value) in parse(value)? {
                        asked = asked.sending(id, netlink::u32(value)?);
                    }
                }
                endpoint::RECEIVING => {
                    for (id, value) in parse(value)? {
                        if id == receiving::PAYLOAD_TYPES {
                            asked.payload_types = Some(u128::from_le_bytes(value.try_into()?));
                        } else {
                            asked = asked.receiving(id, netlink::u32(value)?);
                        }
                    }
                }
                endpoint::LEARNING => {
                    for (id, value) in parse(value)? {
                        if id == learning::SIGNALLING_ADDRESS {
                            asked.signalling = Some(address(value)?);
                        } else {
                            asked = asked.learning(id, netlink::u32(value)?);
                        }
                    }
                }
                endpoint::LEARNED_ADDRESS => learned.0 = Some(address(value)?),
                endpoint::LEARNED_PORT => learned.1 = Some(netlink::u16(value)?.to_be()),
                endpoint::LOCKED => locked = true,
                other => bail!("attribute {other} in an endpoint"),
            }
        }
        let socket = |found| match found {
            (Some(address), Some(port)) => Ok(Some(SocketAddr::new(address, port))),
            (None, None) => Ok(None),
            half => Err(anyhow!("half an address: {half:?}")),
        };
        let endpoint = Self {
            local: socket(local)?.context("no local address")?,
            remote: socket(remote)?,
            asked,
        };
        let learned = socket(learned)?.map(|remote| Learned { remote, locked });
        Ok((endpoint, learned))
    }
}

impl Stream {
    /// Its attributes.
    pub fn attributes(&self) -> Attributes {
        Attributes::new()
            .u32(stream::KIND, self.kind as u32)
            .nest(stream::A, &self.a.attributes())
            .nest(stream::B, &self.b.attributes())
    }

    fn parse(bytes: &[u8]) -> Result<(Self, Counters, Counters)> {
        let (mut kind, mut a, mut b) = (None, None, None);
        let (mut from_a, mut from_b) = (None, None);
        let (mut quality_a, mut quality_b) = (BTreeMap::new(), BTreeMap::new());
        for (id, value) in parse(bytes)? {
            match id {
                stream::KIND => kind = StreamKind::from_u32(netlink::u32(value)?),
                stream::A => a = Some(Endpoint::parse(value)?),
                stream::B => b = Some(Endpoint::parse(value)?),
                stream::FROM_A => from_a = Some(Counters::parse(value)?),
                stream::FROM_B => from_b = Some(Counters::parse(value)?),
                stream::QUALITY_A => quality_a = uints(value)?,
                stream::QUALITY_B => quality_b = uints(value)?,
                other => bail!("attribute {other} in a stream"),
            }
        }
        let with = |counters: Option<Counters>, quality, learned| {
            let counters = counters.context("a stream without counters")?;
            Ok::<_, anyhow::Error>(Counters {
                quality,
                learned,
                ..counters
            })
        };
        let (a, learned_a) = a.context("a stream without a")?;
        let (b, learned_b) = b.context("a stream without b")?;
        Ok((
            Self {
                kind: kind.context("a stream without a kind")?,
                a,
                b,
            },
            with(from_a, quality_a, learned_a)?,
            with(from_b, quality_b, learned_b)?,
        ))
    }
}

impl Session {
    /// Its attributes.
    pub fn attributes(&self) -> Attributes {
        let mut attributes = Attributes::new()
            .bytes(session::LABEL, &self.label)
            .u32(session::OWNER, self.owner)
            .u32(session::TIMEOUT_MS, self.timeout_ms);
        for stream in &self.streams {
            attributes = attributes.nest(session::STREAM, &stream.attributes());
        }
        if self.replace {
            attributes.bytes(session::REPLACE, &[])
        } else {
            attributes
        }
    }
}

impl State {
    /// Its streams, without their counters.
    pub fn streams(&self) -> Vec<Stream> {
        self.streams.iter().map(|(stream, _, _)| *stream).collect()
    }

    fn parse(bytes: &[u8]) -> Result<Self> {
        let mut found = Self {
            id: 0,
            label: Vec::new(),
            owner: 0,
            timeout_ms: 0,
            streams: Vec::new(),
            age_ms: 0,
            idle_ms: 0,
            end_reason: None,
        };
        for (id, value) in parse(bytes)? {
            match id {
                session::ID => found.id = netlink::uint(value)?,
                session::LABEL => found.label = value.to_vec(),
                session::OWNER => found.owner = netlink::u32(value)?,
                session::TIMEOUT_MS => found.timeout_ms = netlink::u32(value)?,
                session::STREAM => found.streams.push(Stream::parse(value)?),
                session::AGE_MS => found.age_ms = netlink::uint(value)?,
                session::IDLE_MS => found.idle_ms = netlink::uint(value)?,
                session::END_REASON => found.end_reason = EndReason::from_u32(netlink::u32(value)?),
                other => bail!("attribute {other} in a session"),
            }
        }
        ensure!(found.id != 0, "a session without an id");
        Ok(found)
    }
}

fn uints(bytes: &[u8]) -> Result<BTreeMap<u16, u64>> {
    parse(bytes)?
        .into_iter()
        .map(|(id, value)| Ok((id, netlink::uint(value)?)))
        .collect()
}

fn address(value: &[u8]) -> Result<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(value) {
        return Ok(octets.into());
    }
    let octets: [u8; 16] = value
        .try_into()
        .with_context(|| format!("an address of {} bytes", value.len()))?;
    Ok(octets.into())
}

/// The bytes of an address, as attributes have them.
pub fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// The relay of a namespace.
pub struct Relay {
    /// The socket it is driven through.
    pub netlink: Netlink,
}

impl Relay {
    /// Opens the family in a namespace.
    pub fn open(namespace: &Namespace) -> Result<Self> {
        Ok(Self {
            netlink: Netlink::open(namespace, FAMILY_NAME)?,
        })
    }

    /// Does what one command asks for; a refusal is a failure of the test.
    fn ask(&self, command: Command, flags: i32, attributes: &Attributes) -> Result<Vec<Vec<u8>>> {
        self.netlink
            .call(command as u8, flags, attributes)?
            .map_err(|refusal| anyhow!("{} was refused: {refusal:?}", command.name()))
    }

    /// As the command says, refusals included.
    pub fn call(&self, command: Command, attributes: &Attributes) -> Result<Outcome> {
        self.netlink.call(command as u8, 0, attributes)
    }

    /// The refusal of a command that must be refused.
    pub fn refusal(&self, command: Command, attributes: &Attributes) -> Result<Refusal> {
        match self.call(command, attributes)? {
            Err(refusal) => Ok(refusal),
            Ok(_) => Err(anyhow!(
                "{} was not refused: {attributes:02x?}",
                command.name()
            )),
        }
    }

    /// Sets port range and local addresses.
    pub fn configure(&self, ports: (u16, u16), addresses: &[IpAddr]) -> Result<()> {
        let mut attributes = ranges_of(&[ports]);
        for address in addresses {
            attributes = attributes.bytes(config::LOCAL_ADDRESS, &octets(*address));
        }
        self.ask(Command::ConfigSet, 0, &attributes).map(|_| ())
    }

    /// Sets several port ranges.
    pub fn set_ranges(&self, ranges: &[(u16, u16)]) -> Result<()> {
        self.ask(Command::ConfigSet, 0, &ranges_of(ranges))
            .map(|_| ())
    }

    /// Sets the most sessions, half-open sessions and bytes of memory there may be; 0 for any.
    pub fn limit(&self, sessions: u32, half_open: u32, memory: u64) -> Result<()> {
        let attributes = Attributes::new()
            .u32(config::SESSIONS_MAX, sessions)
            .u32(config::HALF_OPEN_MAX, half_open)
            .uint(config::MEMORY_MAX, memory);
        self.ask(Command::ConfigSet, 0, &attributes).map(|_| ())
    }

    /// Sets whether quality is measured.
    pub fn measure(&self, on: bool) -> Result<()> {
        let attributes = Attributes::new().u32(config::QUALITY, on.into());
        self.ask(Command::ConfigSet, 0, &attributes).map(|_| ())
    }

    /// The settings.
    pub fn config(&self) -> Result<Config> {
        let answers = self.ask(Command::ConfigGet, 0, &Attributes::new())?;
        let mut found = Config {
            protocol_version: 0,
            module_version: String::new(),
            ports: Vec::new(),
            addresses: Vec::new(),
            quality: false,
            limits: (0, 0, 0),
        };
        for (id, value) in parse(only(&answers)?)? {
            match id {
                config::PROTOCOL_VERSION => found.protocol_version = netlink::u32(value)?,
                config::MODULE_VERSION => {
                    let text = value.strip_suffix(b"\0").unwrap_or(value);
                    found.module_version = String::from_utf8_lossy(text).into_owned();
                }
                config::PORT_RANGE => found.ports.push(range(value)?),
                config::LOCAL_ADDRESS => found.addresses.push(address(value)?),
                config::QUALITY => found.quality = netlink::u32(value)? != 0,
                config::SESSIONS_MAX => found.limits.0 = netlink::u32(value)?,
                config::HALF_OPEN_MAX => found.limits.1 = netlink::u32(value)?,
                config::MEMORY_MAX => found.limits.2 = netlink::uint(value)?,
                other => bail!("attribute {other} in the configuration"),
            }
        }
        Ok(found)
    }

    /// Makes a session and returns its id.
    pub fn make(&self, session: &Session) -> Result<u64> {
        Ok(self.make_replacing(session)?.0)
    }

    /// Makes a session and returns its id and those of the sessions it replaced.
    pub fn make_replacing(&self, session: &Session) -> Result<(u64, Vec<u64>)> {
        let answers = self.ask(Command::SessionNew, 0, &session.attributes())?;
        let (ids, replaced) = ids(only(&answers)?, session::ID, session::REPLACED)?;
        let [id] = ids[..] else {
            bail!("{} ids for one session", ids.len())
        };
        Ok((id, replaced))
    }

    /// Makes many sessions in one command and returns their ids.
    pub fn make_many(&self, sessions: &[Session]) -> Result<Vec<u64>> {
        self.make_bulk(&bulk_of(sessions))
    }

    /// The same, of sessions that are [attributes](bulk_of) already.
    pub fn make_bulk(&self, sessions: &Attributes) -> Result<Vec<u64>> {
        let answers = self.ask(Command::SessionBulkNew, 0, sessions)?;
        Ok(ids(only(&answers)?, bulk::ID, bulk::REPLACED)?.0)
    }

    /// Ends many sessions in one command.
    pub fn end_many(&self, ids: &[u64]) -> Result<()> {
        self.ask(Command::SessionBulkDel, 0, &bulk_ids(ids))
            .map(|_| ())
    }

    /// Points endpoints of a session's streams to new remotes.
    pub fn set_streams(&self, id: u64, streams: &[Stream]) -> Result<()> {
        let mut attributes = Attributes::new().uint(session::ID, id);
        for stream in streams {
            attributes = attributes.nest(session::STREAM, &stream.attributes());
        }
        self.ask(Command::SessionSet, 0, &attributes).map(|_| ())
    }

    /// Ends a session and returns its final state.
    pub fn end(&self, id: u64) -> Result<State> {
        let answers = self.ask(Command::SessionDel, 0, &id_of(id))?;
        State::parse(only(&answers)?)
    }

    /// One session.
    pub fn get(&self, id: u64) -> Result<State> {
        let answers = self.ask(Command::SessionGet, 0, &id_of(id))?;
        State::parse(only(&answers)?)
    }

    /// All sessions.
    pub fn sessions(&self) -> Result<Vec<State>> {
        let answers = self.ask(Command::SessionGet, libc::NLM_F_DUMP, &Attributes::new())?;
        answers.iter().map(|answer| State::parse(answer)).collect()
    }

    /// Ends all sessions, or those of one owner, and returns their number.
    pub fn flush(&self, owner: Option<u32>) -> Result<u64> {
        let attributes = match owner {
            Some(owner) => Attributes::new().u32(flush::OWNER, owner),
            None => Attributes::new(),
        };
        let answers = self.ask(Command::SessionFlush, 0, &attributes)?;
        let found = parse(only(&answers)?)?;
        match found[..] {
            [(flush::ENDED, value)] => netlink::uint(value),
            _ => Err(anyhow!("an answer without a number: {found:?}")),
        }
    }

    /// What the namespace has done.
    pub fn totals(&self) -> Result<Totals> {
        let answers = self.ask(Command::TotalsGet, 0, &Attributes::new())?;
        let mut found = Totals {
            sessions: 0,
            created: 0,
            expired: 0,
            replaced: 0,
            relayed: Counters::default(),
            half_open: 0,
            memory: 0,
            refused: (0, 0, 0),
            alarms: (0, 0),
        };
        for (id, value) in parse(only(&answers)?)? {
            match id {
                totals::SESSIONS => found.sessions = netlink::uint(value)?,
                totals::CREATED => found.created = netlink::uint(value)?,
                totals::EXPIRED => found.expired = netlink::uint(value)?,
                totals::REPLACED => found.replaced = netlink::uint(value)?,
                totals::RELAYED => found.relayed = Counters::parse(value)?,
                totals::HALF_OPEN => found.half_open = netlink::uint(value)?,
                totals::MEMORY => found.memory = netlink::uint(value)?,
                totals::REFUSED_SESSIONS => found.refused.0 = netlink::uint(value)?,
                totals::REFUSED_HALF_OPEN => found.refused.1 = netlink::uint(value)?,
                totals::REFUSED_MEMORY => found.refused.2 = netlink::uint(value)?,
                totals::ALARMS => found.alarms.0 = netlink::uint(value)?,
                totals::ALARMS_MISSED => found.alarms.1 = netlink::uint(value)?,
                other => bail!("attribute {other} in the totals"),
            }
        }
        Ok(found)
    }
}

/// An address and a port, as two attributes tell them.
/// Port ranges, as attributes.
pub fn ranges_of(ranges: &[(u16, u16)]) -> Attributes {
    ranges.iter().fold(Attributes::new(), |all, (first, last)| {
        let inside = Attributes::new()
            .u16(port_range::FIRST, *first)
            .u16(port_range::LAST, *last);
        all.nest(config::PORT_RANGE, &inside)
    })
}

fn range(bytes: &[u8]) -> Result<(u16, u16)> {
    let mut found = (0, 0);
    for (id, value) in parse(bytes)? {
        match id {
            port_range::FIRST => found.0 = netlink::u16(value)?,
            port_range::LAST => found.1 = netlink::u16(value)?,
            other => bail!("attribute {other} in a range of ports"),
        }
    }
    Ok(found)
}

fn socket(ip: &[u8], port: &[u8]) -> Result<SocketAddr> {
    let port = port.try_into().context("a strange port")?;
    Ok((address(ip)?, u16::from_be_bytes(port)).into())
}

/// An alarm as the kernel tells it.
#[derive(Clone, Debug)]
pub struct Alarm {
    /// What is wrong.
    pub reason: AlarmReason,
    /// Id, name and owner of the session, if it is about one.
    pub session: Option<(u64, Vec<u8>, u32)>,
    /// Where the first packet was sent to.
    pub local: SocketAddr,
    /// Where it came from.
    pub source: SocketAddr,
    /// How many were dropped.
    pub packets: u64,
}

impl Alarm {
    fn parse(attributes: &[u8]) -> Result<Self> {
        let found: BTreeMap<u16, &[u8]> = parse(attributes)?.into_iter().collect();
        let get = |id| found.get(&id).copied().context("half an alarm");
        let session = match found.get(&alarm::SESSION) {
            Some(id) => Some((
                netlink::uint(id)?,
                get(alarm::LABEL)?.to_vec(),
                netlink::u32(get(alarm::OWNER)?)?,
            )),
            None => None,
        };
        let reason = netlink::u32(get(alarm::REASON)?)?;
        Ok(Self {
            reason: AlarmReason::from_u32(reason).context("an unknown reason")?,
            session,
            local: socket(get(alarm::LOCAL_ADDRESS)?, get(alarm::LOCAL_PORT)?)?,
            source: socket(get(alarm::SOURCE_ADDRESS)?, get(alarm::SOURCE_PORT)?)?,
            packets: netlink::uint(get(alarm::PACKETS)?)?,
        })
    }
}

/// An RTCP packet as the kernel tells it.
#[derive(Clone, Debug)]
pub struct Report {
    /// Id of the session.
    pub session: u64,
    /// Where it was sent to.
    pub local: SocketAddr,
    /// Where it came from.
    pub source: SocketAddr,
    /// When it arrived, in nanoseconds.
    pub arrived_ns: u64,
    /// Its beginning.
    pub packet: Vec<u8>,
}

/// RTCP reports, from the moment of subscription.
pub struct Reports {
    netlink: Netlink,
}

impl Reports {
    /// Subscribes in a namespace.
    pub fn subscribe(namespace: &Namespace) -> Result<Self> {
        let netlink = subscribe(namespace, GROUP_REPORTS)?;
        Ok(Self { netlink })
    }

    /// The next one.
    pub fn next(&self) -> Result<Report> {
        let (command, attributes) = self.netlink.event()?;
        ensure!(
            command == Command::Report as u8,
            "a report of command {command}"
        );
        let found: BTreeMap<u16, &[u8]> = parse(&attributes)?.into_iter().collect();
        let get = |id| found.get(&id).copied().context("half a report");
        Ok(Report {
            session: netlink::uint(get(report::SESSION)?)?,
            local: socket(get(report::LOCAL_ADDRESS)?, get(report::LOCAL_PORT)?)?,
            source: socket(get(report::SOURCE_ADDRESS)?, get(report::SOURCE_PORT)?)?,
            arrived_ns: netlink::uint(get(report::ARRIVED_NS)?)?,
            packet: get(report::PACKET)?.to_vec(),
        })
    }

    /// Whether none waits.
    pub fn is_quiet(&self) -> bool {
        self.netlink.is_quiet()
    }
}

fn subscribe(namespace: &Namespace, group: &str) -> Result<Netlink> {
    let netlink = Netlink::open(namespace, FAMILY_NAME)?;
    netlink
        .subscribe(group)?
        .map_err(|errno| anyhow!("cannot subscribe to {group}: {errno}"))?;
    Ok(netlink)
}

/// Sessions that end and alarms, from the moment of subscription.
pub struct Events {
    netlink: Netlink,
}

impl Events {
    /// Subscribes in a namespace.
    pub fn subscribe(namespace: &Namespace) -> Result<Self> {
        let netlink = subscribe(namespace, GROUP_EVENTS)?;
        Ok(Self { netlink })
    }

    /// The next session that ends.
    pub fn next(&self) -> Result<State> {
        State::parse(&self.next_of(Command::SessionEnded)?)
    }

    /// The sessions that end with the next datagram.
    pub fn next_together(&self) -> Result<Vec<State>> {
        let events = self.netlink.events_together()?;
        events
            .iter()
            .map(|(command, attributes)| {
                ensure!(
                    *command == Command::SessionEnded as u8,
                    "an event of command {command}"
                );
                State::parse(attributes)
            })
            .collect()
    }

    /// The next alarm.
    pub fn next_alarm(&self) -> Result<Alarm> {
        Alarm::parse(&self.next_of(Command::Alarm)?)
    }

    fn next_of(&self, wanted: Command) -> Result<Vec<u8>> {
        loop {
            let (command, attributes) = self.netlink.event()?;
            match Command::from_u8(command) {
                Some(command) if command == wanted => return Ok(attributes),
                Some(Command::SessionEnded | Command::Alarm) => {}
                _ => bail!("an event of command {command}"),
            }
        }
    }

    /// Whether no event waits.
    pub fn is_quiet(&self) -> bool {
        self.netlink.is_quiet()
    }
}

/// The id of a session as attributes.
pub fn id_of(id: u64) -> Attributes {
    Attributes::new().uint(session::ID, id)
}

/// The id in an answer about a session.
pub fn id_told(answer: &[u8]) -> Result<u64> {
    let found = parse(answer)?;
    let id = found.iter().find(|(id, _)| *id == session::ID);
    netlink::uint(id.context("a session without an id")?.1)
}

/// Sessions as the attributes of a bulk command.
pub fn bulk_of(sessions: &[Session]) -> Attributes {
    sessions
        .iter()
        .fold(Attributes::new(), |attributes, session| {
            attributes.nest(bulk::SESSION, &session.attributes())
        })
}

/// Ids as the attributes of a bulk command.
pub fn bulk_ids(ids: &[u64]) -> Attributes {
    ids.iter().fold(Attributes::new(), |attributes, id| {
        attributes.uint(bulk::ID, *id)
    })
}

fn only(answers: &[Vec<u8>]) -> Result<&[u8]> {
    match answers {
        [answer] => Ok(answer),
        _ => Err(anyhow!("{} answers instead of one", answers.len())),
    }
}

fn ids(answer: &[u8], id: u16, replaced: u16) -> Result<(Vec<u64>, Vec<u64>)> {
    let (mut made, mut gone) = (Vec::new(), Vec::new());
    for (kind, value) in parse(answer)? {
        match kind {
            _ if kind == id => made.push(netlink::uint(value)?),
            _ if kind == replaced => gone.push(netlink::uint(value)?),
            other => bail!("attribute {other} in an answer"),
        }
    }
    Ok((made, gone))
}
