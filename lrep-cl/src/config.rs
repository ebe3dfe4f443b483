// SPDX-License-Identifier: MIT OR Apache-2.0

//! The daemon's configuration.
//!
//! [`Settings`] is the one definition of every key: its name, type, default and description. From
//! it come the key of the TOML file, the flag (`start_port` is `--start-port`), the environment
//! variable (`LREP_START_PORT`), the help and the documented example file. Flags win over the
//! environment, the environment over the file, the file over the defaults.
//!
//! [`Config`] is what the daemon works with: settings that were found to make sense together.

mod reload;
mod tsls;
mod values;

use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, FromArgMatches};
use nix::unistd::{Gid, Group};
use serde::{Deserialize, Serialize};
use serde_with::formats::PreferMany;
use serde_with::{As, OneOrMany, Same};

pub use self::reload::{Change, Changes};
use self::tsls::are_named;
pub use self::tsls::{Health, MediaHost, MediaHosts, SetRule, TslConfig, TslSet, TslUrl, Who};
pub use self::values::{Admission, Allowed, Listen, LogFormat, LogLevel, Mode, Network};
use crate::addresses::Mapping;
use crate::balance::Algorithm;
use crate::intent::Timeouts;
use crate::notify::Target;
use crate::ports::{self, Ports, Range};
use crate::tls::Files;
use crate::tsl::{Learning, Limits, Patience, Roam};

/// The file that is read when none is named.
pub const DEFAULT_FILE: &str = "/etc/lreproxy/lrep-cl.toml";

/// Where the daemon is reached when nothing else is said.
pub const CONTROL_SOCK: &str = "/run/lreproxy/control.sock";

/// Longest silence after which a party may be followed, that of the netlink family.
const ROAM_AFTER_MAX: u32 = 60_000;

/// Most seconds or times that make sense: a day.
const WAIT_MAX: u32 = 86_400;

/// How far the sequence numbers may have gone on meanwhile: ten seconds of 20 ms packets.
const ROAM_SEQUENCES: u16 = 500;

