// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0

//! Which addresses the relay may be told to use.

use super::{
    admission::Side,
    policy::{Learning, Receiving, Sending},
};
use core::net::{IpAddr, SocketAddr};

/// One side of a stream, as signalled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Where the relay receives and sends.
    pub local: SocketAddr,
    /// The party; `None` on hold.
    pub remote: Option<SocketAddr>,
    /// How packets are sent to the party.
    pub sending: Sending,
    /// What is admitted from the party.
    pub receiving: Receiving,
    /// How the party's address is found out.
    pub learning: Learning,
}

/// What is wrong with an address or a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// The address is 0.0.0.0 or ::.
    Unspecified,
    /// The address is one of 224.0.0.0/4 or ff00::/8.
    Multicast,
    /// The address is 255.255.255.255 or a network's broadcast address.
    Broadcast,
    /// The address is one of fe80::/10, which says nothing without a link.
    LinkLocal,
    /// The address is one of ::ffff:0:0/96, which is not for the wire (RFC 4291 section 2.5.5.2).
    MappedIpv4,
    /// The remote address is one of 127.0.0.0/8 or ::1 and the local one is not.
    Loopback,
    /// The remote address is of another family than the local one.
    OtherFamily,
    /// The remote port is 0.
    NoPort,
    /// The remote is a port of the relay itself: packets would circle.
    RelayPort,
    /// The remote address is one of this host, outside of loopback.
    ThisHost,
    /// Nothing can be learned from what the stream carries.
    Unlearnable,
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
            Self::Unspecified => "is unspecified, must be a unicast address",
            Self::Multicast => "is multicast, must be a unicast address",
            Self::Broadcast => "is broadcast, must be a unicast address",
            Self::LinkLocal => "is link-local, must be a global or site address",
            Self::MappedIpv4 => "is IPv4-mapped, must be given as IPv4",
            Self::OtherFamily => "is of another family than its local address",
            Self::Loopback => "is loopback, while the local address is not",
            Self::NoPort => "is 0; to hold the call leave the remote out",
            Self::RelayPort => "is a port of this relay, must be the party's",
            Self::ThisHost => "is an address of this host, must be the party's",
            Self::Unlearnable => "needs a stream of RTP or RTCP",
            Self::SameRemote => "must differ between endpoints that share a local port",
        }
    }
}

/// Whether an address is one host's, as every local and every remote address must be.
///
/// # Errors
///
/// [`Invalid::Unspecified`], [`Invalid::Multicast`], [`Invalid::Broadcast`],
/// [`Invalid::LinkLocal`] or [`Invalid::MappedIpv4`].
pub fn unicast(address: IpAddr) -> Result<(), Invalid> {
    if address.is_unspecified() {
        return Err(Invalid::Unspecified);
    }
    if address.is_multicast() {
        return Err(Invalid::Multicast);
    }
    match address {
        IpAddr::V4(address) if address.is_broadcast() => Err(Invalid::Broadcast),
        IpAddr::V6(address) if address.is_unicast_link_local() => Err(Invalid::LinkLocal),
        IpAddr::V6(address) if address.to_ipv4_mapped().is_some() => Err(Invalid::MappedIpv4),
        _ => Ok(()),
    }
}

/// Whether packets may be relayed between the remotes of two endpoints. `is_elsewhere` tells what
/// this host and its relay know of the remote of an endpoint, which is returned for both. That the
/// endpoints' local addresses are configured and their local ports are free is not known here.
///
/// # Errors
///
/// The endpoint and what is wrong with its remote; the first of several.
pub fn stream<K>(
    a: &Endpoint,
    b: &Endpoint,
    is_elsewhere: impl Fn(&Endpoint, SocketAddr) -> Result<Option<K>, Invalid>,
) -> Result<[Option<K>; 2], (Side, Invalid)> {
    let of_a = remote(a, b.local, &is_elsewhere).map_err(|invalid| (Side::A, invalid))?;
    let of_b = remote(b, a.local, &is_elsewhere).map_err(|invalid| (Side::B, invalid))?;
    if is_ambiguous(a, b) {
        return Err((Side::B, Invalid::SameRemote));
    }
    Ok([of_a, of_b])
}

/// Whether nothing in a packet would tell which of two endpoints it arrived at.
#[must_use]
pub fn is_ambiguous(a: &Endpoint, b: &Endpoint) -> bool {
    a.local == b.local && a.remote.is_some() && a.remote == b.remote
}

/// Whether packets may be sent to the remote of an endpoint whose opposite's local address and port
/// are these, and what `is_elsewhere` knows of it. Nothing is wrong with an endpoint on hold.
///
/// # Errors
///
/// What is wrong with the remote; the first of several.
pub fn remote<K>(
    endpoint: &Endpoint,
    opposite: SocketAddr,
    is_elsewhere: impl Fn(&Endpoint, SocketAddr) -> Result<Option<K>, Invalid>,
) -> Result<Option<K>, Invalid> {
    let Some(remote) = endpoint.remote else {
        return Ok(None);
    };
    unicast(remote.ip())?;
    if remote.is_ipv4() != endpoint.local.is_ipv4() {
        Err(Invalid::OtherFamily)
    } else if remote.ip().is_loopback() && !endpoint.local.ip().is_loopback() {
        Err(Invalid::Loopback)
    } else if remote.port() == 0 {
        Err(Invalid::NoPort)
    } else if remote == endpoint.local || remote == opposite {
        Err(Invalid::RelayPort)
    } else {
        is_elsewhere(endpoint, remote)
    }
}
