// SPDX-License-Identifier: MIT OR Apache-2.0

//! The notification socket of rtpproxy: a line for each call, on a connection that stays. rtpproxy
//! writes what the SIP server gave it for the purpose; the lrkproxy protocol has nothing of the kind,
//! so the line is the Call-ID.

use std::io;

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::{PATIENCE, TRIES, Target, untold};

type Connection = Box<dyn AsyncWrite + Send + Unpin>;

/// Tells of calls as they come.
pub async fn tell(target: &Target, mut calls: mpsc::Receiver<Vec<u8>>) {
    let mut connection: Option<Connection> = None;
    while let Some(call_id) = calls.recv().await {
        let mut line = call_id.clone();
        line.push(b'\n');
        if let Err(error) = try_to_tell(target, &mut connection, &line).await {
            untold(target, &call_id, &error);
        }
    }
}

async fn try_to_tell(
    target: &Target,
    connection: &mut Option<Connection>,
    line: &[u8],
) -> io::Result<()> {
    let mut result = Ok(());
    for attempt in 0..TRIES {
        if attempt > 1 {
            // The first failure may only say that the connection was an old one.
            sleep(PATIENCE).await;
        }
        let told = async {
            let stream = match connection {
                Some(stream) => stream,
                None => connection.insert(connect(target).await?),
            };
            stream.write_all(line).await
        };
        result = timeout(PATIENCE, told)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        if result.is_ok() {
            return Ok(());
        }
        *connection = None;
    }
    result
}

async fn connect(target: &Target) -> io::Result<Connection> {
    Ok(match target {
        Target::Tcp(address) | Target::JsonRpc(address) => {
            Box::new(TcpStream::connect(address).await?)
        }
        Target::Unix(path) => Box::new(UnixStream::connect(path).await?),
    })
}
