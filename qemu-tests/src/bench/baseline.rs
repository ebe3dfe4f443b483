// SPDX-License-Identifier: MIT OR Apache-2.0

//! The figures of the repository, which new ones are held against.

use anyhow::{Context, Result};
use serde::Deserialize;

use super::table::Figure;
use super::{Point, describe};

/// The file, as the benchmark wrote it.
const RECORDED: &str = include_str!("../../bench-baseline.json");

/// What ours may cost more than recorded.
pub const TOLERANCE: f64 = 0.03;

/// The recorded figures.
#[derive(Deserialize)]
pub struct Baseline {
    /// Release of the kernel they were counted with.
    pub kernel: String,
    figures: Vec<Figure>,
}

impl Baseline {
    /// Reads them.
    pub fn recorded() -> Result<Self> {
        serde_json::from_str(RECORDED).context("cannot read qemu-tests/bench-baseline.json")
    }

    fn find(&self, point: Point) -> Option<f64> {
        let figure = self.figures.iter().find(|one| one.point == point)?;
        Some(figure.instructions)
    }

    /// What a new figure is to the recorded one, for people, and whether that is too much.
    pub fn compare(&self, figure: &Figure) -> Result<(String, bool)> {
        let what = describe(figure.point);
        let recorded = self
            .find(figure.point)
            .with_context(|| format!("{what}: no figure is recorded"))?;
        let growth = figure.instructions / recorded - 1.0;
        let text = format!(
            "{what}: {:.1} instructions, recorded {recorded:.1}: {:+.1} %",
            figure.instructions,
            growth * 100.0
        );
        let most = recorded * (1.0 + TOLERANCE);
        Ok((text, figure.instructions > most))
    }
}

#[cfg(test)]
mod tests {
    use super::super::flows::Checksum;
    use super::super::paths::Path;
    use super::*;

    fn figure(instructions: f64) -> Figure {
        Figure {
            point: Point {
                path: Path::Lreproxy,
                checksum: Checksum::Full,
                sessions: 1,
            },
            instructions,
            of_forwarding: None,
            spread: 0.0,
            packets: 1,
        }
    }

    #[test]
    fn a_figure_is_too_much_from_three_percent_on() {
        let baseline = Baseline {
            kernel: "7.3".to_owned(),
            figures: vec![figure(1000.0)],
        };
        let (text, is_too_much) = baseline.compare(&figure(1030.0)).unwrap();
        assert!(!is_too_much, "{text}");
        let (text, is_too_much) = baseline.compare(&figure(1031.0)).unwrap();
        assert!(is_too_much && text.contains("+3.1 %"), "{text}");
        assert!(!baseline.compare(&figure(900.0)).unwrap().1);
    }

    #[test]
    fn what_is_not_recorded_is_an_error() {
        let baseline = Baseline {
            kernel: "7.3".to_owned(),
            figures: vec![],
        };
        assert!(baseline.compare(&figure(1000.0)).is_err());
    }

    #[test]
    fn all_that_is_checked_is_recorded() {
        let baseline = Baseline::recorded().unwrap();
        for point in super::super::host::checked() {
            assert!(baseline.find(point).is_some(), "{}", describe(point));
        }
    }
}
