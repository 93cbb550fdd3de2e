//! What the store says of networks, and what follows for those that are no longer entitled.

use std::collections::BTreeSet;

use homeward_model::{Entropy, GatewayId, Instant, Mac, NetworkId};

use super::records::{DeviceKey, Facts, Network};
use super::timers::Timer;
use super::{Action, Controller, Event, Ignored, NetworkFacts, Withdrawn};
use crate::{HeldLogin, Revoke, ToGateway};

impl Controller {
    /// What the store says of a network, in answer to [`Action::NeedNetwork`] or unasked. Nothing,
    /// if no gateway has to do with it.
    pub fn handle_network(
        &mut self,
        facts: NetworkFacts,
        now: Instant,
        entropy: &mut impl Entropy,
    ) {
        let network = facts.network;
        self.learn(network, Facts::Known(facts), now);
        self.settle(now, entropy);
    }

    /// The store has no such network (any more); also an answer to [`Action::NeedNetwork`].
    pub fn handle_network_removed(
        &mut self,
        network: NetworkId,
        now: Instant,
        entropy: &mut impl Entropy,
    ) {
        self.learn(network, Facts::Missing, now);
        self.settle(now, entropy);
    }

    /// Something that [`NetworkFacts`] are made of has changed in the store: the network itself,
    /// its account or class of service, or one of its devices. It is asked for if it matters.
    pub fn handle_network_changed(&mut self, network: NetworkId, now: Instant) {
        self.ask(network, now);
    }

    /// Asks the store, or notes that it is to be asked again once it has answered.
    pub(super) fn ask(&mut self, network: NetworkId, now: Instant) {
        let Some(record) = self.networks.get_mut(&network) else { return };
        if record.asked.is_some() {
            record.ask_again = true;
            return;
        }
        record.asked = Some(now);
        record.ask_again = false;
        self.actions.push_back(Action::NeedNetwork(network));
        self.timers.set(Timer::Network(network), now + self.settings.network_wait);
    }

    /// The store has not answered for long.
    pub(super) fn ask_anew(&mut self, network: NetworkId, now: Instant) {
        if let Some(record) = self.networks.get_mut(&network) {
            record.asked = None;
            self.ask(network, now);
        }
    }

    /// Makes room for what is about a network; `false` where there is none.
    pub(super) fn need(&mut self, network: NetworkId, gateway: GatewayId, now: Instant) -> bool {
        if self.networks.contains_key(&network) {
            return true;
        }
        if self.networks.len() >= self.settings.networks {
            self.events.push_back(Event::Ignored { gateway, why: Ignored::Networks });
            return false;
        }
        self.networks.insert(network, Network::unknown(now));
        self.ask(network, now);
        true
    }

    /// Forgets a network that nothing is about any more.
    pub(super) fn forget_if_unused(&mut self, network: NetworkId) {
        let Some(record) = self.networks.get(&network).filter(|record| record.is_unused()) else {
            return;
        };
        let home = record.known().and_then(|facts| facts.home);
        self.unlink_home(network, home);
        self.networks.remove(&network);
        self.timers.clear(Timer::Network(network));
        self.actions.push_back(Action::ForgetNetwork(network));
    }

    pub(super) fn mark_homes_of(&mut self, gateway: GatewayId) {
        let homes = self.homes.get(&gateway).into_iter().flatten();
        self.dirty.extend(homes.map(|network| (*network, None)));
    }

    /// Has a network's tunnel at a foreign gateway compared with what it is to be.
    pub(super) fn mark(&mut self, network: NetworkId, foreign: GatewayId) {
        self.dirty.insert((network, Some(foreign)));
    }

    /// Has all tunnels that a gateway has a say in compared.
    pub(super) fn mark_networks_of(&mut self, gateway: GatewayId) {
        self.mark_homes_of(gateway);
        let Some(record) = self.gateways.get(&gateway) else { return };
        let tunnels = record.tunnels.iter().filter_map(|id| self.tunnels.get(id));
        let tunnels = tunnels.map(|t| (t.network, t.foreign.gateway));
        let halves = record.halves.values().map(|lone| (lone.half.network, lone.foreign(gateway)));
        let wants = record.wants.keys().map(|network| (*network, gateway));
        let awaited = self.awaited.get(&gateway).into_iter().flatten();
        let awaited =
            awaited.flat_map(|(network, holder, _)| [(*network, *holder), (*network, gateway)]);
        let all = tunnels.chain(halves).chain(wants).chain(awaited);
        self.dirty.extend(all.map(|(network, foreign)| (network, Some(foreign))));
    }

