// SPDX-License-Identifier: MIT OR Apache-2.0

//! A UDP socket of the relay, read and written in batches.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, RecvMsg, SockaddrStorage,
    recvmmsg, sendmmsg, setsockopt, sockopt,
};

/// Packets read or written at once.
pub(super) const BATCH: usize = 32;
/// Bytes of the longest datagram.
const PACKET: usize = 65_536;

/// What the IP header of a packet says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) traffic_class: u8,
    pub(super) hops: u8,
}

/// A packet that has arrived.
pub(super) struct Arrived<'b> {
    pub(super) source: SocketAddr,
    pub(super) header: Header,
    pub(super) payload: &'b [u8],
}

/// Room for one batch.
pub(super) struct Room(Vec<[u8; PACKET]>);

impl Room {
    pub(super) fn new() -> Self {
        Self(vec![[0; PACKET]; BATCH])
    }
}

/// A socket bound to one local address and port.
#[derive(Debug)]
pub(super) struct Socket {
    socket: UdpSocket,
    local: SocketAddr,
}

impl Socket {
    /// Opens one that tells the traffic class and the hops of what arrives.
    pub(super) fn bind(local: SocketAddr) -> nix::Result<Self> {
        let failed = |error: io::Error| {
            let errno = error.raw_os_error();
            errno.map_or(Errno::EIO, Errno::from_raw)
        };
        let socket = UdpSocket::bind(local).map_err(failed)?;
        if local.is_ipv4() {
            setsockopt(&socket, sockopt::IpRecvTos, &true)?;
            setsockopt(&socket, sockopt::Ipv4RecvTtl, &true)?;
        } else {
            setsockopt(&socket, sockopt::Ipv6RecvTClass, &true)?;
            setsockopt(&socket, sockopt::Ipv6RecvHopLimit, &true)?;
        }
        Ok(Self { socket, local })
    }

    /// Where it is bound.
    pub(super) fn local(&self) -> SocketAddr {
        self.local
    }

    /// Its number, which no other open socket has.
    pub(super) fn number(&self) -> u64 {
        self.socket.as_raw_fd().unsigned_abs().into()
    }

    /// Has an epoll instance tell of it by its number, for as long as it is open.
    pub(super) fn watch(&self, epoll: &Epoll) -> nix::Result<()> {
        let event = EpollEvent::new(EpollFlags::EPOLLIN, self.number());
        epoll.add(&self.socket, event)
    }

    /// What has arrived, at most one batch of it.
    pub(super) fn receive<'r>(&self, room: &'r mut Room) -> nix::Result<Vec<Arrived<'r>>> {
        let mut slices: Vec<_> = room.0.iter_mut().map(|b| [IoSliceMut::new(b)]).collect();
        let mut headers = MultiHeaders::preallocate(BATCH, Some(nix::cmsg_space!(i32, i32)));
        let messages = recvmmsg(
            self.socket.as_raw_fd(),
            &mut headers,
            slices.iter_mut(),
            MsgFlags::MSG_DONTWAIT,
            None,
        )?;
        let heads: Vec<_> = messages
            .map(|message| Some((source(&message)?, header(&message), message.bytes)))
            .collect();
        let arrived = |(head, buffer): (Option<_>, &'r [u8; PACKET])| {
            let (source, header, length) = head?;
            Some(Arrived {
                source,
                header,
                payload: buffer.get(..length)?,
            })
        };
        Ok(heads.into_iter().zip(&room.0).filter_map(arrived).collect())
    }

    /// Sends packets with the same header. Returns how many were sent: less than all when the next
    /// one cannot be, of which the error of the next call tells.
    pub(super) fn send(
        &self,
        header: Header,
        packets: &[(SocketAddr, &[u8])],
    ) -> nix::Result<usize> {
        let slices: Vec<_> = packets.iter().map(|(_, p)| [IoSlice::new(p)]).collect();
        let addresses: Vec<_> = packets
            .iter()
            .map(|(to, _)| Some(SockaddrStorage::from(*to)))
            .collect();
        let (hops, class) = (i32::from(header.hops), i32::from(header.traffic_class));
        let control = if self.local.is_ipv4() {
            [
                ControlMessage::Ipv4Tos(&header.traffic_class),
                ControlMessage::Ipv4Ttl(&hops),
            ]
        } else {
            [
                ControlMessage::Ipv6TClass(&class),
                ControlMessage::Ipv6HopLimit(&hops),
            ]
        };
        let mut headers =
            MultiHeaders::preallocate(packets.len(), Some(nix::cmsg_space!(i32, i32)));
        let sent = sendmmsg(
            self.socket.as_raw_fd(),
            &mut headers,
            slices.iter(),
            addresses,
            control,
            MsgFlags::MSG_DONTWAIT,
        )?;
        Ok(sent.count())
    }
}

fn source(message: &RecvMsg<'_, '_, SockaddrStorage>) -> Option<SocketAddr> {
    let storage = message.address.as_ref()?;
    match (storage.as_sockaddr_in(), storage.as_sockaddr_in6()) {
        (Some(address), _) => Some(SocketAddr::V4((*address).into())),
        (_, Some(address)) => Some(SocketAddr::V6((*address).into())),
        _ => None,
    }
}

fn header(message: &RecvMsg<'_, '_, SockaddrStorage>) -> Header {
    let mut header = Header {
        traffic_class: 0,
        hops: u8::MAX,
    };
    // There is room for both.
    for control in message.cmsgs().into_iter().flatten() {
        match control {
            ControlMessageOwned::Ipv4Tos(tos) => header.traffic_class = tos,
            ControlMessageOwned::Ipv6TClass(class) => header.traffic_class = class as u8,
            ControlMessageOwned::Ipv4Ttl(hops) | ControlMessageOwned::Ipv6HopLimit(hops) => {
                header.hops = hops as u8;
            }
            _ => {}
        }
    }
    header
}

/// What the host says of sending to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// It is somebody else's, or nobody's.
    Elsewhere,
    /// It is its own.
    Ours,
    /// It is a network's.
    Broadcast,
}

/// Whose a remote is, asked of the kernel without a packet being sent.
pub(super) fn whose(local: SocketAddr, remote: SocketAddr) -> Whose {
    let connected = UdpSocket::bind((local.ip(), 0)).and_then(|socket| socket.connect(remote));
    match connected {
        // Without SO_BROADCAST (socket(7)).
        Err(error) if error.raw_os_error() == Some(Errno::EACCES as i32) => Whose::Broadcast,
        _ if !remote.ip().is_loopback() && UdpSocket::bind((remote.ip(), 0)).is_ok() => Whose::Ours,
        _ => Whose::Elsewhere,
    }
}
