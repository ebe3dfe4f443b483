// SPDX-License-Identifier: MIT OR Apache-2.0

//! Following what a guest does from an order to its end.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Result, bail};

use super::console::is_problem;
use super::vm::{Event, Vm};
use crate::protocol::{Order, Report, end_mark};

/// Lines of the console that are told when the guest stops by itself.
const LAST_WORDS: usize = 20;

/// Gives an order and hands on what the guest reports, until it has done what the order says and
/// its console has told everything up to that moment (the end mark of `name`).
///
/// Fails when the guest does, when it says nothing for as long as `patience`, and when its kernel
/// is in trouble.
pub fn follow(
    vm: &mut Vm,
    order: &Order,
    name: &str,
    patience: Duration,
    mut on_report: impl FnMut(&mut Vm, Report) -> Result<()>,
) -> Result<()> {
    let mark = end_mark(name);
    let mut verdict = None;
    let mut marked = false;
    let mut last = VecDeque::new();
    vm.order(order)?;
    while !marked || verdict.is_none() {
        match vm.next(patience) {
            Event::Console(line) if is_problem(&line) => bail!("the kernel is in trouble: {line}"),
            Event::Console(line) => {
                marked |= line.contains(&mark);
                last.push_back(line);
                if last.len() > LAST_WORDS {
                    last.pop_front();
                }
            }
            Event::Report(Report::Done { failure, .. }) => verdict = Some(failure),
            Event::Report(report) => on_report(vm, report)?,
            Event::Ended => {
                let console = last.make_contiguous().join("\n");
                bail!("the guest stopped; the end of its console:\n{console}")
            }
            Event::Silence => bail!(
                "the guest hangs: nothing happened for {} s",
                patience.as_secs()
            ),
        }
    }
    match verdict.flatten() {
        Some(failure) => bail!("{failure}"),
        None => Ok(()),
    }
}
