// SPDX-License-Identifier: MIT OR Apache-2.0

//! The TSLs of a configuration: where each is, what it has of its own, and whom it serves.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use relay::ports::Ranges;
use serde::{Deserialize, Serialize};
use serde_with::{DeserializeFromStr, SerializeDisplay};

use super::checks::repeated;
use super::source::Source;
use super::{Allowed, ConfigError, Listen, Network, Settings};
use crate::addresses::{Addresses, Mapping};
use crate::intent::PORT_MIN;
use crate::ports::{BLOCK, OVERSHOOT, Range};
use crate::tls::Files;
use crate::tsl::remote::address::Address;

/// One TSL, with all that is needed to work with it.
#[derive(Clone, Debug, PartialEq)]
pub struct TslConfig {
    /// Its URL as it was written: its name in messages, and for consistent hashing.
    pub name: String,
    /// Where it is.
    pub url: TslUrl,
    /// The set it belongs to.
    pub set: u32,
    /// How many calls it gets in proportion to others of its set.
    pub weight: u32,
    /// Its relay addresses.
    pub addresses: Addresses,
    /// Its relay ports, one range at least, which have none in common.
    pub ports: Vec<Range>,
}

impl TslConfig {
    /// All ports that are the relay's.
    pub fn owned_ports(&self) -> Vec<RangeInclusive<u16>> {
        self.ports.iter().map(Range::owned).collect()
    }
}

/// When a TSL counts as gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    /// After this long without an answer it gets no new calls (`lreproxy_tout`).
    pub timeout: Duration,
    /// How often an engine is sent a request (`lreproxy_retr`).
    pub tries: u32,
    /// After this long the outcome of a command counts as unknown (`lreproxy_tout` times
    /// `lreproxy_retr`).
    pub bound: Duration,
    /// A TSL that answers nothing is left alone for this long (`lreproxy_disable_tout`).
    pub disable: Duration,
}

/// Where a TSL is.
#[derive(Clone, Debug, DeserializeFromStr, Eq, Ord, PartialEq, PartialOrd, SerializeDisplay)]
pub enum TslUrl {
    /// The kernel module of this host.
    Local,
    /// The relay inside this process.
    Userspace,
    /// What `lrep-cl tsl` serves there.
    Remote(Address),
    /// What speaks the lreproxy protocol over UDP there; never a unix socket.
    Engine(Address),
}

impl TslUrl {
    /// Whether it is on this host, so that its addresses are.
    pub fn is_here(&self) -> bool {
        matches!(self, Self::Local | Self::Userspace)
    }
}

impl FromStr for TslUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let address = |address: &str| {
            let parsed = address.parse::<Address>();
            parsed.map_err(|error| format!("`{text}`: {error}"))
        };
        if let Some(engine) = text.strip_prefix("udp:") {
            return match address(engine)? {
                Address::Unix(_) => {
                    Err(format!("`{text}`: an engine has an address: udp:HOST:PORT"))
                }
                engine => Ok(Self::Engine(engine)),
            };
        }
        match text.strip_prefix("grpc:") {
            Some(host) => address(host).map(Self::Remote),
            None if text == "local" => Ok(Self::Local),
            None if text == "userspace" => Ok(Self::Userspace),
            None => Err(format!(
                "`{text}` is no TSL: allowed are local, userspace, grpc:HOST:PORT, \
                 grpc:unix:/PATH and udp:HOST:PORT"
            )),
        }
    }
}

impl fmt::Display for TslUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("local"),
            Self::Userspace => f.write_str("userspace"),
            Self::Remote(address) => write!(f, "grpc:{address}"),
            Self::Engine(address) => write!(f, "udp:{address}"),
        }
    }
}

/// TSLs of one set, in the words of Kamailio's parameter: `[SET ==] URL[=WEIGHT] URL[=WEIGHT]...`.
#[derive(Clone, Debug, DeserializeFromStr, PartialEq, Eq, SerializeDisplay)]
pub struct TslSet {
    /// The number of the set.
    pub set: u32,
    /// Its TSLs and their weights.
    pub members: Vec<(TslUrl, u32)>,
}

