//! Preparation: a place held for a device that has not been heard yet (R4).
//!
//! Who knows that a device may soon come (the controller, from where it is and where others went
//! from there) has the radio hold record, key and BSS before it does. A prepared place is like
//! any other, except that silence does not end it; it ends when it is withdrawn, when its grant
//! goes, or when it has to give way to a device that was heard.

use homeward_model::{Instant, Mac, NetworkId, Ssid};

use crate::event::{Asked, Unprepared};
use crate::memory::{Knowledge, Pair, Site};
use crate::roster::Told;
use crate::{Event, Radio};

impl Radio {
    /// A device may come: its record, key and BSS are to be held until
    /// [`handle_withdraw`](Self::handle_withdraw). [`Event::Prepared`] follows when it could
    /// associate at once, or [`Event::PreparationEnded`].
    pub fn handle_prepare(&mut self, mac: Mac, ssid: Ssid, now: Instant) {
        self.elapse(now);
        let pair = Pair { mac, ssid };
        let limit = self.settings.max_prepared;
        if mac.is_group() || self.settings.ignore.contains(&ssid) {
            self.unprepared(pair, Unprepared::NotServed);
        } else if self.prepared.contains_key(&pair) {
            // Asked again: said again.
            self.prepared.insert(pair, false);
        } else if self.prepared.len() >= limit {
            self.unprepared(pair, Unprepared::Limit);
        } else {
            self.prepared.insert(pair, false);
            self.hold(pair, now);
        }
        self.reconcile(now);
    }

    /// The device is not expected any more. If it is not connected, its place ends like that of
    /// any silent device.
    pub fn handle_withdraw(&mut self, mac: Mac, ssid: Ssid, now: Instant) {
        let pair = Pair { mac, ssid };
        if self.prepared.remove(&pair).is_some() {
            self.unprepared(pair, Unprepared::Withdrawn);
            self.leave(now);
        }
        self.elapse(now);
        self.reconcile(now);
    }

    /// The (MAC, SSID) pairs that are prepared.
    pub fn prepared(&self) -> impl Iterator<Item = (Mac, Ssid)> + '_ {
        self.prepared.keys().map(|pair| (pair.mac, pair.ssid))
    }

    pub(crate) fn is_prepared(&self, pair: Pair) -> bool {
        self.prepared.contains_key(&pair)
    }

    /// Whether a device of that VAP is prepared.
    pub(crate) fn has_prepared(&self, network: NetworkId) -> bool {
        self.vaps.get(&network).is_some_and(|vap| {
            let members = &vap.roster.members;
            members.iter().any(|(mac, m)| self.is_prepared(Pair { mac: *mac, ssid: m.ssid }))
        })
    }

    /// Ends a preparation, if there is one.
    pub(crate) fn end_preparation(&mut self, pair: Pair, why: Unprepared) {
        if self.prepared.remove(&pair).is_some() {
            self.unprepared(pair, why);
        }
    }

    /// Says of every prepared device, once, that it could associate now; and of one whose entry
    /// went by some other way, that it is none.
    pub(crate) fn announce_prepared(&mut self) {
        while let Some(pair) = self.prepared.keys().find(|p| self.memory.get(p).is_none()) {
            self.end_preparation(*pair, Unprepared::Forgotten);
        }
        let Self { prepared, memory, vaps, events, .. } = self;
        for (pair, announced) in prepared.iter_mut().filter(|(_, announced)| !**announced) {
            let site = memory.get(pair).and_then(|entry| entry.site);
            let Some(Site::Vap(network)) = site else { continue };
            let roster = vaps.get(&network).map(|vap| &vap.roster);
            if roster.is_some_and(|roster| roster.told == Told::Confirmed(roster.revision)) {
                *announced = true;
                let Pair { mac, ssid } = *pair;
                events.push_back(Event::Prepared { mac, ssid, network });
            }
        }
    }

    /// The core is asked, or memory used, as if the device had been heard; but it is paid for
    /// like a refresh, so that a flood of strangers does not stand in the way.
    fn hold(&mut self, pair: Pair, now: Instant) {
        let known = self.memory.get(&pair).map(|entry| match entry.known {
            Knowledge::Granted { .. } => true,
            Knowledge::Nothing | Knowledge::Refused { .. } | Knowledge::Unreachable { .. } => false,
        });
        match known {
            Some(true) => self.place(pair, false, now),
            Some(false) => self.hear_again(pair, now),
            None => {
                self.budget.refresh(now);
                if !self.remember(pair, None, now) {
                    return self.end_preparation(pair, Unprepared::NoRoom);
                }
                self.ask(pair, Asked::Prepared, now);
            }
        }
    }

    /// What stands in memory instead of a grant is asked about anew, unless it is just being.
    fn hear_again(&mut self, pair: Pair, now: Instant) {
        let open = self.memory.get(&pair).is_some_and(|entry| entry.open.is_some());
        if !open {
            self.budget.refresh(now);
            self.ask(pair, Asked::Prepared, now);
        }
    }

    fn unprepared(&mut self, Pair { mac, ssid }: Pair, why: Unprepared) {
        self.events.push_back(Event::PreparationEnded { mac, ssid, why });
    }
}