/// Every key of the configuration, as it was written.
#[derive(Args, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Sockets on which SIP servers are listened to: `udp:ADDRESS:PORT` (IPv6 addresses in
    /// brackets) or `unix:/PATH`. A UDP listener names one address, since the answers come from
    /// it; 22333 is the port the SIP servers' modules use when told none. The systemd unit may
    /// make unix sockets in /run/lreproxy.
    #[arg(
        long,
        value_name = "SOCKET",
        value_delimiter = ',',
        default_value = "udp:127.0.0.1:22333"
    )]
    pub listen: Vec<Listen>,

    /// Permissions of the unix sockets' files, octal. Who may write to one may end every call.
    #[arg(long, value_name = "MODE", default_value = "0660")]
    pub unix_mode: Mode,

    /// Group of the unix sockets' files, for example `kamailio`; the daemon must be root or belong
    /// to it. Not changed when not given.
    #[arg(long, value_name = "GROUP")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unix_group: Option<String>,

    /// Addresses and networks of the SIP servers that may ask for relays over UDP, or, as
    /// `LISTENER=NETWORK`, only at one listener. The protocol has no authentication: whoever can
    /// send from one of these may end every call.
    #[arg(
        long,
        value_name = "NETWORK",
        value_delimiter = ',',
        default_value = "127.0.0.0/8,::1/128"
    )]
    pub allow: Vec<Allowed>,

    /// IPv4 address of the relay towards the inner network; parties are told it when the SIP
    /// server's script asks for the internal side, or for none. Must be given.
    #[arg(long, value_name = "ADDRESS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub internal_ip: Option<Ipv4Addr>,

    /// IPv4 address of the relay towards the outer network; internal_ip when not given.
    #[arg(long, value_name = "ADDRESS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_ip: Option<Ipv4Addr>,

    /// For a host behind NAT, `ADVERTISED=LOCAL`: the address that parties are told, and the
    /// address of the interface its packets arrive at. Give the advertised one as internal_ip or
    /// external_ip; Kamailio's `behind_nat=1` uses internal_ip only.
    #[arg(long, value_name = "ADVERTISED=LOCAL", value_delimiter = ',')]
    pub advertise: Vec<Mapping>,

    /// First relay port. Even, 1024 at least. Several SIP servers need port_parts. Calls begin at a
    /// random place between it and end_port.
    #[arg(long, value_name = "PORT", default_value_t = 20000)]
    pub start_port: u16,

    /// Last relay port. SIP servers use up to 6 more, which are the relay's too.
    #[arg(long, value_name = "PORT", default_value_t = 30000)]
    pub end_port: u16,

    /// In place of start_port and end_port, when the ports are not all in one piece: up to eight ranges,
    /// as `FIRST-LAST`, the first port even. A SIP server is told one of them only, that with the most
    /// free ports at the time it asks: when it starts. With port_parts each has ranges of its own, as
    /// far as there are enough.
    #[arg(long, value_name = "RANGE", value_delimiter = ',')]
    pub port_ranges: Vec<Range>,

    /// Addresses or networks of SIP servers that share a relay: each is told a part of the ports of
    /// its own, in this order, and whoever may ask but is not named here a further one. Needed when
    /// there are several SIP servers, since each counts through its ports by itself.
    #[arg(long, value_name = "NETWORK", value_delimiter = ',')]
    pub port_parts: Vec<Network>,

    /// Have the kernel give relay ports to no other socket of this host, by adding them to
    /// net.ipv4.ip_local_reserved_ports when the daemon starts. Needs the right to write there,
    /// which the systemd unit gives, except in containers: there, use the host's /etc/sysctl.d.
    #[arg(long, value_name = "BOOL", default_value_t = false, action = clap::ArgAction::Set)]
    pub reserve_ports: bool,

    /// Seconds without a packet after which a relay ends, whatever the SIP server asks for. When
    /// not given, what it asks for: always 60 with Kamailio.
    #[arg(long, value_name = "SECONDS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<u32>,

    /// Shorter idle timeouts are raised to this many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 1)]
    pub idle_timeout_min: u32,

    /// Longer idle timeouts are lowered to this many seconds; seven days at most.
    #[arg(long, value_name = "SECONDS", default_value_t = 86400)]
    pub idle_timeout_max: u32,

    /// Whose packets are relayed. `signalled`: those from the address and port the SDP names. `nat`:
    /// for parties behind NAT, those of who sends from that address and any port, or from its
    /// neighbourhood (/24, /64), until that is settled; have the SIP server put the address it
    /// receives the party from into the SDP. `open`: for closed networks only, those of whoever
    /// sends first; strangers can take calls over.
    #[arg(long, value_name = "MODE", value_enum, default_value = "signalled")]
    pub admission: Admission,

    /// With `admission` `nat` or `open`: a settled party is followed to another acceptable address and
    /// port when nothing has come from the old one for this many milliseconds and its RTP goes on,
    /// as when its NAT has given it a new port. 0: never.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 0)]
    pub roam_after: u32,

    /// Most relays that live at the same time; 0 for as many as there are ports. The SIP server is
    /// told that there is no relay when there are more.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub sessions_max: u32,

    /// Most new calls per second that get a relay; 0 for any number. The SIP server is told that
    /// there is no relay when more come.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub session_rate: u32,

    /// Most requests per second that are taken over UDP from one address; further ones are not
    /// answered. 0 for any number.
    #[arg(long, value_name = "NUMBER", default_value_t = 20000)]
    pub request_rate: u32,

    /// Most relays that wait for the second party's address at the same time; 0 for any number.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub half_open_max: u32,

    /// Most kernel memory that relays take at the same time, in MiB; 0 for any amount.
    #[arg(long, value_name = "MIB", default_value_t = 0)]
    pub memory_max: u32,

    /// TSLs, the relays that carry the media, as `[SET ==] URL[=WEIGHT] URL[=WEIGHT]...`. Calls are
    /// distributed among the TSLs of a set; the set is 0 when not given, the weight 1. `local` is
    /// the kernel module of this host, `userspace` a slow relay inside the daemon, which needs neither
    /// module nor root, `grpc:HOST:PORT` or `grpc:unix:/PATH` what `lrep-cl tsl` serves there,
    /// `udp:HOST:PORT` an engine that speaks the lreproxy protocol, such as py-lreproxy. A TSL of
    /// another host needs its own addresses: see the end. `tsl = "userspace"` is short for it.
    #[arg(
        long,
        visible_alias = "tsl",
        value_name = "TSLS",
        value_delimiter = ',',
        default_value = "local"
    )]
    #[serde(alias = "tsl", with = "As::<OneOrMany<Same, PreferMany>>")]
    pub lreproxy_sock: Vec<TslSet>,

    /// Certificate that this controller shows to the TSLs of other hosts, a PEM file: `lrep-cl tls
    /// issue --role controller` makes it.
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_cert: Option<PathBuf>,

    /// The private key of tls_cert, a PEM file.
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_key: Option<PathBuf>,

    /// Certificates of the CAs whose TSLs are trusted, a PEM file.
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_ca: Option<PathBuf>,

    /// Which set of TSLs serves whom, as `LISTENER=SET` or `NETWORK=SET`; the first that fits
    /// counts. Set 0 serves the others.
    #[arg(long, value_name = "WHO=SET", value_delimiter = ',')]
    pub sets: Vec<SetRule>,

    /// How new calls are distributed: 0 to the first TSL that works; 1 to one after the other; 2
    /// to one after the other by weight; 3 to the one with the fewest sessions for its weight; 4 to
    /// the one with the fewest packets per second for its weight; 5 by a hash of the Call-ID, so
    /// that several controllers choose alike.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub lrep_alg: u8,

    /// Seconds without an answer after which a TSL gets no new calls.
    #[arg(long, value_name = "SECONDS", default_value_t = 1)]
    pub lreproxy_tout: u32,

    /// A TSL is given up after so many times lreproxy_tout without an answer.
    #[arg(long, value_name = "NUMBER", default_value_t = 5)]
    pub lreproxy_retr: u32,

    /// Seconds for which a TSL that was given up is left alone, while others of its set work.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub lreproxy_disable_tout: u32,

    /// Seconds for which it is remembered which TSL a call was given to, after it was last asked
    /// for.
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    pub hash_table_tout: u32,

    /// How many calls there is room to remember at first; the table grows by itself.
    #[arg(long, value_name = "NUMBER", default_value_t = 128)]
    pub hash_table_size: u32,

    /// Who is told when the media of a call has ceased by itself, as when both parties have gone
    /// without a BYE. `jsonrpc:ADDRESS:PORT`: a Kamailio whose modules jsonrpcs (`dgram_socket`) and
    /// dialog are loaded; it ends the dialog. `tcp:ADDRESS:PORT`, `unix:/PATH`: whoever listens there
    /// gets the Call-ID and a line feed, as from rtpproxy.
    #[arg(long, value_name = "TARGET", value_delimiter = ',')]
    pub timeout_socket: Vec<Target>,

    /// Number that marks this daemon's sessions in its TSLs. A restarted daemon takes over the sessions
    /// with its own number, and a running one removes those it knows nothing of. So a TSL works with one
    /// daemon of a number at a time, and refuses another: daemons that have a TSL in common need
    /// different ones.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub owner: u32,

    /// Seconds that SIGTERM leaves to living calls: until then, or until the last has ended, new
    /// calls are refused. 0: the daemon stops at once, and the calls go on in the kernel.
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub drain_timeout: u32,

    /// Unix socket on which `lrep-cl status`, `drain`, `reload`, `log` and `tsl` reach the daemon.
    /// Only its own user and root may use it.
    #[arg(long, value_name = "PATH", default_value = CONTROL_SOCK)]
    pub control_sock: PathBuf,

    /// Group that may use the control socket, too; the daemon must be root or belong to it.
    #[arg(long, value_name = "GROUP")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control_group: Option<String>,

    /// How much is logged to standard error.
    #[arg(long, value_name = "LEVEL", value_enum, default_value = "info")]
    pub log_level: LogLevel,

    /// How log lines look: for people (`text`) or for machines (`json`).
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "text")]
    pub log_format: LogFormat,

    /// What single TSLs have of their own, by URL.
    #[arg(skip)]
    #[serde(skip_serializing_if = "MediaHosts::is_empty")]
    pub media: MediaHosts,
}

