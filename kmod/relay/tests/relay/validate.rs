// SPDX-License-Identifier: GPL-2.0

//! Addresses that cannot be relayed to are refused before a packet meets them.

use crate::reference::at;
use relay::{
    admission::Side,
    validate::{self, unicast, Endpoint, Invalid},
};
use std::net::{Ipv4Addr, SocketAddrV4};

const ALL: [Invalid; 7] = [
    Invalid::Unspecified,
    Invalid::Multicast,
    Invalid::Broadcast,
    Invalid::Loopback,
    Invalid::NoPort,
    Invalid::RelayPort,
    Invalid::SameRemote,
];

fn endpoint(local: SocketAddrV4, remote: Option<SocketAddrV4>) -> Endpoint {
    Endpoint { local, remote }
}

fn local() -> SocketAddrV4 {
    at([198, 51, 100, 1], 20_000)
}

fn other_local() -> SocketAddrV4 {
    at([198, 51, 100, 1], 20_002)
}

/// A relay whose other ports are those of one more local address, from 20000 on.
fn stream(a: &Endpoint, b: &Endpoint) -> Result<(), (Side, Invalid)> {
    validate::stream(a, b, |remote| {
        *remote.ip() == Ipv4Addr::new(198, 51, 100, 2) && remote.port() >= 20_000
    })
}

/// Asks for a stream with the remote at either side, the other side being on hold or in order.
fn verdicts(remote: SocketAddrV4) -> [Result<(), (Side, Invalid)>; 4] {
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
            assert_eq!(unicast(Ipv4Addr::from(address)), expected, "{address:?}");
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
