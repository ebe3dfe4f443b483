// SPDX-License-Identifier: MIT OR Apache-2.0

//! Why a configuration cannot be used.

use std::io;
use std::path::PathBuf;

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