impl FromStr for TslSet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (set, rest) = match text.split_once("==") {
            Some((set, rest)) => {
                let number = set.trim().parse();
                let bad = |_| format!("`{}` is no number of a set, as in `1 == local`", set.trim());
                (number.map_err(bad)?, rest)
            }
            None => (0, text),
        };
        let members = rest
            .split_whitespace()
            .map(|member| match member.rsplit_once('=') {
                Some((url, weight)) => {
                    let bad = |_| format!("`{weight}` is no weight, as in `{url}=2`");
                    Ok((url.parse()?, weight.parse().map_err(bad)?))
                }
                None => Ok((member.parse()?, 1)),
            })
            .collect::<Result<Vec<_>, String>>()?;
        if members.is_empty() {
            return Err(format!("`{text}` names no TSL, as `0 == local` does"));
        }
        Ok(Self { set, members })
    }
}

impl fmt::Display for TslSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let member = |(url, weight): &(TslUrl, u32)| {
            let url = url.to_string();
            // What stands behind the last `=` would be read as a weight.
            if *weight != 1 || url.contains('=') {
                format!("{url}={weight}")
            } else {
                url
            }
        };
        let members: Vec<_> = self.members.iter().map(member).collect();
        let members = members.join(" ");
        // What stands before the first `==` would be read as a set.
        if self.set != 0 || members.contains("==") {
            write!(f, "{} == ", self.set)?;
        }
        f.write_str(&members)
    }
}

/// Whom a set serves; its text form is `LISTENER=SET` or `NETWORK=SET`.
#[derive(Clone, Debug, DeserializeFromStr, PartialEq, Eq, SerializeDisplay)]
pub struct SetRule {
    /// Who is served.
    pub who: Who,
    /// By which set.
    pub set: u32,
}

/// Some SIP servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// Those that ask this listener.
    Listener(Listen),
    /// Those with such an address.
    Network(Network),
}

impl SetRule {
    /// Whether it is about a client of this listener with this address.
    pub fn is_about(&self, listen: &Listen, address: Option<IpAddr>) -> bool {
        match &self.who {
            Who::Listener(listener) => listener == listen,
            Who::Network(network) => address.is_some_and(|address| network.contains(address)),
        }
    }
}

/// Whether these rules are about every client of a listener, when such addresses are let in.
pub fn are_named(rules: &[SetRule], listen: &Listen, allow: &[Allowed]) -> bool {
    let is_named = |allowed: &Allowed| {
        rules.iter().any(|rule| match &rule.who {
            Who::Listener(_) => false,
            Who::Network(network) => network.covers(&allowed.network),
        })
    };
    rules.iter().any(|rule| rule.is_about(listen, None))
        || (matches!(listen, Listen::Udp(_))
            && allow
                .iter()
                .filter(|allowed| allowed.is_about(listen))
                .all(is_named))
}

impl FromStr for SetRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (who, set) = text.rsplit_once('=')?;
            let (who, set) = (who.trim(), set.trim().parse().ok()?);
            let listener = who.parse().map(Who::Listener);
            let who = listener.or_else(|_| who.parse().map(Who::Network)).ok()?;
            Some(Self { who, set })
        };
        parse().ok_or_else(|| {
            format!(
                "`{text}` is of neither form: allowed are udp:127.0.0.1:22333=1 for those who ask \
                 a listener and 192.0.2.0/24=1 for those who have an address"
            )
        })
    }
}

impl fmt::Display for SetRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.who {
            Who::Listener(listen) => write!(f, "{listen}={}", self.set),
            Who::Network(network) => write!(f, "{network}={}", self.set),
        }
    }
}

/// What one TSL has of its own; a key that is not given is as for all.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct MediaHost {
    /// As the key of this name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub internal_ip: Option<Ipv4Addr>,
    /// As the key of this name; its internal_ip when that is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_ip: Option<Ipv4Addr>,
    /// As the key of this name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advertise: Option<Vec<Mapping>>,
    /// As the key of this name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_port: Option<u16>,
    /// As the key of this name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_port: Option<u16>,
    /// As the key of this name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port_ranges: Option<Vec<Range>>,
}

/// The media hosts by URL.
pub type MediaHosts = BTreeMap<TslUrl, MediaHost>;

/// The files for TLS: all or none.
pub fn tls_of(settings: &Settings, source: &Source) -> Result<Option<Files>, ConfigError> {
    let files = [
        ("tls_cert", &settings.tls_cert),
        ("tls_key", &settings.tls_key),
        ("tls_ca", &settings.tls_ca),
    ];
    if let [
        (_, Some(certificate)),
        (_, Some(key)),
        (_, Some(authorities)),
    ] = files
    {
        return Ok(Some(Files {
            certificate: certificate.clone(),
            key: key.clone(),
            authorities: authorities.clone(),
        }));
    }
    match files.iter().find(|(_, file)| file.is_some()) {
        None => Ok(None),
        Some((key, _)) => {
            let problem = "tls_cert, tls_key and tls_ca need each other: give all three";
            Err(source.bad(key, problem))
        }
    }
}

