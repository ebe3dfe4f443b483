// SPDX-License-Identifier: MIT OR Apache-2.0

//! Every seed of every target, as libFuzzer gives them, but without it.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

/// The directory of cargo-fuzz.
fn fuzz() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| {
        panic!("{}: {error}", directory.display());
    });
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    paths
}

/// Gives a target all its seeds, and names those that break a promise.
fn all_pass(target: &str, check: fn(&[u8])) {
    let directory = fuzz().join("corpus").join(target);
    let seeds = entries(&directory);
    assert!(!seeds.is_empty(), "{}: no seeds", directory.display());
    let fails = |seed: &PathBuf| {
        let bytes = fs::read(seed).unwrap_or_else(|error| panic!("{}: {error}", seed.display()));
        catch_unwind(|| check(&bytes)).is_err()
    };
    let failed: Vec<_> = seeds.into_iter().filter(fails).collect();
    assert!(failed.is_empty(), "broken by {failed:#?}");
}

/// The names of what is in a directory, without their ends.
fn names(directory: &str) -> BTreeSet<String> {
    let stem = |path: PathBuf| path.file_stem().map(OsStr::to_os_string);
    entries(&fuzz().join(directory))
        .into_iter()
        .filter_map(|path| stem(path)?.into_string().ok())
        .collect()
}

macro_rules! targets {
    ($($target:ident)*) => {
        $(
            #[test]
            fn $target() {
                all_pass(stringify!($target), lreproxy_fuzz::$target::check);
            }
        )*

        #[test]
        fn every_target_has_a_test_and_every_seed_a_target() {
            let tested = BTreeSet::from([$(stringify!($target).to_owned()),*]);
            assert_eq!(names("fuzz_targets"), tested);
            assert_eq!(names("corpus"), tested);
        }
    };
}

targets! {
    answers
    certificate
    configuration
    control_answer
    control_request
    controller
    firewall_ruleset
    grpc_answer
    grpc_request
    host_text
    ipv4_packet
    ipv6_packet
    jsonrpc_answer
    learning
    local_ports
    lrkproxy_relay
    lrkproxy_request
    netlink_answer
    netlink_message
    netlink_request
    payload
    rtcp_report
    rtp_quality
    text_forms
    translation
}
