// SPDX-License-Identifier: MIT OR Apache-2.0

//! The daemon's configuration.
//!
//! [`Settings`] is the one definition of every key: its name, type, default and description. From
//! it come the key of the TOML file, the flag (`start_port` is `--start-port`), the environment
//! variable (`LREP_START_PORT`), the help and the documented example file. Flags win over the
//! environment, the environment over the file, the file over the defaults.
//!
//! [`Config`] is what the daemon works with: settings that were found to make sense together.

mod checks;
mod error;
mod reload;
mod settings;
mod source;
mod tsls;
mod values;

use std::net::IpAddr;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{ArgMatches, FromArgMatches};
use nix::unistd::Gid;

pub use self::error::ConfigError;
pub use self::reload::{Change, Changes};
pub use self::settings::{CONTROL_SOCK, Key, Settings, flag, variable, without_defaults};
use self::source::Source;
pub use self::tsls::{Health, MediaHost, MediaHosts, SetRule, TslConfig, TslSet, TslUrl, Who};
pub use self::values::{Admission, Allowed, Listen, LogFormat, LogLevel, Mode, Network};
use crate::balance::Algorithm;
use crate::intent::Timeouts;
use crate::notify::Target;
use crate::ports::Ports;
use crate::tls::Files;
use crate::tsl::{Learning, Limits, Patience, Roam};

/// The file that is read when none is named.
pub const DEFAULT_FILE: &str = "/etc/lreproxy/lrep-cl.toml";

/// How far the sequence numbers may have gone on meanwhile: ten seconds of 20 ms packets.
const ROAM_SEQUENCES: u16 = 500;

/// The settings of `file` (or of the default file, should it exist), with what flags and
/// environment say in `explicit` on top.
///
/// `explicit` must hold no defaults: see [`without_defaults`].
pub fn load(file: Option<&Path>, explicit: &ArgMatches) -> Result<Loaded, ConfigError> {
    let (mut source, mut settings) = match file {
        Some(path) => source::read(path)?,
        None if Path::new(DEFAULT_FILE).exists() => source::read(Path::new(DEFAULT_FILE))?,
        None => (Source::default(), Settings::default()),
    };
    settings
        .update_from_arg_matches(explicit)
        .map_err(ConfigError::Flag)?;
    for key in explicit.ids() {
        let place = match explicit.value_source(key.as_str()) {
            Some(ValueSource::EnvVariable) => variable(key.as_str()),
            _ => flag(key.as_str()),
        };
        source.said.insert(key.to_string(), place);
    }
    source.check_ports(&settings)?;
    Loaded::new(settings, source)
}

/// What was said, and what it amounts to.
#[derive(Debug)]
pub struct Loaded {
    /// What was said.
    pub settings: Settings,
    /// What it amounts to.
    pub config: Config,
    source: Source,
}

impl Loaded {
    fn new(settings: Settings, source: Source) -> Result<Self, ConfigError> {
        let config = Config::new(&settings, &source)?;
        Ok(Self {
            settings,
            config,
            source,
        })
    }
}

/// Reads and checks a file alone.
pub fn check(path: &Path) -> Result<Config, ConfigError> {
    let (source, settings) = source::read(path)?;
    source.check_ports(&settings)?;
    Config::new(&settings, &source)
}

