// SPDX-License-Identifier: MIT OR Apache-2.0

//! `lrep-cl stats`: counters of the whole relay.

use clap::Args;
use serde_json::{Value, json};

use super::block_on;
use super::exit::Failure;
use super::format;
use super::sessions::counters_to_json;
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
        "relayed": counters_to_json(&totals.relayed),
    })
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
         forwarded {} packets, {}\n\
         dropped   {}\n",
        config.module_version,
        addresses.join(", "),
        format::number(totals.sessions),
        format::number(totals.created),
        format::number(totals.expired),
        format::number(totals.replaced),
        format::number(totals.relayed.packets),
        format::bytes(totals.relayed.bytes),
        format::drops(&totals.relayed),
    )
}
