//! Preparation (R4): where a device will likely be next, and what is held there for it.
//!
//! When a device connects, the gateways it may go to next are weighed: by the moves of all
//! devices from there, by its own, and by the beacons that the gateway hears. The best few hold
//! record, VAP and tunnel for it until it moves, settles, or is nowhere for long. A device that
//! has settled is prepared for again when its signal weakens.

use std::collections::BTreeMap;

use homeward_model::{GatewayId, Instant};

use super::graph::decayed;
use super::records::{Device, DeviceKey, Preparation};
use super::timers::Timer;
use super::{Controller, Event, Withdrawn};
use crate::{Neighbour, Prepare, Prepared, ToGateway, Withdraw};

/// What a gateway that is prepared counts more than one that would have to be: small changes do
/// not make preparations come and go.
const INERTIA: f64 = 1.25;

impl Controller {
    /// A device is at another gateway; `known`: it is known where it was before.
    pub(super) fn moved(&mut self, key: DeviceKey, known: bool, now: Instant) {
        let Some(device) = self.devices.get_mut(key) else { return };
        device.settled = false;
        device.prepared.retain(|_, state| *state != Preparation::Failed);
        let (network, mac) = key;
        self.timers.set(Timer::Device(network, mac), now + self.settings.settle);
        self.plan(key, !known, now);
    }

    /// A gateway says again how well it hears a device that it has.
    pub(super) fn mind_signal(&mut self, key: DeviceKey, gateway: GatewayId, now: Instant) {
        let weak = self.settings.weak_signal;
        let Some(device) = self.devices.get_mut(key) else { return };
        let signal = device.claims.get(&gateway).and_then(|claim| claim.signal);
        let leaving = signal.is_some_and(|signal| signal <= weak);
        if device.location == Some(gateway) && device.settled && leaving {
            device.settled = false;
            let (network, mac) = key;
            self.timers.set(Timer::Device(network, mac), now + self.settings.settle);
            self.plan(key, false, now);
        }
    }

    /// A device has been where it is for long, or nowhere.
    pub(super) fn device_timer(&mut self, key: DeviceKey) {
        let Some(device) = self.devices.get_mut(key) else { return };
        let why = match device.location {
            Some(_) => Withdrawn::Settled,
            None => Withdrawn::Absent,
        };
        device.settled = device.location.is_some();
        self.withdraw_all(key, why);
    }

    /// The beacons that a gateway hears, all of them.
    pub(super) fn take_neighbours(
        &mut self,
        gateway: GatewayId,
        neighbours: Vec<Neighbour>,
        now: Instant,
    ) {
        let Some(record) = self.gateways.get_mut(&gateway) else { return };
        record.neighbours = neighbours;
        record.neighbours_at = now;
        let devices: Vec<DeviceKey> = record.devices.iter().copied().collect();
        for key in devices {
            let here = |d: &Device| d.location == Some(gateway) && !d.settled;
            if self.devices.get(key).is_some_and(here) {
                self.plan(key, false, now);
            }
        }
    }

    /// What a gateway that greets holds prepared.
    pub(super) fn take_prepared(&mut self, gateway: GatewayId, held: Vec<Prepare>, now: Instant) {
        let Some(record) = self.gateways.get(&gateway) else { return };
        let known: Vec<DeviceKey> = record.prepared.keys().copied().collect();
        let mut held: BTreeMap<DeviceKey, Prepare> =
            held.into_iter().map(|p| ((p.network, p.mac), p)).collect();
        // What it was to hold and does not: said again, if it still may hold that many.
        for (at, key) in known.into_iter().enumerate() {
            let here = held.remove(&key).is_some();
            if at >= self.room(gateway) {
                self.withdraw(gateway, key, Withdrawn::GaveWay);
            } else if !here && !self.say_prepare(gateway, key) {
                self.withdraw(gateway, key, Withdrawn::Unknown);
            }
        }
        // What it holds and nobody knows of: from before a restart of this process. It stays
        // until the device is heard of, or has been nowhere for long.
        for (key, prepare) in held {
            if !self.take_over(gateway, key, now) {
                let Prepare { mac, network, .. } = prepare;
                self.send(gateway, ToGateway::Withdraw(Withdraw { mac, network }));
                let why = Withdrawn::Unknown;
                self.events.push_back(Event::Withdrawn { mac, network, gateway, why });
            }
        }
    }

