// SPDX-License-Identifier: MIT OR Apache-2.0
//! What `lreproxy.ko` and its controllers say to each other.
//!
//! [`generated`] holds the numbers and limits of the generic netlink family,
//! made from `lreproxy.yaml`; the kernel module includes the same file. The
//! rest is the userspace side: a [`Request`] becomes the attributes of a
//! command, the attributes of an answer or event become an [`Answer`], and
//! what the kernel refused becomes a [`Refusal`] in words. Who passes commands
//! on to a kernel elsewhere reads requests and writes answers, too.
//!
//! [`Message`] carries both through the `genetlink` crate;
//! `examples/sessions.rs` shows a command, a dump and the events.

mod answer;
mod attributes;
mod config;
mod counters;
mod events;
mod learning;
mod message;
mod policy;
mod quality;
mod refusal;
mod request;
mod session;
mod stream;
mod writer;

/// Numbers, limits and tables of the family, made from `lreproxy.yaml`.
pub mod generated;

pub use answer::Answer;
pub use attributes::{DecodeError, Problem};
pub use config::{Config, Limits, SetConfig};
pub use counters::{Counters, Drops, Refused, Totals};
pub use events::{Alarm, AlarmedSession, Report};
pub use learning::{Learned, Learning, Roam};
pub use message::Message;
pub use policy::{Receiving, Sending};
pub use quality::Quality;
pub use refusal::Refusal;
pub use request::Request;
pub use session::{BulkCreated, Created, NewSession, SessionState, SetSession};
pub use stream::{Endpoint, Stream, StreamState};
pub use writer::EncodeError;
