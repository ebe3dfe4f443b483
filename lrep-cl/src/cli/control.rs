// SPDX-License-Identifier: MIT OR Apache-2.0

//! Reaching the running daemon.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::Deserialize;
use serde_json::Value;

use super::exit::Failure;
use crate::config::CONTROL_SOCK;
use crate::operator::{Answer, Request};

/// How long the daemon may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where the daemon is.
#[derive(Args, Clone, Debug)]
pub struct Control {
    /// The daemon's control socket
    #[arg(
        long,
        value_name = "PATH",
        default_value = CONTROL_SOCK,
        env = "LREP_CONTROL_SOCK"
    )]
    control_sock: PathBuf,
}

impl Control {
    /// Has the daemon do something, and tells what it answers. A refusal is a failure.
    pub fn ask(&self, request: &Request) -> Result<Answer, Failure> {
        let stream = UnixStream::connect(&self.control_sock).map_err(|error| self.away(&error))?;
        match converse(&stream, request) {
            Ok(Answer::Refused { text }) => Err(Failure::absent(text)),
            Ok(answer) => Ok(answer),
            Err(error) => Err(Failure::system("the daemon did not answer", &error)),
        }
    }

    /// What the daemon tells in lines.
    pub fn lines(&self, request: &Request) -> Result<Vec<Value>, Failure> {
        let broken = |error: io::Error| Failure::system("the daemon did not tell all", &error);
        let stream = UnixStream::connect(&self.control_sock).map_err(|error| self.away(&error))?;
        say(&stream, request).map_err(broken)?;
        let mut lines = Vec::new();
        for line in BufReader::new(stream).lines() {
            let line = line.map_err(broken)?;
            match serde_json::from_str(&line).map_err(|error| broken(error.into()))? {
                Told::Line(line) => lines.push(line),
                Told::Answer(Answer::Done) => return Ok(lines),
                Told::Answer(Answer::Refused { text }) => return Err(Failure::absent(text)),
                Told::Answer(_) => break,
            }
        }
        Err(broken(io::ErrorKind::UnexpectedEof.into()))
    }

    /// Whether no daemon is there.
    pub fn is_deserted(&self) -> bool {
        UnixStream::connect(&self.control_sock).is_err()
    }

    fn away(&self, error: &io::Error) -> Failure {
        let path = self.control_sock.display();
        match error.kind() {
            io::ErrorKind::PermissionDenied => Failure::permission(format_args!(
                "{path} is not for this user: run as root, or have yourself put into its \
                 control_group"
            )),
            _ => Failure::unavailable(format_args!(
                "no daemon listens on {path} ({error}): start it with `systemctl start lrep-cl`, \
                 or name its control_sock with --control-sock"
            )),
        }
    }
}

/// A line of the daemon's.
#[derive(Deserialize)]
#[serde(untagged)]
enum Told {
    Answer(Answer),
    Line(Value),
}

fn say(mut stream: &UnixStream, request: &Request) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)
}

fn converse(stream: &UnixStream, request: &Request) -> io::Result<Answer> {
    say(stream, request)?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(serde_json::from_str(&answer)?)
}
