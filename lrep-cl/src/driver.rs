// SPDX-License-Identifier: MIT OR Apache-2.0

//! Has a TSL carry out the core's commands, and brings back what it says.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
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
    let mut flights = FuturesUnordered::<Flight>::new();
    // One for all of them, as nearly all land long before.
    let mut alarm = pin!(sleep_until(Instant::now()));
    let mut is_watched = false;
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
                tell_asker(asker, result, &*listener);
            }
            () = alarm.as_mut(), if is_watched && !flights.is_empty() => {
                let now = Instant::now();
                for flight in std::mem::take(&mut flights) {
                    if flight.due <= now {
                        tell_asker(flight.asker, Err(Error::NoAnswer), &*listener);
                    } else {
                        flights.push(flight);
                    }
                }
                let due = flights.iter().map(|flight| flight.due).min();
                is_watched = due.is_some();
                if let Some(due) = due {
                    alarm.as_mut().reset(due);
                }
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
                    let due = Instant::now() + bound;
                    // With another bound it may be the first one that is due.
                    if !is_watched || due < alarm.deadline() {
                        alarm.as_mut().reset(due);
                        is_watched = true;
                    }
                    let tsl = Arc::clone(&tsl);
                    flights.push(Flight {
                        due,
                        asker: Some(asker),
                        work: Box::pin(async move { carry_out(&*tsl, command).await }),
                    });
                }
                None => ordered = false,
            },
            else => return,
        }
    }
}

fn tell_asker(asker: Option<Asker>, result: Result<Outcome>, listener: &dyn Listener) {
    match asker {
        Some(Asker::Core(token)) => listener.outcome(token, result),
        Some(Asker::Looker(sender)) => {
            // He may have gone.
            let _ = sender.send(result);
        }
        None => {}
    }
}

/// A command on its way.
struct Flight {
    /// When it is given up.
    due: Instant,
    /// Until it has landed.
    asker: Option<Asker>,
    work: Pin<Box<dyn Future<Output = Result<Done>> + Send>>,
}

impl Future for Flight {
    type Output = (Option<Asker>, Result<Done>);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let result = ready!(self.work.as_mut().poll(context));
        Poll::Ready((self.asker.take(), result))
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
