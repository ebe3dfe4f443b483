// SPDX-License-Identifier: MIT OR Apache-2.0

//! What an operator may have the running daemon do.
//!
//! Requests and answers are lines of JSON on the control socket ([`crate::frontend::control`]): one
//! request, one answer, in the forms of [`Request`] and [`Answer`].

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tracing::{error, info, warn};

use crate::config::{Changes, Config, ConfigError, Loaded, LogLevel, Settings, TslUrl};
use crate::core::command::{Command, Outcome};
use crate::core::status::Status;
use crate::driver::Driver;
use crate::logging::Verbosity;
use crate::server::Service;
use crate::tsl::{self, SessionId};

/// What is asked for.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "verb", deny_unknown_fields)]
pub enum Request {
    /// How it is.
    Status,
    /// The sessions of its TSLs, a line each, in the form of [`crate::json::session`]; then
    /// [`Answer::Done`].
    Sessions {
        /// Only those of this one.
        tsl: Option<String>,
    },
    /// One session, in a line as above; then [`Answer::Done`].
    Session {
        /// The TSL it is in.
        tsl: String,
        /// Its number there.
        id: SessionId,
    },
    /// The counters of its TSLs, a line each, in the form of [`crate::json::totals`]; then
    /// [`Answer::Done`].
    Totals {
        /// Only those of this one.
        tsl: Option<String>,
    },
    /// No new calls; the daemon ends with the last one.
    Drain,
    /// New calls again.
    Resume,
    /// The configuration is to be read again.
    Reload,
    /// No new calls for this TSL.
    Disable {
        /// Its URL.
        tsl: String,
    },
    /// New calls for this TSL again.
    Enable {
        /// Its URL.
        tsl: String,
    },
    /// How much is to be logged.
    Log {
        /// From now on, until a restart or a reload that changes it.
        level: LogLevel,
    },
}

/// What came of it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "answer")]
pub enum Answer {
    /// It was done.
    Done,
    /// How it is, perhaps after what was done.
    Status {
        /// Version of the daemon.
        version: String,
        /// Its process.
        pid: u32,
        /// The rest.
        #[serde(flatten)]
        status: Status,
    },
    /// The configuration was read again.
    Reloaded(Changes),
    /// It was not done.
    Refused {
        /// Why, and what to do.
        text: String,
    },
}

/// What is told.
#[derive(Debug)]
pub enum Told {
    /// This.
    Answer(Answer),
    /// What these TSLs tell, in lines, then [`Answer::Done`].
    Lines(Vec<(String, Telling)>),
}

/// What a TSL is being asked for.
pub type Telling = oneshot::Receiver<tsl::Result<Outcome>>;

/// Reads the configuration again, as it was read at the start.
pub type Load = dyn Fn() -> Result<Loaded, ConfigError> + Send + Sync;

/// Drives a TSL of another host by a configuration; `None` for one of this host.
pub type Connect = dyn Fn(&TslUrl, &Config) -> Option<Driver> + Send + Sync;

/// Carries out what an operator asks for.
pub struct Operator {
    service: Arc<Service>,
    verbosity: Verbosity,
    /// What the daemon works with.
    settings: Mutex<Settings>,
    load: Box<Load>,
    connect: Box<Connect>,
}

impl std::fmt::Debug for Operator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Operator")
    }
}

impl Operator {
    /// Commands this service, which was started with these settings.
    pub fn new(
        service: Arc<Service>,
        verbosity: Verbosity,
        settings: Settings,
        load: Box<Load>,
        connect: Box<Connect>,
    ) -> Self {
        Self {
            service,
            verbosity,
            settings: Mutex::new(settings),
            load,
            connect,
        }
    }

