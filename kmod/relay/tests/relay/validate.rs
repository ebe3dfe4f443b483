// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0

//! Addresses that cannot be relayed to are refused before a packet meets them.

use crate::reference;
use relay::{
    admission::Side,
    policy::{Learning, Receiving, Sending},
    validate::{self, unicast, Endpoint, Invalid},
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const ALL: [Invalid; 12] = [
    Invalid::Unspecified,
    Invalid::Multicast,
    Invalid::Broadcast,
    Invalid::LinkLocal,
    Invalid::MappedIpv4,
    Invalid::Loopback,
    Invalid::OtherFamily,
    Invalid::NoPort,
    Invalid::RelayPort,
    Invalid::ThisHost,
    Invalid::Unlearnable,
    Invalid::SameRemote,
];

fn at(address: [u8; 4], port: u16) -> SocketAddr {
    reference::at(address, port).into()
}

fn at6(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse().unwrap(), port)
}

fn endpoint(local: SocketAddr, remote: Option<SocketAddr>) -> Endpoint {
    Endpoint {
        local,
        remote,
        sending: Sending::default(),
        receiving: Receiving::default(),
        learning: Learning::default(),
    }
}

fn local() -> SocketAddr {
    at([198, 51, 100, 1], 20_000)
}

fn other_local() -> SocketAddr {
    at([198, 51, 100, 1], 20_002)
}

/// A relay whose other ports are those of one more local address, from 20000 on, on a host with a
/// third address in a network whose last one is for broadcast.
fn stream(a: &Endpoint, b: &Endpoint) -> Result<(), (Side, Invalid)> {
    validate::stream(a, b, |endpoint, remote| {
        assert_eq!(endpoint.remote, Some(remote));
        if remote.ip() == Ipv4Addr::new(198, 51, 100, 2) && remote.port() >= 20_000 {
            Err(Invalid::RelayPort)
        } else if remote.ip() == Ipv4Addr::new(198, 51, 100, 3) {
            Err(Invalid::ThisHost)
        } else if remote.ip() == Ipv4Addr::new(198, 51, 100, 255) {
            Err(Invalid::Broadcast)
        } else {
            Ok(None::<()>)
        }
    })
    .map(|_| ())
}

/// Asks for a stream with the remote at either side, the other side being on hold or in order.
fn verdicts(remote: SocketAddr) -> [Result<(), (Side, Invalid)>; 4] {
    let probe = endpoint(local(), Some(remote));
    let held = endpoint(other_local(), None);
    let party = endpoint(other_local(), Some(at([203, 0, 113, 5], 4_000)));
    [
        stream(&probe, &held),
        stream(&probe, &party),
        stream(&held, &probe),
        stream(&party, &probe),
    ]
}

fn refused_as(invalid: Invalid) -> [Result<(), (Side, Invalid)>; 4] {
    [Side::A, Side::A, Side::B, Side::B].map(|side| Err((side, invalid)))
}

#[test]
fn a_text_and_the_longest_attribute_name_fit_into_an_extended_ack() {
    for invalid in ALL {
        // NETLINK_MAX_FMTMSG_LEN is 80 with the terminating zero.
        let text = format!("b remote-address: {}", invalid.as_str());
        assert!(text.len() < 80, "{text}");
    }
}

#[test]
fn every_fault_has_a_text_of_its_own() {
    let texts: std::collections::BTreeSet<_> = ALL.map(Invalid::as_str).into();
    assert_eq!(texts.len(), ALL.len());
}

#[test]
fn a_unicast_remote_is_taken_at_either_side() {
    for address in [
        [1, 0, 0, 1],
        [10, 0, 0, 1],
        [192, 0, 2, 255],
        [223, 255, 255, 255],
        [240, 0, 0, 1],
        [255, 255, 255, 254],
    ] {
        for port in [1, 4_000, u16::MAX] {
            assert_eq!(verdicts(at(address, port)), [Ok(()); 4], "{address:?}");
        }
    }
}

#[test]
fn an_address_of_no_single_host_is_refused() {
    for first in 0..=u8::MAX {
        for rest in [[0, 0, 0], [0, 0, 1], [255, 255, 255], [255, 255, 254]] {
            let address = [first, rest[0], rest[1], rest[2]];
            let expected = if address == [0; 4] {
                Err(Invalid::Unspecified)
            } else if (224..240).contains(&first) {
                Err(Invalid::Multicast)
            } else if address == [255; 4] {
                Err(Invalid::Broadcast)
            } else {
                Ok(())
            };
            assert_eq!(unicast(IpAddr::from(address)), expected, "{address:?}");
            if let Err(invalid) = expected {
                assert_eq!(verdicts(at(address, 4_000)), refused_as(invalid));
            }
        }
    }
}

#[test]
fn loopback_is_reached_from_loopback_only() {
    let remote = at([127, 0, 0, 2], 4_000);
    assert_eq!(verdicts(remote), refused_as(Invalid::Loopback));
    let inside = endpoint(at([127, 0, 0, 1], 20_000), Some(remote));
    let held = endpoint(other_local(), None);
    assert_eq!(stream(&inside, &held), Ok(()));
    assert_eq!(stream(&held, &inside), Ok(()));
}

