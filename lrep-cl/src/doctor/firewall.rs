// SPDX-License-Identifier: MIT OR Apache-2.0

//! Rules that could drop media before it is taken: those of nft, and those that `iptables-legacy`
//! keeps beside them.

use std::ops::RangeInclusive;

use serde_json::{Value, json};

use super::{Finding, Taker, listed};

/// Priority of the module's hook in PRE_ROUTING: after `raw` (`kmod/namespace.rs`).
const HOOK: i64 = -250;

/// What a rule may do to a packet, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Deed {
    /// UDP to these ports is done with the chain.
    Admit(RangeInclusive<u16>),
    Drop,
    /// It goes on in this chain.
    Jump(String),
}

/// Whether media comes to anything else in a chain than rules that admit it, as they do once the cure
/// was applied.
fn meets(rules: &[(String, Deed)], chain: &str, ports: &[RangeInclusive<u16>]) -> bool {
    let own = rules.iter().filter(|(of, _)| of == chain);
    let first = own.map_while(|(_, deed)| match deed {
        Deed::Admit(range) => Some(range),
        Deed::Drop | Deed::Jump(_) => None,
    });
    let admitted: Vec<_> = first.collect();
    let is_admitted = |range: &RangeInclusive<u16>| {
        let has = |known: &&RangeInclusive<u16>| {
            known.contains(range.start()) && known.contains(range.end())
        };
        admitted.iter().any(has)
    };
    !ports.iter().all(is_admitted)
}

/// Whether packets may be dropped in a chain or in those they are sent to from there; rules are those of
/// its table, each with its own chain.
fn drops(rules: &[(String, Deed)], chain: &str) -> bool {
    let mut chains = vec![chain];
    let mut at = 0;
    while let Some(chain) = chains.get(at).copied() {
        at += 1;
        for (_, deed) in rules.iter().filter(|(of, _)| of == chain) {
            match deed {
                Deed::Drop => return true,
                Deed::Jump(to) if !chains.contains(&to.as_str()) => chains.push(to),
                Deed::Jump(_) | Deed::Admit(_) => {}
            }
        }
    }
    false
}

/// Chains that could drop media before it is taken, of what `nft -j list ruleset` prints.
pub fn nft(ruleset: &Value, taker: Taker, ports: &[RangeInclusive<u16>]) -> Vec<Finding> {
    let objects = ruleset["nftables"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let name = |object: &Value, key: &str| object[key].as_str().unwrap_or_default().to_owned();
    let place_of = |object: &Value| ["family", "table"].map(|key| name(object, key));
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
        let place = place_of(chain);
        let rules: Vec<_> = objects
            .iter()
            .filter_map(|object| object.get("rule"))
            .filter(|rule| place_of(rule) == place)
            .flat_map(|rule| {
                let of = name(rule, "chain");
                let expr = &rule["expr"];
                admitted(expr)
                    .unwrap_or_else(|| deeds(expr))
                    .into_iter()
                    .map(move |deed| (of.clone(), deed))
            })
            .collect();
        let chain_name = name(chain, "name");
        let drops = chain["policy"] == "drop" || drops(&rules, &chain_name);
        if !drops || !meets(&rules, &chain_name, ports) {
            continue;
        }
        let ([family, table], listed) = (&place, listed(ports));
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
                "no nft chain before the relay drops media; those of INPUT and FORWARD do not see it"
            }
            Taker::Socket => "no nft chain before the relay drops media",
        };
        findings.push(Finding::good("firewall", found));
    }
    findings
}

/// What a rule admits that says nothing but `udp dport PORTS accept`.
fn admitted(rule: &Value) -> Option<Vec<Deed>> {
    let [matched, accept] = rule.as_array()?.as_slice() else {
        return None;
    };
    accept.as_object()?.get("accept")?;
    let matched = &matched["match"];
    let udp = json!({ "payload": { "protocol": "udp", "field": "dport" } });
    if matched["left"] != udp || matched["op"] != "==" {
        return None;
    }
    let right = &matched["right"];
    let ranges = right["set"]
        .as_array()
        .map_or(std::slice::from_ref(right), Vec::as_slice);
    let admit = |range: &Value| {
        let bound = |at: usize| u16::try_from(range["range"][at].as_u64()?).ok();
        Some(Deed::Admit(bound(0)?..=bound(1)?))
    };
    ranges.iter().map(admit).collect()
}

/// What the expressions of a rule may do, verdict maps included.
fn deeds(value: &Value) -> Vec<Deed> {
    match value {
        Value::Object(map) => map
            .iter()
            .flat_map(
                |(key, value)| match (key.as_str(), value["target"].as_str()) {
                    ("drop" | "reject", _) => vec![Deed::Drop],
                    ("jump" | "goto", Some(to)) => vec![Deed::Jump(to.to_owned())],
                    _ => deeds(value),
                },
            )
            .collect(),
        Value::Array(values) => values.iter().flat_map(deeds).collect(),
        _ => Vec::new(),
    }
}