/// Examples for the keys without a default, as they stand in the example file.
const EXAMPLES: [(&str, &str); 9] = [
    ("control_group", "\"adm\""),
    ("unix_group", "\"kamailio\""),
    ("internal_ip", "\"192.0.2.10\""),
    ("external_ip", "\"203.0.113.5\""),
    ("advertise", "[\"203.0.113.5=10.0.0.5\"]"),
    ("idle_timeout", "60"),
    ("tls_cert", "\"/etc/lreproxy/tls/sip1.pem\""),
    ("tls_key", "\"/etc/lreproxy/tls/sip1.key\""),
    ("tls_ca", "\"/etc/lreproxy/tls/ca.pem\""),
];

/// The end of the example file: what has no place among flags.
const MEDIA_EXAMPLE: &str = "
# What a TSL has of its own, under its URL: internal_ip, external_ip, advertise, start_port,
# end_port, port_ranges. What is not given is as above.
#[media.\"grpc:192.0.2.20:22334\"]
#internal_ip = \"192.0.2.20\"
";

impl Default for Settings {
    fn default() -> Self {
        let matches = Self::augment_args(Command::new("defaults")).get_matches_from(["defaults"]);
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }
}

impl Settings {
    /// Adds the flags, each with its environment variable, to a command.
    pub fn flags(command: Command) -> Command {
        command.mut_args(|arg| {
            let key = arg.get_id().to_string();
            if key == "help" || key == "version" {
                return arg;
            }
            arg.env(variable(&key))
        })
    }

