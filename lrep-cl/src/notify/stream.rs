// SPDX-License-Identifier: MIT OR Apache-2.0

//! The notification socket of rtpproxy: a line for each call, on a connection that stays. rtpproxy
//! writes what the SIP server gave it for the purpose; the lrkproxy protocol has nothing of the kind,
//! so the line is the Call-ID.

use std::io;

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::target::Place;
use super::{PATIENCE, TRIES, Target, untold};

type Connection = Box<dyn AsyncWrite + Send + Unpin>;

/// Tells of calls as they come.
pub async fn tell(place: &Place, mut calls: mpsc::Receiver<Vec<u8>>) {
    let mut connection: Option<Connection> = None;
    while let Some(call_id) = calls.recv().await {
        let mut line = call_id.clone();
        line.push(b'\n');
        if let Err(error) = try_to_tell(place, &mut connection, &line).await {
            untold(&Target::Line(place.clone()), &call_id, &error);
        }
    }
}

async fn try_to_tell(
    place: &Place,
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
                None => connection.insert(connect(place).await?),
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

async fn connect(place: &Place) -> io::Result<Connection> {
    Ok(match place {
        Place::Tcp(address) => Box::new(TcpStream::connect(address).await?),
        Place::Unix(path) => Box::new(UnixStream::connect(path).await?),
    })
}
