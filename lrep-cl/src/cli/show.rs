// SPDX-License-Identifier: MIT OR Apache-2.0

//! `lrep-cl show`: sessions in full.

use clap::Args;
use nix::errno::Errno;
use serde_json::Value;

use super::block_on;
use super::control::Control;
use super::exit::Failure;
use super::format;
use super::sessions::{LOCAL, call_id, remote};
use crate::json;
use crate::operator::Request;
use crate::tsl::kernel::Kernel;
use crate::tsl::{SessionId, Tsl};

/// Show a session or a whole call: every stream and direction, with what was forwarded and dropped
#[derive(Args, Debug)]
pub struct Show {
    /// Number of the session, from `lrep-cl sessions`; without --tsl, in the kernel of this host, whether
    /// the daemon runs or not
    #[arg(required_unless_present = "call_id")]
    id: Option<SessionId>,

    /// In place of a number: all sessions of the call with this Call-ID, in every TSL of the running
    /// daemon; in the kernel of this host while no daemon runs
    #[arg(long, value_name = "TEXT", conflicts_with = "id")]
    call_id: Option<String>,

    /// Only in this TSL of the running daemon, by its URL
    #[arg(long, value_name = "URL")]
    tsl: Option<String>,

    #[command(flatten)]
    control: Control,

    /// Print JSON instead of text: the session, or with --call-id a list
    #[arg(long)]
    json: bool,
}

impl Show {
    /// Tells them.
    pub fn run(&self) -> Result<String, Failure> {
        if let Some(wanted) = &self.call_id {
            let sessions = self.call(wanted)?;
            return Ok(if self.json {
                format!("{}\n", Value::from(sessions))
            } else {
                let sessions: Vec<_> = sessions.iter().map(text).collect();
                sessions.join("\n")
            });
        }
        // Clap has seen to it that there is a number when there is no Call-ID.
        let session = self.session(self.id.unwrap_or_default())?;
        Ok(if self.json {
            format!("{session}\n")
        } else {
            text(&session)
        })
    }

    /// One session, in the form of [`json::session`].
    fn session(&self, id: SessionId) -> Result<Value, Failure> {
        if let Some(tsl) = self.tsl.clone() {
            let told = self.control.lines(&Request::Session { tsl, id })?;
            let session = told.into_iter().next();
            return session.ok_or_else(|| Failure::internal("the daemon told no session"));
        }
        block_on(async {
            let kernel = Kernel::connect().await?;
            match kernel.session_get(id).await {
                Ok(session) => Ok(json::session(LOCAL, &session)),
                Err(error) if error.is(Errno::ENOENT) => Err(Failure::absent(format_args!(
                    "there is no session {id} in the kernel of this host: `lrep-cl sessions` lists \
                     those there are; name the TSL of one that is elsewhere with --tsl"
                ))),
                Err(error) => Err(error.into()),
            }
        })
    }

    /// The sessions of a call, in the form of [`json::session`]; at least one.
    fn call(&self, wanted: &str) -> Result<Vec<Value>, Failure> {
        let told = |tsl| self.control.lines(&Request::Sessions { tsl });
        let (mut sessions, flag, place) = if let Some(tsl) = &self.tsl {
            let sessions = told(Some(tsl.clone()))?;
            (sessions, format!(" --tsl {tsl}"), tsl.as_str())
        } else if !self.control.is_deserted() {
            (told(None)?, " --all".to_owned(), "any TSL of the daemon")
        } else {
            let sessions = block_on(async { Ok(Kernel::connect().await?.session_dump().await?) })?;
            let sessions = sessions.iter().map(|session| json::session(LOCAL, session));
            let place = "the kernel of this host, and no daemon runs that knows of others";
            (sessions.collect(), String::new(), place)
        };
        // As it is, or as it is shown on a terminal.
        sessions.retain(|session| session["call_id"] == wanted || call_id(session) == wanted);
        if sessions.is_empty() {
            return Err(Failure::absent(format_args!(
                "there is no call with this Call-ID in {place}: `lrep-cl sessions{flag} --call-id \
                 TEXT` lists those whose Call-ID has a part"
            )));
        }
        Ok(sessions)
    }
}