    /// What they amount to, when nothing is known of where they came from.
    pub fn config(&self) -> Result<Config, ConfigError> {
        Config::new(self, &Source::default())
    }

    /// Every key, in the order of the documentation.
    pub fn keys() -> Result<Vec<Key>, toml::ser::Error> {
        let defaults = toml::Table::try_from(Self::default())?;
        let command = Self::augment_args(Command::new("keys"));
        let key = |arg: &clap::Arg| {
            let name = arg.get_id().to_string();
            let example = EXAMPLES.iter().find(|(key, _)| *key == name);
            let help = arg.get_long_help().or(arg.get_help());
            Key {
                // Clap takes the last full stop away.
                help: help
                    .map(|help| format!("{help}.{}", reload::sentence(&name)))
                    .unwrap_or_default(),
                default: defaults
                    .get(&name)
                    .filter(|_| example.is_none())
                    .map(ToString::to_string),
                example: example.map(|(_, value)| (*value).to_owned()),
                name,
            }
        };
        Ok(command.get_arguments().map(key).collect())
    }

    /// The documented file with every key at its default.
    pub fn example() -> Result<String, toml::ser::Error> {
        let mut text = String::from(
            "# Configuration of lrep-cl, the controller of the lreproxy RTP relay.\n\
             # Every key is also a flag of `lrep-cl run` (start_port: --start-port) and an\n\
             # environment variable (LREP_START_PORT). Flags win over the environment, the\n\
             # environment over this file. Lines that begin with `#key` show defaults or examples.\n\
             # `lrep-cl reload` applies the reloadable keys; the others need a restart.\n",
        );
        for key in Self::keys()? {
            text.push('\n');
            for line in textwrap::wrap(&key.help, 88) {
                text.push_str(&format!("# {line}\n"));
            }
            // Without its own address no relay can work: the one key that must be filled in.
            let comment = if key.name == "internal_ip" { "" } else { "#" };
            text.push_str(&format!("{comment}{} = {}\n", key.name, key.value()));
        }
        text.push_str(MEDIA_EXAMPLE);
        Ok(text)
    }
}

/// What is to be said about one key.
#[derive(Clone, Debug)]
pub struct Key {
    /// Its name in the file.
    pub name: String,
    /// What it is for, in whole sentences.
    pub help: String,
    /// Its default in TOML, if it has one worth showing.
    pub default: Option<String>,
    /// An example in TOML of a key without default.
    pub example: Option<String>,
}

impl Key {
    /// What stands in the example file.
    pub fn value(&self) -> &str {
        let value = self.default.as_ref().or(self.example.as_ref());
        value.map_or("", String::as_str)
    }
}

