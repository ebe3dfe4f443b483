// SPDX-License-Identifier: MIT OR Apache-2.0

//! The call: Debian's Kamailio with its lrkproxy module, two SIPp parties, the daemon, the module,
//! and media whose every packet is compared.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;

use super::fixture::{expect, rtcp_of};
use super::many_calls::{ManyCalls, is_answer};
use super::{Test, tests};
use crate::guest::lab::Lab;
use crate::guest::module;
use crate::guest::process::Process;
use crate::guest::relay::{Relay, State};
use crate::guest::rtp::Party;
use crate::guest::sip::{
    CALLEE_MEDIA, CALLER_MEDIA, Flags, Phone, Setup, Side, messages, start_daemon, start_server,
    wait_for,
};
use crate::guest::topology::{CALLEE, CALLER, EAST, Topology, WEST, udp};
use crate::guest::wait::{LIMIT, until};

pub const TESTS: &[Test] = tests![
    a_call_is_relayed_between_two_networks,
    a_call_is_relayed_with_valid_checksums_when_no_device_computes_them,
    a_call_without_flags_is_relayed,
    a_call_with_ie_is_relayed,
    a_call_with_ei_is_relayed,
    a_call_on_one_shared_port_is_relayed,
    a_call_over_a_unix_socket_is_relayed,
    a_call_is_relayed_inside_the_daemon,
    a_call_with_a_late_offer_is_relayed,
    a_cancelled_call_leaves_nothing,
    a_call_to_a_busy_party_leaves_nothing,
    a_new_offer_of_the_caller_moves_media,
    a_new_offer_of_the_callee_is_obeyed,
    a_held_call_is_silent_and_comes_back,
    a_call_that_nobody_ends_ends_by_its_idle_timeout,
    a_dialog_whose_media_has_ceased_is_ended_by_kamailio,
    fifty_calls_at_once_are_relayed,
    eight_workers_share_the_relay,
    a_daemon_restarted_in_mid_call_loses_no_packet,
    a_daemon_killed_in_mid_call_loses_no_packet,
];

pub const LONG: &[Test] = tests![a_daemon_killed_20_times_in_mid_call_loses_no_packet];

const CALLER_RTP: SocketAddr = SocketAddr::new(CALLER, CALLER_MEDIA);
const CALLEE_RTP: SocketAddr = SocketAddr::new(CALLEE, CALLEE_MEDIA);
const COUNT: u16 = 50;

/// Everything a call needs, running.
struct Exchange {
    // Dropped in this order: the programs before the network.
    server: Process,
    daemon: Process,
    relay: Relay,
    net: Topology,
    setup: Setup,
}

impl Exchange {
    fn start(lab: &Lab, setup: Setup) -> Result<Self> {
        module::ensure_loaded()?;
        let net = Topology::new(lab)?;
        let relay = Relay::open(&net.relay)?;
        let daemon = start_daemon(lab, &net.relay, &setup)?;
        lab.step("lrep-cl is up");
        let server = start_server(lab, &net.relay, &setup)?;
        lab.step("Kamailio is up");
        Ok(Self {
            server,
            daemon,
            relay,
            net,
            setup,
        })
    }

    /// The session of a call.
    fn session(&self, call_id: &str) -> Result<Option<State>> {
        session_of(&self.relay, call_id)
    }

    /// Waits until no session is left.
    fn wait_until_idle(&self) -> Result<()> {
        until("an empty session table", LIMIT, || {
            Ok(self.relay.sessions()?.is_empty().then_some(()))
        })
    }
}

/// The session of a call.
fn session_of(relay: &Relay, call_id: &str) -> Result<Option<State>> {
    let sessions = relay.sessions()?;
    Ok(sessions
        .into_iter()
        .find(|session| session.label == call_id.as_bytes()))
}

/// One answered call.
struct Answered {
    call_id: String,
    caller_phone: Phone,
    callee_phone: Phone,
    caller: Party,
    callee: Party,
    /// Where the caller was told to send media.
    west: SocketAddr,
    /// Where the callee was told to send media.
    east: SocketAddr,
}

