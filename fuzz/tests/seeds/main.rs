// SPDX-License-Identifier: MIT OR Apache-2.0

//! The seeds that nobody could write by hand, so that each stays what its name says.
//! `UPDATE=1 cargo test -p lreproxy-fuzz --test seeds` writes them anew.

mod messages;
mod packets;
mod steps;

use std::path::Path;
use std::{env, fs};

/// Seeds of one target: names and bytes.
type Seeds = Vec<(&'static str, Vec<u8>)>;

/// Holds the seeds of a target to what they are to be, or writes them.
fn are_kept(target: &str, seeds: Seeds) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let directory = corpus.join(target);
    for (name, bytes) in seeds {
        let path = directory.join(name);
        if env::var_os("UPDATE").is_some() {
            fs::create_dir_all(&directory).expect("a directory");
            fs::write(&path, &bytes).expect("written");
        }
        let kept = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(
            kept == bytes,
            "{}: `UPDATE=1 cargo test -p lreproxy-fuzz --test seeds` writes it anew",
            path.display()
        );
    }
}

#[test]
fn packets_are_kept() {
    are_kept("ipv4_packet", packets::ipv4());
    are_kept("ipv6_packet", packets::ipv6());
    are_kept("translation", packets::translation());
}

#[test]
fn messages_are_kept() {
    are_kept("netlink_request", messages::netlink_requests());
    are_kept("netlink_answer", messages::netlink_answers());
    are_kept("netlink_message", messages::netlink_messages());
    are_kept("grpc_request", messages::grpc_requests());
    are_kept("grpc_answer", messages::grpc_answers());
}

#[test]
fn steps_are_kept() {
    are_kept("learning", steps::learning());
    are_kept("rtp_quality", steps::rtp_quality());
    are_kept("controller", steps::controller());
}
