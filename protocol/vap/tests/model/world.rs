//! A hostapd and a core made of maps, each as slow and as unreliable as the test wants it.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use homeward_model::{
    DeviceKey, Grant, Instant, Mac, NetworkId, Passphrase, Psk, Refusal, RefusalReason, Security,
    ServiceTerms, Ssid,
};
use homeward_vap::{Action, Answer, Bss, LookupId, VapId};

pub(crate) const DEVICES: u8 = 6;
pub(crate) const HOME: &str = "hearth";

/// Four foreign networks, two of them with the same SSID, and the gateway's own.
pub(crate) const NETWORKS: [(i64, &str); 5] =
    [(1, "acacia"), (2, "birch"), (3, "birch"), (4, "cedar"), (5, HOME)];

pub(crate) fn mac(device: u8) -> Mac {
    Mac::new([2, 0, 0, 0, 0, device])
}

pub(crate) fn ssid(name: &str) -> Ssid {
    name.parse().expect("an SSID")
}

/// The core's database: what each device may under each SSID.
#[derive(Debug, Clone, Default)]
pub(crate) struct Core {
    pub(crate) records: BTreeMap<(Mac, Ssid), Record>,
    /// Of each network; WPA2-PSK unless said.
    pub(crate) security: BTreeMap<NetworkId, Security>,
    /// Questions not yet looked at.
    pub(crate) asked: Vec<(LookupId, Mac, Ssid)>,
    /// Answers on their way.
    pub(crate) answered: Vec<(LookupId, Answer)>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Record {
    pub(crate) network: NetworkId,
    pub(crate) key: u8,
    pub(crate) suspended: bool,
    pub(crate) session: Option<u32>,
}

impl Record {
    pub(crate) fn key(self, mac: Mac) -> DeviceKey {
        let psk = Psk::new([self.key ^ mac.octets()[5]; 32]);
        let passphrase: Passphrase = "correct horse".parse().expect("a passphrase");
        DeviceKey::Passphrase { passphrase, psk }
    }

    pub(crate) fn at_home(self) -> bool {
        self.network == NetworkId(5)
    }
}

impl Core {
    /// What the core says now.
    pub(crate) fn verdict(&self, mac: Mac, ssid: Ssid) -> Answer {
        let refuse = |reason| Answer::Refused(Refusal { reason, message: String::from("no") });
        match self.records.get(&(mac, ssid)) {
            None => refuse(RefusalReason::UnknownDevice),
            Some(record) if record.suspended => refuse(RefusalReason::DeviceSuspended),
            Some(record) => Answer::Granted(Grant {
                network: record.network,
                ssid,
                security: *self.security.get(&record.network).unwrap_or(&Security::Wpa2Psk),
                key: record.key(mac),
                terms: ServiceTerms {
                    session_timeout: record.session.map(homeward_model::Seconds),
                    ..ServiceTerms::default()
                },
                at_home: record.at_home(),
                class: Vec::new(),
            }),
        }
    }
}

/// One BSS as hostapd has it.
#[derive(Debug, Clone)]
pub(crate) struct Air {
    pub(crate) vap: VapId,
    pub(crate) network: NetworkId,
    pub(crate) ssid: Ssid,
    pub(crate) security: Security,
    pub(crate) keys: BTreeMap<Mac, DeviceKey>,
    pub(crate) stations: BTreeSet<Mac>,
}

/// What hostapd tells.
#[derive(Debug, Clone)]
pub(crate) enum Report {
    Added(VapId, Result<(), String>),
    Set(VapId, Result<(), String>),
    Removed(VapId, Result<(), String>),
    HomeSet(Result<(), String>),
    Connected(Bss, Mac),
    Disconnected(Bss, Mac),
}

/// How a command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    /// Nothing happens, and hostapd says so.
    Refused,
    /// It happens, but the answer is lost.
    DoneUnheard,
}

#[derive(Debug, Default)]
pub(crate) struct Hostapd {
    pub(crate) alive: bool,
    /// By slot: a name can be there once.
    pub(crate) bsses: BTreeMap<u16, Air>,
    pub(crate) home_keys: BTreeMap<Mac, DeviceKey>,
    pub(crate) home_stations: BTreeSet<Mac>,
    pub(crate) commands: VecDeque<Action>,
    /// ADDs meant for a hostapd that has died: no machine can count what it cannot know of.
    pub(crate) zombies: BTreeSet<VapId>,
    pub(crate) reports: VecDeque<Report>,
}

