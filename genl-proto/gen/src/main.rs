// SPDX-License-Identifier: MIT OR Apache-2.0
//! Writes what is generated from `genl-proto/lreproxy.yaml`, or checks that it
//! is up to date.

mod family;
mod markdown;
mod rust;
mod spec;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;

use crate::family::Family;

/// Generates genl-proto/src/generated.rs and docs/protocol.md from
/// genl-proto/lreproxy.yaml.
#[derive(Parser)]
struct Arguments {
    /// Write nothing; exit with 1 and name the files that are not up to date.
    #[arg(long)]
    check: bool,

    /// Top of the source tree.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))]
    root: PathBuf,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let input = arguments.root.join("genl-proto/lreproxy.yaml");
    let yaml = std::fs::read_to_string(&input)
        .with_context(|| format!("cannot read {}", input.display()))?;
    let family = Family::parse(&yaml).with_context(|| format!("in {}", input.display()))?;

    let outputs = [
        ("genl-proto/src/generated.rs", rust::render(&family)),
        ("docs/protocol.md", markdown::render(&family)),
    ];
    let mut stale = false;
    for (name, text) in outputs {
        let path = arguments.root.join(name);
        if arguments.check {
            if !holds(&path, &text)? {
                eprintln!("{name} is not up to date: run `make generate`");
                stale = true;
            }
        } else {
            std::fs::write(&path, text)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    Ok(ExitCode::from(u8::from(stale)))
}

/// Whether the file is there and holds exactly this text.
fn holds(path: &Path, text: &str) -> Result<bool> {
    match std::fs::read_to_string(path) {
        Ok(found) => Ok(found == text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}
