//! The devices of one BSS: who may use it, who is connected, and what hostapd was told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use homeward_model::{DeviceKey, Instant, Mac, Rssi, Seconds, Ssid};

/// A device with a place on a BSS.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    /// With the MAC, the memory's entry that its place rests on.
    pub(crate) ssid: Ssid,
    pub(crate) key: DeviceKey,
    pub(crate) idle_timeout: Option<Seconds>,
    pub(crate) since: Instant,
    /// When it was last heard: a probe, its connection or the end of it.
    pub(crate) heard: Instant,
    pub(crate) signal: Option<Rssi>,
}

/// A station that hostapd reports as connected.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Station {
    pub(crate) since: Instant,
    /// Its permission or its key went while it was connected: it is put out once more when
    /// hostapd has confirmed that the key is gone, for until then it could come back.
    pub(crate) evict: bool,
}

/// What hostapd was told about the members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// Exactly the members of this revision are there.
    Confirmed(u64),
    /// The members of this revision are on their way; there is no answer yet.
    Sent { revision: u64, since: Instant, failures: u32 },
    /// Unknown: it was never told, or it failed this often in a row.
    Unknown { failures: u32 },
}

/// A wait that doubles with every failure.
#[derive(Debug, Clone, Default)]
pub(crate) struct Backoff {
    until: Option<Instant>,
    delay: Duration,
    /// What went wrong last.
    pub(crate) error: Option<String>,
}

impl Backoff {
    /// Notes a failure and says how long to wait.
    pub(crate) fn fail(
        &mut self,
        error: String,
        waits: (Duration, Duration),
        now: Instant,
    ) -> Duration {
        let (first, longest) = waits;
        self.delay = self.delay.saturating_mul(2).clamp(first, longest.max(first));
        self.until = Some(now + self.delay);
        self.error = Some(error);
        self.delay
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Ends the wait if it is over.
    pub(crate) fn elapse(&mut self, now: Instant) {
        self.until = self.until.filter(|until| now < *until);
    }

    /// When to try again; `None` is at once.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.until
    }
}

/// The devices of one BSS.
#[derive(Debug)]
pub(crate) struct Roster {
    pub(crate) members: BTreeMap<Mac, Member>,
    pub(crate) stations: BTreeMap<Mac, Station>,
    /// Those whose permission or key went and is not yet confirmed to be gone: who of them
    /// connects now, does so by what it should not have any more.
    pub(crate) leaving: BTreeSet<Mac>,
    /// Counts changes of who may and with which key.
    pub(crate) revision: u64,
    pub(crate) told: Told,
    pub(crate) backoff: Backoff,
}

impl Roster {
    pub(crate) fn new() -> Self {
        Self {
            members: BTreeMap::new(),
            stations: BTreeMap::new(),
            leaving: BTreeSet::new(),
            revision: 0,
            told: Told::Unknown { failures: 0 },
            backoff: Backoff::default(),
        }
    }

    /// Adds a member, or renews it. A connected one whose key changed has to come in again.
    pub(crate) fn admit(&mut self, mac: Mac, mut member: Member) {
        match self.members.get(&mac) {
            Some(old) => {
                member.since = old.since;
                member.heard = member.heard.max(old.heard);
                if old.key != member.key {
                    self.revision += 1;
                    self.mark(mac);
                }
            }
            None => self.revision += 1,
        }
        self.members.insert(mac, member);
    }

    /// Takes a member's place away. Whether it is connected comes with it.
    pub(crate) fn withdraw(&mut self, mac: Mac) -> Option<(Member, bool)> {
        let member = self.members.remove(&mac)?;
        self.revision += 1;
        let connected = self.mark(mac);
        Some((member, connected))
    }

    fn mark(&mut self, mac: Mac) -> bool {
        self.leaving.insert(mac);
        let station = self.stations.get_mut(&mac);
        let connected = station.is_some();
        if let Some(station) = station {
            station.evict = true;
        }
        connected
    }

    /// The devices and keys as hostapd gets them.
    pub(crate) fn devices(&self) -> Vec<(Mac, DeviceKey)> {
        self.members.iter().map(|(mac, member)| (*mac, member.key.clone())).collect()
    }

    /// The shortest time after which a silent device is disconnected.
    pub(crate) fn idle_timeout(&self) -> Option<Seconds> {
        self.members.values().filter_map(|member| member.idle_timeout).min()
    }

    /// Whether hostapd has to be told, and may be told now.
    pub(crate) fn must_tell(&self) -> bool {
        let news = match self.told {
            Told::Confirmed(revision) => revision != self.revision,
            Told::Sent { .. } => false,
            Told::Unknown { .. } => true,
        };
        news && self.backoff.until().is_none()
    }

