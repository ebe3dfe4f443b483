// SPDX-License-Identifier: MIT OR Apache-2.0

//! Runs the tests the runner asks for, one after another.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Lines, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};
use nix::mount::{MsFlags, mount};

use super::lab::Lab;
use crate::bench;
use crate::demo;
use crate::protocol::{Order, PORT, Report, begin_mark, end_mark, send};
use crate::tests;

/// Mounts what the tests read beside what the initramfs has mounted, and lets the console tell
/// everything.
pub fn prepare_system() -> Result<()> {
    let debugfs = "/sys/kernel/debug";
    mount(
        Some("debugfs"),
        debugfs,
        Some("debugfs"),
        MsFlags::empty(),
        None::<&str>,
    )
    .with_context(|| format!("cannot mount {debugfs}"))?;
    fs::write("/proc/sys/kernel/printk", "7 4 1 7").context("cannot set the console's level")?;
    Ok(())
}

/// Takes orders until the runner says stop.
pub fn main() -> Result<()> {
    let port = open_port()?;
    let reports = Arc::new(Mutex::new(
        port.try_clone().context("cannot share the serial port")?,
    ));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")
        .context("cannot tell the kernel's release")?;
    report(
        &reports,
        &Report::Ready {
            kernel: kernel.trim().to_owned(),
        },
    )?;
    let mut orders = Orders(BufReader::new(port).lines());
    while let Some(order) = orders.next()? {
        match order {
            Order::Test(name) => run(&name, &reports)?,
            Order::Count(point) => count(point, &reports)?,
            Order::SetUp(part) => set_up(part, &reports)?,
            Order::Profile(point) => profile(point, &reports, &mut orders)?,
            Order::Continue => {}
            Order::Demo => demonstrate(&reports)?,
            Order::Stop => return Ok(()),
        }
    }
    Ok(())
}

/// What the runner says.
struct Orders(Lines<BufReader<File>>);

impl Orders {
    /// The next order; none when there will be no more.
    fn next(&mut self) -> Result<Option<Order>> {
        let Some(line) = self.0.next() else {
            return Ok(None);
        };
        let line = line.context("cannot read from the serial port")?;
        serde_json::from_str(&line).with_context(|| format!("unknown order: {line}"))
    }
}

fn run(name: &str, reports: &Arc<Mutex<File>>) -> Result<()> {
    let test = tests::find(name).with_context(|| format!("there is no test called {name}"))?;
    let lab = lab(name, reports);
    run_marked(name, reports, || {
        let outcome = catch(|| (test.run)(&lab));
        if outcome.is_err() {
            lab.keep_evidence();
        }
        lab.clean_up();
        outcome
    })
}

/// A laboratory whose steps are reported.
fn lab(name: &str, reports: &Arc<Mutex<File>>) -> Lab {
    let steps = Arc::clone(reports);
    Lab::new(name, move |text| {
        // A lost step is no reason to fail a test; a lost connection ends the agent soon enough.
        let _ = report(&steps, &Report::Step(text.to_owned()));
    })
}

/// Counts instructions at one point of the benchmark.
fn count(point: bench::Point, reports: &Arc<Mutex<File>>) -> Result<()> {
    run_marked(bench::NAME, reports, || {
        let samples = catch(|| bench::guest::measure(point))?;
        report(reports, &Report::Counted(samples))
    })
}

/// Measures one part of what sessions cost.
fn set_up(part: bench::setup::Part, reports: &Arc<Mutex<File>>) -> Result<()> {
    run_marked(bench::NAME, reports, || {
        let figures = catch(|| bench::setup::guest::measure(part))?;
        report(reports, &Report::Measured(figures))
    })
}

/// Sends packets for a profile of one point, and waits for the runner before and after each window.
fn profile(point: bench::Point, reports: &Arc<Mutex<File>>, orders: &mut Orders) -> Result<()> {
    run_marked(bench::NAME, reports, || {
        catch(|| {
            bench::guest::profile(point, |window| {
                report(reports, &Report::Pause(window))?;
                match orders.next()? {
                    Some(Order::Continue) => Ok(()),
                    other => bail!("{other:?} instead of the order to continue"),
                }
            })
        })
    })
}

/// Places the demonstration's call. Its captures and logs are kept whether it goes well or not.
fn demonstrate(reports: &Arc<Mutex<File>>) -> Result<()> {
    let lab = lab(demo::NAME, reports);
    run_marked(demo::NAME, reports, || {
        let outcome =
            catch(|| demo::guest::run(&lab, &|shown| report(reports, &Report::Show(shown))));
        lab.keep_evidence();
        lab.clean_up();
        outcome
    })
}

/// Runs something between its two marks in the kernel's log and reports how it ended.
fn run_marked(
    name: &str,
    reports: &Arc<Mutex<File>>,
    act: impl FnOnce() -> Result<()>,
) -> Result<()> {
    write_to_kernel_log(&begin_mark(name))?;
    let began = Instant::now();
    let failure = act().err().map(|error| format!("{error:#}"));
    let seconds = began.elapsed().as_secs_f64();
    write_to_kernel_log(&end_mark(name))?;
    report(
        reports,
        &Report::Done {
            test: name.to_owned(),
            failure,
            seconds,
        },
    )
}

/// Makes a panic an error.
fn catch<T>(act: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(act))
        .unwrap_or_else(|panic| Err(anyhow!("{}", panic_text(panic.as_ref()))))
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()))
        .unwrap_or_else(|| "the test panicked".to_owned())
}

fn report(port: &Mutex<File>, message: &Report) -> Result<()> {
    let port = port.lock().map_err(|_| anyhow!("a report was cut short"))?;
    send(&*port, message)
}

fn write_to_kernel_log(line: &str) -> Result<()> {
    OpenOptions::new()
        .write(true)
        .open("/dev/kmsg")
        .and_then(|mut log| log.write_all(format!("<5>{line}\n").as_bytes()))
        .context("cannot write to the kernel's log")
}

fn open_port() -> Result<File> {
    let ports = fs::read_dir("/sys/class/virtio-ports").context("there are no virtio ports")?;
    for port in ports {
        let port = port.context("cannot list the virtio ports")?;
        let name = fs::read_to_string(port.path().join("name")).unwrap_or_default();
        if name.trim() == PORT {
            let device = PathBuf::from("/dev").join(port.file_name());
            return OpenOptions::new()
                .read(true)
                .write(true)
                .open(&device)
                .with_context(|| format!("cannot open {}", device.display()));
        }
    }
    Err(anyhow!("no virtio port is called {PORT}"))
}
