//! What hostapd reports: results, stations, its end and its return.

use homeward_model::{Instant, Mac};

use crate::event::{Asked, Removed};
use crate::memory::{Knowledge, Pair};
use crate::roster::{Backoff, Roster, Station, Told};
use crate::vap::{OnAir, Phase, Removal, Step};
use crate::{Action, Bss, Event, Radio, VapId};

/// How old a grant must be for a wrong key to be a reason to ask again: a forger of wrong keys
/// must not drive look-ups.
const WRONG_KEY_PAUSE: std::time::Duration = std::time::Duration::from_secs(5);

impl Radio {
    /// What became of an [`Action::AddBss`]. `Err` is hostapd's refusal or the lack of an
    /// answer: in both cases the BSS is removed first, lest it be there after all.
    pub fn handle_bss_added(&mut self, vap: VapId, result: Result<(), String>, now: Instant) {
        if let Some(network) = self.slots.network(vap) {
            let Some(mut state) = self.vaps.remove(&network) else { return };
            if let Phase::Adding(on_air) = state.phase {
                match result {
                    Ok(()) => {
                        self.counters.vaps_added += 1;
                        let (took, after_probe) =
                            (now.since(on_air.since), now.since(state.requested));
                        self.events.push_back(Event::VapUp { vap, network, took, after_probe });
                        state.phase = Phase::Up(OnAir { since: now, ..on_air });
                        state.backoff.clear();
                        if let Told::Sent { revision, .. } = state.roster.told {
                            for mac in state.roster.confirm(revision) {
                                self.put_out(vap.into(), mac);
                            }
                        }
                    }
                    Err(error) => {
                        self.counters.vap_add_failures += 1;
                        self.retire(network, &mut state, Removed::AddFailed, now);
                        let retry_in =
                            state.backoff.fail(error.clone(), self.settings.waits(), now);
                        self.events.push_back(Event::VapAddFailed {
                            vap,
                            network,
                            error,
                            retry_in,
                        });
                    }
                }
            }
            self.vaps.insert(network, state);
        } else if self.slots.removal(vap).is_some() {
            self.unblock(vap);
        } else if self.ready && self.slots.is_vacant(vap) {
            // It was asked for before hostapd was lost, and yet it is there, or may be.
            let why = Removed::Orphan;
            self.slots.retire(Removal {
                id: vap,
                network: None,
                profile: None,
                stations: Default::default(),
                since: now,
                step: Step::Asked,
                backoff: Backoff::default(),
            });
            self.events.push_back(Event::VapRemoving { vap, network: None, why });
            self.actions.push_back(Action::RemoveBss { vap });
        }
        self.reconcile(now);
    }

    /// What became of an [`Action::RemoveBss`]. `Ok` says that there is no such BSS any more, or
    /// never was; `Err` that there may be: it is asked for again.
    pub fn handle_bss_removed(&mut self, vap: VapId, result: Result<(), String>, now: Instant) {
        let Some(removal) = self.slots.removal(vap).filter(|r| r.step == Step::Asked) else {
            return;
        };
        match result {
            Ok(()) => {
                let (network, took) = (removal.network, now.since(removal.since));
                let stations = std::mem::take(&mut removal.stations);
                self.slots.vacate(vap);
                self.counters.vaps_removed += 1;
                self.gone(vap.into(), stations, now);
                self.events.push_back(Event::VapRemoved { vap, network, took });
            }
            Err(error) => {
                removal.step = Step::Failed;
                let retry_in = removal.backoff.fail(error.clone(), self.settings.waits(), now);
                self.counters.vap_remove_failures += 1;
                self.events.push_back(Event::VapRemoveFailed { vap, error, retry_in });
            }
        }
        self.reconcile(now);
    }

    /// What became of an [`Action::SetDevices`]. After `Err` either list may be in force.
    pub fn handle_devices_set(&mut self, vap: VapId, result: Result<(), String>, now: Instant) {
        if self.slots.removal(vap).is_some() {
            self.unblock(vap);
        } else {
            self.settle(vap.into(), result, now);
        }
        self.reconcile(now);
    }

    /// What became of an [`Action::SetHomeDevices`]. It has no name of its own: a result from
    /// before [`handle_hostapd_lost`](Self::handle_hostapd_lost) must not be handed in after.
    pub fn handle_home_devices_set(&mut self, result: Result<(), String>, now: Instant) {
        self.settle(Bss::Home, result, now);
        self.reconcile(now);
    }

