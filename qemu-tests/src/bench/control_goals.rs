// SPDX-License-Identifier: MIT OR Apache-2.0

//! What calls may cost the daemon at most.

use super::control::{
    Controller, FLOOD, FLOOD_LOG, FLOODED_CALL, MEMORY, OF_A_CALL, OF_AN_END, PROBE, SET_UP, WHOLE,
    p99,
};
use super::setup::{Figure, Part};

/// What a figure has to keep.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
}

/// One goal, and how far it is reached.
#[derive(Clone, Debug, PartialEq)]
pub struct Goal {
    /// What is compared, and its unit.
    pub what: &'static str,
    /// What it has to keep.
    pub bound: Bound,
    /// What it is; none when it was not measured.
    pub is: Option<f64>,
}

impl Goal {
    /// Whether it is reached. What was not measured is not.
    pub fn is_reached(&self) -> bool {
        self.is.is_some_and(|is| match self.bound {
            Bound::AtMost(most) => is <= most,
            Bound::AtLeast(least) => is >= least,
        })
    }
}

impl std::fmt::Display for Goal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (word, bound) = match self.bound {
            Bound::AtMost(bound) => ("at most", bound),
            Bound::AtLeast(bound) => ("at least", bound),
        };
        match self.is {
            Some(is) => write!(f, "{}: {is:.3}, {word} {bound}", self.what),
            None => write!(f, "{}: not measured, {word} {bound}", self.what),
        }
    }
}

/// All goals. Those that compare with rtpengine are none where it was not measured.
pub fn goals(measured: &[(Part, Vec<Figure>)]) -> Vec<Goal> {
    let find = |wanted: &dyn Fn(&Part) -> bool, what: &str| {
        let mut parts = measured.iter().filter(|(part, _)| wanted(part));
        let figure = parts.find_map(|(_, figures)| figures.iter().find(|one| one.what == what));
        figure.map(|figure| figure.value)
    };
    let of = |controller: Controller, what: &str| {
        find(
            &|part| matches!(part, Part::Controlling(one, _) if *one == controller),
            what,
        )
    };
    let ours = |what: &str| of(Controller::LrepCl, what);
    let theirs = |what: &str| of(Controller::Rtpengine, what);
    let flooded = |what: &str| find(&|part| *part == Part::Flooding, what);
    let mut goals = vec![
        Goal {
            what: "a probe while calls are set up, 99th percentile, in us",
            bound: Bound::AtMost(5_000.0),
            is: ours(&p99(PROBE)),
        },
        Goal {
            what: "memory for a call, in bytes",
            bound: Bound::AtMost(2_048.0),
            is: ours(MEMORY),
        },
        // Every call of the flood was answered, or there were no figures.
        Goal {
            what: "flood, in bad requests a second",
            bound: Bound::AtLeast(10_000.0),
            is: flooded(FLOOD),
        },
        Goal {
            what: "a call in the flood, 99th percentile, in us",
            bound: Bound::AtMost(5_000.0),
            is: flooded(&p99(FLOODED_CALL)),
        },
        Goal {
            what: "log of the flood, in lines a second",
            bound: Bound::AtMost(10.0),
            is: flooded(FLOOD_LOG),
        },
    ];
    if let Some(theirs_whole) = theirs(WHOLE) {
        let processor = |of: &dyn Fn(&str) -> Option<f64>| Some(of(OF_A_CALL)? + of(OF_AN_END)?);
        goals.extend([
            Goal {
                what: "calls set up / whole calls of rtpengine, one after the other",
                bound: Bound::AtLeast(7.0),
                is: ours(SET_UP).map(|ours| ours / theirs_whole),
            },
            Goal {
                what: "processor for a whole call / rtpengine's",
                bound: Bound::AtMost(0.17),
                is: processor(&ours)
                    .zip(processor(&theirs))
                    .map(|(ours, theirs)| ours / theirs),
            },
        ]);
    }
    goals
}

/// The goals that are not reached, in words; none when all are.
pub fn missed(goals: &[Goal]) -> Option<String> {
    let missed = goals.iter().filter(|goal| !goal.is_reached());
    let missed: Vec<_> = missed.map(Goal::to_string).collect();
    (!missed.is_empty()).then(|| format!("goals not reached: {}", missed.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: Part = Part::Controlling(Controller::LrepCl, 1);
    const THEIRS: Part = Part::Controlling(Controller::Rtpengine, 1);

    fn part(part: Part, figures: &[(&str, f64)]) -> (Part, Vec<Figure>) {
        let figures = figures.iter();
        let figures = figures.map(|(what, value)| Figure::new(*what, *value, ""));
        (part, figures.collect())
    }

    fn measured(log: f64, processor: f64) -> Vec<(Part, Vec<Figure>)> {
        vec![
            part(
                OURS,
                &[
                    (&p99(PROBE), 5_000.0),
                    (MEMORY, 1_049.0),
                    (SET_UP, 7_000.0),
                    (OF_A_CALL, processor),
                    (OF_AN_END, 7.0),
                ],
            ),
            part(
                Part::Flooding,
                &[
                    (FLOOD, 10_000.0),
                    (&p99(FLOODED_CALL), 351.0),
                    (FLOOD_LOG, log),
                ],
            ),
            part(
                THEIRS,
                &[
                    (&p99(PROBE), 9_000.0),
                    (WHOLE, 1_000.0),
                    (OF_A_CALL, 60.0),
                    (OF_AN_END, 40.0),
                ],
            ),
        ]
    }

    #[test]
    fn what_is_just_within_its_bound_is_reached() {
        let goals = goals(&measured(10.0, 10.0));
        assert_eq!((goals.len(), missed(&goals)), (7, None));
    }

    #[test]
    fn each_goal_that_is_not_reached_is_named_with_its_bound() {
        let text = missed(&goals(&measured(10.5, 10.1))).expect("two");
        assert_eq!(
            text,
            "goals not reached: log of the flood, in lines a second: 10.500, at most 10; \
             processor for a whole call / rtpengine's: 0.171, at most 0.17"
        );
    }

    #[test]
    fn without_rtpengine_nothing_is_compared_and_without_a_flood_its_goals_are_missed() {
        let mut measured = measured(1.0, 1.0);
        measured.pop();
        assert_eq!(missed(&goals(&measured)), None);
        measured.pop();
        let text = missed(&goals(&measured)).expect("three");
        assert_eq!(text.matches("not measured").count(), 3, "{text}");
    }
}
