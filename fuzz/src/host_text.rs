// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whatever `iptables-legacy-save`, `ss`, `timedatectl` and the kernel's files say of a host: every
//! finding about it says what it is about and what was found, and how to mend what is not good.

use std::net::Ipv4Addr;

use lrep_cl::doctor::{Taker, Verdict, clock, daemon, firewall, ports};

/// What one of them says.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let relay = [20_000..=29_999, 40_000..=49_999];
    let addresses = [Ipv4Addr::new(192, 0, 2, 10)];
    let mut findings = vec![
        clock::source(text),
        clock::time(text),
        daemon::capabilities(7, text),
    ];
    findings.extend(daemon::own_capabilities(text));
    for taker in [Taker::Module, Taker::Socket] {
        let rules = firewall::legacy(text, taker, &relay);
        assert!(!rules.is_empty());
        findings.extend(rules);
        let all = ports::taken(text, taker, &addresses, &relay, None);
        let others = ports::taken(text, taker, &addresses, &relay, Some(7));
        assert!(others.iter().all(|finding| all.contains(finding)));
        findings.extend(all);
    }
    for finding in findings {
        assert!(!finding.about.is_empty() && !finding.found.is_empty());
        assert_eq!(finding.verdict == Verdict::Good, finding.cure.is_none());
    }
}