    /// A station has completed its four-way handshake on the owner's BSS or on a VAP.
    pub fn handle_connected(&mut self, bss: impl Into<Bss>, mac: Mac, now: Instant) {
        let bss = bss.into();
        if let Bss::Vap(id) = bss
            && let Some(removal) = self.slots.removal(id)
        {
            removal.stations.insert(mac, Station { since: now, evict: true });
            self.events.push_back(Event::StrangerPutOut { vap: id, mac });
            return self.put_out(bss, mac);
        }
        let Some(roster) = self.roster(bss) else { return };
        let old = roster.stations.get(&mac);
        let stranger = bss != Bss::Home && !roster.members.contains_key(&mac);
        let evict =
            stranger || roster.leaving.contains(&mac) || old.is_some_and(|station| station.evict);
        let since = old.map_or(now, |station| station.since);
        let before = roster.stations.insert(mac, Station { since, evict });
        let member = roster.members.get_mut(&mac);
        let after_probe = member.as_ref().map(|member| now.since(member.heard));
        let ssid = member.map(|member| {
            member.heard = now;
            member.ssid
        });
        if let Some(ssid) = ssid {
            let pair = Pair { mac, ssid };
            self.heard(pair, now);
            self.memory.update(pair, &self.settings, |entry| entry.wrong_keys = 0);
        }
        if before.is_none() {
            self.counters.connected += 1;
            self.events.push_back(Event::DeviceConnected { bss, mac, after_probe });
        }
        if let Bss::Vap(vap) = bss
            && stranger
        {
            self.events.push_back(Event::StrangerPutOut { vap, mac });
            self.put_out(bss, mac);
        }
    }

    /// A station has left the owner's BSS or a VAP.
    pub fn handle_disconnected(&mut self, bss: impl Into<Bss>, mac: Mac, now: Instant) {
        let bss = bss.into();
        let station = match bss {
            Bss::Vap(id) if self.slots.removal(id).is_some() => {
                self.slots.removal(id).and_then(|removal| removal.stations.remove(&mac))
            }
            _ => self.roster(bss).and_then(|roster| {
                if let Some(member) = roster.members.get_mut(&mac) {
                    member.heard = now;
                }
                roster.stations.remove(&mac)
            }),
        };
        let Some(station) = station else { return };
        let member = self.roster(bss).and_then(|roster| roster.members.get(&mac));
        if let Some(ssid) = member.map(|member| member.ssid) {
            self.heard(Pair { mac, ssid }, now);
        }
        self.gone(bss, [(mac, station)], now);
    }

    /// hostapd suspects a station of having another key (`AP-STA-POSSIBLE-PSK-MISMATCH`). A
    /// device of ours may have been given a new one; any other may be one that did not probe by
    /// name, which this stands in for.
    pub fn handle_key_mismatch(&mut self, bss: impl Into<Bss>, mac: Mac, now: Instant) {
        let bss = bss.into();
        self.counters.wrong_keys += 1;
        self.elapse(now);
        let home = self.settings.home;
        let on_vap = match bss {
            Bss::Home => None,
            Bss::Vap(id) => self.slots.network(id).and_then(|network| self.vaps.get(&network)),
        };
        let announced = on_vap.map(|vap| vap.profile.ssid).or(home.filter(|_| bss == Bss::Home));
        let roster = self.roster(bss);
        // Until hostapd has confirmed the key, it cannot be the wrong one.
        let told = roster.as_ref().is_some_and(|r| r.told == Told::Confirmed(r.revision));
        let member = roster.and_then(|roster| roster.members.get(&mac)).map(|member| member.ssid);
        let granted = member.is_some();
        self.events.push_back(Event::WrongKey { bss, mac, granted });
        let Some(ssid) = member.or(announced) else { return };
        let pair = Pair { mac, ssid };
        if granted {
            let doubtful = self.memory.update(pair, &self.settings, |entry| {
                entry.wrong_keys = entry.wrong_keys.saturating_add(u32::from(told));
                let old = |answered| now >= answered + WRONG_KEY_PAUSE;
                entry.open.is_none()
                    && matches!(entry.known, Knowledge::Granted { answered, .. } if old(answered))
            });
            if doubtful == Some(true) {
                self.budget.refresh(now);
                self.ask(pair, Asked::WrongKey, now);
            }
        } else if !mac.is_group() && !self.settings.ignore.contains(&ssid) {
            self.hear(pair, None, now);
        }
        self.reconcile(now);
    }

