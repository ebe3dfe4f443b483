// SPDX-License-Identifier: MIT OR Apache-2.0

//! The netlink family: what it refuses, in which words, and that a refusal changes nothing.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, ensure};
use genl_proto::generated::{
    Attribute, Command, FAMILY_NAME, GROUP_EVENTS, GROUP_REPORTS, Kind, LABEL_MAX, OPERATIONS,
    PROTOCOL_VERSION, bulk, config, session as attr,
};
use nix::errno::Errno;
use nix::libc;

use super::fixture::{
    CALLEE_RTP, CALLER_RTP, Call, EAST_RTP, LOCALS, PORTS, WEST_RTP, expect, idle_relay, rtcp_of,
    session, session_on, streams,
};
use super::path::Path;
use super::{Test, tests};
use crate::guest::lab::Lab;
use crate::guest::netlink::{Attributes, Netlink, Refusal, parse};
use crate::guest::privilege;
use crate::guest::relay::{
    Config, Events, Relay, Session, State, Totals, bulk_ids, bulk_of, id_of, octets, ranges_of,
};
use crate::guest::topology::{EAST, Family, WEST};

pub const TESTS: &[Test] = tests![
    the_family_tells_its_version,
    a_session_is_told_as_it_was_made,
    every_missing_attribute_is_named,
    every_malformed_attribute_is_named,
    an_unknown_attribute_is_refused,
    an_attribute_of_another_command_is_refused,
    half_a_message_is_refused,
    sessions_that_cannot_work_are_refused,
    addresses_that_are_no_hosts_cannot_be_local,
    a_bulk_command_makes_all_or_none,
    ends_that_come_together_are_told_in_few_datagrams,
    a_change_that_is_refused_changes_nothing,
    without_privilege_nothing_is_told_and_nothing_done,
    namespaces_know_nothing_of_each_other,
    an_address_in_use_cannot_be_taken_away,
];

/// Everything a refused command must leave as it was.
#[derive(Debug, PartialEq)]
struct Table {
    sessions: Vec<State>,
    config: Config,
    totals: Totals,
}

impl Table {
    fn read(relay: &Relay) -> Result<Self> {
        let mut sessions = relay.sessions()?;
        for session in &mut sessions {
            // Time goes on whatever is refused.
            (session.age_ms, session.idle_ms) = (0, 0);
        }
        Ok(Self {
            sessions,
            config: relay.config()?,
            totals: relay.totals()?,
        })
    }
}

/// Sends a command that must be refused and checks that it left everything as it was.
fn refused(relay: &Relay, command: Command, attributes: &Attributes) -> Result<Refusal> {
    let before = Table::read(relay)?;
    let refusal = relay.refusal(command, attributes)?;
    let after = Table::read(relay)?;
    ensure!(
        before == after,
        "{} changed the table: {before:?} {after:?}",
        command.name()
    );
    Ok(refusal)
}

fn the_family_tells_its_version(lab: &Lab) -> Result<()> {
    let (_net, relay) = idle_relay(lab)?;
    ensure!(
        relay.netlink.version() == PROTOCOL_VERSION,
        "version {}",
        relay.netlink.version()
    );
    let config = relay.config()?;
    ensure!(config.protocol_version == PROTOCOL_VERSION, "{config:?}");
    ensure!(!config.module_version.is_empty(), "{config:?}");
    ensure!(
        config.ports == [PORTS] && config.addresses == LOCALS,
        "{config:?}"
    );
    Ok(())
}

