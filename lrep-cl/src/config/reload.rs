// SPDX-License-Identifier: MIT OR Apache-2.0

//! Taking a changed configuration while the daemon runs.

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

/// The key of which a reload applies the weights alone.
const WEIGHTS: &str = "lreproxy_sock";

/// What the documentation says of a key besides what it is for.
pub fn sentence(key: &str) -> &'static str {
    if key == WEIGHTS {
        " Its weights are reloadable."
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
        let weighted = table(&Settings {
            lreproxy_sock: weighted(&running.lreproxy_sock, &self.settings.lreproxy_sock),
            ..Settings::default()
        })?;
        let mut merged = old.clone();
        let mut changes = Changes::default();
        let mut keys: Vec<&String> = old.keys().chain(new.keys()).collect();
        keys.sort_unstable();
        keys.dedup();
        for key in keys {
            let (from, to) = (old.get(key), new.get(key));
            let now = match key.as_str() {
                WEIGHTS => weighted.get(key),
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
            if now != to {
                changes.restart.push(change(key, now, to));
            }
        }
        let settings = merged.try_into().map_err(|error| impossible(&error))?;
        Ok((Self::new(settings, self.source)?, changes))
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

/// The TSLs that run, with the weights that these give to those of them that are in the same set.
fn weighted(running: &[TslSet], wanted: &[TslSet]) -> Vec<TslSet> {
    let weight = |set, url: &TslUrl| {
        let same = wanted.iter().filter(|other| other.set == set);
        let mut members = same.flat_map(|other| &other.members);
        members
            .find(|(other, _)| other == url)
            .map(|(_, weight)| *weight)
    };
    let mut weighted = running.to_vec();
    for TslSet { set, members } in &mut weighted {
        for (url, old) in members {
            *old = weight(*set, url).unwrap_or(*old);
        }
    }
    weighted
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
    use super::super::Source;
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

    #[test]
    fn weights_are_applied_and_other_tsls_need_a_restart() {
        let sock = |tsls: &str| loaded(&format!("lreproxy_sock = {tsls}")).expect("good");
        let running = sock("[\"local grpc:a:1\", \"1 == grpc:b:1\"]");
        // In another set it is another member of that.
        let new = sock("[\"grpc:c:1 local=5\", \"grpc:b:1=7\", \"1 == grpc:a:1=9\"]");
        let wanted = new.settings.lreproxy_sock.clone();
        let (merged, changes) = new.reload(&running.settings).expect("good");
        let weights: Vec<_> = merged.config.tsls.iter().map(|tsl| tsl.weight).collect();
        assert_eq!(weights, [5, 1, 1]);
        let now = r#"["local=5 grpc:a:1", "1 == grpc:b:1"]"#;
        let [applied] = &changes.applied[..] else {
            panic!("{changes:?}");
        };
        assert_eq!((applied.key.as_str(), applied.to.as_str()), (WEIGHTS, now));
        let [restart] = &changes.restart[..] else {
            panic!("{changes:?}");
        };
        assert_eq!(
            (restart.key.as_str(), restart.from.as_str()),
            (WEIGHTS, now)
        );
        // What is there is not there twice.
        let again = Loaded::new(
            Settings {
                lreproxy_sock: wanted,
                ..merged.settings.clone()
            },
            Source::default(),
        );
        let (_, changes) = again.expect("good").reload(&merged.settings).expect("good");
        assert_eq!((changes.applied.len(), changes.restart.len()), (0, 1));
    }

    #[test]
    fn what_makes_no_sense_without_a_restart_is_refused_whole() {
        let running = loaded("").expect("good");
        let new =
            loaded("lreproxy_sock = [\"local\", \"1 == grpc:a:1\"]\nsets = [\"10.0.0.0/8=1\"]");
        let error = new
            .expect("good")
            .reload(&running.settings)
            .expect_err("no set 1");
        assert!(error.to_string().contains("set 1 has no TSL"), "{error}");
    }
}
