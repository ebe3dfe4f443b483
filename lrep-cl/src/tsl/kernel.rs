// SPDX-License-Identifier: MIT OR Apache-2.0

//! The kernel module, over generic netlink.
//!
//! The kernel carries a command out inside the system call that sends it, so a kernel that is
//! stuck blocks the sending thread. Sockets therefore live on a thread of their own, and nobody
//! who waits for an answer is held up by more than its own wait.

use std::io;
use std::pin::pin;
use std::thread;

use futures_util::StreamExt;
use genetlink::message::RawGenlMessage;
use genetlink::{GenetlinkError, GenetlinkHandle, new_connection};
use genl_proto::generated::{Command, GROUP_EVENTS, GROUP_REPORTS};
use genl_proto::{Answer, Message, Request};
use netlink_packet_core::{NLM_F_DUMP_INTR, NetlinkMessage, NetlinkPayload};
use netlink_proto::sys::AsyncSocket;
use nix::errno::Errno;
use tokio::runtime;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::{
    Config, Created, Error, Event, NewSession, Refusal, Report, Result, SessionId, SessionState,
    SetConfig, SetSession, Totals, Tsl, check_version,
};

/// How often a dump is repeated during which the table changed.
const DUMP_ATTEMPTS: usize = 4;

/// The module in the network namespace of this process.
#[derive(Debug)]
pub struct Kernel {
    thread: runtime::Handle,
    handle: GenetlinkHandle,
    _connection: AbortOnDropHandle<()>,
}

impl Kernel {
    /// Finds the module and makes sure that it can be worked with.
    ///
    /// # Errors
    ///
    /// [`Error::ModuleAbsent`], [`Error::Permission`] or [`Error::VersionDiffers`].
    pub async fn connect() -> Result<Self> {
        let thread = netlink_thread().map_err(channel)?;
        let (handle, connection) = {
            let _context = thread.enter();
            let (mut connection, handle, _) = new_connection().map_err(channel)?;
            let socket = connection.socket_mut().socket_mut();
            socket.set_ext_ack(true).map_err(channel)?;
            // Without these, an answer that is complete looks like a broken connection.
            connection.set_forward_ack(true);
            connection.set_forward_done(true);
            (handle, AbortOnDropHandle::new(thread.spawn(connection)))
        };
        let kernel = Self {
            thread,
            handle,
            _connection: connection,
        };
        check_version(kernel.config_get().await?)?;
        Ok(kernel)
    }

    /// Has one command carried out and collects what it is answered with.
    async fn request(&self, request: Request) -> Result<Vec<Answer>> {
        match self.attempt(&request).await {
            // These commands name nothing that could be missing but the family itself, whose
            // number changes when the module is loaded anew.
            Err(error) if error.is(Errno::ENOENT) && !names_a_session(&request) => {
                self.handle.clear_family_cache().await;
                Err(Error::Channel("the module was loaded anew".to_owned()))
            }
            outcome => outcome,
        }
    }

    async fn attempt(&self, request: &Request) -> Result<Vec<Answer>> {
        let mut collected = Vec::new();
        for _ in 0..DUMP_ATTEMPTS {
            let interrupted = self.exchange(request, &mut collected).await?;
            if !interrupted {
                break;
            }
        }
        Ok(collected)
    }

    /// Sends a request and replaces `collected` by its answers. Tells whether the table changed
    /// under a dump.
    async fn exchange(&self, request: &Request, collected: &mut Vec<Answer>) -> Result<bool> {
        let message = NetlinkMessage::try_from(request).map_err(channel)?;
        let mut handle = self.handle.clone();
        let answers = handle.request(message).await.map_err(of_genetlink)?;
        let mut answers = pin!(answers);
        collected.clear();
        let mut interrupted = false;
        while let Some(answer) = answers.next().await {
            let answer = answer.map_err(channel)?;
            if let Some(refusal) = Refusal::of(&answer) {
                return Err(of_refusal(refusal));
            }
            interrupted |= answer.header.flags & NLM_F_DUMP_INTR != 0;
            match answer.payload {
                NetlinkPayload::InnerMessage(message) => {
                    collected.push(message.payload.answer().map_err(channel)?);
                }
                // An acknowledgement, or the end of a dump.
                NetlinkPayload::Error(_) | NetlinkPayload::Done(_) => return Ok(interrupted),
                _ => {}
            }
        }
        Err(Error::Channel(
            "closed before the answer was complete".to_owned(),
        ))
    }

    /// Has a command carried out that has one answer, and picks it.
    async fn answer<T>(&self, request: Request, pick: fn(Answer) -> Option<T>) -> Result<T> {
        let command = request.command();
        let answers = self.request(request).await?;
        answers
            .into_iter()
            .find_map(pick)
            .ok_or_else(|| Error::Channel(format!("{} was not answered", command.name())))
    }

    /// Starts to tell the parties' RTCP reports. Those that come faster than they are read are lost.
    pub async fn reports(&self) -> Result<mpsc::UnboundedReceiver<Report>> {
        self.listen(GROUP_REPORTS, report).await
    }

