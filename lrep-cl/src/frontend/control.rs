// SPDX-License-Identifier: MIT OR Apache-2.0

//! The operator's commands, on connections of a unix stream socket.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use super::unix::UnixSocket;
use crate::operator::{Answer, Operator, Request};

/// Longest request.
const REQUEST_MAX: u64 = 4096;

/// How long a request is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long to wait before accepting again after a failure.
const RETRY: Duration = Duration::from_millis(100);

/// Carries out commands for ever.
pub async fn serve(socket: UnixSocket, operator: Arc<Operator>) {
    loop {
        match socket.accept().await {
            Ok(stream) => {
                let operator = Arc::clone(&operator);
                tokio::spawn(async move {
                    match timeout(PATIENCE, converse(stream, &operator)).await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => debug!("a control connection broke: {error}"),
                        Err(_) => debug!("a control connection was too slow"),
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
    let (reader, mut writer) = stream.split();
    let mut reader = BufReader::new(reader).take(REQUEST_MAX);
    if reader.read_line(&mut line).await? == 0 {
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
            operator.carry_out(request)
        }
        Err(error) => Answer::Refused {
            text: format!(
                "this is no request: {error}; use lrep-cl of the daemon's version, {}",
                env!("CARGO_PKG_VERSION")
            ),
        },
    };
    let mut text = serde_json::to_vec(&answer)?;
    text.push(b'\n');
    writer.write_all(&text).await
}
