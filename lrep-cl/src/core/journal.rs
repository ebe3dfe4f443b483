// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the log says about sessions.

use std::fmt::Write;
use std::net::SocketAddr;

use nix::errno::Errno;
use tracing::field::display;
use tracing::{info, warn};

use crate::logging::CallId;
use crate::tsl::{self, Alarm, AlarmReason, EndReason, Endpoint, SessionState};

/// A party and where the relay faces it.
pub fn party(party: &Endpoint) -> String {
    let mut text = String::with_capacity(64);
    match party.remote {
        Some(remote) => push(&mut text, remote),
        None => text.push_str("on hold"),
    }
    text.push_str(" at ");
    push(&mut text, party.local);
    text
}

/// Writes an address and a port. Each call has four in the log, so what is most frequent does not
/// take the way of everything that can be formatted.
fn push(text: &mut String, address: SocketAddr) {
    let SocketAddr::V4(address) = address else {
        // Writing to a string cannot fail.
        let _ = write!(text, "{address}");
        return;
    };
    let mut number = itoa::Buffer::new();
    for (octet, end) in address.ip().octets().into_iter().zip(['.', '.', '.', ':']) {
        text.push_str(number.format(octet));
        text.push(end);
    }
    text.push_str(number.format(address.port()));
}

/// Of what kind a failed command is, and what is to be done about it.
pub fn cure(error: &tsl::Error) -> (&'static str, &'static str) {
    let refusals = [
        // What can be wrong with a command of ours is where the parties are.
        (
            Errno::EINVAL,
            "party",
            "; correct the address in the party's SDP (or custom_sdp_ip_avp): it must be a single \
             host other than the relay's",
        ),
        (
            Errno::ENOSPC,
            "sessions-max",
            "; raise sessions_max, or send calls to another relay",
        ),
        (
            Errno::EUSERS,
            "half-open-max",
            "; raise half_open_max, or find out who begins so many calls",
        ),
        (
            Errno::EDQUOT,
            "memory-max",
            "; raise memory_max, or send calls to another relay",
        ),
        (
            Errno::EADDRNOTAVAIL,
            "address",
            "; it must be an address of the TSL's host: give it to an interface there (`ip address \
             add ADDRESS/32 dev lo`), or correct internal_ip or external_ip; then `systemctl restart \
             lrep-cl` tells the TSL its addresses again",
        ),
        (
            Errno::EADDRINUSE,
            "port",
            "; `ss -ulpn` on the TSL's host names the program that has it: stop it, or give lrep-cl \
             other ports (start_port and end_port, or port_ranges)",
        ),
        (
            Errno::EMFILE,
            "descriptors",
            "; each port in use is a descriptor: raise LimitNOFILE of lrep-cl.service (`ulimit -n`)",
        ),
        // The refusal names its cure itself.
        (Errno::ENOTUNIQ, "owner", ""),
    ];
    refusals
        .into_iter()
        .find(|(errno, ..)| error.is(*errno))
        .map_or(("command", ""), |(_, kind, cure)| (kind, cure))
}

/// Logs what a TSL is alarmed about.
pub fn log_alarm(alarm: &Alarm) {
    let Alarm {
        local,
        source,
        packets,
        ..
    } = alarm;
    let session = alarm.session.as_ref();
    let call_id = session.map(|session| display(CallId(&session.label)));
    match alarm.reason {
        AlarmReason::ForeignSource => warn!(
            call_id,
            "dropped {packets} packets to {local} that are not the party's, the first from {source}: \
             a stranger, or a party behind NAT (see `admission`)"
        ),
        AlarmReason::Flood if session.is_some() => warn!(
            call_id,
            "dropped {packets} packets to {local}: {source} sends more than it may"
        ),
        AlarmReason::Flood => warn!(
            "dropped {packets} packets to ports of no call, one of them from {source} to {local}: \
             somebody scans the relay's ports, or goes on after the end of calls"
        ),
        AlarmReason::Loop => warn!(
            call_id,
            "dropped {packets} packets to {local} that go round, the first from {source}: a party's \
             address is a relay's, or routing has a loop"
        ),
    }
}

/// Logs the end of a session, with what it has relayed.
pub fn log_end(session: &SessionState, reason: EndReason) {
    let (packets, bytes) = tsl::sum(session);
    info!(
        call_id = %CallId(&session.label),
        session = session.id,
        reason = reason.name(),
        packets,
        bytes,
        age_s = session.age_ms / 1000,
        "relay ended"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_tsl_lacks_for_a_port_has_a_cure_of_its_own() {
        for (errno, kind, word) in [
            (Errno::EADDRNOTAVAIL, "address", "`ip address add"),
            (Errno::EADDRINUSE, "port", "`ss -ulpn`"),
            (Errno::EMFILE, "descriptors", "LimitNOFILE"),
            (Errno::ENOSPC, "sessions-max", "raise sessions_max"),
            (Errno::ENOTUNIQ, "owner", ""),
            (Errno::EPERM, "command", ""),
        ] {
            let error = tsl::Error::Refused(tsl::Refusal {
                errno: errno as i32,
                message: None,
            });
            let (told, cure) = cure(&error);
            assert_eq!(told, kind);
            assert!(cure.contains(word), "{cure}");
        }
    }

    #[test]
    fn a_party_is_told_as_its_addresses_print() {
        for (local, remote) in [
            ("192.0.2.1:20000", "203.0.113.255:4000"),
            ("0.0.0.0:0", "255.255.255.255:65535"),
            ("[2001:db8::1]:20000", "[2001:db8::2]:1"),
        ] {
            let local = local.parse().expect("an address");
            let remote = remote.parse().expect("an address");
            let told = party(&Endpoint::new(local, Some(remote)));
            assert_eq!(told, format!("{remote} at {local}"));
            let held = party(&Endpoint::new(local, None));
            assert_eq!(held, format!("on hold at {local}"));
        }
    }
}
