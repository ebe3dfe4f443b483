// SPDX-License-Identifier: MIT OR Apache-2.0

//! Requests in datagrams.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::server::Service;

/// The largest datagram there is.
const DATAGRAM_MAX: usize = 65_535;

/// Datagrams that are taken at once, before others have their turn.
const BURST: usize = 32;

/// How long the receive queue must stay empty to count as read when stopping.
const QUIET: Duration = Duration::from_millis(10);

/// Takes datagrams until `stop`, then what has been received, then returns. `listener` is its place
/// in the configuration. A socket that is `kept` goes on without this program: what comes later waits
/// there for the next one.
pub async fn serve(
    socket: Arc<UdpSocket>,
    kept: bool,
    listener: usize,
    service: Arc<Service>,
    stop: CancellationToken,
) {
    let mut buffer = vec![0; DATAGRAM_MAX];
    loop {
        let received = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            received = socket.recv_from(&mut buffer) => received,
        };
        match received {
            Ok((len, peer)) => {
                service.datagram(listener, peer, &buffer[..len]);
                // What came with it, without asking each time whether to stop.
                for _ in 0..BURST {
                    match socket.try_recv_from(&mut buffer) {
                        Ok((len, peer)) => service.datagram(listener, peer, &buffer[..len]),
                        Err(_) => break,
                    }
                }
            }
            Err(error) => {
                warn!("cannot receive requests: {error}");
                sleep(QUIET).await;
            }
        }
    }
    if kept {
        while let Ok((len, peer)) = socket.try_recv_from(&mut buffer) {
            service.datagram(listener, peer, &buffer[..len]);
        }
        return;
    }
    // A socket connected to itself receives from nobody else any more: the kernel tells later
    // senders at once that nobody is there, while what it has queued can still be read.
    let closed = match socket.local_addr() {
        Ok(address) => socket.connect(address).await,
        Err(error) => Err(error),
    };
    if let Err(error) = closed {
        debug!("cannot close a listener for new requests: {error}");
    }
    while let Ok(Ok((len, peer))) = timeout(QUIET, socket.recv_from(&mut buffer)).await {
        service.datagram(listener, peer, &buffer[..len]);
    }
}
