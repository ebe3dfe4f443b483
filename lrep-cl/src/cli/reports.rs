// SPDX-License-Identifier: MIT OR Apache-2.0

//! `lrep-cl reports`: what the parties say of the media they get, as they say it.

use std::num::NonZero;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::exit::Failure;
use super::{block_on, format, print};
use crate::rtcp::{Heard, Reports as Reader, Told};
use crate::tsl::kernel::Kernel;
use crate::tsl::{Report, SessionId};

/// Show the parties' RTCP reports as they pass: the far end's loss and jitter, and round trips
///
/// Goes on until it is interrupted. A round trip is known from a party's second report on: it is
/// measured from when a report of its counterpart passed the relay until the answer to it did.
#[derive(Args, Debug)]
pub struct Reports {
    /// Number of the session, from `lrep-cl sessions`; all sessions when not given
    id: Option<SessionId>,

    /// End after so many reports
    #[arg(long, value_name = "NUMBER")]
    count: Option<NonZero<u64>>,

    /// Print a line of JSON for each report instead of text
    #[arg(long)]
    json: bool,
}

impl Reports {
    /// Tells reports as they come.
    pub fn run(&self) -> Result<String, Failure> {
        block_on(async {
            let mut reports = Kernel::connect().await?.reports().await?;
            let mut reader = Reader::default();
            let mut left = self.count.map(NonZero::get);
            while let Some(report) = reports.recv().await {
                if self.id.is_some_and(|id| id != report.session) {
                    continue;
                }
                for told in reader.read(&report) {
                    let line = match self.json {
                        true => to_json(&report, &told).to_string(),
                        false => text(&report, &told),
                    };
                    print(&format!("{line}\n"))?;
                    left = left.map(|left| left - 1);
                    if left == Some(0) {
                        return Ok(String::new());
                    }
                }
            }
            Err(Failure::internal("the kernel's reports have ceased"))
        })
    }
}

fn to_json(report: &Report, told: &Told) -> Value {
    let heard = |heard: &Heard| {
        json!({
            "ssrc": heard.ssrc,
            "fraction_lost": fraction(heard),
            "lost": heard.lost,
            "jitter": heard.jitter,
            "round_trip_us": heard.round_trip.map(|round_trip| round_trip.as_micros()),
        })
    };
    json!({
        "session": report.session,
        "local": report.local,
        "source": report.source,
        "arrived_ns": report.arrived_ns,
        "ssrc": told.ssrc,
        "sent": told.sent.map(|sent| json!({
            "packets": sent.packets,
            "octets": sent.octets,
        })),
        "heard": told.heard.iter().map(heard).collect::<Vec<_>>(),
    })
}

fn text(report: &Report, told: &Told) -> String {
    let mut said = Vec::new();
    if let Some(sent) = told.sent {
        said.push(format!(
            "sent {} packets",
            format::number(sent.packets.into())
        ));
    }
    said.extend(told.heard.iter().map(|heard| {
        let round_trip = match heard.round_trip {
            Some(round_trip) => format!("round trip {} ms", milliseconds(round_trip)),
            None => "round trip unknown".to_owned(),
        };
        format!(
            "of {:08x} lost {:.1} % ({} in all), jitter {}, {round_trip}",
            heard.ssrc,
            fraction(heard) * 100.0,
            heard.lost,
            heard.jitter,
        )
    }));
    format!(
        "session {}, {} ({:08x}): {}",
        report.session,
        report.source,
        told.ssrc,
        match said.is_empty() {
            true => "neither sends nor receives".to_owned(),
            false => said.join("; "),
        }
    )
}

fn fraction(heard: &Heard) -> f64 {
    f64::from(heard.fraction_lost) / 256.0
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtcp::Sent;

    fn report() -> Report {
        Report {
            session: 7,
            local: "203.0.113.5:20001".parse().expect("valid"),
            source: "198.51.100.9:4001".parse().expect("valid"),
            arrived_ns: 5,
            packet: vec![],
        }
    }

    #[test]
    fn a_line_names_the_session_the_party_and_what_it_says() {
        let mut told = Told {
            ssrc: 0xaa,
            sent: None,
            heard: vec![],
        };
        assert_eq!(
            text(&report(), &told),
            "session 7, 198.51.100.9:4001 (000000aa): neither sends nor receives"
        );
        told.sent = Some(Sent {
            packets: 1234,
            octets: 1,
        });
        told.heard.push(Heard {
            ssrc: 0xbb,
            fraction_lost: 64,
            lost: 12,
            jitter: 34,
            round_trip: Some(Duration::from_micros(12_340)),
        });
        assert_eq!(
            text(&report(), &told),
            "session 7, 198.51.100.9:4001 (000000aa): sent 1,234 packets; of 000000bb lost 25.0 % \
             (12 in all), jitter 34, round trip 12.3 ms"
        );
        let json = to_json(&report(), &told);
        assert_eq!(json["heard"][0]["round_trip_us"], 12_340);
        assert_eq!(json["heard"][0]["fraction_lost"], 0.25);
        assert_eq!(json["source"], "198.51.100.9:4001");
    }
}