    /// What became of a preparation.
    pub(super) fn prepared(&mut self, gateway: GatewayId, prepared: Prepared, now: Instant) {
        let Prepared { mac, network, ready, reason } = prepared;
        let key = (network, mac);
        let Some(device) = self.devices.get_mut(key) else { return };
        let Some(state) = device.prepared.get_mut(&gateway) else { return };
        if ready {
            *state = Preparation::Ready;
            return;
        }
        *state = Preparation::Failed;
        if let Some(record) = self.gateways.get_mut(&gateway) {
            record.prepared.remove(&key);
        }
        self.events.push_back(Event::PrepareFailed { mac, network, gateway, reason });
        self.note(key);
        self.mark(network, gateway);
        if self.devices.get(key).is_some_and(|d| d.location.is_some() && !d.settled) {
            self.plan(key, false, now);
        }
    }

    /// Withdraws a device's preparation at one gateway.
    pub(super) fn withdraw(&mut self, gateway: GatewayId, key: DeviceKey, why: Withdrawn) {
        let (network, mac) = key;
        let device = self.devices.get_mut(key);
        let state = device.and_then(|device| device.prepared.remove(&gateway));
        if let Some(record) = self.gateways.get_mut(&gateway) {
            record.prepared.remove(&key);
        }
        if state.is_some_and(|state| state != Preparation::Failed) {
            self.send(gateway, ToGateway::Withdraw(Withdraw { mac, network }));
            self.events.push_back(Event::Withdrawn { mac, network, gateway, why });
        }
        self.note(key);
        self.mark(network, gateway);
    }

    /// Withdraws all preparation of a device.
    pub(super) fn withdraw_all(&mut self, key: DeviceKey, why: Withdrawn) {
        let Some(device) = self.devices.get(key) else { return };
        let gateways: Vec<GatewayId> = device.prepared.keys().copied().collect();
        gateways.into_iter().for_each(|gateway| self.withdraw(gateway, key, why));
    }

