// SPDX-License-Identifier: MIT OR Apache-2.0

//! rtpengine, from Debian testing's packages: an image of its own with the daemon, its libraries
//! and its kernel module. It is driven by its own protocol ("ng": bencode over UDP).

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use super::flows::{Ends, Flow, port};
use super::network::{CALLEE, CALLER, EAST, Host, WEST};
use crate::guest::netns::Namespace;
use crate::guest::process::Process;
use crate::guest::shell;
use crate::guest::topology::Family;
use crate::guest::wait::{LIMIT, until};

/// The disk its image is on.
const DISK: &str = "/dev/vdb";

/// Where its image is mounted.
const ROOT: &str = "/run/rtpengine";

/// Where it takes commands.
pub const CONTROL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 2223);

/// A daemon with its calls.
pub struct Rtpengine {
    process: Process,
    control: UdpSocket,
}

impl Rtpengine {
    /// Starts the daemon in a namespace, with its kernel module or without; its log goes to a file.
    pub fn start(namespace: &Namespace, in_kernel: bool, log: &Path) -> Result<Self> {
        mount_image()?;
        if in_kernel {
            load_module()?;
        }
        let mut command = namespace.command("sh");
        // Each call has four sockets.
        command.args(["-c", "ulimit -n 1000000 && exec chroot \"$@\"", "sh", ROOT]);
        command.args(["rtpengine", "--foreground", "--log-stderr", "--log-level=5"]);
        for (name, host) in [("west", WEST), ("east", EAST)] {
            command.arg(format!("--interface={name}/{}", host.of(Family::Ipv4)));
        }
        command
            .args(["--config-file=none", "--listen-cli=127.0.0.1:2224"])
            .arg(format!("--listen-ng={CONTROL}"))
            .args(["--port-min=10000", "--port-max=59999"])
            // Packets go where signalling says, as in the other paths.
            .arg("--endpoint-learning=off")
            .args(["--timeout=36000", "--silent-timeout=36000"]);
        if in_kernel {
            command.args(["--table=0", "--no-fallback", "--nftables-family=ip"]);
            command.args(["--nftables-chain=rtpengine", "--nftables-base-chain=INPUT"]);
        } else {
            command.arg("--table=-1");
        }
        let mut process = Process::start("rtpengine", &mut command, log)?;
        let control = namespace.enter(|| {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            socket.connect(CONTROL)?;
            socket.set_read_timeout(Some(Duration::from_secs(5)))?;
            Ok(socket)
        })?;
        until("the answer of rtpengine", LIMIT, || {
            if let Some(status) = process.ended()? {
                bail!("rtpengine ended with {status}: see {}", log.display());
            }
            // Nobody listens yet, or it pongs.
            let asked = control.send(b"0 d7:command4:pinge");
            let mut answer = [0; 100];
            Ok(asked.and_then(|_| control.recv(&mut answer)).ok())
        })?;
        Ok(Self { process, control })
    }

    /// Sets calls up and tells the way of their media.
    pub fn calls(&self, calls: usize) -> Result<Vec<Flow>> {
        (0..calls).map(|call| self.call(call)).collect()
    }

    fn call(&self, call: usize) -> Result<Flow> {
        let port = port(call)?;
        let offered = self.ask(call, "offer", CALLER, port)?;
        let answered = self.ask(call, "answer", CALLEE, port)?;
        let at = |host: Host, port| SocketAddr::new(host.of(Family::Ipv4), port);
        Ok(Flow {
            entering: Ends {
                from: at(CALLER, port),
                to: at(WEST, answered),
            },
            leaving: Ends {
                from: at(EAST, offered),
                to: at(CALLEE, port),
            },
        })
    }

    /// Tells it where one party receives and returns the port it has for the other.
    fn ask(&self, call: usize, command: &str, party: Host, port: u16) -> Result<u16> {
        let request = request(call, command, party.of(Family::Ipv4), port);
        self.control
            .send(&request)
            .context("cannot ask rtpengine")?;
        let mut answer = vec![0; 65536];
        let length = self
            .control
            .recv(&mut answer)
            .with_context(|| format!("rtpengine does not answer an {command}"))?;
        let answer = String::from_utf8_lossy(answer.get(..length).unwrap_or_default());
        media_port(&answer).with_context(|| format!("no port in rtpengine's answer: {answer}"))
    }

