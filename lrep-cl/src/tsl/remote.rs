// SPDX-License-Identifier: MIT OR Apache-2.0

//! The layer of another host, which `lrep-cl tsl` serves there: gRPC over mutual TLS.
//!
//! Commands, answers and events travel in the encoding of the netlink family; what gRPC adds is in
//! `proto/lreproxy.proto`. The connection is made when it is needed, and made anew after it broke.

pub mod address;
mod connector;
pub(super) mod stream;
pub mod wire;

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use genl_proto::generated::PROTOCOL_VERSION;
use genl_proto::{Answer, Request};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Status, Streaming};
use tower::service_fn;

use self::address::Address;
use self::connector::{Connector, Faults};
use self::wire::tsl_client::TslClient;
use super::{
    Config, Created, Error, Event, Events, NewSession, Patience, Result, SessionId, SessionState,
    SetConfig, SetSession, Totals, Tsl, check_version,
};
use crate::tls::Identity;

/// The authority in requests. Nobody looks at it: the certificate says who the host is.
const AUTHORITY: &str = "http://tsl.invalid";

/// A host's layer, and how to work with it.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where `lrep-cl tsl` listens.
    pub address: Address,
    /// Whom to be and whom to trust. Not needed for unix sockets; none means no encryption, which
    /// is for unix sockets and addresses of this host only.
    pub identity: Option<Arc<Identity>>,
    /// How long an answer, each one of a dump, and a connection are waited for.
    pub deadline: Duration,
    /// How long the connection may be silent before the host has to show that it is there, and
    /// how long it then has for it.
    pub keep_alive: Duration,
}

/// The layer of another host.
#[derive(Clone, Debug)]
pub struct Remote {
    address: Address,
    identity: Option<Arc<Identity>>,
    /// Who this is among the host's controllers.
    number: u64,
    line: Arc<Mutex<Line>>,
    faults: Arc<Faults>,
}

/// What commands go by.
#[derive(Clone, Debug)]
struct Line {
    client: TslClient<Channel>,
    /// As in [`Options`].
    deadline: Duration,
    keep_alive: Duration,
}

impl Line {
    fn new(options: Options, faults: Arc<Faults>) -> Self {
        let Options {
            deadline,
            keep_alive,
            ..
        } = options;
        let connector = Connector {
            address: options.address,
            identity: options.identity,
            deadline,
            faults,
        };
        let channel = Endpoint::from_static(AUTHORITY)
            .http2_keep_alive_interval(keep_alive)
            .keep_alive_timeout(keep_alive)
            .keep_alive_while_idle(true)
            .connect_with_connector_lazy(service_fn(move |_: Uri| connector.clone().connect()));
        Self {
            client: TslClient::new(channel),
            deadline,
            keep_alive,
        }
    }

    /// Tells the host by when an answer is of use.
    fn limited<T>(&self, mut request: tonic::Request<T>) -> tonic::Request<T> {
        request.set_timeout(self.deadline);
        request
    }
}

impl Remote {
    /// Names a host; it need not be there yet. Call it inside a tokio runtime.
    pub fn new(options: Options) -> Self {
        let faults = Arc::new(Faults::default());
        Self {
            address: options.address.clone(),
            identity: options.identity.clone(),
            // Without one, it is a stranger to the host each time it comes.
            number: getrandom::u64().unwrap_or_default(),
            line: Arc::new(Mutex::new(Line::new(options, Arc::clone(&faults)))),
            faults,
        }
    }

    /// Finds the host's layer and makes sure that it can be worked with.
    ///
    /// # Errors
    ///
    /// Any; [`Error::Channel`] says why a connection cannot be made.
    pub async fn connect(options: Options) -> Result<Self> {
        let remote = Self::new(options);
        check_version(remote.config_get().await?)?;
        Ok(remote)
    }

    /// Has a command carried out.
    async fn execute(&self, request: Request) -> Result<wire::Message> {
        let command = tonic::Request::new(wire::command(&request).map_err(channel)?);
        let mut line = self.line();
        let command = line.limited(command);
        let answer = self.within(line.deadline, line.client.execute(command));
        let answer = answer.await?;
        wire::outcome(answer.into_inner())
    }

    /// Has a command carried out that has one answer, and picks it.
    async fn answer<T>(&self, request: Request, pick: fn(Answer) -> Option<T>) -> Result<T> {
        let command = request.command();
        let message = self.execute(request).await?;
        let answer = wire::read(&message)?;
        pick(answer)
            .ok_or_else(|| Error::Channel(format!("{} was answered differently", command.name())))
    }

    fn line(&self) -> Line {
        self.line.lock().clone()
    }

