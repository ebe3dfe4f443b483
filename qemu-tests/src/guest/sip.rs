// SPDX-License-Identifier: MIT OR Apache-2.0

//! SIP: the programs that speak it, and what they were seen to say.
//!
//! ```text
//!   caller: SIPp          relay: Kamailio + lrep-cl + module          callee: SIPp
//!   10.1.0.2:5060  <-->   10.1.0.1:5060     10.2.0.1:5060      <-->   10.2.0.2:5060
//!   10.1.0.2:40000 <-->   10.1.0.1 or .2.0.1, ports the call got <--> 10.2.0.2:41000
//! ```

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::LREP_CL;
use super::capture::Capture;
use super::lab::Lab;
use super::netns::Namespace;
use super::process::Process;
use super::topology::{CALLEE, CALLER, EAST, Topology, WEST, udp};
use super::wait::{LIMIT, until};

/// SIP port of everybody.
pub const PORT: u16 = 5060;
/// RTP port of the caller.
pub const CALLER_MEDIA: u16 = 40_000;
/// RTP port of the callee.
pub const CALLEE_MEDIA: u16 = 41_000;

/// The configuration Kamailio runs with.
const KAMAILIO: &str = include_str!("../../assets/kamailio.cfg");

/// Lists scenario files under their own names.
macro_rules! scenarios {
    ($($name:literal),+ $(,)?) => {
        [$(($name, include_str!(concat!("../../assets/sipp/", $name, ".xml")))),+]
    };
}

/// What SIPp can play.
const SCENARIOS: [(&str, &str); 14] = scenarios![
    "caller",
    "caller-cancels",
    "caller-changes",
    "caller-follows",
    "caller-is-offered",
    "caller-many",
    "caller-refused",
    "callee",
    "callee-busy",
    "callee-changes",
    "callee-is-held",
    "callee-many",
    "callee-moves",
    "callee-rings",
];

/// How server and daemon are run.
#[derive(Clone)]
pub struct Setup {
    /// Where the daemon listens: one socket, or several with commas between them.
    pub socket: &'static str,
    /// Arguments of lrkproxy_manage(): none for the bridge's own (`ie` and `ei`).
    pub flags: Flags,
    /// Whether both parties send to one port.
    pub shared_port: bool,
    /// SIP workers.
    pub workers: u8,
    /// Further flags of the daemon.
    pub daemon: &'static [&'static str],
    /// What Kamailio's configuration is to define besides, as `NAME=VALUE`.
    pub server: &'static [&'static str],
}

/// What the script gives lrkproxy_manage().
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flags {
    /// `ie` for what goes to the callee, `ei` for what goes to the caller.
    Bridge,
    /// No argument.
    None,
    /// This for both.
    Both(&'static str),
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            socket: "udp:127.0.0.1:22333",
            flags: Flags::Bridge,
            shared_port: false,
            workers: 2,
            daemon: &[],
            server: &[],
        }
    }
}

/// Starts the daemon and waits until it answers.
pub fn start_daemon(lab: &Lab, relay: &Namespace, setup: &Setup) -> Result<Process> {
    ensure!(
        Path::new(LREP_CL).is_file(),
        "lrep-cl is missing beside the test runner: build it ('make userspace')"
    );
    let log = lab.file("lrep-cl.log");
    let mut command = relay.command(LREP_CL);
    command
        .args(["run", "--listen", setup.socket, "--log-level", "debug"])
        .args([
            "--internal-ip",
            &WEST.to_string(),
            "--external-ip",
            &EAST.to_string(),
        ]);
    command.args(setup.daemon);
    // A file on this machine, should there be one, is none of the tests' business.
    command
        .env_clear()
        .env("PATH", "/usr/bin")
        .env("NO_COLOR", "1");
    // An earlier one has written there, too.
    let ready = || {
        let log = fs::read_to_string(&log).unwrap_or_default();
        log.matches("ready, listening on").count()
    };
    let before = ready();
    let mut daemon = Process::start("lrep-cl", &mut command, &log)?;
    until("lrep-cl being ready", LIMIT, || {
        if let Some(status) = daemon.ended()? {
            bail!(
                "lrep-cl ended with {status}: {}",
                fs::read_to_string(&log).unwrap_or_default()
            );
        }
        Ok((ready() > before).then_some(()))
    })?;
    Ok(daemon)
}

