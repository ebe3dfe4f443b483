// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which TSL a call goes to, and which may have it already.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use super::job::Job;
use super::{Client, Core};
use crate::balance::{Algorithm, Balancer, Candidate};
use crate::call::Media;
use crate::config::Config;
use crate::intent::{self, Refusal};
use crate::protocol::lrkproxy::Relay;

impl Core {
    /// The media an `S` asks for, and the TSL to relay it.
    pub(super) fn wanted(
        &mut self,
        client: Client,
        relay: &Relay<'_>,
        now: Instant,
    ) -> Result<(usize, Media), Refusal> {
        let set = self.set_of(client);
        let mut able = Vec::new();
        let mut refusal: Option<Refusal> = None;
        for (index, layer) in self.layers.iter().enumerate() {
            if layer.config.set != set {
                continue;
            }
            match intent::wanted(relay, &layer.config.addresses, &self.config.timeouts) {
                Ok(media) => able.push((index, media.learning(self.config.learning))),
                // Of several, the one that knows the addresses says what is wrong.
                Err(other) if !matches!(refusal, Some(ref known) if !known.is_foreign()) => {
                    refusal = Some(other);
                }
                Err(_) => {}
            }
        }
        // Seldom does it matter.
        let matters = self.draining
            || self.config.session_rate.is_some()
            || able
                .iter()
                .any(|(index, _)| !self.layers[*index].is_enabled());
        let is_known = || {
            self.layers
                .iter()
                .any(|layer| layer.may_know(relay.call_id))
        };
        if matters && !able.is_empty() && !is_known() {
            if self.draining {
                return Err(Refusal::Draining);
            }
            let enabled = |&(index, _): &(usize, Media)| self.layers[index].is_enabled();
            able.retain(enabled);
            if able.is_empty() {
                return Err(Refusal::Disabled { set });
            }
            if let Some(rate) = self.config.session_rate {
                if !self.new_calls.take(rate, now) {
                    return Err(Refusal::TooMany { rate });
                }
            }
        }
        let places: Vec<usize> = able.iter().map(|(index, _)| *index).collect();
        let chosen = self
            .choose(&places, relay.call_id, now)
            .and_then(|chosen| able.into_iter().find(|(index, _)| *index == chosen));
        let Some((tsl, media)) = chosen else {
            return Err(refusal.unwrap_or(Refusal::NoTsl { set }));
        };
        self.set_home(client.server(), tsl);
        self.watch_ports(tsl, &media, relay.call_id, now);
        Ok((tsl, media))
    }

    /// Which of these TSLs a call goes to: where it is, as long as that one lives.
    fn choose(&mut self, places: &[usize], call_id: &[u8], now: Instant) -> Option<usize> {
        let placed = self
            .placements
            .get(call_id)
            .filter(|place| places.contains(place));
        if let Some(place) = placed {
            if self
                .layers
                .get(place)
                .is_some_and(|layer| layer.is_alive(now))
            {
                return Some(place);
            }
        }
        self.balance(places, call_id, now)
            .or(placed)
            .or_else(|| places.first().copied())
    }

    /// The one of these TSLs that is next for a new call; `None` when none can take it.
    pub(super) fn balance(
        &mut self,
        places: &[usize],
        call_id: &[u8],
        now: Instant,
    ) -> Option<usize> {
        let usable: Vec<_> = places
            .iter()
            .filter_map(|&index| Some((index, self.layers.get(index)?)))
            .filter(|(_, layer)| layer.is_usable(now))
            .collect();
        let set = usable.first()?.1.config.set;
        // Counting is not for free.
        let counts = self.config.algorithm == Algorithm::LeastSessions;
        let candidates: Vec<_> = usable
            .into_iter()
            .map(|(index, layer)| Candidate {
                index,
                name: &layer.config.name,
                weight: layer.config.weight,
                sessions: if counts { layer.sessions() } else { 0 },
                packet_rate: layer.packet_rate(),
            })
            .collect();
        self.balancers.get_mut(&set)?.choose(&candidates, call_id)
    }

    /// Another TSL with the same addresses that a call may be given to.
    pub(super) fn alternative(&mut self, job: &Job, media: &Media, now: Instant) -> Option<usize> {
        let set = self.layers.get(*job.refused_by.first()?)?.config.set;
        let places: Vec<usize> = (0..self.layers.len())
            .filter(|index| !job.refused_by.contains(index))
            .filter(|&index| {
                let config = &self.layers[index].config;
                let locals = config.addresses.locals();
                let has = |local: SocketAddr| locals.iter().any(|&ip| local.ip() == ip);
                config.set == set && has(media.offerer.local) && has(media.answerer.local)
            })
            .collect();
        self.balance(&places, &job.label, now)
    }

    /// The TSLs that may hold what a `D` is for, the likeliest first, and the relay address it names
    /// there. A TSL that was not read yet may hold anything.
    pub(super) fn named(&self, relay: &Relay<'_>) -> Vec<(usize, SocketAddr)> {
        let placed = self.placements.get(relay.call_id);
        let mut places: Vec<_> = self
            .layers
            .iter()
            .enumerate()
            .filter_map(|(index, layer)| {
                let answerer = intent::named(relay, &layer.config.addresses)?;
                Some((index, answerer, layer))
            })
            .filter(|(_, answerer, layer)| {
                !layer.is_read() || layer.may_hold(relay.call_id, *answerer)
            })
            .collect();
        places.sort_by_key(|(index, answerer, layer)| {
            let holds = layer.calls.find(relay.call_id, *answerer).is_some();
            (!holds, placed != Some(*index))
        });
        let named = places.into_iter();
        named
            .map(|(index, answerer, _)| (index, answerer))
            .collect()
    }
}

/// A balancer for each set.
pub(super) fn balancers(config: &Config) -> BTreeMap<u32, Balancer> {
    let tsls = config.tsls.iter();
    tsls.map(|tsl| (tsl.set, Balancer::new(config.algorithm)))
        .collect()
}
