// SPDX-License-Identifier: MIT OR Apache-2.0

//! Brings about in the transport layer what the calls want, one command after the other.
//!
//! One task owns the calls and alone speaks to the layer, so that every decision is made on the
//! outcome of the one before, however long the layer takes. Who asked for something may have
//! stopped waiting by then: the outcome is taken note of all the same, and a later `S` or `D` for
//! the same ports finds it. When an outcome is unknown, or events were lost, the table is read
//! anew before anything else is done.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};
use tracing::{Instrument, debug, error, info, warn};

use crate::alarm::{Alarms, Withheld};
use crate::call::{Calls, Media, Plan};
use crate::logging::call_span;
use crate::ports::Ports;
use crate::tsl::{
    self, Alarm, AlarmReason, EndReason, Event, NewSession, SessionId, SessionState, SetConfig,
    SetSession, Tsl,
};

/// How long one command may take before its outcome counts as unknown.
const COMMAND_BOUND: Duration = Duration::from_secs(5);

/// How long to wait before reading the table is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// Jobs that may wait; further ones are refused.
const QUEUE: usize = 4096;

/// What an installer is asked to do.
#[derive(Debug)]
pub struct Job {
    /// The Call-ID.
    pub label: Vec<u8>,
    /// What the call wants.
    pub wish: Wish,
    /// Where the outcome goes; whoever waits for it may be gone.
    pub outcome: oneshot::Sender<tsl::Result<()>>,
}

/// What a call wants.
#[derive(Clone, Debug)]
pub enum Wish {
    /// This media is to be relayed.
    Set(Box<Media>),
    /// The media whose answerer was told this relay address is to end.
    Delete(SocketAddr),
}

/// The task's state.
#[derive(Debug)]
pub struct Installer<T> {
    tsl: Arc<T>,
    owner: u32,
    settings: SetConfig,
    calls: Calls,
    ports: Arc<Mutex<Ports>>,
    events: Option<mpsc::UnboundedReceiver<Event>>,
    /// Whether `calls` may differ from the layer's table.
    stale: bool,
    collisions: u64,
    alarms: Alarms,
}

impl<T: Tsl> Installer<T> {
    /// Configures the layer and adopts the sessions of `owner` that live there.
    pub async fn start(
        tsl: Arc<T>,
        owner: u32,
        settings: SetConfig,
        ports: Arc<Mutex<Ports>>,
    ) -> tsl::Result<Self> {
        let mut installer = Self {
            tsl,
            owner,
            settings,
            calls: Calls::default(),
            ports,
            events: None,
            stale: true,
            collisions: 0,
            alarms: Alarms::default(),
        };
        installer.refresh().await?;
        info!(
            sessions = installer.calls.len(),
            "adopted the sessions found in the kernel"
        );
        Ok(installer)
    }

    /// A queue of jobs for [`Self::run`].
    pub fn queue() -> (mpsc::Sender<Job>, mpsc::Receiver<Job>) {
        mpsc::channel(QUEUE)
    }

