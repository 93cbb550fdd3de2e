//! Which device is served where, and what hostapd is asked to make of it.

use std::collections::BTreeMap;
use std::time::Duration;

use homeward_model::{Grant, Instant, Mac, NetworkId};

use crate::event::{Ignored, NoRoom, Removed, Unprepared, Withdrawn};
use crate::memory::{Knowledge, Pair, Site};
use crate::roster::{Backoff, Member, Roster};
use crate::vap::{OnAir, Phase, Profile, Removal, Step, Vap};
use crate::{Action, Bss, Event, Radio, VapId};

impl Radio {
    /// Gives a granted device its place: on its network's VAP, or among the home's devices.
    /// `answered`: the grant is the core's latest word, not a memory of it.
    pub(crate) fn place(&mut self, pair: Pair, answered: bool, now: Instant) {
        let Some(entry) = self.memory.get(&pair) else { return };
        let Some(site) = entry.grant().map(|grant| self.site(grant)) else { return };
        if entry.site.is_some() && entry.site != site {
            self.withdraw(pair, Withdrawn::Moved, now);
        }
        let Some(entry) = self.memory.get(&pair) else { return };
        let Some(grant) = entry.grant() else { return };
        let Pair { mac, ssid } = pair;
        let profile =
            Profile { ssid: grant.ssid, security: grant.security, anchor: grant.terms.anchor };
        let member = Member {
            ssid,
            key: grant.key.clone(),
            idle_timeout: grant.terms.idle_timeout,
            since: now,
            heard: entry.heard,
            signal: entry.signal,
        };
        match site {
            None => {
                self.end_preparation(pair, Unprepared::AtHome);
                return self.ignore(pair, Ignored::AtHome);
            }
            Some(Site::Home) => {
                self.home.admit(mac, member);
                self.end_preparation(pair, Unprepared::AtHome);
            }
            Some(Site::Vap(network)) => {
                let displaced = match self.room(network, pair, profile, now) {
                    Ok(displaced) => displaced,
                    Err(why) => {
                        self.counters.no_room += 1;
                        self.end_preparation(pair, Unprepared::NoRoom);
                        self.events.push_back(Event::NoRoom { mac, ssid, network, why });
                        return;
                    }
                };
                let Some(vap) = self.vaps.get_mut(&network) else { return };
                if answered {
                    vap.profile = profile;
                }
                // The same device under a former SSID of its network: the place is one.
                let former = vap.roster.members.get(&mac).map(|old| old.ssid);
                vap.roster.admit(mac, member);
                if let Some(former) = former.filter(|former| *former != ssid) {
                    self.unlink(Pair { mac, ssid: former });
                }
                if let Some(displaced) = displaced {
                    self.withdraw(displaced, Withdrawn::GaveWay, now);
                }
            }
        }
        let refresh = self.settings.refresh;
        self.memory.update(pair, &self.settings, |entry| {
            entry.site = site;
            if let Knowledge::Granted { grant, answered, ask } = &mut entry.known {
                let least = Duration::from_secs(1);
                let session = grant.terms.session_timeout.map(Duration::from);
                let interval = session.map_or(refresh, |session| session.max(least).min(refresh));
                ask.get_or_insert(*answered + interval);
            }
        });
    }

    fn site(&self, grant: &Grant) -> Option<Site> {
        match grant.at_home {
            false => Some(Site::Vap(grant.network)),
            true => (self.settings.home == Some(grant.ssid)).then_some(Site::Home),
        }
    }

    /// Takes a device's place away and puts it out: whether it was connected.
    pub(crate) fn withdraw(&mut self, pair: Pair, why: Withdrawn, now: Instant) -> bool {
        let Pair { mac, ssid } = pair;
        let Some(site) = self.memory.get(&pair).and_then(|entry| entry.site) else { return false };
        let (bss, roster) = match site {
            Site::Home => (Some(Bss::Home), Some(&mut self.home)),
            Site::Vap(network) => match self.vaps.get_mut(&network) {
                Some(vap) => {
                    (vap.on_air().map(|on_air| Bss::Vap(on_air.id)), Some(&mut vap.roster))
                }
                None => (None, None),
            },
        };
        let withdrawn = roster.and_then(|roster| roster.withdraw(mac));
        let heard = withdrawn.as_ref().map(|(member, there)| match there {
            true => now,
            false => member.heard,
        });
        let mut connected = false;
        if let (Some((_, true)), Some(bss)) = (&withdrawn, bss) {
            connected = true;
            self.put_out(bss, mac);
        }
        if let Site::Vap(network) = site {
            for going in self.going_with(network, pair) {
                connected = true;
                self.put_out(going.into(), mac);
            }
        }
        if why != Withdrawn::Moved {
            self.end_preparation(pair, Unprepared::Lost(why));
        }
        self.unlink(pair);
        self.memory.update(pair, &self.settings, |entry| {
            entry.heard = heard.map_or(entry.heard, |heard| entry.heard.max(heard));
        });
        self.events.push_back(Event::DeviceWithdrawn { bss, mac, ssid, why, connected });
        self.prune(now);
        connected
    }

