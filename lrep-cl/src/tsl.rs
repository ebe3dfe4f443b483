// SPDX-License-Identifier: MIT OR Apache-2.0

//! The transport stateful layer: what forwards the packets, as the controller sees it.
//!
//! The words are those of the netlink family (`genl-proto/lreproxy.yaml`). The table of the
//! layer is the truth: it outlives the controller, which adopts what it finds there.

pub mod engine;
pub mod kernel;
pub mod remote;
pub mod serve;
pub mod userspace;

use std::future::Future;
use std::time::Duration;

use genl_proto::generated::PROTOCOL_VERSION;
pub use genl_proto::generated::{AlarmReason, DropReason, EndReason, LearningMode, StreamKind};
pub use genl_proto::{
    Alarm, AlarmedSession, Config, Counters, Created, Endpoint, Learned, Learning, Limits,
    NewSession, Quality, Receiving, Refusal, Refused, Report, Roam, Sending, SessionState,
    SetConfig, SetSession, Stream, StreamState, Totals,
};
use nix::errno::Errno;
use tokio::sync::mpsc;

/// Number the layer gave a session: never zero, never given twice.
pub type SessionId = u64;

/// What the layer tells unasked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A session has ended: its final state, and why.
    Ended(SessionState, EndReason),
    /// Something is wrong with packets that arrive.
    Alarm(Alarm),
    /// Events were lost: only a dump tells what is there.
    Overrun,
}

/// What a layer tells from a subscription on. A controller holds its owner number for as long as it has
/// this.
#[derive(Debug)]
pub struct Events {
    told: mpsc::UnboundedReceiver<Event>,
    /// Given up with the rest.
    _claim: Option<kernel::Claim>,
}

impl Events {
    /// The next event; `None` when the layer cannot go on telling them.
    pub async fn recv(&mut self) -> Option<Event> {
        self.told.recv().await
    }
}

impl From<mpsc::UnboundedReceiver<Event>> for Events {
    fn from(told: mpsc::UnboundedReceiver<Event>) -> Self {
        Self { told, _claim: None }
    }
}

/// Packets and bytes that a session has forwarded, in both directions of all its streams.
pub fn sum(session: &SessionState) -> (u64, u64) {
    session
        .streams
        .iter()
        .flat_map(|state| [state.from_a, state.from_b])
        .fold((0, 0), |(packets, bytes), counters| {
            (packets + counters.packets, bytes + counters.bytes)
        })
}

/// Why the layer did not do what it was asked to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The family does not exist.
    #[error("the kernel module lreproxy is not loaded: run `modprobe lreproxy`")]
    ModuleAbsent,
    /// The module speaks another version of the protocol.
    #[error(
        "the loaded kernel module (version {module}) speaks protocol version {theirs}, this \
         program version {ours}: install module and lrep-cl of the same release, then reload the \
         module"
    )]
    VersionDiffers {
        /// Version of the module itself.
        module: String,
        /// Its protocol version.
        theirs: u32,
        /// Ours.
        ours: u32,
    },
    /// CAP_NET_ADMIN is missing.
    #[error(
        "no permission to control the relay: run as root or with CAP_NET_ADMIN in this network \
         namespace"
    )]
    Permission,
    /// The layer refused the command.
    #[error("the relay refused it: {0}")]
    Refused(#[from] Refusal),
    /// No answer came in time; whether the command was carried out is unknown.
    #[error("the kernel did not answer in time")]
    NoAnswer,
    /// The channel to the layer is broken; whether the command was carried out is unknown.
    #[error("the channel to the kernel broke: {0}")]
    Channel(String),
}

impl Error {
    /// Whether this is the kernel's refusal with error number `errno`.
    pub fn is(&self, errno: Errno) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.errno == errno as i32)
    }

    /// Whether it is unknown now what the layer's table holds: the command may have been carried
    /// out all the same, or the layer is no longer the one spoken to before.
    pub fn is_uncertain(&self) -> bool {
        matches!(self, Self::ModuleAbsent | Self::NoAnswer | Self::Channel(_))
    }
}

