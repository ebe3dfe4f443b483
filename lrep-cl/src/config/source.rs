// SPDX-License-Identifier: MIT OR Apache-2.0

//! Where settings were said, so that a message can tell where to change them.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::{ConfigError, Settings, TslUrl};

/// Where the settings came from, for telling where a value stands.
#[derive(Debug, Default)]
pub struct Source {
    /// The file.
    pub path: Option<PathBuf>,
    /// Its text, none without a file.
    pub text: String,
    /// The flags and variables, by key, that were used in place of the file.
    pub said: HashMap<String, String>,
}

impl Source {
    /// `FILE:LINE: KEY`, or the flag or the variable that gave the value.
    fn place(&self, key: &str) -> String {
        if let Some(said) = self.said.get(key) {
            return said.clone();
        }
        self.in_file(self.line_of(&[key]), key)
    }

    /// That the value of a key makes no sense.
    pub fn bad(&self, key: &str, problem: impl Into<String>) -> ConfigError {
        ConfigError::Value {
            place: self.place(key),
            problem: problem.into(),
        }
    }

    /// That a value makes no sense which a media host has of its own or, without one, all have.
    pub fn bad_of(
        &self,
        host: Option<&TslUrl>,
        key: &str,
        problem: impl Into<String>,
    ) -> ConfigError {
        let Some(host) = host else {
            return self.bad(key, problem);
        };
        let host = host.to_string();
        let line = self.line_of(&["media", &host, key]);
        ConfigError::Value {
            place: self.in_file(line, &format!("media.\"{host}\".{key}")),
            problem: problem.into(),
        }
    }

    /// `FILE:LINE: KEY`, as far as they are known.
    fn in_file(&self, line: Option<usize>, key: &str) -> String {
        match (&self.path, line) {
            (Some(path), Some(line)) => format!("{}:{line}: {key}", path.display()),
            (Some(path), None) => format!("{}: {key}", path.display()),
            (None, _) => key.to_owned(),
        }
    }

    /// The line of the file in which the last of these keys stands, in the tables of those before.
    fn line_of(&self, keys: &[&str]) -> Option<usize> {
        let (key, tables) = keys.split_last()?;
        let document = DeTable::parse(&self.text).ok()?;
        let mut table = document.get_ref();
        for name in tables {
            let DeValue::Table(inner) = table.get(*name)?.get_ref() else {
                return None;
            };
            table = inner;
        }
        let (name, _) = table.get_key_value(*key)?;
        let before = self.text.get(..name.span().start)?;
        Some(before.matches('\n').count() + 1)
    }

    /// Whether the ports are said in one way only.
    pub fn check_ports(&self, settings: &Settings) -> Result<(), ConfigError> {
        let is_said = |key: &&str| self.said.contains_key(*key) || self.line_of(&[*key]).is_some();
        let other = ["start_port", "end_port"].into_iter().find(is_said);
        match other.filter(|_| !settings.port_ranges.is_empty()) {
            None => Ok(()),
            Some(other) => {
                let other = self.place(other);
                let problem = format!("stands for start_port and end_port: remove it, or {other}");
                Err(self.bad("port_ranges", problem))
            }
        }
    }
}

/// What a file says.
pub fn read(path: &Path) -> Result<(Source, Settings), ConfigError> {
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