impl Answered {
    /// Places a call and waits until it is answered.
    fn place(lab: &Lab, exchange: &Exchange, caller: &str, callee: &str) -> Result<Self> {
        let net = &exchange.net;
        let parties = (
            Party::new(&net.caller, CALLER_RTP)?,
            Party::new(&net.callee, CALLEE_RTP)?,
        );
        let callee_phone = Phone::start(lab, net, Side::Callee, callee, 1)?;
        let caller_phone = Phone::start(lab, net, Side::Caller, caller, 1)?;
        let offered = wait_for(&net.at_callee, "an INVITE", |one| {
            one.line.starts_with("INVITE")
        })?;
        let answered = wait_for(&net.at_caller, "an answer", |one| {
            is_answer(one, "1 INVITE")
        })?;
        let acknowledged = wait_for(&net.at_callee, "an ACK", |one| one.line.starts_with("ACK"))?;
        lab.step("the call is answered");
        // With a late offer, the offer to the callee is in the ACK.
        let east = offered
            .media
            .or(acknowledged.media)
            .context("the callee got no SDP")?;
        let west = answered.media.context("the caller got no SDP")?;
        Ok(Self {
            call_id: offered.call_id,
            caller_phone,
            callee_phone,
            caller: parties.0,
            callee: parties.1,
            west,
            east,
        })
    }

    /// Sends media all four ways and checks that it arrives, from the relay only, and is counted.
    fn talk(&self, exchange: &Exchange) -> Result<()> {
        self.send_all_ways(exchange)?;
        let session = exchange
            .session(&self.call_id)?
            .context("the call has no session")?;
        let packets: u64 = session
            .streams
            .iter()
            .map(|(_, from_a, from_b)| from_a.packets + from_b.packets)
            .sum();
        ensure!(packets == 2 * u64::from(COUNT) + 10, "{session:?}");
        Ok(())
    }

    fn send_all_ways(&self, exchange: &Exchange) -> Result<()> {
        let net = &exchange.net;
        let to_callee = self.caller.send_rtp(self.west, 0..COUNT)?;
        let to_caller = self.callee.send_rtp(self.east, 0..COUNT)?;
        let reports_to_callee = self.caller.send_rtcp(rtcp_of(self.west), 0..5)?;
        let reports_to_caller = self.callee.send_rtcp(rtcp_of(self.east), 0..5)?;
        expect(&net.at_callee, self.east, CALLEE_RTP, &to_callee)?;
        expect(&net.at_caller, self.west, CALLER_RTP, &to_caller)?;
        expect(
            &net.at_callee,
            rtcp_of(self.east),
            rtcp_of(CALLEE_RTP),
            &reports_to_callee,
        )?;
        expect(
            &net.at_caller,
            rtcp_of(self.west),
            rtcp_of(CALLER_RTP),
            &reports_to_caller,
        )?;
        Ok(())
    }

    /// Neither party saw the other's address in any packet, nor in any SDP.
    fn check_privacy(&self, exchange: &Exchange) -> Result<()> {
        self.check_privacy_of_packets(exchange)?;
        for (at, other) in [
            (&exchange.net.at_caller, CALLEE),
            (&exchange.net.at_callee, CALLER),
        ] {
            for message in messages(at) {
                ensure!(
                    message.media.is_none_or(|media| media.ip() != other),
                    "{} was told the other party's address: {}",
                    at.name(),
                    message.text
                );
            }
        }
        Ok(())
    }

    /// Neither party got a packet from the other's address.
    fn check_privacy_of_packets(&self, exchange: &Exchange) -> Result<()> {
        for (at, other) in [
            (&exchange.net.at_caller, CALLEE),
            (&exchange.net.at_callee, CALLER),
        ] {
            let mut datagrams = at.datagrams().into_iter();
            let leaked = datagrams.find(|one| one.from.ip() == other || one.to.ip() == other);
            ensure!(
                leaked.is_none(),
                "{} saw the other party: {leaked:?}",
                at.name()
            );
        }
        Ok(())
    }