    /// The BSSes of a network on their way out that the device is still connected to.
    fn going_with(&self, network: NetworkId, pair: Pair) -> Vec<VapId> {
        self.slots
            .removals()
            .filter(|going| going.network == Some(network))
            .filter(|going| going.stations.contains_key(&pair.mac))
            .map(|going| going.id)
            .collect()
    }

    /// The memory's side of a lost place.
    fn unlink(&mut self, pair: Pair) {
        self.memory.update(pair, &self.settings, |entry| {
            entry.site = None;
            if let Knowledge::Granted { ask, .. } = &mut entry.known {
                *ask = None;
            }
        });
    }

    /// Sees to it that the network has a VAP with room for the device: who has to go for it.
    fn room(
        &mut self,
        network: NetworkId,
        pair: Pair,
        profile: Profile,
        now: Instant,
    ) -> Result<Option<Pair>, NoRoom> {
        if let Some(vap) = self.vaps.get(&network) {
            let members = &vap.roster.members;
            if members.contains_key(&pair.mac) || members.len() < self.settings.max_devices_per_vap
            {
                return Ok(None);
            }
            let expected = |mac: Mac, ssid| self.is_prepared(Pair { mac, ssid });
            let absent = vap
                .roster
                .absent()
                .filter(|(mac, m)| !(self.is_prepared(pair) && expected(*mac, m.ssid)));
            let absent = absent.min_by_key(|(_, member)| member.heard);
            let (mac, member) = absent.ok_or(NoRoom::Device)?;
            return Ok(Some(Pair { mac, ssid: member.ssid }));
        }
        if self.settings.max_devices_per_vap == 0 {
            return Err(NoRoom::Device);
        }
        if self.vaps.len() >= self.settings.max_vaps {
            let victim = self.victim(pair, now).ok_or(NoRoom::Vap)?;
            self.dismiss(victim, Withdrawn::GaveWay, now);
        }
        self.claims += 1;
        self.vaps.insert(
            network,
            Vap {
                profile,
                roster: Roster::new(),
                claim: self.claims,
                requested: self.memory.get(&pair).map_or(now, |entry| entry.heard),
                backoff: Backoff::default(),
                phase: Phase::Waiting { since: now },
            },
        );
        Ok(None)
    }

    /// The least recently used of those that nobody is connected to and that had their chance.
    /// One that is prepared does not give way to another that is only prepared.
    fn victim(&self, pair: Pair, now: Instant) -> Option<NetworkId> {
        let gives_way = |vap: &&Vap| match vap.phase {
            Phase::Adding(_) => false,
            Phase::Waiting { .. } => vap.backoff.until().is_some(),
            Phase::Up(_) => vap.roster.stations.is_empty(),
        };
        self.vaps
            .iter()
            .filter(|(_, vap)| gives_way(vap))
            .filter(|(network, _)| !(self.is_prepared(pair) && self.has_prepared(**network)))
            .map(|(network, vap)| (vap.roster.last_use(now), *network))
            .filter(|(used, _)| *used + self.settings.settle <= now)
            .min()
            .map(|(_, network)| network)
    }

    /// Takes away the places of all devices of a VAP, and so the VAP.
    fn dismiss(&mut self, network: NetworkId, why: Withdrawn, now: Instant) {
        let Some(vap) = self.vaps.get(&network) else { return };
        let members = vap.roster.members.iter();
        let pairs: Vec<Pair> =
            members.map(|(mac, member)| Pair { mac: *mac, ssid: member.ssid }).collect();
        for pair in pairs {
            self.withdraw(pair, why, now);
        }
    }

    /// Makes what is there fit limits that have become smaller.
    pub(crate) fn fit(&mut self, now: Instant) {
        while self.prepared.len() > self.settings.max_prepared
            && let Some(pair) = self.prepared.keys().next_back().copied()
        {
            self.end_preparation(pair, Unprepared::Limit);
        }
        while self.vaps.len() > self.settings.max_vaps {
            let least = self.vaps.iter().map(|(n, vap)| (vap.roster.last_use(now), *n)).min();
            let Some((_, network)) = least else { break };
            self.dismiss(network, Withdrawn::Settings, now);
        }
        let limit = self.settings.max_devices_per_vap;
        let mut surplus = Vec::new();
        for vap in self.vaps.values() {
            let stations = &vap.roster.stations;
            let mut members: Vec<_> = vap.roster.members.iter().collect();
            members.sort_by_key(|(mac, member)| (stations.contains_key(mac), member.heard));
            let over = members.len().saturating_sub(limit);
            let least = members.into_iter().take(over);
            surplus.extend(least.map(|(mac, member)| Pair { mac: *mac, ssid: member.ssid }));
        }
        for pair in surplus {
            self.withdraw(pair, Withdrawn::Settings, now);
        }
    }