fn a_session_is_told_as_it_was_made(lab: &Lab) -> Result<()> {
    let (_net, relay) = idle_relay(lab)?;
    let mut made = session();
    // Any bytes are a label.
    made.label = (0..=254).collect();
    // Streams of one session go any way.
    made.streams = (0..)
        .zip(Path::ALL)
        .flat_map(|(number, path)| session_on(path.nth(number)).streams)
        .collect();
    for held in [0, 2] {
        made.streams[held].b.remote = None;
    }
    let id = relay.make(&made)?;
    let told = relay.get(id)?;
    ensure!(
        told.label == made.label && told.owner == 7 && told.timeout_ms == 60_000,
        "{told:?}"
    );
    ensure!(told.streams() == made.streams, "{told:?}");
    ensure!(relay.sessions()?.len() == 1, "not one session");
    ensure!(
        relay.end(id)?.streams() == made.streams,
        "another session ended"
    );
    let refusal = relay.refusal(Command::SessionGet, &id_of(id))?;
    ensure!(refusal.errno == Errno::ENOENT, "{refusal:?}");
    let refusal = relay.refusal(Command::SessionDel, &id_of(id))?;
    ensure!(refusal.errno == Errno::ENOENT, "{refusal:?}");
    Ok(())
}

/// An attribute inside a message: the ids of the nests it is in, and itself.
type Position = Vec<u16>;

/// A valid message of each command that takes attributes.
pub(super) fn valid_messages(id: u64) -> Vec<(Command, Attributes)> {
    let mut other = session();
    other.streams = streams(
        (SocketAddr::new(WEST, 20_100), Some(CALLER_RTP)),
        (SocketAddr::new(EAST, 20_102), Some(CALLEE_RTP)),
    );
    let mut set = Attributes::new().uint(attr::ID, id);
    set = Attributes::from([set.as_slice(), session().attributes().as_slice()].concat());
    vec![
        (Command::SessionNew, other.attributes()),
        (Command::SessionSet, set),
        (Command::SessionDel, id_of(id)),
        (Command::SessionGet, id_of(id)),
        (Command::SessionBulkNew, bulk_of(&[other])),
        (Command::SessionBulkDel, bulk_ids(&[id])),
        (
            Command::SessionFlush,
            Attributes::new().u32(genl_proto::generated::flush::OWNER, 7),
        ),
        (
            Command::ConfigSet,
            ranges_of(&[PORTS])
                .u32(config::SESSIONS_MAX, 1000)
                .u32(config::HALF_OPEN_MAX, 100)
                .uint(config::MEMORY_MAX, 1 << 40)
                .bytes(config::LOCAL_ADDRESS, &octets(WEST))
                .bytes(config::LOCAL_ADDRESS, &octets(EAST))
                .bytes(config::LOCAL_ADDRESS, &octets(Path::IPV6.west.ip())),
        ),
    ]
}

/// The attributes a command takes.
fn attributes_of(command: Command) -> Result<&'static [Attribute]> {
    let operation = OPERATIONS
        .iter()
        .find(|operation| operation.command as u8 == command as u8);
    Ok(operation
        .context("a command without a description")?
        .attributes)
}

