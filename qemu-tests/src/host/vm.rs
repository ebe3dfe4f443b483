// SPDX-License-Identifier: MIT OR Apache-2.0

//! One running guest.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::image::Image;
use super::monitor::Monitor;
use crate::protocol::{Order, PORT, Report, send};

/// How long a boot may take on a busy machine. An idle one needs about 6 s for the stock kernel;
/// the debug kernel that counts instructions has taken 180 s beside other work.
const BOOT_LIMIT: Duration = Duration::from_secs(600);

/// How many guests this process has started.
static GUESTS: AtomicU32 = AtomicU32::new(0);

/// How the guest's processors are run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// Two processors, and a clock that follows the host's.
    Host,
    /// One processor, whose clock advances by 1 ns with each instruction: the time stamp counter
    /// counts instructions. Without the fast string instructions, each of which would count once
    /// for each byte.
    Instructions,
}

/// What a guest does, in the order in which it does it.
pub enum Event {
    /// It wrote this line on its console.
    Console(String),
    /// It sent this report.
    Report(Report),
    /// It ended, or its console was closed.
    Ended,
    /// Nothing of this happened for the time allowed.
    Silence,
}

/// A running guest. Dropping it kills it.
pub struct Vm {
    _process: Running,
    port: UnixStream,
    events: Receiver<Event>,
    /// QEMU's own monitor.
    pub monitor: Monitor,
    /// Release of its kernel.
    pub kernel: String,
    /// Time from QEMU's start until the guest was ready for its first test.
    pub boot: Duration,
    /// What it wrote on its console before it was ready.
    pub boot_console: Vec<String>,
}

impl Vm {
    /// Boots a guest and waits until its agent is ready.
    pub fn boot(image: &Image, clock: Clock) -> Result<Self> {
        let began = Instant::now();
        let (process, guest) = (std::process::id(), GUESTS.fetch_add(1, Relaxed));
        let socket = |name| Socket::new(image.work().join(format!("{name}-{process}-{guest}")));
        let (port, monitor) = (socket("port")?, socket("monitor")?);
        let process = command(image, clock, &port.path, &monitor.path)
            .spawn()
            .context("cannot start setpriv, which starts QEMU: install util-linux")?;
        let mut process = Running(process);
        let (sender, events) = channel();
        let console = process
            .0
            .stdout
            .take()
            .context("QEMU has no standard output")?;
        let errors = process
            .0
            .stderr
            .take()
            .context("QEMU has no standard error")?;
        watch_console(console, sender.clone());
        watch_console(errors, sender.clone());
        let monitor = Monitor::new(monitor.accept(&mut process.0, &events)?)?;
        let port = port.accept(&mut process.0, &events)?;
        watch_port(
            port.try_clone().context("cannot share the serial port")?,
            sender,
        );
        let mut vm = Self {
            _process: process,
            port,
            events,
            monitor,
            kernel: String::new(),
            boot: Duration::ZERO,
            boot_console: Vec::new(),
        };
        vm.wait_until_ready(began)?;
        Ok(vm)
    }

    fn wait_until_ready(&mut self, began: Instant) -> Result<()> {
        let mut last = VecDeque::new();
        loop {
            match self.next(BOOT_LIMIT.saturating_sub(began.elapsed())) {
                Event::Report(Report::Ready { kernel }) => {
                    self.kernel = kernel;
                    self.boot = began.elapsed();
                    return Ok(());
                }
                Event::Report(_) => {}
                Event::Console(line) => {
                    last.push_back(line.clone());
                    if last.len() > 40 {
                        last.pop_front();
                    }
                    self.boot_console.push(line);
                }
                Event::Ended | Event::Silence => {
                    let console = last.make_contiguous().join("\n");
                    bail!("the guest did not boot; the end of its console:\n{console}");
                }
            }
        }
    }

    /// Gives the guest an order.
    pub fn order(&mut self, order: &Order) -> Result<()> {
        send(&mut self.port, order)
    }

    /// What the guest does next; [`Event::Silence`] when it does nothing for this long.
    pub fn next(&mut self, patience: Duration) -> Event {
        match self.events.recv_timeout(patience) {
            Ok(event) => event,
            Err(RecvTimeoutError::Timeout) => Event::Silence,
            Err(RecvTimeoutError::Disconnected) => Event::Ended,
        }
    }

    /// Lets the guest power off by itself, and kills it when it does not.
    pub fn stop(mut self) -> Vec<String> {
        let mut console = Vec::new();
        if self.order(&Order::Stop).is_ok() {
            let limit = Instant::now() + Duration::from_secs(20);
            loop {
                match self.next(limit.saturating_duration_since(Instant::now())) {
                    Event::Console(line) => console.push(line),
                    Event::Report(_) => {}
                    Event::Ended | Event::Silence => break,
                }
            }
        }
        console
    }
}

