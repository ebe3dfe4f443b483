// SPDX-License-Identifier: MIT OR Apache-2.0

//! `lrep-cl stats`: counters of the whole relay.

use clap::Args;
use serde_json::{Value, json};

use super::block_on;
use super::control::Control;
use super::exit::Failure;
use super::format;
use super::sessions::LOCAL;
use crate::json;
use crate::operator::Request;
use crate::tsl::kernel::Kernel;
use crate::tsl::{Config, Totals, Tsl};

/// Show what the relay of this network namespace has done, or the TSLs of the daemon
#[derive(Args, Debug)]
pub struct Stats {
    /// What every TSL of the running daemon has done, other hosts' too; without it, the kernel module of
    /// this host, whether the daemon runs or not
    #[arg(long)]
    all: bool,

    /// Only this TSL of the running daemon, by its URL
    #[arg(long, value_name = "URL", conflicts_with = "all")]
    tsl: Option<String>,

    #[command(flatten)]
    control: Control,

    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
}

impl Stats {
    /// Tells the counters.
    pub fn run(&self) -> Result<String, Failure> {
        if self.all || self.tsl.is_some() {
            let tsl = self.tsl.clone();
            let tsls = self.control.lines(&Request::Totals { tsl })?;
            return Ok(match self.json {
                true => format!("{}\n", Value::from(tsls)),
                false => table(&tsls),
            });
        }
        let (config, totals) = block_on(async {
            let kernel = Kernel::connect().await?;
            Ok((kernel.config_get().await?, kernel.totals_get().await?))
        })?;
        Ok(if self.json {
            format!("{}\n", to_json(&config, &totals))
        } else {
            text(&config, &totals)
        })
    }
}

fn to_json(config: &Config, totals: &Totals) -> Value {
    let mut told = json::totals(LOCAL, totals);
    let config = json!({
        "module_version": config.module_version,
        "ports": config.ports.iter().map(|range| json!({
            "first": range.start(),
            "last": range.end(),
        })).collect::<Vec<_>>(),
        "local_addresses": config.local_addresses,
        "limits": {
            "sessions": config.limits.sessions,
            "half_open": config.limits.half_open,
            "memory": config.limits.memory,
        },
    });
    if let (Value::Object(told), Value::Object(config)) = (&mut told, config) {
        told.extend(config);
    }
    told
}

/// A line for each TSL.
fn table(tsls: &[Value]) -> String {
    let header = [
        "TSL",
        "SESSIONS",
        "MADE",
        "EXPIRED",
        "REPLACED",
        "HALF OPEN",
        "MEMORY",
        "PACKETS",
        "BYTES",
        "DROPPED",
    ];
    let row = |told: &Value| {
        let number = |value: &Value| value.as_u64().unwrap_or(0);
        let drops = told["relayed"]["drops"].as_object();
        let dropped = drops
            .into_iter()
            .flat_map(|drops| drops.values())
            .map(number);
        vec![
            told["tsl"].as_str().unwrap_or_default().to_owned(),
            format::number(number(&told["sessions"])),
            format::number(number(&told["created"])),
            format::number(number(&told["expired"])),
            format::number(number(&told["replaced"])),
            format::number(number(&told["half_open"])),
            format::bytes(number(&told["memory"])),
            format::number(number(&told["relayed"]["packets"])),
            format::bytes(number(&told["relayed"]["bytes"])),
            format::number(dropped.sum()),
        ]
    };
    let table = format::table(&header, &header[1..], tsls.iter().map(row));
    format!("{table}\n")
}

/// `12 above 1,000 sessions, 3 above 1.0 MiB of memory`, or `-`.
fn refused(config: &Config, totals: &Totals) -> String {
    let (limits, refused) = (config.limits, totals.refused);
    let number = |limit: u32, what| match limit {
        // The limit was taken away since.
        0 => format!("a limit of {what}"),
        limit => format!("{} {what}", format::number(limit.into())),
    };
    let memory = match limits.memory {
        0 => "a limit of memory".to_owned(),
        limit => format!("{} of memory", format::bytes(limit)),
    };
    let said: Vec<_> = [
        (refused.sessions, number(limits.sessions, "sessions")),
        (refused.half_open, number(limits.half_open, "half open")),
        (refused.memory, memory),
    ]
    .into_iter()
    .filter(|(times, _)| *times > 0)
    .map(|(times, limit)| format!("{} above {limit}", format::number(times)))
    .collect();
    match said.is_empty() {
        true => "-".to_owned(),
        false => said.join(", "),
    }
}

fn text(config: &Config, totals: &Totals) -> String {
    let ports: Vec<_> = config
        .ports
        .iter()
        .map(|range| format!("{} to {}", range.start(), range.end()))
        .collect();
    let ports = if ports.is_empty() {
        "not configured yet: start `lrep-cl run`".to_owned()
    } else {
        ports.join(", ")
    };
    let addresses: Vec<_> = config
        .local_addresses
        .iter()
        .map(ToString::to_string)
        .collect();
    format!(
        "module    {}\n\
         ports     {ports}\n\
         addresses {}\n\
         sessions  {} alive, {} made, {} expired, {} replaced\n\
         half open {}\n\
         memory    {}\n\
         refused   {}\n\
         alarms    {}\n\
         forwarded {} packets, {}\n\
         dropped   {}\n",
        config.module_version,
        addresses.join(", "),
        format::number(totals.sessions),
        format::number(totals.created),
        format::number(totals.expired),
        format::number(totals.replaced),
        format::number(totals.half_open),
        format::bytes(totals.memory),
        refused(config, totals),
        format::number(totals.alarms),
        format::number(totals.relayed.packets),
        format::bytes(totals.relayed.bytes),
        format::drops(
            totals
                .relayed
                .drops
                .iter()
                .map(|(reason, packets)| (reason.name(), packets))
        ),
    )
}
