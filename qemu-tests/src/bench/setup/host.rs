// SPDX-License-Identifier: MIT OR Apache-2.0

//! The host's part: boots both guests, prints the figures and writes them down.

use std::fs;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::{Figure, Part};
use crate::bench::NAME;
use crate::bench::control::Controller;
use crate::bench::control_goals;
use crate::host::Kernel;
use crate::host::console::is_problem;
use crate::host::follow::follow;
use crate::host::image::Image;
use crate::host::vm::{Clock, Vm};
use crate::protocol::{Order, Report};

/// A guest that says nothing for this long hangs: on a busy host, setting 100,000 sessions up takes
/// minutes.
const PATIENCE: Duration = Duration::from_secs(1_800);

/// Sessions that are set up to see what that costs.
const PROGRAMMED: usize = 10_000;

/// Sessions in a large table, and in a small one.
const MANY: usize = 100_000;
const FEW: usize = 1_000;

/// Calls that are set up.
const CALLS: usize = 10_000;

/// What is written to build/setup.json and build/control.json.
#[derive(Serialize)]
struct Measured {
    clock: &'static str,
    part: Part,
    figures: Vec<Figure>,
}

/// Which guests measure what.
type Plan<'a> = &'a [(Clock, &'static str, &'a [Part])];

const INSTRUCTIONS: &str = "one processor, 1 ns is one instruction";

/// Measures what sessions cost.
pub fn run() -> Result<ExitCode> {
    let image = Image::prepare(Kernel::Stock)?;
    let plan: Plan = &[
        (
            Clock::Host,
            "two processors, the host's clock",
            &[Part::Programming(PROGRAMMED), Part::Keeping(MANY)],
        ),
        (
            Clock::Instructions,
            INSTRUCTIONS,
            &[
                Part::Programming(PROGRAMMED),
                Part::Watching(FEW),
                Part::Watching(MANY),
            ],
        ),
    ];
    carry_out(&image, plan, "setup.json")?;
    Ok(ExitCode::SUCCESS)
}

/// Measures what calls cost controllers, and fails when a goal is not reached.
pub fn run_control() -> Result<ExitCode> {
    let image = Image::prepare(Kernel::Stock)?;
    let mut parts = vec![Part::Controlling(Controller::LrepCl, CALLS), Part::Flooding];
    if image.rtpengine.is_some() {
        parts.push(Part::Controlling(Controller::Rtpengine, CALLS));
    } else {
        println!("note: rtpengine is not measured, as it was not set up ('scripts/setup bench')");
    }
    let plan: Plan = &[(Clock::Instructions, INSTRUCTIONS, &parts)];
    let measured = carry_out(&image, plan, "control.json")?;
    let measured: Vec<_> = measured
        .into_iter()
        .map(|Measured { part, figures, .. }| (part, figures))
        .collect();
    let goals = control_goals::goals(&measured);
    println!("\ngoals");
    for goal in &goals {
        println!("    {goal}");
    }
    match control_goals::missed(&goals) {
        None => Ok(ExitCode::SUCCESS),
        Some(missed) => {
            eprintln!("error: {missed}");
            Ok(ExitCode::FAILURE)
        }
    }
}

fn carry_out(image: &Image, plan: Plan, file: &str) -> Result<Vec<Measured>> {
    let mut all = Vec::new();
    for &(clock, name, parts) in plan {
        let mut vm = Vm::boot(image, clock)?;
        println!("\nkernel {}, {name}", vm.kernel);
        for &part in parts {
            let figures = measure(&mut vm, part)?;
            println!("\n{part:?}");
            for Figure { what, value, unit } in &figures {
                println!("    {what:<60} {value:>12.1} {unit}");
            }
            all.push(Measured {
                clock: name,
                part,
                figures,
            });
        }
        if let Some(line) = vm.stop().iter().find(|line| is_problem(line)) {
            bail!("the kernel is in trouble at its end: {line}");
        }
    }
    let file = image.share.join(file);
    let json = serde_json::to_string_pretty(&all).context("cannot encode the figures")? + "\n";
    fs::write(&file, json).with_context(|| format!("cannot write {}", file.display()))?;
    println!("\nwritten to {}", file.display());
    Ok(all)
}

fn measure(vm: &mut Vm, part: Part) -> Result<Vec<Figure>> {
    let mut measured = None;
    follow(vm, &Order::SetUp(part), NAME, PATIENCE, |_, report| {
        if let Report::Measured(figures) = report {
            measured = Some(figures);
        }
        Ok(())
    })?;
    measured.context("the guest has sent no figures")
}