    /// Chooses where a device is prepared, and has it so. `keep`: nothing is known of where it
    /// was before, so what is held for it already may be right.
    fn plan(&mut self, key: DeviceKey, keep: bool, now: Instant) {
        let (network, mac) = key;
        let most = self.settings.prepared_per_device;
        let Some(device) = self.devices.get(key) else { return };
        let Some(location) = device.location else { return };
        let facts = self.networks.get(&network).filter(|n| n.entitles(mac)).and_then(|n| n.known());
        let Some(home) = facts.map(|facts| facts.home) else { return };

        let weights = self.weigh(key, location, now);
        // The share of all, home included, is how likely it is: what one device's best is worth
        // is compared with another's.
        let all: f64 = weights.values().sum();
        let least = self.settings.least_weight;
        let prepared = |gateway: &GatewayId| device.is_prepared_at(*gateway);
        let mut choice: Vec<(GatewayId, f64)> = weights
            .iter()
            .filter(|(_, weight)| **weight >= least)
            .map(|(gateway, weight)| (*gateway, weight / all))
            .collect();
        if keep {
            let kept = device.prepared.keys().filter(|g| prepared(g) && !weights.contains_key(g));
            choice.extend(kept.map(|gateway| (*gateway, 0.0)));
        }
        choice.retain(|(gateway, _)| {
            let failed = device.prepared.get(gateway) == Some(&Preparation::Failed);
            let there = device.claims.get(gateway).is_some_and(|claim| !claim.evicted);
            *gateway != location
                && Some(*gateway) != home
                && !failed
                && !there
                && self.room(*gateway) > 0
        });
        for (gateway, share) in &mut choice {
            if prepared(gateway) {
                *share *= INERTIA;
            }
        }
        choice.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));

        choice.retain(|(gateway, share)| self.would_hold(*gateway, key, *share));
        choice.truncate(most);
        let chosen: BTreeMap<GatewayId, f64> = choice.into_iter().collect();
        let old = device.prepared.keys().filter(|g| prepared(g) && !chosen.contains_key(g));
        let old: Vec<GatewayId> = old.copied().collect();
        // First these, so that a device is never prepared at more than it may be.
        old.into_iter().for_each(|gateway| self.withdraw(gateway, key, Withdrawn::Moved));
        chosen.into_iter().for_each(|(gateway, share)| self.hold(gateway, key, share));
    }

    /// The gateways that a device may go to from there, and how much speaks for each.
    fn weigh(&self, key: DeviceKey, location: GatewayId, now: Instant) -> BTreeMap<GatewayId, f64> {
        let settings = &self.settings;
        let half_life = settings.move_half_life;
        let mut weights: BTreeMap<GatewayId, f64> = BTreeMap::new();
        for (to, weight) in self.graph.from(location, half_life, now) {
            *weights.entry(to).or_default() += weight;
        }
        let moves = self.devices.get(key).into_iter().flat_map(|device| &device.moves);
        for step in moves.filter(|step| step.from == location) {
            let weight = decayed(settings.own_move_weight, now.since(step.at), half_life);
            *weights.entry(step.to).or_default() += weight;
        }
        let record = self.gateways.get(&location);
        let fresh = record.filter(|g| now.since(g.neighbours_at) <= settings.neighbour_age);
        // One gateway may be heard with several BSSIDs: the best counts.
        let mut heard: BTreeMap<GatewayId, f64> = BTreeMap::new();
        for neighbour in fresh.into_iter().flat_map(|g| &g.neighbours) {
            if let Some(owner) = self.bssids.get(&neighbour.bssid) {
                let strength = ((f64::from(neighbour.signal.0) + 90.0) / 60.0).clamp(0.0, 1.0);
                let best = heard.entry(*owner).or_default();
                *best = best.max(strength * settings.beacon_weight);
            }
        }
        for (owner, weight) in heard {
            *weights.entry(owner).or_default() += weight;
        }
        weights.remove(&location);
        weights
    }

    /// Whether a gateway has room for a device, or holds a less likely one.
    fn would_hold(&self, gateway: GatewayId, key: DeviceKey, share: f64) -> bool {
        let Some(record) = self.gateways.get(&gateway) else { return false };
        record.prepared.contains_key(&key)
            || record.prepared.len() < self.room(gateway)
            || record.weakest().is_some_and(|(_, held)| held < share)
    }

    /// Has a gateway hold a device prepared; the least likely one gives way if need be.
    fn hold(&mut self, gateway: GatewayId, key: DeviceKey, share: f64) {
        let room = self.room(gateway);
        let Some(record) = self.gateways.get_mut(&gateway) else { return };
        if let Some(known) = record.prepared.get_mut(&key) {
            *known = share;
            return;
        }
        if record.prepared.len() >= room
            && let Some((weakest, _)) = record.weakest()
        {
            self.withdraw(gateway, weakest, Withdrawn::GaveWay);
        }
        self.enter(gateway, key, share, Preparation::Asked);
        self.say_prepare(gateway, key);
        let (network, mac) = key;
        self.counters.prepared += 1;
        self.events.push_back(Event::Prepared { mac, network, gateway, share });
    }

    /// How many devices a gateway may hold prepared now.
    fn room(&self, gateway: GatewayId) -> usize {
        let record = self.gateways.get(&gateway).filter(|g| g.is_connected());
        record.map_or(0, |g| g.prepared_max.min(self.settings.prepared_per_gateway))
    }

    fn enter(&mut self, gateway: GatewayId, key: DeviceKey, share: f64, state: Preparation) {
        if let Some(record) = self.gateways.get_mut(&gateway) {
            record.prepared.insert(key, share);
        }
        if let Some(device) = self.devices.get_mut(key) {
            device.prepared.insert(gateway, state);
        }
        self.note(key);
        self.mark(key.0, gateway);
    }

    /// `false` where that cannot be said yet: the store has not told the SSID.
    fn say_prepare(&mut self, gateway: GatewayId, key: DeviceKey) -> bool {
        let (network, mac) = key;
        let facts = self.networks.get(&network).and_then(|n| n.known());
        let Some(ssid) = facts.map(|facts| facts.ssid) else { return false };
        self.send(gateway, ToGateway::Prepare(Prepare { mac, ssid, network }));
        true
    }

    /// Takes over what a gateway holds prepared; `false` where that cannot be.
    fn take_over(&mut self, gateway: GatewayId, key: DeviceKey, now: Instant) -> bool {
        let (network, mac) = key;
        let held = self.gateways.get(&gateway).map_or(0, |g| g.prepared.len());
        let refused = self.devices.get(key).is_some_and(|device| {
            device.settled
                || device.claims.contains_key(&gateway)
                || device.prepared.len() >= self.settings.prepared_per_device
        });
        let facts = self.networks.get(&network).and_then(|n| n.known());
        let home = facts.and_then(|facts| facts.home) == Some(gateway);
        if refused || home || held >= self.room(gateway) || !self.need(network, gateway, now) {
            return false;
        }
        if self.devices.make(key, self.settings.devices).is_none() {
            self.forget_if_unused(network);
            return false;
        }
        self.enter(gateway, key, 0.0, Preparation::Ready);
        self.timers.set_first(Timer::Device(network, mac), now + self.settings.absent);
        true
    }
}