/// The settings of `file` (or of the default file, should it exist), with what flags and
/// environment say in `explicit` on top.
///
/// `explicit` must hold no defaults: see [`without_defaults`].
pub fn load(file: Option<&Path>, explicit: &ArgMatches) -> Result<Loaded, ConfigError> {
    let (mut source, mut settings) = match file {
        Some(path) => read(path)?,
        None if Path::new(DEFAULT_FILE).exists() => read(Path::new(DEFAULT_FILE))?,
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
    let (source, settings) = read(path)?;
    source.check_ports(&settings)?;
    Config::new(&settings, &source)
}

/// A command whose arguments have no defaults, so that its matches hold only what was said.
pub fn without_defaults(command: Command) -> Command {
    command.mut_args(|arg| arg.default_values(Vec::<clap::builder::OsStr>::new()))
}

/// The flag of a key: `--start-port` is that of `start_port`.
pub fn flag(key: &str) -> String {
    format!("--{}", key.replace('_', "-"))
}

/// The environment variable of a key: `LREP_START_PORT` is that of `start_port`.
pub fn variable(key: &str) -> String {
    format!("LREP_{}", key.to_uppercase())
}

fn read(path: &Path) -> Result<(Source, Settings), ConfigError> {
    let text = fs::read_to_string(path).map_err(|error| ConfigError::Unreadable {
        path: path.to_owned(),
        error,
    })?;
    let settings = toml::from_str(&text).map_err(|error| ConfigError::Syntax {
        path: path.to_owned(),
        error: Box::new(error),
    })?;
    let source = Source {
        path: Some(path.to_owned()),
        text,
        said: HashMap::new(),
    };
    Ok((source, settings))
}

/// Where the settings came from, for telling where a value stands.
#[derive(Debug, Default)]
struct Source {
    /// The file, and what it holds.
    path: Option<PathBuf>,
    text: String,
    /// The flags and variables, by key, that were used in place of the file.
    said: HashMap<String, String>,
}

impl Source {
    /// `FILE:LINE: KEY`, or the flag or the variable that gave the value.
    fn place(&self, key: &str) -> String {
        if let Some(said) = self.said.get(key) {
            return said.clone();
        }
        match (&self.path, self.line(key)) {
            (Some(path), Some(line)) => format!("{}:{line}: {key}", path.display()),
            (Some(path), None) => format!("{}: {key}", path.display()),
            (None, _) => key.to_owned(),
        }
    }

    /// The line of the file in which a key stands.
    fn line(&self, key: &str) -> Option<usize> {
        let table = toml::de::DeTable::parse(&self.text).ok()?;
        let (name, _) = table.get_ref().get_key_value(key)?;
        let before = self.text.get(..name.span().start)?;
        Some(before.matches('\n').count() + 1)
    }

    /// Whether the ports are said in one way only.
    fn check_ports(&self, settings: &Settings) -> Result<(), ConfigError> {
        let is_said = |key: &&str| self.said.contains_key(*key) || self.line(key).is_some();
        let other = ["start_port", "end_port"].into_iter().find(is_said);
        match other.filter(|_| !settings.port_ranges.is_empty()) {
            None => Ok(()),
            Some(other) => Err(ConfigError::Value {
                place: self.place("port_ranges"),
                problem: format!(
                    "stands for start_port and end_port: remove it, or {}",
                    self.place(other)
                ),
            }),
        }
    }
}

/// Why a configuration is not usable: where, what, and what is allowed.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error(
        "cannot read the configuration {path}: {error} (`lrep-cl config example` prints one to \
         begin with)",
        path = .path.display()
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The file is no TOML, or has an unknown key or a value of the wrong form.
    #[error(
        "bad configuration {path}: {text}\n`lrep-cl config example` describes every key",
        path = .path.display(), text = .error.to_string().trim_end()
    )]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, column and what is wrong there.
        error: Box<toml::de::Error>,
    },
    /// A flag or an environment variable has a value of the wrong form.
    #[error("{0}")]
    Flag(clap::Error),
    /// A value is readable, but makes no sense.
    #[error("bad configuration: {place}: {problem}")]
    Value {
        /// Where it stands: file, line and key, or a flag, or an environment variable.
        place: String,
        /// What is wrong and what is allowed.
        problem: String,
    },
    /// A file makes sense, but not what a reload can apply of it.
    #[error(
        "{error}; a reload does not change {keys}: `systemctl restart lrep-cl` applies the whole file"
    )]
    NeedsRestart {
        /// What is wrong without the rest.
        error: Box<Self>,
        /// What needs a restart.
        keys: String,
    },
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
        let bad = |key, problem: &str| {
            Err(ConfigError::Value {
                place: source.place(key),
                problem: problem.to_owned(),
            })
        };
        if settings.listen.is_empty() {
            return bad(
                "listen",
                "no SIP server could ever ask: name at least one socket",
            );
        }
        if let Some(twice) = repeated(&settings.listen) {
            return bad("listen", &format!("{twice} is listed twice"));
        }
        let udp = |listen: &&Listen| matches!(listen, Listen::Udp(_));
        let mut udp = settings.listen.iter().filter(udp);
        let asked = |listen: &Listen| {
            settings
                .allow
                .iter()
                .any(|allowed| allowed.is_about(listen))
        };
        if let Some(unasked) = udp.find(|listen| !asked(listen)) {
            return bad(
                "allow",
                &format!(
                    "no SIP server may ask {unasked}: name at least one, or listen on unix sockets \
                     only"
                ),
            );
        }
        let mut named = settings
            .allow
            .iter()
            .filter_map(|allowed| allowed.listener.as_ref());
        let is_there =
            |listen: &&Listen| matches!(listen, Listen::Udp(_)) && settings.listen.contains(listen);
        if let Some(absent) = named.find(|listen| !is_there(listen)) {
            return bad("allow", &format!("{absent} is no UDP socket of `listen`"));
        }
        let tsls = tsls::tsls_of(settings, source)?;
        for rule in &settings.sets {
            if !tsls.iter().any(|tsl| tsl.set == rule.set) {
                return bad(
                    "sets",
                    &format!("set {} has no TSL: name one in lreproxy_sock", rule.set),
                );
            }
        }
        if let Some((listen, tsl)) = tsls::is_hidden(&settings.listen, &tsls) {
            return bad(
                "listen",
                &format!(
                    "no request would come to {listen}: its port is among the relay's, {}, on an \
                     address of the relay; use another one",
                    ports::list(&tsl.ports)
                ),
            );
        }
        let tls = tsls::tls_of(settings, source)?;
        if !tsls.iter().any(|tsl| tsl.set == 0) {
            let mut listeners = settings.listen.iter();
            let unnamed = |listen: &&Listen| !are_named(&settings.sets, listen, &settings.allow);
            if let Some(listen) = listeners.find(unnamed) {
                return bad(
                    "lreproxy_sock",
                    &format!(
                        "set 0 has no TSL, but serves whom `sets` does not name: name a TSL \
                         without `N ==`, or `{listen}=N` in sets"
                    ),
                );
            }
        }
        let Some(algorithm) = Algorithm::of(settings.lrep_alg) else {
            return bad("lrep_alg", "must be 0 to 5");
        };
        for (key, value) in [
            ("lreproxy_tout", settings.lreproxy_tout),
            ("lreproxy_retr", settings.lreproxy_retr),
            ("lreproxy_disable_tout", settings.lreproxy_disable_tout),
            ("hash_table_tout", settings.hash_table_tout),
        ] {
            if !(1..=WAIT_MAX).contains(&value) {
                return bad(key, &format!("must be 1 to {WAIT_MAX}"));
            }
        }
        let seconds_max = genl_proto::generated::TIMEOUT_MAX_MS / 1000;
        if !(1..=seconds_max).contains(&settings.idle_timeout_min) {
            return bad(
                "idle_timeout_min",
                &format!("must be 1 to {seconds_max} seconds"),
            );
        }
        if !(settings.idle_timeout_min..=seconds_max).contains(&settings.idle_timeout_max) {
            return bad(
                "idle_timeout_max",
                &format!("must be idle_timeout_min to {seconds_max} seconds"),
            );
        }
        let bounds = settings.idle_timeout_min..=settings.idle_timeout_max;
        if settings
            .idle_timeout
            .is_some_and(|timeout| !bounds.contains(&timeout))
        {
            return bad(
                "idle_timeout",
                "must be idle_timeout_min to idle_timeout_max seconds",
            );
        }
        if settings.roam_after > ROAM_AFTER_MAX {
            return bad(
                "roam_after",
                &format!("must be at most {ROAM_AFTER_MAX} milliseconds"),
            );
        }
        if settings.roam_after != 0 && settings.admission == Admission::Signalled {
            return bad(
                "roam_after",
                "nobody is followed with admission = \"signalled\": set admission, or leave it 0",
            );
        }
        let group = |key, name: &Option<String>| match name.as_deref().map(Group::from_name) {
            None => Ok(None),
            Some(Ok(Some(group))) => Ok(Some(group.gid)),
            Some(_) => Err(ConfigError::Value {
                place: source.place(key),
                problem: "there is no such group on this host".to_owned(),
            }),
        };
        let unix_group = group("unix_group", &settings.unix_group)?;
        let control_group = group("control_group", &settings.control_group)?;
        if !settings.control_sock.is_absolute() {
            return bad("control_sock", "must be an absolute path");
        }
        if settings.drain_timeout > WAIT_MAX {
            return bad("drain_timeout", &format!("must be at most {WAIT_MAX}"));
        }
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
        let mut tsls = config.tsls.iter();
        if tsls.any(|tsl| Ports::most_clients(&tsl.ports) < parts) {
            return bad("port_parts", "there are more parts than calls have room");
        }
        Ok(config)
    }
}