    /// The caller hangs up; the session is gone.
    fn hang_up(mut self, exchange: &Exchange) -> Result<()> {
        self.caller_phone.press(&self.call_id)?;
        self.caller_phone.finish()?;
        self.callee_phone.finish()?;
        exchange.wait_until_idle()
    }
}

/// The daemon relays by itself, and the module has no part in it.
fn a_call_is_relayed_inside_the_daemon(lab: &Lab) -> Result<()> {
    let setup = Setup {
        daemon: &["--tsl", "userspace"],
        ..Setup::default()
    };
    let exchange = Exchange::start(lab, setup)?;
    let mut call = Answered::place(lab, &exchange, "caller", "callee")?;
    call.send_all_ways(&exchange)?;
    call.check_privacy(&exchange)?;
    ensure!(
        exchange.relay.sessions()?.is_empty(),
        "the module has a session"
    );
    let log = std::fs::read_to_string(lab.file("lrep-cl.log")).context("no log")?;
    ensure!(log.contains("modprobe lreproxy"), "no word of the fast way");
    call.caller_phone.press(&call.call_id)?;
    call.caller_phone.finish()?;
    call.callee_phone.finish()?;
    until("the relay's ports being free", LIMIT, || {
        let ports = [call.west, call.east, rtcp_of(call.west), rtcp_of(call.east)];
        let free = ports.map(|port| udp(&exchange.net.relay, port).is_ok());
        Ok(free.into_iter().all(|is_free| is_free).then_some(()))
    })
}

fn an_ordinary_call(
    lab: &Lab,
    setup: Setup,
    offload: bool,
    (west, east): (std::net::IpAddr, std::net::IpAddr),
) -> Result<()> {
    let exchange = Exchange::start(lab, setup)?;
    exchange.net.set_checksum_offload(offload)?;
    // Connection tracking is at work beside the relay.
    let host = &exchange.net.relay;
    host.run("nft", &["add table ip t"])?;
    host.run(
        "nft",
        &["add chain ip t c { type filter hook input priority 0; }"],
    )?;
    host.run("nft", &["add rule ip t c ct state new counter"])?;
    let call = Answered::place(lab, &exchange, "caller", "callee")?;
    ensure!(
        call.west.ip() == west && call.east.ip() == east,
        "{} {}",
        call.west,
        call.east
    );
    call.talk(&exchange)?;
    call.check_privacy(&exchange)?;
    let tracked = host.run("conntrack", &["-L"])?;
    let media = [
        CALLER_MEDIA,
        CALLER_MEDIA + 1,
        CALLEE_MEDIA,
        CALLEE_MEDIA + 1,
    ];
    ensure!(
        !media
            .iter()
            .any(|port| tracked.contains(&format!("port={port} "))),
        "media is tracked: {tracked}"
    );
    ensure!(
        tracked.contains("port=5060 "),
        "connection tracking does not work here: {tracked}"
    );
    call.hang_up(&exchange)
}

fn a_call_is_relayed_between_two_networks(lab: &Lab) -> Result<()> {
    an_ordinary_call(lab, Setup::default(), true, (WEST, EAST))
}

fn a_call_is_relayed_with_valid_checksums_when_no_device_computes_them(lab: &Lab) -> Result<()> {
    an_ordinary_call(lab, Setup::default(), false, (WEST, EAST))
}

fn a_call_without_flags_is_relayed(lab: &Lab) -> Result<()> {
    let setup = Setup {
        flags: Flags::None,
        ..Setup::default()
    };
    an_ordinary_call(lab, setup, true, (WEST, WEST))
}

fn a_call_with_ie_is_relayed(lab: &Lab) -> Result<()> {
    let setup = Setup {
        flags: Flags::Both("ie"),
        ..Setup::default()
    };
    an_ordinary_call(lab, setup, true, (EAST, EAST))
}

