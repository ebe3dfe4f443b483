// SPDX-License-Identifier: MIT OR Apache-2.0

//! Taking a changed configuration while the daemon runs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::{ConfigError, Loaded, Settings, TslSet, TslUrl};

/// The keys that a reload applies; the others need a restart.
const RELOADABLE: [&str; 20] = [
    "allow",
    "idle_timeout",
    "idle_timeout_min",
    "idle_timeout_max",
    "admission",
    "roam_after",
    "sessions_max",
    "session_rate",
    "request_rate",
    "half_open_max",
    "memory_max",
    "sets",
    "lrep_alg",
    "lreproxy_tout",
    "lreproxy_retr",
    "lreproxy_disable_tout",
    "hash_table_tout",
    "timeout_socket",
    "drain_timeout",
    "log_level",
];

/// The key of which a reload applies weights, and TSLs of other hosts that are new.
const TSLS: &str = "lreproxy_sock";

/// The key of which it applies what those have of their own.
const MEDIA: &str = "media";

/// What the documentation says of a key besides what it is for.
pub fn sentence(key: &str) -> &'static str {
    if key == TSLS {
        " Reloadable: weights, and TSLs of other hosts that are added."
    } else if RELOADABLE.contains(&key) {
        " Reloadable."
    } else {
        ""
    }
}

/// A key with another value than it had; values are TOML, empty when not given.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The key.
    pub key: String,
    /// The value it had.
    pub from: String,
    /// The value it is to have.
    pub to: String,
}

/// What a reload has changed, and what it has not.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// In force from now on.
    pub applied: Vec<Change>,
    /// In force after a restart.
    pub restart: Vec<Change>,
}

impl Loaded {
    /// What a daemon that runs with `running` goes on with, now that its configuration is this one.
    ///
    /// Fails when the new values make no sense without those that need a restart.
    pub fn reload(self, running: &Settings) -> Result<(Self, Changes), ConfigError> {
        let (old, new) = (table(running)?, table(&self.settings)?);
        let grown = grown(running, &self.settings);
        let is_as_wanted = by_set(&grown.lreproxy_sock) == by_set(&self.settings.lreproxy_sock);
        let grown = table(&grown)?;
        let mut merged = old.clone();
        let mut changes = Changes::default();
        let mut keys: Vec<&String> = old.keys().chain(new.keys()).collect();
        keys.sort_unstable();
        keys.dedup();
        for key in keys {
            let (from, to) = (old.get(key), new.get(key));
            let now = match key.as_str() {
                TSLS | MEDIA => grown.get(key),
                key if RELOADABLE.contains(&key) => to,
                _ => from,
            };
            if from != now {
                changes.applied.push(change(key, from, now));
                match now {
                    Some(now) => merged.insert(key.clone(), now.clone()),
                    None => merged.remove(key),
                };
            }
            // New TSLs are behind the others, wherever they were written.
            if now != to && !(key == TSLS && is_as_wanted) {
                changes.restart.push(change(key, now, to));
            }
        }
        let settings = merged.try_into().map_err(|error| impossible(&error))?;
        let reloaded = Self::new(settings, self.source).map_err(|error| {
            let keys: Vec<_> = changes.restart.iter().map(|one| one.key.as_str()).collect();
            ConfigError::NeedsRestart {
                error: Box::new(error),
                keys: keys.join(", "),
            }
        })?;
        Ok((reloaded, changes))
    }
}

fn change(key: &str, from: Option<&Value>, to: Option<&Value>) -> Change {
    let text = |value: Option<&Value>| value.map(Value::to_string).unwrap_or_default();
    Change {
        key: key.to_owned(),
        from: text(from),
        to: text(to),
    }
}

/// The TSLs that run, with the weights that are wanted of those of them that stay in their set, and,
/// behind them, those of other hosts that are new.
fn grown(running: &Settings, wanted: &Settings) -> Settings {
    let wanted_sets = by_set(&wanted.lreproxy_sock);
    let weight = |set: u32, url: &TslUrl| {
        let mut members = wanted_sets.get(&set)?.iter();
        members
            .find(|(other, _)| other == url)
            .map(|(_, weight)| *weight)
    };
    let (mut sets, mut media) = (running.lreproxy_sock.clone(), running.media.clone());
    for TslSet { set, members } in &mut sets {
        for (url, old) in members {
            *old = weight(*set, url).unwrap_or(*old);
        }
    }
    for TslSet { set, members } in &wanted.lreproxy_sock {
        for (url, weight) in members {
            let is_new = running
                .lreproxy_sock
                .iter()
                .flat_map(|set| &set.members)
                .all(|(other, _)| other != url);
            if is_new && !url.is_here() {
                sets.push(TslSet {
                    set: *set,
                    members: vec![(url.clone(), *weight)],
                });
                let own = wanted.media.get_key_value(url);
                media.extend(own.map(|(url, own)| (url.clone(), own.clone())));
            }
        }
    }
    Settings {
        lreproxy_sock: sets,
        media,
        ..Settings::default()
    }
}

/// The TSLs of each set, and their weights.
fn by_set(sets: &[TslSet]) -> BTreeMap<u32, Vec<(TslUrl, u32)>> {
    let mut members = BTreeMap::<u32, Vec<_>>::new();
    for set in sets {
        let known = members.entry(set.set).or_default();
        known.extend(set.members.iter().cloned());
    }
    members
}

fn table(settings: &Settings) -> Result<Table, ConfigError> {
    Table::try_from(settings).map_err(|error| impossible(&error))
}

