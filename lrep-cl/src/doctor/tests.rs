// SPDX-License-Identifier: MIT OR Apache-2.0

//! What holds for findings of every kind.

use std::collections::BTreeSet;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;

use serde_json::json;

use super::daemon::tests::{refusing, tsl};
use super::*;
use crate::config::check;
use crate::core::status::TslHealth;
use crate::ephemeral::Ephemeral;

/// What begins a command that an operator of a Debian host can type.
const PROGRAMS: [&str; 17] = [
    "apt-get",
    "echo",
    "editor",
    "ethtool",
    "ip",
    "iptables-legacy",
    "kill",
    "lrep-cl",
    "make",
    "modprobe",
    "nft",
    "printf",
    "rmmod",
    "ss",
    "sysctl",
    "systemctl",
    "timedatectl",
];

/// Whether it begins with a command; `sudo` may come before any.
fn is_command(cure: &str) -> bool {
    let command = cure.strip_prefix("sudo ").unwrap_or(cure);
    let program = command.split_whitespace().next().unwrap_or_default();
    PROGRAMS.contains(&program) || (cure != command && !program.is_empty())
}

/// Every way in which something can be wrong.
fn troubles() -> Vec<Finding> {
    let file = Path::new("/etc/lreproxy/lrep-cl.toml");
    let ports = [20000..=30007, 40000..=40999];
    let mut troubles = Vec::new();

    let missing = check(Path::new("/none/lrep-cl.toml")).expect_err("not there");
    let unreadable = ConfigError::Unreadable {
        path: file.to_owned(),
        error: io::ErrorKind::PermissionDenied.into(),
    };
    let bad = ConfigError::Value {
        place: "line 1".to_owned(),
        problem: "bad".to_owned(),
    };
    for problem in [missing, unreadable, bad] {
        troubles.push(configuration(file, Some(&problem)));
    }
    for error in [
        tsl::Error::ModuleAbsent,
        tsl::Error::VersionDiffers {
            module: "9".to_owned(),
            theirs: 1,
            ours: 2,
        },
        tsl::Error::Permission,
        tsl::Error::NoAnswer,
        tsl::Error::Channel("broken".to_owned()),
    ] {
        troubles.push(module(&Err(error), None));
    }
    let kernel = Kernel::new("7.3.4+deb13-amd64", "");
    troubles.push(module(&Err(tsl::Error::ModuleAbsent), Some(&kernel)));
    troubles.push(kernels::updates("7.3.3+deb13-amd64", &[kernel]));
    troubles.push(address(Ipv4Addr::new(192, 0, 2, 10), Some("not here")));
    troubles.push(reverse_path(Taker::Socket, &[("eth0".to_owned(), 1)]));
    troubles.push(Finding::unknown("thing", "refused", "nft -j list ruleset"));
    troubles.push(Finding::missing("thing", "ethtool", "ethtool"));

    for health in [TslHealth::Full, TslHealth::Silent, TslHealth::Closed] {
        for name in ["local", "userspace", "grpc:a:1", "udp:a:1"] {
            for enabled in [true, false] {
                let mut tsl = tsl(name, health, enabled);
                tsl.ports_leaked = 1;
                let mut status = refusing("slow", vec![tsl]);
                status.draining = true;
                troubles.extend(daemon::status(&status, file));
            }
        }
    }
    for reason in REASONS {
        let ready = vec![tsl("local", TslHealth::Ready, true)];
        troubles.extend(daemon::status(&refusing(reason, ready), file).pop());
    }
    for proc in ["CapEff:\t0\n", ""] {
        troubles.push(daemon::capabilities(7, proc));
        troubles.extend(daemon::own_capabilities(proc));
    }
    troubles.extend(daemon::orphans(0, &[60_000], 0));

    let ephemeral = Ephemeral::parse("1024 65535", "").expect("as the kernel writes it");
    troubles.push(ports::given(&ephemeral, &ports));
    let shown = "UNCONN 0 0 0.0.0.0:20000 0.0.0.0:* users:((\"named\",pid=7,fd=3))\n\
                 UNCONN 0 0 0.0.0.0:20002 0.0.0.0:*\n";
    troubles.extend(ports::taken(shown, Taker::Socket, &[], &ports, None));

    let chain = json!({"chain": {
        "family": "inet", "table": "t", "name": "c", "hook": "input", "prio": 0, "policy": "drop",
    }});
    let ruleset = json!({ "nftables": [chain] });
    troubles.extend(firewall::nft(&ruleset, Taker::Socket, &ports));
    let saved = "*filter\n:INPUT DROP [0:0]\n";
    troubles.extend(firewall::legacy(saved, Taker::Socket, &ports));

    let device = device::Device {
        name: "eth0".to_owned(),
        queues: 1,
        spreads: false,
    };
    troubles.push(device::queues(&device, 4));
    troubles.push(device::offloads("eth0", "rx-gro-list: on"));
    troubles.push(clock::source("acpi_pm"));
    for shown in ["", "CanNTP=yes", "CanNTP=yes\nNTP=yes"] {
        troubles.push(clock::time(shown));
    }
    troubles
}

/// Why requests are refused: [`crate::intent::Refusal::kind`] and the kinds of the core.
const REASONS: [&str; 24] = [
    "client-unconfigured",
    "client-without-flags",
    "bad-field",
    "not-ipv4",
    "not-unicast",
    "not-ours",
    "bad-port",
    "overlap",
    "undecidable",
    "no-tsl",
    "disabled",
    "draining",
    "session-rate",
    "party",
    "sessions-max",
    "half-open-max",
    "memory-max",
    "owner",
    "address",
    "port",
    "descriptors",
    "overload",
    "silent",
    "slow",
];

#[test]
fn whatever_is_wrong_has_a_command_that_mends_it() {
    let troubles = troubles();
    let abouts: BTreeSet<_> = troubles
        .iter()
        .map(|finding| finding.about.split(' ').next().unwrap_or_default())
        .collect();
    let all = [
        "address",
        "calls",
        "capabilities",
        "clock",
        "configuration",
        "daemon",
        "device",
        "firewall",
        "forwarding",
        "kernel",
        "module",
        "ports",
        "sessions",
        "thing",
        "time",
        "tsl",
    ];
    assert_eq!(abouts, BTreeSet::from(all));
    for finding in troubles {
        assert_ne!(finding.verdict, Verdict::Good, "{finding:?}");
        let cure = finding.cure.as_deref().unwrap_or_default();
        assert!(is_command(cure), "no command mends it: {finding:?}");
    }
}

#[test]
fn a_strict_reverse_path_filter_concerns_sockets_only_and_never_what_the_host_sends_itself() {
    let devices = [("eth0", 1), ("eth1", 2), ("eth2", 1), ("lo", 1)];
    let devices = devices.map(|(name, filter)| (name.to_owned(), filter));
    let verdict = |taker, devices| reverse_path(taker, devices).verdict;
    assert_eq!(verdict(Taker::Module, &devices[..]), Verdict::Good);
    assert_eq!(verdict(Taker::Socket, &devices[1..2]), Verdict::Good);
    assert_eq!(verdict(Taker::Socket, &devices[3..]), Verdict::Good);
    let finding = reverse_path(Taker::Socket, &devices);
    assert_eq!(finding.verdict, Verdict::Advice);
    assert_eq!(
        finding.cure.as_deref(),
        Some("sysctl -w net/ipv4/conf/eth0/rp_filter=2 net/ipv4/conf/eth2/rp_filter=2")
    );
}