fn a_call_with_ei_is_relayed(lab: &Lab) -> Result<()> {
    let setup = Setup {
        flags: Flags::Both("ei"),
        ..Setup::default()
    };
    an_ordinary_call(lab, setup, true, (WEST, WEST))
}

fn a_call_on_one_shared_port_is_relayed(lab: &Lab) -> Result<()> {
    let setup = Setup {
        flags: Flags::None,
        shared_port: true,
        ..Setup::default()
    };
    let exchange = Exchange::start(lab, setup)?;
    let call = Answered::place(lab, &exchange, "caller", "callee")?;
    ensure!(
        call.west == call.east,
        "two ports: {} and {}",
        call.west,
        call.east
    );
    // A third party, which knows the port.
    let third = Party::new(&exchange.net.callee, SocketAddr::new(CALLEE, 42_000))?;
    third.send_rtp(call.west, 0..COUNT)?;
    call.talk(&exchange)?;
    call.check_privacy(&exchange)?;
    call.hang_up(&exchange)
}

fn a_call_over_a_unix_socket_is_relayed(lab: &Lab) -> Result<()> {
    let setup = Setup {
        socket: "unix:/run/lrep-cl.sock",
        ..Setup::default()
    };
    an_ordinary_call(lab, setup, true, (WEST, EAST))
}

fn a_call_with_a_late_offer_is_relayed(lab: &Lab) -> Result<()> {
    let exchange = Exchange::start(lab, Setup::default())?;
    let call = Answered::place(lab, &exchange, "caller-is-offered", "callee")?;
    call.talk(&exchange)?;
    // Not the SDP: the released client passes a repeated answer with an offer on as it is.
    call.check_privacy_of_packets(&exchange)?;
    call.hang_up(&exchange)
}

fn a_cancelled_call_leaves_nothing(lab: &Lab) -> Result<()> {
    let mut exchange = Exchange::start(lab, Setup::default())?;
    let mut callee = Phone::start(lab, &exchange.net, Side::Callee, "callee-rings", 1)?;
    let mut caller = Phone::start(lab, &exchange.net, Side::Caller, "caller-cancels", 1)?;
    let ringing = wait_for(&exchange.net.at_caller, "ringing", |one| {
        one.line.starts_with("SIP/2.0 180")
    })?;
    caller.press(&ringing.call_id)?;
    caller.finish()?;
    callee.finish()?;
    check_nothing_left(&mut exchange)
}

fn a_call_to_a_busy_party_leaves_nothing(lab: &Lab) -> Result<()> {
    let mut exchange = Exchange::start(lab, Setup::default())?;
    let mut callee = Phone::start(lab, &exchange.net, Side::Callee, "callee-busy", 1)?;
    let mut caller = Phone::start(lab, &exchange.net, Side::Caller, "caller-refused", 1)?;
    caller.finish()?;
    callee.finish()?;
    check_nothing_left(&mut exchange)
}

/// No session, no packet; and server and daemon live.
fn check_nothing_left(exchange: &mut Exchange) -> Result<()> {
    exchange.wait_until_idle()?;
    let totals = exchange.relay.totals()?;
    ensure!(totals.created == 0, "a session was made: {totals:?}");
    ensure!(exchange.daemon.ended()?.is_none(), "the daemon ended");
    ensure!(exchange.server.ended()?.is_none(), "Kamailio ended");
    Ok(())
}