    /// Waits for something from the host, but not for ever.
    async fn within<T>(
        &self,
        deadline: Duration,
        awaited: impl Future<Output = std::result::Result<T, Status>>,
    ) -> Result<T> {
        match timeout(deadline, awaited).await {
            Ok(outcome) => outcome.map_err(|status| self.of_status(&status)),
            Err(_) => Err(Error::NoAnswer),
        }
    }

    fn of_status(&self, status: &Status) -> Error {
        match (self.faults.last(), status.code()) {
            (Some(fault), _) => Error::Channel(format!("{}: {fault}", self.address)),
            (None, Code::DeadlineExceeded | Code::Cancelled) => Error::NoAnswer,
            (None, _) => Error::Channel(format!("{}: {}", self.address, innermost(status))),
        }
    }
}

impl Tsl for Remote {
    async fn subscribe(&self, owner: Option<u32>) -> Result<Events> {
        let subscription = tonic::Request::new(wire::Subscription {
            protocol_version: PROTOCOL_VERSION,
            owner,
            controller: self.number,
        });
        let mut line = self.line();
        let subscription = line.limited(subscription);
        let events = self.within(line.deadline, line.client.subscribe(subscription));
        let mut events = events.await?.into_inner();
        // The first one tells whether there will be others.
        match self.within(line.deadline, events.message()).await? {
            Some(first) => wire::listening(first)?,
            None => return Err(self.of_status(&Status::unavailable("no events are told"))),
        }
        let (sender, receiver) = mpsc::unbounded_channel();
        tokio::spawn(pass_on(events, sender));
        Ok(receiver.into())
    }

    async fn session_new(&self, new: NewSession) -> Result<Created> {
        self.answer(Request::SessionNew(new), Answer::created).await
    }

    async fn session_set(&self, set: SetSession) -> Result<()> {
        self.execute(Request::SessionSet(set)).await.map(drop)
    }

    async fn session_del(&self, id: SessionId) -> Result<()> {
        self.execute(Request::SessionDel(id)).await.map(drop)
    }

    async fn session_get(&self, id: SessionId) -> Result<SessionState> {
        self.answer(Request::SessionGet(id), Answer::session).await
    }

    async fn session_dump(&self) -> Result<Vec<SessionState>> {
        let command = wire::command(&Request::SessionDump).map_err(channel)?;
        let mut line = self.line();
        let command = line.limited(tonic::Request::new(command));
        let dump = self.within(line.deadline, line.client.dump(command));
        let mut dump = dump.await?.into_inner();
        let mut sessions = Vec::new();
        while let Some(answer) = self.within(line.deadline, dump.message()).await? {
            sessions.extend(wire::read(&wire::outcome(answer)?)?.session());
        }
        Ok(sessions)
    }

    async fn session_flush(&self, owner: Option<u32>) -> Result<u64> {
        self.answer(Request::SessionFlush(owner), Answer::flushed)
            .await
    }

    async fn config_get(&self) -> Result<Config> {
        self.answer(Request::ConfigGet, Answer::config).await
    }

    async fn config_set(&self, settings: SetConfig) -> Result<()> {
        self.execute(Request::ConfigSet(settings)).await.map(drop)
    }

    async fn totals_get(&self) -> Result<Totals> {
        self.answer(Request::TotalsGet, Answer::totals).await
    }

    /// Commands go by a new connection; the old one ends with what is on its way there. Events go on
    /// to come by it.
    fn set_patience(&self, patience: Patience) {
        let mut line = self.line.lock();
        let (deadline, keep_alive) = (patience.bound, patience.timeout);
        if (line.deadline, line.keep_alive) != (deadline, keep_alive) {
            let options = Options {
                address: self.address.clone(),
                identity: self.identity.clone(),
                deadline,
                keep_alive,
            };
            *line = Line::new(options, Arc::clone(&self.faults));
        }
    }
}

/// Passes events on until either side ends. One that cannot be read is as good as lost.
async fn pass_on(mut events: Streaming<wire::Event>, to: mpsc::UnboundedSender<Event>) {
    loop {
        let event = tokio::select! {
            () = to.closed() => return,
            event = events.message() => event,
        };
        let Ok(Some(event)) = event else { return };
        if to.send(wire::event(event)).is_err() {
            return;
        }
    }
}

/// What lies at the root of a failure; what lies around it says less.
fn innermost(status: &Status) -> String {
    let mut cause = status.source();
    let mut text = status.message().to_owned();
    while let Some(error) = cause {
        text = error.to_string();
        cause = error.source();
    }
    text
}

fn channel(error: impl std::fmt::Display) -> Error {
    Error::Channel(error.to_string())
}
