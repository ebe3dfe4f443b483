// SPDX-License-Identifier: MIT OR Apache-2.0

//! What calls cost a controller: lrep-cl beside rtpengine, each asked in its own protocol, over UDP,
//! by the same client.
//!
//! A call is one `S` for lrep-cl, and an offer and an answer for rtpengine. lrep-cl has the kernel's
//! session when it answers; rtpengine programs its kernel module only when media comes, which is not
//! counted here.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use serde::{Deserialize, Serialize};

use super::network::{CALLEE, CALLER, EAST, Network, WEST};
use super::rtpengine::{self, Rtpengine};
use super::setup::Figure;
use crate::guest::LREP_CL;
use crate::guest::module;
use crate::guest::netns::Namespace;
use crate::guest::process::Process;
use crate::guest::topology::Family;
use crate::guest::wait::{LIMIT, until};

/// Requests on their way at the same time: as many as a SIP server may have workers.
const WINDOW: usize = 16;

/// Calls that are made one after the other, to see how long each takes.
const ONE_BY_ONE: usize = 1_000;

/// Calls that are made first, so that what is made only once is there.
const FIRST: usize = 100;

/// Where the controller writes what it does: in memory, for it pays for every line.
const LOG: &str = "/tmp/controller.log";

/// Calls in a flood, a hundred a second.
const FLOODED: usize = 500;

/// Bad requests in a millisecond, besides the time it takes to send them.
const EACH_MILLISECOND: usize = 13;

/// How often it is asked meanwhile whether anybody is there.
const PACE: Duration = Duration::from_millis(5);

/// What figures are called.
pub const SET_UP: &str = "calls set up";
pub const OF_A_CALL: &str = "the daemon's processor for a call";
pub const OF_AN_END: &str = "the daemon's processor for the end of a call";
pub const MEMORY: &str = "the daemon's memory for a call";
pub const WHOLE: &str = "whole calls, one after the other";
pub const PROBE: &str = "a probe while calls are set up";
pub const FLOODED_CALL: &str = "a call in a flood";
pub const FLOOD: &str = "flood";
pub const FLOOD_LOG: &str = "log of the flood";

/// What the figure of these times below which 99 of 100 are is called.
pub fn p99(what: &str) -> String {
    format!("{what}: 99th percentile")
}

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Controller {
    /// Ours.
    LrepCl,
    /// rtpengine.
    Rtpengine,
}

/// A controller that runs.
struct Running {
    controller: Controller,
    socket: UdpSocket,
    process: u32,
    // Ends with this.
    _daemon: Daemon,
}

enum Daemon {
    LrepCl { _process: Process },
    Rtpengine { _process: Rtpengine },
}

/// Measures what so many calls cost.
pub fn measure(controller: Controller, calls: usize) -> Result<Vec<Figure>> {
    let network = Network::new()?;
    let running = Running::start(controller, &network.relay)?;
    running.make(0..FIRST)?;
    let mut latencies = running.one_by_one(FIRST..FIRST + ONE_BY_ONE)?;
    let from = FIRST + ONE_BY_ONE;
    let memory = running.memory()?;
    let prober = Prober::start(controller, running.another(&network.relay)?);
    let ticks = running.ticks()?;
    let (wall, processor) = running.cost(|| running.make(from..from + calls))?;
    let (user, system) = running.ticks()?;
    let (user, system) = (user - ticks.0, system - ticks.1);
    let mut probes = prober.stop()?;
    let grown = running.memory()?.saturating_sub(memory);
    let (end_wall, end_processor) = running.cost(|| running.end(from..from + calls))?;
    // Others than before: what is asked twice is answered from memory.
    let serial = running.whole_calls(from + calls..from + calls + ONE_BY_ONE)?;
    let each = |time: Duration| time.as_secs_f64() * 1e6 / calls as f64;
    let mut figures = vec![
        Figure::new(SET_UP, calls as f64 / wall.as_secs_f64(), "a second"),
        Figure::new(OF_A_CALL, each(processor), "us"),
        Figure::new(
            "of that in the kernel, by the clock's ticks",
            100.0 * system as f64 / (user + system).max(1) as f64,
            "%",
        ),
        Figure::new(
            "calls ended",
            calls as f64 / end_wall.as_secs_f64(),
            "a second",
        ),
        Figure::new(OF_AN_END, each(end_processor), "us"),
        Figure::new(MEMORY, grown as f64 / calls as f64, "bytes"),
    ];
    figures.push(Figure::new(
        WHOLE,
        ONE_BY_ONE as f64 / serial.as_secs_f64(),
        "a second",
    ));
    figures.extend(spread("a call alone", &mut latencies)?);
    figures.extend(spread(PROBE, &mut probes)?);
    Ok(figures)
}