/// QEMU's process. Dropping it kills it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when QEMU has ended already, which is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn command(image: &Image, clock: Clock, port: &Path, monitor: &Path) -> Command {
    // Dropping is not enough: a runner that is killed drops nothing.
    let mut qemu = Command::new("setpriv");
    qemu.args(["--pdeathsig", "KILL", "qemu-system-x86_64"]);
    match clock {
        Clock::Host => qemu
            .args(["-accel", "tcg,thread=multi", "-smp", "2"])
            .args(["-cpu", "max,la57=off"]),
        Clock::Instructions => qemu
            .args(["-accel", "tcg", "-icount", "shift=0,sleep=off"])
            .args(["-smp", "1", "-cpu"])
            .arg("max,la57=off,erms=off,fsrm=off,fsrs=off,fzrm=off,fsrc=off"),
    };
    qemu.args(["-m", "2048", "-nic", "none", "-display", "none"])
        .args(["-no-reboot", "-serial", "stdio", "-chardev"])
        .arg(format!("socket,id=monitor,path={}", monitor.display()))
        .args(["-mon", "chardev=monitor,mode=control"])
        .arg("-kernel")
        .arg(&image.kernel)
        .arg("-initrd")
        .arg(&image.initramfs)
        .arg("-drive")
        .arg(format!(
            "file={},if=virtio,format=raw,readonly=on",
            image.root.display()
        ))
        .args(second_disk(image, clock))
        .arg("-virtfs")
        .arg(format!(
            "local,path={},mount_tag=host,security_model=none,multidevs=remap",
            image.share.display()
        ))
        .args(["-device", "virtio-serial-pci", "-chardev"])
        .arg(format!("socket,id=port,path={}", port.display()))
        .args([
            "-device",
            &format!("virtserialport,chardev=port,name={PORT}"),
        ])
        // panic=-1: restart at once, which -no-reboot turns into an end of QEMU.
        // oops=panic: after one, nothing the guest says is worth anything.
        .arg("-append")
        .arg(format!(
            "console=ttyS0 quiet panic=-1 oops=panic lrep.init={} lrep.seed={}",
            image.init, image.seed
        ))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    qemu
}

/// What only the benchmark needs.
fn second_disk(image: &Image, clock: Clock) -> Vec<String> {
    match &image.rtpengine {
        Some(file) if clock == Clock::Instructions => vec![
            "-drive".to_owned(),
            format!("file={},if=virtio,format=raw,readonly=on", file.display()),
        ],
        _ => Vec::new(),
    }
}

/// A socket QEMU connects to while it starts. Its file goes when this is dropped, connections stay.
struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

impl Socket {
    fn new(path: PathBuf) -> Result<Self> {
        remove_socket(&path)?;
        let listener = UnixListener::bind(&path)
            .with_context(|| format!("cannot listen on {}", path.display()))?;
        listener
            .set_nonblocking(true)
            .context("cannot poll one of QEMU's sockets")?;
        Ok(Self { listener, path })
    }

    /// Waits for the connection.
    fn accept(&self, process: &mut Child, events: &Receiver<Event>) -> Result<UnixStream> {
        loop {
            match self.listener.accept() {
                Ok((connection, _)) => {
                    connection
                        .set_nonblocking(false)
                        .context("cannot use one of QEMU's sockets")?;
                    return Ok(connection);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error).context("cannot accept QEMU's connection"),
            }
            if let Some(status) = process.try_wait().context("cannot wait for QEMU")? {
                let said: Vec<_> = events
                    .try_iter()
                    .filter_map(|event| match event {
                        Event::Console(line) => Some(line),
                        _ => None,
                    })
                    .collect();
                let advice = match status.code() {
                    // setpriv has found no QEMU.
                    Some(127) => {
                        "; run this through scripts/in-buildroot, or install qemu-system-x86"
                    }
                    _ => "",
                };
                bail!("QEMU ended with {status}: {}{advice}", said.join("\n"));
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // A file that stays behind is removed by the next guest that wants its name.
        let _ = remove_socket(&self.path);
    }
}

fn watch_console(console: impl Read + Send + 'static, events: Sender<Event>) {
    thread::spawn(move || {
        let mut lines = BufReader::new(console);
        let mut line = Vec::new();
        while matches!(lines.read_until(b'\n', &mut line), Ok(length) if length > 0) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            if events.send(Event::Console(text)).is_err() {
                return;
            }
            line.clear();
        }
        // The receiver is gone when the guest was dropped; then nobody needs to know.
        let _ = events.send(Event::Ended);
    });
}

fn watch_port(port: UnixStream, events: Sender<Event>) {
    thread::spawn(move || {
        for line in BufReader::new(port).lines() {
            let Ok(line) = line else { return };
            let event = match serde_json::from_str(&line) {
                Ok(report) => Event::Report(report),
                Err(_) => Event::Console(format!("unknown report from the guest: {line}")),
            };
            if events.send(event).is_err() {
                return;
            }
        }
    });
}

fn remove_socket(socket: &Path) -> Result<()> {
    match fs::remove_file(socket) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", socket.display()))
        }
        _ => Ok(()),
    }
}
