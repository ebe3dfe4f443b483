// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the module has to keep below.

use serde::Serialize;

use super::Point;
use super::flows::Checksum;
use super::paths::Path;
use super::table::Figure;

/// One goal, and how far it is reached.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Goal {
    /// What is compared.
    pub what: &'static str,
    /// What it may be at most.
    pub at_most: f64,
    /// What it is at the worst of all points.
    pub worst: Worst,
}

/// A figure for each kind of checksum; none when nothing was counted that says it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Worst {
    /// With full checksums.
    pub full: Option<f64>,
    /// With partial ones.
    pub partial: Option<f64>,
}

impl Goal {
    /// Whether it is reached; none when nothing says so.
    pub fn is_reached(&self) -> Option<bool> {
        let Worst { full, partial } = self.worst;
        let known: Vec<_> = [full, partial].into_iter().flatten().collect();
        (!known.is_empty()).then(|| known.iter().all(|worst| *worst <= self.at_most))
    }
}

/// All goals.
pub fn goals(figures: &[Figure]) -> Vec<Goal> {
    use Path::*;
    // Ours as a multiple of theirs with the same sessions and checksums.
    let ratio = |what, ours, theirs, at_most| Goal {
        what,
        at_most,
        worst: worst(figures, ours, |ours| {
            Some(ours.instructions / find(figures, at(ours, theirs))?.instructions)
        }),
    };
    // What the module's presence adds to packets that are not its own.
    let presence = |what, beside, alone| Goal {
        what,
        at_most: 15.0,
        worst: worst(figures, beside, |beside| {
            Some(beside.instructions - find(figures, at(beside, alone))?.instructions)
        }),
    };
    vec![
        ratio("lreproxy / ip_forward", Lreproxy, IpForward, 0.68),
        ratio(
            "lreproxy, quality off / ip_forward",
            LreproxyCounters,
            IpForward,
            0.62,
        ),
        ratio(
            "lreproxy / nft NAT, flowtable",
            Lreproxy,
            NftFlowtable,
            0.73,
        ),
        ratio(
            "lreproxy / ip_forward, conntrack",
            Lreproxy,
            Conntrack,
            0.45,
        ),
        ratio("lreproxy / nft DNAT and SNAT", Lreproxy, NftNat, 0.35),
        ratio("lreproxy / recvmmsg, sendmmsg", Lreproxy, Userspace, 0.20),
        ratio(
            "lreproxy / rtpengine, kernel",
            Lreproxy,
            RtpengineKernel,
            0.27,
        ),
        ratio(
            "lreproxy / rtpengine, userspace",
            Lreproxy,
            RtpengineUserspace,
            0.11,
        ),
        Goal {
            what: "lreproxy with many sessions / with one",
            at_most: 1.02,
            worst: worst(figures, Lreproxy, |many| {
                let one = Point {
                    sessions: 1,
                    ..many.point
                };
                Some(many.instructions / find(figures, one)?.instructions)
            }),
        },
        ratio(
            "lreproxy, IPv6 / ip6_forward",
            LreproxyIpv6,
            Ip6Forward,
            0.68,
        ),
        ratio(
            "lreproxy, IPv4 to IPv6 / ip_forward",
            LreproxyIpv4ToIpv6,
            IpForward,
            0.85,
        ),
        presence(
            "ip_forward beside lreproxy - ip_forward",
            IpForwardBeside,
            IpForward,
        ),
        presence(
            "raw chain beside lreproxy - ip_forward, raw chain",
            RawChainBeside,
            RawChain,
        ),
    ]
}

/// The point where another path is counted like this figure's.
fn at(figure: &Figure, path: Path) -> Point {
    Point {
        path,
        ..figure.point
    }
}

fn find(figures: &[Figure], point: Point) -> Option<&Figure> {
    figures.iter().find(|one| one.point == point)
}

/// The largest of what the figures of a path say.
fn worst(figures: &[Figure], path: Path, says: impl Fn(&Figure) -> Option<f64>) -> Worst {
    let worst = |checksum| {
        figures
            .iter()
            .filter(|one| one.point.path == path && one.point.checksum == checksum)
            .filter_map(&says)
            .max_by(f64::total_cmp)
    };
    Worst {
        full: worst(Checksum::Full),
        partial: worst(Checksum::Partial),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(path: Path, sessions: usize, instructions: f64) -> Figure {
        Figure {
            point: Point {
                path,
                checksum: Checksum::Full,
                sessions,
            },
            instructions,
            of_forwarding: None,
            spread: 0.0,
            packets: 1,
        }
    }

    #[test]
    fn the_worst_point_decides() {
        let goals = goals(&[
            figure(Path::IpForward, 1, 1000.0),
            figure(Path::IpForward, 9, 1000.0),
            figure(Path::Lreproxy, 1, 680.0),
            figure(Path::Lreproxy, 9, 690.0),
            figure(Path::IpForwardBeside, 9, 1010.0),
        ]);
        let found: Vec<_> = goals
            .iter()
            .filter_map(|goal| Some((goal.what, goal.worst.full?, goal.is_reached()?)))
            .collect();
        assert_eq!(
            found,
            [
                ("lreproxy / ip_forward", 0.69, false),
                (
                    "lreproxy with many sessions / with one",
                    690.0 / 680.0,
                    true
                ),
                ("ip_forward beside lreproxy - ip_forward", 10.0, true),
            ]
        );
    }
}
