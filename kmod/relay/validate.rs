// SPDX-License-Identifier: GPL-2.0

//! Which addresses the relay may be told to use.

use super::admission::Side;
use core::net::{Ipv4Addr, SocketAddrV4};

/// One side of a stream, as signalled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Where the relay receives and sends.
    pub local: SocketAddrV4,
    /// The party; `None` on hold.
    pub remote: Option<SocketAddrV4>,
}

/// What is wrong with an address or a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// The address is 0.0.0.0.
    Unspecified,
    /// The address is one of 224.0.0.0/4.
    Multicast,
    /// The address is 255.255.255.255.
    Broadcast,
    /// The remote address is one of 127.0.0.0/8 and the local one is not.
    Loopback,
    /// The remote port is 0.
    NoPort,
    /// The remote is a port of the relay itself: packets would circle.
    RelayPort,
    /// Both endpoints share their local and their remote address and port: nothing in a packet
    /// tells which of them it arrived at.
    SameRemote,
}

impl Invalid {
    /// What is wrong and what is right, to stand after the name of the attribute. At most 60
    /// bytes, so that both fit into an extended ack (`NETLINK_MAX_FMTMSG_LEN` of
    /// `include/linux/netlink.h`).
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unspecified => "0.0.0.0 is no host, must be a unicast address",
            Self::Multicast => "is multicast, must be a unicast address",
            Self::Broadcast => "is broadcast, must be a unicast address",
            Self::Loopback => "is loopback, while the local address is not",
            Self::NoPort => "is 0; to hold the call leave the remote out",
            Self::RelayPort => "is a port of this relay, must be the party's",
            Self::SameRemote => "must differ between endpoints that share a local port",
        }
    }
}

/// Whether an address is one host's, as every local and every remote address must be.
///
/// # Errors
///
/// [`Invalid::Unspecified`], [`Invalid::Multicast`] or [`Invalid::Broadcast`].
pub fn unicast(address: Ipv4Addr) -> Result<(), Invalid> {
    if address.is_unspecified() {
        Err(Invalid::Unspecified)
    } else if address.is_multicast() {
        Err(Invalid::Multicast)
    } else if address.is_broadcast() {
        Err(Invalid::Broadcast)
    } else {
        Ok(())
    }
}

/// Whether packets may be relayed between the remotes of two endpoints. `is_relay_port` tells the
/// ports whose packets the relay takes for itself. That the endpoints' local addresses are
/// configured and their local ports are free is not known here.
///
/// # Errors
///
/// The endpoint and what is wrong with its remote; the first of several.
pub fn stream(
    a: &Endpoint,
    b: &Endpoint,
    is_relay_port: impl Fn(SocketAddrV4) -> bool,
) -> Result<(), (Side, Invalid)> {
    let is_own = |remote| remote == a.local || remote == b.local || is_relay_port(remote);
    remote(a, is_own).map_err(|invalid| (Side::A, invalid))?;
    remote(b, is_own).map_err(|invalid| (Side::B, invalid))?;
    if a.local == b.local && a.remote.is_some() && a.remote == b.remote {
        return Err((Side::B, Invalid::SameRemote));
    }
    Ok(())
}

fn remote(endpoint: &Endpoint, is_own: impl Fn(SocketAddrV4) -> bool) -> Result<(), Invalid> {
    let Some(remote) = endpoint.remote else {
        return Ok(());
    };
    unicast(*remote.ip())?;
    if remote.ip().is_loopback() && !endpoint.local.ip().is_loopback() {
        Err(Invalid::Loopback)
    } else if remote.port() == 0 {
        Err(Invalid::NoPort)
    } else if is_own(remote) {
        Err(Invalid::RelayPort)
    } else {
        Ok(())
    }
}
