// SPDX-License-Identifier: MIT OR Apache-2.0

//! The host's part: boots a guest, has it count, and tells what it counted.

use std::fs::{self, File};
use std::io::{BufReader, Write, stdout};
use std::path::{Path as FilePath, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;

use super::baseline::{self, Baseline};
use super::chart;
use super::flows::Checksum;
use super::goals::{self, Goal};
use super::paths::Path;
use super::profile::{self, Counts, Profile, Symbols};
use super::table::{self, Figure, cost};
use super::{NAME, Point, SYMBOLS, Samples, Window, describe};
use crate::host::Kernel;
use crate::host::console::is_problem;
use crate::host::follow::follow;
use crate::host::image::Image;
use crate::host::vm::{Clock, Vm};
use crate::protocol::{Order, Report};

/// A guest that says nothing for this long hangs. The longest point takes a tenth of it.
const PATIENCE: Duration = Duration::from_secs(600);

/// Most sessions that partial checksums are counted with. Whatever depends on the number of sessions
/// has nothing to do with checksums.
const PARTIAL_MOST: usize = 1_000;

/// What is written to build/bench.json.
#[derive(Serialize)]
struct Results<'a> {
    kernel: &'a str,
    unit: &'static str,
    figures: &'a [Figure],
    goals: &'a [Goal],
    profiles: &'a [Profile],
}

/// Counts at all points with these numbers of sessions and such names of paths, prints the figures
/// and writes them down.
pub fn run(sessions: &[usize], name: &str) -> Result<ExitCode> {
    let image = Image::prepare(Kernel::Stock)?;
    let mut bench = Bench::boot(&image)?;
    let mut samples = Vec::new();
    let mut profiles = Vec::new();
    if image.rtpengine.is_none() {
        println!("note: rtpengine is not counted, as it was not set up ('scripts/setup bench')");
    }
    let is_there = |path: &Path| image.rtpengine.is_some() || !path.is_rtpengine();
    let counted = |path: &Path| is_there(path) && path.name().contains(name);
    for path in Path::ALL.into_iter().filter(counted) {
        for point in points(path, sessions) {
            samples.push(bench.count(point)?);
        }
        if Path::PROFILED.contains(&path) {
            profiles.push(bench.count_profile(path, &samples)?);
        }
    }
    let kernel = bench.stop()?;
    let figures = table::figures(&samples);
    let goals = goals::goals(&figures);
    println!("\n{}", table::render(&figures));
    println!("instr: guest instructions per packet; ratio: as a multiple of plain forwarding\n");
    println!("{}", table::render_goals(&goals));
    println!("{}", table::render_profiles(&profiles));
    let results = Results {
        kernel: &kernel,
        unit: "guest instructions per packet",
        figures: &figures,
        goals: &goals,
        profiles: &profiles,
    };
    let json = serde_json::to_string_pretty(&results).context("cannot encode the figures")? + "\n";
    write(&image.share.join("bench.json"), &json)?;
    write(
        &image.share.join("performance.svg"),
        &chart::svg(&figures, &kernel),
    )?;
    let missed = goals.iter().filter(|goal| goal.is_reached() == Some(false));
    let missed: Vec<_> = missed.map(|goal| goal.what).collect();
    if missed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "error: not reached: {}: docs/performance.md says what is known about it",
        missed.join("; ")
    );
    Ok(ExitCode::FAILURE)
}

/// Counts what the module does at a few points, and fails when it has become more than recorded.
pub fn check() -> Result<ExitCode> {
    let baseline = Baseline::recorded()?;
    let image = Image::prepare(Kernel::Stock)?;
    let mut bench = Bench::boot(&image)?;
    let samples = checked()
        .map(|point| bench.count(point))
        .collect::<Result<Vec<_>>>()?;
    let kernel = bench.stop()?;
    let mut regressions = 0;
    println!();
    for figure in table::figures(&samples) {
        let (text, is_too_much) = baseline.compare(&figure)?;
        let verdict = if is_too_much { "TOO MUCH" } else { "good" };
        println!("{text}, {verdict}");
        regressions += usize::from(is_too_much);
    }
    if kernel != baseline.kernel {
        println!(
            "note: the figures were recorded with kernel {}, this is {kernel}",
            baseline.kernel
        );
    }
    if regressions == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "error: {regressions} figures are more than {:.0} % above the recorded ones: look into the \
         profile that 'make bench' prints, and record its figures if the cost is meant \
         (docs/performance.md)",
        baseline::TOLERANCE * 100.0
    );
    Ok(ExitCode::FAILURE)
}

/// The points of a [`check`].
pub fn checked() -> impl Iterator<Item = Point> {
    Path::ALL
        .into_iter()
        .filter(|path| path.is_ours())
        .flat_map(|path| points(path, &[1_000]))
}

fn write(file: &FilePath, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
    println!("written to {}", file.display());
    Ok(())
}

/// All points of a path.
fn points(path: Path, sessions: &[usize]) -> impl Iterator<Item = Point> {
    Checksum::ALL.into_iter().flat_map(move |checksum| {
        let most = match checksum {
            Checksum::Full => usize::MAX,
            Checksum::Partial => PARTIAL_MOST,
        };
        let sessions = sessions
            .iter()
            .filter(move |&&sessions| sessions <= most && path.takes(sessions));
        sessions.map(move |&sessions| Point {
            path,
            checksum,
            sessions,
        })
    })
}