    /// hostapd is gone: killed, restarted, or out of reach. All BSSes are gone with it, and no
    /// command under way will be answered. Nothing is added before
    /// [`handle_hostapd_ready`](Self::handle_hostapd_ready).
    pub fn handle_hostapd_lost(&mut self, now: Instant) {
        if !self.ready {
            return;
        }
        self.ready = false;
        self.counters.hostapd_losses += 1;
        self.actions.retain(|action| matches!(action, Action::LookUp { .. }));
        let (mut vaps, before) = (0, self.counters.disconnected);
        for removal in self.slots.clear() {
            vaps += 1;
            self.gone(removal.id.into(), removal.stations, now);
        }
        let mut kept = std::mem::take(&mut self.vaps);
        for vap in kept.values_mut() {
            vap.backoff.clear();
            let Some((on_air, stations)) = vap.off_air(now) else { continue };
            vaps += 1;
            self.gone(on_air.id.into(), stations, now);
        }
        self.vaps = kept;
        let settled = self.home.told;
        let stations = self.home.reset();
        if self.settings.home.is_none() && settled == Told::Confirmed(self.home.revision) {
            // Nothing of ours is in its file, and nothing has to be put there.
            self.home.told = settled;
        }
        self.gone(Bss::Home, stations, now);
        let devices = usize::try_from(self.counters.disconnected - before).unwrap_or(usize::MAX);
        self.events.push_back(Event::HostapdLost { vaps, devices });
    }

    /// hostapd is there, with the owner's BSS up and none of ours: whoever calls this has seen
    /// to that. Those VAPs are added whose devices were connected or heard shortly before the
    /// loss, or since; their idle time begins anew.
    pub fn handle_hostapd_ready(&mut self, now: Instant) {
        if self.ready {
            return;
        }
        self.ready = true;
        for vap in self.vaps.values_mut() {
            for member in vap.roster.members.values_mut() {
                member.heard = member.heard.max(now);
            }
        }
        self.events.push_back(Event::HostapdReady { vaps: self.vaps.len() });
        self.elapse(now);
        self.reconcile(now);
    }

    /// The earlier command is answered, one way or another: now the BSS can be removed.
    fn unblock(&mut self, vap: VapId) {
        if let Some(removal) = self.slots.removal(vap)
            && removal.step == Step::Busy
        {
            removal.step = Step::Asked;
            self.actions.push_back(Action::RemoveBss { vap });
        }
    }

    /// Takes note of whether hostapd has the devices that it was sent.
    fn settle(&mut self, bss: Bss, result: Result<(), String>, now: Instant) {
        let waits = self.settings.waits();
        let Some(roster) = self.roster(bss) else { return };
        let Told::Sent { revision, since, .. } = roster.told else { return };
        match result {
            Ok(()) => {
                let (out, devices) = (roster.confirm(revision), roster.members.len());
                let took = now.since(since);
                self.events.push_back(Event::DevicesSet { bss, devices, took });
                for mac in out {
                    self.put_out(bss, mac);
                }
            }
            Err(error) => {
                let retry_in = roster.fail(error.clone(), waits, now);
                self.counters.set_failures += 1;
                self.events.push_back(Event::DevicesSetFailed { bss, error, retry_in });
            }
        }
    }

    /// The devices of a BSS that is up (or, for its stations' sake, being added).
    fn roster(&mut self, bss: Bss) -> Option<&mut Roster> {
        match bss {
            Bss::Home => Some(&mut self.home),
            Bss::Vap(id) => {
                let network = self.slots.network(id)?;
                self.vaps.get_mut(&network).map(|vap| &mut vap.roster)
            }
        }
    }

    /// A device was there: its entry has been of use.
    fn heard(&mut self, pair: Pair, now: Instant) {
        self.memory.update(pair, &self.settings, |entry| entry.heard = entry.heard.max(now));
    }

    fn gone(&mut self, bss: Bss, stations: impl IntoIterator<Item = (Mac, Station)>, now: Instant) {
        for (mac, station) in stations {
            self.counters.disconnected += 1;
            let connected = now.since(station.since);
            self.events.push_back(Event::DeviceDisconnected { bss, mac, connected });
        }
    }
}