/// A configuration that makes sense.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Sockets to listen on, at least one.
    pub listen: Vec<Listen>,
    /// Permissions of unix sockets.
    pub unix_mode: u32,
    /// Group of unix sockets.
    pub unix_group: Option<Gid>,
    /// Who may ask over UDP.
    pub allow: Vec<Allowed>,
    /// Whether relay ports are to be kept from other sockets.
    pub reserve_ports: bool,
    /// Who is told which part of the ports.
    pub port_parts: Vec<Network>,
    /// The TSLs, at least one, in the order they were named.
    pub tsls: Vec<TslConfig>,
    /// What is shown to TSLs of other hosts, and whom they have to be certified by.
    pub tls: Option<Files>,
    /// Whom a set other than 0 serves; the first that fits counts.
    pub sets: Vec<SetRule>,
    /// How new calls are distributed.
    pub algorithm: Algorithm,
    /// When a TSL counts as gone.
    pub health: Health,
    /// How long it is remembered where a call is.
    pub call_life: Duration,
    /// How many calls there is room to remember at first.
    pub calls_expected: usize,
    /// Idle timeouts of sessions.
    pub timeouts: Timeouts,
    /// Whose packets are relayed.
    pub learning: Learning,
    /// How much relays may take.
    pub limits: Limits,
    /// Most new calls per second.
    pub session_rate: Option<NonZero<u32>>,
    /// Most requests per second and address.
    pub request_rate: Option<NonZero<u32>>,
    /// Who is told when a call's media has ceased.
    pub timeout_sockets: Vec<Target>,
    /// How long living calls are waited for when stopping.
    pub drain_timeout: Duration,
    /// Where the operator's commands arrive.
    pub control_sock: PathBuf,
    /// Whose members may give them.
    pub control_group: Option<Gid>,
    /// Tag of this daemon's sessions.
    pub owner: u32,
    /// How much is logged.
    pub log_level: LogLevel,
    /// How log lines look.
    pub log_format: LogFormat,
}

impl Config {
    fn new(settings: &Settings, source: &Source) -> Result<Self, ConfigError> {
        checks::listeners(settings, source)?;
        let tsls = tsls::tsls_of(settings, source)?;
        let tls = tsls::tls_of(settings, source)?;
        checks::sets(settings, &tsls, source)?;
        checks::reachable(settings, &tsls, source)?;
        checks::waits(settings, source)?;
        checks::idle_timeouts(settings, source)?;
        checks::roaming(settings, source)?;
        if !settings.control_sock.is_absolute() {
            return Err(source.bad("control_sock", "must be an absolute path"));
        }
        let Some(algorithm) = Algorithm::of(settings.lrep_alg) else {
            return Err(source.bad("lrep_alg", "must be 0 to 5"));
        };
        let unix_group = checks::group("unix_group", settings.unix_group.as_deref(), source)?;
        let control_group =
            checks::group("control_group", settings.control_group.as_deref(), source)?;
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        let config = Self {
            listen: settings.listen.clone(),
            unix_mode: settings.unix_mode.bits(),
            unix_group,
            allow: settings.allow.clone(),
            reserve_ports: settings.reserve_ports,
            port_parts: settings.port_parts.clone(),
            tsls,
            tls,
            sets: settings.sets.clone(),
            algorithm,
            health: Health {
                timeout: seconds(settings.lreproxy_tout),
                tries: settings.lreproxy_retr,
                bound: seconds(settings.lreproxy_tout) * settings.lreproxy_retr,
                disable: seconds(settings.lreproxy_disable_tout),
            },
            call_life: seconds(settings.hash_table_tout),
            calls_expected: usize::try_from(settings.hash_table_size).unwrap_or(0),
            timeouts: Timeouts {
                fixed: settings.idle_timeout.map(seconds),
                min: seconds(settings.idle_timeout_min),
                max: seconds(settings.idle_timeout_max),
            },
            learning: Learning {
                mode: settings.admission.mode(),
                roam: NonZero::new(settings.roam_after).map(|after| Roam {
                    silence_ms: after.get(),
                    sequences: ROAM_SEQUENCES,
                }),
                ..Learning::default()
            },
            limits: Limits {
                sessions: settings.sessions_max,
                half_open: settings.half_open_max,
                memory: u64::from(settings.memory_max) << 20,
            },
            session_rate: NonZero::new(settings.session_rate),
            request_rate: NonZero::new(settings.request_rate),
            timeout_sockets: settings.timeout_socket.clone(),
            drain_timeout: seconds(settings.drain_timeout),
            control_sock: settings.control_sock.clone(),
            control_group,
            owner: settings.owner,
            log_level: settings.log_level,
            log_format: settings.log_format,
        };
        let parts = u32::from(config.parts());
        let has_room = |tsl: &TslConfig| Ports::most_clients(&tsl.ports) >= parts;
        if !config.tsls.iter().all(has_room) {
            return Err(source.bad("port_parts", "there are more parts than calls have room"));
        }
        Ok(config)
    }

    /// How long TSLs are waited for.
    pub fn patience(&self) -> Patience {
        Patience {
            timeout: self.health.timeout,
            tries: self.health.tries,
            bound: self.health.bound,
            life: self.call_life,
        }
    }

