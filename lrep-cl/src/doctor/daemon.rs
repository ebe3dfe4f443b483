// SPDX-License-Identifier: MIT OR Apache-2.0

//! The running daemon: what it says of itself, and what it may do.

use std::path::Path;

use super::Finding;
use crate::core::status::{Status, TslHealth, TslStatus};

/// The bit of the capability that controls the module (`linux/capability.h`).
const CAP_NET_ADMIN: u32 = 12;

/// What the daemon says of itself and of its TSLs; it was started with this configuration file.
pub fn status(status: &Status, file: &Path) -> Vec<Finding> {
    let mut findings = vec![if status.draining {
        Finding::advice(
            "daemon",
            "it is being drained: new calls get no relay",
            "lrep-cl drain --cancel",
        )
    } else {
        Finding::good("daemon", format!("works, {} relays", status.sessions))
    }];
    for tsl in &status.tsls {
        findings.push(health(tsl, file));
        findings.extend(leaked(tsl));
    }
    for (reason, calls) in &status.refused {
        findings.push(Finding::advice(
            "calls",
            format!("{calls} requests were refused since the daemon was started: {reason}"),
            after_refusals(reason, status, file),
        ));
    }
    findings
}

fn health(tsl: &TslStatus, file: &Path) -> Finding {
    let name = &tsl.name;
    let about = format!("tsl {name}");
    match tsl.health {
        _ if !tsl.enabled => Finding::advice(
            about,
            "it is disabled: it gets no new calls",
            format!("lrep-cl tsl enable {name}"),
        ),
        TslHealth::Ready | TslHealth::Opening => Finding::good(about, tsl.health.name()),
        TslHealth::Full => Finding::bad(
            about,
            "it holds as many relays as it may",
            format!(
                "editor {} # raise sessions_max, half_open_max or memory_max (lrep-cl stats says which \
                 is reached), then lrep-cl reload",
                file.display()
            ),
        ),
        TslHealth::Silent | TslHealth::Closed => {
            let cure = match name.split(':').next() {
                Some("grpc") => format!("systemctl restart lrep-tsl # on the host of {name}"),
                Some("udp") => format!(
                    "lrep-cl tsl disable {name} # and start its engine; lrep-cl tsl enable {name}"
                ),
                Some("userspace") => "systemctl restart lrep-cl # ends its calls".to_owned(),
                _ => "systemctl restart lrep-cl # ends no calls; journalctl -u lrep-cl -n 50 says \
                      what is wrong"
                    .to_owned(),
            };
            Finding::bad(about, format!("it is {}", tsl.health.name()), cure)
        }
    }
}

/// Ports that count as in use and belong to no call, should there be any.
fn leaked(tsl: &TslStatus) -> Option<Finding> {
    (tsl.ports_leaked > 0).then(|| {
        Finding::advice(
            format!("tsl {}", tsl.name),
            format!(
                "{} relay ports count as in use, and no call has them",
                tsl.ports_leaked
            ),
            "systemctl restart lrep-cl # counts them anew; report it, since it should not happen",
        )
    })
}

