// SPDX-License-Identifier: MIT OR Apache-2.0

//! The controller without its sockets: what comes in, what is to be done, and nothing else.
//!
//! The edge ([`crate::server`]) tells the core of requests, outcomes and events, each with the time,
//! and does what the core wants done. So whole calls, with TSLs that are slow, lose answers or
//! die, can be played through in a test, and the same happens again with the same input.
//!
//! What a late answer costs decides the shape: the SIP servers' workers block, stall or crash.
//! `P` and `G` are answered from memory. `S` and `D` wait for the TSL, but only for
//! [`ANSWER_BOUND`].

mod choice;
pub mod command;
mod job;
mod journal;
mod layer;
mod placements;
mod shortage;
pub mod status;
#[cfg(test)]
mod tests;
mod told;

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use ahash::{HashMap, RandomState};
use hashlink::LinkedHashMap;
use tracing::{debug, error, info, warn};

use self::choice::balancers;
use self::command::{Command, Outcome, Token};
use self::job::{Job, Wish};
use self::journal::cure;
use self::layer::{Io, Layer, is_full};
use self::placements::Placements;
use self::status::Status;
use crate::alarm::{Alarms, Withheld};
use crate::answers::Answered;
use crate::balance::Balancer;
use crate::call::Media;
use crate::config::Config;
use crate::intent::Refusal;
use crate::logging::CallId;
use crate::protocol::lrkproxy::{self, Command as Request, FRAME_MAX, Framing, Malformed, Verdict};
use crate::rate::{Bucket, Sources};
use crate::reply_cache::{Known, ReplyCache};
use crate::tsl::{self, Event, SessionState};

/// Longest wait for a TSL before an `S` or a `D` is answered without its outcome. Clients must
/// have their answer within 400 ms.
pub const ANSWER_BOUND: Duration = Duration::from_millis(300);

/// Answers kept for retransmissions.
const CACHED_ANSWERS: usize = 65_536;

/// Why a request is not even begun: its kind, and what the log says.
type NotBegun = (&'static str, &'static str);

const SILENT: NotBegun = (
    "silent",
    "no TSL that could relay it answers, no relay: `lrep-cl tsl list` shows how each is",
);

const OVERLOAD: NotBegun = (
    "overload",
    "too many requests wait for the relay: relay not changed",
);

/// Numbers a request that is not answered yet.
pub type RequestId = u64;

/// Where a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Client {
    /// A socket that sends datagrams and may repeat them.
    Udp {
        /// Which of the configuration's listeners it sent to.
        listener: usize,
        /// Its own address.
        peer: SocketAddr,
    },
    /// A connection of a unix socket, which repeats nothing.
    Unix {
        /// Which of the configuration's listeners it came to.
        listener: usize,
        /// A number of its own.
        connection: u64,
    },
}

impl Client {
    /// Whom it belongs to: all workers of a SIP server are one.
    fn server(self) -> SipServer {
        match self {
            Self::Udp { listener, peer } => (listener, Some(peer.ip().to_canonical())),
            Self::Unix { listener, .. } => (listener, None),
        }
    }

    fn listener(self) -> usize {
        match self {
            Self::Udp { listener, .. } | Self::Unix { listener, .. } => listener,
        }
    }
}

/// A SIP server: the listener it asks, and its address.
type SipServer = (usize, Option<IpAddr>);

/// What the edge is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send this to a client.
    Answer {
        /// To whom.
        client: Client,
        /// The whole answer.
        bytes: Vec<u8>,
    },
    /// Have a TSL carry out a command, and tell its outcome.
    Command {
        /// Its place in the configuration.
        tsl: usize,
        /// Comes back with the outcome.
        token: Token,
        /// The command.
        command: Command,
    },
    /// Tell the SIP side that this call's media has ceased, without anybody asking for it.
    Silenced {
        /// Its Call-ID.
        call_id: Vec<u8>,
    },
    /// A TSL was opened, or could not be.
    Opened {
        /// Its place in the configuration.
        tsl: usize,
        /// Why it could not be opened.
        result: tsl::Result<()>,
    },
}

