// SPDX-License-Identifier: MIT OR Apache-2.0

//! The relay inside the daemon keeps what every transport layer promises, here and when it is served to
//! a controller elsewhere; and a daemon relays with it.

mod common;
mod conformance;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use common::{Daemon, SEED, config, eventually, set, with};
use conformance::{Place, every_promise_is_kept};
use futures_util::FutureExt;
use lrep_cl::config::TslUrl;
use lrep_cl::core::status::TslHealth;
use lrep_cl::driver::Driver;
use lrep_cl::inherited::Inherited;
use lrep_cl::server::Server;
use lrep_cl::tsl::remote::address::Address;
use lrep_cl::tsl::remote::{Options, Remote};
use lrep_cl::tsl::serve::{Listener, serve};
use lrep_cl::tsl::userspace::Userspace;
use lrep_cl::tsl::{Endpoint, NewSession, SetConfig, Stream, StreamKind, Tsl};
use nix::errno::Errno;
use tokio_util::sync::CancellationToken;

/// A loopback address of its own for each test, whatever else runs on the machine.
fn address(test: u8, host: u8) -> IpAddr {
    let process = (std::process::id() % 200) as u8 + 20;
    Ipv4Addr::new(127, process, test, host).into()
}

fn socket(address: IpAddr, port: u16) -> UdpSocket {
    UdpSocket::bind((address, port)).expect("a socket")
}

fn place(test: u8) -> Place {
    Place {
        west: SocketAddr::new(address(test, 1), 20_000),
        east: SocketAddr::new(address(test, 2), 20_000),
        caller: socket(address(test, 3), 40_000),
        neighbour: socket(address(test, 3), 40_002),
        callee: socket(address(test, 4), 41_000),
    }
}

#[tokio::test]
async fn the_userspace_relay_keeps_every_promise() {
    let tsl = Userspace::start().expect("starts");
    every_promise_is_kept(&tsl, &tsl, &place(1)).await;
}

#[tokio::test]
async fn a_port_of_another_program_is_refused_by_name_and_nothing_is_kept() {
    let tsl = Userspace::start().expect("starts");
    let (west, east) = (
        SocketAddr::new(address(2, 1), 20_000),
        SocketAddr::new(address(2, 2), 20_000),
    );
    let settings = SetConfig {
        ports: vec![20_000..=20_099],
        local_addresses: vec![west.ip(), east.ip()],
        ..SetConfig::default()
    };
    tsl.config_set(settings).await.expect("set");
    let taken = UdpSocket::bind(east).expect("a socket");
    let new = NewSession {
        label: b"call".to_vec(),
        owner: 7,
        timeout_ms: 60_000,
        streams: vec![Stream {
            kind: StreamKind::Rtp,
            a: Endpoint::new(west, None),
            b: Endpoint::new(east, None),
        }],
        replace: false,
    };
    let refused = tsl.session_new(new.clone()).await.expect_err("refused");
    assert!(refused.is(Errno::EADDRINUSE), "{refused}");
    let text = refused.to_string();
    assert!(
        text.contains(&east.to_string()) && text.contains("another program"),
        "{text}"
    );
    // The first port was not kept.
    drop(UdpSocket::bind(west).expect("free"));
    drop(taken);
    tsl.session_new(new).await.expect("made");
}

#[tokio::test]
async fn an_address_that_is_none_of_this_host_is_refused_by_name() {
    let tsl = Userspace::start().expect("starts");
    // For documentation: nobody has it.
    let elsewhere: SocketAddr = "192.0.2.77:20000".parse().expect("an address");
    let settings = SetConfig {
        ports: vec![20_000..=20_099],
        local_addresses: vec![elsewhere.ip()],
        ..SetConfig::default()
    };
    tsl.config_set(settings).await.expect("set");
    let new = NewSession {
        label: b"call".to_vec(),
        owner: 7,
        timeout_ms: 60_000,
        streams: vec![Stream {
            kind: StreamKind::Rtp,
            a: Endpoint::new(elsewhere, None),
            b: Endpoint::new(SocketAddr::new(elsewhere.ip(), 20_002), None),
        }],
        replace: false,
    };
    let refused = tsl.session_new(new).await.expect_err("refused");
    assert!(refused.is(Errno::EADDRNOTAVAIL), "{refused}");
    let text = refused.to_string();
    assert!(
        text.contains("192.0.2.77:20000: it is no address of this host"),
        "{text}"
    );
}