    /// The devices are on their way to hostapd.
    pub(crate) fn send(&mut self, now: Instant) {
        let failures = match self.told {
            Told::Unknown { failures } | Told::Sent { failures, .. } => failures,
            Told::Confirmed(_) => 0,
        };
        self.told = Told::Sent { revision: self.revision, since: now, failures };
    }

    /// hostapd took what was sent: those whose permission or key went before that, and who are
    /// still connected, are put out.
    pub(crate) fn confirm(&mut self, revision: u64) -> Vec<Mac> {
        self.told = Told::Confirmed(revision);
        self.backoff.clear();
        if revision != self.revision {
            return Vec::new();
        }
        self.leaving.clear();
        let mut out = Vec::new();
        for (mac, station) in &mut self.stations {
            if std::mem::take(&mut station.evict) {
                out.push(*mac);
            }
        }
        out
    }

    /// hostapd refused what was sent, or may have: which keys it has is unknown.
    pub(crate) fn fail(
        &mut self,
        error: String,
        waits: (Duration, Duration),
        now: Instant,
    ) -> Duration {
        if let Told::Sent { failures, .. } = self.told {
            self.told = Told::Unknown { failures: failures.saturating_add(1) };
        }
        self.backoff.fail(error, waits, now)
    }

    /// hostapd is gone, or has no part in this any more: the stations leave. Who was leaving
    /// stays marked: the owner's BSS comes back with the keys it was last told.
    pub(crate) fn reset(&mut self) -> BTreeMap<Mac, Station> {
        self.told = Told::Unknown { failures: 0 };
        self.backoff.clear();
        std::mem::take(&mut self.stations)
    }

    /// When the BSS was last of use: now, if somebody is connected.
    pub(crate) fn last_use(&self, now: Instant) -> Instant {
        if !self.stations.is_empty() {
            return now;
        }
        self.members.values().map(|member| member.heard).max().unwrap_or_default()
    }

    /// The members that are not connected, with the time each was last heard.
    pub(crate) fn absent(&self) -> impl Iterator<Item = (Mac, &Member)> {
        self.members
            .iter()
            .filter(|(mac, _)| !self.stations.contains_key(mac))
            .map(|(mac, member)| (*mac, member))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use homeward_model::{Grant, NetworkId, Psk, Security, ServiceTerms};

    use super::*;

    /// A grant whose network and key are told by a number.
    pub(crate) fn grant(n: u8) -> Grant {
        Grant {
            network: NetworkId(n.into()),
            ssid: "home".parse().unwrap(),
            security: Security::Wpa2Psk,
            key: DeviceKey::Psk(Psk::new([n; 32])),
            terms: ServiceTerms::default(),
            at_home: false,
            class: Vec::new(),
        }
    }

    fn member(key: u8) -> Member {
        Member {
            ssid: "home".parse().unwrap(),
            key: DeviceKey::Psk(Psk::new([key; 32])),
            idle_timeout: None,
            since: Instant::ORIGIN,
            heard: Instant::ORIGIN,
            signal: None,
        }
    }

    const A: Mac = Mac::new([2, 0, 0, 0, 0, 1]);
    const B: Mac = Mac::new([2, 0, 0, 0, 0, 2]);

    #[test]
    fn hostapd_is_told_only_when_who_may_or_a_key_changed() {
        let mut roster = Roster::new();
        roster.admit(A, member(1));
        roster.send(Instant::ORIGIN);
        assert!(!roster.must_tell(), "one at a time");
        roster.confirm(roster.revision);
        roster.admit(A, member(1));
        assert!(!roster.must_tell(), "the same again");
        roster.admit(A, member(2));
        assert!(roster.must_tell(), "another key");
    }

    #[test]
    fn who_lost_its_key_while_connected_is_put_out_once_the_key_is_gone() {
        let mut roster = Roster::new();
        for mac in [A, B] {
            roster.admit(mac, member(1));
            roster.stations.insert(mac, Station { since: Instant::ORIGIN, evict: false });
        }
        roster.send(Instant::ORIGIN);
        let before = roster.revision;
        assert!(roster.withdraw(A).is_some_and(|(_, connected)| connected));
        assert_eq!(roster.confirm(before), [], "A's key is in what was confirmed");
        roster.send(Instant::ORIGIN);
        assert_eq!(roster.confirm(roster.revision), [A]);
    }

    #[test]
    fn the_back_off_doubles_up_to_its_longest_and_begins_anew_after_success() {
        let waits = (Duration::from_secs(1), Duration::from_secs(60));
        let mut backoff = Backoff::default();
        let fail = |b: &mut Backoff| b.fail(String::from("FAIL"), waits, Instant::ORIGIN).as_secs();
        let waits: Vec<u64> = (0..8).map(|_| fail(&mut backoff)).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        backoff.clear();
        assert_eq!(fail(&mut backoff), 1);
    }
}