/// How long calls take while somebody floods the daemon, and while nobody does.
pub fn measure_flood() -> Result<Vec<Figure>> {
    let network = Network::new()?;
    let running = Running::start(Controller::LrepCl, &network.relay)?;
    let mut figures = Vec::new();
    let mut quiet = running.paced(0..FLOODED)?;
    figures.extend(spread("a call while nobody floods", &mut quiet)?);
    let lines = log_lines()?;
    let began = Instant::now();
    let flood = Flood::start(&network.relay)?;
    let mut flooded = running.paced(FLOODED..2 * FLOODED)?;
    let sent = flood.stop()?;
    let seconds = began.elapsed().as_secs_f64();
    figures.extend(spread(FLOODED_CALL, &mut flooded)?);
    // Each call has its own line.
    let more = (log_lines()? - lines).saturating_sub(FLOODED);
    figures.extend([
        Figure::new(FLOOD, sent as f64 / seconds, "bad requests a second"),
        Figure::new(FLOOD_LOG, more as f64 / seconds, "lines a second"),
    ]);
    Ok(figures)
}

fn log_lines() -> Result<usize> {
    let text = fs::read_to_string(LOG).with_context(|| format!("cannot read {LOG}"))?;
    Ok(text.lines().count())
}

/// Half of them from a stranger, half of them from a SIP server's host, and none of them whole.
struct Flood {
    ended: Arc<AtomicBool>,
    thread: JoinHandle<Result<u64>>,
}

impl Flood {
    fn start(namespace: &Namespace) -> Result<Self> {
        let of = |address: IpAddr| {
            namespace.enter(|| {
                let socket = UdpSocket::bind((address, 0))?;
                socket.connect((Ipv4Addr::LOCALHOST, 22_333))?;
                Ok(socket)
            })
        };
        let sources = [of(Ipv4Addr::LOCALHOST.into())?, of(WEST.of(Family::Ipv4))?];
        let ended = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&ended);
        let thread = thread::spawn(move || {
            let mut sent = 0;
            while !end.load(Relaxed) {
                for _ in 0..EACH_MILLISECOND {
                    let source = &sources[sent as usize % sources.len()];
                    let request = format!("7_{sent} S 192.0.2.1 \0 {sent} ");
                    source.send(request.as_bytes()).context("cannot flood")?;
                    sent += 1;
                }
                sleep(Duration::from_millis(1));
            }
            Ok(sent)
        });
        Ok(Self { ended, thread })
    }

    fn stop(self) -> Result<u64> {
        self.ended.store(true, Relaxed);
        let ended = self.thread.join();
        ended.map_err(|_| anyhow!("the thread that floods has died"))?
    }
}

/// Median, 99th percentile and longest of these times.
fn spread(what: &str, times: &mut [Duration]) -> Result<Vec<Figure>> {
    times.sort_unstable();
    ensure!(!times.is_empty(), "nothing was measured of {what}");
    let at = |part: f64| times[((times.len() - 1) as f64 * part).round() as usize];
    let parts = [
        (format!("{what}: median"), 0.5),
        (p99(what), 0.99),
        (format!("{what}: longest"), 1.0),
    ];
    Ok(parts
        .map(|(name, part)| Figure::new(name, at(part).as_secs_f64() * 1e6, "us"))
        .into())
}

impl Running {
    fn start(controller: Controller, namespace: &Namespace) -> Result<Self> {
        let (daemon, process, at) = match controller {
            Controller::LrepCl => {
                module::ensure_loaded()?;
                let process = start_lrep_cl(namespace)?;
                let id = process.id();
                let at = SocketAddr::from((Ipv4Addr::LOCALHOST, 22_333));
                (Daemon::LrepCl { _process: process }, id, at)
            }
            Controller::Rtpengine => {
                let process = Rtpengine::start(namespace, true, Path::new(LOG))?;
                let id = process.id();
                (
                    Daemon::Rtpengine { _process: process },
                    id,
                    rtpengine::CONTROL,
                )
            }
        };
        Ok(Self {
            controller,
            socket: connect(namespace, at)?,
            process,
            _daemon: daemon,
        })
    }