    /// Does jobs, and takes note of events, until the queue is closed and empty.
    pub async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        loop {
            if self.stale {
                match self.refresh().await {
                    Ok(()) => warn!(
                        sessions = self.calls.len(),
                        "read the kernel's session table anew"
                    ),
                    Err(error) => {
                        if let Some(withheld) = self.due("refresh") {
                            error!(withheld, "cannot read the kernel's session table: {error}");
                        }
                        if jobs.is_closed() {
                            return;
                        }
                        sleep(RETRY).await;
                        continue;
                    }
                }
            }
            tokio::select! {
                biased;
                event = next(&mut self.events) => self.note(event),
                job = jobs.recv() => match job {
                    Some(job) => self.work(job).await,
                    None => return,
                },
            }
        }
    }

    async fn work(&mut self, job: Job) {
        let Job {
            label,
            wish,
            outcome,
        } = job;
        let span = call_span(&label);
        async {
            let mut result = self.fulfil(&label, &wish).await;
            if result.as_ref().is_err_and(tsl::Error::is_uncertain) {
                // Once the table is known again, the wish can be fulfilled from what is there.
                self.stale = true;
                self.events = None;
                if self.refresh().await.is_ok() {
                    warn!("read the kernel's session table anew, since an answer was lost");
                    result = self.fulfil(&label, &wish).await;
                }
            }
            if let Err(error) = &result {
                self.stale |= error.is_uncertain();
                let (kind, cure) = cure(error);
                if let Some(withheld) = self.due(kind) {
                    error!(withheld, "{}: {error}{cure}", wish.failure());
                }
            }
            if let Err(result) = outcome.send(result) {
                info!(
                    done = result.is_ok(),
                    "{} later than it was answered",
                    wish.name()
                );
            }
        }
        .instrument(span)
        .await;
    }

    async fn fulfil(&mut self, label: &[u8], wish: &Wish) -> tsl::Result<()> {
        match wish {
            Wish::Set(media) => self.set(label, **media).await,
            Wish::Delete(answerer) => self.delete(label, *answerer).await,
        }
    }

    async fn set(&mut self, label: &[u8], media: Media) -> tsl::Result<()> {
        let label = label.to_vec();
        // The configuration keeps it below seven days.
        let timeout_ms = u32::try_from(media.timeout.as_millis()).unwrap_or(u32::MAX);
        let streams = media.streams();
        if let Plan::Change(id) = self.calls.plan(&label, &media) {
            let set = SetSession {
                id,
                timeout_ms: Some(timeout_ms),
                streams: streams.clone(),
                ..SetSession::default()
            };
            match bounded(self.tsl.session_set(set)).await {
                Ok(()) => {
                    self.calls.insert(id, &label, media);
                    debug!(session = id, ?media, "relay changed");
                    return Ok(());
                }
                // It has just ended, and its event is on the way.
                Err(error) if error.is(Errno::ENOENT) => self.forget(id),
                Err(error) => return Err(error),
            }
        }
        let new = NewSession {
            label: label.clone(),
            owner: self.owner,
            timeout_ms,
            streams,
            replace: true,
        };
        let created = bounded(self.tsl.session_new(new)).await?;
        let (collisions, gone) = self.calls.replaced(&label, &created.replaced);
        self.calls.insert(created.id, &label, media);
        {
            let mut ports = self.ports.lock();
            for media in &gone {
                ports.release(media.ports(), Instant::now().into_std());
            }
            ports.occupy(media.ports());
        }
        for collision in collisions {
            self.collisions += 1;
            if let Some(withheld) = self.due("collision") {
                let other = collision.label.map_or_else(
                    || "unknown to this daemon".to_owned(),
                    |label| label.escape_ascii().to_string(),
                );
                warn!(
                    withheld,
                    collisions = self.collisions,
                    "port collision: this call was given ports of the living call {other}, whose \
                     relay (session {}) has ended; the SIP server handed them out twice",
                    collision.id,
                );
            }
        }
        info!(
            session = created.id,
            offerer = %party(&media.offerer),
            answerer = %party(&media.answerer),
            "relay installed"
        );
        Ok(())
    }

    async fn delete(&mut self, label: &[u8], answerer: SocketAddr) -> tsl::Result<()> {
        let Some(id) = self.calls.find(label, answerer) else {
            debug!(%answerer, "nothing to delete");
            return Ok(());
        };
        match bounded(self.tsl.session_del(id)).await {
            Ok(session) => {
                self.forget(id);
                log_end(&session, EndReason::Deleted);
                Ok(())
            }
            Err(error) if error.is(Errno::ENOENT) => {
                self.forget(id);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Takes note of an event; `None` when the layer can tell no more.
    fn note(&mut self, event: Option<Event>) {
        match event {
            Some(Event::Ended(session, reason)) => {
                if self.calls.remove(session.id).is_some_and(|media| {
                    let now = Instant::now().into_std();
                    self.ports.lock().release(media.ports(), now);
                    true
                }) {
                    call_span(&session.label).in_scope(|| log_end(&session, reason));
                }
            }
            Some(Event::Alarm(alarm)) => {
                let owner = alarm.session.as_ref().map(|session| session.owner);
                if owner.is_none_or(|owner| owner == self.owner) {
                    log_alarm(&alarm);
                }
            }
            Some(Event::Overrun) => {
                warn!("events of the kernel were lost");
                self.stale = true;
            }
            None => {
                warn!("the kernel's events have ceased");
                self.events = None;
                self.stale = true;
            }
        }
    }

    fn forget(&mut self, id: SessionId) {
        if let Some(media) = self.calls.remove(id) {
            self.ports
                .lock()
                .release(media.ports(), Instant::now().into_std());
        }
    }

    /// Makes the layer's settings ours and our calls those of its table.
    async fn refresh(&mut self) -> tsl::Result<()> {
        if self.events.is_none() {
            // Before the dump, so that nothing falls between the two.
            self.events = Some(bounded(self.tsl.subscribe()).await?);
        }
        bounded(self.tsl.config_set(self.settings.clone())).await?;
        let mut sessions = bounded(self.tsl.session_dump()).await?;
        sessions.retain(|session| session.owner == self.owner);
        let (calls, strange) = Calls::adopt(&sessions);
        for id in strange {
            warn!(
                session = id,
                "left alone: it has this daemon's owner tag, but no RTP stream"
            );
        }
        let mut ports = self.ports.lock();
        let now = Instant::now().into_std();
        for media in calls.media() {
            ports.occupy(media.ports());
        }
        for media in self.calls.media() {
            ports.release(media.ports(), now);
        }
        // The youngest session tells how far the client has come.
        sessions.sort_by_key(|session| session.age_ms);
        for session in &sessions {
            if let Some(state) = session.streams.first() {
                ports.seen(state.stream.b.local.port());
            }
        }
        drop(ports);
        self.calls = calls;
        self.stale = false;
        Ok(())
    }

    fn due(&mut self, kind: &'static str) -> Option<Withheld> {
        self.alarms.due(kind, Instant::now().into_std())
    }
}

impl Wish {
    fn name(&self) -> &'static str {
        match self {
            Self::Set(_) => "relay installed",
            Self::Delete(_) => "relay deleted",
        }
    }

    fn failure(&self) -> &'static str {
        match self {
            Self::Set(_) => "relay not installed",
            Self::Delete(_) => "relay not deleted",
        }
    }
}

