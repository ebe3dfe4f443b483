// SPDX-License-Identifier: MIT OR Apache-2.0

//! Network devices: whether all CPUs relay, and packets stay as they came.

use super::Finding;

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

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

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
}