impl Config {
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

/// The first element that has come before.
fn repeated<T: PartialEq>(list: &[T]) -> Option<&T> {
    (1..list.len()).find_map(|at| list[..at].contains(&list[at]).then_some(&list[at]))
}

#[cfg(test)]
mod tests {
    use super::*;
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

    fn explicit(flags: &[&str]) -> ArgMatches {
        let command = Settings::augment_args(Command::new("test"));
        without_defaults(command).get_matches_from([&["test"], flags].concat())
    }

    #[test]
    fn the_example_is_valid_and_says_nothing_but_the_defaults() {
        let example = Settings::example().expect("renders");
        let parsed: Settings = toml::from_str(&example).expect("valid");
        let defaults = Settings {
            internal_ip: parsed.internal_ip,
            ..Settings::default()
        };
        assert_eq!(parsed, defaults);
        assert!(parse(&example).is_ok());
    }

    #[test]
    fn every_key_of_the_example_is_valid_when_its_comment_sign_is_removed() {
        let example = Settings::example().expect("renders");
        let lines: Vec<&str> = example
            .lines()
            .take_while(|line| !line.starts_with("#[media"))
            .filter(|line| !line.starts_with("# ") && !line.starts_with("#unix_group"))
            .map(|line| line.trim_start_matches('#'))
            .collect();
        let keys = lines.join("\n");
        let config = parse(&keys).expect("valid");
        assert_eq!(config.tsls[0].addresses.mappings.len(), 1);
        let documented = keys.lines().filter(|line| line.contains(" = ")).count();
        let defined = Settings::augment_args(Command::new("test"))
            .get_arguments()
            .count();
        assert_eq!(documented, defined - 1, "{keys}");
    }