/// Chains that could drop media before it is taken, of what `iptables-legacy-save` prints. nft knows
/// nothing of them.
pub fn legacy(saved: &str, taker: Taker, ports: &[RangeInclusive<u16>]) -> Vec<Finding> {
    let is_before = |table: &str, chain: &str| match (table, chain) {
        ("raw", "PREROUTING") => true,
        ("mangle", "PREROUTING") => taker == Taker::Socket,
        ("mangle" | "filter" | "security", "INPUT") => taker == Taker::Socket,
        _ => false,
    };
    let mut findings = Vec::new();
    // `*raw`, its chains with their policies, its rules, and the next one.
    for table in saved
        .split("\n*")
        .map(|table| table.trim_start_matches('*'))
    {
        let mut lines = table.lines();
        let table = lines.next().unwrap_or_default().trim();
        let (chains, rules): (Vec<_>, Vec<_>) = lines.partition(|line| line.starts_with(':'));
        let rules: Vec<_> = rules.into_iter().filter_map(rule).collect();
        for chain in chains {
            let mut words = chain.trim_start_matches(':').split_whitespace();
            let (name, policy) = (words.next().unwrap_or_default(), words.next());
            let drops = policy == Some("DROP") || drops(&rules, name);
            if !is_before(table, name) || !drops || !meets(&rules, name, ports) {
                continue;
            }
            let accept = |range: &RangeInclusive<u16>| {
                let (first, last) = (range.start(), range.end());
                format!(
                    "iptables-legacy -t {table} -I {name} -p udp --dport {first}:{last} -j ACCEPT"
                )
            };
            let accept: Vec<_> = ports.iter().map(accept).collect();
            findings.push(Finding::advice(
                "firewall",
                format!(
                    "chain {name} of the legacy table {table} comes before the relay and drops \
                     packets: see that media (UDP to {}) is not among them",
                    listed(ports)
                ),
                accept.join(" && "),
            ));
        }
    }
    if findings.is_empty() {
        let found = "no legacy rule of iptables before the relay drops media";
        findings.push(Finding::good("firewall", found));
    }
    findings
}

/// What a rule does to UDP: `-A INPUT -p udp -m comment --comment "no -j DROP" -j mine`.
fn rule(line: &str) -> Option<(String, Deed)> {
    let words = words(line);
    let after = |flags: &[&str]| {
        let at = words
            .iter()
            .position(|word| flags.contains(&word.as_str()))?;
        let is_not = at > 0 && words[at - 1] == "!";
        words.get(at + 1).filter(|_| !is_not)
    };
    let chain = after(&["-A"])?;
    let concerns_udp = after(&["-p"]).is_none_or(|protocol| protocol == "udp" || protocol == "all");
    let deed = match after(&["-j", "-g"])?.as_str() {
        "DROP" | "REJECT" => Deed::Drop,
        "ACCEPT" => {
            let all = words.iter().skip(2).map(String::as_str).collect::<Vec<_>>();
            let ["-p", "udp", "-m", "udp", "--dport", ports, "-j", _] = all.as_slice() else {
                return None;
            };
            let (first, last) = ports.split_once(':')?;
            Deed::Admit(first.parse().ok()?..=last.parse().ok()?)
        }
        // One that is no chain has no rules.
        target => Deed::Jump(target.to_owned()),
    };
    concerns_udp.then(|| (chain.clone(), deed))
}

