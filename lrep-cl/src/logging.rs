// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the daemon writes to standard error.
//!
//! Lines are written by a thread of their own: a reader that does not read, as the journal may
//! be for seconds on a busy disk, must not keep SIP servers waiting. When too many lines wait, new
//! ones are left out.

use std::fmt;
use std::io::Write;

use tracing::{Span, Subscriber};
use tracing_appender::non_blocking::{NonBlocking, WorkerGuard};
use tracing_subscriber::filter::LevelFilter;

use crate::config::{LogFormat, LogLevel};

/// Begins to log to standard error. What has been logged by then is written when the guard is
/// dropped.
pub fn start(level: LogLevel, format: LogFormat) -> WorkerGuard {
    let (subscriber, guard) = subscriber(level, format, std::io::stderr());
    // Fails only when something logs already, which then goes on.
    let _ = tracing::subscriber::set_global_default(subscriber);
    guard
}

/// Writes log lines to `to`, as [`start`] does.
pub fn subscriber(
    level: LogLevel,
    format: LogFormat,
    to: impl Write + Send + 'static,
) -> (Box<dyn Subscriber + Send + Sync>, WorkerGuard) {
    let (writer, guard) = NonBlocking::new(to);
    let builder = tracing_subscriber::fmt()
        .with_writer(writer)
        .with_max_level(match level {
            LogLevel::Error => LevelFilter::ERROR,
            LogLevel::Warn => LevelFilter::WARN,
            LogLevel::Info => LevelFilter::INFO,
            LogLevel::Debug => LevelFilter::DEBUG,
            LogLevel::Trace => LevelFilter::TRACE,
        });
    let subscriber: Box<dyn Subscriber + Send + Sync> = match format {
        LogFormat::Text => Box::new(builder.with_target(false).with_ansi(false).finish()),
        LogFormat::Json => Box::new(builder.json().finish()),
    };
    (subscriber, guard)
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
