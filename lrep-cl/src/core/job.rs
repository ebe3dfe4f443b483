// SPDX-License-Identifier: MIT OR Apache-2.0

//! What calls want of a TSL.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::RequestId;
use crate::call::Media;

/// Something a call wants of a TSL.
#[derive(Debug)]
pub struct Job {
    /// The Call-ID.
    pub label: Arc<[u8]>,
    /// What it wants.
    pub wish: Wish,
    /// The request it came with; `None` when the core itself wants it.
    pub asker: Option<RequestId>,
    /// Until when somebody waits for the outcome; afterwards it is only tried again when it is to
    /// end something.
    pub until: Instant,
    /// Whether it was tried before, with an unknown outcome.
    pub retried: bool,
    /// TSLs that were full.
    pub refused_by: Vec<usize>,
}

impl Job {
    /// A job that was not tried yet.
    pub fn new(label: &[u8], wish: Wish, asker: Option<RequestId>, until: Instant) -> Self {
        Self {
            label: label.into(),
            wish,
            asker,
            until,
            retried: false,
            refused_by: Vec::new(),
        }
    }

    /// What no other job may be about meanwhile.
    pub fn claims(&self) -> impl Iterator<Item = Claim> + '_ {
        let media = match &self.wish {
            Wish::Set(media) => Some(media),
            Wish::Delete(_) => None,
        };
        let locals = media
            .into_iter()
            .flat_map(|media| [media.offerer.local, media.answerer.local]);
        locals
            .map(Claim::Local)
            .chain([Claim::Call(Arc::clone(&self.label))])
    }
}

/// What a call wants.
#[derive(Clone, Debug)]
pub enum Wish {
    /// This media is to be relayed.
    Set(Box<Media>),
    /// The media whose answerer was told this relay address is to end.
    Delete(SocketAddr),
}

impl Wish {
    /// What has come about when it was fulfilled.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Set(_) => "relay installed",
            Self::Delete(_) => "relay deleted",
        }
    }

    /// What has come about when it was not.
    pub fn failure(&self) -> &'static str {
        match self {
            Self::Set(_) => "relay not installed",
            Self::Delete(_) => "relay not deleted",
        }
    }
}

/// What only one job at a time may be about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Claim {
    /// The call of this Call-ID.
    Call(Arc<[u8]>),
    /// A port of the relay.
    Local(SocketAddr),
}