fn a_new_offer_of_the_caller_moves_media(lab: &Lab) -> Result<()> {
    let exchange = Exchange::start(lab, Setup::default())?;
    let net = &exchange.net;
    let call = Answered::place(lab, &exchange, "caller-changes", "callee-moves")?;
    call.talk(&exchange)?;
    for (offer, port) in [
        ("2 INVITE", CALLEE_MEDIA + 10),
        ("3 INVITE", CALLEE_MEDIA + 20),
    ] {
        let moved = SocketAddr::new(CALLEE, port);
        let party = Party::new(&net.callee, moved)?;
        call.caller_phone.press(&call.call_id)?;
        wait_for(&net.at_caller, "an answer", |one| is_answer(one, offer))?;
        // The answer was not sent on before the relay had changed.
        let sent = call.caller.send_rtp(call.west, 1000..1000 + COUNT)?;
        expect(&net.at_callee, call.east, moved, &sent)?;
        let before = net.at_caller.datagrams().len();
        party.send_rtp(call.east, 0..COUNT)?;
        net.at_caller
            .wait_for(before + usize::from(COUNT), LIMIT, |_| true)?;
    }
    call.hang_up(&exchange)
}

fn a_new_offer_of_the_callee_is_obeyed(lab: &Lab) -> Result<()> {
    let mut exchange = Exchange::start(lab, Setup::default())?;
    let call = Answered::place(lab, &exchange, "caller-follows", "callee-changes")?;
    call.talk(&exchange)?;
    call.callee_phone.press(&call.call_id)?;
    wait_for(&exchange.net.at_callee, "an answer", |one| {
        is_answer(one, "1 INVITE")
    })?;
    wait_for(&exchange.net.at_caller, "an ACK", |one| {
        one.line.starts_with("ACK")
    })?;
    // The released client then names the caller as both remotes: as told, and no loop.
    let session = exchange
        .session(&call.call_id)?
        .context("the call lost its session")?;
    let remotes: Vec<_> = session
        .streams()
        .iter()
        .flat_map(|one| [one.a.remote, one.b.remote])
        .collect();
    lab.step(format!("remotes: {remotes:?}"));
    call.caller.send_rtp(call.west, 2000..2000 + COUNT)?;
    ensure!(exchange.daemon.ended()?.is_none(), "the daemon ended");
    call.hang_up(&exchange)
}

fn a_held_call_is_silent_and_comes_back(lab: &Lab) -> Result<()> {
    let exchange = Exchange::start(lab, Setup::default())?;
    let net = &exchange.net;
    let call = Answered::place(lab, &exchange, "caller-changes", "callee-is-held")?;
    call.talk(&exchange)?;
    call.caller_phone.press(&call.call_id)?;
    wait_for(&net.at_caller, "an answer", |one| {
        is_answer(one, "2 INVITE")
    })?;
    let seen = |capture: &crate::guest::capture::Capture, at: SocketAddr| {
        capture
            .datagrams()
            .iter()
            .filter(|one| one.to == at)
            .count()
    };
    let before = seen(&net.at_callee, CALLEE_RTP);
    call.caller.send_rtp(call.west, 1000..1000 + COUNT)?;
    until("held packets counted", LIMIT, || {
        let session = exchange
            .session(&call.call_id)?
            .context("the call lost its session")?;
        let held: u64 = session
            .streams
            .iter()
            .flat_map(|(_, a, b)| [a, b])
            .map(|one| one.dropped(genl_proto::generated::DropReason::Held))
            .sum();
        Ok((held == u64::from(COUNT)).then_some(()))
    })?;
    ensure!(
        seen(&net.at_callee, CALLEE_RTP) == before,
        "the held callee heard something"
    );
    call.caller_phone.press(&call.call_id)?;
    wait_for(&net.at_caller, "an answer", |one| {
        is_answer(one, "3 INVITE")
    })?;
    call.caller.send_rtp(call.west, 2000..2000 + COUNT)?;
    net.at_callee
        .wait_for(before + usize::from(COUNT), LIMIT, |one| {
            one.to == CALLEE_RTP
        })?;
    call.hang_up(&exchange)
}

