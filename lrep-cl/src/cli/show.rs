// SPDX-License-Identifier: MIT OR Apache-2.0

//! `lrep-cl show ID`: one session in full.

use clap::Args;
use nix::errno::Errno;

use super::block_on;
use super::exit::Failure;
use super::format;
use super::sessions::{remote, to_json};
use crate::logging::CallId;
use crate::tsl::kernel::Kernel;
use crate::tsl::{Counters, Endpoint, SessionId, SessionState, Tsl};

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
            format!("{}\n", to_json(&session))
        } else {
            text(&session)
        })
    }
}

fn text(session: &SessionState) -> String {
    let rows = session.streams.iter().flat_map(|state| {
        let stream = &state.stream;
        let row = |from: &Endpoint, to: &Endpoint, counters: &Counters| {
            vec![
                stream.kind.name().to_owned(),
                remote(from.remote),
                from.local.to_string(),
                to.local.to_string(),
                remote(to.remote),
                format::number(counters.packets),
                format::bytes(counters.bytes),
                format::drops(counters),
            ]
        };
        [
            row(&stream.a, &stream.b, &state.from_a),
            row(&stream.b, &stream.a, &state.from_b),
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
        format::table(&header, &["PACKETS", "BYTES"], rows),
    )
}