/// Refuses a controller whose owner number another one has, whom `holder` names.
fn taken(owner: u32, holder: &str) -> Error {
    Error::Refused(Refusal {
        // Of no other refusal: what is wrong is neither an address nor a port.
        errno: Errno::ENOTUNIQ as i32,
        message: Some(format!(
            "owner {owner} belongs to another controller{holder}: give each daemon that works with \
             this relay an `owner` of its own"
        )),
    })
}

/// Refuses a layer that speaks another version of the protocol, older or newer.
fn check_version(config: Config) -> Result<()> {
    if config.protocol_version == PROTOCOL_VERSION {
        return Ok(());
    }
    Err(Error::VersionDiffers {
        module: config.module_version,
        theirs: config.protocol_version,
        ours: PROTOCOL_VERSION,
    })
}

/// Result of a command.
pub type Result<T> = std::result::Result<T, Error>;

/// How long a layer is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For an answer from elsewhere, until the question is repeated, or doubted (`lreproxy_tout`).
    pub timeout: Duration,
    /// How often a question that can be lost is asked (`lreproxy_retr`).
    pub tries: u32,
    /// For the outcome of a command: then it counts as unknown.
    pub bound: Duration,
    /// How long a session is remembered that is not asked for again, where the layer itself cannot
    /// tell what it holds (`hash_table_tout`).
    pub life: Duration,
}

/// A transport stateful layer. Commands are all or nothing.
pub trait Tsl: Send + Sync + 'static {
    /// Starts to tell events. With an owner: to the controller of the sessions that bear it, of which
    /// there is one at a time. It holds the owner until it drops what is returned; meanwhile others are
    /// refused with ENOTUNIQ. Without one: to somebody who only listens.
    fn subscribe(&self, owner: Option<u32>) -> impl Future<Output = Result<Events>> + Send;

    /// Makes a session; it forwards when this returns. EEXIST when a local port is taken and
    /// others are not to be replaced, EADDRNOTAVAIL when a local address is not configured.
    fn session_new(&self, new: NewSession) -> impl Future<Output = Result<Created>> + Send;

    /// Gives the remotes and the timeout of a session new values; its counters go on. ENOENT
    /// when there is no such session or stream.
    fn session_set(&self, set: SetSession) -> impl Future<Output = Result<()>> + Send;

    /// Ends a session; an event tells its final state. ENOENT when there is none.
    fn session_del(&self, id: SessionId) -> impl Future<Output = Result<()>> + Send;

    /// Tells one session. ENOENT when there is none.
    fn session_get(&self, id: SessionId) -> impl Future<Output = Result<SessionState>> + Send;

    /// Tells all sessions, of every owner, in the order of their ids.
    fn session_dump(&self) -> impl Future<Output = Result<Vec<SessionState>>> + Send;

    /// Ends all sessions, or those of one owner; tells how many.
    fn session_flush(&self, owner: Option<u32>) -> impl Future<Output = Result<u64>> + Send;

    /// Tells settings and versions.
    fn config_get(&self) -> impl Future<Output = Result<Config>> + Send;

    /// Makes settings. EBUSY when a session lives on an address that would go.
    fn config_set(&self, settings: SetConfig) -> impl Future<Output = Result<()>> + Send;

    /// Tells the counters.
    fn totals_get(&self) -> impl Future<Output = Result<Totals>> + Send;

    /// Waits as long as this from now on. A layer that needs not wait has nothing to do. Called inside
    /// a tokio runtime.
    fn set_patience(&self, _patience: Patience) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_of_another_protocol_version_is_refused_with_both_versions_and_a_cure() {
        let module = |protocol_version| Config {
            protocol_version,
            module_version: "9.8.7".to_owned(),
            ports: Vec::new(),
            local_addresses: Vec::new(),
            quality: true,
            limits: Limits::default(),
        };
        assert_eq!(check_version(module(PROTOCOL_VERSION)), Ok(()));
        for theirs in [PROTOCOL_VERSION - 1, PROTOCOL_VERSION + 1] {
            let text = check_version(module(theirs))
                .expect_err("another version")
                .to_string();
            for part in [
                "version 9.8.7",
                &format!("protocol version {theirs}"),
                &format!("this program version {PROTOCOL_VERSION}"),
                "install module and lrep-cl of the same release",
            ] {
                assert!(text.contains(part), "{text}");
            }
        }
    }
}