#[test]
fn a_daemon_counts_a_port_of_another_program_as_the_cause_and_keeps_none() {
    let tsl = Arc::new(Userspace::start().expect("starts"));
    let daemon = Daemon::start_with(&tsl, config(Vec::new()));
    // One of its own, whatever else runs on the machine.
    let port = 20_000 + 4 * (std::process::id() % 2_000) as u16;
    let taken = socket(Ipv4Addr::new(127, 0, 0, 21).into(), port);
    let request = set("1_0", port, "a@host");
    assert_eq!(daemon.client().ask(&request), with(&request, "ER"));
    let status = daemon.service.status();
    assert_eq!(status.refused.get("port"), Some(&1));
    let tsls = &status.tsls[0];
    assert_eq!(
        (tsls.sessions, tsls.ports_in_use, tsls.ports_leaked),
        (0, 0, 0)
    );
    drop(taken);
    let request = set("1_1", port, "a@host");
    assert_eq!(daemon.client().ask(&request), with(&request, "OK"));
    assert_eq!(daemon.service.status().tsls[0].ports_in_use, 4);
}

#[tokio::test]
async fn a_daemon_does_not_start_while_another_has_its_owner() {
    let tsl = Arc::new(Userspace::start().expect("starts"));
    let held = tsl.subscribe(Some(7)).await.expect("free");
    let start = || {
        let drivers = vec![Driver::new(Arc::clone(&tsl))];
        Server::start(config(Vec::new()), SEED, drivers, Inherited::default())
    };
    let text = start().await.expect_err("refused").to_string();
    assert!(
        text.contains("owner 7 belongs to another controller")
            && text.contains("an `owner` of its own"),
        "{text}"
    );
    drop(held);
    start().await.expect("starts");
}

#[test]
fn a_daemon_works_with_a_tsl_elsewhere_as_soon_as_nobody_else_has_its_owner() {
    let tsl = Arc::new(Userspace::start().expect("starts"));
    let held = tsl.subscribe(Some(7)).now_or_never().expect("at once");
    let mut config = config(Vec::new());
    // It is not asked for there: the daemon only takes it for one that may come later.
    config.tsls[0].url = TslUrl::Remote("127.0.0.1:1".parse().expect("an address"));
    let daemon = Daemon::start_with(&tsl, config);
    let health = || daemon.service.status().tsls[0].health;
    assert_eq!(health(), TslHealth::Closed);
    let request = set("1_0", 20_000, "a@host");
    assert_eq!(daemon.client().ask(&request), with(&request, "ER"));
    drop(held);
    eventually("a relay", || health() == TslHealth::Ready);
}

#[tokio::test]
async fn what_only_the_module_can_do_is_refused() {
    let tsl = Userspace::start().expect("starts");
    let mut a = Endpoint::new(SocketAddr::new(address(3, 1), 20_000), None);
    let b = a;
    a.sending.mark = 1;
    let new = NewSession {
        label: Vec::new(),
        owner: 7,
        timeout_ms: 60_000,
        streams: vec![Stream {
            kind: StreamKind::Rtp,
            a,
            b,
        }],
        replace: false,
    };
    let refused = tsl.session_new(new).await.expect_err("refused");
    assert!(refused.is(Errno::EOPNOTSUPP), "{refused}");
}

#[tokio::test]
async fn served_to_a_controller_elsewhere_it_keeps_every_promise() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("tsl");
    let address: Address = format!("unix:{}", path.display()).parse().expect("valid");
    let listener = Listener::bind(address.clone(), None)
        .await
        .expect("listens");
    let tsl = Arc::new(Userspace::start().expect("starts"));
    let stop = CancellationToken::new();
    let served = tokio::spawn(serve(tsl, listener, stop.clone()));
    let options = Options {
        address,
        identity: None,
        deadline: Duration::from_secs(20),
        keep_alive: Duration::from_secs(5),
    };
    let another = Remote::new(options.clone());
    let remote = Remote::connect(options).await.expect("connects");
    every_promise_is_kept(&remote, &another, &place(4)).await;
    drop((remote, another));
    stop.cancel();
    served.await.expect("ends").expect("served");
}
