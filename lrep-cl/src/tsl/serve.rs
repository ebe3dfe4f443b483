// SPDX-License-Identifier: MIT OR Apache-2.0

//! Serves a layer to controllers elsewhere: the other side of [`remote`](super::remote).

mod listener;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use futures_util::stream::{self, StreamExt};
use genl_proto::{Answer, Request};
use nix::errno::Errno;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::server;
use tonic::{Response, Status};
use tonic_health::ServingStatus;
use tonic_health::server::{HealthReporter, health_reporter};
use tracing::{info, warn};

pub use self::listener::{Guard, ListenError, Listener};
use super::remote::wire::{self, tsl_server};
use super::{Error, Event, Events, Result, Tsl};

/// Events that may wait for a receiver that is slow or far away.
const BACKLOG: usize = 4096;

/// How long a layer may take for an answer, whatever the controller says.
const ANSWERED_WITHIN: Duration = Duration::from_secs(30);

/// How often the layer is asked whether it is there, and how long it may take to say so.
const ASKED_EVERY: Duration = Duration::from_secs(2);

/// How long a connection may be silent before it is pinged, and how long the answer may take. A
/// controller whose machine is gone holds its owner for as long as both together, and who is to take its
/// place waits for that.
const PINGED_AFTER: Duration = Duration::from_secs(2);
const PINGED_FOR: Duration = Duration::from_secs(3);

/// How long connections are waited for when stopping.
const STOPPED_WITHIN: Duration = Duration::from_secs(3);

/// Serves a layer until `stop`.
///
/// The health service (`grpc.health.v1.Health`) says SERVING while the layer answers.
///
/// # Errors
///
/// When the server cannot work at all.
pub async fn serve<T: Tsl>(
    tsl: Arc<T>,
    listener: Listener,
    stop: CancellationToken,
) -> std::result::Result<(), tonic::transport::Error> {
    let (reporter, health) = health_reporter();
    set_health(&reporter, ServingStatus::NotServing).await;
    let _health = AbortOnDropHandle::new(tokio::spawn({
        let tsl = Arc::clone(&tsl);
        async move {
            let mut serving = None;
            loop {
                report(&*tsl, &reporter, &mut serving).await;
                sleep(ASKED_EVERY).await;
            }
        }
    }));
    let service = Service {
        tsl,
        stop: stop.clone(),
        controllers: Mutex::default(),
    };
    let serving = server::Server::builder()
        .timeout(ANSWERED_WITHIN)
        .http2_keepalive_interval(Some(PINGED_AFTER))
        .http2_keepalive_timeout(Some(PINGED_FOR))
        .add_service(health)
        .add_service(tsl_server::TslServer::new(service))
        .serve_with_incoming_shutdown(
            listener.incoming(stop.clone()),
            stop.clone().cancelled_owned(),
        );
    let patience = async {
        stop.cancelled().await;
        sleep(STOPPED_WITHIN).await;
    };
    tokio::select! {
        served = serving => served,
        () = patience => Ok(()),
    }
}

/// Asks the layer whether it is there, and tells those who ask for its health.
async fn report<T: Tsl>(tsl: &T, reporter: &HealthReporter, serving: &mut Option<bool>) {
    // There is no session 0, which is all that is to be said about it.
    let answer = timeout(ASKED_EVERY, tsl.session_get(0)).await;
    let outcome = answer.unwrap_or(Err(Error::NoAnswer));
    let answers = matches!(outcome, Ok(_) | Err(Error::Refused(_)));
    if serving.replace(answers) == Some(answers) {
        return;
    }
    match outcome {
        Err(error) if !answers => warn!("the layer cannot be worked with: {error}"),
        _ => info!("the layer can be worked with"),
    }
    let status = match answers {
        true => ServingStatus::Serving,
        false => ServingStatus::NotServing,
    };
    set_health(reporter, status).await;
}

/// Tells the health of the only service, and of the whole, which is the same.
async fn set_health(reporter: &HealthReporter, status: ServingStatus) {
    for service in ["", tsl_server::SERVICE_NAME] {
        reporter.set_service_status(service, status).await;
    }
}

struct Service<T> {
    tsl: Arc<T>,
    stop: CancellationToken,
    /// What passes events on to controllers, by their numbers.
    controllers: Mutex<HashMap<u64, AbortOnDropHandle<()>>>,
}

impl<T: Tsl> Service<T> {
    /// Listens to the layer. A controller that comes once more holds its owner already when its old
    /// connection is not known to be dead yet: that one is ended first.
    async fn listen(&self, subscription: &wire::Subscription) -> Result<Events> {
        wire::check_version(subscription.protocol_version)?;
        if subscription.owner.is_some() {
            let older = self.controllers.lock().remove(&subscription.controller);
            if let Some(older) = older {
                older.abort();
                let _ = older.await;
            }
        }
        self.tsl.subscribe(subscription.owner).await
    }

