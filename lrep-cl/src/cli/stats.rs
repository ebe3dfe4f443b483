// SPDX-License-Identifier: MIT OR Apache-2.0

//! `lrep-cl stats`: counters of the whole relay.

use clap::Args;
use serde_json::{Value, json};

use super::block_on;
use super::exit::Failure;
use super::format;
use crate::json;
use crate::tsl::kernel::Kernel;
use crate::tsl::{Config, Totals, Tsl};

/// Show what the relay of this network namespace has done
#[derive(Args, Debug)]
pub struct Stats {
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
}

impl Stats {
    /// Tells the counters.
    pub fn run(&self) -> Result<String, Failure> {
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
    json!({
        "module_version": config.module_version,
        "port_min": config.ports.as_ref().map(|ports| *ports.start()),
        "port_max": config.ports.as_ref().map(|ports| *ports.end()),
        "local_addresses": config.local_addresses,
        "sessions": totals.sessions,
        "created": totals.created,
        "expired": totals.expired,
        "replaced": totals.replaced,
        "relayed": json::counters(&totals.relayed),
        "half_open": totals.half_open,
        "memory": totals.memory,
        "limits": {
            "sessions": config.limits.sessions,
            "half_open": config.limits.half_open,
            "memory": config.limits.memory,
        },
        "refused": {
            "sessions": totals.refused.sessions,
            "half_open": totals.refused.half_open,
            "memory": totals.refused.memory,
        },
        "alarms": totals.alarms,
        "alarms_missed": totals.alarms_missed,
    })
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
    let ports = match &config.ports {
        Some(ports) => format!("{} to {}", ports.start(), ports.end()),
        None => "not configured yet: start `lrep-cl run`".to_owned(),
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
        format::drops(&totals.relayed),
    )
}
