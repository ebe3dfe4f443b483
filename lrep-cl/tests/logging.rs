// SPDX-License-Identifier: MIT OR Apache-2.0

//! What is logged, and that logging holds up nobody. One test a program: the log is the process's.

mod common;

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, channel};

use common::*;
use lrep_cl::config::{LogFormat, LogLevel};
use lrep_cl::logging::subscriber;

/// A reader of the log that does not read until it is told to.
struct Blocked {
    unblocked: Receiver<()>,
    is_blocked: bool,
    text: Sender<u8>,
}

impl Write for Blocked {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_blocked {
            self.unblocked.recv().map_err(io::Error::other)?;
            self.is_blocked = false;
        }
        for byte in bytes {
            self.text.send(*byte).map_err(io::Error::other)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_log_that_nobody_reads_delays_no_answer_and_names_the_call_when_read() {
    let (unblock, unblocked) = channel();
    let (text, written) = channel();
    let blocked = Blocked {
        unblocked,
        is_blocked: true,
        text,
    };
    let (subscriber, guard, _) = subscriber(LogLevel::Info, LogFormat::Text, blocked);
    tracing::subscriber::set_global_default(subscriber).expect("nothing else logs");

    let tsl = Memory::new();
    let daemon = Daemon::start(&tsl);
    let client = daemon.client();
    for index in 0..100u16 {
        let request = set(&format!("1_{index}"), 20000 + 4 * index, "a@host");
        assert_eq!(client.ask(&request), with(&request, "OK"));
    }
    // What the protocol sheet wants said loudly: Kamailio was started before the daemon.
    let lost = b"2_0 S 127.0.0.11   127.0.0.12 40000 0 2 41000 60 lost@host ";
    assert_eq!(client.ask(lost), with(lost, "OK"));
    daemon.stop();
    daemon.join();

    unblock.send(()).expect("the writer waits");
    drop(guard);
    let text: Vec<u8> = written.try_iter().collect();
    let text = String::from_utf8(text).expect("text");
    let line = |part: &str| {
        let mut lines = text.lines();
        lines
            .find(|line| line.contains(part))
            .unwrap_or_else(|| panic!("no {part} in\n{text}"))
    };
    assert!(line("relay installed").contains(" call_id=a@host "));
    let loud = line("restart the SIP server now");
    assert!(
        loud.contains("ERROR") && loud.contains(" call_id=lost@host"),
        "{loud}"
    );
}
