// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0

//! Only the signalled source gets in, and only with what the stream carries.

use relay::{
    admission::{admit, direction, Carries, Refusal, Side},
    ipv4::TransportAddress,
    payload::Class,
    remote::Remote,
};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

/// Addresses that differ in the address only, in the port only, in both.
fn addresses() -> [SocketAddrV4; 4] {
    let (near, far) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2));
    [(near, 4_000), (near, 4_001), (far, 4_000), (far, 4_001)]
        .map(|(address, port)| SocketAddrV4::new(address, port))
}

fn remotes() -> impl Iterator<Item = Option<SocketAddr>> + Clone {
    addresses()
        .into_iter()
        .map(|one| Some(one.into()))
        .chain([None])
}

#[test]
fn nobody_else_is_the_remote() {
    for remote in remotes() {
        for source in addresses() {
            assert_eq!(
                Remote::from(remote) == TransportAddress::from(source),
                remote == Some(source.into()),
                "{remote:?}, from {source}"
            );
        }
    }
}

#[test]
fn the_remote_gets_in_with_what_the_stream_carries() {
    for (class, in_rtp, in_rtcp) in [
        (Class::Rtp, Ok(()), Err(Refusal::Malformed)),
        (Class::Rtcp, Ok(()), Ok(())),
        (Class::Stun, Ok(()), Ok(())),
        (Class::Dtls, Ok(()), Ok(())),
        (
            Class::Other,
            Err(Refusal::Malformed),
            Err(Refusal::Malformed),
        ),
    ] {
        assert_eq!(admit(Carries::Rtp, class), in_rtp, "{class:?}");
        assert_eq!(admit(Carries::Rtcp, class), in_rtcp, "{class:?}");
        assert_eq!(admit(Carries::Udp, class), Ok(()), "{class:?}");
    }
}

#[test]
fn the_source_tells_the_direction_of_a_shared_port() {
    for a in remotes() {
        // Equal remotes are refused when they are signalled.
        for b in remotes().filter(|b| b.is_none() || *b != a) {
            for source in addresses() {
                let expected = if a == Some(source.into()) {
                    Some(Side::A)
                } else if b == Some(source.into()) {
                    Some(Side::B)
                } else {
                    None
                };
                assert_eq!(
                    direction(
                        Remote::from(a),
                        Remote::from(b),
                        TransportAddress::from(source)
                    ),
                    expected,
                    "a {a:?}, b {b:?}, from {source}"
                );
            }
        }
    }
}