#[test]
fn port_zero_is_refused() {
    let remote = at([203, 0, 113, 9], 0);
    assert_eq!(verdicts(remote), refused_as(Invalid::NoPort));
}

#[test]
fn the_relay_never_sends_to_itself() {
    // its own endpoints, whatever the range of ports
    assert_eq!(verdicts(local()), refused_as(Invalid::RelayPort));
    assert_eq!(verdicts(other_local()), refused_as(Invalid::RelayPort));
    // any port that is the relay's
    assert_eq!(
        verdicts(at([198, 51, 100, 2], 20_000)),
        refused_as(Invalid::RelayPort)
    );
    // another program on the same host
    assert_eq!(verdicts(at([198, 51, 100, 2], 19_999)), [Ok(()); 4]);
}

#[test]
fn endpoints_that_share_a_local_port_need_remotes_that_differ() {
    let (x, y) = (at([203, 0, 113, 1], 4_000), at([203, 0, 113, 1], 4_002));
    let at_shared = |a, b| stream(&endpoint(local(), a), &endpoint(local(), b));
    assert_eq!(
        at_shared(Some(x), Some(x)),
        Err((Side::B, Invalid::SameRemote))
    );
    assert_eq!(at_shared(Some(x), Some(y)), Ok(()));
    assert_eq!(at_shared(Some(x), None), Ok(()));
    assert_eq!(at_shared(None, Some(x)), Ok(()));
    assert_eq!(at_shared(None, None), Ok(()));
    // With a local port each, the port tells the direction.
    let own_ports = stream(
        &endpoint(local(), Some(x)),
        &endpoint(other_local(), Some(x)),
    );
    assert_eq!(own_ports, Ok(()));
}

/// As [`verdicts`], at an IPv6 endpoint.
fn verdicts6(remote: SocketAddr) -> [Result<(), (Side, Invalid)>; 2] {
    let probe = endpoint(at6("2001:db8::1", 20_000), Some(remote));
    let party = endpoint(local(), Some(at([203, 0, 113, 5], 4_000)));
    [stream(&probe, &party), stream(&party, &probe)]
}

fn refused6(invalid: Invalid) -> [Result<(), (Side, Invalid)>; 2] {
    [Err((Side::A, invalid)), Err((Side::B, invalid))]
}

#[test]
fn a_stream_may_have_an_endpoint_of_each_family() {
    for address in ["2001:db8::2", "fd00::1", "64:ff9b::c000:207", "::2"] {
        assert_eq!(verdicts6(at6(address, 4_000)), [Ok(()); 2], "{address}");
    }
}

#[test]
fn a_remote_is_of_its_local_addresses_family() {
    let remote = at([203, 0, 113, 7], 4_000);
    assert_eq!(verdicts6(remote), refused6(Invalid::OtherFamily));
    let remote = at6("2001:db8::2", 4_000);
    assert_eq!(verdicts(remote), refused_as(Invalid::OtherFamily));
}

#[test]
fn an_ipv6_address_of_no_single_host_is_refused() {
    for (address, invalid) in [
        ("::", Invalid::Unspecified),
        ("ff00::", Invalid::Multicast),
        ("ff02::1", Invalid::Multicast),
        ("ffff::", Invalid::Multicast),
        ("fe80::1", Invalid::LinkLocal),
        ("febf::1", Invalid::LinkLocal),
        ("::ffff:192.0.2.7", Invalid::MappedIpv4),
    ] {
        let parsed: Ipv6Addr = address.parse().unwrap();
        assert_eq!(unicast(parsed.into()), Err(invalid), "{address}");
        assert_eq!(verdicts6(at6(address, 4_000)), refused6(invalid));
    }
    assert_eq!(verdicts6(at6("::1", 4_000)), refused6(Invalid::Loopback));
    for address in ["fec0::1", "fe7f::1", "::1:ffff:192.0.2.7", "100::"] {
        let parsed: Ipv6Addr = address.parse().unwrap();
        assert_eq!(unicast(parsed.into()), Ok(()), "{address}");
    }
}

#[test]
fn what_the_host_knows_of_a_remote_is_the_last_word() {
    let this_host = at([198, 51, 100, 3], 4_000);
    assert_eq!(verdicts(this_host), refused_as(Invalid::ThisHost));
    let broadcast = at([198, 51, 100, 255], 4_000);
    assert_eq!(verdicts(broadcast), refused_as(Invalid::Broadcast));
    // It is not asked about what nobody needs to know.
    let is_elsewhere =
        |_: &Endpoint, remote| -> Result<Option<()>, Invalid> { panic!("asked about {remote}") };
    for address in [[0; 4], [224, 0, 0, 1], [255; 4], [127, 0, 0, 1]] {
        let party = endpoint(local(), Some(at(address, 4_000)));
        assert!(validate::remote(&party, other_local(), is_elsewhere).is_err());
    }
    let held = endpoint(local(), None);
    assert_eq!(
        validate::remote(&held, other_local(), is_elsewhere),
        Ok(None)
    );
}
