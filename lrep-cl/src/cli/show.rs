// SPDX-License-Identifier: MIT OR Apache-2.0

//! `lrep-cl show ID`: one session in full.

use clap::Args;
use nix::errno::Errno;

use super::block_on;
use super::exit::Failure;
use super::format;
use super::sessions::{LOCAL, remote};
use crate::json;
use crate::logging::CallId;
use crate::tsl::kernel::Kernel;
use crate::tsl::{Counters, Endpoint, Quality, SessionId, SessionState, Tsl};

/// Show one session: every stream and direction, with what was forwarded and dropped
#[derive(Args, Debug)]
pub struct Show {
    /// Number of the session, from `lrep-cl sessions`
    id: SessionId,

    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
}

impl Show {
    /// Tells the session.
    pub fn run(&self) -> Result<String, Failure> {
        let session = block_on(async {
            let kernel = Kernel::connect().await?;
            kernel.session_get(self.id).await.map_err(|error| {
                if error.is(Errno::ENOENT) {
                    Failure::absent(format_args!("there is no session {}", self.id))
                } else {
                    error.into()
                }
            })
        })?;
        Ok(if self.json {
            format!("{}\n", json::session(LOCAL, &session))
        } else {
            text(&session)
        })
    }
}

fn text(session: &SessionState) -> String {
    let told = json::session(LOCAL, session);
    let rows = session
        .streams
        .iter()
        .enumerate()
        .flat_map(|(index, state)| {
            let stream = &state.stream;
            let party = |side: &str| remote(&told["streams"][index][side]);
            let a = (&stream.a, party("a"));
            let b = (&stream.b, party("b"));
            let row = |from: &(&Endpoint, String),
                       to: &(&Endpoint, String),
                       counters: &Counters,
                       quality| {
                vec![
                    stream.kind.name().to_owned(),
                    from.1.clone(),
                    from.0.local.to_string(),
                    to.0.local.to_string(),
                    to.1.clone(),
                    format::number(counters.packets),
                    format::bytes(counters.bytes),
                    lost(quality),
                    jitter(quality),
                    format::drops(counters),
                ]
            };
            [
                row(&a, &b, &state.from_a, state.quality_a),
                row(&b, &a, &state.from_b, state.quality_b),
            ]
        });
    let header = [
        "KIND",
        "FROM",
        "ARRIVES AT",
        "LEAVES FROM",
        "TO",
        "PACKETS",
        "BYTES",
        "LOST",
        "JITTER",
        "DROPPED",
    ];
    format!(
        "session {}\n  call-id  {}\n  owner    {}\n  age      {}\n  idle     {}, ends after {}\n\n{}\n",
        session.id,
        CallId(&session.label),
        session.owner,
        format::duration(session.age_ms),
        format::duration(session.idle_ms),
        format::duration(session.timeout_ms.into()),
        format::table(&header, &["PACKETS", "BYTES", "LOST", "JITTER"], rows),
    )
}

/// Packets that never arrived; nothing where there was no RTP.
fn lost(quality: Option<Quality>) -> String {
    quality.map_or_else(String::new, |quality| format::number(quality.lost))
}

/// Interarrival jitter in milliseconds, or in timestamp units when their rate is not known.
fn jitter(quality: Option<Quality>) -> String {
    let Some(quality) = quality else {
        return String::new();
    };
    match quality.jitter_us() {
        Some(us) => format!("{}.{} ms", us / 1000, us % 1000 / 100),
        None => format!("{} units", format::number(quality.jitter.into())),
    }
}
