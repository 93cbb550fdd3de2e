//! Where devices are: what gateways say, which of them is right, and who is told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use homeward_model::{GatewayId, Instant};

use super::records::{Claim, Device, DeviceKey, Move, Preparation};
use super::timers::Timer;
use super::{Controller, Event, Ignored};
use crate::{DeviceUpdate, Evict, Side, ToGateway, Withdraw};

/// How many of a device's own moves are remembered.
const MOVES: usize = 8;

/// The devices that are somewhere, and as many of those that were as there is room for.
#[derive(Debug, Default)]
pub(super) struct Devices {
    all: BTreeMap<DeviceKey, Device>,
    /// Those that are nowhere and held nowhere: they may be forgotten, the least first.
    idle: BTreeSet<(u64, DeviceKey)>,
    stamp: u64,
}

impl Devices {
    pub(super) fn get(&self, key: DeviceKey) -> Option<&Device> {
        self.all.get(&key)
    }

    pub(super) fn get_mut(&mut self, key: DeviceKey) -> Option<&mut Device> {
        self.all.get_mut(&key)
    }

    pub(super) fn claim_mut(&mut self, key: DeviceKey, gateway: GatewayId) -> Option<&mut Claim> {
        self.all.get_mut(&key)?.claims.get_mut(&gateway)
    }

    /// Notes that all gateways were told to let a device go.
    pub(super) fn evict_all(&mut self, key: DeviceKey) {
        let claims = self.all.get_mut(&key).into_iter().flat_map(|d| d.claims.values_mut());
        claims.for_each(|claim| claim.evicted = true);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&DeviceKey, &Device)> {
        self.all.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// The device, new if need be; `None` where there is no room and all others are somewhere.
    pub(super) fn make(&mut self, key: DeviceKey, most: usize) -> Option<&mut Device> {
        if !self.all.contains_key(&key) && self.all.len() >= most {
            let (_, oldest) = self.idle.pop_first()?;
            self.all.remove(&oldest);
        }
        Some(self.all.entry(key).or_default())
    }

    /// Notes whether a device may be forgotten now; `true` if it is anywhere.
    fn note(&mut self, key: DeviceKey) -> bool {
        let Some(device) = self.all.get_mut(&key) else { return false };
        self.idle.remove(&(device.stamp, key));
        let held = device.is_held();
        if !held {
            self.stamp += 1;
            device.stamp = self.stamp;
            self.idle.insert((self.stamp, key));
        }
        held
    }
}

impl Device {
    pub(super) fn is_prepared_at(&self, gateway: GatewayId) -> bool {
        self.prepared.get(&gateway).is_some_and(|state| *state != Preparation::Failed)
    }

    /// Whether it is there, and not on the owner's own access point.
    pub(super) fn is_roaming_at(&self, gateway: GatewayId) -> bool {
        let claim = self.claims.get(&gateway);
        self.location == Some(gateway) && claim.is_some_and(|claim| !claim.at_home)
    }

    fn is_held(&self) -> bool {
        let prepared = self.prepared.values().any(|state| *state != Preparation::Failed);
        !self.claims.is_empty() || prepared
    }

    /// The gateway that it connected to last, and that was not told to let it go.
    fn latest(&self) -> Option<(GatewayId, Instant)> {
        let claims = self.claims.iter().filter(|(_, claim)| !claim.evicted);
        let latest = claims.max_by_key(|(id, claim)| (claim.at, claim.told, **id))?;
        Some((*latest.0, latest.1.at))
    }
}

impl Controller {
    /// The devices that are connected to a gateway, all of them.
    pub(super) fn take_devices(
        &mut self,
        gateway: GatewayId,
        devices: Vec<DeviceUpdate>,
        now: Instant,
    ) {
        let there = devices.iter().filter(|d| d.connected).map(|d| (d.network, d.mac));
        let there: BTreeSet<DeviceKey> = there.collect();
        let Some(record) = self.gateways.get(&gateway) else { return };
        let gone: Vec<_> = record.devices.difference(&there).copied().collect();
        gone.into_iter().for_each(|key| self.unclaim(gateway, key, now, now));
        for update in devices.into_iter().filter(|d| d.connected) {
            self.claim(gateway, update, now);
        }
    }

    /// What a gateway says of a device.
    pub(super) fn update(&mut self, gateway: GatewayId, update: DeviceUpdate, now: Instant) {
        if update.connected {
            self.claim(gateway, update, now);
        } else {
            let key = (update.network, update.mac);
            self.unclaim(gateway, key, ago(now, update.age), now);
        }
    }

    fn claim(&mut self, gateway: GatewayId, update: DeviceUpdate, now: Instant) {
        let key = (update.network, update.mac);
        let ignored = |why| Event::Ignored { gateway, why };
        let most = self.settings.devices_per_gateway;
        let Some(record) = self.gateways.get_mut(&gateway) else { return };
        if !record.devices.contains(&key) && record.devices.len() >= most {
            return self.events.push_back(ignored(Ignored::Devices));
        }
        if !self.need(update.network, gateway, now) {
            return;
        }
        let Some(device) = self.devices.make(key, self.settings.devices) else {
            self.forget_if_unused(update.network);
            return self.events.push_back(ignored(Ignored::DeviceMemory));
        };
        let claim = Claim {
            at: ago(now, update.age),
            told: now,
            sequence: update.sequence,
            signal: update.signal,
            at_home: update.at_home,
            evicted: false,
        };
        device.claims.insert(gateway, claim);
        // Here it no longer is a matter of preparation; the gateway makes the same of it.
        let state = device.prepared.remove(&gateway);
        let was_prepared = state.is_some_and(|state| state != Preparation::Failed);
        if state == Some(Preparation::Asked) {
            // Unless it is asked only now, and the device has gone again by then.
            let (network, mac) = key;
            self.send(gateway, ToGateway::Withdraw(Withdraw { mac, network }));
        }
        if let Some(record) = self.gateways.get_mut(&gateway) {
            record.devices.insert(key);
            record.prepared.remove(&key);
        }
        if let Some(record) = self.networks.get_mut(&update.network) {
            record.devices.insert(update.mac);
        }
        self.note(key);
        self.mark(update.network, gateway);
        self.check(key, now);
        if was_prepared {
            self.counters.came_prepared += 1;
        }
        self.place(key, was_prepared, now);
        self.mind_signal(key, gateway, now);
    }

