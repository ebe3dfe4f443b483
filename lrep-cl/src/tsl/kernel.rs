// SPDX-License-Identifier: MIT OR Apache-2.0

//! The kernel module, over generic netlink.

mod channel;
mod claim;

use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};

use futures_util::StreamExt;
use genetlink::{GenetlinkError, GenetlinkHandle, new_connection};
use genl_proto::generated::{Command, GROUP_EVENTS, GROUP_REPORTS};
use genl_proto::{Answer, Message, Request};
use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_generic::GenlMessage;
use netlink_proto::sys::AsyncSocket;
use netlink_proto::sys::protocols::NETLINK_GENERIC;
use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use self::channel::Channel;
pub use self::claim::Claim;
use super::{
    Config, Created, Error, Event, Events, NewSession, Refusal, Report, Result, SessionId,
    SessionState, SetConfig, SetSession, Totals, Tsl, check_version,
};

/// How often a dump is repeated during which the table changed.
const DUMP_ATTEMPTS: usize = 4;

/// Bytes of events that may wait in the kernel, which takes some 2 KiB for one.
const UNHEARD_MAX: usize = 8 * 1024 * 1024;

/// What the module tells unasked.
type Told = NetlinkMessage<GenlMessage<Message>>;

/// The number of no family.
const UNKNOWN: u16 = 0;

/// The module in the network namespace of this process.
#[derive(Debug)]
pub struct Kernel {
    /// What is quickly done.
    commands: Channel,
    /// What goes through all sessions: nobody else waits for that.
    surveys: Channel,
    /// The number the kernel gave the family, which changes when the module is loaded anew.
    family: AtomicU16,
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
        let (connection, handle, _) = new_connection().map_err(channel_error)?;
        let kernel = Self {
            commands: Channel::open("commands").map_err(channel_error)?,
            surveys: Channel::open("surveys").map_err(channel_error)?,
            family: AtomicU16::new(UNKNOWN),
            handle,
            _connection: AbortOnDropHandle::new(tokio::spawn(connection)),
        };
        check_version(kernel.config_get().await?)?;
        Ok(kernel)
    }

    /// Has one command carried out and collects what it is answered with.
    async fn request(&self, request: Request) -> Result<Vec<Answer>> {
        let family = match self.family.load(Relaxed) {
            UNKNOWN => self.find_family().await?,
            family => family,
        };
        let names_a_session = names_a_session(&request);
        match self.attempt(family, request).await {
            // These commands name nothing that could be missing but the family itself.
            Err(error) if error.is(Errno::ENOENT) && !names_a_session => {
                self.handle.clear_family_cache().await;
                self.family.store(UNKNOWN, Relaxed);
                Err(Error::Channel("the module was loaded anew".to_owned()))
            }
            outcome => outcome,
        }
    }

    async fn find_family(&self) -> Result<u16> {
        let family = self.handle.resolve_family::<Message>().await;
        let family = family.map_err(of_genetlink)?.id;
        self.family.store(family, Relaxed);
        Ok(family)
    }

    async fn attempt(&self, family: u16, request: Request) -> Result<Vec<Answer>> {
        let Request::SessionDump = request else {
            let channel = match request {
                Request::SessionFlush(_) => &self.surveys,
                _ => &self.commands,
            };
            return Ok(channel.request(family, request).await?.all);
        };
        let mut attempts = 1;
        loop {
            let answers = self.surveys.request(family, Request::SessionDump).await?;
            if !answers.is_interrupted || attempts == DUMP_ATTEMPTS {
                return Ok(answers.all);
            }
            attempts += 1;
        }
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
        read: fn(Told) -> Option<T>,
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
        let (mut connection, _, messages) =
            netlink_proto::new_connection(NETLINK_GENERIC).map_err(channel_error)?;
        let socket = connection.socket_mut().socket_mut();
        // Calls may end faster than this process is let run. With less room, more is read anew.
        let _ = setsockopt(&*socket, sockopt::RcvBufForce, &UNHEARD_MAX);
        // A socket without a port of its own is passed over when events are sent.
        socket.bind_auto().map_err(of_io)?;
        socket.add_membership(group).map_err(of_io)?;
        let connection = AbortOnDropHandle::new(tokio::spawn(connection));
        let (sender, receiver) = mpsc::unbounded_channel();
        tokio::spawn(async move {
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
    async fn subscribe(&self, owner: Option<u32>) -> Result<Events> {
        let claim = match owner {
            Some(owner) => Claim::take(owner).await?,
            None => None,
        };
        Ok(Events {
            told: self.listen(GROUP_EVENTS, event).await?,
            _claim: claim,
        })
    }

    async fn session_new(&self, new: NewSession) -> Result<Created> {
        self.answer(Request::SessionNew(new), Answer::created).await
    }

    async fn session_set(&self, set: SetSession) -> Result<()> {
        self.request(Request::SessionSet(set)).await.map(drop)
    }

    async fn session_del(&self, id: SessionId) -> Result<()> {
        // Unlike `session-del`, this is not answered with what the event tells as well.
        let request = Request::SessionBulkDel(vec![id]);
        self.request(request).await.map(drop)
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

/// Whether the command is about a session, so that ENOENT may mean that it has ended.
fn names_a_session(request: &Request) -> bool {
    matches!(
        request.command(),
        Command::SessionSet | Command::SessionDel | Command::SessionBulkDel
    ) || matches!(request, Request::SessionGet(_))
}

/// What an unasked message tells. One that cannot be read is as good as lost.
fn event(message: Told) -> Option<Event> {
    match message.payload {
        NetlinkPayload::InnerMessage(inner) => match inner.payload.answer() {
            Ok(Answer::Ended(session, reason)) => Some(Event::Ended(session, reason)),
            Ok(Answer::Alarm(alarm)) => Some(Event::Alarm(alarm)),
            _ => Some(Event::Overrun),
        },
        NetlinkPayload::Overrun(_) => Some(Event::Overrun),
        _ => None,
    }
}

/// The report in an unasked message. One that cannot be read is as good as lost.
fn report(message: Told) -> Option<Report> {
    match message.payload {
        NetlinkPayload::InnerMessage(inner) => match inner.payload.answer() {
            Ok(Answer::Report(report)) => Some(report),
            _ => None,
        },
        _ => None,
    }
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
        error => channel_error(error),
    }
}

fn of_io(error: io::Error) -> Error {
    match error.raw_os_error() {
        Some(errno) if errno == Errno::EPERM as i32 => Error::Permission,
        _ => channel_error(error),
    }
}

fn channel_error(error: impl std::fmt::Display) -> Error {
    Error::Channel(error.to_string())
}
