// SPDX-License-Identifier: MIT OR Apache-2.0

//! What else makes a kernel send packets on with other addresses, as text for its programs.

use std::fmt::Write;
use std::net::IpAddr;

use anyhow::{Context, Result};

use crate::guest::crowd::session;
use crate::guest::netns::Namespace;
use crate::guest::relay::Stream;
use crate::guest::shell;

/// A way to do it.
#[derive(Clone, Copy)]
pub enum Other {
    /// One rule for each direction.
    NftRules,
    /// One element of a map for each direction, and one rule for all.
    NftElements,
    /// One entry of connection tracking for each stream.
    Conntrack,
}

impl Other {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::NftRules, Self::NftElements, Self::Conntrack];

    /// As the table calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::NftRules => "nft NAT rule",
            Self::NftElements => "nft map element",
            Self::Conntrack => "conntrack entry",
        }
    }

    /// Makes a namespace ready, and tells what its program is to read for this many sessions' RTP, and
    /// how many things that makes.
    pub fn prepare(self, namespace: &Namespace, sessions: usize) -> Result<(String, usize)> {
        let streams = (0..sessions)
            .map(|number| {
                let session = session(number)?;
                session.streams.first().copied().context("no stream")
            })
            .collect::<Result<Vec<_>>>()?;
        let mut text = String::new();
        match self {
            Self::NftRules | Self::NftElements => {
                shell::run_with_input(namespace.command("nft").args(["-f", "-"]), TABLE)?;
                if matches!(self, Self::NftElements) {
                    text.push_str("add element ip compared parties {\n");
                }
                for direction in streams.iter().flat_map(directions) {
                    let Direction {
                        at: (address, port),
                        to: (party, party_port),
                    } = direction;
                    match self {
                        Self::NftRules => writeln!(
                            text,
                            "add rule ip compared in ip daddr {address} udp dport {port} \
                             dnat to {party}:{party_port}"
                        )?,
                        _ => writeln!(text, "{address} . {port} : {party} . {party_port},")?,
                    }
                }
                if matches!(self, Self::NftElements) {
                    text.push_str("}\n");
                }
                Ok((text, 2 * sessions))
            }
            Self::Conntrack => {
                for stream in &streams {
                    let [to_a, to_b] = directions(stream);
                    writeln!(
                        text,
                        "-A -t 3000 -u SEEN_REPLY,ASSURED -s {} -d {} -r {} -q {} -p udp \
                         --sport {} --dport {} --reply-port-src {} --reply-port-dst {}",
                        to_b.to.0,
                        to_a.at.0,
                        to_a.to.0,
                        to_b.at.0,
                        to_b.to.1,
                        to_a.at.1,
                        to_a.to.1,
                        to_b.at.1
                    )?;
                }
                Ok((text, sessions))
            }
        }
    }

    /// Has its program do what is in a file.
    pub fn program(self, namespace: &Namespace, file: &str) -> Result<()> {
        match self {
            Self::NftRules | Self::NftElements => namespace.run("nft", &["-f", file]),
            Self::Conntrack => namespace.run("conntrack", &["--load-file", file]),
        }
        .map(|_| ())
    }

    /// Takes all of it away.
    pub fn clear(self, namespace: &Namespace) -> Result<()> {
        match self {
            Self::NftRules | Self::NftElements => {
                namespace.run("nft", &["delete", "table", "ip", "compared"])?;
            }
            Self::Conntrack => {
                namespace.run("conntrack", &["-F"])?;
            }
        }
        Ok(())
    }
}

const TABLE: &str = "table ip compared {
    map parties {
        type ipv4_addr . inet_service : ipv4_addr . inet_service
    }
    chain in {
        type nat hook prerouting priority dstnat
    }
}
";

/// Where packets of one direction arrive, and where they go from there.
struct Direction {
    at: (IpAddr, u16),
    to: (IpAddr, u16),
}

/// What arrives at a, and what arrives at b.
fn directions(stream: &Stream) -> [Direction; 2] {
    let one =
        |from: &crate::guest::relay::Endpoint, to: &crate::guest::relay::Endpoint| Direction {
            at: (from.local.ip(), from.local.port()),
            to: to
                .remote
                .map_or((to.local.ip(), 0), |remote| (remote.ip(), remote.port())),
        };
    [one(&stream.a, &stream.b), one(&stream.b, &stream.a)]
}