    /// Another client's socket.
    fn another(&self, namespace: &Namespace) -> Result<UdpSocket> {
        let at = self.socket.peer_addr().context("not connected")?;
        connect(namespace, at)
    }

    /// The requests that set a call up, each of which needs the answer to the one before.
    fn requests(&self, call: usize) -> Result<Vec<Vec<u8>>> {
        let party = 4_000 + u16::try_from(call)?;
        Ok(match self.controller {
            Controller::LrepCl => vec![ours('S', call)?],
            Controller::Rtpengine => {
                let of = |command, host: super::network::Host| {
                    rtpengine::request(call, command, host.of(Family::Ipv4), party)
                };
                vec![of("offer", CALLER), of("answer", CALLEE)]
            }
        })
    }

    fn make(&self, calls: std::ops::Range<usize>) -> Result<()> {
        let all = calls
            .map(|call| self.requests(call))
            .collect::<Result<Vec<_>>>()?;
        let steps = all.first().map_or(0, Vec::len);
        for step in 0..steps {
            self.pump(all.iter().filter_map(|requests| requests.get(step)))?;
        }
        Ok(())
    }

    /// The request that ends a call.
    fn last_request(&self, call: usize) -> Result<Vec<u8>> {
        match self.controller {
            Controller::LrepCl => ours('D', call),
            Controller::Rtpengine => Ok(rtpengine::delete(call)),
        }
    }

    fn end(&self, calls: std::ops::Range<usize>) -> Result<()> {
        let all = calls
            .map(|call| self.last_request(call))
            .collect::<Result<Vec<_>>>()?;
        self.pump(all.iter())
    }

    /// How long it takes to set calls up and to end them, each before the next.
    fn whole_calls(&self, calls: std::ops::Range<usize>) -> Result<Duration> {
        let began = Instant::now();
        for call in calls {
            let mut requests = self.requests(call)?;
            requests.push(self.last_request(call)?);
            requests.iter().try_for_each(|request| self.ask(request))?;
        }
        Ok(began.elapsed())
    }

    /// Sends requests, some of them before the answers to the ones before are there.
    fn pump<'a>(&self, requests: impl Iterator<Item = &'a Vec<u8>>) -> Result<()> {
        let mut waiting = 0;
        for request in requests {
            if waiting == WINDOW {
                self.take()?;
                waiting -= 1;
            }
            self.socket.send(request).context("cannot ask")?;
            waiting += 1;
        }
        (0..waiting).try_for_each(|_| self.take())
    }

    fn one_by_one(&self, calls: std::ops::Range<usize>) -> Result<Vec<Duration>> {
        calls
            .map(|call| {
                let began = Instant::now();
                for request in self.requests(call)? {
                    self.ask(&request)?;
                }
                Ok(began.elapsed())
            })
            .collect()
    }

    /// Sends a request and waits for its answer.
    fn ask(&self, request: &[u8]) -> Result<()> {
        self.socket.send(request).context("cannot ask")?;
        self.take()
    }

    /// A hundred a second, each of which must be answered.
    fn paced(&self, calls: std::ops::Range<usize>) -> Result<Vec<Duration>> {
        let mut times = Vec::new();
        for call in calls {
            sleep(Duration::from_millis(10));
            times.extend(self.one_by_one(call..call + 1)?);
        }
        Ok(times)
    }

    /// Takes an answer, which must be a good one.
    fn take(&self) -> Result<()> {
        let mut answer = [0; 4096];
        let length = self.socket.recv(&mut answer).with_context(|| {
            let log = fs::read_to_string(LOG).unwrap_or_default();
            let last: Vec<_> = log.lines().rev().take(10).collect();
            format!(
                "no answer; the end of the log, backwards:\n{}",
                last.join("\n")
            )
        })?;
        let answer = &answer[..length];
        let is_good = match self.controller {
            Controller::LrepCl => answer.ends_with(b" OK"),
            Controller::Rtpengine => answer.windows(12).any(|part| part == b"6:result2:ok"),
        };
        ensure!(is_good, "answered {}", answer.escape_ascii());
        Ok(())
    }

    /// What doing something takes of time, and of the daemon's processor.
    fn cost(&self, act: impl FnOnce() -> Result<()>) -> Result<(Duration, Duration)> {
        let (before, began) = (self.processor()?, Instant::now());
        act()?;
        let wall = began.elapsed();
        Ok((wall, self.processor()?.saturating_sub(before)))
    }

    /// The time all its threads have run (Documentation/scheduler/sched-stats.rst).
    fn processor(&self) -> Result<Duration> {
        let mut sum: u64 = 0;
        let path = format!("/proc/{}/task", self.process);
        for task in fs::read_dir(&path).with_context(|| format!("cannot list {path}"))? {
            let path = task?.path().join("schedstat");
            let text = fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            let ran = text
                .split(' ')
                .next()
                .and_then(|text| text.parse::<u64>().ok());
            sum += ran.with_context(|| format!("{}: {text}", path.display()))?;
        }
        Ok(Duration::from_nanos(sum))
    }

    /// The clock's ticks that met it in user mode and in the kernel (proc_pid_stat(5)).
    fn ticks(&self) -> Result<(u64, u64)> {
        let path = format!("/proc/{}/stat", self.process);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let (_, fields) = text.rsplit_once(')').context("no name")?;
        let mut fields = fields.split_whitespace().skip(11).map(str::parse);
        let mut next = || fields.next()?.ok();
        next()
            .zip(next())
            .with_context(|| format!("{path}: {text}"))
    }

    /// Bytes of memory it holds.
    fn memory(&self) -> Result<u64> {
        let path = format!("/proc/{}/status", self.process);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        Ok(kib.with_context(|| format!("{path} has no VmRSS"))? * 1024)
    }
}

