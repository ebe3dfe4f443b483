// SPDX-License-Identifier: MIT OR Apache-2.0

//! What SIP servers are told: whether to go on with this node, and which addresses and ports it has.

use std::time::Instant;

use tracing::{error, info, warn};

use super::layer::Layer;
use super::shortage::Shortage;
use super::{Client, Core, SipServer};
use crate::call::Media;
use crate::logging::CallId;
use crate::ports;
use crate::protocol::lrkproxy::NodeConfig;

/// SIP servers of which it is remembered what they were told. One that is forgotten is told anew.
pub(super) const SERVERS_MAX: usize = 4_096;

impl Core {
    /// Which set of TSLs serves this client.
    pub(super) fn set_of(&self, client: Client) -> u32 {
        self.config.set_of(client.listener(), client.server().1)
    }

    /// Whether a client may go on giving calls to this node: the TSL whose addresses it was told
    /// must be there. A client that was told none yet needs its answer: there are some that never
    /// ask again.
    pub(super) fn is_in_service(&self, client: Client, now: Instant) -> bool {
        // Without an answer a unix client waits for ever.
        let Client::Udp { .. } = client else {
            return true;
        };
        let set = self.set_of(client);
        let home = self.homes.get(&client.server());
        let home = home.and_then(|&home| self.layers.get(home));
        let Some(home) = home.filter(|home| home.config.set == set) else {
            return true;
        };
        // With one TSL only, there is nothing better for the client to do than to try it.
        let is_only = self.layers.len() == 1;
        let serves = |layer: &Layer| {
            layer.config.set == set
                && layer.config.addresses == home.config.addresses
                && layer.is_enabled()
                && (is_only || !layer.is_closed(now))
        };
        !self.draining && self.layers.iter().any(serves)
    }

    pub(super) fn set_home(&mut self, server: SipServer, tsl: usize) {
        self.homes.insert(server, tsl);
        if self.homes.len() > SERVERS_MAX {
            self.homes.pop_front();
        }
    }

    /// What a client is told: of a TSL that may be given calls and has ports left, if there is one.
    pub(super) fn node_config(&mut self, client: Client, now: Instant) -> NodeConfig {
        let set = self.set_of(client);
        let server = client.server();
        let places: Vec<usize> = (0..self.layers.len())
            .filter(|&index| self.layers[index].config.set == set)
            .collect();
        let home = self.homes.get(&server).copied();
        let known = home.filter(|home| places.contains(home));
        let alive = known.filter(|&home| self.layers[home].is_usable(now));
        let part = self.config.part_of(server.1);
        let has_ports = |layer: &Layer| !layer.ports.is_used_up(part);
        let roomy = alive.filter(|&home| has_ports(&self.layers[home]));
        let name = format!("{server:?}");
        let chosen = roomy
            .or_else(|| {
                let mut roomy = places.clone();
                roomy.retain(|&place| has_ports(&self.layers[place]));
                self.balance(&roomy, name.as_bytes(), now)
            })
            .or(alive)
            .or_else(|| self.balance(&places, name.as_bytes(), now))
            .or(known)
            .or_else(|| places.first().copied())
            .unwrap_or(0);
        self.set_home(server, chosen);
        let ports = self.layers[chosen].ports.tell(part, now);
        let layer = &self.layers[chosen];
        let config = NodeConfig {
            start_port: ports.start,
            end_port: ports.end,
            current_port: ports.current,
            internal_ip: layer.config.addresses.internal,
            external_ip: layer.config.addresses.external,
        };
        let tsl = layer.config.name.clone();
        info!(tsl, ports = ?config, "told a client addresses and ports");
        if ports.is_exhausted {
            if let Some(withheld) = self.alarms.due("exhausted", now) {
                error!(
                    withheld,
                    tsl,
                    sessions = layer.sessions(),
                    "no ports are free from {} to {}: new calls will end old ones; {}",
                    ports.start,
                    ports.end,
                    Shortage::of(true, || layer.ports_leaked())
                );
            }
        }
        config
    }

    /// Takes note of the ports a client has picked.
    pub(super) fn watch_ports(&mut self, tsl: usize, media: &Media, call_id: &[u8], now: Instant) {
        let Some(layer) = self.layers.get_mut(tsl) else {
            return;
        };
        layer.ports.seen(media.answerer.local.port());
        let ports = &layer.ports;
        let mut picked = media.locals().ports();
        if let Some(port) = picked.find(|port| !ports.accepts(*port)) {
            let known = ports::list(&layer.config.ports);
            self.alarm("port-range", now, |withheld| {
                warn!(
                    call_id = %CallId(call_id),
                    withheld,
                    "the SIP server picked relay port {port}, outside of {known}: give its module \
                     no start_port and end_port, or the same as lrep-cl",
                );
            });
        }
    }
}