/// Starts Kamailio and waits until it listens.
pub fn start_server(lab: &Lab, relay: &Namespace, setup: &Setup) -> Result<Process> {
    let configuration = lab.file("kamailio.cfg");
    fs::write(&configuration, KAMAILIO).context("cannot write Kamailio's configuration")?;
    let log = lab.file("kamailio.log");
    let mut command = relay.command("kamailio");
    command
        .args(["-DD", "-E", "-m", "64", "-M", "8", "-Y", "/run", "-f"])
        .arg(&configuration)
        .args(["-A", &format!("WORKERS={}", setup.workers)])
        .args(["-A", "T1=4000"])
        .args([
            "-A",
            &format!("RELAY=\"{}\"", setup.socket.replace(',', " ")),
        ])
        .args([
            "-A",
            &format!("SHARED_PORT={}", u8::from(setup.shared_port)),
        ]);
    for definition in setup.server {
        command.args(["-A", definition]);
    }
    match setup.flags {
        Flags::Bridge => {}
        Flags::None => {
            command.args(["-A", "NO_FLAGS"]);
        }
        Flags::Both(flags) => {
            command.args(["-A", &format!("FLAGS=\"{flags}\"")]);
        }
    }
    let mut server = Process::start("kamailio", &mut command, &log)?;
    until("Kamailio listening", LIMIT, || {
        if let Some(status) = server.ended()? {
            bail!(
                "Kamailio ended with {status}: {}",
                fs::read_to_string(&log).unwrap_or_default()
            );
        }
        Ok(is_bound(relay, PORT)?.then_some(()))
    })?;
    Ok(server)
}

/// Whether some UDP socket of a namespace is bound to a port.
fn is_bound(namespace: &Namespace, port: u16) -> Result<bool> {
    let table = namespace.enter(|| {
        fs::read_to_string("/proc/thread-self/net/udp").context("cannot list UDP sockets")
    })?;
    // Second column: address and port in hexadecimal.
    let end = format!(":{port:04X}");
    Ok(table
        .lines()
        .filter_map(|line| line.split_whitespace().nth(1))
        .any(|at| at.ends_with(&end)))
}

/// Which end of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Who calls.
    Caller,
    /// Who is called.
    Callee,
}

/// A SIPp that plays one party.
pub struct Phone {
    process: Process,
    side: Side,
    log: PathBuf,
    hand: UdpSocket,
}

impl Phone {
    /// Starts SIPp with one of our scenarios for this many calls.
    pub fn start(
        lab: &Lab,
        net: &Topology,
        side: Side,
        scenario: &str,
        calls: u32,
    ) -> Result<Self> {
        let (namespace, address, media) = match side {
            Side::Caller => (&net.caller, CALLER, CALLER_MEDIA),
            Side::Callee => (&net.callee, CALLEE, CALLEE_MEDIA),
        };
        let (_, text) = SCENARIOS
            .iter()
            .find(|(name, _)| *name == scenario)
            .with_context(|| format!("there is no scenario {scenario}"))?;
        let file = lab.file(&format!("{scenario}.xml"));
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        let log = lab.file(&format!("{scenario}.log"));
        let mut command: Command = namespace.command("sipp");
        command
            .arg("-sf")
            .arg(&file)
            .args(["-i", &address.to_string(), "-p", &PORT.to_string()])
            .args(["-mi", &address.to_string(), "-mp", &media.to_string()])
            .args(["-min_rtp_port", &media.to_string()])
            .args(["-m", &calls.to_string(), "-l", &calls.to_string()])
            .args([
                "-r",
                &calls.to_string(),
                "-rp",
                "500",
                "-s",
                "bob",
                "-nostdin",
            ])
            .arg("-trace_err")
            .arg("-error_file")
            .arg(lab.file(&format!("{scenario}-errors.log")))
            .arg("-trace_msg")
            .arg("-message_file")
            .arg(lab.file(&format!("{scenario}-messages.log")))
            .current_dir("/tmp");
        if side == Side::Caller {
            command.arg(format!("{WEST}:{PORT}"));
        }
        let mut process = Process::start("SIPp", &mut command, &log)?;
        until("SIPp listening", LIMIT, || {
            if let Some(status) = process.ended()? {
                bail!(
                    "SIPp ended with {status}: {}",
                    fs::read_to_string(&log).unwrap_or_default()
                );
            }
            Ok(is_bound(namespace, PORT)?.then_some(()))
        })?;
        let hand = udp(namespace, SocketAddr::new(address, 0))?;
        Ok(Self {
            process,
            side,
            log,
            hand,
        })
    }