fn a_call_that_nobody_ends_ends_by_its_idle_timeout(lab: &Lab) -> Result<()> {
    let setup = Setup {
        daemon: &["--idle-timeout", "2"],
        ..Setup::default()
    };
    let exchange = Exchange::start(lab, setup)?;
    let call = Answered::place(lab, &exchange, "caller", "callee")?;
    call.talk(&exchange)?;
    exchange.wait_until_idle()?;
    ensure!(
        exchange.relay.totals()?.expired == 1,
        "{:?}",
        exchange.relay.totals()?
    );
    // The BYE that comes after all does no harm.
    call.hang_up(&exchange)
}

fn a_dialog_whose_media_has_ceased_is_ended_by_kamailio(lab: &Lab) -> Result<()> {
    const TARGETS: &str = "jsonrpc:127.0.0.1:8060,tcp:127.0.0.1:9000";
    let setup = Setup {
        daemon: &["--idle-timeout", "2", "--timeout-socket", TARGETS],
        server: &["DIALOGS"],
        ..Setup::default()
    };
    let exchange = Exchange::start(lab, setup)?;
    let net = &exchange.net;
    let listener = net
        .relay
        .enter(|| TcpListener::bind("127.0.0.1:9000").context("cannot listen"))?;
    let call = Answered::place(lab, &exchange, "caller", "callee")?;
    call.talk(&exchange)?;
    // Once one party has answered its BYE, the dialog is over for Kamailio, which does not send the
    // other's any more (send_bye() of its module dialog).
    for party in [&net.caller, &net.callee] {
        let late = "qdisc add dev wire root netem delay 500ms";
        party.run("tc", &late.split(' ').collect::<Vec<_>>())?;
    }
    for (capture, party) in [(&net.at_caller, "caller"), (&net.at_callee, "callee")] {
        let bye = wait_for(capture, "a BYE", |one| one.line.starts_with("BYE"))?;
        ensure!(bye.call_id == call.call_id, "the {party}'s BYE: {bye:?}");
    }
    let (connection, _) = listener.accept().context("nobody tells")?;
    connection.set_read_timeout(Some(LIMIT))?;
    let mut line = String::new();
    BufReader::new(connection).read_line(&mut line)?;
    ensure!(line == format!("{}\n", call.call_id), "told {line:?}");
    Ok(())
}

/// Places many calls at once, lets both parties of each talk, and ends them all.
fn many_calls(lab: &Lab, setup: Setup, calls: u32, collisions: u64) -> Result<()> {
    let exchange = Exchange::start(lab, setup)?;
    let many = ManyCalls::place(lab, &exchange.net, calls)?;
    lab.step("all calls are answered");
    let sessions = exchange.relay.sessions()?;
    // Two workers of the released client may hand out the same port: then the newer call has it.
    let replaced = exchange.relay.totals()?.replaced;
    ensure!(
        sessions.len() as u64 + replaced == u64::from(calls) && replaced <= collisions,
        "{} sessions, {replaced} replaced",
        sessions.len()
    );
    many.talk(&exchange.net, &sessions)?;
    lab.step("all calls talked");
    many.hang_up()?;
    exchange.wait_until_idle()
}

fn fifty_calls_at_once_are_relayed(lab: &Lab) -> Result<()> {
    // One worker for each side, so that all fifty get ports of their own.
    many_calls(
        lab,
        Setup {
            workers: 1,
            ..Setup::default()
        },
        50,
        0,
    )
}

fn eight_workers_share_the_relay(lab: &Lab) -> Result<()> {
    many_calls(
        lab,
        Setup {
            workers: 8,
            ..Setup::default()
        },
        20,
        8,
    )
}

