// SPDX-License-Identifier: MIT OR Apache-2.0

//! Commands to the module: a socket, and a thread that works with it.
//!
//! The kernel carries a command out inside the system call that sends it, so a kernel that is stuck
//! blocks the sending thread and nobody else. What is asked for at once, or while the thread is at
//! work, goes out together, in one system call, and sessions to be made or ended in one command: when
//! calls come fast, most of what a command costs besides its own work is shared.

mod parcel;

use std::io;
use std::mem;
use std::sync::mpsc;
use std::thread;

use genl_proto::{Answer, Message, Refusal, Request};
use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP_INTR, NetlinkMessage, NetlinkPayload};
use netlink_packet_generic::GenlMessage;
use netlink_sys::protocols::NETLINK_GENERIC;
use netlink_sys::{Socket, SocketAddr};
use nix::sys::socket::{MsgFlags, setsockopt, sockopt};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use self::parcel::{Parcel, pack};
use super::channel_error;
use crate::tsl::{Error, Result};

/// Orders that are carried out together at most. Their answers, of at most 5 KiB of the kernel's memory
/// each, fit into the buffer that every socket has.
const BATCH: usize = 32;

/// Bytes of commands after which no further one is added.
const ENOUGH: usize = 32 * 1024;

/// The most the kernel puts into one part of a dump (`netlink_dump()` of `net/netlink/af_netlink.c`)
/// fits, and so does every single answer.
const ANSWER_MAX: usize = 64 * 1024;

/// Bytes of answers that may wait in the kernel.
const WAITING_MAX: usize = 1024 * 1024;

/// A command and where its answers go.
struct Order {
    request: Request,
    family: u16,
    asker: Asker,
}

type Asker = oneshot::Sender<Result<Answers>>;

/// What a command was answered with.
#[derive(Debug, Default)]
pub struct Answers {
    /// The answers.
    pub all: Vec<Answer>,
    /// Whether the table changed under a dump.
    pub is_interrupted: bool,
}

/// A socket for commands.
#[derive(Debug)]
pub struct Channel {
    orders: UnboundedSender<Order>,
}

impl Channel {
    /// Opens a socket and starts the thread, which ends when nobody can ask it any more.
    pub fn open(name: &str) -> io::Result<Self> {
        let line = Line::open()?;
        let (orders, mut given) = unbounded_channel();
        let (batches, waiting) = mpsc::channel();
        let (results, mut carried_out) = unbounded_channel::<Vec<_>>();
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || line.work(&waiting, &results))?;
        // The thread may run as soon as it is woken: not before all have ordered who are about to.
        tokio::spawn(async move {
            let mut batch = Vec::new();
            while given.recv_many(&mut batch, BATCH).await > 0 {
                if batches.send(mem::take(&mut batch)).is_err() {
                    return;
                }
            }
        });
        // Whoever waits is woken from here, where waking costs no system call.
        tokio::spawn(async move {
            while let Some(batch) = carried_out.recv().await {
                for (asker, result) in batch {
                    tell(asker, result);
                }
            }
        });
        Ok(Self { orders })
    }

    /// Has one command of the family of this number carried out.
    ///
    /// # Errors
    ///
    /// What the kernel refused, as it said it; [`Error::Channel`] when no answer can be had.
    pub async fn request(&self, family: u16, request: Request) -> Result<Answers> {
        let (asker, answers) = oneshot::channel();
        let order = Order {
            request,
            family,
            asker,
        };
        let is_gone = |_| Error::Channel("its thread has ended".to_owned());
        self.orders
            .send(order)
            .map_err(|_| is_gone(()))
            .map(|()| answers)?
            .await
            .unwrap_or_else(|_| Err(is_gone(())))
    }
}

/// He may not wait any longer.
fn tell(asker: Asker, result: Result<Answers>) {
    let _ = asker.send(result);
}

/// The socket and what is on its way.
struct Line {
    socket: Socket,
    /// Commands to be sent.
    sending: Vec<u8>,
    received: Vec<u8>,
    /// Number of the next command.
    sequence: u32,
}

/// A command that was sent.
struct Flight {
    parcel: Parcel,
    /// Whether its first answer is its last: otherwise an acknowledgement or the end of a dump is.
    is_single: bool,
    answers: Answers,
    result: Option<Result<()>>,
}

/// Who is told what came of commands.
type Results = Vec<(Asker, Result<Answers>)>;

