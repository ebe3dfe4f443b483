// SPDX-License-Identifier: MIT OR Apache-2.0

//! The host between the two networks, with everything that runs on it.

use std::net::SocketAddr;

use anyhow::{Result, bail};

use super::signalling::Signalling;
use super::stage::Stage;
use super::words::node;
use crate::guest::LREP_CL;
use crate::guest::lab::Lab;
use crate::guest::module;
use crate::guest::process::Process;
use crate::guest::sip::{Message, Setup, start_daemon, start_server};
use crate::guest::topology::Topology;
use crate::guest::wait::{LIMIT, until};

/// The relay host with all that runs on it, and the networks on both of its sides.
pub struct Host<'a> {
    // Dropped in this order: the programs before the network.
    server: Process,
    daemon: Process,
    /// The signalling that passes it.
    pub signalling: Signalling,
    /// The networks.
    pub net: Topology,
    /// Where everything is shown.
    pub stage: Stage<'a>,
}

impl<'a> Host<'a> {
    /// Starts everything, step by step.
    pub fn start(lab: &Lab, stage: Stage<'a>) -> Result<Self> {
        let setup = Setup::default();
        stage.step("load lreproxy.ko", module::ensure_loaded)?;
        let net = stage.step("connect caller, relay host and callee (namespaces)", || {
            Topology::new(lab)
        })?;
        let capture = lab.capture_everywhere(&net.relay)?;
        let daemon = stage.step("start lrep-cl", || start_daemon(lab, &net.relay, &setup))?;
        let server = stage.step("start Kamailio with its lrkproxy module", || {
            start_server(lab, &net.relay, &setup)
        })?;
        let node = until("Kamailio's question for addresses and ports", LIMIT, || {
            Ok(capture.datagrams().iter().find_map(node))
        })?;
        stage.text(&format!("  {node}"))?;
        Ok(Self {
            server,
            daemon,
            signalling: Signalling::new(capture),
            net,
            stage,
        })
    }

    /// Shows the signalling until this message has passed.
    pub fn follow(
        &mut self,
        what: &str,
        last: impl Fn(SocketAddr, &Message) -> bool,
    ) -> Result<()> {
        until(what, LIMIT, || {
            for (name, process) in [
                ("Kamailio", &mut self.server),
                ("lrep-cl", &mut self.daemon),
            ] {
                if let Some(status) = process.ended()? {
                    bail!("{name} ended with {status}");
                }
            }
            let passed = self.signalling.next(self.stage)?;
            Ok(passed
                .iter()
                .any(|(to, message)| last(*to, message))
                .then_some(()))
        })
    }
    /// What `lrep-cl` prints on this host.
    pub fn lrep_cl(&self, verb: &str) -> Result<String> {
        self.net.relay.run(LREP_CL, &[verb])
    }
}
