// SPDX-License-Identifier: MIT OR Apache-2.0

//! The program as a service manager runs it: with sockets that were here before, and what an earlier
//! run has left.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use lrep_cl::answers::{self, Answered};
use nix::sys::signal::{Signal, kill};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

/// What a daemon that does not answer is waited for.
const LIMIT: Duration = Duration::from_secs(60);

/// A running daemon whose relay is in its own process.
struct Program(Child);

impl Program {
    /// Starts it as systemd does, with these two sockets, and further arguments.
    fn start(udp: &UdpSocket, unix: &UnixListener, arguments: &[&str]) -> Self {
        let listen = format!(
            "udp:{},unix:{}",
            udp.local_addr().expect("an address"),
            path(unix).display()
        );
        let udp: OwnedFd = udp.try_clone().expect("a descriptor").into();
        let unix: OwnedFd = unix.try_clone().expect("a descriptor").into();
        let child = Command::new("sh")
            .arg("-c")
            .arg("LISTEN_PID=$$ exec \"$0\" \"$@\" 3<&0 4<&1 0</dev/null 1>&2")
            .arg(env!("CARGO_BIN_EXE_lrep-cl"))
            .args(["run", "--tsl", "userspace", "--internal-ip", "127.0.0.1"])
            .args(["--config", "/dev/null", "--listen", &listen])
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("LISTEN_FDS", "2")
            .stdin(udp)
            .stdout(unix)
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts");
        Self(child)
    }

    /// Ends it; what it has logged.
    fn stop(mut self) -> String {
        let process = i32::try_from(self.0.id()).expect("a number");
        kill(Pid::from_raw(process), Signal::SIGTERM).expect("it runs");
        let mut log = String::new();
        let mut stderr = self.0.stderr.take().expect("a log");
        stderr.read_to_string(&mut log).expect("text");
        let ended = self.0.wait().expect("ends");
        assert!(ended.success(), "{ended}: {log}");
        log
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Both fail when it has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a service manager holds.
struct Sockets {
    udp: UdpSocket,
    unix: UnixListener,
    directory: tempfile::TempDir,
}

impl Sockets {
    fn open() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        Self {
            udp: UdpSocket::bind("127.0.0.1:0").expect("a socket"),
            unix: UnixListener::bind(directory.path().join("lrep-cl.sock")).expect("a socket"),
            directory,
        }
    }

    fn start(&self, arguments: &[&str]) -> Program {
        let control = self.directory.path().join("control.sock");
        let control = control.to_str().expect("a name");
        Program::start(
            &self.udp,
            &self.unix,
            &[&["--control-sock", control], arguments].concat(),
        )
    }

    fn worker(&self) -> UdpSocket {
        let worker = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let address = self.udp.local_addr().expect("an address");
        worker.connect(address).expect("connects");
        worker.set_read_timeout(Some(LIMIT)).expect("a timeout");
        worker
    }

    fn connection(&self) -> UnixStream {
        let connection = UnixStream::connect(path(&self.unix)).expect("connects");
        connection.set_read_timeout(Some(LIMIT)).expect("a timeout");
        connection
    }
}

fn path(unix: &UnixListener) -> std::path::PathBuf {
    let address = unix.local_addr().expect("an address");
    address.as_pathname().expect("a path").to_owned()
}

fn received(read: impl FnOnce(&mut [u8]) -> io::Result<usize>) -> Vec<u8> {
    let mut buffer = [0; 256];
    let length = read(&mut buffer).expect("an answer");
    buffer[..length].to_vec()
}

#[test]
fn what_is_asked_while_no_daemon_runs_is_answered_by_the_next() {
    let sockets = Sockets::open();
    let worker = sockets.worker();
    for run in 0..3 {
        // Nobody is there to read it.
        let (request, mut connection) = (format!("1_{run} P"), sockets.connection());
        worker.send(request.as_bytes()).expect("sent");
        connection.write_all(b"P").expect("sent");
        let program = sockets.start(&[]);
        let answer = received(|buffer| worker.recv(buffer));
        assert_eq!(answer, format!("{request} PONG").as_bytes());
        assert_eq!(received(|buffer| connection.read(buffer)), b"P PONG");
        program.stop();
        assert!(
            path(&sockets.unix).exists(),
            "run {run} took the socket along"
        );
    }
}

/// Leaves an answer, as an earlier run does, and then these bytes.
fn leave(directory: &Path, sockets: &Sockets, peer: SocketAddr, more: &[u8]) {
    let listener = sockets.udp.local_addr().expect("an address");
    let answered = Answered {
        listener: format!("udp:{listener}").parse().expect("a listener"),
        peer,
        request: b"1_0 G".to_vec(),
        answer: b"1_0 G as before".to_vec(),
        age: Duration::ZERO,
    };
    let uptime = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("a clock");
    let bytes = [
        answers::encode(vec![answered], uptime.into()),
        more.to_vec(),
    ]
    .concat();
    std::fs::write(directory.join("answers"), bytes).expect("written");
}

#[test]
fn what_another_version_has_left_is_refused_in_a_line_and_the_daemon_works() {
    // Of a number that comes twice the last counts (protobuf): this is the version.
    let another: &[u8] = &[3 << 3, 99];
    for (more, answered, said) in [
        (&[][..], &b"1_0 G as before"[..], None),
        (
            another,
            b"1_0 G ",
            Some("a lrep-cl that writes version 99 of it"),
        ),
        (b"\xff", b"1_0 G ", Some("is not what an earlier run left")),
    ] {
        let sockets = Sockets::open();
        let directory = tempfile::tempdir().expect("a directory");
        let worker = sockets.worker();
        let peer = worker.local_addr().expect("an address");
        leave(directory.path(), &sockets, peer, more);
        let state = directory.path().to_str().expect("a name");
        let program = sockets.start(&["--state-dir", state]);
        worker.send(b"1_0 G").expect("sent");
        let answer = received(|buffer| worker.recv(buffer));
        assert!(answer.starts_with(answered), "{}", answer.escape_ascii());
        let log = program.stop();
        let is_said = |said: &str| {
            log.lines()
                .any(|line| line.contains("WARN") && line.contains(said))
        };
        assert!(said.is_none_or(is_said), "{log}");
        assert_eq!(said.is_none(), !log.contains("answers"), "{log}");
    }
}
