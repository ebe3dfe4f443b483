// SPDX-License-Identifier: MIT OR Apache-2.0

//! Every key: its name, type, default and description.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use clap::{Args, Command, FromArgMatches};
use serde::{Deserialize, Serialize};
use serde_with::formats::PreferMany;
use serde_with::{As, OneOrMany, Same};

use super::source::Source;
use super::{
    Admission, Allowed, Config, ConfigError, Listen, LogFormat, LogLevel, MediaHosts, Mode,
    Network, SetRule, TslSet, reload,
};
use crate::addresses::Mapping;
use crate::notify::Target;
use crate::ports::Range;

/// Where the daemon is reached when nothing else is said.
pub const CONTROL_SOCK: &str = "/run/lreproxy/control.sock";

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

#[cfg(test)]
mod tests {
    use clap::ArgMatches;

    use super::*;

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
        assert!(parsed.config().is_ok());
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
        let settings: Settings = toml::from_str(&keys).expect("valid");
        let config = settings.config().expect("makes sense");
        assert_eq!(config.tsls[0].addresses.mappings.len(), 1);
        let documented = keys.lines().filter(|line| line.contains(" = ")).count();
        let defined = Settings::augment_args(Command::new("test"))
            .get_arguments()
            .count();
        assert_eq!(documented, defined - 1, "{keys}");
    }

    #[test]
    fn the_packaged_file_is_the_example() {
        let packaged = include_str!("../../../packaging/lrep-cl.toml");
        assert!(
            packaged == Settings::example().expect("renders"),
            "write it anew: lrep-cl config example > packaging/lrep-cl.toml"
        );
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
}