    fn unlink_home(&mut self, network: NetworkId, home: Option<GatewayId>) {
        let Some(home) = home else { return };
        if let Some(networks) = self.homes.get_mut(&home) {
            networks.remove(&network);
            if networks.is_empty() {
                self.homes.remove(&home);
            }
        }
    }

    fn learn(&mut self, network: NetworkId, facts: Facts, now: Instant) {
        let Some(record) = self.networks.get_mut(&network) else { return };
        self.timers.clear(Timer::Network(network));
        record.as_of = record.asked.take().unwrap_or(now);
        let again = std::mem::take(&mut record.ask_again);
        let old = std::mem::replace(&mut record.facts, facts);
        let new = record.known();
        let home = new.and_then(|facts| facts.home);
        let active = new.is_some_and(|facts| facts.active);
        let devices: Vec<Mac> = record.devices.iter().copied().collect();
        let old = match old {
            Facts::Pending | Facts::Missing => None,
            Facts::Known(facts) => Some(facts),
        };
        let gone: Vec<Mac> = match (&old, new) {
            (Some(old), Some(new)) => old.devices.difference(&new.devices).copied().collect(),
            _ => Vec::new(),
        };
        let old_home = old.as_ref().and_then(|facts| facts.home);
        if old_home != home {
            self.unlink_home(network, old_home);
            if let Some(home) = home {
                self.homes.entry(home).or_default().insert(network);
            }
        }
        let was_active = old.is_some_and(|facts| facts.active);
        if was_active && !active {
            self.revoke_network(network);
        }
        if active {
            gone.into_iter().for_each(|mac| self.revoke_device((network, mac)));
        }
        for mac in devices {
            if !self.networks.get(&network).is_some_and(|record| record.entitles(mac)) {
                self.withdraw_all((network, mac), Withdrawn::Revoked);
            }
            self.check((network, mac), now);
            self.relocate((network, mac), now);
        }
        self.dirty.insert((network, None));
        if again {
            self.ask(network, now);
        }
    }

    /// Revokes a whole network wherever something of it is.
    fn revoke_network(&mut self, network: NetworkId) {
        let Some(record) = self.networks.get(&network) else { return };
        let mut holders = record.wanters.clone();
        let macs: Vec<Mac> = record.devices.iter().copied().collect();
        for mac in &macs {
            holders.extend(self.holders((network, *mac)));
        }
        for mac in &macs {
            self.withdraw_all((network, *mac), Withdrawn::Revoked);
        }
        for gateway in holders {
            self.say_revoked(gateway, network, None);
        }
        for mac in macs {
            self.devices.evict_all((network, mac));
        }
    }

    /// Revokes a device wherever something of it is.
    fn revoke_device(&mut self, key: DeviceKey) {
        let (network, mac) = key;
        let mut holders: BTreeSet<GatewayId> = self.holders(key).collect();
        if let Some(record) = self.networks.get(&network) {
            let wants = |gateway: &&GatewayId| {
                let wanted = self.gateways.get(gateway).and_then(|g| g.wants.get(&network));
                wanted.is_some_and(|wanted| wanted.macs.contains(&mac))
            };
            holders.extend(record.wanters.iter().filter(wants));
        }
        self.withdraw_all(key, Withdrawn::Revoked);
        for gateway in holders {
            self.say_revoked(gateway, network, Some(mac));
        }
        self.devices.evict_all(key);
    }

    /// The gateways that have a device connected or prepared.
    fn holders(&self, key: DeviceKey) -> impl Iterator<Item = GatewayId> {
        let device = self.devices.get(key);
        let claims = device.into_iter().flat_map(|d| d.claims.keys().copied());
        claims.chain(device.into_iter().flat_map(|d| d.prepared.keys().copied()))
    }

    /// Revokes a device at gateways that serve it though the store, asked after they said so,
    /// does not know it; asks the store, if it was asked before. So a device that was made a
    /// moment ago is not taken for one that was removed.
    pub(super) fn check(&mut self, key: DeviceKey, now: Instant) {
        let (network, mac) = key;
        let Some(record) = self.networks.get(&network) else { return };
        let whole = match &record.facts {
            Facts::Pending => return,
            Facts::Known(facts) if facts.active => None,
            Facts::Known(_) | Facts::Missing => Some(()),
        };
        if record.entitles(mac) {
            return;
        }
        let as_of = record.as_of;
        let Some(device) = self.devices.get(key) else { return };
        let late = device.claims.values().any(|claim| claim.told > as_of);
        let told: Vec<GatewayId> = device
            .claims
            .iter()
            .filter(|(_, claim)| claim.told <= as_of && !claim.evicted)
            .map(|(gateway, _)| *gateway)
            .collect();
        for gateway in told {
            if let Some(claim) = self.devices.claim_mut(key, gateway) {
                claim.evicted = true;
            }
            self.say_revoked(gateway, network, whole.is_none().then_some(mac));
        }
        if late {
            self.ask(network, now);
        }
    }

