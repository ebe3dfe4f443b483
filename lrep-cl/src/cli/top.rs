// SPDX-License-Identifier: MIT OR Apache-2.0

//! `lrep-cl top`: what is going on, as it goes on.

use std::io::{self, IsTerminal};
use std::num::NonZero;
use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};

use super::exit::Failure;
use super::sessions::{Which, call_id};
use super::{format, print};
use crate::top::{Sample, Seen, rates};

/// Show the busiest calls and the TSLs as they are now: rates, loss, jitter, drops
///
/// Goes on until it is interrupted. Rates are those since the picture before; the first one shows
/// each call's mean. What a TSL loses and drops is that of all its calls; its jitter, like a call's, is
/// that of the worst direction.
#[derive(Args, Debug)]
pub struct Top {
    /// Time between two pictures
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = humantime::parse_duration)]
    every: Duration,

    /// How many calls are shown
    #[arg(long, value_name = "NUMBER", default_value_t = 20)]
    calls: usize,

    /// End after so many pictures
    #[arg(long, value_name = "NUMBER")]
    count: Option<NonZero<u64>>,

    #[command(flatten)]
    which: Which,

    /// Print a line of JSON for each picture instead of text
    #[arg(long)]
    json: bool,
}

impl Top {
    /// Shows one picture after the other.
    pub fn run(&self) -> Result<String, Failure> {
        let mut seen = Seen::default();
        let mut left = self.count.map(NonZero::get);
        loop {
            let now = Instant::now();
            let sessions = self.which.read()?;
            let samples: Vec<Sample> = sessions.iter().map(sample).collect();
            let (tsls, mut calls) = rates(&samples, &mut seen, now);
            calls.truncate(self.calls);
            print(&if self.json {
                format!("{}\n", json!({ "tsls": tsls, "calls": calls }))
            } else {
                let clear = if io::stdout().is_terminal() {
                    "\x1b[H\x1b[2J"
                } else {
                    ""
                };
                format!("{clear}{}", picture(&tsls, &calls))
            })?;
            left = left.map(|left| left - 1);
            if left == Some(0) {
                return Ok(String::new());
            }
            sleep(self.every);
        }
    }
}

fn sample(session: &Value) -> Sample {
    let number = |key: &str| session[key].as_u64().unwrap_or(0);
    let streams = session["streams"].as_array();
    let directions: Vec<&Value> = streams
        .into_iter()
        .flatten()
        .flat_map(|stream| [&stream["a"], &stream["b"]])
        .collect();
    let sum = |of: fn(&Value) -> u64| directions.iter().map(|direction| of(direction)).sum();
    let jitter = |direction: &&Value| direction["quality"]["jitter_us"].as_u64();
    Sample {
        tsl: session["tsl"].as_str().unwrap_or_default().to_owned(),
        id: number("id"),
        call_id: call_id(session),
        age_ms: number("age_ms"),
        packets: number("packets"),
        bytes: number("bytes"),
        lost: sum(|direction| direction["quality"]["lost"].as_u64().unwrap_or(0)),
        dropped: sum(|direction| {
            let drops = direction["received"]["drops"].as_object();
            let drops = drops.into_iter().flat_map(|drops| drops.values());
            drops.filter_map(Value::as_u64).sum()
        }),
        jitter_us: directions.iter().filter_map(jitter).max(),
    }
}

fn picture(tsls: &[crate::top::TslRate], calls: &[crate::top::CallRate]) -> String {
    let header = [
        "TSL",
        "RELAYS",
        "PACKETS/S",
        "BITS/S",
        "LOST/S",
        "DROPPED/S",
        "JITTER",
    ];
    let rows = tsls.iter().map(|tsl| {
        vec![
            tsl.tsl.clone(),
            format::number(tsl.sessions),
            format::number(tsl.packets),
            format::number(tsl.bits),
            format::number(tsl.lost),
            format::number(tsl.dropped),
            jitter(tsl.jitter_us),
        ]
    });
    let tsls = format::table(&header, &header[1..], rows);
    let header = [
        "CALL-ID",
        "TSL",
        "ID",
        "PACKETS/S",
        "BITS/S",
        "LOST/S",
        "DROPPED/S",
        "JITTER",
    ];
    let rows = calls.iter().map(|call| {
        vec![
            call.call_id.clone(),
            call.tsl.clone(),
            call.id.to_string(),
            format::number(call.packets),
            format::number(call.bits),
            format::number(call.lost),
            format::number(call.dropped),
            jitter(call.jitter_us),
        ]
    });
    let calls = format::table(&header, &header[2..], rows);
    format!("{tsls}\n\n{calls}\n")
}

fn jitter(us: Option<u64>) -> String {
    us.map_or_else(
        || "-".to_owned(),
        |us| format!("{}.{} ms", us / 1000, us % 1000 / 100),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::sessions::tests::session;

    #[test]
    fn a_picture_tells_what_both_directions_lost_dropped_and_delayed() {
        let mut session = session("local");
        session["packets"] = json!(4500);
        session["bytes"] = json!(774_000);
        let stream = &mut session["streams"][0];
        stream["a"]["received"]["drops"] = json!({ "held": 90, "malformed": 180 });
        stream["a"]["quality"] = json!({ "lost": 450, "jitter_us": 1_500 });
        stream["b"]["received"]["drops"] = json!({ "foreign_source": 90 });
        stream["b"]["quality"] = json!({ "lost": 90, "jitter_us": 20_250 });
        let sample = sample(&session);
        assert_eq!((sample.lost, sample.dropped), (540, 360));
        assert_eq!(sample.jitter_us, Some(20_250));

        // It has lived for 90 seconds.
        let (tsls, calls) = rates(&[sample], &mut Seen::default(), Instant::now());
        let picture = picture(&tsls, &calls);
        let lines: Vec<Vec<&str>> = picture
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        for line in [
            "local 1 50 68,800 6 4 20.2 ms",
            "call-1@host local 3 50 68,800 6 4 20.2 ms",
        ] {
            let words: Vec<_> = line.split_whitespace().collect();
            assert!(lines.contains(&words), "{line} is not in\n{picture}");
        }
    }
}
