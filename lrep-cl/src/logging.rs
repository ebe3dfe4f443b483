// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the daemon writes to standard error.

use std::fmt;

use tracing::Span;
use tracing_subscriber::filter::LevelFilter;

use crate::config::{LogFormat, LogLevel};

/// Begins to log to standard error.
pub fn start(level: LogLevel, format: LogFormat) {
    let builder = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(match level {
            LogLevel::Error => LevelFilter::ERROR,
            LogLevel::Warn => LevelFilter::WARN,
            LogLevel::Info => LevelFilter::INFO,
            LogLevel::Debug => LevelFilter::DEBUG,
            LogLevel::Trace => LevelFilter::TRACE,
        });
    match format {
        LogFormat::Text => builder.with_target(false).with_ansi(false).init(),
        LogFormat::Json => builder.json().init(),
    }
}

/// The span that everything about one call is logged in.
pub fn call_span(call_id: &[u8]) -> Span {
    tracing::info_span!("call", call_id = %CallId(call_id))
}

/// A Call-ID, printed without bytes that could disturb a terminal or a log.
#[derive(Clone, Copy, Debug)]
pub struct CallId<'a>(pub &'a [u8]);

impl fmt::Display for CallId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.escape_ascii().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_id_cannot_forge_log_lines() {
        assert_eq!(
            CallId(b"a\n\x1b[31m\xff@host").to_string(),
            r"a\n\x1b[31m\xff@host"
        );
    }
}
