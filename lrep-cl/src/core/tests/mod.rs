// SPDX-License-Identifier: MIT OR Apache-2.0

//! The core with tables that carry out commands as the module does.

mod balancing;
mod journal;
mod model;
mod operating;
mod ports;
mod restarted;
mod returned;
mod silenced;
mod table;

use nix::errno::Errno;
use proptest::prelude::*;

use self::table::{Table, locals, refused};
use super::*;
use crate::balance::Algorithm;
use crate::config::{Config, Settings};
use crate::tsl::EndReason;

const OWNER: u32 = 7;
const TSLS: usize = 3;
/// Says where calls begin.
const SEED: u64 = 1;

/// Three TSLs that share their addresses.
fn config(algorithm: Algorithm) -> Config {
    let number = Algorithm::ALL.iter().position(|one| *one == algorithm);
    let settings = Settings {
        lreproxy_sock: vec!["grpc:a:1 grpc:b:1 grpc:c:1".parse().expect("TSLs")],
        internal_ip: "127.0.0.21".parse().ok(),
        lrep_alg: number
            .and_then(|number| number.try_into().ok())
            .expect("a number"),
        request_rate: 0,
        owner: OWNER,
        ..Settings::default()
    };
    let mut config = settings.config().expect("a configuration");
    for (index, tsl) in config.tsls.iter_mut().enumerate() {
        tsl.name = format!("tsl-{index}");
    }
    config
}