/// The next event; never, while there is no channel.
async fn next(events: &mut Option<mpsc::UnboundedReceiver<Event>>) -> Option<Event> {
    match events {
        Some(events) => events.recv().await,
        None => std::future::pending().await,
    }
}

async fn bounded<R>(command: impl Future<Output = tsl::Result<R>>) -> tsl::Result<R> {
    timeout(COMMAND_BOUND, command)
        .await
        .unwrap_or(Err(tsl::Error::NoAnswer))
}

fn party(party: &tsl::Endpoint) -> String {
    match party.remote {
        Some(remote) => format!("{remote} at {}", party.local),
        None => format!("on hold at {}", party.local),
    }
}

/// Of what kind a failed command is, and what is to be done about it.
fn cure(error: &tsl::Error) -> (&'static str, &'static str) {
    let refusals = [
        // What can be wrong with a command of ours is where the parties are.
        (
            Errno::EINVAL,
            "party",
            "; correct the address in the party's SDP (or custom_sdp_ip_avp): it must be a single \
             host other than the relay's",
        ),
        (
            Errno::ENOSPC,
            "sessions-max",
            "; raise sessions_max, or send calls to another relay",
        ),
        (
            Errno::EUSERS,
            "half-open-max",
            "; raise half_open_max, or find out who begins so many calls",
        ),
        (
            Errno::EDQUOT,
            "memory-max",
            "; raise memory_max, or send calls to another relay",
        ),
    ];
    refusals
        .into_iter()
        .find(|(errno, ..)| error.is(*errno))
        .map_or(("command", ""), |(_, kind, cure)| (kind, cure))
}

fn log_alarm(alarm: &Alarm) {
    let Alarm {
        local,
        source,
        packets,
        ..
    } = alarm;
    let tell = || match alarm.reason {
        AlarmReason::ForeignSource => warn!(
            "dropped {packets} packets to {local} that are not the party's, the first from {source}: \
             a stranger, or a party behind NAT (see `admission`)"
        ),
        AlarmReason::Flood if alarm.session.is_some() => {
            warn!("dropped {packets} packets to {local}: {source} sends more than it may");
        }
        AlarmReason::Flood => warn!(
            "dropped {packets} packets to ports of no call, one of them from {source} to {local}: \
             somebody scans the relay's ports, or goes on after the end of calls"
        ),
        AlarmReason::Loop => warn!(
            "dropped {packets} packets to {local} that go round, the first from {source}: a party's \
             address is a relay's, or routing has a loop"
        ),
    };
    match &alarm.session {
        Some(session) => call_span(&session.label).in_scope(tell),
        None => tell(),
    }
}

fn log_end(session: &SessionState, reason: EndReason) {
    let (packets, bytes) = tsl::sum(session);
    info!(
        session = session.id,
        reason = reason.name(),
        packets,
        bytes,
        age_s = session.age_ms / 1000,
        "relay ended"
    );
}
