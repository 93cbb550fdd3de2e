//! What an operator sees. MAC addresses are spelled in full: this goes to the operator's eyes,
//! not into logs.

use std::time::Duration;

use homeward_model::{Instant, Mac, NetworkId, RefusalReason, Rssi, Security, Ssid};
use serde::{Deserialize, Serialize};

use crate::Radio;
use crate::memory::{Entry, Knowledge, Pair};
use crate::roster::{Roster, Station, Told};
use crate::vap::{Phase, Removal, Vap};

/// The whole of a radio at one moment. Times are in milliseconds, ages and what is left alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Whether hostapd is there.
    pub hostapd_ready: bool,
    /// The VAPs, those going included, by name; those without a BSS yet come last.
    pub vaps: Vec<VapStatus>,
    /// The core's devices on the owner's BSS, where that is served.
    pub home: Option<HomeStatus>,
    /// What is in memory, by MAC and SSID.
    pub memory: Vec<EntryStatus>,
    /// The most entries the memory may have.
    pub memory_limit: usize,
    /// What was counted since the start.
    pub counters: Counters,
}

/// One VAP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VapStatus {
    /// Its name (`vap0`); `None` while it waits for room.
    pub vap: Option<String>,
    /// Where it is in its life.
    pub state: VapState,
    /// How long it has been there.
    pub state_ms: u64,
    /// Whose it is; `None` for one that nobody owns and that is being removed.
    pub network: Option<NetworkId>,
    /// What it announces.
    pub ssid: Option<Ssid>,
    /// How devices authenticate.
    pub security: Option<Security>,
    /// The devices that may use it, and stations on their way out.
    pub devices: Vec<DeviceStatus>,
    /// If no device is connected: how long ago it was last of use.
    pub empty_ms: Option<u64>,
    /// If hostapd refused something: when it is asked again.
    pub retry_ms: Option<u64>,
    /// What hostapd last refused, until it succeeds.
    pub error: Option<String>,
}

/// Where a VAP is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VapState {
    /// It waits for a slot, for hostapd, or for a back-off to end. There is no BSS.
    Waiting,
    /// hostapd is adding it.
    Adding,
    /// It is on the air.
    Up,
    /// hostapd is removing it, or will be asked again to.
    Removing,
}

/// One device of a BSS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceStatus {
    /// Which.
    pub mac: Mac,
    /// Whether it may be there; false for a station that is being put out.
    pub allowed: bool,
    /// How long it has been connected; `None` if it is not.
    pub connected_ms: Option<u64>,
    /// How long ago it was last heard (a probe, or its connection or end of it).
    pub heard_ms: Option<u64>,
    /// The signal of its last probe.
    pub signal: Option<Rssi>,
    /// How long it has had its place.
    pub since_ms: Option<u64>,
    /// How often it failed with its key.
    pub wrong_keys: u32,
}

/// The core's devices on the owner's BSS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HomeStatus {
    /// The owner's SSID.
    pub ssid: Ssid,
    /// Whether hostapd has confirmed exactly these devices.
    pub confirmed: bool,
    /// The devices.
    pub devices: Vec<DeviceStatus>,
    /// If hostapd refused them: when it is asked again.
    pub retry_ms: Option<u64>,
    /// What hostapd last refused, until it succeeds.
    pub error: Option<String>,
}

/// One entry of the memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryStatus {
    /// The device.
    pub mac: Mac,
    /// The SSID it asked for.
    pub ssid: Ssid,
    /// What is known.
    pub state: EntryState,
    /// For a grant: the network.
    pub network: Option<NetworkId>,
    /// For a grant: whether the device is at home here.
    pub at_home: bool,
    /// For a refusal: why.
    pub reason: Option<RefusalReason>,
    /// For a refusal: the core's own words.
    pub message: Option<String>,
    /// Whether the device failed with its key, and how often.
    pub wrong_keys: u32,
    /// Whether the device has a place on a VAP or at home.
    pub served: bool,
    /// Whether the core is being asked.
    pub asking: bool,
    /// How long ago the device was last heard.
    pub heard_ms: u64,
    /// How long ago the core answered (or was given up).
    pub age_ms: Option<u64>,
    /// When this will no longer be known unless it is used or confirmed.
    pub expires_ms: Option<u64>,
}