    /// Tells the scenario to go on: the user presses a key.
    pub fn press(&self, call_id: &str) -> Result<()> {
        let address = match self.side {
            Side::Caller => CALLER,
            Side::Callee => CALLEE,
        };
        let from = self
            .hand
            .local_addr()
            .context("a socket without an address")?;
        // Each key is another transaction, or SIPp takes it for a repetition.
        static KEYS: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(1);
        let key = KEYS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let request = format!(
            "INFO sip:key@{address}:{PORT} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {from};branch=z9hG4bK-key-{key}\r\n\
             From: <sip:hand@{from}>;tag=hand\r\n\
             To: <sip:key@{address}:{PORT}>\r\n\
             Call-ID: {call_id}\r\n\
             CSeq: {key} INFO\r\n\
             Max-Forwards: 70\r\n\
             Content-Length: 0\r\n\r\n"
        );
        self.hand
            .send_to(request.as_bytes(), (address, PORT))
            .context("cannot press a key")
            .map(|_| ())
    }

    /// Waits until all of its calls have gone as the scenario says.
    pub fn finish(&mut self) -> Result<()> {
        let status = self.process.wait(LIMIT)?;
        ensure!(
            status.success(),
            "the {:?}'s scenario did not go through ({status}): {}",
            self.side,
            fs::read_to_string(&self.log).unwrap_or_default()
        );
        Ok(())
    }
}

/// A SIP message, as it was captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Request or status line.
    pub line: String,
    /// Which call it belongs to.
    pub call_id: String,
    /// Number and method.
    pub cseq: String,
    /// Where its sender wants media, when it carries SDP.
    pub media: Option<SocketAddr>,
    /// Everything.
    pub text: String,
}

impl Message {
    /// Reads a message; none when it is no SIP.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(payload).into_owned();
        let line = text.lines().next()?.to_owned();
        if !line.contains("SIP/2.0") {
            return None;
        }
        let header = |name: &str| {
            text.lines()
                .take_while(|line| !line.is_empty())
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
                .map(|value| value.trim().to_owned())
        };
        let call_id = header("Call-ID")?;
        let cseq = header("CSeq")?;
        let address = text.lines().find_map(|line| line.strip_prefix("c=IN IP4 "));
        let port = text.lines().find_map(|line| line.strip_prefix("m=audio "));
        let media = address.zip(port).and_then(|(address, rest)| {
            let address: Ipv4Addr = address.trim().parse().ok()?;
            Some(SocketAddr::new(
                address.into(),
                rest.split(' ').next()?.parse().ok()?,
            ))
        });
        Some(Self {
            line,
            call_id,
            cseq,
            media,
            text,
        })
    }
}

/// The SIP messages that arrived at a party, without repetitions.
pub fn messages(at: &Capture) -> Vec<Message> {
    let mut found: Vec<Message> = Vec::new();
    for datagram in at.datagrams() {
        if datagram.to.port() != PORT || datagram.from.port() != PORT {
            continue;
        }
        if let Some(message) = Message::parse(&datagram.payload) {
            if !found.contains(&message) {
                found.push(message);
            }
        }
    }
    found
}

/// Waits for the first message that fits.
pub fn wait_for(at: &Capture, what: &str, fits: impl Fn(&Message) -> bool) -> Result<Message> {
    until(&format!("{what} at {}", at.name()), LIMIT, || {
        Ok(messages(at).into_iter().find(|message| fits(message)))
    })
}
