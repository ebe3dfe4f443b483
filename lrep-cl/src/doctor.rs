// SPDX-License-Identifier: MIT OR Apache-2.0

//! What may be wrong with a host, judged from what was read there. [`crate::cli`] reads it.

use std::ops::RangeInclusive;

use serde::Serialize;
use serde_json::Value;

use crate::core::status::{Status, TslHealth};
use crate::ephemeral::Ephemeral;

/// Priority of the module's hook in PRE_ROUTING: after `raw` (`kmod/namespace.rs`).
const HOOK: i64 = -250;

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Nothing is to be done.
    Good,
    /// It works, and could work better.
    Advice,
    /// Calls fail because of it.
    Bad,
}

impl Verdict {
    /// As it is written before a finding.
    pub fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Advice => "advice",
            Self::Bad => "BAD",
        }
    }
}

/// What was found about one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The thing.
    pub about: String,
    /// How bad it is.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// A command that mends it.
    pub cure: Option<String>,
}

impl Finding {
    /// Nothing is to be done.
    pub fn good(about: impl Into<String>, found: impl Into<String>) -> Self {
        Self {
            about: about.into(),
            verdict: Verdict::Good,
            found: found.into(),
            cure: None,
        }
    }

    /// It could work better.
    pub fn advice(
        about: impl Into<String>,
        found: impl Into<String>,
        cure: impl Into<String>,
    ) -> Self {
        Self {
            verdict: Verdict::Advice,
            cure: Some(cure.into()),
            ..Self::good(about, found)
        }
    }

    /// Calls fail.
    pub fn bad(
        about: impl Into<String>,
        found: impl Into<String>,
        cure: impl Into<String>,
    ) -> Self {
        Self {
            verdict: Verdict::Bad,
            ..Self::advice(about, found, cure)
        }
    }
}

/// The running daemon.
pub fn daemon(status: &Status) -> Vec<Finding> {
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
        let about = format!("tsl {}", tsl.name);
        findings.push(match tsl.health {
            _ if !tsl.enabled => Finding::advice(
                about,
                "it is disabled: it gets no new calls",
                format!("lrep-cl tsl enable {}", tsl.name),
            ),
            TslHealth::Ready | TslHealth::Opening => Finding::good(about, tsl.health.name()),
            TslHealth::Full => Finding::bad(
                about,
                "it holds as many relays as it may",
                "lrep-cl stats # then raise the limit that is reached, and lrep-cl reload",
            ),
            TslHealth::Silent | TslHealth::Closed if tsl.name == "local" => Finding::bad(
                about,
                format!("it is {}", tsl.health.name()),
                "journalctl -u lrep-cl -n 50",
            ),
            TslHealth::Silent | TslHealth::Closed => Finding::bad(
                about,
                format!("it is {}", tsl.health.name()),
                "systemctl status lrep-tsl # there",
            ),
        });
    }
    for (reason, calls) in &status.refused {
        findings.push(Finding::advice(
            "calls",
            format!("{calls} requests were refused since the daemon was started: {reason}"),
            "journalctl -u lrep-cl -p err",
        ));
    }
    findings
}

/// Whether sockets of this host may be given relay ports.
pub fn ports(ephemeral: &Ephemeral, ports: &[RangeInclusive<u16>]) -> Finding {
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

/// Ranges of ports, in the words of nft too.
fn listed(ports: &[RangeInclusive<u16>]) -> String {
    let ranges = ports
        .iter()
        .map(|range| format!("{}-{}", range.start(), range.end()));
    ranges.collect::<Vec<_>>().join(", ")
}

/// Who takes media from the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taker {
    /// The module, before routing.
    Module,
    /// A socket of the relay inside the daemon, as of any program.
    Socket,
}

