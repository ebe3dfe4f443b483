// SPDX-License-Identifier: GPL-2.0

//! Which addresses the relay may be told to use.

use super::admission::Side;
use core::net::{Ipv4Addr, SocketAddrV4};

/// One side of a stream, as the controller asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Where the relay receives and sends.
    pub local: SocketAddrV4,
    /// The party; `None` while it is on hold.
    pub remote: Option<SocketAddrV4>,
}

/// What is wrong with an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// 0.0.0.0.
    Unspecified,
    /// 224.0.0.0/4.
    Multicast,
    /// 255.255.255.255.
    Broadcast,
    /// A remote address of 127.0.0.0/8 while the local address is not: nothing can come from there.
    Loopback,
    /// Port 0.
    NoPort,
    /// The remote address and port are a local one of the same stream: packets would circle.
    OwnEndpoint,
    /// Both endpoints share local and remote address and port: no packet tells where it belongs.
    SameRemote,
}

impl Problem {
    /// What is wrong and what to do, short enough for an extended ack (79 bytes).
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unspecified => "0.0.0.0 is nobody's address; give the unicast address of one host",
                "0.0.0.0 is nobody's address; to hold the call leave the remote out"
            }
            Self::Multicast => "a multicast address; give the unicast address of one host",
            Self::Broadcast => "the broadcast address; give the unicast address of one host",
            Self::Loopback => {
                "a remote address of this host's loopback needs a local one of it too"
            }
            Self::NoPort => "port 0 cannot be sent to; to hold the call leave the remote out",
            Self::OwnEndpoint => {
                "remote is a local endpoint of the same stream; give the party's own"
            }
            Self::SameRemote => "endpoints that share a local port need remotes that differ",
        }
    }
}

/// Whether packets may be received on and sent from an address.
///
/// # Errors
///
/// [`Problem::Unspecified`], [`Problem::Multicast`] or [`Problem::Broadcast`].
pub fn local_address(address: Ipv4Addr) -> Result<(), Problem> {
    if address.is_unspecified() {
        Err(Problem::Unspecified)
    } else if address.is_multicast() {
        Err(Problem::Multicast)
    } else if address.is_broadcast() {
        Err(Problem::Broadcast)
    } else {
        Ok(())
    }
}

/// Whether packets may be relayed between the remotes of two endpoints. Their local addresses are
/// known to be configured.
///
/// # Errors
///
/// The first problem and the endpoint whose remote address has it.
pub fn stream(a: &Endpoint, b: &Endpoint) -> Result<(), (Side, Problem)> {
    remote(a, b).map_err(|problem| (Side::A, problem))?;
    remote(b, a).map_err(|problem| (Side::B, problem))?;
    if a.local == b.local && a.remote.is_some() && a.remote == b.remote {
        return Err((Side::B, Problem::SameRemote));
    }
    Ok(())
}

fn remote(own: &Endpoint, opposite: &Endpoint) -> Result<(), Problem> {
    let Some(remote) = own.remote else {
        return Ok(());
    };
    local_address(*remote.ip())?;
    if remote.ip().is_loopback() && !own.local.ip().is_loopback() {
        Err(Problem::Loopback)
    } else if remote.port() == 0 {
        Err(Problem::NoPort)
    } else if remote == own.local || remote == opposite.local {
        Err(Problem::OwnEndpoint)
    } else {
        Ok(())
    }
}
