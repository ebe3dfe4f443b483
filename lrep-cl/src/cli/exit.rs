// SPDX-License-Identifier: MIT OR Apache-2.0

//! Exit codes, those of `sysexits.h`.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use crate::config::ConfigError;
use crate::server::StartError;
use crate::tls::{DirectoryError, IdentityError};
use crate::tsl;
use crate::tsl::serve::ListenError;

/// The exit codes and their meanings.
pub const CODES: [(u8, &str); 12] = [
    (0, "done"),
    (
        1,
        "the kernel or the daemon refused the command, or there is no such session",
    ),
    (64, "wrong usage of the command line"),
    (68, "a relay address is no address of this host"),
    (
        69,
        "the kernel module is not loaded, or the daemon does not run",
    ),
    (70, "a fault of the program itself"),
    (71, "the system refused something else"),
    (73, "a listener cannot be opened, or a file not be made"),
    (75, "sessions stand in the way of a new configuration"),
    (76, "the kernel module is of another protocol version"),
    (77, "permission is missing"),
    (78, "the configuration, or a certificate, is bad"),
];

/// The exit codes, for the help text.
pub fn help() -> String {
    let lines = CODES.map(|(code, meaning)| format!("  {code:>2}  {meaning}"));
    format!("Exit codes:\n{}", lines.join("\n"))
}

/// Why the program ends without success.
#[derive(Debug)]
pub enum Failure {
    /// Clap tells about wrong usage, or prints help or version.
    Usage(Box<clap::Error>),
    /// A sentence for the user, and the exit code.
    Because {
        /// The exit code.
        code: u8,
        /// What happened and what to do.
        text: String,
    },
}

impl Failure {
    /// Something is wrong with how the program was called.
    pub fn usage(text: impl fmt::Display) -> Self {
        Self::because(64, text)
    }

    /// What was asked for does not exist.
    pub fn absent(text: impl fmt::Display) -> Self {
        Self::because(1, text)
    }

    /// The daemon is not there.
    pub fn unavailable(text: impl fmt::Display) -> Self {
        Self::because(69, text)
    }

    /// This user may not.
    pub fn permission(text: impl fmt::Display) -> Self {
        Self::because(77, text)
    }

    /// This should not have happened.
    pub fn internal(text: impl fmt::Display) -> Self {
        Self::because(70, text)
    }

    /// The system refused something.
    pub fn system(what: &str, error: &io::Error) -> Self {
        Self::because(71, format_args!("{what}: {error}"))
    }

    /// A file cannot be made.
    pub fn file(what: &str, error: &io::Error) -> Self {
        Self::because(73, format_args!("{what}: {error}"))
    }

    fn because(code: u8, text: impl fmt::Display) -> Self {
        Self::Because {
            code,
            text: text.to_string(),
        }
    }

    /// Whether another user might.
    pub fn is_permission(&self) -> bool {
        matches!(self, Self::Because { code: 77, .. })
    }

    /// Tells the user, and what to exit with.
    pub fn report(self) -> ExitCode {
        match self {
            Self::Usage(error) => {
                // Nothing can be done about a closed terminal.
                let _ = error.print();
                ExitCode::from(if error.use_stderr() { 64 } else { 0 })
            }
            Self::Because { code, text } => {
                // As above.
                let _ = writeln!(io::stderr(), "lrep-cl: {text}");
                ExitCode::from(code)
            }
        }
    }
}

/// What happened and what to do.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(error) => write!(f, "{error}"),
            Self::Because { text, .. } => f.write_str(text),
        }
    }
}

impl From<clap::Error> for Failure {
    fn from(error: clap::Error) -> Self {
        Self::Usage(Box::new(error))
    }
}

impl From<tsl::Error> for Failure {
    fn from(error: tsl::Error) -> Self {
        let code = match error {
            tsl::Error::ModuleAbsent => 69,
            tsl::Error::VersionDiffers { .. } => 76,
            tsl::Error::Permission => 77,
            tsl::Error::Refused(_) => 1,
            tsl::Error::NoAnswer | tsl::Error::Channel(_) => 71,
        };
        Self::because(code, error)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        match error {
            ConfigError::Flag(error) => error.into(),
            error => Self::because(78, error),
        }
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Tsl(error) => error.into(),
            StartError::AddressInUse(_) => Self::because(75, error),
            StartError::AddressNotLocal(_) => Self::because(68, error),
            StartError::Listen { .. } => Self::because(73, error),
        }
    }
}

impl From<ListenError> for Failure {
    fn from(error: ListenError) -> Self {
        match error {
            ListenError::Socket { .. } => Self::because(73, error),
            ListenError::Open(_) | ListenError::Guarded(_) => Self::because(78, error),
        }
    }
}

impl From<IdentityError> for Failure {
    fn from(error: IdentityError) -> Self {
        Self::because(78, error)
    }
}

impl From<DirectoryError> for Failure {
    fn from(error: DirectoryError) -> Self {
        match error {
            DirectoryError::File { .. } | DirectoryError::Exists { .. } => Self::because(73, error),
            DirectoryError::NoAuthority(_) | DirectoryError::NotIssued(_) => Self::absent(error),
            DirectoryError::Unreadable(_)
            | DirectoryError::NoRole(_)
            | DirectoryError::Authority(_) => Self::because(78, error),
        }
    }
}