/// A request that waits for a TSL.
#[derive(Debug)]
struct Pending {
    client: Client,
    request: Vec<u8>,
    /// What is answered when no outcome comes in time.
    fallback: Verdict,
}

/// The controller.
#[derive(Debug)]
pub struct Core {
    config: Config,
    random: fastrand::Rng,
    layers: Vec<Layer>,
    /// By the number of the set.
    balancers: BTreeMap<u32, Balancer>,
    placements: Placements,
    /// The TSL whose addresses a SIP server was told last; who was heard the longest ago comes first.
    homes: LinkedHashMap<SipServer, usize, RandomState>,
    cache: ReplyCache<(Client, Vec<u8>)>,
    sources: Sources,
    new_calls: Bucket,
    /// Whether new calls are refused.
    draining: bool,
    /// How many calls got no relay, by reason.
    refused: BTreeMap<&'static str, u64>,
    alarms: Alarms,
    pending: HashMap<RequestId, Pending>,
    /// When the pending requests have waited for long enough, in this order.
    due: VecDeque<(Instant, RequestId)>,
    request: RequestId,
    token: Token,
}

impl Core {
    /// A core that opens its TSLs. The ports of calls begin where the seed says.
    pub fn new(config: Config, seed: u64, now: Instant, actions: &mut Vec<Action>) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let layers = layers(&config, 0, &mut random, now);
        let mut core = Self {
            placements: Placements::new(config.call_life, config.calls_expected),
            balancers: balancers(&config),
            config,
            random,
            layers,
            homes: LinkedHashMap::default(),
            cache: ReplyCache::new(CACHED_ANSWERS),
            sources: Sources::default(),
            new_calls: Bucket::new(now),
            draining: false,
            refused: BTreeMap::new(),
            alarms: Alarms::default(),
            pending: HashMap::default(),
            due: VecDeque::new(),
            request: 0,
            token: 0,
        };
        core.tick(now, actions);
        core
    }

    /// Whether this client may ask for anything, now. The protocol has no authentication.
    pub fn admits(&mut self, listener: usize, peer: SocketAddr, now: Instant) -> bool {
        let address = peer.ip().to_canonical();
        let admitted = self.config.allows(listener, address);
        if let (true, Some(rate)) = (admitted, self.config.request_rate) {
            if !self.sources.take(address, rate, now) {
                self.alarm("request-rate", now, |withheld| {
                    error!(
                        withheld,
                        "ignored a request from {address}, which sends more than {rate} a second: \
                         find out why, or raise request_rate"
                    );
                });
                return false;
            }
        }
        if !admitted {
            self.alarm("client", now, |withheld| {
                warn!(
                    withheld,
                    "ignored a request from {peer}: add its address to `allow` if it is a SIP \
                     server of yours"
                );
            });
        }
        admitted
    }

    /// Takes a request. Whether it is or will be answered: not when it is none of the protocol's,
    /// or a repetition of one being carried out, or when silence is the answer.
    pub fn request(
        &mut self,
        client: Client,
        request: &[u8],
        now: Instant,
        actions: &mut Vec<Action>,
    ) -> bool {
        let framing = match client {
            Client::Udp { .. } => Framing::Datagram,
            Client::Unix { .. } => Framing::Stream,
        };
        let Some(command) = lrkproxy::decode(request, framing) else {
            return false;
        };
        // What is not repeated, or does nothing, needs no memory of it.
        let is_idle = matches!(
            command,
            Request::Ping | Request::Set(Err(_)) | Request::Delete(Err(_))
        );
        if !is_idle && matches!(client, Client::Udp { .. }) {
            match self.cache.begin((client, request.to_vec()), now) {
                Known::New => {}
                Known::InFlight => return false,
                Known::Answered(bytes) => {
                    debug!(?client, "repeated request answered as before");
                    actions.push(Action::Answer { client, bytes });
                    return true;
                }
            }
        }
        match command {
            Request::Ping => {
                if !self.is_in_service(client, now) {
                    return false;
                }
                let bytes = lrkproxy::pong(request);
                actions.push(Action::Answer { client, bytes });
            }
            Request::NodeConfig => {
                let config = self.node_config(client, now);
                let bytes = lrkproxy::node_config(request, &config);
                self.answer(client, request, bytes, now, actions);
            }
            Request::Set(Ok(relay)) => match self.wanted(client, &relay, now) {
                Ok((tsl, media)) => {
                    self.place(relay.call_id, tsl, &media, now, actions);
                    let wish = Wish::Set(Box::new(media));
                    self.ask(tsl, client, request, relay.call_id, wish, now, actions);
                }
                Err(refusal) => {
                    self.refused(&refusal, relay.call_id, now);
                    let bytes = lrkproxy::verdict(request, refusal.verdict());
                    self.answer(client, request, bytes, now, actions);
                }
            },
            Request::Delete(Ok(relay)) => {
                let places = self.named(&relay);
                match places.split_first() {
                    Some((&(tsl, answerer), others)) => {
                        for &(other, answerer) in others {
                            self.clear(other, relay.call_id, answerer, now, actions);
                        }
                        let wish = Wish::Delete(answerer);
                        self.ask(tsl, client, request, relay.call_id, wish, now, actions);
                    }
                    None => {
                        debug!(call_id = %CallId(relay.call_id), "nothing to delete");
                        let bytes = lrkproxy::verdict(request, Verdict::Ok);
                        self.answer(client, request, bytes, now, actions);
                    }
                }
            }
            Request::Set(Err(why)) | Request::Delete(Err(why)) => {
                self.malformed(why, request, now);
                let bytes = lrkproxy::verdict(request, Verdict::Ok);
                actions.push(Action::Answer { client, bytes });
            }
        }
        true
    }

    /// Takes what came of a command.
    pub fn outcome(
        &mut self,
        tsl: usize,
        token: Token,
        result: tsl::Result<Outcome>,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        let table = self.with(tsl, now, actions, |layer, io| {
            layer.outcome(token, result, io)
        });
        if let Some(Some(sessions)) = table {
            self.adopt(tsl, sessions, now, actions);
        }
    }

    /// Takes what a TSL tells unasked; `None` when it can tell no more.
    pub fn event(
        &mut self,
        tsl: usize,
        event: Option<Event>,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        self.with(tsl, now, actions, |layer, io| layer.event(event, io));
    }

    /// Does what is due: see [`Self::deadline`].
    pub fn tick(&mut self, now: Instant, actions: &mut Vec<Action>) {
        while self.due.front().is_some_and(|(due, _)| *due <= now) {
            if let Some((_, request)) = self.due.pop_front() {
                self.give_up(request, now, actions);
            }
        }
        self.placements.expire(now);
        for tsl in 0..self.layers.len() {
            self.with(tsl, now, actions, Layer::tick);
        }
    }

    /// When [`Self::tick`] has something to do, should nothing else happen.
    pub fn deadline(&self) -> Option<Instant> {
        let layers = self.layers.iter().filter_map(Layer::deadline);
        let due = self.due.front().map(|(due, _)| *due);
        layers.chain(due).chain(self.placements.deadline()).min()
    }

    /// Whether every request is answered.
    pub fn is_answered(&self) -> bool {
        self.pending.is_empty()
    }

    /// Whether everything that was asked for has come about or has failed.
    pub fn is_idle(&self) -> bool {
        self.is_answered() && self.layers.iter().all(Layer::is_idle)
    }

    /// How it is.
    pub fn status(&self, now: Instant) -> Status {
        let refused = self.refused.iter();
        Status {
            draining: self.draining,
            sessions: self.layers.iter().map(Layer::sessions).sum(),
            waiting: self.pending.len() as u64,
            refused: refused
                .map(|(reason, count)| ((*reason).to_owned(), *count))
                .collect(),
            tsls: self.layers.iter().map(|layer| layer.status(now)).collect(),
        }
    }

    /// The answers that clients may ask for once more, oldest first.
    pub fn answers(&self, now: Instant) -> Vec<Answered> {
        let known = self.cache.answers().filter_map(|(key, answer, since)| {
            let &(Client::Udp { listener, peer }, ref request) = key else {
                return None;
            };
            Some(Answered {
                listener: self.config.listen.get(listener)?.clone(),
                peer,
                request: request.clone(),
                answer: answer.to_vec(),
                age: now.saturating_duration_since(since),
            })
        });
        known.collect()
    }

    /// Takes the answers of an earlier run, oldest first.
    pub fn remember(&mut self, answers: Vec<Answered>, now: Instant) {
        for answered in answers {
            let listeners = self.config.listen.iter();
            let listener = listeners
                .enumerate()
                .find(|(_, listen)| **listen == answered.listener);
            let Some(((listener, _), since)) = listener.zip(now.checked_sub(answered.age)) else {
                continue;
            };
            let peer = answered.peer;
            let key = (Client::Udp { listener, peer }, answered.request);
            self.cache.finish(key, answered.answer, since);
        }
    }

    /// Refuses new calls from now on, or takes them again.
    pub fn drain(&mut self, draining: bool) {
        self.draining = draining;
    }

    /// Whether new calls are refused and the last one has ended. What a TSL holds that was not read
    /// yet may be calls.
    pub fn is_drained(&self) -> bool {
        let is_empty = |layer: &Layer| layer.is_read() && layer.sessions() == 0;
        self.draining && self.is_idle() && self.layers.iter().all(is_empty)
    }

    /// Lets a TSL have new calls, or no more; whether there is one of this name.
    pub fn enable(&mut self, tsl: &str, enabled: bool) -> bool {
        let layer = self
            .layers
            .iter_mut()
            .find(|layer| layer.config.name == tsl);
        match layer {
            Some(layer) => {
                layer.enable(enabled);
                true
            }
            None => false,
        }
    }

    /// Goes on with another configuration. Its listeners and TSLs must be those it had, with other
    /// weights and limits perhaps, and behind them TSLs that are new.
    pub fn reload(&mut self, config: Config, now: Instant, actions: &mut Vec<Action>) {
        self.placements.set_life(config.call_life);
        let balancers = balancers(&config);
        if config.algorithm == self.config.algorithm {
            for (set, balancer) in balancers {
                self.balancers.entry(set).or_insert(balancer);
            }
        } else {
            self.balancers = balancers;
        }
        let known = self.layers.len();
        self.layers
            .extend(layers(&config, known, &mut self.random, now));
        let weights: Vec<u32> = config.tsls.iter().map(|tsl| tsl.weight).collect();
        let (health, limits, counts) = (config.health, config.limits, counts(&config));
        self.config = config;
        for (tsl, weight) in weights.into_iter().enumerate() {
            self.with(tsl, now, actions, |layer, io| {
                layer.reload(weight, counts, health, limits, io);
            });
        }
        for tsl in known..self.layers.len() {
            self.with(tsl, now, actions, Layer::tick);
        }
    }

    /// Works with one TSL, then sees to the jobs that are over.
    fn with<R>(
        &mut self,
        tsl: usize,
        now: Instant,
        actions: &mut Vec<Action>,
        work: impl FnOnce(&mut Layer, &mut Io<'_>) -> R,
    ) -> Option<R> {
        let (mut finished, mut silenced) = (Vec::new(), Vec::new());
        let mut io = Io {
            now,
            actions,
            token: &mut self.token,
            alarms: &mut self.alarms,
            silenced: &mut silenced,
            finished: &mut finished,
        };
        let result = work(self.layers.get_mut(tsl)?, &mut io);
        for (job, result) in finished {
            self.finish(tsl, job, result, now, actions);
        }
        for call_id in silenced {
            // What has gone to another TSL meanwhile, or has another media, is not over.
            if !self.layers.iter().any(|layer| layer.knows(&call_id)) {
                actions.push(Action::Silenced { call_id });
            }
        }
        Some(result)
    }

    /// This media of a call is at this TSL from now on. Others, that were given up meanwhile, are to
    /// remove what they hold of it as soon as they can.
    fn place(
        &mut self,
        call_id: &[u8],
        tsl: usize,
        media: &Media,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        self.placements.touch(call_id, tsl, now);
        let answerer = media.answerer.local;
        for other in (0..self.layers.len()).filter(|other| *other != tsl) {
            if self.layers[other].may_hold(call_id, answerer) {
                self.clear(other, call_id, answerer, now, actions);
            }
        }
    }

    /// Has a TSL end a media that nobody waits for.
    fn clear(
        &mut self,
        tsl: usize,
        call_id: &[u8],
        answerer: SocketAddr,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        let job = Job::new(call_id, Wish::Delete(answerer), None, now);
        self.submit(tsl, job, now, actions);
    }

    /// Has a TSL fulfil a wish, and the client answered with what comes of it.
    #[expect(clippy::too_many_arguments, reason = "a request and where it goes")]
    fn ask(
        &mut self,
        tsl: usize,
        client: Client,
        request: &[u8],
        call_id: &[u8],
        wish: Wish,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        self.request += 1;
        let id = self.request;
        let fallback = match wish {
            Wish::Set(_) => Verdict::Error,
            // Whatever comes of it, clients only understand OK.
            Wish::Delete(_) => Verdict::Ok,
        };
        self.pending.insert(
            id,
            Pending {
                client,
                request: request.to_vec(),
                fallback,
            },
        );
        self.due.push_back((now + ANSWER_BOUND, id));
        let job = Job::new(call_id, wish, Some(id), now + ANSWER_BOUND);
        self.submit(tsl, job, now, actions);
    }

    fn submit(&mut self, tsl: usize, job: Job, now: Instant, actions: &mut Vec<Action>) {
        let refused = self.with(tsl, now, actions, |layer, io| {
            layer.wake(io);
            let (id, is_end) = (job.asker, matches!(job.wish, Wish::Delete(_)));
            if !is_end && layer.is_given_up(io.now) {
                return Some((id, Some(SILENT)));
            }
            let is_closed = layer.is_closed(io.now);
            match layer.submit(job, io) {
                Err(job) => Some((job.asker, Some(OVERLOAD))),
                // It would be in vain to wait for a TSL that is gone.
                Ok(()) => (is_closed && is_end).then_some((id, None)),
            }
        });
        let Some(Some((request, refusal))) = refused else {
            return;
        };
        if let Some((kind, why)) = refusal {
            self.count(kind);
            self.alarm(kind, now, |withheld| error!(withheld, "{why}"));
        }
        if let Some(pending) = self.take_pending(request) {
            self.conclude(&pending, pending.fallback, now, actions);
        }
    }

    fn finish(
        &mut self,
        tsl: usize,
        mut job: Job,
        result: tsl::Result<()>,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        if let (Err(error), Wish::Set(media)) = (&result, &job.wish) {
            let waits = job.asker.is_some_and(|id| self.pending.contains_key(&id));
            if is_full(error) && waits {
                job.refused_by.push(tsl);
                if let Some(other) = self.alternative(&job, media, now) {
                    let (label, media) = (job.label.clone(), **media);
                    self.place(&label, other, &media, now, actions);
                    return self.submit(other, job, now, actions);
                }
            }
        }
        let is_over = result.is_ok()
            && matches!(job.wish, Wish::Delete(_))
            && !self.layers.iter().any(|layer| layer.knows(&job.label));
        if is_over {
            self.placements.forget(&job.label);
        }
        match self.take_pending(job.asker) {
            Some(pending) => {
                let verdict = match result {
                    Ok(()) => Verdict::Ok,
                    Err(error) => {
                        let (reason, _) = cure(&error);
                        self.count(reason);
                        pending.fallback
                    }
                };
                self.conclude(&pending, verdict, now, actions);
            }
            None if job.asker.is_none() => {}
            None => info!(
                call_id = %CallId(&job.label),
                done = result.is_ok(),
                "{} later than it was answered",
                job.wish.name()
            ),
        }
    }

    fn take_pending(&mut self, request: Option<RequestId>) -> Option<Pending> {
        let pending = self.pending.remove(&request?)?;
        // Nobody need be woken for what is answered.
        while let Some((_, oldest)) = self.due.front() {
            if self.pending.contains_key(oldest) {
                break;
            }
            self.due.pop_front();
        }
        Some(pending)
    }

    /// Answers a request whose outcome did not come in time.
    fn give_up(&mut self, request: RequestId, now: Instant, actions: &mut Vec<Action>) {
        let Some(pending) = self.take_pending(Some(request)) else {
            return;
        };
        self.count("slow");
        self.alarm("slow", now, |withheld| {
            error!(
                withheld,
                request = %pending.request.escape_ascii(),
                "the relay did not answer within {} ms: answered without waiting for it",
                ANSWER_BOUND.as_millis()
            );
        });
        self.conclude(&pending, pending.fallback, now, actions);
    }

    fn conclude(
        &mut self,
        pending: &Pending,
        verdict: Verdict,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        let bytes = lrkproxy::verdict(&pending.request, verdict);
        self.answer(pending.client, &pending.request, bytes, now, actions);
    }

    fn answer(
        &mut self,
        client: Client,
        request: &[u8],
        bytes: Vec<u8>,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        if matches!(client, Client::Udp { .. }) {
            let key = (client, request.to_vec());
            self.cache.finish(key, bytes.clone(), now);
        }
        actions.push(Action::Answer { client, bytes });
    }

    /// Takes the table of a TSL for what it holds. At first that is the record of what calls have; later,
    /// what they do not have there is removed: since this one was away, they may have gone to another
    /// TSL, or ended.
    fn adopt(
        &mut self,
        tsl: usize,
        sessions: Vec<SessionState>,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        let mut removed = Vec::new();
        for session in &sessions {
            let Some(media) = Media::of(session) else {
                continue;
            };
            if session.owner != self.config.owner {
                continue;
            }
            let (label, answerer) = (&session.label, media.answerer.local);
            if !self.layers[tsl].explains(label, answerer) {
                let why = "it was to end, or nobody was told of it, while its TSL was away";
                removed.push((label.clone(), answerer, why));
                continue;
            }
            match self.placements.get(label).filter(|place| *place != tsl) {
                Some(place) if self.layers[place].may_hold(label, answerer) => {
                    let why = "the call has gone to another TSL meanwhile";
                    removed.push((label.clone(), answerer, why));
                }
                Some(_) => {}
                None => self.placements.touch(label, tsl, now),
            }
        }
        self.with(tsl, now, actions, |layer, io| layer.adopt(sessions, io));
        for (label, answerer, why) in removed {
            info!(
                call_id = %CallId(&label),
                tsl = self.layers[tsl].config.name,
                "relay removed, since {why}"
            );
            self.clear(tsl, &label, answerer, now, actions);
        }
    }

    /// Tells of a frame that is no whole command. It is answered `OK`, as the protocol has it.
    fn malformed(&mut self, why: Malformed, request: &[u8], now: Instant) {
        self.alarm("malformed", now, |withheld| {
            let frame = &request[..request.len().min(FRAME_MAX)];
            error!(
                withheld,
                frame = %frame.escape_ascii(),
                "request ignored: {why}; the SIP server's buffers have probably run over, which \
                 Call-IDs of more than 48 bytes do to it"
            );
        });
    }

    fn refused(&mut self, refusal: &Refusal, call_id: &[u8], now: Instant) {
        self.count(refusal.kind());
        self.alarm(refusal.kind(), now, |withheld| {
            error!(call_id = %CallId(call_id), withheld, "no relay installed: {refusal}");
        });
    }

    /// A call got no relay for this reason.
    fn count(&mut self, reason: &'static str) {
        *self.refused.entry(reason).or_insert(0) += 1;
    }

    fn alarm(&mut self, kind: &'static str, now: Instant, log: impl FnOnce(Withheld)) {
        if let Some(withheld) = self.alarms.due(kind, now) {
            log(withheld);
        }
    }
}

/// Whether the counters of TSLs matter: only among several is it of interest how one of them is.
fn counts(config: &Config) -> bool {
    config.tsls.len() > 1
}

/// The TSLs of a configuration from this place on, which are not open yet.
fn layers(config: &Config, from: usize, random: &mut fastrand::Rng, now: Instant) -> Vec<Layer> {
    let tsls = config.tsls.iter().enumerate().skip(from);
    tsls.map(|(index, tsl)| {
        Layer::new(
            index,
            tsl.clone(),
            config.health,
            config.owner,
            config.limits,
            config.parts(),
            counts(config),
            &mut |below| random.u32(..below),
            now,
        )
    })
    .collect()
}