/// What is known of a (MAC, SSID) pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EntryState {
    /// Nothing yet: the core is being asked.
    Pending,
    /// The core said yes.
    Granted,
    /// The core said no.
    Refused,
    /// The core did not answer.
    Unreachable,
}

/// What was counted since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Counters {
    /// Directed probes heard.
    pub probes: u64,
    /// Probes answered from memory.
    pub memory_hits: u64,
    /// Probes ignored: too weak.
    pub ignored_weak: u64,
    /// Probes ignored: an SSID that is not looked up, or a device at home here.
    pub ignored_ssid: u64,
    /// Probes ignored: the question was under way.
    pub ignored_pending: u64,
    /// Probes ignored: refused a short while ago.
    pub ignored_refused: u64,
    /// Probes ignored: the core did not answer a moment ago.
    pub ignored_unreachable: u64,
    /// Probes ignored: too many unknown devices, or no memory left.
    pub ignored_budget: u64,
    /// Questions put to the core.
    pub lookups: u64,
    /// Answers: yes.
    pub granted: u64,
    /// Answers: no.
    pub refused: u64,
    /// No answer.
    pub unreachable: u64,
    /// VAPs that came up.
    pub vaps_added: u64,
    /// ADDs that hostapd refused.
    pub vap_add_failures: u64,
    /// VAPs removed.
    pub vaps_removed: u64,
    /// REMOVEs that hostapd refused.
    pub vap_remove_failures: u64,
    /// Device lists that hostapd refused.
    pub set_failures: u64,
    /// Granted devices turned away for want of room.
    pub no_room: u64,
    /// Devices that connected.
    pub connected: u64,
    /// Devices that disconnected.
    pub disconnected: u64,
    /// Stations put out.
    pub put_out: u64,
    /// Failures with a key.
    pub wrong_keys: u64,
    /// Revocations received.
    pub revocations: u64,
    /// Times hostapd was lost.
    pub hostapd_losses: u64,
}

impl Radio {
    /// The whole of the radio, for an operator.
    pub fn status(&self, now: Instant) -> Status {
        let mut vaps: Vec<VapStatus> = Vec::new();
        for (network, vap) in &self.vaps {
            vaps.push(self.vap_status(*network, vap, now));
        }
        for removal in self.slots.removals() {
            vaps.push(removal_status(removal, now));
        }
        vaps.sort_by(|a, b| (a.vap.is_none(), &a.vap).cmp(&(b.vap.is_none(), &b.vap)));
        let home = self.settings.home.map(|ssid| HomeStatus {
            ssid,
            confirmed: self.home.told == Told::Confirmed(self.home.revision),
            devices: self.devices(&self.home, now),
            retry_ms: self.home.backoff.until().map(|at| ms(at.since(now))),
            error: self.home.backoff.error.clone(),
        });
        Status {
            hostapd_ready: self.ready,
            vaps,
            home,
            memory: self.memory.iter().map(|(p, e)| self.entry_status(p, e, now)).collect(),
            memory_limit: self.settings.memory,
            counters: self.counters,
        }
    }

    /// What was counted since the start: cheaper than the whole [`status`](Self::status).
    pub fn counters(&self) -> Counters {
        self.counters
    }

