// SPDX-License-Identifier: MIT OR Apache-2.0

//! `lrep-cl stats`: counters of the whole relay.

use clap::Args;
use serde_json::json;

use super::block_on;
use super::exit::Failure;
use super::format;
use super::sessions::counters_to_json;
use crate::tsl::Tsl;
use crate::tsl::kernel::Kernel;

/// Show what the relay of this network namespace has done
#[derive(Args, Debug)]
pub struct Stats {
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
}

impl Stats {
    /// Prints the counters.
    pub fn run(&self) -> Result<(), Failure> {
        let (config, totals) = block_on(async {
            let kernel = Kernel::connect().await?;
            Ok((kernel.config_get().await?, kernel.totals_get().await?))
        })?;
        if self.json {
            println!(
                "{}",
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
            );
            return Ok(());
        }
        println!("module    {}", config.module_version);
        match config.ports {
            Some(ports) => println!("ports     {} to {}", ports.start(), ports.end()),
            None => println!("ports     not configured yet: start `lrep-cl run`"),
        }
        let addresses = config.local_addresses.iter().map(ToString::to_string);
        println!("addresses {}", addresses.collect::<Vec<_>>().join(", "));
        println!(
            "sessions  {} alive, {} made, {} expired, {} replaced",
            format::number(totals.sessions),
            format::number(totals.created),
            format::number(totals.expired),
            format::number(totals.replaced)
        );
        println!(
            "forwarded {} packets, {}",
            format::number(totals.relayed.packets),
            format::bytes(totals.relayed.bytes)
        );
        println!("dropped   {}", format::drops(&totals.relayed));
        Ok(())
    }
}
