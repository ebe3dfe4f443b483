// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the module has to keep below.

use serde::Serialize;

use super::Point;
use super::paths::Path;
use super::table::Figure;

/// One goal, and how far it is reached.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Goal {
    /// What is compared.
    pub what: &'static str,
    /// What it may be at most.
    pub at_most: f64,
    /// What it is at the worst of all points; none when nothing was counted that says it.
    pub worst: Option<f64>,
}

impl Goal {
    /// Whether it is reached; none when nothing says so.
    pub fn is_reached(&self) -> Option<bool> {
        self.worst.map(|worst| worst <= self.at_most)
    }
}

/// All goals.
pub fn goals(figures: &[Figure]) -> Vec<Goal> {
    let against = |path, what, at_most| Goal {
        what,
        at_most,
        worst: worst(figures, Path::Lreproxy, |ours| {
            let theirs = find(figures, Point { path, ..ours.point })?;
            Some(ours.instructions / theirs.instructions)
        }),
    };
    vec![
        against(Path::IpForward, "lreproxy / ip_forward", 0.62),
        against(Path::NftFlowtable, "lreproxy / nft NAT, flowtable", 0.73),
        against(Path::NftNat, "lreproxy / nft DNAT and SNAT", 0.35),
        Goal {
            what: "lreproxy with many sessions / with one",
            at_most: 1.02,
            worst: worst(figures, Path::Lreproxy, |many| {
                let one = Point {
                    sessions: 1,
                    ..many.point
                };
                Some(many.instructions / find(figures, one)?.instructions)
            }),
        },
        Goal {
            what: "ip_forward beside lreproxy - ip_forward",
            at_most: 15.0,
            worst: worst(figures, Path::IpForwardBeside, |beside| {
                let alone = Point {
                    path: Path::IpForward,
                    ..beside.point
                };
                Some(beside.instructions - find(figures, alone)?.instructions)
            }),
        },
    ]
}

fn find(figures: &[Figure], point: Point) -> Option<&Figure> {
    figures.iter().find(|one| one.point == point)
}

/// The largest of what the figures of a path say.
fn worst(figures: &[Figure], path: Path, says: impl Fn(&Figure) -> Option<f64>) -> Option<f64> {
    figures
        .iter()
        .filter(|one| one.point.path == path)
        .filter_map(says)
        .max_by(f64::total_cmp)
}

#[cfg(test)]
mod tests {
    use super::super::flows::Checksum;
    use super::*;

    fn figure(path: Path, sessions: usize, instructions: f64) -> Figure {
        Figure {
            point: Point {
                path,
                checksum: Checksum::Full,
                sessions,
            },
            instructions,
            of_ip_forward: None,
            spread: 0.0,
            packets: 1,
        }
    }

    #[test]
    fn the_worst_point_decides() {
        let goals = goals(&[
            figure(Path::IpForward, 1, 1000.0),
            figure(Path::IpForward, 9, 1000.0),
            figure(Path::Lreproxy, 1, 600.0),
            figure(Path::Lreproxy, 9, 630.0),
            figure(Path::IpForwardBeside, 9, 1010.0),
        ]);
        let found: Vec<_> = goals
            .iter()
            .map(|goal| (goal.worst, goal.is_reached()))
            .collect();
        assert_eq!(
            found,
            [
                (Some(0.63), Some(false)),
                (None, None),
                (None, None),
                (Some(1.05), Some(false)),
                (Some(10.0), Some(true)),
            ]
        );
    }
}