/// What keeps requests from being refused once more.
fn after_refusals(reason: &str, status: &Status, file: &Path) -> String {
    let file = file.display();
    let sip_server = "editor /etc/kamailio/kamailio.cfg";
    let edit = |what: &str| format!("editor {file} # {what}, then lrep-cl reload");
    match reason {
        "draining" => "lrep-cl drain --cancel".to_owned(),
        "disabled" => {
            let disabled = status.tsls.iter().find(|tsl| !tsl.enabled);
            match disabled {
                Some(tsl) => format!("lrep-cl tsl enable {}", tsl.name),
                None => "lrep-cl tsl list # all are enabled again".to_owned(),
            }
        }
        "session-rate" => edit("raise session_rate"),
        "sessions-max" => edit("raise sessions_max"),
        "half-open-max" => edit("raise half_open_max"),
        "memory-max" => edit("raise memory_max"),
        "no-tsl" => {
            format!("editor {file} # name a TSL of that set, then systemctl restart lrep-cl")
        }
        "client-unconfigured" | "not-ours" => {
            "systemctl restart kamailio # it asks for relay addresses when it starts".to_owned()
        }
        "client-without-flags" => {
            format!("{sip_server} # lrkproxy_manage() without flags, or with `ie` or `ei`")
        }
        "bad-port" => format!("{sip_server} # leave start_port and end_port to lrep-cl"),
        "address" => "systemctl restart lrep-cl # gives its TSLs their addresses again".to_owned(),
        "descriptors" => {
            "printf '[Service]\\nLimitNOFILE=524288\\n' | systemctl edit --stdin lrep-cl && \
                          systemctl restart lrep-cl # the relay inside the daemon loses its calls"
                .to_owned()
        }
        "owner" => {
            format!("editor {file} # give it an owner of its own, then systemctl restart lrep-cl")
        }
        "port" => "ss -ulpn # names the program that has the port: stop it".to_owned(),
        "bad-field" | "not-ipv4" | "not-unicast" | "overlap" | "undecidable" | "party" => format!(
            "{sip_server} # journalctl -u lrep-cl -p err names the parties whose SDP is to be put right"
        ),
        // The relay did not answer, or not well.
        _ => {
            "systemctl restart lrep-cl # ends no calls of the module; journalctl -u lrep-cl -p err \
              says what was wrong"
                .to_owned()
        }
    }
}

/// Whether the daemon may control the module; `proc` is its `/proc/PID/status`.
pub fn capabilities(process: u32, proc: &str) -> Finding {
    match may_control(proc) {
        Some(true) => Finding::good(
            "capabilities",
            format!("process {process} has CAP_NET_ADMIN"),
        ),
        Some(false) => Finding::bad(
            "capabilities",
            format!(
                "the daemon, process {process}, has no CAP_NET_ADMIN: it cannot control the module"
            ),
            "printf '[Service]\\nAmbientCapabilities=CAP_NET_ADMIN\\nCapabilityBoundingSet=CAP_NET_ADMIN\\n' \
             | systemctl edit --stdin lrep-cl && systemctl restart lrep-cl",
        ),
        None => Finding::unknown(
            "capabilities",
            format_args!("what /proc/{process}/status says cannot be read"),
            &format!("grep CapEff /proc/{process}/status"),
        ),
    }
}

/// Whether this program itself could control the module, when no daemon is there to look at.
pub fn own_capabilities(proc: &str) -> Option<Finding> {
    (may_control(proc) != Some(true)).then(|| {
        Finding::advice(
            "capabilities",
            "this program has no CAP_NET_ADMIN: some of what follows cannot be checked",
            "sudo lrep-cl doctor",
        )
    })
}

fn may_control(proc: &str) -> Option<bool> {
    let effective = proc.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    let effective = u64::from_str_radix(effective.trim(), 16).ok()?;
    Some((effective >> CAP_NET_ADMIN) & 1 == 1)
}

