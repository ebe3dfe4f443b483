// SPDX-License-Identifier: MIT OR Apache-2.0

//! Listening sockets that outlive the program: while it is started again, the service manager keeps
//! them, and requests wait in them instead of being refused.
//!
//! It hands over those of a `.socket` unit (sd_listen_fds(3)), and the UDP sockets that an earlier
//! run has given into keeping (`FDSTORE=1` of sd_notify(3)).

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::path::Path;

use listenfd::ListenFd;
use sd_notify::NotifyState;
use tracing::{info, warn};

use crate::config::Listen;

/// Sockets that were here before the program was.
#[derive(Debug, Default)]
pub struct Inherited {
    udp: Vec<(SocketAddr, std::net::UdpSocket)>,
    unix: Vec<UnixListener>,
    /// How many there are besides, of kinds that nobody can listen on.
    strange: usize,
}

impl Inherited {
    /// Those that the environment names. To be called once, before there are threads.
    pub fn take() -> Self {
        let mut named = ListenFd::from_env();
        let mut inherited = Self::default();
        for index in 0..named.len() {
            if let Ok(Some(socket)) = named.take_udp_socket(index) {
                if let Ok(address) = socket.local_addr() {
                    inherited.udp.push((address, socket));
                }
            } else if let Ok(Some(socket)) = named.take_unix_listener(index) {
                inherited.unix.push(socket);
            } else {
                inherited.strange += 1;
            }
        }
        inherited
    }

    /// The UDP socket of this address.
    pub fn udp(&mut self, address: SocketAddr) -> Option<std::net::UdpSocket> {
        let at = self.udp.iter().position(|(known, _)| *known == address)?;
        Some(self.udp.swap_remove(at).1)
    }

    /// The listening socket at this path.
    pub fn unix(&mut self, path: &Path) -> Option<UnixListener> {
        let is_there = |socket: &UnixListener| {
            let address = socket.local_addr();
            address.is_ok_and(|address| address.as_pathname() == Some(path))
        };
        let at = self.unix.iter().position(is_there)?;
        Some(self.unix.swap_remove(at))
    }

    /// Closes what was not asked for: requests would wait there for ever.
    pub fn close(self) {
        for (address, socket) in self.udp {
            let listen = Listen::Udp(address);
            info!(
                "closed {listen}, which is not in `listen`: if a .socket unit opens it, correct one of \
                 them"
            );
            drop(socket);
            let name = name(&listen);
            tell(
                &[NotifyState::FdStoreRemove, NotifyState::FdName(&name)],
                &[],
            );
        }
        for socket in self.unix {
            warn!(
                "nobody answers on {:?}, which a .socket unit opened: add it to `listen`",
                socket.local_addr()
            );
        }
        if self.strange > 0 {
            warn!(
                sockets = self.strange,
                "nobody answers on what a .socket unit opened otherwise than by \
                 ListenDatagram=ADDRESS:PORT (UDP) or ListenStream=/PATH: correct it"
            );
        }
    }
}

/// Has the service manager keep a UDP socket; whether there is one that may.
pub fn keep(address: SocketAddr, socket: &impl AsFd) -> bool {
    let name = name(&Listen::Udp(address));
    // An error message that waits in the socket does not make it useless.
    let poll = NotifyState::Custom("FDPOLL=0");
    let states = [NotifyState::FdStore, NotifyState::FdName(&name), poll];
    tell(&states, &[socket.as_fd()]) && std::env::var_os("NOTIFY_SOCKET").is_some()
}

/// Names a socket, for which colons are not allowed.
fn name(listen: &Listen) -> String {
    listen.to_string().replace(':', "_")
}

fn tell(states: &[NotifyState<'_>], sockets: &[std::os::fd::BorrowedFd<'_>]) -> bool {
    let told: io::Result<()> = sd_notify::notify_with_fds(false, states, sockets);
    if let Err(error) = &told {
        warn!("cannot have the service manager keep sockets: {error}");
    }
    told.is_ok()
}
