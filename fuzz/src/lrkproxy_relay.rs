// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whatever the fields of a request say: a relay that is made of them is at this relay's addresses
//! and leads to single hosts, and a refusal says why.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use lrep_cl::addresses::{Addresses, Mapping};
use lrep_cl::intent::{self, Timeouts};
use lrep_cl::protocol::lrkproxy::{self, Command, Framing};

use crate::is_named;

const TIMEOUTS: Timeouts = Timeouts {
    fixed: None,
    min: Duration::from_secs(5),
    max: Duration::from_secs(3600),
};

/// A request as on a stream.
pub fn check(bytes: &[u8]) {
    let addresses = Addresses {
        internal: Ipv4Addr::new(10, 0, 0, 5),
        external: Ipv4Addr::new(203, 0, 113, 5),
        mappings: vec![Mapping {
            advertised: Ipv4Addr::new(198, 51, 100, 7),
            local: Ipv4Addr::new(10, 0, 0, 7),
        }],
    };
    let is_ours = |local: SocketAddr| match local.ip() {
        IpAddr::V4(address) => addresses.locals().contains(&address),
        IpAddr::V6(_) => false,
    };
    let relay = match lrkproxy::decode(bytes, Framing::Stream) {
        Some(Command::Set(Ok(relay)) | Command::Delete(Ok(relay))) => relay,
        Some(Command::Set(Err(error)) | Command::Delete(Err(error))) => return is_named(&error),
        _ => return,
    };
    assert!(intent::named(&relay, &addresses).is_none_or(is_ours));
    let media = match intent::wanted(&relay, &addresses, &TIMEOUTS) {
        Ok(media) => media,
        Err(refusal) => return is_named(&refusal),
    };
    assert!((TIMEOUTS.min..=TIMEOUTS.max).contains(&media.timeout));
    for party in [media.offerer, media.answerer] {
        assert!(is_ours(party.local));
        // RTCP is at the next port.
        assert!((1024..u16::MAX).contains(&party.local.port()));
        if let Some(remote) = party.remote {
            assert!(remote.port() != 0 && !remote.ip().is_unspecified());
            assert!(!remote.ip().is_multicast());
        }
    }
}