impl Hostapd {
    /// Carries out the oldest command.
    pub(crate) fn execute(&mut self, outcome: Outcome) -> bool {
        if !self.alive {
            return false;
        }
        let Some(command) = self.commands.pop_front() else { return false };
        let effect = outcome != Outcome::Refused;
        let mut result = match outcome {
            Outcome::Done => Ok(()),
            Outcome::Refused => Err(String::from("FAIL")),
            Outcome::DoneUnheard => Err(String::from("no answer")),
        };
        match command {
            Action::AddBss { vap, network, ssid, security, devices, .. } => {
                match self.bsses.entry(vap.slot()) {
                    Entry::Occupied(_) => result = Err(String::from("FAIL: the name is taken")),
                    Entry::Vacant(place) if effect => {
                        let keys = devices.into_iter().collect();
                        let stations = BTreeSet::new();
                        place.insert(Air { vap, network, ssid, security, keys, stations });
                    }
                    Entry::Vacant(_) => {}
                }
                self.reports.push_back(Report::Added(vap, result));
            }
            Action::SetDevices { vap, devices } => {
                match self.bsses.get_mut(&vap.slot()) {
                    Some(air) if effect => air.keys = devices.into_iter().collect(),
                    Some(_) => {}
                    None => result = Err(String::from("FAIL: no such BSS")),
                }
                self.reports.push_back(Report::Set(vap, result));
            }
            Action::RemoveBss { vap } => {
                if effect {
                    self.bsses.remove(&vap.slot());
                }
                self.reports.push_back(Report::Removed(vap, result));
            }
            Action::SetHomeDevices { devices } => {
                if effect {
                    self.home_keys = devices.into_iter().collect();
                }
                self.reports.push_back(Report::HomeSet(result));
            }
            // A key that is gone disconnects nobody here: only this does.
            Action::Deauthenticate { bss, mac } => self.disconnect(bss, mac),
            Action::LookUp { .. } => unreachable!("not hostapd's"),
        }
        true
    }

    /// A station tries to connect: it is let in if its MAC has a key there.
    pub(crate) fn connect(&mut self, slot: Option<u16>, mac: Mac) {
        let bss = match slot {
            None if self.alive && self.home_keys.contains_key(&mac) => {
                self.home_stations.insert(mac).then_some(Bss::Home)
            }
            None => None,
            Some(slot) => self.bsses.get_mut(&slot).and_then(|air| {
                let new = air.keys.contains_key(&mac) && air.stations.insert(mac);
                new.then_some(Bss::Vap(air.vap))
            }),
        };
        self.reports.extend(bss.map(|bss| Report::Connected(bss, mac)));
    }

    pub(crate) fn disconnect(&mut self, bss: Bss, mac: Mac) {
        let was = match bss {
            Bss::Home => self.home_stations.remove(&mac),
            Bss::Vap(vap) => {
                let air = self.bsses.get_mut(&vap.slot()).filter(|air| air.vap == vap);
                air.is_some_and(|air| air.stations.remove(&mac))
            }
        };
        if was {
            self.reports.push_back(Report::Disconnected(bss, mac));
        }
    }

    /// hostapd dies. `late`: results it gave before are still to come. `zombies`: an ADD that was
    /// not carried out yet reaches the next hostapd.
    pub(crate) fn die(&mut self, late: bool, zombies: bool) {
        self.alive = false;
        self.bsses.clear();
        self.home_stations.clear();
        self.commands.retain(|c| zombies && matches!(c, Action::AddBss { .. }));
        self.zombies.extend(self.commands.iter().filter_map(|command| match command {
            Action::AddBss { vap, .. } => Some(*vap),
            _ => None,
        }));
        // The owner's BSS has no generation: its late results are the caller's to drop.
        self.reports.retain(|report| {
            late && matches!(report, Report::Added(..) | Report::Set(..) | Report::Removed(..))
        });
    }
}

pub(crate) fn after(ms: u64) -> Instant {
    Instant::ORIGIN + Duration::from_millis(ms)
}