    /// Takes away the places of devices that are neither connected nor heard. Not while hostapd
    /// is away: they could not have connected.
    pub(crate) fn leave(&mut self, now: Instant) {
        if !self.ready {
            return;
        }
        let idle = self.settings.vap_idle;
        let silent = self.vaps.values().flat_map(|vap| self.silent(vap));
        let gone: Vec<Pair> =
            silent.filter(|(_, heard)| *heard + idle <= now).map(|(pair, _)| pair).collect();
        for pair in gone {
            self.withdraw(pair, Withdrawn::Idle, now);
        }
    }

    /// The devices of a VAP that silence may end, and when each was last heard.
    pub(crate) fn silent<'a>(&'a self, vap: &'a Vap) -> impl Iterator<Item = (Pair, Instant)> + 'a {
        let absent = vap.roster.absent();
        absent
            .map(|(mac, member)| (Pair { mac, ssid: member.ssid }, member.heard))
            .filter(|(pair, _)| !self.is_prepared(*pair))
    }

    /// Ends the VAPs that have no member left.
    fn prune(&mut self, now: Instant) {
        while let Some(network) =
            self.vaps.iter().find(|(_, vap)| vap.roster.members.is_empty()).map(|(n, _)| *n)
            && let Some(mut vap) = self.vaps.remove(&network)
        {
            self.retire(network, &mut vap, Removed::Unused, now);
        }
    }

    /// Has a VAP's BSS removed, if it may have one.
    pub(crate) fn retire(&mut self, network: NetworkId, vap: &mut Vap, why: Removed, now: Instant) {
        // A failed ADD is answered, whatever the state still says.
        let busy = vap.busy() && why != Removed::AddFailed;
        let Some((OnAir { id, profile, .. }, stations)) = vap.off_air(now) else { return };
        let step = if busy { Step::Busy } else { Step::Asked };
        self.slots.retire(Removal {
            id,
            network: Some(network),
            profile: Some(profile),
            stations,
            since: now,
            step,
            backoff: Backoff::default(),
        });
        self.events.push_back(Event::VapRemoving { vap: id, network: Some(network), why });
        if !busy {
            self.actions.push_back(Action::RemoveBss { vap: id });
        }
    }

    /// Compares what is wanted with what hostapd has, and asks for the difference.
    pub(crate) fn reconcile(&mut self, now: Instant) {
        // A device that lost its place no longer keeps its entry safe.
        self.make_room(self.settings.memory);
        self.end_waits(now);
        if !self.ready {
            return;
        }
        let mut vaps = std::mem::take(&mut self.vaps);
        for (network, vap) in &mut vaps {
            if vap.outdated() {
                self.retire(*network, vap, Removed::Changed, now);
            } else if vap.unsettable() {
                self.retire(*network, vap, Removed::Unsettable, now);
            } else if let Phase::Up(OnAir { id, .. }) = vap.phase
                && vap.roster.must_tell()
            {
                vap.roster.send(now);
                let devices = vap.roster.devices();
                self.actions.push_back(Action::SetDevices { vap: id, devices });
            }
        }
        self.add(&mut vaps, now);
        self.vaps = vaps;
        if self.home.must_tell() {
            self.home.send(now);
            let devices = self.home.devices();
            self.actions.push_back(Action::SetHomeDevices { devices });
        }
        self.announce_prepared();
    }

    fn end_waits(&mut self, now: Instant) {
        for vap in self.vaps.values_mut() {
            vap.backoff.elapse(now);
            vap.roster.backoff.elapse(now);
        }
        self.home.backoff.elapse(now);
        for removal in self.slots.removals_mut() {
            removal.backoff.elapse(now);
            if removal.step == Step::Failed && removal.backoff.until().is_none() {
                removal.step = Step::Asked;
                self.actions.push_back(Action::RemoveBss { vap: removal.id });
            }
        }
    }

    /// Adds the VAPs that wait, the longest first, as far as slots are free.
    fn add(&mut self, vaps: &mut BTreeMap<NetworkId, Vap>, now: Instant) {
        let mut waiting: Vec<(u64, NetworkId)> = vaps
            .iter()
            .filter(|(_, vap)| matches!(vap.phase, Phase::Waiting { .. }))
            .filter(|(network, vap)| {
                vap.backoff.until().is_none() && !self.slots.removing(**network)
            })
            .map(|(network, vap)| (vap.claim, *network))
            .collect();
        waiting.sort_unstable();
        for (_, network) in waiting {
            let Some(vap) = vaps.get_mut(&network) else { continue };
            let Some(id) = self.slots.allocate(network, self.settings.max_vaps) else { break };
            let Profile { ssid, security, anchor } = vap.profile;
            vap.phase = Phase::Adding(OnAir { id, since: now, profile: vap.profile });
            vap.roster.send(now);
            let (devices, idle_timeout) = (vap.roster.devices(), vap.roster.idle_timeout());
            self.events.push_back(Event::VapAdding {
                vap: id,
                network,
                ssid,
                security,
                devices: devices.len(),
            });
            self.actions.push_back(Action::AddBss {
                vap: id,
                network,
                ssid,
                security,
                anchor,
                devices,
                idle_timeout,
            });
        }
    }
}
