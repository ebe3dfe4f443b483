// SPDX-License-Identifier: MIT OR Apache-2.0

//! The messages of `proto/lreproxy.proto`, and what they mean here.

use genl_proto::generated::{Command as Number, PROTOCOL_VERSION};
use genl_proto::{Answer as Told, EncodeError, Request};
use nix::errno::Errno;

use self::answer::Outcome;
use self::failure::Why;
pub use self::generated::*;
use crate::tsl::{self, Error};

// The attributes are in the byte order of this machine. The kernel module can be built for
// little-endian machines only, as all of the kernel that is written in Rust.
const _: () = assert!(cfg!(target_endian = "little"));

mod generated {
    #![allow(
        missing_docs,
        unused_qualifications,
        clippy::all,
        clippy::allow_attributes_without_reason,
        reason = "generated code; what it means is documented in its source"
    )]

    include!("../../../proto/lreproxy.v1.rs");
}

/// A request, as it is sent.
///
/// # Errors
///
/// As [`Request::encode`].
pub fn command(request: &Request) -> Result<Command, EncodeError> {
    Ok(Command {
        protocol_version: PROTOCOL_VERSION,
        command: request.command() as u32,
        attributes: request.encode()?,
    })
}

/// What a command asks for.
///
/// # Errors
///
/// A refusal as the kernel's when there is no such command, or its attributes are wrong.
pub fn request(command: &Command) -> tsl::Result<Request> {
    check_version(command.protocol_version)?;
    let number = number(command.command)
        .ok_or_else(|| refused(Errno::EOPNOTSUPP, format!("no command {}", command.command)))?;
    Request::decode(number, &command.attributes)
        .map_err(|error| refused(Errno::EINVAL, error.to_string()))
}

/// Refuses a controller of another version of the protocol.
///
/// # Errors
///
/// [`Error::VersionDiffers`], to be read by the controller.
pub fn check_version(theirs: u32) -> tsl::Result<()> {
    if theirs == PROTOCOL_VERSION {
        return Ok(());
    }
    Err(Error::VersionDiffers {
        module: env!("CARGO_PKG_VERSION").to_owned(),
        theirs: PROTOCOL_VERSION,
        ours: theirs,
    })
}

/// What came of a command, as it is sent; `None` is an acknowledgement of `request`.
pub fn answer(request: u32, outcome: tsl::Result<Option<Told>>) -> Answer {
    let done = outcome.and_then(|told| match told {
        Some(told) => message(&told),
        None => Ok(Message {
            command: request,
            attributes: Vec::new(),
        }),
    });
    Answer {
        outcome: Some(match done {
            Ok(message) => Outcome::Done(message),
            Err(error) => Outcome::Failed(failure(error)),
        }),
    }
}

/// What came of a command, as it was received.
///
/// # Errors
///
/// That with which the command failed.
pub fn outcome(answer: Answer) -> tsl::Result<Message> {
    match answer.outcome {
        Some(Outcome::Done(message)) => Ok(message),
        Some(Outcome::Failed(failure)) => Err(error(failure)),
        None => Err(unknown("answer")),
    }
}

/// What a message tells.
///
/// # Errors
///
/// [`Error::Channel`] when it cannot be read.
pub fn read(message: &Message) -> tsl::Result<Told> {
    let number = number(message.command).ok_or_else(|| unknown("command"))?;
    Told::decode(number, &message.attributes).map_err(|error| Error::Channel(error.to_string()))
}

/// The first event, as it is sent: whether others will follow.
pub fn listens(subscribed: tsl::Result<()>) -> Event {
    Event {
        event: Some(match subscribed {
            Ok(()) => event::Event::Listening(Nothing {}),
            Err(error) => event::Event::Failed(failure(error)),
        }),
    }
}

/// Whether the first event says that others will follow.
///
/// # Errors
///
/// That with which the subscription failed.
pub fn listening(first: Event) -> tsl::Result<()> {
    match first.event {
        Some(event::Event::Listening(_)) => Ok(()),
        Some(event::Event::Failed(failure)) => Err(error(failure)),
        _ => Err(unknown("first event")),
    }
}

/// An event, as it is sent. One that cannot be is as good as lost.
pub fn tell(told: tsl::Event) -> Event {
    let message = match told {
        tsl::Event::Ended(session, reason) => message(&Told::Ended(session, reason)).ok(),
        tsl::Event::Alarm(alarm) => message(&Told::Alarm(alarm)).ok(),
        tsl::Event::Overrun => None,
    };
    Event {
        event: Some(match message {
            Some(message) => event::Event::Told(message),
            None => event::Event::Overrun(Nothing {}),
        }),
    }
}

/// An event, as it was received. One that cannot be read is as good as lost.
pub fn event(event: Event) -> tsl::Event {
    let told = match event.event {
        Some(event::Event::Told(message)) => read(&message).ok(),
        _ => None,
    };
    match told {
        Some(Told::Ended(session, reason)) => tsl::Event::Ended(session, reason),
        Some(Told::Alarm(alarm)) => tsl::Event::Alarm(alarm),
        _ => tsl::Event::Overrun,
    }
}

/// A refusal with words.
pub fn refused(errno: Errno, message: String) -> Error {
    Error::Refused(tsl::Refusal {
        errno: errno as i32,
        message: Some(message),
    })
}

fn message(told: &Told) -> tsl::Result<Message> {
    let attributes = told.encode();
    Ok(Message {
        command: told.command() as u32,
        attributes: attributes.map_err(|error| Error::Channel(error.to_string()))?,
    })
}

fn number(command: u32) -> Option<Number> {
    u8::try_from(command).ok().and_then(Number::from_u8)
}

fn unknown(what: &str) -> Error {
    Error::Channel(format!("the host sent an unknown {what}"))
}

fn failure(error: Error) -> Failure {
    Failure {
        why: Some(match error {
            Error::Refused(refusal) => Why::Refused(Refusal {
                errno: refusal.errno,
                message: refusal.message,
            }),
            Error::Permission => Why::Permission(Nothing {}),
            Error::ModuleAbsent => Why::ModuleAbsent(Nothing {}),
            Error::VersionDiffers {
                module,
                theirs,
                ours,
            } => Why::VersionDiffers(VersionDiffers {
                module,
                theirs,
                ours,
            }),
            Error::NoAnswer => Why::NoAnswer(Nothing {}),
            Error::Channel(text) => Why::Channel(text),
        }),
    }
}

fn error(failure: Failure) -> Error {
    match failure.why {
        Some(Why::Refused(refusal)) => Error::Refused(tsl::Refusal {
            errno: refusal.errno,
            message: refusal.message,
        }),
        Some(Why::Permission(_)) => Error::Permission,
        Some(Why::ModuleAbsent(_)) => Error::ModuleAbsent,
        Some(Why::VersionDiffers(versions)) => Error::VersionDiffers {
            module: versions.module,
            theirs: versions.theirs,
            ours: versions.ours,
        },
        Some(Why::NoAnswer(_)) => Error::NoAnswer,
        Some(Why::Channel(text)) => Error::Channel(text),
        None => unknown("failure"),
    }
}