/// Where devices drop packets that came another way than an answer would go; each with the larger
/// of its own `rp_filter` and the one for all, which is the one that counts: 1 is strict, 2 is loose
/// (Documentation/networking/ip-sysctl.rst).
pub fn reverse_path(taker: Taker, devices: &[(String, u8)]) -> Finding {
    const STRICT: u8 = 1;
    let strict: Vec<_> = devices
        .iter()
        .filter(|(_, filter)| *filter == STRICT)
        .map(|(name, _)| name.as_str())
        .collect();
    match taker {
        Taker::Module => Finding::good(
            "forwarding",
            "media needs neither net.ipv4.ip_forward nor another rp_filter: it is taken before them",
        ),
        Taker::Socket if strict.is_empty() => Finding::good(
            "forwarding",
            "media needs no net.ipv4.ip_forward, and no device has a strict rp_filter",
        ),
        Taker::Socket => Finding::advice(
            "forwarding",
            format!(
                "rp_filter is strict at {}: media of parties that are routed another way is dropped",
                strict.join(", ")
            ),
            // With slashes, since names of devices may have dots.
            format!(
                "sysctl -w net/ipv4/conf/{}/rp_filter=2",
                strict.join("/rp_filter=2 net/ipv4/conf/")
            ),
        ),
    }
}

/// Chains that could drop media before it is taken, of what `nft -j list ruleset` prints.
pub fn firewall(ruleset: &Value, taker: Taker, ports: &[RangeInclusive<u16>]) -> Vec<Finding> {
    let objects = ruleset["nftables"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let name = |object: &Value, key: &str| object[key].as_str().unwrap_or_default().to_owned();
    let mut findings = Vec::new();
    for chain in objects.iter().filter_map(|object| object.get("chain")) {
        let is_before = match chain["hook"].as_str() {
            Some("ingress") => true,
            Some("prerouting") if taker == Taker::Module => {
                chain["prio"].as_i64().is_some_and(|prio| prio < HOOK)
            }
            Some("prerouting" | "input") => taker == Taker::Socket,
            _ => false,
        };
        if !is_before {
            continue;
        }
        let place = ["family", "table"].map(|key| name(chain, key));
        let is_of = |rule: &&Value| {
            ["family", "table"].map(|key| name(rule, key)) == place
                && rule["chain"] == chain["name"]
        };
        let rules = objects.iter().filter_map(|object| object.get("rule"));
        let drops = rules
            .filter(is_of)
            .any(|rule| mentions(&rule["expr"], "drop"));
        let (family, table, chain_name) = (name(chain, "family"), &place[1], name(chain, "name"));
        if !drops && chain["policy"] != "drop" {
            continue;
        }
        let listed = listed(ports);
        let matched = match ports {
            [_] => listed.clone(),
            _ => format!("'{{ {listed} }}'"),
        };
        findings.push(Finding::advice(
            "firewall",
            format!(
                "chain {family} {table} {chain_name} comes before the relay and drops packets: see \
                 that media (UDP to {listed}) is not among them"
            ),
            format!("nft insert rule {family} {table} {chain_name} udp dport {matched} accept"),
        ));
    }
    if findings.is_empty() {
        let found = match taker {
            Taker::Module => {
                "no nft chain before the relay drops packets; those of INPUT and FORWARD do not see \
                 media"
            }
            Taker::Socket => "no nft chain before the relay drops packets",
        };
        findings.push(Finding::good("firewall", found));
    }
    findings
}

/// Whether a key is anywhere in a JSON value.
fn mentions(value: &Value, key: &str) -> bool {
    match value {
        Value::Object(map) => {
            map.contains_key(key) || map.values().any(|value| mentions(value, key))
        }
        Value::Array(values) => values.iter().any(|value| mentions(value, key)),
        _ => false,
    }
}

/// A network device of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its name.
    pub name: String,
    /// Its queues of received packets.
    pub queues: usize,
    /// Whether the kernel spreads received packets over CPUs by itself (RPS).
    pub spreads: bool,
}

/// Whether a device's packets reach more than one CPU.
pub fn queues(device: &Device, cpus: usize) -> Finding {
    let Device {
        name,
        queues,
        spreads,
    } = device;
    let about = format!("device {name}");
    if *queues < cpus && !spreads {
        // One bit for each CPU, in groups of 32 as the file has them.
        let mask: Vec<String> = (0..cpus.div_ceil(32))
            .rev()
            .map(|group| format!("{:x}", (1_u64 << (cpus - group * 32).min(32)) - 1))
            .collect();
        let mask = mask.join(",");
        return Finding::advice(
            about,
            format!("{queues} receive queues for {cpus} CPUs: the other CPUs relay nothing"),
            format!(
                "ethtool -L {name} combined {cpus} # or, if it has no more queues: echo {mask} | \
                 tee /sys/class/net/{name}/queues/rx-*/rps_cpus"
            ),
        );
    }
    Finding::good(about, format!("{queues} receive queues for {cpus} CPUs"))
}

