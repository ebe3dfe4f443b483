// SPDX-License-Identifier: MIT OR Apache-2.0

//! Has a TSL carry out the core's commands, and brings back what it says.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::core::command::{Command, Outcome, Token};
use crate::tsl::{Error, Event, Events, Patience, Result, Tsl};

/// What a driver is to do.
#[derive(Debug)]
pub enum Order {
    /// Have a command carried out, and tell whoever wants it its outcome.
    CarryOut(Command, Asker),
    /// Wait for its TSL like this from now on.
    Wait(Patience),
}

/// Who wants to know what came of a command.
#[derive(Debug)]
pub enum Asker {
    /// The core, which gave it this number.
    Core(Token),
    /// Somebody who only looks.
    Looker(oneshot::Sender<Result<Outcome>>),
}

impl Asker {
    fn tell(self, result: Result<Outcome>, listener: &dyn Listener) {
        match self {
            Self::Core(token) => listener.outcome(token, result),
            Self::Looker(sender) => {
                // He may have gone.
                let _ = sender.send(result);
            }
        }
    }
}

/// Where outcomes and events go.
pub trait Listener: Send + Sync + 'static {
    /// What came of a command.
    fn outcome(&self, token: Token, result: Result<Outcome>);

    /// What the TSL tells unasked; `None` when it can tell no more.
    fn event(&self, event: Option<Event>);
}

/// A TSL of any kind, ready to be worked with.
pub struct Driver(Box<Drive>);

type Drive = dyn FnOnce(Duration, Orders, Arc<dyn Listener>) -> Work + Send;

type Orders = mpsc::UnboundedReceiver<Order>;

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Driver")
    }
}

impl Driver {
    /// Drives this TSL.
    pub fn new<T: Tsl>(tsl: Arc<T>) -> Self {
        Self(Box::new(move |bound, orders, listener| {
            Box::pin(drive(tsl, bound, orders, listener))
        }))
    }

    /// Carries out orders until there are no more and all have their outcome: no answer within the
    /// bound of their time, at first `bound`, is one.
    pub async fn run(self, bound: Duration, orders: Orders, listener: Arc<dyn Listener>) {
        (self.0)(bound, orders, listener).await;
    }
}

async fn drive<T: Tsl>(
    tsl: Arc<T>,
    mut bound: Duration,
    mut orders: Orders,
    listener: Arc<dyn Listener>,
) {
    // In this task: one for each would cost as much as what is done in them.
    let mut flights = FuturesUnordered::new();
    // Ends with this task, or when another takes its place.
    let mut subscription: Option<AbortOnDropHandle<()>> = None;
    let mut ordered = true;
    loop {
        tokio::select! {
            biased;
            Some((asker, result)) = flights.next() => {
                let result = match result {
                    Ok(Done::Outcome(outcome)) => Ok(outcome),
                    Ok(Done::Subscribed(events)) => {
                        let told = tell(events, Arc::clone(&listener));
                        subscription = Some(AbortOnDropHandle::new(tokio::spawn(told)));
                        Ok(Outcome::Done)
                    }
                    Err(error) => Err(error),
                };
                Asker::tell(asker, result, &*listener);
            }
            order = orders.recv(), if ordered => match order {
                Some(Order::Wait(patience)) => {
                    bound = patience.bound;
                    tsl.set_patience(patience);
                }
                Some(Order::CarryOut(command, asker)) => {
                    if matches!(command, Command::Subscribe(_)) {
                        if let Some(older) = subscription.take() {
                            // It holds the owner, which has to be free first.
                            older.abort();
                            let _ = older.await;
                        }
                    }
                    let tsl = Arc::clone(&tsl);
                    flights.push(async move {
                        let result = timeout(bound, carry_out(&*tsl, command)).await;
                        (asker, result.unwrap_or(Err(Error::NoAnswer)))
                    });
                }
                None => ordered = false,
            },
            else => return,
        }
    }
}

async fn tell(mut events: Events, listener: Arc<dyn Listener>) {
    while let Some(event) = events.recv().await {
        listener.event(Some(event));
    }
    listener.event(None);
}

/// What a command has led to.
enum Done {
    Outcome(Outcome),
    Subscribed(Events),
}

async fn carry_out<T: Tsl>(tsl: &T, command: Command) -> Result<Done> {
    let outcome = match command {
        Command::Subscribe(owner) => {
            return tsl.subscribe(Some(owner)).await.map(Done::Subscribed);
        }
        Command::Configure(settings) => tsl.config_set(settings).await.map(|()| Outcome::Done),
        Command::Dump => tsl.session_dump().await.map(Outcome::Table),
        Command::Get(id) => tsl
            .session_get(id)
            .await
            .map(|one| Outcome::Table(vec![one])),
        Command::Totals => tsl.totals_get().await.map(Box::new).map(Outcome::Totals),
        Command::New(new) => tsl.session_new(new).await.map(Outcome::Created),
        Command::Set(set) => tsl.session_set(set).await.map(|()| Outcome::Done),
        Command::Delete(id) => tsl.session_del(id).await.map(|()| Outcome::Done),
    };
    outcome.map(Done::Outcome)
}
