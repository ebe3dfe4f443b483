// SPDX-License-Identifier: MIT OR Apache-2.0

//! The operator's commands, on connections of a unix stream socket.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use serde::Serialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use super::unix::UnixSocket;
use crate::core::command::Outcome;
use crate::json;
use crate::operator::{Answer, Operator, Request, Telling, Told};

/// Longest request.
const REQUEST_MAX: u64 = 4096;

/// How long a request is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long to wait before accepting again after a failure.
const RETRY: Duration = Duration::from_millis(100);

/// Sessions that are written at once: SIP servers wait meanwhile.
const AT_ONCE: usize = 32;

/// Carries out commands for ever.
pub async fn serve(socket: UnixSocket, operator: Arc<Operator>) {
    loop {
        match socket.accept().await {
            Ok(stream) => {
                let operator = Arc::clone(&operator);
                tokio::spawn(async move {
                    if let Err(error) = converse(stream, &operator).await {
                        debug!("a control connection broke: {error}");
                    }
                });
            }
            Err(error) => {
                warn!("cannot accept on {}: {error}", socket.path().display());
                sleep(RETRY).await;
            }
        }
    }
}

/// Answers one request.
async fn converse(mut stream: UnixStream, operator: &Operator) -> io::Result<()> {
    // Who may connect is decided by the permissions of the socket's file.
    let who = stream.peer_cred()?;
    let mut line = String::new();
    let mut reader = BufReader::new(&mut stream).take(REQUEST_MAX);
    if timeout(PATIENCE, reader.read_line(&mut line)).await?? == 0 {
        return Ok(());
    }
    let answer = match serde_json::from_str::<Request>(&line) {
        Ok(request) => {
            debug!(
                uid = who.uid(),
                pid = who.pid(),
                ?request,
                "an operator asks"
            );
            match operator.carry_out(request) {
                Told::Answer(answer) => answer,
                Told::Lines(tsls) => tell_lines(&mut stream, tsls).await?,
            }
        }
        Err(error) => Answer::Refused {
            text: format!(
                "this is no request: {error}; use lrep-cl of the daemon's version, {}",
                env!("CARGO_PKG_VERSION")
            ),
        },
    };
    say(&mut stream, &line_of(&answer)?).await
}

/// Tells what TSLs tell, in lines; then comes the answer.
async fn tell_lines(stream: &mut UnixStream, tsls: Vec<(String, Telling)>) -> io::Result<Answer> {
    for (tsl, telling) in tsls {
        let sessions = match telling.await {
            Ok(Ok(Outcome::Table(sessions))) => sessions,
            Ok(Ok(Outcome::Totals(totals))) => {
                say(stream, &line_of(&json::totals(&tsl, &totals))?).await?;
                continue;
            }
            Ok(Err(error)) => {
                let text = if error.is(Errno::ENOENT) {
                    format!(
                        "there is no such session in {tsl}: `lrep-cl sessions --tsl {tsl}` lists \
                         those there are"
                    )
                } else {
                    format!("{tsl} cannot be asked: {error}; --tsl asks one of the others alone")
                };
                return Ok(Answer::Refused { text });
            }
            _ => return Err(io::ErrorKind::BrokenPipe.into()),
        };
        for some in sessions.chunks(AT_ONCE) {
            let mut text = Vec::new();
            for session in some {
                text.extend(line_of(&json::session(&tsl, session))?);
            }
            say(stream, &text).await?;
            yield_now().await;
        }
    }
    Ok(Answer::Done)
}

fn line_of(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}

async fn say(stream: &mut UnixStream, text: &[u8]) -> io::Result<()> {
    timeout(PATIENCE, stream.write_all(text)).await?
}