/// Every TSL with its addresses and ports.
pub fn tsls_of(settings: &Settings, source: &Source) -> Result<Vec<TslConfig>, ConfigError> {
    let members: Vec<_> = settings
        .lreproxy_sock
        .iter()
        .flat_map(|line| line.members.iter().map(|member| (line.set, member)))
        .collect();
    if members.is_empty() {
        return Err(source.bad("lreproxy_sock", "no call could be relayed: name a TSL"));
    }
    let urls: Vec<_> = members.iter().map(|(_, (url, _))| url).collect();
    if let Some(twice) = repeated(&urls) {
        return Err(source.bad("lreproxy_sock", format!("{twice} is named twice")));
    }
    if let Some(unused) = settings.media.keys().find(|url| !urls.contains(url)) {
        return Err(source.bad("media", format!("{unused} is not in lreproxy_sock")));
    }
    let mut tsls = Vec::new();
    for (set, (url, weight)) in members {
        let own = settings.media.get(url).cloned().unwrap_or_default();
        let Some(internal) = own.internal_ip.or(settings.internal_ip) else {
            return Err(source.bad(
                "internal_ip",
                "must be given, in the file, as --internal-ip or as LREP_INTERNAL_IP: the IPv4 \
                 address of this host that parties send their media to",
            ));
        };
        let external = own.external_ip.or(own.internal_ip).or(settings.external_ip);
        let external = external.unwrap_or(internal);
        for (key, own, address) in [
            ("internal_ip", own.internal_ip, internal),
            ("external_ip", own.external_ip, external),
        ] {
            if !is_host(address) {
                let problem = "is not the address of a host";
                return Err(source.bad_of(own.map(|_| url), key, problem));
            }
        }
        let ports = ports_of(settings, source, url, &own)?;
        let of = own.advertise.is_some().then_some(url);
        let mappings = own.advertise.unwrap_or_else(|| settings.advertise.clone());
        if mappings.iter().any(|mapping| !is_host(mapping.local)) {
            let problem = "the local address is not the address of a host";
            return Err(source.bad_of(of, "advertise", problem));
        }
        let advertised: Vec<_> = mappings.iter().map(|map| map.advertised).collect();
        if let Some(twice) = repeated(&advertised) {
            let problem = format!("{twice} stands for two local addresses");
            return Err(source.bad_of(of, "advertise", problem));
        }
        tsls.push(TslConfig {
            name: url.to_string(),
            url: url.clone(),
            set,
            weight: *weight,
            addresses: Addresses {
                internal,
                external,
                mappings,
            },
            ports,
        });
    }
    Ok(tsls)
}

/// The ports of a TSL: its own, in either way they can be said, or else those of all.
fn ports_of(
    settings: &Settings,
    source: &Source,
    url: &TslUrl,
    own: &MediaHost,
) -> Result<Vec<Range>, ConfigError> {
    let has_own = own.start_port.or(own.end_port).is_some();
    let own_ranges = own.port_ranges.as_deref().unwrap_or_default();
    if has_own && !own_ranges.is_empty() {
        let problem = "stands for start_port and end_port: remove it, or these";
        return Err(source.bad_of(Some(url), "port_ranges", problem));
    }
    let (ranges, of) = if own_ranges.is_empty() {
        (settings.port_ranges.as_slice(), None)
    } else {
        (own_ranges, Some(url))
    };
    if !has_own && !ranges.is_empty() {
        return check_ranges(ranges)
            .map(|()| ranges.to_vec())
            .map_err(|problem| source.bad_of(of, "port_ranges", problem));
    }
    let bad = |own: Option<u16>, key, problem| Err(source.bad_of(own.map(|_| url), key, problem));
    let start_port = own.start_port.unwrap_or(settings.start_port);
    if start_port < PORT_MIN || start_port % 2 != 0 {
        let problem = "must be an even number from 1024 on";
        return bad(own.start_port, "start_port", problem);
    }
    let end_port = own.end_port.unwrap_or(settings.end_port);
    if end_port < start_port.saturating_add(BLOCK - 1) {
        let problem = "must be at least start_port + 3: a call takes four ports";
        return bad(own.end_port, "end_port", problem);
    }
    if end_port > u16::MAX - OVERSHOOT - 1 {
        let problem = "must be at most 65528: SIP servers use up to 6 ports more";
        return bad(own.end_port, "end_port", problem);
    }
    Ok(vec![Range::of_client(start_port, end_port)])
}