    fn vap_status(&self, network: NetworkId, vap: &Vap, now: Instant) -> VapStatus {
        let (state, since) = match vap.phase {
            Phase::Waiting { since } => (VapState::Waiting, since),
            Phase::Adding(on_air) => (VapState::Adding, on_air.since),
            Phase::Up(on_air) => (VapState::Up, on_air.since),
        };
        let backoff = [&vap.backoff, &vap.roster.backoff];
        let retry = backoff.iter().find_map(|backoff| backoff.until());
        let empty = vap.roster.stations.is_empty();
        let profile = vap.on_air().map_or(vap.profile, |on_air| on_air.profile);
        VapStatus {
            vap: vap.on_air().map(|on_air| on_air.id.to_string()),
            state,
            state_ms: ms(now.since(since)),
            network: Some(network),
            ssid: Some(profile.ssid),
            security: Some(profile.security),
            devices: self.devices(&vap.roster, now),
            empty_ms: empty.then(|| ms(now.since(vap.roster.last_use(now)))),
            retry_ms: retry.map(|at| ms(at.since(now))),
            error: backoff.iter().find_map(|backoff| backoff.error.clone()),
        }
    }

    /// The members, then the stations that are none. On the owner's BSS the latter are the
    /// household's own and no business of ours.
    fn devices(&self, roster: &Roster, now: Instant) -> Vec<DeviceStatus> {
        let members = roster.members.iter().map(|(mac, member)| {
            let entry = self.memory.get(&Pair { mac: *mac, ssid: member.ssid });
            DeviceStatus {
                mac: *mac,
                allowed: true,
                connected_ms: roster.stations.get(mac).map(|s| ms(now.since(s.since))),
                heard_ms: Some(ms(now.since(member.heard))),
                signal: member.signal,
                since_ms: Some(ms(now.since(member.since))),
                wrong_keys: entry.map_or(0, |entry| entry.wrong_keys),
            }
        });
        let strangers = roster
            .stations
            .iter()
            .filter(|(mac, station)| station.evict && !roster.members.contains_key(mac));
        members.chain(strangers.map(|(mac, station)| outcast(*mac, station, now))).collect()
    }

    fn entry_status(&self, pair: &Pair, entry: &Entry, now: Instant) -> EntryStatus {
        let (state, answered) = match &entry.known {
            Knowledge::Nothing => (EntryState::Pending, None),
            Knowledge::Granted { answered, .. } => (EntryState::Granted, Some(answered)),
            Knowledge::Refused { answered, .. } => (EntryState::Refused, Some(answered)),
            Knowledge::Unreachable { answered } => (EntryState::Unreachable, Some(answered)),
        };
        let refusal = match &entry.known {
            Knowledge::Refused { refusal, .. } => Some(refusal),
            _ => None,
        };
        EntryStatus {
            mac: pair.mac,
            ssid: pair.ssid,
            state,
            network: entry.grant().map(|grant| grant.network),
            at_home: entry.grant().is_some_and(|grant| grant.at_home),
            reason: refusal.map(|refusal| refusal.reason),
            message: refusal.map(|refusal| refusal.message.clone()),
            wrong_keys: entry.wrong_keys,
            served: entry.site.is_some(),
            asking: entry.open.is_some(),
            heard_ms: ms(now.since(entry.heard)),
            age_ms: answered.map(|answered| ms(now.since(*answered))),
            expires_ms: entry.expires(&self.settings).map(|at| ms(at.since(now))),
        }
    }
}

fn removal_status(removal: &Removal, now: Instant) -> VapStatus {
    VapStatus {
        vap: Some(removal.id.to_string()),
        state: VapState::Removing,
        state_ms: ms(now.since(removal.since)),
        network: removal.network,
        ssid: removal.profile.map(|profile| profile.ssid),
        security: removal.profile.map(|profile| profile.security),
        devices: removal.stations.iter().map(|(mac, s)| outcast(*mac, s, now)).collect(),
        empty_ms: None,
        retry_ms: removal.backoff.until().map(|at| ms(at.since(now))),
        error: removal.backoff.error.clone(),
    }
}

fn outcast(mac: Mac, station: &Station, now: Instant) -> DeviceStatus {
    DeviceStatus {
        mac,
        allowed: false,
        connected_ms: Some(ms(now.since(station.since))),
        heard_ms: None,
        signal: None,
        since_ms: None,
        wrong_keys: 0,
    }
}

fn ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