/// Every setting has a text form that reads back; should one not, nothing is applied.
fn impossible(error: &dyn std::fmt::Display) -> ConfigError {
    ConfigError::Value {
        place: "reload".to_owned(),
        problem: format!("{error}: restart the daemon"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::source::Source;
    use super::*;

    fn loaded(text: &str) -> Result<Loaded, ConfigError> {
        let text = format!("internal_ip = \"192.0.2.1\"\n{text}");
        let settings = toml::from_str(&text).expect("settings");
        Loaded::new(settings, Source::default())
    }

    #[test]
    fn every_reloadable_key_is_one() {
        let keys = Settings::keys().expect("keys");
        for key in RELOADABLE {
            assert!(keys.iter().any(|known| known.name == key), "{key}");
        }
    }

    #[test]
    fn what_can_be_applied_is_and_the_rest_is_named() {
        let running = loaded("sessions_max = 5\nidle_timeout = 30").expect("good");
        let new = loaded("sessions_max = 7\nstart_port = 22000\nlog_level = \"debug\"");
        let (merged, changes) = new.expect("good").reload(&running.settings).expect("good");
        let change = |key: &str, from: &str, to: &str| Change {
            key: key.to_owned(),
            from: from.to_owned(),
            to: to.to_owned(),
        };
        assert_eq!(
            changes.applied,
            [
                change("idle_timeout", "30", ""),
                change("log_level", "\"info\"", "\"debug\""),
                change("sessions_max", "5", "7"),
            ]
        );
        assert_eq!(changes.restart, [change("start_port", "20000", "22000")]);
        assert_eq!(merged.config.limits.sessions, 7);
        assert_eq!(merged.config.timeouts.fixed, None);
        assert_eq!(merged.config.tsls[0].ports[0].first, 20000);
        // What still needs a restart is named again.
        let again = loaded("sessions_max = 7\nstart_port = 22000\nlog_level = \"debug\"");
        let (_, changes) = again.expect("good").reload(&merged.settings).expect("good");
        assert_eq!(changes.applied, []);
        assert_eq!(changes.restart.len(), 1);
    }

    fn sock(tsls: &str) -> Loaded {
        loaded(&format!("lreproxy_sock = {tsls}")).expect("good")
    }

    #[test]
    fn weights_and_new_hosts_are_applied_and_the_rest_needs_a_restart() {
        let running = sock("[\"local grpc:a:1\", \"1 == grpc:b:1\"]");
        // In another set it is another member of that.
        let wanted = "[\"grpc:c:1=3 local=5\", \"grpc:b:1=7\", \"1 == grpc:a:1=9\"]\n\
                      media.\"grpc:b:1\".start_port = 22000\nmedia.\"grpc:c:1\".start_port = 24000";
        let (merged, changes) = sock(wanted).reload(&running.settings).expect("good");
        let tsls = &merged.config.tsls;
        let told: Vec<_> = tsls
            .iter()
            .map(|tsl| (tsl.set, tsl.name.as_str(), tsl.weight, tsl.ports[0].first))
            .collect();
        let now = [
            (0, "local", 5, 20000),
            (0, "grpc:a:1", 1, 20000),
            (1, "grpc:b:1", 1, 20000),
            (0, "grpc:c:1", 3, 24000),
        ];
        assert_eq!(told, now);
        let keys = |changes: &[Change]| -> Vec<String> {
            changes.iter().map(|change| change.key.clone()).collect()
        };
        assert_eq!(keys(&changes.applied), [TSLS, MEDIA]);
        assert_eq!(
            changes.applied[0].to,
            r#"["local=5 grpc:a:1", "1 == grpc:b:1", "grpc:c:1=3"]"#
        );
        assert_eq!(keys(&changes.restart), [TSLS, MEDIA]);
        assert_eq!(changes.restart[0].from, changes.applied[0].to);
        // What is there is not there twice.
        let (_, changes) = sock(wanted).reload(&merged.settings).expect("good");
        assert_eq!(keys(&changes.applied), [""; 0]);
        assert_eq!(keys(&changes.restart), [TSLS, MEDIA]);
    }

    #[test]
    fn a_host_that_is_added_needs_no_restart_wherever_it_was_written() {
        let running = sock("[\"local\", \"1 == grpc:a:1\"]");
        let wanted = "[\"local grpc:b:1\", \"1 == grpc:a:1\", \"2 == udp:c:1\"]\n\
                      sets = [\"10.0.0.0/8=2\"]";
        let (merged, changes) = sock(wanted).reload(&running.settings).expect("good");
        let names = merged.config.tsls.iter().map(|tsl| tsl.name.as_str());
        let names: Vec<_> = names.collect();
        assert_eq!(names, ["local", "grpc:a:1", "grpc:b:1", "udp:c:1"]);
        assert_eq!((changes.applied.len(), &changes.restart[..]), (2, &[][..]));
        let (_, changes) = sock(wanted).reload(&merged.settings).expect("good");
        assert_eq!(changes, Changes::default());
        // One of this host takes more than a reload can do.
        let here = sock("[\"userspace\", \"1 == grpc:a:1\"]");
        let (_, changes) = here.reload(&running.settings).expect("good");
        assert_eq!((changes.applied.len(), changes.restart.len()), (0, 1));
    }

    #[test]
    fn what_makes_no_sense_without_a_restart_is_refused_whole() {
        let running = loaded("").expect("good");
        let new =
            loaded("lreproxy_sock = [\"local\", \"1 == userspace\"]\nsets = [\"10.0.0.0/8=1\"]");
        let error = new
            .expect("good")
            .reload(&running.settings)
            .expect_err("no set 1");
        let text = error.to_string();
        for part in [
            "set 1 has no TSL",
            "does not change lreproxy_sock: `systemctl",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }
}