/// Whether ranges make sense, by themselves and together.
fn check_ranges(ranges: &[Range]) -> Result<(), String> {
    let mut known = Ranges::EMPTY;
    for range in ranges {
        let Range { first, last, .. } = *range;
        known = known
            .with(relay::ports::Range { first, last })
            .map_err(|unfit| unfit.to_string())?;
        if first < PORT_MIN || first % 2 != 0 {
            return Err(format!(
                "{range} must begin at an even port from {PORT_MIN} on"
            ));
        }
        if range.blocks() == 0 {
            return Err(format!(
                "{range} must have four ports at least, as a call takes them"
            ));
        }
    }
    Ok(())
}

/// A listener that a relay of this host would keep its requests from, and that relay.
pub fn is_hidden<'c>(
    listeners: &'c [Listen],
    tsls: &'c [TslConfig],
) -> Option<(&'c Listen, &'c TslConfig)> {
    let hides = |tsl: &TslConfig, address: &SocketAddr| {
        let mut ports = tsl.ports.iter().map(Range::owned);
        let mut locals = tsl.addresses.locals().into_iter();
        tsl.url.is_here()
            && ports.any(|range| range.contains(&address.port()))
            && locals.any(|local| local == address.ip())
    };
    listeners.iter().find_map(|listen| match listen {
        Listen::Udp(address) => {
            let tsl = tsls.iter().find(|tsl| hides(tsl, address))?;
            Some((listen, tsl))
        }
        Listen::Unix(_) => None,
    })
}

fn is_host(address: Ipv4Addr) -> bool {
    !(address.is_unspecified() || address.is_multicast() || address.is_broadcast())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_reads_back_from_its_text_and_bad_ones_say_what_is_allowed() {
        for text in [
            "local",
            "3 == local=2",
            "userspace",
            "2 == udp:192.0.2.1:8080 udp:[2001:db8::1]:22333=3",
            "1 == grpc:media1.example.org:22334 grpc:[2001:db8::1]:22334=2 grpc:unix:/run/tsl",
            // A path may hold what set and weight are told by.
            "grpc:unix:/a=b=1",
            "0 == grpc:unix:/a==2",
        ] {
            let set: TslSet = text.parse().expect(text);
            assert_eq!(set.to_string(), text);
        }
        assert_eq!(
            "0==local=5".parse(),
            Ok(TslSet {
                set: 0,
                members: vec![(TslUrl::Local, 5)]
            })
        );
        for (text, part) in [
            ("", "names no TSL"),
            ("1 ==", "names no TSL"),
            ("one == local", "no number of a set"),
            ("local=heavy", "no weight"),
            ("nowhere", "no TSL"),
            ("grpc:nowhere", "HOST:PORT"),
            ("udp:nowhere", "HOST:PORT"),
            ("udp:unix:/run/engine", "udp:HOST:PORT"),
        ] {
            let error = text.parse::<TslSet>().expect_err(text);
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn a_rule_is_about_a_listener_or_about_addresses() {
        let listen: Listen = "udp:127.0.0.1:22333".parse().expect("valid");
        let other: Listen = "unix:/run/a".parse().expect("valid");
        let address = "192.0.2.7".parse().ok();
        let rule = |text: &str| text.parse::<SetRule>().expect("valid");
        assert!(rule("udp:127.0.0.1:22333=4").is_about(&listen, None));
        assert!(!rule("udp:127.0.0.1:22333=4").is_about(&other, address));
        assert!(rule("192.0.2.0/24=4").is_about(&other, address));
        assert!(!rule("192.0.2.0/24=4").is_about(&other, None));
        for text in ["udp:127.0.0.1:22333=4", "unix:/run/a=1", "2001:db8::/32=2"] {
            assert_eq!(rule(text).to_string(), text);
        }
        let error = "kamailio=1".parse::<SetRule>().expect_err("bad");
        assert!(error.contains("192.0.2.0/24=1"), "{error}");
    }
}
