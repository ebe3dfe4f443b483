// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whether sockets of this host are in the way of relay ports.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;

use super::{Finding, Taker, listed};
use crate::ephemeral::Ephemeral;

/// Whether sockets of this host may be given relay ports.
pub fn given(ephemeral: &Ephemeral, ports: &[RangeInclusive<u16>]) -> Finding {
    let listed = listed(ports);
    if ephemeral.meets(ports) {
        Finding::advice(
            "ports",
            format!(
                "the kernel may give relay ports ({listed}) to other sockets, which then lose \
                 packets to calls; reserve_ports = true has them reserved at each start"
            ),
            ephemeral.cure(ports),
        )
    } else {
        Finding::good("ports", format!("no other socket is given {listed}"))
    }
}

/// A UDP socket of another program that has a relay address and port.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Squatter {
    local: SocketAddr,
    /// Its name and process, where they are known.
    program: Option<(String, u32)>,
}

/// Programs that have relay ports of these addresses, of what `ss -Hulnp` prints; sockets of `daemon`
/// are the relay's own.
pub fn taken(
    shown: &str,
    taker: Taker,
    addresses: &[Ipv4Addr],
    ports: &[RangeInclusive<u16>],
    daemon: Option<u32>,
) -> Vec<Finding> {
    let is_in_the_way = |squatter: &Squatter| {
        let address = squatter.local.ip().to_canonical();
        let is_ours = squatter.program.as_ref().map(|(_, process)| *process);
        (address.is_unspecified() || addresses.iter().any(|known| address == *known))
            && ports
                .iter()
                .any(|range| range.contains(&squatter.local.port()))
            && (daemon.is_none() || is_ours != daemon)
    };
    let mut squatters: Vec<_> = shown
        .lines()
        .filter_map(squatter)
        .filter(is_in_the_way)
        .collect();
    squatters.sort_by_key(|squatter| squatter.local);
    squatters.dedup();
    let what = match taker {
        Taker::Module => "it gets no packet while a call has the port",
        Taker::Socket => "a call with this port gets no relay",
    };
    let tell = |Squatter { local, program }: Squatter| match program {
        Some((name, process)) => Finding::advice(
            "ports",
            format!("{name} has relay port {local}: {what}"),
            format!("kill {process} # or give {name} or lrep-cl other ports"),
        ),
        None => Finding::advice(
            "ports",
            format!("another program has relay port {local}: {what}"),
            format!(
                "sudo ss -Hulnp 'sport = :{}' # names it: stop it, or give lrep-cl other ports",
                local.port()
            ),
        ),
    };
    squatters.into_iter().map(tell).collect()
}

/// `UNCONN 0 0 127.0.0.1:323 0.0.0.0:* users:(("chronyd",pid=1,fd=5))`; devices follow addresses
/// behind a `%`, and `*` is any address of both families.
fn squatter(line: &str) -> Option<Squatter> {
    let mut words = line.split_whitespace().skip(3);
    let (address, port) = words.next()?.rsplit_once(':')?;
    let address = address.split('%').next()?.trim_matches(['[', ']']);
    let address = match address {
        "*" => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        address => address.parse().ok()?,
    };
    let program = line.split_once("users:((\"").and_then(|(_, users)| {
        let (name, rest) = users.split_once("\",pid=")?;
        let process = rest.split(',').next()?.parse().ok()?;
        Some((name.to_owned(), process))
    });
    Some(Squatter {
        local: SocketAddr::new(address, port.parse().ok()?),
        program,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOWN: &str = "\
UNCONN 0      0          127.0.0.1:323        0.0.0.0:*     users:((\"chronyd\",pid=5,fd=5))
UNCONN 0      0            0.0.0.0:20010      0.0.0.0:*     users:((\"named\",pid=7,fd=3),(\"named\",pid=8,fd=3))
UNCONN 0      0      192.0.2.10%eth0:20020      0.0.0.0:*
UNCONN 0      0         192.0.2.99:20030      0.0.0.0:*     users:((\"other\",pid=9,fd=3))
UNCONN 0      0         192.0.2.10:20040      0.0.0.0:*     users:((\"lrep-cl\",pid=11,fd=3))
UNCONN 0      0                  *:30000            *:*     users:((\"java\",pid=12,fd=3))
UNCONN 0      0              [::1]:20050         [::]:*
";

    fn look(taker: Taker, daemon: Option<u32>) -> Vec<Finding> {
        let addresses = [Ipv4Addr::new(192, 0, 2, 10)];
        taken(
            SHOWN,
            taker,
            &addresses,
            &[20000..=20099, 30000..=30001],
            daemon,
        )
    }

    #[test]
    fn programs_that_have_relay_ports_are_named() {
        let cures: Vec<_> = look(Taker::Module, Some(11))
            .into_iter()
            .map(|finding| finding.cure.expect("a cure"))
            .collect();
        assert_eq!(
            cures,
            [
                "kill 7 # or give named or lrep-cl other ports",
                "kill 12 # or give java or lrep-cl other ports",
                "sudo ss -Hulnp 'sport = :20020' # names it: stop it, or give lrep-cl other ports",
            ]
        );
        let found = &look(Taker::Socket, Some(11))[0].found;
        assert_eq!(
            found,
            "named has relay port 0.0.0.0:20010: a call with this port gets no relay"
        );
    }

    #[test]
    fn sockets_of_the_relay_itself_are_in_nobodys_way() {
        let found = |daemon| look(Taker::Socket, daemon).len();
        assert_eq!((found(Some(11)), found(Some(12)), found(None)), (3, 3, 4));
        assert_eq!(taken("", Taker::Socket, &[], &[1..=2], None), []);
    }
}
