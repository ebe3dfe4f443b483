// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which settings make no sense, alone or together. What each TSL has of its own is looked at in
//! [`super::tsls`].

use nix::unistd::{Gid, Group};

use super::source::Source;
use super::tsls::{self, are_named};
use super::{Admission, ConfigError, Listen, Settings, TslConfig};
use crate::ports;

/// Most seconds or times that make sense: a day.
const WAIT_MAX: u32 = 86_400;

/// Longest silence after which a party may be followed, that of the netlink family.
const ROAM_AFTER_MAX: u32 = 60_000;

/// Whether somebody may ask each listener, and only listeners that are there.
pub fn listeners(settings: &Settings, source: &Source) -> Result<(), ConfigError> {
    let (listen, allow) = (&settings.listen, &settings.allow);
    if listen.is_empty() {
        let problem = "no SIP server could ever ask: name at least one socket";
        return Err(source.bad("listen", problem));
    }
    if let Some(twice) = repeated(listen) {
        return Err(source.bad("listen", format!("{twice} is listed twice")));
    }
    let is_udp = |listen: &&Listen| matches!(listen, Listen::Udp(_));
    let is_asked = |listen: &Listen| allow.iter().any(|allowed| allowed.is_about(listen));
    let mut udp = listen.iter().filter(is_udp);
    if let Some(unasked) = udp.find(|listen| !is_asked(listen)) {
        let problem = format!(
            "no SIP server may ask {unasked}: name at least one, or listen on unix sockets only"
        );
        return Err(source.bad("allow", problem));
    }
    let mut named = allow.iter().filter_map(|allowed| allowed.listener.as_ref());
    let is_there = |named: &&Listen| is_udp(named) && listen.contains(named);
    match named.find(|named| !is_there(named)) {
        Some(absent) => Err(source.bad("allow", format!("{absent} is no UDP socket of `listen`"))),
        None => Ok(()),
    }
}

/// Whether everybody is served by a set that has a TSL.
pub fn sets(settings: &Settings, tsls: &[TslConfig], source: &Source) -> Result<(), ConfigError> {
    let has_tsl = |set: u32| tsls.iter().any(|tsl| tsl.set == set);
    if let Some(rule) = settings.sets.iter().find(|rule| !has_tsl(rule.set)) {
        let problem = format!("set {} has no TSL: name one in lreproxy_sock", rule.set);
        return Err(source.bad("sets", problem));
    }
    let mut listeners = settings.listen.iter();
    let is_unnamed = |listen: &&Listen| !are_named(&settings.sets, listen, &settings.allow);
    match listeners.find(is_unnamed) {
        Some(listen) if !has_tsl(0) => Err(source.bad(
            "lreproxy_sock",
            format!(
                "set 0 has no TSL, but serves whom `sets` does not name: name a TSL without \
                 `N ==`, or `{listen}=N` in sets"
            ),
        )),
        _ => Ok(()),
    }
}

/// Whether requests come to the listeners, and not to the relay.
pub fn reachable(
    settings: &Settings,
    tsls: &[TslConfig],
    source: &Source,
) -> Result<(), ConfigError> {
    match tsls::is_hidden(&settings.listen, tsls) {
        Some((listen, tsl)) => Err(source.bad(
            "listen",
            format!(
                "no request would come to {listen}: its port is among the relay's, {}, on an \
                 address of the relay; use another one",
                ports::list(&tsl.ports)
            ),
        )),
        None => Ok(()),
    }
}

/// Whether what is waited for comes within a day, and is waited for at all where it must be.
pub fn waits(settings: &Settings, source: &Source) -> Result<(), ConfigError> {
    for (key, value) in [
        ("lreproxy_tout", settings.lreproxy_tout),
        ("lreproxy_retr", settings.lreproxy_retr),
        ("lreproxy_disable_tout", settings.lreproxy_disable_tout),
        ("hash_table_tout", settings.hash_table_tout),
    ] {
        if !(1..=WAIT_MAX).contains(&value) {
            return Err(source.bad(key, format!("must be 1 to {WAIT_MAX}")));
        }
    }
    if settings.drain_timeout > WAIT_MAX {
        return Err(source.bad("drain_timeout", format!("must be at most {WAIT_MAX}")));
    }
    Ok(())
}

/// Whether the bounds of the idle timeout are in order and the kernel can have it.
pub fn idle_timeouts(settings: &Settings, source: &Source) -> Result<(), ConfigError> {
    let seconds_max = genl_proto::generated::TIMEOUT_MAX_MS / 1000;
    let (min, max) = (settings.idle_timeout_min, settings.idle_timeout_max);
    if !(1..=seconds_max).contains(&min) {
        let problem = format!("must be 1 to {seconds_max} seconds");
        return Err(source.bad("idle_timeout_min", problem));
    }
    if !(min..=seconds_max).contains(&max) {
        let problem = format!("must be idle_timeout_min to {seconds_max} seconds");
        return Err(source.bad("idle_timeout_max", problem));
    }
    match settings.idle_timeout {
        Some(timeout) if !(min..=max).contains(&timeout) => Err(source.bad(
            "idle_timeout",
            "must be idle_timeout_min to idle_timeout_max seconds",
        )),
        _ => Ok(()),
    }
}

/// Whether those who may be followed are such that can be.
pub fn roaming(settings: &Settings, source: &Source) -> Result<(), ConfigError> {
    if settings.roam_after > ROAM_AFTER_MAX {
        let problem = format!("must be at most {ROAM_AFTER_MAX} milliseconds");
        return Err(source.bad("roam_after", problem));
    }
    if settings.roam_after != 0 && settings.admission == Admission::Signalled {
        let problem =
            "nobody is followed with admission = \"signalled\": set admission, or leave it 0";
        return Err(source.bad("roam_after", problem));
    }
    Ok(())
}

/// The group of this name.
pub fn group(key: &str, name: Option<&str>, source: &Source) -> Result<Option<Gid>, ConfigError> {
    match name.map(Group::from_name) {
        None => Ok(None),
        Some(Ok(Some(group))) => Ok(Some(group.gid)),
        Some(_) => Err(source.bad(key, "there is no such group on this host")),
    }
}

/// The first element that has come before.
pub fn repeated<T: PartialEq>(list: &[T]) -> Option<&T> {
    (1..list.len()).find_map(|at| list[..at].contains(&list[at]).then_some(&list[at]))
}
