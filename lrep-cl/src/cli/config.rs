// SPDX-License-Identifier: MIT OR Apache-2.0

//! `lrep-cl config`: the configuration file.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::exit::Failure;
use super::print;
use crate::config::{ConfigError, DEFAULT_FILE, Key, Settings, check};

/// Check or print the configuration file
#[derive(Args, Debug)]
pub struct Config {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Check a file: keys, values, and whether they make sense together
    Check {
        /// The file
        #[arg(default_value = DEFAULT_FILE, env = "LREP_CONFIG")]
        file: PathBuf,

        /// Print JSON instead of text, also of a file that is bad
        #[arg(long)]
        json: bool,
    },
    /// Print a file with every key, its description and its default
    Example {
        /// Print a list of the keys in JSON instead
        #[arg(long)]
        json: bool,
    },
}

impl Config {
    /// Checks a file, or tells the example.
    pub fn run(&self) -> Result<String, Failure> {
        match &self.verb {
            Verb::Check { file, json } => {
                let checked = check(file);
                if *json {
                    print(&format!("{}\n", verdict(file, checked.as_ref().err())))?;
                }
                checked?;
                Ok(match json {
                    true => String::new(),
                    false => format!("{}: good\n", file.display()),
                })
            }
            Verb::Example { json } => match json {
                true => Settings::keys().map(|keys| {
                    let keys = keys.iter().map(to_json);
                    format!("{}\n", keys.collect::<Value>())
                }),
                false => Settings::example(),
            }
            .map_err(|error| Failure::internal(format_args!("cannot print it: {error}"))),
        }
    }
}

fn verdict(file: &Path, problem: Option<&ConfigError>) -> Value {
    json!({
        "file": file,
        "good": problem.is_none(),
        "problem": problem.map(ToString::to_string),
    })
}

fn to_json(key: &Key) -> Value {
    json!({
        "key": key.name,
        "default": key.default.as_deref().map(value),
        "example": key.example.as_deref().map(value),
        "description": key.help,
    })
}

/// A value of the file as JSON has it.
fn value(text: &str) -> Value {
    let table = format!("value = {text}").parse::<toml::Table>();
    let value = table.ok().and_then(|mut table| table.remove("value"));
    value.map_or_else(|| json!(text), |value| json!(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_file_is_told_in_json_with_its_problem() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("lrep-cl.toml");
        std::fs::write(&file, "internal_ip = \"192.0.2.10\"\n").expect("a file");
        let told = |file: &Path| verdict(file, check(file).err().as_ref());
        let good = json!({ "file": file, "good": true, "problem": null });
        assert_eq!(told(&file), good);
        std::fs::write(&file, "no_such_key = 1\n").expect("a file");
        let bad = told(&file);
        assert_eq!(bad["good"], false);
        let problem = bad["problem"].as_str().expect("a problem");
        assert!(problem.contains("no_such_key"), "{problem}");
    }

    #[test]
    fn every_key_is_told_in_json_with_the_value_it_has_by_default() {
        let defaults = json!(Settings::default());
        for key in Settings::keys().expect("keys") {
            let told = to_json(&key);
            assert_ne!(told["description"], "", "{told}");
            match &told["default"] {
                Value::Null => assert_eq!(key.default, None, "{told}"),
                default => assert_eq!(*default, defaults[&key.name], "{told}"),
            }
            if let Some(example) = key.example {
                assert!(told["example"] != example, "it is no text: {told}");
            }
        }
    }
}
