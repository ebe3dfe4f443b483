// SPDX-License-Identifier: MIT OR Apache-2.0

//! The host's part: boots a guest, has it count, and tells what it counted.

use std::fs;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::flows::Checksum;
use super::paths::Path;
use super::table::{self, Figure, cost, thousands};
use super::{NAME, Point, Samples};
use crate::host::console::is_problem;
use crate::host::image::Image;
use crate::host::vm::{Clock, Event, Vm};
use crate::protocol::{Order, Report, end_mark};

/// A guest that says nothing for this long hangs. The longest point takes a tenth of it.
const PATIENCE: Duration = Duration::from_secs(600);

/// What is written to build/bench.json.
#[derive(Serialize)]
struct Results<'a> {
    kernel: &'a str,
    unit: &'static str,
    figures: &'a [Figure],
}

/// Counts at all points with these numbers of sessions, prints the figures and writes them down.
pub fn run(sessions: &[usize]) -> Result<ExitCode> {
    let began = Instant::now();
    let image = Image::prepare()?;
    let mut vm = Vm::boot(&image, Clock::Instructions)?;
    if let Some(line) = vm.boot_console.iter().find(|line| is_problem(line)) {
        bail!("the kernel is in trouble before the first packet: {line}");
    }
    println!(
        "kernel {}, booted in {:.0} s; one line for each count, the table follows",
        vm.kernel,
        vm.boot.as_secs_f64()
    );
    let mut samples = Vec::new();
    for point in points(sessions) {
        let one = measure(&mut vm, point)?;
        println!(
            "{:>5.0} s  {}: {:.1}",
            began.elapsed().as_secs_f64(),
            describe(point),
            cost(&one)
        );
        samples.push(one);
    }
    let kernel = vm.kernel.clone();
    if let Some(line) = vm.stop().iter().find(|line| is_problem(line)) {
        bail!("the kernel is in trouble after the last packet: {line}");
    }
    let figures = table::figures(&samples);
    println!("\n{}", table::render(&figures));
    println!("instr: guest instructions per packet; ratio: as a multiple of ip_forward");
    let file = image.share.join("bench.json");
    let results = Results {
        kernel: &kernel,
        unit: "guest instructions per packet",
        figures: &figures,
    };
    let json = serde_json::to_string_pretty(&results).context("cannot encode the figures")?;
    fs::write(&file, json + "\n").with_context(|| format!("cannot write {}", file.display()))?;
    println!("written to {}", file.display());
    Ok(ExitCode::SUCCESS)
}

/// All points, one path after the other.
fn points(sessions: &[usize]) -> impl Iterator<Item = Point> {
    Path::ALL.into_iter().flat_map(move |path| {
        Checksum::ALL.into_iter().flat_map(move |checksum| {
            sessions.iter().map(move |&sessions| Point {
                path,
                checksum,
                sessions,
            })
        })
    })
}

fn describe(point: Point) -> String {
    format!(
        "{}, {} checksums, sessions: {}",
        point.path.name(),
        point.checksum.name(),
        thousands(point.sessions)
    )
}

/// Has the guest count at one point. Fails when it cannot, and when its kernel is in trouble.
fn measure(vm: &mut Vm, point: Point) -> Result<Samples> {
    let mark = end_mark(NAME);
    let mut samples = None;
    let mut verdict = None;
    let mut marked = false;
    vm.order(&Order::Count(point))?;
    while !marked || verdict.is_none() {
        match vm.next(PATIENCE) {
            Event::Console(line) if is_problem(&line) => bail!("the kernel is in trouble: {line}"),
            Event::Console(line) => marked |= line.contains(&mark),
            Event::Report(Report::Counted(counted)) => samples = Some(counted),
            Event::Report(Report::Done { failure, .. }) => verdict = Some(failure),
            Event::Report(_) => {}
            Event::Ended => bail!("the guest stopped"),
            Event::Silence => bail!("the guest hangs"),
        }
    }
    match verdict.flatten() {
        Some(failure) => bail!("{}: {failure}", describe(point)),
        None => samples.with_context(|| format!("{}: no counts", describe(point))),
    }
}
