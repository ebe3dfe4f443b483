// SPDX-License-Identifier: MIT OR Apache-2.0

//! Where SIP servers are sent to hand out ports.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use super::super::told::SERVERS_MAX;
use super::model::World;
use super::*;
use crate::config::LogLevel;
use crate::logging::tests::logged;
use crate::protocol::lrkproxy::NodeConfig;

/// What a SIP server is told that is at this address.
fn told(core: &mut Core, address: &str) -> NodeConfig {
    let client = Client::Udp {
        listener: 0,
        peer: format!("{address}:5060").parse().expect("an address"),
    };
    core.node_config(client, Instant::now())
}

#[test]
fn where_calls_begin_is_left_to_chance_and_no_process_is_sent_there_again() {
    let begin = |seed| {
        let config = config(Algorithm::Linear);
        let mut core = Core::new(config, seed, Instant::now(), &mut Vec::new());
        let first = told(&mut core, "127.0.0.1").current_port;
        // A SIP server has one counter, which the answer to its last process sets back.
        let mut processes = BTreeSet::from([first]);
        for _ in 0..10 {
            let again = told(&mut core, "127.0.0.1").current_port;
            assert!(processes.insert(again), "{again} is told twice");
        }
        assert!(
            (20000..=30000).contains(&first) && first % 4 == 0,
            "{first}"
        );
        first
    };
    let begins: BTreeSet<_> = (0..32).map(begin).collect();
    assert!(begins.len() > 24, "{begins:?}");
}

#[test]
fn sip_servers_are_told_ranges_of_their_own() {
    let range = |text: &str| text.parse().expect(text);
    let settings = Settings {
        internal_ip: "127.0.0.21".parse().ok(),
        port_ranges: ["20000-20999", "30000-30999", "40000-40999"]
            .map(range)
            .to_vec(),
        port_parts: ["127.0.0.1", "127.0.0.2"]
            .map(|one| one.parse().expect(one))
            .to_vec(),
        ..Settings::default()
    };
    let config = settings.config().expect("a configuration");
    let mut core = Core::new(config, SEED, Instant::now(), &mut Vec::new());
    // The last one for whoever is not named.
    for (address, first, last) in [
        ("127.0.0.1", 20000, 20996),
        ("127.0.0.2", 30000, 30996),
        ("127.0.0.9", 40000, 40996),
    ] {
        let told = told(&mut core, address);
        assert_eq!((told.start_port, told.end_port), (first, last), "{address}");
        assert!((first..=last).contains(&told.current_port), "{told:?}");
    }
}

#[test]
fn a_sip_server_is_told_ports_of_a_tsl_that_has_some_left() {
    let mut config = config(Algorithm::Linear);
    for (tsl, range) in config
        .tsls
        .iter_mut()
        .zip(["20000-20999", "30000-30999", "40000-40999"])
    {
        tsl.ports = vec![range.parse().expect(range)];
    }
    let mut world = World::new(config);
    for (index, start) in [20000, 30000, 40000].into_iter().enumerate() {
        for address in ["127.0.0.1", "127.0.0.2"] {
            assert_eq!(told(&mut world.core, address).start_port, start);
        }
        let all = start..start + 1000;
        world.core.layers[index].ports.occupy(all);
    }
    // When none has any, it stays where it is.
    assert_eq!(told(&mut world.core, "127.0.0.1").start_port, 40000);
}

#[test]
fn no_more_sip_servers_are_remembered_than_there_may_be() {
    let config = config(Algorithm::Linear);
    let mut core = Core::new(config, SEED, Instant::now(), &mut Vec::new());
    for number in 0..2 * SERVERS_MAX as u32 {
        let address = Ipv4Addr::from(number).to_string();
        told(&mut core, &address);
    }
    assert_eq!(core.homes.len(), SERVERS_MAX);
}

/// Calls have only two blocks of ports, and one TSL.
fn narrow() -> World {
    let mut config = config(Algorithm::Linear);
    for tsl in &mut config.tsls {
        tsl.ports = vec!["20000-20007".parse().expect("a range")];
    }
    let mut world = World::new(config);
    for tsl in ["tsl-1", "tsl-2"] {
        assert!(world.core.enable(tsl, false));
    }
    world
}

fn begin(world: &mut World, call: u16, block: u16) {
    world.ask('S', (call, block), 1);
    world.settle();
}

#[test]
fn a_call_that_takes_ports_of_another_names_the_cause() {
    for (calls, leaked, cause) in [
        (1, 0, "handed them out twice"),
        (2, 0, "all ports that the SIP server was told are in use"),
        (1, 4, "4 ports were leaked"),
    ] {
        let mut world = narrow();
        for call in 0..calls {
            begin(&mut world, call, call);
        }
        let lost = (20004..).take(leaked);
        world.core.layers[0].ports.occupy(lost);
        let text = logged(LogLevel::Info, |_| begin(&mut world, 4, 0));
        assert!(text.contains("living call call-0"), "{text}");
        assert!(text.contains(cause), "{text}");
    }
}

#[test]
fn a_sip_server_that_finds_no_port_free_is_logged_with_the_cause() {
    let exhausted = |world: &mut World| {
        logged(LogLevel::Info, |_| {
            told(&mut world.core, "127.0.0.1");
        })
    };
    let mut world = narrow();
    begin(&mut world, 0, 0);
    assert!(!exhausted(&mut world).contains("no ports are free"));
    begin(&mut world, 1, 1);
    let text = exhausted(&mut world);
    assert!(
        text.contains("no ports are free from 20000 to 20004"),
        "{text}"
    );
    assert!(text.contains("widen them"), "{text}");

    let mut world = narrow();
    world.core.layers[0].ports.occupy(20000..20008);
    let text = exhausted(&mut world);
    assert!(text.contains("8 ports were leaked"), "{text}");
    assert!(text.contains("systemctl restart lrep-cl"), "{text}");
    assert_eq!(world.core.status(world.now).tsls[0].ports_leaked, 8);
}

#[test]
fn an_address_or_a_port_that_a_tsl_cannot_have_is_logged_with_its_cure_and_counted() {
    for (errno, reason, cure) in [
        (
            Errno::EADDRNOTAVAIL,
            "address",
            "`ip address add ADDRESS/32 dev lo`",
        ),
        (Errno::EADDRINUSE, "port", "`ss -ulpn`"),
    ] {
        let mut world = narrow();
        world.ask('S', (1, 1), 1);
        let (tsl, token, _) = world.on_their_way.pop().expect("a command");
        let (now, mut actions) = (world.now, Vec::new());
        let text = logged(LogLevel::Info, |_| {
            let result = Err(refused(errno));
            world.core.outcome(tsl, token, result, now, &mut actions);
        });
        assert!(text.contains("relay not installed"), "{text}");
        assert!(text.contains(cure), "{text}");
        let status = world.core.status(now);
        assert_eq!(status.refused.get(reason), Some(&1));
        // Nothing is kept for it.
        assert_eq!(
            (status.tsls[0].ports_in_use, status.tsls[0].ports_leaked),
            (0, 0)
        );
    }
}