fn text(session: &Value) -> String {
    let number = |key: &str| session[key].as_u64().unwrap_or(0);
    let streams = session["streams"].as_array();
    let rows = streams.into_iter().flatten().flat_map(|stream| {
        let row = |from: &str, to: &str| row(stream, &stream[from], &stream[to]);
        [row("a", "b"), row("b", "a")]
    });
    let header = [
        "KIND",
        "FROM",
        "ARRIVES AT",
        "LEAVES FROM",
        "TO",
        "PACKETS",
        "RTCP",
        "BYTES",
        "LOST",
        "JITTER",
        "DROPPED",
    ];
    format!(
        "session {}\n  call-id  {}\n  tsl      {}\n  owner    {}\n  age      {}\n  idle     {}, ends \
         after {}\n\n{}\n",
        number("id"),
        call_id(session),
        session["tsl"].as_str().unwrap_or_default(),
        number("owner"),
        format::duration(number("age_ms")),
        format::duration(number("idle_ms")),
        format::duration(number("timeout_ms")),
        format::table(
            &header,
            &["PACKETS", "RTCP", "BYTES", "LOST", "JITTER"],
            rows
        ),
    )
}

/// What goes from one party of a stream to the other.
fn row(stream: &Value, from: &Value, to: &Value) -> Vec<String> {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let received = &from["received"];
    let drops = received["drops"].as_object().into_iter().flatten();
    vec![
        word(&stream["kind"]),
        remote(from),
        word(&from["local"]),
        word(&to["local"]),
        remote(to),
        format::number(number(&received["packets"])),
        format::number(number(&received["rtcp_packets"])),
        format::bytes(number(&received["bytes"])),
        lost(&from["quality"]),
        jitter(&from["quality"]),
        format::drops(drops.map(|(reason, packets)| (reason.as_str(), number(packets)))),
    ]
}

/// Packets that never arrived; nothing where there was no RTP.
fn lost(quality: &Value) -> String {
    let lost = quality["lost"].as_u64();
    lost.map_or_else(String::new, format::number)
}

/// Interarrival jitter in milliseconds, or in timestamp units when their rate is not known.
fn jitter(quality: &Value) -> String {
    match (quality["jitter_us"].as_u64(), quality["jitter"].as_u64()) {
        (Some(us), _) => format!("{}.{} ms", us / 1000, us % 1000 / 100),
        (None, Some(units)) => format!("{} units", format::number(units)),
        (None, None) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::sessions::tests::session;

    #[test]
    fn a_session_is_told_with_its_tsl_and_both_directions_of_each_stream() {
        let mut session = session("grpc:media1:22334");
        let caller = &mut session["streams"][0]["a"];
        caller["received"] = serde_json::json!({
            "packets": 1234, "rtcp_packets": 12, "bytes": 2048, "drops": { "held": 2, "malformed": 0 },
        });
        caller["quality"] = serde_json::json!({ "lost": 5, "jitter": 80, "jitter_us": 10_250 });
        let told = text(&session);
        let lines: Vec<Vec<&str>> = told
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        for line in [
            "session 3",
            "call-id call-1@host",
            "tsl grpc:media1:22334",
            "idle 5s, ends after 1m",
            "rtp 192.0.2.1:4000 10.0.0.5:20002 10.0.0.5:20000 192.0.2.2:5000 1,234 12 2.0 KiB 5 \
             10.2 ms held 2",
            "rtp 192.0.2.2:5000 10.0.0.5:20000 10.0.0.5:20002 192.0.2.1:4000 0 0 0 B -",
        ] {
            let words: Vec<_> = line.split_whitespace().collect();
            assert!(lines.contains(&words), "{line} is not in\n{told}");
        }
    }
}
