// SPDX-License-Identifier: MIT OR Apache-2.0

//! Requests in datagrams.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::server::{Client, Service};

/// The largest datagram there is.
const DATAGRAM_MAX: usize = 65_535;

/// How long the receive queue must stay empty to count as read when stopping.
const QUIET: Duration = Duration::from_millis(10);

/// Answers datagrams until `stop`, then what has been received, then returns.
pub async fn serve(socket: UdpSocket, service: Arc<Service>, stop: CancellationToken) {
    let listener = match socket.local_addr() {
        Ok(address) => address,
        Err(error) => {
            warn!("a UDP listener is gone: {error}");
            return;
        }
    };
    let socket = Arc::new(socket);
    let answers = TaskTracker::new();
    let mut buffer = vec![0; DATAGRAM_MAX];
    let dispatch = |peer: SocketAddr, request: &[u8]| {
        if !service.admits(peer) {
            return;
        }
        let (service, socket) = (Arc::clone(&service), Arc::clone(&socket));
        let request = request.to_vec();
        answers.spawn(async move {
            let client = Client::Udp { listener, peer };
            if let Some(answer) = service.answer(client, request).await {
                if let Err(error) = socket.send_to(&answer, peer).await {
                    debug!("cannot answer {peer}: {error}");
                }
            }
        });
    };
    loop {
        let received = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            received = socket.recv_from(&mut buffer) => received,
        };
        match received {
            Ok((len, peer)) => dispatch(peer, &buffer[..len]),
            Err(error) => {
                warn!("cannot receive on {listener}: {error}");
                sleep(QUIET).await;
            }
        }
    }
    // A socket connected to itself receives from nobody else any more: the kernel tells later
    // senders at once that nobody is there, while what it has queued can still be read.
    if let Err(error) = socket.connect(listener).await {
        debug!("cannot close {listener} for new requests: {error}");
    }
    while let Ok(Ok((len, peer))) = timeout(QUIET, socket.recv_from(&mut buffer)).await {
        dispatch(peer, &buffer[..len]);
    }
    answers.close();
    answers.wait().await;
}