    /// Keeps what passes events on to a controller, for when it comes once more.
    fn keep(&self, subscription: &wire::Subscription, passing_on: AbortOnDropHandle<()>) {
        let mut controllers = self.controllers.lock();
        controllers.retain(|_, passing_on| !passing_on.is_finished());
        controllers.insert(subscription.controller, passing_on);
    }

    /// Has one command carried out; `None` is an acknowledgement.
    async fn execute(&self, request: Request) -> Result<Option<Answer>> {
        let tsl = &self.tsl;
        Ok(match request {
            Request::SessionNew(new) => Some(Answer::Created(tsl.session_new(new).await?)),
            Request::SessionSet(set) => tsl.session_set(set).await.map(|()| None)?,
            // The final state is in the event, and in no answer.
            Request::SessionDel(id) => tsl.session_del(id).await.map(|()| None)?,
            Request::SessionGet(id) => Some(Answer::Session(tsl.session_get(id).await?)),
            Request::SessionFlush(owner) => Some(Answer::Flushed(tsl.session_flush(owner).await?)),
            Request::ConfigGet => Some(Answer::Config(tsl.config_get().await?)),
            Request::ConfigSet(settings) => tsl.config_set(settings).await.map(|()| None)?,
            Request::TotalsGet => Some(Answer::Totals(tsl.totals_get().await?)),
            Request::SessionDump | Request::SessionBulkNew(_) | Request::SessionBulkDel(_) => {
                let text = format!("{} is not served so", request.command().name());
                return Err(wire::refused(Errno::EOPNOTSUPP, text));
            }
        })
    }

    async fn dump(&self, command: &wire::Command) -> Result<Vec<super::SessionState>> {
        match wire::request(command)? {
            Request::SessionDump => self.tsl.session_dump().await,
            request => {
                let text = format!("{} is no dump", request.command().name());
                Err(wire::refused(Errno::EOPNOTSUPP, text))
            }
        }
    }
}

/// What is sent bit by bit.
type Sent<T> = std::pin::Pin<Box<dyn Stream<Item = std::result::Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl<T: Tsl> tsl_server::Tsl for Service<T> {
    type DumpStream = Sent<wire::Answer>;
    type SubscribeStream = Sent<wire::Event>;

    async fn execute(
        &self,
        command: tonic::Request<wire::Command>,
    ) -> std::result::Result<Response<wire::Answer>, Status> {
        let command = command.into_inner();
        let outcome = match wire::request(&command) {
            Ok(request) => self.execute(request).await,
            Err(error) => Err(error),
        };
        Ok(Response::new(wire::answer(command.command, outcome)))
    }

    async fn dump(
        &self,
        command: tonic::Request<wire::Command>,
    ) -> std::result::Result<Response<Self::DumpStream>, Status> {
        let command = command.into_inner();
        let number = command.command;
        let answer = move |outcome| Ok(wire::answer(number, outcome));
        Ok(Response::new(match self.dump(&command).await {
            Ok(sessions) => Box::pin(
                stream::iter(sessions)
                    .map(move |session| answer(Ok(Some(Answer::Session(session))))),
            ),
            Err(error) => Box::pin(stream::once(async move { answer(Err(error)) })),
        }))
    }

    async fn subscribe(
        &self,
        subscription: tonic::Request<wire::Subscription>,
    ) -> std::result::Result<Response<Self::SubscribeStream>, Status> {
        let subscription = subscription.into_inner();
        let (first, events) = match self.listen(&subscription).await {
            Ok(events) => (Ok(()), Some(events)),
            Err(error) => (Err(error), None),
        };
        let first = stream::once(async { Ok(wire::listens(first)) });
        let Some(events) = events else {
            return Ok(Response::new(Box::pin(first)));
        };
        let (sender, waiting) = mpsc::channel(BACKLOG);
        let passing_on = tokio::spawn(pass_on(events, sender, self.stop.clone()));
        if subscription.owner.is_some() && subscription.controller != 0 {
            self.keep(&subscription, AbortOnDropHandle::new(passing_on));
        }
        let waiting = stream::unfold(waiting, async |mut waiting| {
            let event = waiting.recv().await?;
            Some((Ok(wire::tell(event)), waiting))
        });
        Ok(Response::new(Box::pin(first.chain(waiting))))
    }
}

/// Passes events on to a receiver, until it falls behind, goes away, or no more are told.
async fn pass_on(mut events: Events, to: mpsc::Sender<Event>, stop: CancellationToken) {
    loop {
        let event = tokio::select! {
            () = stop.cancelled() => return,
            () = to.closed() => return,
            event = events.recv() => event,
        };
        let Some(event) = event else { return };
        if to.try_send(event).is_err() {
            warn!("a controller does not keep up with the events, and has to begin anew");
            return;
        }
    }
}
