// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the daemon writes to standard error.
//!
//! Lines are written by a thread of their own: a reader that does not read, as the journal may
//! be for seconds on a busy disk, must not keep SIP servers waiting. When too many lines wait, new
//! ones are left out.

use std::fmt;
use std::io::{BufWriter, Write};
use std::time::SystemTime;

use tracing::Subscriber;
use tracing_appender::non_blocking::{NonBlocking, WorkerGuard};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;

use crate::config::{LogFormat, LogLevel};

/// Begins to log to standard error. What has been logged by then is written when the guard is
/// dropped.
pub fn start(level: LogLevel, format: LogFormat) -> (WorkerGuard, Verbosity) {
    let (subscriber, guard, verbosity) = subscriber(level, format, std::io::stderr());
    // Fails only when something logs already, which then goes on.
    let _ = tracing::subscriber::set_global_default(subscriber);
    (guard, verbosity)
}

/// How much is logged, which may be changed.
pub struct Verbosity(Box<dyn Fn(Targets) + Send + Sync>);

impl Verbosity {
    /// Logs as much from now on.
    pub fn set(&self, level: LogLevel) {
        (self.0)(filter(level));
    }

    fn of<S>(handle: reload::Handle<Targets, S>) -> Self
    where
        reload::Handle<Targets, S>: Send + Sync + 'static,
    {
        Self(Box::new(move |filter| {
            // Fails only when nothing is logged any more.
            let _ = handle.reload(filter);
        }))
    }
}

impl fmt::Debug for Verbosity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verbosity")
    }
}

fn filter(level: LogLevel) -> Targets {
    let (ours, libraries) = match level {
        LogLevel::Error => (LevelFilter::ERROR, LevelFilter::ERROR),
        LogLevel::Warn => (LevelFilter::WARN, LevelFilter::WARN),
        LogLevel::Info => (LevelFilter::INFO, LevelFilter::WARN),
        LogLevel::Debug => (LevelFilter::DEBUG, LevelFilter::WARN),
        LogLevel::Trace => (LevelFilter::TRACE, LevelFilter::TRACE),
    };
    Targets::new()
        .with_default(libraries)
        .with_target(env!("CARGO_CRATE_NAME"), ours)
}

/// Writes log lines to `to`, as [`start`] does.
pub fn subscriber(
    level: LogLevel,
    format: LogFormat,
    to: impl Write + Send + 'static,
) -> (Box<dyn Subscriber + Send + Sync>, WorkerGuard, Verbosity) {
    // Lines that wait together are written together: the thread flushes when none waits any more.
    let (writer, guard) = NonBlocking::new(BufWriter::new(to));
    let builder = tracing_subscriber::fmt()
        .with_timer(Utc)
        .with_writer(writer)
        .with_max_level(LevelFilter::TRACE);
    match format {
        LogFormat::Text => {
            let plain = builder.with_target(false).with_ansi(false).finish();
            let (filter, handle) = reload::Layer::new(filter(level));
            (Box::new(plain.with(filter)), guard, Verbosity::of(handle))
        }
        LogFormat::Json => {
            let json = builder.json().finish();
            let (filter, handle) = reload::Layer::new(filter(level));
            (Box::new(json.with(filter)), guard, Verbosity::of(handle))
        }
    }
}

/// The time in UTC, to the microsecond (RFC 3339).
struct Utc;

impl FormatTime for Utc {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        write!(
            writer,
            "{}",
            humantime::format_rfc3339_micros(SystemTime::now())
        )
    }
}

/// A Call-ID, printed without bytes that could disturb a terminal or a log.
#[derive(Clone, Copy, Debug)]
pub struct CallId<'a>(pub &'a [u8]);

impl fmt::Display for CallId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Mostly there is nothing to escape.
        let is_plain = |byte: &u8| byte.is_ascii_graphic() && !br#"\'""#.contains(byte);
        match std::str::from_utf8(self.0) {
            Ok(text) if self.0.iter().all(is_plain) => f.write_str(text),
            _ => self.0.escape_ascii().fmt(f),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    /// Sends what is written.
    struct Sent(Sender<Vec<u8>>);

    impl Write for Sent {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(std::io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What is logged meanwhile, at this level or the one that is set then.
    pub(crate) fn logged(level: LogLevel, act: impl FnOnce(&Verbosity)) -> String {
        let (sender, written) = channel();
        let (subscriber, guard, verbosity) = subscriber(level, LogFormat::Text, Sent(sender));
        tracing::subscriber::with_default(subscriber, || act(&verbosity));
        drop(guard);
        String::from_utf8(written.try_iter().flatten().collect()).expect("text")
    }

    #[test]
    fn libraries_are_silent_but_for_warnings_unless_everything_is_asked_for() {
        let told = |level| {
            logged(level, |_| {
                tracing::debug!(target: "h2::codec", "a frame");
                tracing::warn!(target: "h2::codec", "an oddity");
                tracing::debug!("a decision");
            })
        };
        let text = told(LogLevel::Debug);
        assert!(!text.contains("a frame"), "{text}");
        assert!(
            text.contains("an oddity") && text.contains("a decision"),
            "{text}"
        );
        let text = told(LogLevel::Info);
        assert!(!text.contains("a decision"), "{text}");
        let text = told(LogLevel::Trace);
        assert!(
            text.contains("a frame") && text.contains("a decision"),
            "{text}"
        );
    }

    #[test]
    fn how_much_is_logged_may_be_changed() {
        let text = logged(LogLevel::Info, |verbosity| {
            tracing::debug!("too early");
            verbosity.set(LogLevel::Debug);
            tracing::debug!("in time");
            verbosity.set(LogLevel::Warn);
            tracing::info!("too late");
        });
        assert!(text.contains("in time"), "{text}");
        assert!(!text.contains("too"), "{text}");
    }

    #[test]
    fn a_call_id_cannot_forge_log_lines() {
        assert_eq!(
            CallId(b"a\n\x1b[31m\xff@host").to_string(),
            r"a\n\x1b[31m\xff@host"
        );
        for byte in 0..=u8::MAX {
            let call_id = [b'a', byte];
            let escaped = call_id.escape_ascii().to_string();
            assert_eq!(CallId(&call_id).to_string(), escaped);
        }
    }
}