/// Sessions of the daemon's in the kernel that it does not know, should there be any: it knew `known` in
/// all, and was asked at most `since_ms` before the kernel told the ages of those it has.
pub fn orphans(known: u64, ages_ms: &[u64], since_ms: u64) -> Option<Finding> {
    // What was made meanwhile, or just before and not answered yet, proves nothing.
    const SETTLED_MS: u64 = 5_000;
    let old = ages_ms
        .iter()
        .filter(|age_ms| **age_ms >= since_ms.saturating_add(SETTLED_MS));
    let unknown = (old.count() as u64).saturating_sub(known);
    (unknown > 0).then(|| {
        Finding::advice(
            "sessions",
            format!(
                "{unknown} sessions in the kernel have the daemon's owner tag, and belong to no call \
                 it knows: they hold ports until their idle timeout"
            ),
            "systemctl restart lrep-cl # takes them over, and ends no calls",
        )
    })
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use super::super::Verdict;
    use super::*;

    /// A TSL without calls.
    pub(in super::super) fn tsl(name: &str, health: TslHealth, enabled: bool) -> TslStatus {
        TslStatus {
            name: name.to_owned(),
            set: 0,
            weight: 1,
            health,
            enabled,
            sessions: 0,
            packets_per_second: None,
            ports_in_use: 0,
            ports_leaked: 0,
            ports: 1,
        }
    }

    /// A daemon that has these TSLs and refused something for this reason.
    pub(in super::super) fn refusing(reason: &str, tsls: Vec<TslStatus>) -> Status {
        Status {
            draining: false,
            sessions: 3,
            waiting: 0,
            refused: BTreeMap::from([(reason.to_owned(), 2)]),
            tsls,
        }
    }

    fn look(daemon: &Status) -> Vec<Finding> {
        status(daemon, Path::new("/etc/lrep-cl.toml"))
    }

    #[test]
    fn a_daemon_that_takes_no_calls_is_told_how_to() {
        let mut daemon = refusing(
            "draining",
            vec![
                tsl("local", TslHealth::Ready, true),
                tsl("local", TslHealth::Ready, false),
                tsl("local", TslHealth::Full, true),
                tsl("grpc:a:1", TslHealth::Closed, true),
            ],
        );
        daemon.draining = true;
        let verdicts: Vec<_> = look(&daemon).iter().map(|found| found.verdict).collect();
        let (good, advice, bad) = (Verdict::Good, Verdict::Advice, Verdict::Bad);
        assert_eq!(verdicts, [advice, good, advice, bad, bad, advice]);
        daemon.draining = false;
        assert_eq!(look(&daemon)[0].verdict, good);
    }

    #[test]
    fn what_ended_calls_before_is_mended_where_it_is() {
        let cure = |reason: &str| {
            let disabled = vec![tsl("grpc:a:1", TslHealth::Ready, false)];
            let found = look(&refusing(reason, disabled)).pop().expect("a finding");
            found.cure.expect("a cure")
        };
        assert_eq!(cure("disabled"), "lrep-cl tsl enable grpc:a:1");
        assert!(cure("session-rate").starts_with("editor /etc/lrep-cl.toml # raise session_rate"));
        assert!(cure("not-ours").starts_with("systemctl restart kamailio"));
    }

    #[test]
    fn leaked_ports_are_told_with_their_number() {
        let mut leaking = tsl("local", TslHealth::Ready, true);
        assert_eq!(leaked(&leaking), None);
        leaking.ports_leaked = 4;
        let found = leaked(&leaking).expect("a finding").found;
        assert!(
            found.starts_with("4 relay ports count as in use"),
            "{found}"
        );
    }

    #[test]
    fn a_daemon_without_the_capability_is_told_how_its_unit_gives_it() {
        let proc = |effective: &str| format!("Name:\tlrep-cl\nCapEff:\t{effective}\nCapBnd:\t0\n");
        let verdict = |effective| capabilities(7, &proc(effective)).verdict;
        assert_eq!(verdict("0000000000001000"), Verdict::Good);
        assert_eq!(verdict("000001ffffffffff"), Verdict::Good);
        assert_eq!(verdict("000001ffffffefff"), Verdict::Bad);
        assert_eq!(verdict("none"), Verdict::Advice);
        assert_eq!(own_capabilities(&proc("0000000000001000")), None);
        let own = own_capabilities(&proc("0")).expect("a finding");
        assert_eq!(own.cure.as_deref(), Some("sudo lrep-cl doctor"));
    }

    #[test]
    fn sessions_that_are_older_than_the_look_and_in_no_call_are_orphans() {
        let found = |known, ages: &[u64]| orphans(known, ages, 100).map(|finding| finding.found);
        assert_eq!(found(2, &[60_000, 70_000]), None);
        // One is new, and one ended between the two looks.
        assert_eq!(found(2, &[60_000, 70_000, 5_099]), None);
        assert_eq!(found(3, &[60_000, 70_000]), None);
        let told = found(1, &[60_000, 70_000, 50]).expect("an orphan");
        assert!(told.starts_with("1 sessions in the kernel"), "{told}");
    }
}