impl Line {
    fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_GENERIC)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.set_ext_ack(true)?;
        // The command need not be repeated in what it is refused with.
        socket.set_cap_ack(true)?;
        // With less room, fewer commands may be on their way; there is enough for a batch.
        let _ = setsockopt(&socket, sockopt::RcvBufForce, &WAITING_MAX);
        Ok(Self {
            socket,
            sending: Vec::with_capacity(2 * ENOUGH),
            received: Vec::with_capacity(ANSWER_MAX),
            sequence: 1,
        })
    }

    /// Carries orders out until there will be no more.
    fn work(mut self, batches: &mpsc::Receiver<Vec<Order>>, results: &UnboundedSender<Results>) {
        while let Ok(mut orders) = batches.recv() {
            orders.extend(batches.try_iter().flatten());
            while !orders.is_empty() {
                let batch = orders.drain(..orders.len().min(BATCH));
                if results.send(self.deliver(pack(batch))).is_err() {
                    return;
                }
            }
        }
    }

    /// Has commands carried out. What cannot be done together is done one by one.
    fn deliver(&mut self, parcels: Vec<Parcel>) -> Results {
        let mut results = Results::with_capacity(BATCH);
        let mut singly = Vec::new();
        let mut parcels = parcels.into_iter().peekable();
        while parcels.peek().is_some() {
            let mut flights = Vec::with_capacity(BATCH);
            self.sending.clear();
            while self.sending.len() < ENOUGH {
                let Some(parcel) = parcels.next() else {
                    break;
                };
                match self.add(&parcel, flights.len()) {
                    Ok(()) => flights.push(Flight::new(parcel)),
                    Err(_) if parcel.is_several() => singly.extend(parcel.unpack()),
                    Err(error) => results.extend(parcel.failed(&error)),
                }
            }
            let outcome = self.exchange(&mut flights);
            self.sequence = self.sequence.wrapping_add(flights.len() as u32);
            for flight in flights {
                let (parcel, result) = flight.landed(&outcome);
                match result {
                    Ok(answers) => results.extend(parcel.done(answers)),
                    Err(Error::Refused(_)) if parcel.is_several() => singly.extend(parcel.unpack()),
                    Err(error) => results.extend(parcel.failed(&error)),
                }
            }
        }
        if !singly.is_empty() {
            results.extend(self.deliver(singly));
        }
        results
    }

    /// Adds a command to those that are sent next, after `before` others.
    fn add(&mut self, parcel: &Parcel, before: usize) -> Result<()> {
        let request = &parcel.request;
        let mut message =
            NetlinkMessage::<GenlMessage<Message>>::try_from(request).map_err(channel_error)?;
        if request.is_answered_once() {
            // The answer says that it was carried out.
            message.header.flags &= !NLM_F_ACK;
        }
        message.header.sequence_number = self.sequence.wrapping_add(before as u32);
        if let NetlinkPayload::InnerMessage(inner) = &mut message.payload {
            inner.set_resolved_family_id(parcel.family);
        }
        message.finalize();
        let begin = self.sending.len();
        self.sending.resize(begin + message.buffer_len(), 0);
        message.serialize(&mut self.sending[begin..]);
        Ok(())
    }

    /// Sends a batch and takes its answers. They are all there when sending returns, but for the
    /// further parts of a dump, of which the next one is there when one was taken.
    fn exchange(&mut self, flights: &mut [Flight]) -> Result<()> {
        if flights.is_empty() {
            return Ok(());
        }
        self.socket.send(&self.sending, 0).map_err(channel_error)?;
        let mut missing = flights.len();
        while missing > 0 {
            self.received.clear();
            match self
                .socket
                .recv(&mut self.received, MsgFlags::MSG_DONTWAIT.bits())
            {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(channel_error(error)),
            }
            let mut rest = self.received.as_slice();
            while !rest.is_empty() {
                let message = NetlinkMessage::deserialize(rest).map_err(channel_error)?;
                let length = message.header.length.next_multiple_of(4);
                rest = rest.get(length as usize..).unwrap_or_default();
                let index = message.header.sequence_number.wrapping_sub(self.sequence);
                // Others are late answers to what was given up.
                if let Some(flight) = flights.get_mut(index as usize) {
                    if flight.result.is_none() && flight.take(message) {
                        missing -= 1;
                    }
                }
            }
        }
        Ok(())
    }
}

impl Flight {
    fn new(parcel: Parcel) -> Self {
        Self {
            is_single: parcel.request.is_answered_once(),
            parcel,
            answers: Answers::default(),
            result: None,
        }
    }

    /// What came of it, after an exchange that ended like this.
    fn landed(self, outcome: &Result<()>) -> (Parcel, Result<Answers>) {
        // What has its answer is known, whatever became of the others.
        let result = match (self.result, outcome) {
            (Some(result), _) => result,
            (None, Err(error)) => Err(error.clone()),
            (None, Ok(())) => Err(Error::Channel("the kernel's answer was lost".to_owned())),
        };
        (self.parcel, result.map(|()| self.answers))
    }

    /// Takes a message; whether it was the last one.
    fn take(&mut self, message: NetlinkMessage<GenlMessage<Message>>) -> bool {
        self.answers.is_interrupted |= message.header.flags & NLM_F_DUMP_INTR != 0;
        if let Some(refusal) = Refusal::of(&message) {
            self.result = Some(Err(super::of_refusal(refusal)));
            return true;
        }
        match message.payload {
            NetlinkPayload::InnerMessage(inner) => match inner.payload.answer() {
                Ok(answer) => {
                    self.answers.all.push(answer);
                    if self.is_single {
                        self.result = Some(Ok(()));
                    }
                }
                Err(error) => self.result = Some(Err(channel_error(error))),
            },
            NetlinkPayload::Error(_) | NetlinkPayload::Done(_) => self.result = Some(Ok(())),
            _ => {}
        }
        self.result.is_some()
    }
}
