// SPDX-License-Identifier: MIT OR Apache-2.0

//! What Kamailio's `lreproxy` and `lrkproxy` modules really send, asked again.
//!
//! `tests/vectors` holds one file per recorded call. Its second line names the transport; then
//! `> c1 |...|` is a request of client socket 1 and `< c1 |...|` what it was answered, with bytes
//! that are not printable as `\xNN`.

mod common;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use common::*;

/// One line of a recording.
struct Line {
    is_request: bool,
    client: String,
    bytes: Vec<u8>,
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first == b'\\' {
            let digits = std::str::from_utf8(&after[1..3]).expect("two digits");
            bytes.push(u8::from_str_radix(digits, 16).expect("hexadecimal"));
            rest = &after[3..];
        } else {
            bytes.push(first);
        }
    }
    bytes
}

fn read(path: &Path) -> (bool, Vec<Line>) {
    let text = fs::read_to_string(path).expect("readable");
    let is_stream = text.lines().nth(1) == Some("# stream");
    let lines = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (head, rest) = line.split_once(" |").expect("bytes after a bar");
            let (direction, client) = head.split_once(' ').expect("direction and client");
            Line {
                is_request: direction == ">",
                client: client.to_owned(),
                bytes: unescape(rest.strip_suffix('|').expect("a bar at the end")),
            }
        })
        .collect();
    (is_stream, lines)
}

fn recordings() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let entries = fs::read_dir(directory).expect("a directory");
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    assert!(paths.len() >= 11, "{paths:?}");
    paths
}

/// Whether the answer is that of a `G`: its `current_port` is the server's own choice.
fn without_current_port(mut answer: Vec<u8>) -> Vec<u8> {
    let record = answer.len().checked_sub(52);
    if let Some(record) = record.filter(|&at| answer[..at].ends_with(b"G ")) {
        answer[record + 8..record + 12].fill(0);
    }
    answer
}

#[test]
fn every_recorded_request_is_answered_as_the_recorded_server_did() {
    for path in recordings() {
        let tsl = Memory::new();
        let daemon = Daemon::start(&tsl);
        let (is_stream, lines) = read(&path);
        let mut clients = HashMap::new();
        let mut due: HashMap<String, Vec<u8>> = HashMap::new();
        for line in lines {
            if line.is_request {
                let answer = if is_stream {
                    ask_unix(&daemon.unix, &line.bytes)
                } else {
                    let client = clients
                        .entry(line.client.clone())
                        .or_insert_with(|| daemon.client());
                    client.ask(&line.bytes)
                };
                due.insert(line.client, answer);
            } else {
                let answer = due.remove(&line.client).expect("an answer");
                assert_eq!(
                    without_current_port(answer),
                    without_current_port(line.bytes),
                    "{}",
                    path.display()
                );
            }
        }
        // The historical client never deletes, the released one always does.
        let name = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        if name.starts_with("lrk") {
            assert!(tsl.labels().is_empty(), "{name}: {:?}", tsl.labels());
        } else if name != "lre-startup.txt" {
            assert!(!tsl.labels().is_empty(), "{name}");
        }
    }
}
