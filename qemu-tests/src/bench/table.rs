// SPDX-License-Identifier: MIT OR Apache-2.0

//! From counts to figures, and figures as a table.

use std::cmp::Ordering;
use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::flows::Checksum;
use super::goals::Goal;
use super::paths::Path;
use super::profile::Profile;
use super::{BATCH, Point, Samples};

/// What one packet costs at one point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// Where.
    #[serde(flatten)]
    pub point: Point,
    /// Guest instructions.
    pub instructions: f64,
    /// Instructions as a multiple of those of plain forwarding in the version of IP they arrive
    /// with, with the same sessions and checksums; none when that was not counted.
    pub of_forwarding: Option<f64>,
    /// How far apart the quartiles of the batches are, in instructions per packet.
    pub spread: f64,
    /// Packets that were counted.
    pub packets: usize,
}

/// What the counts say.
pub fn figures(samples: &[Samples]) -> Vec<Figure> {
    samples
        .iter()
        .map(|one| {
            let instructions = cost(one);
            let forwarding = samples.iter().find(|other| {
                other.point
                    == Point {
                        path: one.point.path.forwarding(),
                        ..one.point
                    }
            });
            Figure {
                point: one.point,
                instructions,
                of_forwarding: forwarding.map(|forwarding| instructions / cost(forwarding)),
                spread: per_packet(quantile(&one.relayed, 3, 4) - quantile(&one.relayed, 1, 4)),
                packets: one.relayed.len() * BATCH,
            }
        })
        .collect()
}

/// Instructions per packet: the middle batch that was relayed without the middle batch that was
/// not. Batches that were interrupted by the clock lie at the upper end and do not matter.
pub fn cost(samples: &Samples) -> f64 {
    per_packet(quantile(&samples.relayed, 1, 2) - quantile(&samples.sunk, 1, 2))
}

fn per_packet(batch: f64) -> f64 {
    batch / BATCH as f64
}

/// The value below which this part of the counts lies, zero when there are none.
fn quantile(counts: &[u64], numerator: usize, denominator: usize) -> f64 {
    let mut sorted = counts.to_vec();
    sorted.sort_unstable();
    let last = sorted.len().saturating_sub(1);
    sorted
        .get(last * numerator / denominator)
        .map_or(0.0, |count| *count as f64)
}

/// The figures for people: a line for each path and kind of checksum, a column for each number of
/// sessions.
pub fn render(figures: &[Figure]) -> String {
    let mut columns: Vec<_> = figures.iter().map(|one| one.point.sessions).collect();
    columns.sort_unstable();
    columns.dedup();
    let mut rows: Vec<(Path, Checksum)> = Vec::new();
    for one in figures {
        let row = (one.point.path, one.point.checksum);
        if !rows.contains(&row) {
            rows.push(row);
        }
    }
    let mut text = format!("{:<28}{:<10}", "", "sessions");
    for sessions in &columns {
        push(&mut text, format_args!("{:>18}", thousands(*sessions)));
    }
    push(
        &mut text,
        format_args!("\n{:<28}{:<10}", "path", "checksum"),
    );
    for _ in &columns {
        push(&mut text, format_args!("{:>10}{:>8}", "instr", "ratio"));
    }
    text.push('\n');
    for (path, checksum) in rows {
        push(
            &mut text,
            format_args!("{:<28}{:<10}", path.name(), checksum.name()),
        );
        for &sessions in &columns {
            let point = Point {
                path,
                checksum,
                sessions,
            };
            let found = figures.iter().find(|one| one.point == point);
            let instructions = found.map(|one| format!("{:.1}", one.instructions));
            let ratio = found
                .and_then(|one| one.of_forwarding)
                .map(|ratio| format!("{ratio:.3}"));
            push(
                &mut text,
                format_args!(
                    "{:>10}{:>8}",
                    instructions.unwrap_or_default(),
                    ratio.unwrap_or_default()
                ),
            );
        }
        text.push('\n');
    }
    text
}

/// The goals for people, a line for each, with the worst figures of each kind of checksum.
pub fn render_goals(goals: &[Goal]) -> String {
    let mut text = format!(
        "{:<50}{:>8}{:>9}{:>9}\n",
        "goal", "at most", "full", "partial"
    );
    let number = |worst: Option<f64>| worst.map(|worst| format!("{worst:.3}")).unwrap_or_default();
    for goal in goals {
        let verdict = match goal.is_reached() {
            Some(true) => "reached",
            Some(false) => "NOT REACHED",
            None => "not counted",
        };
        push(
            &mut text,
            format_args!(
                "{:<50}{:>8}{:>9}{:>9}  {verdict}\n",
                goal.what,
                goal.at_most,
                number(goal.worst.full),
                number(goal.worst.partial)
            ),
        );
    }
    text
}