/// Every attribute of a message with its position and description, nests included; one of each position.
fn paths(bytes: &[u8], set: &'static [Attribute]) -> Result<Vec<(Position, &'static Attribute)>> {
    let mut found: Vec<(Position, &'static Attribute)> = Vec::new();
    for (id, value) in parse(bytes)? {
        let attribute = set
            .iter()
            .find(|attribute| attribute.id == id)
            .with_context(|| format!("attribute {id} has no description"))?;
        if found.iter().any(|(path, _)| path == &[id]) {
            continue;
        }
        found.push((vec![id], attribute));
        if let Kind::Nest(inner) = attribute.kind {
            for (mut path, attribute) in paths(value, inner)? {
                path.insert(0, id);
                found.push((path, attribute));
            }
        }
    }
    Ok(found)
}

/// The message with the attribute at a position replaced (or left out).
fn with(bytes: &[u8], path: &[u16], new: Option<&[u8]>) -> Result<Attributes> {
    let mut changed = Attributes::new();
    let mut done = false;
    for (id, value) in parse(bytes)? {
        let nested = matches!(path, [first, _, ..] if *first == id);
        changed = match path {
            [only] if *only == id && new.is_none() => changed,
            [only] if *only == id && !done => {
                done = true;
                changed.bytes(id, new.unwrap_or_default())
            }
            // All streams and sessions of a message are damaged alike.
            [_, rest @ ..] if nested => changed.nest(id, &with(value, rest, new)?),
            _ => changed.bytes(id | nested_flag(value, bytes), value),
        };
    }
    Ok(changed)
}

/// NLA_F_NESTED when the attribute with this value carried it in the original bytes.
fn nested_flag(value: &[u8], bytes: &[u8]) -> u16 {
    let at = value.as_ptr() as usize - bytes.as_ptr() as usize;
    let kind = u16::from_ne_bytes([bytes[at - 2], bytes[at - 1]]);
    kind & libc::NLA_F_NESTED as u16
}

/// Attributes a message may go without.
fn is_optional(command: Command, path: &[u16]) -> bool {
    match command {
        Command::SessionSet if path.len() == 1 => path != [attr::ID],
        Command::SessionNew => matches!(path, [attr::LABEL] | [attr::OWNER]),
        Command::SessionBulkNew => {
            matches!(
                path,
                [bulk::SESSION] | [bulk::SESSION, attr::LABEL | attr::OWNER]
            )
        }
        Command::SessionBulkDel | Command::SessionFlush => true,
        // The first and the last port of a range need each other.
        Command::ConfigSet => path.len() == 1,
        _ => false,
    }
}

fn every_missing_attribute_is_named(lab: &Lab) -> Result<()> {
    let (_net, relay) = idle_relay(lab)?;
    let id = relay.make(&session())?;
    let mut tried = 0;
    for (command, message) in valid_messages(id) {
        for (path, attribute) in paths(message.as_slice(), attributes_of(command)?)? {
            if is_optional(command, &path) {
                continue;
            }
            let broken = with(message.as_slice(), &path, None)?;
            let refusal = refused(&relay, command, &broken)
                .with_context(|| format!("{} without {}", command.name(), attribute.name))?;
            ensure!(
                refusal.errno == Errno::EINVAL && refusal.text.contains(attribute.name),
                "{} without {}: {refusal:?}",
                command.name(),
                attribute.name
            );
            tried += 1;
        }
    }
    lab.step(format!("{tried} messages"));
    ensure!(tried >= 20, "only {tried} attributes are needed at all");
    Ok(())
}

/// Values an attribute must not have.
fn bad_values(kind: Kind) -> Vec<Vec<u8>> {
    let out_of_range = |min: u32, max: u32| {
        let below = min.checked_sub(1);
        let above = max.checked_add(1);
        below.into_iter().chain(above)
    };
    match kind {
        Kind::Flag => vec![vec![1]],
        Kind::U16 {
            big_endian,
            min,
            max,
        } => {
            let range = out_of_range(min.into(), max.into())
                .filter_map(|number| u16::try_from(number).ok())
                .map(|number| {
                    if big_endian {
                        number.to_be_bytes()
                    } else {
                        number.to_ne_bytes()
                    }
                    .to_vec()
                });
            [vec![], vec![1], vec![1; 3], vec![1; 4]]
                .into_iter()
                .chain(range)
                .collect()
        }
        Kind::U32 { min, max } => {
            let range = out_of_range(min, max).map(|number| number.to_ne_bytes().to_vec());
            [vec![], vec![1; 3], vec![1; 5], vec![1; 8]]
                .into_iter()
                .chain(range)
                .collect()
        }
        Kind::Uint => vec![vec![], vec![1; 3], vec![1; 5], vec![1; 7], vec![1; 9]],
        Kind::String => vec![vec![]],
        Kind::Binary { min_len, max_len } => {
            let short = usize::from(min_len)
                .checked_sub(1)
                .map(|length| vec![1; length]);
            // What is not of the length of either version's addresses.
            let between: &[usize] = match (min_len, max_len) {
                (4, 16) => &[5, 8, 15],
                _ => &[],
            };
            short
                .into_iter()
                .chain(between.iter().map(|length| vec![1; *length]))
                .chain([vec![1; usize::from(max_len) + 1]])
                .collect()
        }
        // Bytes that are no attributes: a length of 3, and one that goes beyond the end.
        Kind::Nest(_) => vec![vec![3, 0, 1, 0], vec![200, 0, 1, 0], vec![4, 0]],
    }
}

fn every_malformed_attribute_is_named(lab: &Lab) -> Result<()> {
    let (_net, relay) = idle_relay(lab)?;
    let id = relay.make(&session())?;
    let mut tried = 0;
    for (command, message) in valid_messages(id) {
        let mut cases = paths(message.as_slice(), attributes_of(command)?)?;
        if matches!(command, Command::SessionNew) {
            let replace = attr::ATTRS
                .iter()
                .find(|attribute| attribute.id == attr::REPLACE);
            cases.push((
                vec![attr::REPLACE],
                replace.context("no attribute replace")?,
            ));
        }
        for (path, attribute) in cases {
            for value in bad_values(attribute.kind) {
                let broken = if path == [attr::REPLACE] {
                    message.clone().bytes(attr::REPLACE, &value)
                } else {
                    with(message.as_slice(), &path, Some(&value))?
                };
                let what = || format!("{} with {} = {value:02x?}", command.name(), attribute.name);
                let refusal = refused(&relay, command, &broken).with_context(what)?;
                ensure!(
                    matches!(refusal.errno, Errno::EINVAL | Errno::ERANGE),
                    "{}: {refusal:?}",
                    what()
                );
                // A nest whose content is no attributes is refused by the kernel itself.
                let by_the_kernel = matches!(attribute.kind, Kind::Nest(_));
                ensure!(
                    by_the_kernel || refusal.text.contains(attribute.name),
                    "{}: {refusal:?}",
                    what()
                );
                tried += 1;
            }
        }
    }
    lab.step(format!("{tried} messages"));
    Ok(())
}

fn an_unknown_attribute_is_refused(lab: &Lab) -> Result<()> {
    let (_net, relay) = idle_relay(lab)?;
    let id = relay.make(&session())?;
    for (command, message) in valid_messages(id) {
        for kind in [0, 99, 0x3fff] {
            let refusal = refused(&relay, command, &message.clone().u32(kind, 1))
                .with_context(|| format!("{} with attribute {kind}", command.name()))?;
            ensure!(
                refusal.errno == Errno::EINVAL,
                "{}: {refusal:?}",
                command.name()
            );
            ensure!(!refusal.text.is_empty(), "{}: {refusal:?}", command.name());
        }
    }
    // Inside a stream, too.
    let inner = session().streams[0].attributes().u32(99, 1);
    let message = Attributes::new()
        .u32(attr::TIMEOUT_MS, 60_000)
        .nest(attr::STREAM, &inner);
    let refusal = refused(&relay, Command::SessionNew, &message)?;
    ensure!(refusal.errno == Errno::EINVAL, "{refusal:?}");
    Ok(())
}

fn an_attribute_of_another_command_is_refused(lab: &Lab) -> Result<()> {
    let (_net, relay) = idle_relay(lab)?;
    let id = relay.make(&session())?;
    let mut tried = 0;
    for (command, message) in valid_messages(id) {
        let operation = OPERATIONS
            .iter()
            .find(|operation| operation.command as u8 == command as u8)
            .context("a command without a description")?;
        for attribute in operation.attributes {
            if operation.request.contains(&attribute.id) {
                continue;
            }
            let value = match attribute.kind {
                Kind::U16 { .. } => vec![1; 2],
                Kind::U32 { .. } => 0_u32.to_ne_bytes().to_vec(),
                Kind::Uint => vec![1; 8],
                Kind::String => b"text\0".to_vec(),
                Kind::Binary { .. } => vec![1; 4],
                Kind::Flag | Kind::Nest(_) => vec![],
            };
            let message = message.clone().bytes(attribute.id, &value);
            let refusal = refused(&relay, command, &message)
                .with_context(|| format!("{} with {}", command.name(), attribute.name))?;
            ensure!(
                refusal.errno == Errno::EINVAL && !refusal.text.is_empty(),
                "{} with {}: {refusal:?}",
                command.name(),
                attribute.name
            );
            tried += 1;
        }
    }
    ensure!(tried > 0, "no command leaves anything out");
    Ok(())
}

fn half_a_message_is_refused(lab: &Lab) -> Result<()> {
    let (_net, relay) = idle_relay(lab)?;
    relay.make(&session())?;
    let before = Table::read(&relay)?;
    let (command, message) = valid_messages(0).swap_remove(0);
    let bytes = message.as_slice();
    // Cut between two attributes it would be another whole message.
    let mut ends = vec![0];
    for (_, value) in parse(bytes)? {
        ends.push(ends[ends.len() - 1] + (value.len() + 4).next_multiple_of(4));
    }
    for length in (1..bytes.len()).filter(|length| !ends.contains(length)) {
        let mut payload = vec![command as u8, 1, 0, 0];
        payload.extend_from_slice(&bytes[..length]);
        let outcome = relay.netlink.call_raw(0, &payload)?;
        ensure!(
            matches!(&outcome, Err(refusal) if refusal.errno == Errno::EINVAL),
            "{length} of {} bytes: {outcome:?}",
            bytes.len()
        );
    }
    ensure!(
        Table::read(&relay)? == before,
        "half a message changed the table"
    );
    Ok(())
}

fn sessions_that_cannot_work_are_refused(lab: &Lab) -> Result<()> {
    let (net, relay) = idle_relay(lab)?;
    for family in Family::ALL {
        net.relay.ip(&family.add_address(8, 1, "east"))?;
    }
    relay.make(&session())?;
    let mut cases: Vec<(&str, Errno, Session)> = Vec::new();
    let mut case = |text, errno, path: Path, change: &dyn Fn(&mut Session)| {
        let mut session = session_on(path.nth(1));
        change(&mut session);
        cases.push((text, errno, session));
    };
    let (ipv4, ipv6) = (Path::IPV4, Path::IPV6);
    let mixed = Path::IPV4_TO_IPV6;
    relay.make(&session_on(ipv6))?;
    for path in [ipv4, ipv6] {
        case("belongs to session", Errno::EEXIST, path, &|one| {
            one.streams[0].a.local = path.west;
        });
        case("asked for twice", Errno::EEXIST, path, &|one| {
            one.streams[1].a.local = one.streams[0].a.local;
        });
        case("is not configured", Errno::EADDRNOTAVAIL, path, &|one| {
            one.streams[0].a.local.set_ip(path.caller.ip());
        });
        case("port of this relay", Errno::EINVAL, path, &|one| {
            one.streams[0].a.remote = Some(path.east);
        });
        // Beyond the range, and of an address the relay does not receive on.
        case("address of this host", Errno::EINVAL, path, &|one| {
            one.streams[0].a.remote = Some(SocketAddr::new(path.east.ip(), 5000));
        });
        case("address of this host", Errno::EINVAL, path, &|one| {
            let own = Family::of(path.east.ip()).address(8, 1);
            one.streams[0].b.remote = Some(SocketAddr::new(own, 20_000));
        });
        case("must differ", Errno::EINVAL, path, &|one| {
            one.streams[0].b = one.streams[0].a;
        });
    }
    // The other version's relay port is one all the same.
    case("of another family", Errno::EINVAL, mixed, &|one| {
        one.streams[0].a.remote = one.streams[0].b.remote;
    });
    case("of another family", Errno::EINVAL, mixed, &|one| {
        one.streams[0].b.remote = one.streams[0].a.remote;
    });
    for (text, path, address) in [
        ("is unspecified", ipv4, "0.0.0.0"),
        ("is multicast", ipv4, "224.0.0.1"),
        ("is broadcast", ipv4, "255.255.255.255"),
        ("is broadcast", ipv4, "10.1.0.255"),
        ("is broadcast", ipv4, "10.2.0.255"),
        ("is loopback", ipv4, "127.0.0.1"),
        ("is unspecified", ipv6, "::"),
        ("is multicast", ipv6, "ff02::1"),
        ("is link-local", ipv6, "fe80::1"),
        ("is IPv4-mapped", ipv6, "::ffff:10.2.0.2"),
        ("is loopback", ipv6, "::1"),
        ("is unspecified", mixed, "::"),
        ("is multicast", mixed, "ff0e::1"),
        ("is link-local", mixed, "fe80::1"),
        ("is IPv4-mapped", mixed, "::ffff:10.2.0.2"),
    ] {
        let address: IpAddr = address.parse()?;
        case(text, Errno::EINVAL, path, &move |one| {
            one.streams[0].b.remote = Some(SocketAddr::new(address, 5000));
        });
    }
    for (text, errno, session) in cases {
        let what = format!("{text}: {:?}", session.streams[0]);
        let refusal = refused(&relay, Command::SessionNew, &session.attributes())
            .with_context(|| what.clone())?;
        ensure!(
            refusal.errno == errno && refusal.text.contains(text),
            "{what}: {refusal:?}"
        );
    }
    Ok(())
}

fn addresses_that_are_no_hosts_cannot_be_local(lab: &Lab) -> Result<()> {
    let (_net, relay) = idle_relay(lab)?;
    for (text, address) in [
        ("is unspecified", "0.0.0.0"),
        ("is multicast", "239.0.0.1"),
        ("is broadcast", "255.255.255.255"),
        ("is unspecified", "::"),
        ("is multicast", "ff02::1"),
        ("is link-local", "fe80::1"),
        ("is IPv4-mapped", "::ffff:10.1.0.1"),
    ] {
        let message = Attributes::new()
            .bytes(config::LOCAL_ADDRESS, &octets(WEST))
            .bytes(config::LOCAL_ADDRESS, &octets(address.parse()?));
        let refusal = refused(&relay, Command::ConfigSet, &message).context(address)?;
        ensure!(
            refusal.errno == Errno::EINVAL && refusal.text.contains(text),
            "{address}: {refusal:?}"
        );
    }
    Ok(())
}

/// This many sessions on ports of their own.
pub(super) fn many(count: u16) -> Vec<Session> {
    (0..count)
        .map(|number| {
            let port = PORTS.0 + 4 * number;
            Session {
                label: format!("call {number}").into_bytes(),
                streams: streams(
                    (SocketAddr::new(WEST, port), Some(CALLER_RTP)),
                    (SocketAddr::new(EAST, port + 2), Some(CALLEE_RTP)),
                ),
                ..session()
            }
        })
        .collect()
}

fn a_bulk_command_makes_all_or_none(lab: &Lab) -> Result<()> {
    let (_net, relay) = idle_relay(lab)?;
    let mut sessions = many(100);
    let taken = relay.make(&sessions[99])?;
    let refusal = refused(&relay, Command::SessionBulkNew, &bulk_of(&sessions))?;
    ensure!(refusal.errno == Errno::EEXIST, "{refusal:?}");
    // Two of the same command are in each other's way, too.
    let twice = [
        sessions[0].clone(),
        sessions[1].clone(),
        sessions[0].clone(),
    ];
    let refusal = refused(&relay, Command::SessionBulkNew, &bulk_of(&twice))?;
    ensure!(refusal.errno == Errno::EEXIST, "{refusal:?}");
    sessions.pop();
    let mut ids = relay.make_many(&sessions)?;
    ensure!(ids.len() == 99 && ids.is_sorted(), "{ids:?}");
    ensure!(relay.sessions()?.len() == 100, "not all were made");
    ids.push(ids[98] + 1000);
    let refusal = refused(&relay, Command::SessionBulkDel, &bulk_ids(&ids))?;
    ensure!(refusal.errno == Errno::ENOENT, "{refusal:?}");
    ids.pop();
    relay.end_many(&ids)?;
    let left = relay.sessions()?;
    ensure!(left.len() == 1 && left[0].id == taken, "{left:?}");
    Ok(())
}

fn ends_that_come_together_are_told_in_few_datagrams(lab: &Lab) -> Result<()> {
    let (net, relay) = idle_relay(lab)?;
    let mut sessions = many(100);
    // One that needs more room than the others, and much of it.
    let long = &mut sessions[50];
    long.label = vec![b'l'; LABEL_MAX as usize];
    let wanted: Vec<_> = sessions
        .iter()
        .map(|session| session.label.clone())
        .collect();
    type End = fn(&Relay, &[Session], &[u64]) -> Result<()>;
    let ends: [(&str, End); 3] = [
        ("deleted", |relay, _, ids| relay.end_many(ids)),
        ("flushed", |relay, _, _| relay.flush(None).map(drop)),
        ("replaced", |relay, sessions, _| {
            // Each takes the ports of one.
            let of = |session: &Session| session.attributes().bytes(attr::REPLACE, &[]);
            let all = sessions.iter().map(of);
            let bulk = all.fold(Attributes::new(), |bulk, one| {
                bulk.nest(bulk::SESSION, &one)
            });
            relay.make_bulk(&bulk).map(drop)
        }),
    ];
    for (what, end) in ends {
        let ids = relay.make_many(&sessions)?;
        let events = Events::subscribe(&net.relay)?;
        end(&relay, &sessions, &ids)?;
        let (mut told, mut datagrams) = (Vec::new(), 0);
        while told.len() < ids.len() {
            told.extend(events.next_together()?);
            datagrams += 1;
        }
        ensure!(events.is_quiet(), "{what}: more than was {what}");
        ensure!(
            told.iter().map(|session| session.id).eq(ids)
                && told.iter().map(|session| &session.label).eq(&wanted),
            "{what}: {told:?}"
        );
        lab.step(format!("100 {what}: {datagrams} datagrams"));
        ensure!(datagrams <= 100 / 5, "{what}: {datagrams} datagrams");
    }
    Ok(())
}

fn a_change_that_is_refused_changes_nothing(lab: &Lab) -> Result<()> {
    let call = Call::new(lab, Path::IPV4)?;
    let moved = SocketAddr::new(CALLEE_RTP.ip(), 42_000);
    let mut changed = streams((WEST_RTP, Some(CALLER_RTP)), (EAST_RTP, Some(moved)));
    // The second stream is not one of the session.
    changed[1].b.local = rtcp_of(rtcp_of(EAST_RTP));
    let mut attributes = id_of(call.id);
    for stream in &changed {
        attributes = attributes.nest(attr::STREAM, &stream.attributes());
    }
    let refusal = refused(&call.relay, Command::SessionSet, &attributes)?;
    ensure!(refusal.errno == Errno::ENOENT, "{refusal:?}");
    let refusal = refused(&call.relay, Command::SessionSet, &id_of(call.id + 1))?;
    ensure!(refusal.errno == Errno::ENOENT, "{refusal:?}");
    let sent = call.caller.send_rtp(WEST_RTP, 0..10)?;
    expect(&call.net.at_callee, EAST_RTP, CALLEE_RTP, &sent)?;
    Ok(())
}

fn without_privilege_nothing_is_told_and_nothing_done(lab: &Lab) -> Result<()> {
    let (net, relay) = idle_relay(lab)?;
    let id = relay.make(&session())?;
    let before = Table::read(&relay)?;
    let mut messages = valid_messages(id);
    messages.push((Command::ConfigGet, Attributes::new()));
    messages.push((Command::TotalsGet, Attributes::new()));
    net.relay.enter(|| {
        privilege::drop_network_administration()?;
        let netlink = Netlink::open_here(FAMILY_NAME)?;
        for (command, message) in &messages {
            let outcome = netlink.call(*command as u8, 0, message)?;
            ensure!(
                matches!(&outcome, Err(refusal) if refusal.errno == Errno::EPERM),
                "{} without privilege: {outcome:?}",
                command.name()
            );
        }
        let dump = netlink.call(
            Command::SessionGet as u8,
            libc::NLM_F_DUMP,
            &Attributes::new(),
        )?;
        ensure!(
            matches!(&dump, Err(refusal) if refusal.errno == Errno::EPERM),
            "a dump without privilege: {dump:?}"
        );
        for group in [GROUP_EVENTS, GROUP_REPORTS] {
            let joined = netlink.subscribe(group)?;
            ensure!(
                joined == Err(Errno::EPERM),
                "{group} without privilege: {joined:?}"
            );
        }
        Ok(())
    })?;
    ensure!(
        Table::read(&relay)? == before,
        "a command without privilege changed the table"
    );
    Ok(())
}

fn namespaces_know_nothing_of_each_other(lab: &Lab) -> Result<()> {
    let call = Call::new(lab, Path::IPV4)?;
    // The callee's namespace is a relay of its own, with the same numbers.
    let other = Relay::open(&call.net.callee)?;
    ensure!(
        other.config()?.addresses.is_empty(),
        "it has the other namespace's settings"
    );
    ensure!(
        other.sessions()?.is_empty(),
        "it has the other namespace's sessions"
    );
    let events = Events::subscribe(&call.net.callee)?;
    other.configure((41_000, 41_009), &[WEST, EAST])?;
    let mut same = session();
    same.streams = streams(
        (SocketAddr::new(WEST, 41_000), Some(CALLER_RTP)),
        (SocketAddr::new(EAST, 41_002), Some(CALLEE_RTP)),
    );
    let id = other.make(&same)?;
    for attributes in [id_of(call.id), id_of(id)] {
        let here = call.relay.call(Command::SessionGet, &attributes)?.is_ok();
        let there = other.call(Command::SessionGet, &attributes)?.is_ok();
        ensure!(here != there || call.id == id, "one id in two namespaces");
    }
    ensure!(other.flush(None)? == 1, "a flush went beyond its namespace");
    ensure!(events.next()?.id == id, "another event");
    call.relay.end(call.id)?;
    // An event of this namespace comes after that one's would have.
    let last = other.make(&same)?;
    other.end(last)?;
    ensure!(events.next()?.id == last, "an event of another namespace");
    Ok(())
}

fn an_address_in_use_cannot_be_taken_away(lab: &Lab) -> Result<()> {
    let call = Call::new(lab, Path::IPV4)?;
    let other = call.relay.make(&session_on(Path::IPV6.nth(1)))?;
    let [west, east, west6, east6] = LOCALS;
    for left in [[west, west6, east6], [west, east, west6]] {
        let message = left.iter().fold(Attributes::new(), |message, address| {
            message.bytes(config::LOCAL_ADDRESS, &octets(*address))
        });
        let refusal = refused(&call.relay, Command::ConfigSet, &message)?;
        ensure!(refusal.errno == Errno::EBUSY, "{refusal:?}");
    }
    call.relay.end(other)?;
    // More addresses and another range are no harm to the call.
    call.relay
        .configure((20_000, 30_000), &[EAST, WEST, Family::Ipv6.address(5, 1)])?;
    let sent = call.caller.send_rtp(WEST_RTP, 0..10)?;
    expect(&call.net.at_callee, EAST_RTP, CALLEE_RTP, &sent)?;
    call.relay.end(call.id)?;
    call.relay.configure((20_000, 30_000), &[WEST])?;
    Ok(())
}