fn connect(namespace: &Namespace, at: SocketAddr) -> Result<UdpSocket> {
    namespace.enter(|| {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(at)?;
        socket.set_read_timeout(Some(LIMIT))?;
        Ok(socket)
    })
}

fn start_lrep_cl(namespace: &Namespace) -> Result<Process> {
    // Of an earlier one.
    let _ = fs::remove_file(LOG);
    let (west, east) = (WEST.of(Family::Ipv4), EAST.of(Family::Ipv4));
    let mut command = namespace.command(LREP_CL);
    command
        .args(["run", "--start-port=1024", "--end-port=65528"])
        .args(["--idle-timeout=3600", "--request-rate=0"])
        .arg(format!("--internal-ip={west}"))
        .arg(format!("--external-ip={east}"))
        .env_clear();
    let mut process = Process::start("lrep-cl", &mut command, Path::new(LOG))?;
    until("lrep-cl being ready", LIMIT, || {
        let text = fs::read_to_string(LOG).unwrap_or_default();
        if let Some(status) = process.ended()? {
            return Err(anyhow!("lrep-cl ended with {status}: {text}"));
        }
        Ok(text.contains("ready, listening on").then_some(()))
    })?;
    Ok(process)
}

/// A command of the lrkproxy protocol.
fn ours(letter: char, call: usize) -> Result<Vec<u8>> {
    let of = |host: super::network::Host| host.of(Family::Ipv4);
    let (caller, callee, west, east) = (of(CALLER), of(CALLEE), of(WEST), of(EAST));
    let (port, party) = (
        u16::try_from(1024 + 4 * call)?,
        4_000 + u16::try_from(call)?,
    );
    Ok(format!(
        "1_{call} {letter} {caller} {east} {west} {callee} {party} {port} {} {party} 60 \
         {call}-a84b4c76e66710@{caller} ",
        port + 2
    )
    .into_bytes())
}

/// Asks again and again whether anybody is there.
struct Prober {
    ended: Arc<AtomicBool>,
    thread: JoinHandle<Result<Vec<Duration>>>,
}

impl Prober {
    fn start(controller: Controller, socket: UdpSocket) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&ended);
        let thread = thread::spawn(move || {
            let mut times = Vec::new();
            while !end.load(Relaxed) {
                let request = match controller {
                    // G goes through the same books as calls.
                    Controller::LrepCl if times.len() % 2 == 1 => format!("2_{} G", times.len()),
                    Controller::LrepCl => format!("2_{} P", times.len()),
                    Controller::Rtpengine => format!("p{} d7:command4:pinge", times.len()),
                };
                let began = Instant::now();
                socket.send(request.as_bytes()).context("cannot probe")?;
                socket
                    .recv(&mut [0; 256])
                    .context("a probe is not answered")?;
                times.push(began.elapsed());
                sleep(PACE);
            }
            Ok(times)
        });
        Self { ended, thread }
    }

    fn stop(self) -> Result<Vec<Duration>> {
        self.ended.store(true, Relaxed);
        let ended = self.thread.join();
        ended.map_err(|_| anyhow!("the thread that probes has died"))?
    }
}