    /// Somebody else has found that a device may not go on at a gateway: its quota is spent, say.
    /// Whether the gateway was told: not where it has no channel, or nothing to do with the device.
    /// It may hold its key without having said that it is there.
    pub fn handle_grant_revoked(&mut self, gateway: GatewayId, mac: Mac) -> bool {
        let Some(record) = self.gateways.get(&gateway) else { return false };
        if !record.is_connected() {
            return false;
        }
        let there = record.devices.iter().copied().filter(|(_, device)| *device == mac);
        let entitles = |n: &&NetworkId| self.networks.get(n).is_some_and(|n| n.entitles(mac));
        let held = record.wants.keys().filter(entitles).map(|network| (*network, mac));
        let there: BTreeSet<DeviceKey> = there.chain(held).collect();
        for key in &there {
            if let Some(claim) = self.devices.claim_mut(*key, gateway) {
                claim.evicted = true;
            }
            self.say_revoked(gateway, key.0, Some(mac));
        }
        !there.is_empty()
    }

    /// Of a device that a gateway was to be reviewed for ([`Action::Review`]) is found that it may
    /// not go on. Nothing, where the gateway has nothing to do with it any more.
    pub fn handle_grant_ended(&mut self, gateway: GatewayId, key: (NetworkId, Mac)) {
        let (network, mac) = key;
        let Some(record) = self.gateways.get(&gateway) else { return };
        let wanted = record.wants.get(&network).is_some_and(|wanted| wanted.macs.contains(&mac));
        if wanted || record.devices.contains(&key) {
            if let Some(claim) = self.devices.claim_mut(key, gateway) {
                claim.evicted = true;
            }
            self.say_revoked(gateway, network, Some(mac));
        }
    }

    /// Whether log-ins at a gateway ask the core through it, as it said last; `None` for one that
    /// has had no channel for long.
    pub fn carries_logins(&self, gateway: GatewayId) -> Option<bool> {
        let record = self.gateways.get(&gateway).filter(|record| record.boot.is_some())?;
        Some(record.carries_logins)
    }

    /// Has looked at what a gateway says it holds: what was found without a channel did not reach
    /// it, and what was sent over one that broke may not have.
    pub(super) fn review(&mut self, gateway: GatewayId) {
        // A hybrid device holds nobody's key, and a log-in or grant is not what it is there by.
        let record = self.gateways.get(&gateway).filter(|record| record.device_of.is_none());
        let Some(record) = record else { return };
        let held = record
            .wants
            .iter()
            .flat_map(|(network, wanted)| wanted.macs.iter().map(|mac| (*network, *mac)));
        let devices: BTreeSet<DeviceKey> = held.chain(record.devices.iter().copied()).collect();
        let devices = devices.into_iter().collect();
        self.actions.push_back(Action::Review { gateway, devices });
    }

    /// The same of stations that log-ins let in. What a gateway cannot put out is not looked at.
    pub(super) fn review_logins(&mut self, gateway: GatewayId, logins: Vec<HeldLogin>) {
        let Some(record) = self.gateways.get(&gateway).filter(|g| g.carries_logins) else { return };
        let observed = record.observed;
        self.actions.push_back(Action::ReviewLogins { gateway, observed, logins });
    }

    /// A log-in has ended that had let a station in at a gateway. Whether the gateway was told: not
    /// where it has no channel, or log-ins there ask the core past it, so that it is the access
    /// point which has to be told.
    pub fn handle_login_ended(&mut self, gateway: GatewayId, mac: Mac) -> bool {
        let record = self.gateways.get(&gateway);
        let told = record.is_some_and(|record| record.is_connected() && record.carries_logins);
        if told {
            self.counters.put_out += 1;
            self.send(gateway, ToGateway::PutOut(mac));
        }
        told
    }

    fn say_revoked(&mut self, gateway: GatewayId, network: NetworkId, mac: Option<Mac>) {
        self.counters.revoked += 1;
        self.send(gateway, ToGateway::Revoke(Revoke { network, mac }));
        self.events.push_back(Event::Revoked { network, mac, gateway });
    }
}
