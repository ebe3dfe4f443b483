// SPDX-License-Identifier: MIT OR Apache-2.0

//! Requests on connections of unix stream sockets.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::unistd::{Gid, chown};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::protocol::lrkproxy::{Frame, frame};
use crate::server::Service;

/// How long the rest of a request is waited for. A client whose buffers ran over sends fewer
/// spaces than a request has, and would wait for its answer for ever.
const REST: Duration = Duration::from_millis(250);

/// How long a connection may stay silent when stopping.
const QUIET: Duration = Duration::from_millis(50);

/// How long to wait before accepting again after a failure.
const RETRY: Duration = Duration::from_millis(100);

/// A listening socket and its file, which goes with it.
#[derive(Debug)]
pub struct UnixSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Whether both go on without this program.
    kept: bool,
}

impl UnixSocket {
    /// Listens on `path`, whose file gets these permissions and this group. A socket file on
    /// which nobody listens is removed first; any other file there is an error.
    pub fn bind(path: &Path, mode: u32, group: Option<Gid>) -> io::Result<Self> {
        remove_stale(path)?;
        let socket = Self {
            listener: UnixListener::bind(path)?,
            path: path.to_owned(),
            kept: false,
        };
        if group.is_some() {
            chown(path, None, group)?;
        }
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        Ok(socket)
    }

    /// Goes on with a socket that the service manager has opened at `path`, and keeps.
    pub fn inherit(listener: std::os::unix::net::UnixListener, path: &Path) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self {
            listener: UnixListener::from_std(listener)?,
            path: path.to_owned(),
            kept: true,
        })
    }

    /// Waits for a connection.
    pub async fn accept(&self) -> io::Result<UnixStream> {
        let (stream, _) = self.listener.accept().await?;
        Ok(stream)
    }

    /// The socket's file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        if let Err(error) = fs::remove_file(&self.path) {
            debug!("cannot remove {}: {error}", self.path.display());
        }
    }
}

fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "a file that is no socket has this name",
            ));
        }
        Ok(_) => {}
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) => Err(error),
        Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
    }
}

/// Answers connections until `stop`, then what these have sent, then returns. `listener` is its
/// place in the configuration. Connections to a socket that is kept wait there for the next program.
pub async fn serve(
    socket: UnixSocket,
    listener: usize,
    service: Arc<Service>,
    stop: CancellationToken,
) {
    let connections = TaskTracker::new();
    let spawn = |stream| {
        let (service, stop) = (Arc::clone(&service), stop.clone());
        connections.spawn(async move {
            if let Err(error) = converse(stream, listener, &service, &stop).await {
                debug!("a connection broke: {error}");
            }
        });
    };
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok(stream) => spawn(stream),
            Err(error) => {
                warn!("cannot accept on {}: {error}", socket.path.display());
                sleep(RETRY).await;
            }
        }
    }
    if !socket.kept {
        while let Ok(Ok(stream)) = timeout(QUIET, socket.accept()).await {
            spawn(stream);
        }
    }
    drop(socket);
    connections.close();
    connections.wait().await;
}

/// Answers the requests of one connection, each in one write, until it ends or makes no sense.
async fn converse(
    mut stream: UnixStream,
    listener: usize,
    service: &Service,
    stop: &CancellationToken,
) -> io::Result<()> {
    let mut received = Vec::new();
    loop {
        match frame(&received) {
            Frame::Complete(len) => {
                let request: Vec<u8> = received.drain(..len).collect();
                if let Some(answer) = service.answer(listener, &request).await {
                    stream.write_all(&answer).await?;
                }
            }
            Frame::Partial if received.is_empty() => {
                let read = stream.read_buf(&mut received);
                let stopping = async {
                    stop.cancelled().await;
                    sleep(QUIET).await;
                };
                let len = tokio::select! {
                    len = read => len?,
                    () = stopping => 0,
                };
                if len == 0 {
                    return Ok(());
                }
            }
            Frame::Partial => match timeout(REST, stream.read_buf(&mut received)).await {
                Ok(Ok(0)) | Err(_) => return reject(stream, listener, service, &received).await,
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(error),
            },
            Frame::TooLong => return reject(stream, listener, service, &received).await,
            Frame::Unknown => {
                debug!("closed a connection that speaks no known protocol");
                return Ok(());
            }
        }
    }
}

/// Answers a request whose end cannot be found, so that its sender does not wait for ever, and
/// ends the connection.
async fn reject(
    mut stream: UnixStream,
    listener: usize,
    service: &Service,
    request: &[u8],
) -> io::Result<()> {
    if let Some(answer) = service.answer(listener, request).await {
        stream.write_all(&answer).await?;
    }
    Ok(())
}