    #[test]
    fn the_packaged_file_is_the_example() {
        let packaged = include_str!("../../packaging/lrep-cl.toml");
        assert!(
            packaged == Settings::example().expect("renders"),
            "write it anew: lrep-cl config example > packaging/lrep-cl.toml"
        );
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
                "test.toml:2: media: must be an even",
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
                "test.toml:2: media: local has port_ranges and start_port or end_port: remove one",
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
    fn flags_win_over_the_file_and_the_file_over_defaults() {
        let mut settings: Settings =
            toml::from_str("start_port = 40000\nend_port = 50000").expect("valid");
        let flags = [
            "--start-port",
            "42000",
            "--listen",
            "udp:127.0.0.1:1,unix:/a",
        ];
        settings
            .update_from_arg_matches(&explicit(&flags))
            .expect("valid");
        assert_eq!((settings.start_port, settings.end_port), (42000, 50000));
        assert_eq!(settings.owner, 1);
        assert_eq!(
            settings.listen,
            [
                Listen::Udp("127.0.0.1:1".parse().expect("valid")),
                Listen::Unix("/a".into())
            ]
        );
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
    fn the_environment_variable_of_a_key_is_its_name_in_capitals() {
        let command = Settings::flags(Settings::augment_args(Command::new("test")));
        for arg in command.get_arguments() {
            let variable = arg
                .get_env()
                .map(|name| name.to_string_lossy().into_owned());
            let key = arg.get_id().as_str();
            assert_eq!(variable, Some(format!("LREP_{}", key.to_uppercase())));
        }
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