    /// Whether a client with this address may ask this listener.
    pub fn allows(&self, listener: usize, address: IpAddr) -> bool {
        let Some(listen) = self.listen.get(listener) else {
            return false;
        };
        let mut allow = self.allow.iter();
        allow.any(|allowed| allowed.is_about(listen) && allowed.network.contains(address))
    }

    /// How many parts the ports have.
    pub fn parts(&self) -> u16 {
        let listens_on_unix = self
            .listen
            .iter()
            .any(|listen| matches!(listen, Listen::Unix(_)));
        let named = |allowed: &Allowed| {
            let mut parts = self.port_parts.iter();
            parts.any(|part| part.covers(&allowed.network))
        };
        let has_rest = listens_on_unix || !self.allow.iter().all(named);
        let parts = u16::try_from(self.port_parts.len()).unwrap_or(u16::MAX);
        match parts {
            0 => 1,
            parts => parts.saturating_add(has_rest.into()),
        }
    }

    /// Which part a client with this address is told.
    pub fn part_of(&self, address: Option<IpAddr>) -> usize {
        let mut parts = self.port_parts.iter();
        let part = parts.position(|part| address.is_some_and(|address| part.contains(address)));
        part.unwrap_or(self.port_parts.len())
    }

    /// The set that serves a client of this listener with this address.
    pub fn set_of(&self, listener: usize, address: Option<IpAddr>) -> u32 {
        let rule = self.listen.get(listener).and_then(|listen| {
            let mut rules = self.sets.iter();
            rules.find(|rule| rule.is_about(listen, address))
        });
        rule.map_or(0, |rule| rule.set)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::ports;
    use crate::tsl::LearningMode;

    fn parse(text: &str) -> Result<Config, ConfigError> {
        let source = Source {
            path: Some("test.toml".into()),
            text: text.to_owned(),
            said: HashMap::new(),
        };
        let settings = toml::from_str(text).map_err(|error| ConfigError::Syntax {
            path: "test.toml".into(),
            error: Box::new(error),
        })?;
        source.check_ports(&settings)?;
        Config::new(&settings, &source)
    }

    fn failure(text: &str) -> String {
        parse(text).expect_err("bad").to_string()
    }

    #[test]
    fn an_unknown_key_is_an_error_that_names_the_line_and_what_is_allowed() {
        let text = failure("internal_ip = \"10.0.0.5\"\nstart_prot = 20000\n");
        for part in ["test.toml", "line 2", "start_prot", "start_port"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn a_value_of_the_wrong_form_is_an_error_that_names_the_line_and_what_is_allowed() {
        let cases = [
            ("listen = [\"tcp:1.2.3.4:5\"]", "udp:127.0.0.1:22333"),
            ("listen = [\"udp:0.0.0.0:22333\"]", "names no address"),
            ("listen = [\"udp:127.0.0.1:0\"]", "names no port"),
            ("listen = [\"unix:relative\"]", "absolute path"),
            ("allow = [\"nowhere\"]", "192.0.2.0/24"),
            ("unix_mode = \"999\"", "octal"),
            ("log_level = \"loud\"", "expected one of"),
            ("advertise = [\"1.2.3.4\"]", "ADVERTISED=LOCAL"),
            ("start_port = 70000", "70000"),
            ("port_ranges = [\"20000\"]", "20000-29999"),
            ("internal_ip = \"::1\"", "IPv4"),
            ("lreproxy_sock = [\"nowhere\"]", "no TSL"),
            ("sets = [\"kamailio=1\"]", "192.0.2.0/24=1"),
        ];
        for (line, part) in cases {
            let text = failure(&format!("owner = 7\n{line}\n"));
            assert!(
                text.contains("test.toml") && text.contains("line 2"),
                "{text}"
            );
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn values_that_make_no_sense_together_name_the_line_too() {
        let cases = [
            (
                "start_port = 20001",
                "test.toml:2: start_port: must be an even",
            ),
            (
                "start_port = 80",
                "test.toml:2: start_port: must be an even",
            ),
            (
                "end_port = 20002",
                "test.toml:2: end_port: must be at least",
            ),
            (
                "end_port = 65535",
                "test.toml:2: end_port: must be at most 65528",
            ),
            (
                "idle_timeout_min = 0",
                "test.toml:2: idle_timeout_min: must be 1",
            ),
            (
                "idle_timeout_max = 999999",
                "test.toml:2: idle_timeout_max:",
            ),
            ("idle_timeout = 100000", "test.toml:2: idle_timeout:"),
            ("listen = []", "test.toml:2: listen:"),
            (
                "roam_after = 300",
                "test.toml:2: roam_after: nobody is followed",
            ),
            (
                "roam_after = 60001",
                "test.toml:2: roam_after: must be at most 60000",
            ),
            (
                "listen = [\"unix:/a\", \"unix:/b\", \"unix:/a\"]",
                "test.toml:2: listen: unix:/a is listed twice",
            ),
            ("allow = []", "test.toml:2: allow: no SIP server may ask"),
            (
                "allow = [\"udp:127.0.0.1:1=127.0.0.1\"]",
                "allow: no SIP server may ask udp:127.0.0.1:22333",
            ),
            (
                "allow = [\"::1\", \"udp:127.0.0.1:1=127.0.0.1\"]",
                "allow: udp:127.0.0.1:1 is no UDP socket of `listen`",
            ),
            (
                "advertise = [\"192.0.2.1=10.0.0.5\", \"192.0.2.1=10.0.0.6\"]",
                "test.toml:2: advertise: 192.0.2.1 stands for two",
            ),
            (
                "listen = [\"udp:10.0.0.5:22333\"]",
                "test.toml:2: listen: no request would come to udp:10.0.0.5:22333",
            ),
            ("external_ip = \"0.0.0.0\"", "test.toml:2: external_ip:"),
            ("unix_group = \"no-such-group\"", "test.toml:2: unix_group:"),
            ("lreproxy_sock = []", "test.toml:2: lreproxy_sock:"),
            (
                "lreproxy_sock = [\"local\", \"1 == local\"]",
                "test.toml:2: lreproxy_sock: local is named twice",
            ),
            (
                "sets = [\"192.0.2.7=1\"]",
                "test.toml:2: sets: set 1 has no TSL",
            ),
            (
                "lreproxy_sock = [\"1 == local\"]",
                "test.toml:2: lreproxy_sock: set 0 has no TSL",
            ),
            (
                "lreproxy_sock = [\"1 == local\"]\nsets = [\"127.0.0.0/8=1\"]",
                "test.toml:2: lreproxy_sock: set 0 has no TSL",
            ),
            (
                "tls_key = \"/a\"",
                "test.toml:2: tls_key: tls_cert, tls_key and tls_ca need each other",
            ),
            ("lrep_alg = 6", "test.toml:2: lrep_alg: must be 0 to 5"),
            ("lreproxy_retr = 0", "test.toml:2: lreproxy_retr: must be 1"),
            (
                "[media.local]\nstart_port = 20001",
                "test.toml:3: media.\"local\".start_port: must be an even",
            ),
            (
                "port_ranges = [\"20001-29999\"]",
                "test.toml:2: port_ranges: 20001-29999 must begin at an even port from 1024 on",
            ),
            (
                "port_ranges = [\"20000-20002\"]",
                "test.toml:2: port_ranges: 20000-20002 must have four ports at least",
            ),
            (
                "port_ranges = [\"30000-20000\"]",
                "test.toml:2: port_ranges: the last port of 30000-20000 is below the first",
            ),
            (
                "port_ranges = [\"20000-29999\", \"40000-50000\", \"29000-30000\"]",
                "test.toml:2: port_ranges: 29000-30000 and 20000-29999 have ports in common",
            ),
            (
                "port_ranges = [\"2000-2003\", \"2010-2013\", \"2020-2023\", \"2030-2033\", \
                 \"2040-2043\", \"2050-2053\", \"2060-2063\", \"2070-2073\", \"2080-2083\"]",
                "test.toml:2: port_ranges: 8 at most",
            ),
            (
                "port_ranges = [\"20000-29999\"]\nend_port = 30000",
                "test.toml:2: port_ranges: stands for start_port and end_port: remove it, or \
                 test.toml:3: end_port",
            ),
            (
                "[media.local]\nport_ranges = [\"20000-29999\"]\nstart_port = 20000",
                "test.toml:3: media.\"local\".port_ranges: stands for start_port and end_port",
            ),
            (
                "media.local.internal_ip = \"0.0.0.0\"",
                "test.toml:2: media.\"local\".internal_ip: is not the address of a host",
            ),
            (
                "lreproxy_sock = [\"grpc:media1:1\"]\n[media.\"grpc:media1:1\"]\n\
                 start_port = 20000\nend_port = 65535",
                "test.toml:5: media.\"grpc:media1:1\".end_port: must be at most",
            ),
            (
                "port_ranges = [\"20000-20007\"]\nport_parts = [\"::1\", \"192.0.2.0/24\"]",
                "test.toml:3: port_parts: there are more parts",
            ),
        ];
        for (line, part) in cases {
            let text = failure(&format!("internal_ip = \"10.0.0.5\"\n{line}\n"));
            assert!(text.contains(part), "{text}");
        }
        assert!(failure("owner = 1").contains("internal_ip: must be given"));
    }

    #[test]
    fn ports_are_one_range_or_several_and_each_tsl_may_have_its_own() {
        let ports = |text: &str| {
            let text = format!("internal_ip = \"10.0.0.5\"\n{text}");
            let tsls = parse(&text).expect("valid").tsls;
            tsls.iter()
                .map(|tsl| ports::list(&tsl.ports))
                .collect::<Vec<_>>()
        };
        assert_eq!(ports(""), ["20000-30000"]);
        assert_eq!(ports("end_port = 40000"), ["20000-40000"]);
        let ranges = "port_ranges = [\"40000-49999\", \"20000-29999\"]\n";
        assert_eq!(ports(ranges), ["40000-49999, 20000-29999"]);
        let two = format!("{ranges}lreproxy_sock = [\"local grpc:a:1 grpc:b:1\"]\n");
        let own = "[media.\"grpc:a:1\"]\nport_ranges = [\"1024-2047\"]\n\
                   [media.\"grpc:b:1\"]\nstart_port = 22000";
        assert_eq!(
            ports(&format!("{two}{own}")),
            ["40000-49999, 20000-29999", "1024-2047", "22000-30000"]
        );
    }

    #[test]
    fn set_0_may_be_empty_when_everybody_has_another() {
        for sets in [
            "[\"udp:127.0.0.1:22333=1\"]",
            "[\"127.0.0.0/8=1\", \"::/0=1\"]",
        ] {
            let text = format!(
                "internal_ip = \"10.0.0.5\"\nlreproxy_sock = [\"1 == local\"]\nsets = {sets}\n"
            );
            assert_eq!(parse(&text).map(|config| config.tsls[0].set).ok(), Some(1));
        }
    }

    #[test]
    fn keys_about_learning_and_limits_say_what_the_kernel_is_told() {
        let text = "internal_ip = \"10.0.0.5\"\nadmission = \"nat\"\nroam_after = 300\n\
                    sessions_max = 1000\nhalf_open_max = 100\nmemory_max = 64\n";
        let config = parse(text).expect("valid");
        let roam = Roam {
            silence_ms: 300,
            sequences: 500,
        };
        assert_eq!(config.learning.mode, LearningMode::Nat);
        assert_eq!(config.learning.roam, Some(roam));
        let limits = Limits {
            sessions: 1000,
            half_open: 100,
            memory: 64 << 20,
        };
        assert_eq!(config.limits, limits);
        let plain = parse("internal_ip = \"10.0.0.5\"").expect("valid");
        assert_eq!(plain.learning, Learning::default());
        assert_eq!(plain.limits, Limits::default());
    }

    #[test]
    fn without_an_external_address_the_internal_one_serves_both_sides() {
        let config = parse("internal_ip = \"10.0.0.5\"").expect("valid");
        let addresses = &config.tsls[0].addresses;
        assert_eq!(addresses.external, addresses.internal);
    }

    #[test]
    fn a_single_address_is_a_network_of_one() {
        let network: Network = "192.0.2.7".parse().expect("valid");
        assert!(network.contains("192.0.2.7".parse().expect("valid")));
        assert!(!network.contains("192.0.2.8".parse().expect("valid")));
    }
}
