// SPDX-License-Identifier: MIT OR Apache-2.0

//! The signalling, shown while it passes the relay host.

use std::net::SocketAddr;
use std::time::SystemTime;

use anyhow::Result;

use super::stage::Stage;
use super::words::step;
use crate::guest::capture::Capture;
use crate::guest::packet::Datagram;
use crate::guest::sip::{Message, PORT};

/// What passes the relay host's devices, its loopback device included.
pub struct Signalling {
    /// All that passes.
    pub capture: Capture,
    /// Frames that were looked at.
    seen: usize,
    /// What was shown. Inside the host everything is seen to leave and to arrive.
    shown: Vec<(SocketAddr, SocketAddr, Vec<u8>)>,
    /// When the first message was seen.
    began: Option<SystemTime>,
    /// SIP messages, with their receivers.
    pub messages: Vec<(SocketAddr, Message)>,
}

impl Signalling {
    /// Nothing was looked at yet.
    pub fn new(capture: Capture) -> Self {
        Self {
            capture,
            seen: 0,
            shown: Vec::new(),
            began: None,
            messages: Vec::new(),
        }
    }

    /// Shows what has passed since the last time, and returns the SIP messages among it.
    pub fn next(&mut self, stage: Stage<'_>) -> Result<Vec<(SocketAddr, Message)>> {
        let frames = self.capture.frames();
        let new = frames.get(self.seen..).unwrap_or_default();
        self.seen = frames.len();
        let mut messages = Vec::new();
        for (at, datagram) in new
            .iter()
            .filter_map(|frame| Some((frame.at, Datagram::parse(frame)?)))
        {
            let Some(step) = step(&datagram) else {
                continue;
            };
            let identity = (datagram.from, datagram.to, datagram.payload);
            if self.shown.contains(&identity) {
                continue;
            }
            let since = at.duration_since(*self.began.get_or_insert(at));
            let seconds = since.unwrap_or_default().as_secs_f64();
            stage.text(&format!("{seconds:6.2}  {step}"))?;
            if datagram.to.port() == PORT {
                messages.extend(Message::parse(&identity.2).map(|message| (datagram.to, message)));
            }
            self.shown.push(identity);
        }
        self.messages.extend(messages.iter().cloned());
        Ok(messages)
    }
}