/// Offloads that put packets together when they arrive, by the names of `ethtool -k` and of `ethtool -K`.
const MERGING: [(&str, &str); 3] = [
    ("large-receive-offload", "lro"),
    ("rx-gro-list", "rx-gro-list"),
    ("rx-udp-gro-forwarding", "rx-udp-gro-forwarding"),
];

/// Whether a device leaves packets as they came; `features` is what `ethtool -k` says of it.
pub fn offloads(name: &str, features: &str) -> Finding {
    // `feature: on`, or `feature: on [fixed]` for what cannot be changed.
    let is_on = |feature: &str| {
        let mut lines = features
            .lines()
            .filter_map(|line| line.trim().split_once(": "));
        lines.any(|line| line == (feature, "on"))
    };
    let merging: Vec<_> = MERGING
        .into_iter()
        .filter(|(feature, _)| is_on(feature))
        .collect();
    let about = format!("device {name}");
    if merging.is_empty() {
        return Finding::good(about, "packets are left as they came");
    }
    let (features, switches): (Vec<_>, Vec<_>) = merging.into_iter().unzip();
    Finding::advice(
        about,
        format!(
            "{} puts packets together that the relay takes apart again",
            features.join(", ")
        ),
        format!("ethtool -K {name} {} off", switches.join(" off ")),
    )
}