/// The words of a line. What is in quotes is one that is no flag.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word) = (Vec::new(), String::new());
    let (mut quoted, mut escaped) = (false, false);
    for letter in line.chars().chain([' ']) {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => {
                quoted = !quoted;
                word.push('"');
            }
            ' ' if !quoted => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            letter => word.push(letter),
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
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
    fn only_chains_before_the_relay_that_drop_are_told() {
        let ports = [20000..=30007];
        let look = |taker, objects: Vec<Value>| nft(&json!({ "nftables": objects }), taker, &ports);
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
    fn a_chain_that_sends_packets_to_one_that_drops_them_is_told() {
        let to = |of: &str, to: Value| {
            let expr = json!([{ "match": {} }, to]);
            json!({"rule": {"family": "ip", "table": "t", "chain": of, "expr": expr}})
        };
        let jump = |chain| json!({ "jump": { "target": chain } });
        let look = |objects: Vec<Value>| {
            let base = chain("raw", "prerouting", -300, "accept");
            let objects = [vec![base], objects].concat();
            verdicts(&nft(
                &json!({ "nftables": objects }),
                Taker::Module,
                &[1..=2],
            ))
        };
        let bad = [Verdict::Advice];
        assert_eq!(look(vec![to("raw", jump("a")), rule("a", "drop")]), bad);
        assert_eq!(look(vec![to("raw", jump("a")), rule("a", "reject")]), bad);
        // Two that send packets to each other.
        let round = vec![to("raw", jump("a")), to("a", jump("raw"))];
        assert_eq!(look(round), [Verdict::Good]);
        assert_eq!(
            look(vec![to("b", jump("a")), rule("a", "drop")]),
            [Verdict::Good]
        );
        let map = json!({ "vmap": { "key": {}, "data": { "set": [["eth0", jump("a")]] } } });
        assert_eq!(look(vec![to("raw", map), rule("a", "drop")]), bad);
    }

    #[test]
    fn a_chain_that_lets_media_pass_first_is_told_no_more() {
        let accept = |right: Value| {
            let left = json!({ "payload": { "protocol": "udp", "field": "dport" } });
            let matched = json!({ "match": { "op": "==", "left": left, "right": right } });
            let expr = json!([matched, { "accept": null }]);
            json!({"rule": {"family": "ip", "table": "t", "chain": "raw", "expr": expr}})
        };
        let range = |first: u16, last: u16| json!({ "range": [first, last] });
        let look = |objects: &[Value], ports: &[RangeInclusive<u16>]| {
            let base = chain("raw", "prerouting", -300, "drop");
            let objects = [&[base], objects].concat();
            nft(&json!({ "nftables": objects }), Taker::Module, ports)[0].verdict
        };
        let (one, both) = ([20000..=30007], [20000..=30007, 40000..=40999]);
        let whole = accept(range(20000, 30007));
        assert_eq!(look(&[whole.clone()], &one), Verdict::Good);
        assert_eq!(look(&[whole.clone()], &both), Verdict::Advice);
        let set = accept(json!({ "set": [range(20000, 30007), range(40000, 40999)] }));
        assert_eq!(look(&[set], &both), Verdict::Good);
        let part = accept(range(20000, 29999));
        assert_eq!(look(&[part], &one), Verdict::Advice);
        let late = [rule("raw", "drop"), whole];
        assert_eq!(look(&late, &one), Verdict::Advice);
    }

    const SAVED: &str = "\
# Generated by iptables-save v1.8.11 on Sun Nov 29 02:00:00 2026
*mangle
:PREROUTING DROP [0:0]
:INPUT ACCEPT [0:0]
COMMIT
*raw
:PREROUTING ACCEPT [12:3456]
:OUTPUT DROP [0:0]
:mine - [0:0]
RULES
COMMIT
# Completed on Sun Nov 29 02:00:00 2026
";

    #[test]
    fn legacy_rules_that_drop_before_the_relay_are_told() {
        let look = |taker, rules: &str| {
            let saved = SAVED.replace("RULES", rules);
            legacy(&saved, taker, &[20000..=30007, 40000..=40999])
        };
        let module = |rules: &str| verdicts(&look(Taker::Module, rules));
        let (good, told) = ([Verdict::Good], [Verdict::Advice]);
        for (rules, verdict) in [
            ("", good),
            ("-A PREROUTING -p udp -m udp --dport 20000 -j DROP", told),
            ("-A PREROUTING -j DROP", told),
            ("-A PREROUTING ! -p tcp -j DROP", told),
            ("-A PREROUTING -p tcp -j DROP", good),
            ("-A OUTPUT -j DROP", good),
            ("-A mine -j DROP", good),
            ("-A PREROUTING -j mine\n-A mine -j DROP", told),
            ("-A PREROUTING -g mine\n-A mine -j DROP", told),
            ("-A PREROUTING -p tcp -j mine\n-A mine -j DROP", good),
            (
                "-A PREROUTING -m comment --comment \"say \\\"-j DROP\\\" -j DROP\" -j ACCEPT",
                good,
            ),
            ("-A PREROUTING -j LOG --log-prefix \"-j DROP\"", good),
        ] {
            assert_eq!(module(rules), verdict, "{rules}");
        }
        let cure = look(Taker::Module, "-A PREROUTING -j DROP")[0].cure.clone();
        assert_eq!(
            cure.as_deref(),
            Some(
                "iptables-legacy -t raw -I PREROUTING -p udp --dport 20000:30007 -j ACCEPT && \
                 iptables-legacy -t raw -I PREROUTING -p udp --dport 40000:40999 -j ACCEPT"
            )
        );
        // Once it was applied, which puts the second range first.
        let accept = |ports| format!("-A PREROUTING -p udp -m udp --dport {ports} -j ACCEPT\n");
        let (one, other) = (accept("20000:30007"), accept("40000:40999"));
        let drop = "-A PREROUTING -j DROP\n";
        assert_eq!(module(&[&other, &one, drop].concat()), good);
        assert_eq!(module(&[&one, drop].concat()), told);
        assert_eq!(module(&[&one, drop, &other].concat()), told);
        // A socket is behind more of them.
        let found = look(Taker::Socket, "-A PREROUTING -j DROP");
        assert_eq!(verdicts(&found), [Verdict::Advice, Verdict::Advice]);
        assert!(
            found[0]
                .found
                .contains("PREROUTING of the legacy table mangle")
        );
        let input = "*filter\n:INPUT DROP [0:0]\n:FORWARD DROP [0:0]\nCOMMIT\n";
        assert_eq!(verdicts(&legacy(input, Taker::Socket, &[1..=2])), told);
        assert_eq!(verdicts(&legacy(input, Taker::Module, &[1..=2])), good);
    }
}