    /// Joins a multicast group of the family, and has what is heard there made into values.
    async fn listen<T: Send + 'static>(
        &self,
        group: &'static str,
        read: fn(NetlinkMessage<RawGenlMessage>) -> Option<T>,
    ) -> Result<mpsc::UnboundedReceiver<T>> {
        let family = self
            .handle
            .resolve_family::<Message>()
            .await
            .map_err(of_genetlink)?;
        let group = *family
            .multicast_groups
            .get(group)
            .ok_or_else(|| Error::Channel(format!("no multicast group `{group}`")))?;
        // A socket of its own, so that a flood of events cannot push answers out.
        let (connection, messages) = {
            let _context = self.thread.enter();
            let (mut connection, _, messages) = new_connection().map_err(channel)?;
            let socket = connection.socket_mut().socket_mut();
            // A socket without a port of its own is passed over when events are sent.
            socket.bind_auto().map_err(of_io)?;
            socket.add_membership(group).map_err(of_io)?;
            (
                AbortOnDropHandle::new(self.thread.spawn(connection)),
                messages,
            )
        };
        let (sender, receiver) = mpsc::unbounded_channel();
        self.thread.spawn(async move {
            let _connection = connection;
            let mut heard = pin!(messages.filter_map(async |(message, _)| read(message)));
            while let Some(heard) = heard.next().await {
                if sender.send(heard).is_err() {
                    return;
                }
            }
        });
        Ok(receiver)
    }
}

impl Tsl for Kernel {
    async fn subscribe(&self) -> Result<mpsc::UnboundedReceiver<Event>> {
        self.listen(GROUP_EVENTS, event).await
    }

    async fn session_new(&self, new: NewSession) -> Result<Created> {
        self.answer(Request::SessionNew(new), Answer::created).await
    }

    async fn session_set(&self, set: SetSession) -> Result<()> {
        self.request(Request::SessionSet(set)).await.map(drop)
    }

    async fn session_del(&self, id: SessionId) -> Result<SessionState> {
        self.answer(Request::SessionDel(id), Answer::session).await
    }

    async fn session_get(&self, id: SessionId) -> Result<SessionState> {
        self.answer(Request::SessionGet(id), Answer::session).await
    }

    async fn session_dump(&self) -> Result<Vec<SessionState>> {
        let answers = self.request(Request::SessionDump).await?;
        Ok(answers.into_iter().filter_map(Answer::session).collect())
    }

    async fn session_flush(&self, owner: Option<u32>) -> Result<u64> {
        self.answer(Request::SessionFlush(owner), Answer::flushed)
            .await
    }

    async fn config_get(&self) -> Result<Config> {
        self.answer(Request::ConfigGet, Answer::config).await
    }

    async fn config_set(&self, settings: SetConfig) -> Result<()> {
        self.request(Request::ConfigSet(settings)).await.map(drop)
    }

    async fn totals_get(&self) -> Result<Totals> {
        self.answer(Request::TotalsGet, Answer::totals).await
    }
}

/// Starts the thread that sockets live on. It lives as long as the process.
fn netlink_thread() -> io::Result<runtime::Handle> {
    let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
    let handle = runtime.handle().clone();
    thread::Builder::new()
        .name("netlink".to_owned())
        .spawn(move || runtime.block_on(std::future::pending::<()>()))?;
    Ok(handle)
}

/// Whether the command is about a session, so that ENOENT may mean that it has ended.
fn names_a_session(request: &Request) -> bool {
    matches!(
        request.command(),
        Command::SessionSet | Command::SessionDel | Command::SessionBulkDel
    ) || matches!(request, Request::SessionGet(_))
}

/// What an unasked message tells. One that cannot be read is as good as lost.
fn event(message: NetlinkMessage<RawGenlMessage>) -> Option<Event> {
    match message.payload {
        NetlinkPayload::InnerMessage(raw) => match answer(raw) {
            Some(Answer::Ended(session, reason)) => Some(Event::Ended(session, reason)),
            Some(Answer::Alarm(alarm)) => Some(Event::Alarm(alarm)),
            _ => Some(Event::Overrun),
        },
        NetlinkPayload::Overrun(_) => Some(Event::Overrun),
        _ => None,
    }
}

/// The report in an unasked message. One that cannot be read is as good as lost.
fn report(message: NetlinkMessage<RawGenlMessage>) -> Option<Report> {
    match message.payload {
        NetlinkPayload::InnerMessage(raw) => match answer(raw) {
            Some(Answer::Report(report)) => Some(report),
            _ => None,
        },
        _ => None,
    }
}

fn answer(raw: RawGenlMessage) -> Option<Answer> {
    let message = raw.parse_into_genlmsg::<Message>().ok()?;
    message.payload.answer().ok()
}

fn of_refusal(refusal: Refusal) -> Error {
    if refusal.errno == Errno::EPERM as i32 {
        Error::Permission
    } else {
        Error::Refused(refusal)
    }
}

fn of_genetlink(error: GenetlinkError) -> Error {
    match error {
        GenetlinkError::NetlinkError(error)
            if error.raw_os_error() == Some(Errno::ENOENT as i32) =>
        {
            Error::ModuleAbsent
        }
        error => channel(error),
    }
}

fn of_io(error: io::Error) -> Error {
    match error.raw_os_error() {
        Some(errno) if errno == Errno::EPERM as i32 => Error::Permission,
        _ => channel(error),
    }
}

fn channel(error: impl std::fmt::Display) -> Error {
    Error::Channel(error.to_string())
}