/// Sends media both ways all the while something is done, and then compares all of it. Returns how
/// many packets went to the callee, and how many to the caller.
fn talk_meanwhile(
    net: &Topology,
    call: &Answered,
    act: impl FnOnce() -> Result<()>,
) -> Result<[u64; 2]> {
    let stop = AtomicBool::new(false);
    let (done, sent) = thread::scope(|scope| {
        let talking = scope.spawn(|| -> Result<_> {
            let (mut to_callee, mut to_caller) = (Vec::new(), Vec::new());
            let mut number = 0;
            while !stop.load(Ordering::Relaxed) {
                to_callee.extend(call.caller.send_rtp(call.west, number..number + 1)?);
                to_caller.extend(call.callee.send_rtp(call.east, number..number + 1)?);
                number = number.wrapping_add(1);
                thread::sleep(Duration::from_millis(10));
            }
            Ok((to_callee, to_caller))
        });
        let done = act();
        stop.store(true, Ordering::Relaxed);
        (done, talking.join())
    });
    done?;
    let (to_callee, to_caller) =
        sent.map_err(|_| anyhow::anyhow!("the parties could not talk"))??;
    expect(&net.at_callee, call.east, CALLEE_RTP, &to_callee)?;
    expect(&net.at_caller, call.west, CALLER_RTP, &to_caller)?;
    Ok([to_callee.len() as u64, to_caller.len() as u64])
}

fn a_daemon_restarted_in_mid_call_loses_no_packet(lab: &Lab) -> Result<()> {
    daemon_ends_in_mid_call(lab, Signal::SIGTERM, 1)
}

fn a_daemon_killed_in_mid_call_loses_no_packet(lab: &Lab) -> Result<()> {
    daemon_ends_in_mid_call(lab, Signal::SIGKILL, 5)
}

fn a_daemon_killed_20_times_in_mid_call_loses_no_packet(lab: &Lab) -> Result<()> {
    daemon_ends_in_mid_call(lab, Signal::SIGKILL, 20)
}

fn daemon_ends_in_mid_call(lab: &Lab, signal: Signal, times: usize) -> Result<()> {
    let mut exchange = Exchange::start(lab, Setup::default())?;
    let call = Answered::place(lab, &exchange, "caller", "callee")?;
    let id = exchange
        .session(&call.call_id)?
        .context("the call has no session")?
        .id;
    // Borrowed apart: the media goes on while the daemon does not.
    let Exchange {
        daemon,
        net,
        setup,
        relay,
        ..
    } = &mut exchange;
    // RTP of either party that the session has counted, which must go on where it was.
    let counted = || {
        let session = session_of(relay, &call.call_id)?.context("the call lost its session")?;
        ensure!(session.id == id, "another session is there: {session:?}");
        let rtp = session.streams.first().context("no stream")?;
        Ok([rtp.1.packets, rtp.2.packets])
    };
    let sent = talk_meanwhile(net, &call, || {
        for time in 1..=times {
            lab.step(format!("{signal} {time}"));
            let before = goes_on(counted, counted()?)?;
            daemon.signal(signal)?;
            let status = daemon.wait(LIMIT)?;
            ensure!(
                status.success() || signal == Signal::SIGKILL,
                "the daemon ended with {status}"
            );
            let without = goes_on(counted, before)?;
            *daemon = start_daemon(lab, &net.relay, setup)?;
            let log = std::fs::read_to_string(lab.file("lrep-cl.log")).context("no log")?;
            let adopting = log.lines().filter(|line| line.contains("adopted"));
            // The first run found nothing.
            let adopted = adopting.filter(|line| line.contains("sessions=1")).count();
            ensure!(adopted == time, "adopted {adopted} times instead of {time}");
            goes_on(counted, without)?;
        }
        Ok(())
    })?;
    let last = counted()?;
    ensure!(last == sent, "sent {sent:?} packets, counted {last:?}");
    // Only a daemon that has adopted the session can end it.
    call.hang_up(&exchange)
}

/// Waits until packets were counted both ways since `before`, and returns the counts.
fn goes_on(counted: impl Fn() -> Result<[u64; 2]>, before: [u64; 2]) -> Result<[u64; 2]> {
    until("packets counted both ways", LIMIT, || {
        let now = counted()?;
        let both = || now.iter().zip(&before);
        ensure!(
            both().all(|(now, before)| now >= before),
            "the counters went back from {before:?} to {now:?}"
        );
        Ok(both().all(|(now, before)| now > before).then_some(now))
    })
}