    /// The daemon's process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Stops the daemon: from now on only its kernel module can relay.
    pub fn stop(&self) -> Result<()> {
        self.process.signal(Signal::SIGSTOP)
    }
}

impl Drop for Rtpengine {
    fn drop(&mut self) {
        // So that it ends in an orderly way; it fails when it has ended already.
        let _ = self.process.signal(Signal::SIGCONT);
    }
}

fn mount_image() -> Result<()> {
    if Path::new(ROOT).exists() {
        return Ok(());
    }
    std::fs::create_dir(ROOT).with_context(|| format!("cannot create {ROOT}"))?;
    let mount = |arguments: &[&str], directory: &str| {
        let directory = format!("{ROOT}{directory}");
        shell::run(Command::new("mount").args(arguments).arg(directory)).map(|_| ())
    };
    mount(&["-t", "squashfs", "-o", "ro", DISK], "")?;
    mount(&["--bind", "/proc"], "/proc")?;
    mount(&["--bind", "/dev"], "/dev")?;
    mount(&["-t", "tmpfs", "tmpfs"], "/run")?;
    mount(&["-t", "tmpfs", "tmpfs"], "/tmp")
}

fn load_module() -> Result<()> {
    if Path::new("/sys/module/nft_rtpengine").exists() {
        return Ok(());
    }
    shell::run(Command::new("modprobe").args(["-a", "x_tables", "nf_tables"]))?;
    shell::run(Command::new("insmod").arg(format!("{ROOT}/nft_rtpengine.ko"))).map(|_| ())
}

/// A command of the ng protocol: a cookie and a bencoded dictionary.
pub fn request(call: usize, command: &str, party: IpAddr, port: u16) -> Vec<u8> {
    let sdp = format!(
        "v=0\r\no=- 1 1 IN IP4 {party}\r\ns=-\r\nc=IN IP4 {party}\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP 0\r\n"
    );
    let mut dictionary = String::from("d");
    for (key, value) in [
        ("command", string(command)),
        ("call-id", string(&format!("call {call}"))),
        ("from-tag", string("caller")),
        ("to-tag", string("callee")),
        ("sdp", string(&sdp)),
        ("ICE", string("remove")),
        (
            "direction",
            format!("l{}{}e", string("west"), string("east")),
        ),
    ] {
        // Only an answer has somebody to answer to, and only an offer says where to.
        if key
            == if command == "offer" {
                "to-tag"
            } else {
                "direction"
            }
        {
            continue;
        }
        dictionary += &string(key);
        dictionary += &value;
    }
    format!("{command}-{call} {dictionary}e").into_bytes()
}

/// The command that ends a call.
pub fn delete(call: usize) -> Vec<u8> {
    let mut dictionary = String::from("d");
    for (key, value) in [
        ("command", "delete"),
        ("call-id", &format!("call {call}")),
        ("from-tag", "caller"),
    ] {
        dictionary += &string(key);
        dictionary += &string(value);
    }
    format!("delete-{call} {dictionary}e").into_bytes()
}

/// A string in bencode.
fn string(text: &str) -> String {
    format!("{}:{text}", text.len())
}

/// The port of the first media in an answer's session description (RFC 8866 section 5.14).
fn media_port(answer: &str) -> Option<u16> {
    let (_, media) = answer.split_once("m=audio ")?;
    let (port, _) = media.split_once(' ')?;
    port.parse().ok().filter(|&port| port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_a_cookie_and_a_dictionary() {
        let request = |command| {
            let request = request(7, command, CALLEE.of(Family::Ipv4), 4000);
            String::from_utf8(request).unwrap()
        };
        let answer = request("answer");
        let begin =
            "answer-7 d7:command6:answer7:call-id6:call 78:from-tag6:caller6:to-tag6:callee";
        assert!(answer.starts_with(begin), "{answer}");
        let end = "m=audio 4000 RTP/AVP 0\r\n3:ICE6:removee";
        assert!(answer.ends_with(end), "{answer}");
        let offer = request("offer");
        assert!(!offer.contains("to-tag"), "{offer}");
        assert!(offer.ends_with("9:directionl4:west4:eastee"), "{offer}");
    }

    #[test]
    fn the_port_is_that_of_the_media() {
        let answer = "offer-1 d6:result2:ok3:sdp9:v=0\r\nm=audio 30000 RTP/AVP 0\r\ne";
        assert_eq!(media_port(answer), Some(30_000));
        assert_eq!(media_port("1 d6:result5:errore"), None);
    }
}