    /// A gateway no longer has a device, since `at`.
    pub(super) fn unclaim(
        &mut self,
        gateway: GatewayId,
        key: DeviceKey,
        at: Instant,
        now: Instant,
    ) {
        if let Some(record) = self.gateways.get_mut(&gateway) {
            record.devices.remove(&key);
        }
        let Some(device) = self.devices.get_mut(key) else { return };
        if device.claims.remove(&gateway).is_none() {
            return;
        }
        if device.location == Some(gateway) {
            device.location = None;
            device.left = Some((gateway, at));
            let (network, mac) = key;
            let absent = now + self.settings.absent;
            self.timers.set(Timer::Device(network, mac), absent);
            self.events.push_back(Event::DeviceGone { mac, network, from: gateway });
        }
        self.note(key);
        self.mark(key.0, gateway);
    }

    /// Compares what gateways say of a device with where it was.
    pub(super) fn relocate(&mut self, key: DeviceKey, now: Instant) {
        self.place(key, false, now);
    }

    fn place(&mut self, key: DeviceKey, prepared: bool, now: Instant) {
        let (network, mac) = key;
        let entitled = self.networks.get(&network).is_some_and(|n| n.entitles(mac));
        let Some(device) = self.devices.get_mut(key) else { return };
        if !entitled {
            // It has no place; what it did before still counts.
            if let Some(gateway) = device.location.take() {
                device.left = Some((gateway, now));
            }
            return;
        }
        let Some((to, since)) = device.latest() else { return };
        let old = device.location.replace(to);
        let left = device.left.take();
        if old != Some(to) {
            let from = match (old, left) {
                (Some(old), _) => Some((old, since)),
                (None, left) => left.filter(|(gateway, at)| {
                    *gateway != to && since.since(*at) <= self.settings.move_window
                }),
            };
            let gap = from.map_or(Duration::ZERO, |(_, at)| since.since(at));
            let from = from.map(|(gateway, _)| gateway);
            if let Some(from) = from {
                device.moves.push_back(Move { from, to, at: now });
                if device.moves.len() > MOVES {
                    device.moves.pop_front();
                }
                let most = (self.settings.gateways, self.settings.neighbours_per_gateway);
                self.graph.count((from, to), self.settings.move_half_life, most, now);
                self.counters.moves += 1;
            }
            self.events.push_back(Event::DeviceMoved { mac, network, from, to, gap, prepared });
            self.arrivals.insert(key);
            self.mark(network, to);
            old.into_iter().for_each(|old| self.mark(network, old));
            // Before it is prepared for where it was a moment ago.
            self.evict_elsewhere(key, to);
            return self.moved(key, from.is_some(), now);
        }
        self.evict_elsewhere(key, to);
    }

    /// Has all others let the device go that is there now.
    fn evict_elsewhere(&mut self, key: DeviceKey, location: GatewayId) {
        let (network, mac) = key;
        let Some(device) = self.devices.get_mut(key) else { return };
        let others = device.claims.iter_mut().filter(|(id, c)| **id != location && !c.evicted);
        let mut told = Vec::new();
        for (gateway, claim) in others {
            claim.evicted = true;
            told.push((*gateway, claim.sequence));
        }
        for (gateway, sequence) in told {
            self.counters.evicted += 1;
            self.send(gateway, ToGateway::Evict(Evict { mac, network, sequence }));
            self.events.push_back(Event::Evicted { mac, network, gateway });
        }
    }

    /// Notes whether a device is anywhere: in what may be forgotten, and in its network.
    pub(super) fn note(&mut self, key: DeviceKey) {
        let (network, mac) = key;
        let held = self.devices.note(key);
        if let Some(record) = self.networks.get_mut(&network) {
            if held {
                record.devices.insert(mac);
            } else {
                record.devices.remove(&mac);
            }
        }
    }

    /// A home that greets is told anew who is at the far ends of its tunnels.
    pub(super) fn mark_arrivals_of(&mut self, gateway: GatewayId) {
        let Some(record) = self.gateways.get(&gateway) else { return };
        let tunnels = record.tunnels.iter().filter_map(|id| self.tunnels.get(id));
        let home = tunnels.filter(|t| t.end(Side::Home).gateway == gateway);
        let ends: Vec<_> = home.map(|t| (t.network, t.foreign.gateway)).collect();
        ends.into_iter().for_each(|(network, foreign)| self.mark_arrivals(network, foreign));
    }
}

fn ago(now: Instant, age: Duration) -> Instant {
    let nanos = u64::try_from(age.as_nanos()).unwrap_or(u64::MAX);
    Instant::from_nanos(now.as_nanos().saturating_sub(nanos))
}