/// The profiles for people: a line for each function, a column for each path.
pub fn render_profiles(profiles: &[Profile]) -> String {
    let mut functions: Vec<_> = profiles
        .iter()
        .flat_map(|profile| profile.functions.keys())
        .collect();
    functions.sort_unstable();
    functions.dedup();
    let count = |profile: &Profile, function: &str| {
        profile.functions.get(function).copied().unwrap_or_default()
    };
    // Those of the last path first, largest first.
    functions.sort_by(|one, other| {
        profiles
            .iter()
            .rev()
            .map(|profile| count(profile, other).total_cmp(&count(profile, one)))
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    });
    let mut text = String::new();
    for profile in profiles {
        push(&mut text, format_args!("{:>24}", profile.point.path.name()));
    }
    text.push_str("  function\n");
    for function in functions {
        for profile in profiles {
            match count(profile, function) {
                0.0 => push(&mut text, format_args!("{:>24}", "")),
                some => push(&mut text, format_args!("{some:>24.2}")),
            }
        }
        push(&mut text, format_args!("  {function}\n"));
    }
    for profile in profiles {
        push(&mut text, format_args!("{:>24.2}", profile.instructions()));
    }
    text.push_str("  sum\n");
    text
}

fn push(text: &mut String, more: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = text.write_fmt(more);
}

/// A number with commas between its thousands.
pub fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(path: Path, relayed: Vec<u64>, sunk: Vec<u64>) -> Samples {
        let point = Point {
            path,
            checksum: Checksum::Full,
            sessions: 1,
        };
        Samples {
            point,
            relayed,
            sunk,
        }
    }

    #[test]
    fn a_figure_is_what_the_relay_adds_to_the_sender() {
        let batch = BATCH as u64;
        let found = figures(&[
            samples(
                Path::IpForward,
                vec![5000 * batch; 3],
                vec![2000 * batch; 3],
            ),
            samples(Path::Lreproxy, vec![3500 * batch; 3], vec![2000 * batch; 3]),
        ]);
        assert_eq!(found[0].instructions, 3000.0);
        assert_eq!(found[0].of_forwarding, Some(1.0));
        assert_eq!(found[1].instructions, 1500.0);
        assert_eq!(found[1].of_forwarding, Some(0.5));
        assert_eq!(found[1].packets, 3 * BATCH);
    }

    #[test]
    fn interrupted_batches_do_not_change_a_figure() {
        let batch = BATCH as u64;
        let calm = samples(Path::Lreproxy, vec![300 * batch; 5], vec![100 * batch; 5]);
        let mut interrupted = calm.clone();
        interrupted.relayed[1] += 20_000;
        interrupted.sunk[4] += 20_000;
        assert_eq!(cost(&calm), cost(&interrupted));
    }

    #[test]
    fn no_counts_are_no_cost_and_no_panic() {
        assert_eq!(cost(&samples(Path::Lreproxy, vec![], vec![])), 0.0);
    }

    #[test]
    fn the_table_has_every_figure_once() {
        let figures = figures(&[
            samples(Path::IpForward, vec![64 * 2712], vec![0]),
            samples(Path::Lreproxy, vec![64 * 1356], vec![0]),
        ]);
        let text = render(&figures);
        assert!(text.contains("2712.0   1.000"), "{text}");
        assert!(text.contains("1356.0   0.500"), "{text}");
    }

    #[test]
    fn a_profile_says_what_each_function_costs_on_each_path() {
        let profile = |path, functions: &[(&str, f64)]| Profile {
            point: samples(path, vec![], vec![]).point,
            functions: functions
                .iter()
                .map(|(name, count)| ((*name).to_owned(), *count))
                .collect(),
        };
        let text = render_profiles(&[
            profile(Path::IpForward, &[("fib_lookup", 40.0), ("veth_xmit", 9.0)]),
            profile(Path::Lreproxy, &[("hook", 20.5), ("veth_xmit", 9.0)]),
        ]);
        let lines: Vec<Vec<_>> = text
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(
            lines,
            [
                vec!["ip_forward", "lreproxy", "function"],
                vec!["20.50", "hook"],
                vec!["9.00", "9.00", "veth_xmit"],
                vec!["40.00", "fib_lookup"],
                vec!["49.00", "29.50", "sum"],
            ]
        );
    }

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!(thousands(1), "1");
        assert_eq!(thousands(1_000), "1,000");
        assert_eq!(thousands(1_234_567), "1,234,567");
    }
}