/// Whether the clock can be read fast.
pub fn clock(source: &str) -> Finding {
    match source {
        "tsc" | "kvm-clock" | "hyperv_clocksource_tsc_page" | "arch_sys_counter" => {
            Finding::good("clock", source)
        }
        _ => Finding::advice(
            "clock",
            format!("{source} is slow to read, which every packet pays for"),
            "echo tsc > /sys/devices/system/clocksource/clocksource0/current_clocksource # or \
             kvm-clock: what available_clocksource beside it names; clocksource= keeps it over a boot",
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn verdicts(findings: &[Finding]) -> Vec<Verdict> {
        findings.iter().map(|finding| finding.verdict).collect()
    }

    fn chain(name: &str, hook: &str, prio: i64, policy: &str) -> Value {
        json!({"chain": {
            "family": "ip", "table": "t", "name": name, "type": "filter", "hook": hook,
            "prio": prio, "policy": policy,
        }})
    }

    fn rule(chain: &str, verdict: &str) -> Value {
        let expr = json!([{"match": {"op": "=="}}, {verdict: null}]);
        json!({"rule": {"family": "ip", "table": "t", "chain": chain, "expr": expr}})
    }

    #[test]
    fn offloads_that_merge_packets_are_told_if_they_can_be_switched_off() {
        let listed = "Features for eth0:\nrx-checksumming: on\nlarge-receive-offload: on [fixed]\n\
                      generic-receive-offload: on\nrx-gro-list: off\n";
        assert_eq!(offloads("eth0", listed).verdict, Verdict::Good);
        let listed = "large-receive-offload: on\n\trx-udp-gro-forwarding: on\n";
        let finding = offloads("eth0", listed);
        assert_eq!(finding.verdict, Verdict::Advice);
        assert_eq!(
            finding.cure.as_deref(),
            Some("ethtool -K eth0 lro off rx-udp-gro-forwarding off")
        );
    }

    #[test]
    fn only_chains_before_the_relay_that_drop_are_told() {
        let ports = [20000..=30007];
        let look =
            |taker, objects: Vec<Value>| firewall(&json!({ "nftables": objects }), taker, &ports);
        let find = |objects| look(Taker::Module, objects);
        for (objects, verdict) in [
            (vec![], Verdict::Good),
            (
                vec![chain("raw", "prerouting", -300, "accept")],
                Verdict::Good,
            ),
            (
                vec![chain("raw", "prerouting", -300, "drop")],
                Verdict::Advice,
            ),
            (
                vec![chain("mangle", "prerouting", -150, "drop")],
                Verdict::Good,
            ),
            (vec![chain("input", "input", 0, "drop")], Verdict::Good),
            (vec![chain("edge", "ingress", 0, "drop")], Verdict::Advice),
            (
                vec![
                    chain("raw", "prerouting", -300, "accept"),
                    rule("raw", "drop"),
                ],
                Verdict::Advice,
            ),
            (
                vec![
                    chain("raw", "prerouting", -300, "accept"),
                    rule("raw", "accept"),
                ],
                Verdict::Good,
            ),
            (
                vec![
                    chain("raw", "prerouting", -300, "accept"),
                    rule("other", "drop"),
                ],
                Verdict::Good,
            ),
        ] {
            assert_eq!(verdicts(&find(objects.clone())), [verdict], "{objects:?}");
        }
        let findings = find(vec![chain("raw", "prerouting", -300, "drop")]);
        assert_eq!(
            findings[0].cure.as_deref(),
            Some("nft insert rule ip t raw udp dport 20000-30007 accept")
        );
        // A socket is behind more of them.
        for (hook, verdict) in [
            ("prerouting", Verdict::Advice),
            ("input", Verdict::Advice),
            ("forward", Verdict::Good),
            ("output", Verdict::Good),
        ] {
            let findings = look(Taker::Socket, vec![chain("c", hook, 0, "drop")]);
            assert_eq!(verdicts(&findings), [verdict], "{hook}");
        }
    }

    #[test]
    fn a_strict_reverse_path_filter_concerns_sockets_only() {
        let devices = [("eth0", 1), ("eth1", 2), ("eth2", 1)];
        let devices = devices.map(|(name, filter)| (name.to_owned(), filter));
        let verdict = |taker, devices| reverse_path(taker, devices).verdict;
        assert_eq!(verdict(Taker::Module, &devices[..]), Verdict::Good);
        assert_eq!(verdict(Taker::Socket, &devices[1..2]), Verdict::Good);
        let finding = reverse_path(Taker::Socket, &devices);
        assert_eq!(finding.verdict, Verdict::Advice);
        assert_eq!(
            finding.cure.as_deref(),
            Some("sysctl -w net/ipv4/conf/eth0/rp_filter=2 net/ipv4/conf/eth2/rp_filter=2")
        );
    }

    #[test]
    fn a_device_with_too_few_queues_is_told_how_to_use_all_cpus() {
        let device = |queues, spreads| Device {
            name: "eth0".to_owned(),
            queues,
            spreads,
        };
        assert_eq!(queues(&device(4, false), 4).verdict, Verdict::Good);
        assert_eq!(queues(&device(1, true), 4).verdict, Verdict::Good);
        let finding = queues(&device(1, false), 4);
        assert_eq!(finding.verdict, Verdict::Advice);
        let cure = finding.cure.expect("a cure");
        assert!(
            cure.contains("ethtool -L eth0 combined 4") && cure.contains("echo f |"),
            "{cure}"
        );
        let cure = queues(&device(1, false), 40).cure.expect("a cure");
        assert!(cure.contains("echo ff,ffffffff |"), "{cure}");
    }

    #[test]
    fn a_daemon_that_takes_no_calls_is_told_how_to() {
        use std::collections::BTreeMap;

        use crate::core::status::TslStatus;

        let tsl = |name: &str, health, enabled| TslStatus {
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
        };
        let mut status = Status {
            draining: true,
            sessions: 3,
            waiting: 0,
            refused: BTreeMap::from([("draining".to_owned(), 2)]),
            tsls: vec![
                tsl("local", TslHealth::Ready, true),
                tsl("local", TslHealth::Ready, false),
                tsl("local", TslHealth::Full, true),
                tsl("grpc:a:1", TslHealth::Closed, true),
            ],
        };
        let findings = daemon(&status);
        let (good, advice, bad) = (Verdict::Good, Verdict::Advice, Verdict::Bad);
        assert_eq!(
            verdicts(&findings),
            [advice, good, advice, bad, bad, advice]
        );
        assert!(
            findings
                .iter()
                .all(|finding| { (finding.verdict == Verdict::Good) == finding.cure.is_none() })
        );
        status.draining = false;
        assert_eq!(daemon(&status)[0].verdict, good);
    }

    #[test]
    fn a_slow_clock_is_told() {
        assert_eq!(clock("tsc").verdict, Verdict::Good);
        assert_eq!(clock("acpi_pm").verdict, Verdict::Advice);
    }
}