/// A guest that counts.
struct Bench {
    began: Instant,
    vm: Vm,
    /// Where logs of instructions are written.
    directory: PathBuf,
    /// Where the guest leaves its kernel's symbols.
    symbols: PathBuf,
}

impl Bench {
    fn boot(image: &Image) -> Result<Self> {
        let began = Instant::now();
        let directory = image.work().join(NAME);
        fs::create_dir_all(&directory)
            .with_context(|| format!("cannot create {}", directory.display()))?;
        let vm = Vm::boot(image, Clock::Instructions)?;
        if let Some(line) = vm.boot_console.iter().find(|line| is_problem(line)) {
            bail!("the kernel is in trouble before the first packet: {line}");
        }
        println!(
            "kernel {}, booted in {:.0} s",
            vm.kernel,
            vm.boot.as_secs_f64()
        );
        Ok(Self {
            began,
            vm,
            directory,
            symbols: image.share.join(SYMBOLS),
        })
    }

    /// Says what is being done; what comes of it follows on the same line.
    fn announce(&self, what: &str) {
        print!("{:>5.0} s  {what}: ", self.began.elapsed().as_secs_f64());
        // Only a closed terminal makes this fail, and then nobody is looking.
        let _ = stdout().flush();
    }

    /// Has the guest count at one point, and says what it counts.
    fn count(&mut self, point: Point) -> Result<Samples> {
        self.announce(&describe(point));
        let mut samples = None;
        self.follow(&Order::Count(point), |_, report| {
            if let Report::Counted(counted) = report {
                samples = Some(counted);
            }
            Ok(())
        })?;
        let samples = samples.context("the guest has sent no counts")?;
        println!("{:.1}", cost(&samples));
        Ok(samples)
    }

    /// Tells where the instructions of a path go.
    fn count_profile(&mut self, path: Path, samples: &[Samples]) -> Result<Profile> {
        let point = Point {
            path,
            checksum: Checksum::Full,
            sessions: profile::SESSIONS,
        };
        let counted = match samples.iter().find(|one| one.point == point) {
            Some(one) => cost(one),
            None => cost(&self.count(point)?),
        };
        self.announce(&format!("profile of {}", describe(point)));
        let profile = self.profile(point)?;
        println!("{:.1} of {counted:.1}", profile.instructions());
        ensure!(
            profile.adds_up_to(counted),
            "the profile has not the instructions that were counted: all its batches were \
             interrupted; start again"
        );
        Ok(profile)
    }

    /// Logs what the guest's kernel does with packets at one point.
    fn profile(&mut self, point: Point) -> Result<Profile> {
        let logs = Window::ALL.map(|window| (window, self.directory.join(window.name())));
        let outcome = self.profile_into(point, &logs);
        for (_, file) in &logs {
            // Hundreds of megabytes each; it is missing when the guest failed before it.
            let _ = fs::remove_file(file);
        }
        outcome
    }

    fn profile_into(&mut self, point: Point, logs: &[(Window, PathBuf)]) -> Result<Profile> {
        self.follow(&Order::Profile(point), |vm, report| {
            let Report::Pause(window) = report else {
                return Ok(());
            };
            match logs.iter().find(|(found, _)| Some(*found) == window) {
                Some((_, file)) => vm.monitor.log_instructions(file)?,
                None => vm.monitor.stop_log()?,
            }
            vm.order(&Order::Continue)
        })?;
        let symbols = fs::read_to_string(&self.symbols)
            .with_context(|| format!("cannot read {}", self.symbols.display()))?;
        let symbols = Symbols::parse(&symbols);
        let [relayed, sunk] = logs else {
            bail!("two windows are not two");
        };
        let relayed = calmest_batch(&relayed.1, &symbols)?;
        let sunk = calmest_batch(&sunk.1, &symbols)?;
        let file = self.directory.join(format!("{}.txt", point.path.name()));
        let listing = profile::by_address(&relayed, &sunk, &symbols);
        fs::write(&file, listing).with_context(|| format!("cannot write {}", file.display()))?;
        let functions = profile::by_function(&relayed, &sunk, &symbols);
        Ok(Profile { point, functions })
    }

    /// Gives an order and follows it to its end. Fails when the guest does, and when its kernel is
    /// in trouble.
    fn follow(
        &mut self,
        order: &Order,
        on_report: impl FnMut(&mut Vm, Report) -> Result<()>,
    ) -> Result<()> {
        follow(&mut self.vm, order, NAME, PATIENCE, on_report)
    }

    /// Stops the guest and returns the release of its kernel.
    fn stop(self) -> Result<String> {
        let kernel = self.vm.kernel.clone();
        match self.vm.stop().iter().find(|line| is_problem(line)) {
            Some(line) => bail!("the kernel is in trouble after the last packet: {line}"),
            None => Ok(kernel),
        }
    }
}

fn calmest_batch(log: &FilePath, symbols: &Symbols) -> Result<Counts> {
    let file = File::open(log).with_context(|| format!("cannot open {}", log.display()))?;
    Ok(profile::calmest(profile::batches(
        BufReader::new(file),
        symbols,
    )?))
}