    /// Does what is asked for.
    pub fn carry_out(&self, request: Request) -> Told {
        let answer = match request {
            Request::Status => self.status(),
            Request::Sessions { tsl } => return self.look(tsl.as_deref(), &Command::Dump),
            Request::Session { tsl, id } => return self.look(Some(&tsl), &Command::Get(id)),
            Request::Totals { tsl } => return self.look(tsl.as_deref(), &Command::Totals),
            Request::Drain => {
                self.drain();
                self.status()
            }
            Request::Resume => {
                info!("taking new calls again");
                self.service.drain(false);
                self.status()
            }
            Request::Reload => match self.reload() {
                Ok(changes) => Answer::Reloaded(changes),
                Err(error) => Answer::Refused {
                    text: format!("nothing was changed: {error}"),
                },
            },
            Request::Disable { tsl } => self.enable(&tsl, false),
            Request::Enable { tsl } => self.enable(&tsl, true),
            Request::Log { level } => {
                self.verbosity.set(level);
                info!(?level, "logging changed");
                Answer::Done
            }
        };
        Told::Answer(answer)
    }

    /// Has the TSLs that are wanted tell something.
    fn look(&self, wanted: Option<&str>, command: &Command) -> Told {
        let names = self.service.status().tsls.into_iter().map(|tsl| tsl.name);
        let asked: Vec<_> = names
            .enumerate()
            .filter(|(_, name)| wanted.is_none_or(|wanted| name == wanted))
            .map(|(index, name)| (name, self.service.look(index, command.clone())))
            .collect();
        match wanted {
            Some(tsl) if asked.is_empty() => Told::Answer(self.no_tsl(tsl)),
            _ => Told::Lines(asked),
        }
    }

    /// Refuses new calls from now on.
    pub fn drain(&self) {
        self.service.drain(true);
        info!(
            sessions = self.service.status().sessions,
            "draining: new calls are refused, and the last one's end is waited for"
        );
    }

    /// Waits until there is nothing left to wait for.
    pub async fn drained(&self) {
        self.service.drained().await;
    }

    /// How long living calls are waited for when stopping.
    pub fn drain_timeout(&self) -> Duration {
        Duration::from_secs(self.settings.lock().drain_timeout.into())
    }

    /// Reads the configuration again and applies what can be applied. After an error all is as it
    /// was.
    pub fn reload(&self) -> Result<Changes, ConfigError> {
        let mut settings = self.settings.lock();
        let result = (self.load)().and_then(|loaded| loaded.reload(&settings));
        let (loaded, changes) = match result {
            Ok(reloaded) => reloaded,
            Err(error) => {
                error!("not reloaded, nothing was changed: {error}");
                return Err(error);
            }
        };
        if loaded.settings.log_level != settings.log_level {
            self.verbosity.set(loaded.settings.log_level);
        }
        let known = self.service.status().tsls.len();
        let added = loaded.config.tsls.iter().skip(known);
        // A reload adds none of this host.
        let drivers = added.filter_map(|tsl| (self.connect)(&tsl.url, &loaded.config));
        let drivers = drivers.collect();
        self.service.reload(loaded.config, drivers);
        *settings = loaded.settings;
        for change in &changes.applied {
            info!(
                key = change.key,
                from = change.from,
                to = change.to,
                "changed"
            );
        }
        for change in &changes.restart {
            warn!(
                key = change.key,
                from = change.from,
                to = change.to,
                "needs a restart"
            );
        }
        info!("reloaded");
        Ok(changes)
    }

    fn status(&self) -> Answer {
        Answer::Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            status: self.service.status(),
        }
    }

    fn enable(&self, tsl: &str, enabled: bool) -> Answer {
        if self.service.enable(tsl, enabled) {
            info!(tsl, enabled, "a TSL was enabled or disabled");
            return self.status();
        }
        self.no_tsl(tsl)
    }

    fn no_tsl(&self, tsl: &str) -> Answer {
        let tsls = self.service.status().tsls;
        let names: Vec<_> = tsls.iter().map(|tsl| tsl.name.as_str()).collect();
        Answer::Refused {
            text: format!(
                "there is no TSL {tsl}: this daemon works with {}",
                names.join(" ")
            ),
        }
    }
}
