//! The machine itself: what goes in and what comes out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use homeward_model::{Anchor, Grant, Instant, Mac, NetworkId, Rssi, Ssid};

use crate::budget::Budget;
use crate::event::{Asked, Forgotten, Ignored, Withdrawn};
use crate::memory::{Entry, Knowledge, Memory, Pair, Question, Site};
use crate::roster::{Roster, Told};
use crate::vap::{Slots, Vap};
use crate::{Action, Counters, Event, LookupId, Settings, VapId};

/// All virtual access points of one radio, and the gateway's memory.
///
/// Feed it with the `handle_*` methods; after each, take all of [`poll_action`] and
/// [`poll_event`], and call [`handle_timeout`] at [`poll_timeout`]. It begins without hostapd:
/// look-ups are made, but nothing is added before the first [`handle_hostapd_ready`].
///
/// [`poll_action`]: Self::poll_action
/// [`poll_event`]: Self::poll_event
/// [`poll_timeout`]: Self::poll_timeout
/// [`handle_timeout`]: Self::handle_timeout
/// [`handle_hostapd_ready`]: Self::handle_hostapd_ready
#[derive(Debug)]
pub struct Radio {
    pub(crate) settings: Settings,
    pub(crate) memory: Memory,
    pub(crate) budget: Budget,
    /// Those wanted: each has a member, and there are never more than `max_vaps`.
    pub(crate) vaps: BTreeMap<NetworkId, Vap>,
    /// Those hostapd has or may have.
    pub(crate) slots: Slots,
    pub(crate) home: Roster,
    /// Devices that are expected, and whether it was said that all is ready for them.
    pub(crate) prepared: BTreeMap<Pair, bool>,
    pub(crate) ready: bool,
    pub(crate) claims: u64,
    lookups: u64,
    pub(crate) actions: VecDeque<Action>,
    pub(crate) events: VecDeque<Event>,
    pub(crate) counters: Counters,
}

impl Radio {
    /// A radio without VAPs, memory or hostapd.
    pub fn new(settings: Settings) -> Self {
        let settings = settings.floored();
        let mut home = Roster::new();
        if settings.home.is_none() {
            home.told = Told::Confirmed(home.revision);
        }
        Self {
            memory: Memory::default(),
            budget: Budget::new(&settings),
            vaps: BTreeMap::new(),
            slots: Slots::default(),
            home,
            prepared: BTreeMap::new(),
            ready: false,
            claims: 0,
            lookups: 0,
            actions: VecDeque::new(),
            events: VecDeque::new(),
            counters: Counters::default(),
            settings,
        }
    }

    /// The settings in force.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Puts other settings in force. What no longer fits goes at once: first what is used least.
    pub fn reconfigure(&mut self, settings: Settings, now: Instant) {
        let settings = settings.floored();
        let before = std::mem::replace(&mut self.settings, settings);
        self.budget.reconfigure(&self.settings);
        self.memory.reindex(&self.settings);

        let moved = before.home != self.settings.home;
        let unwanted = self.memory.pairs(|pair, entry| {
            self.settings.ignore.contains(&pair.ssid) || moved && entry.site == Some(Site::Home)
        });
        for pair in unwanted {
            self.forget(pair, Withdrawn::Settings, Forgotten::Settings, now);
        }
        if moved && self.settings.home.is_some() {
            // The owner's BSS may be another one: its devices are to be sent, whatever was before.
            self.home.revision += 1;
        }
        self.fit(now);
        self.elapse(now);
        self.reconcile(now);
    }

    /// A directed probe request was heard: that device looks for that SSID.
    pub fn handle_probe(&mut self, mac: Mac, ssid: Ssid, signal: Option<Rssi>, now: Instant) {
        self.counters.probes += 1;
        self.elapse(now);
        let pair = Pair { mac, ssid };
        let weak = |(signal, least): (Rssi, Rssi)| signal < least;
        if mac.is_group() {
            self.ignore(pair, Ignored::GroupAddress);
        } else if self.settings.ignore.contains(&ssid) {
            self.ignore(pair, Ignored::Ssid);
        } else if signal.zip(self.settings.min_signal).is_some_and(weak) {
            self.ignore(pair, Ignored::Weak);
        } else {
            self.hear(pair, signal, now);
        }
        self.reconcile(now);
    }

    /// It is `now`. Call it at [`poll_timeout`](Self::poll_timeout), or whenever you like.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.leave(now);
        self.elapse(now);
        self.reconcile(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) is next needed. Ask after every input.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let mut next = self.memory.next_due();
        let mut at = |time: Option<Instant>| {
            next = [next, time].into_iter().flatten().min();
        };
        for vap in self.vaps.values() {
            at(vap.backoff.until());
            at(vap.roster.backoff.until());
            if self.ready {
                let heard = self.silent(vap).map(|(_, heard)| heard).min();
                at(heard.map(|heard| heard + self.settings.vap_idle));
            }
        }
        for removal in self.slots.removals() {
            at(removal.backoff.until());
        }
        at(self.home.backoff.until());
        next
    }

    /// The next thing to be done.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The grant in memory for a device under an SSID: what it is entitled to while it is served.
    pub fn grant(&self, mac: Mac, ssid: Ssid) -> Option<&Grant> {
        self.memory.get(&Pair { mac, ssid })?.grant()
    }

    /// The networks that have a VAP, on the air or about to be, whose traffic leaves at that
    /// anchor; and the devices with a place there.
    pub fn served(&self, anchor: Anchor) -> impl Iterator<Item = (NetworkId, BTreeSet<Mac>)> + '_ {
        let vaps = self.vaps.iter().filter(move |(_, vap)| vap.profile.anchor == anchor);
        vaps.map(|(network, vap)| (*network, vap.roster.members.keys().copied().collect()))
    }

    /// The network of a VAP that is wanted.
    pub fn network_of(&self, vap: VapId) -> Option<NetworkId> {
        let on_air = |v: &Vap| v.on_air().is_some_and(|on_air| on_air.id == vap);
        self.vaps.iter().find(|(_, vap)| on_air(vap)).map(|(network, _)| *network)
    }

    /// The devices of a network that were granted and are in memory.
    pub fn devices_of(&self, network: NetworkId) -> impl Iterator<Item = Mac> + '_ {
        let of = move |entry: &Entry| entry.grant().is_some_and(|g| g.network == network);
        self.memory.iter().filter(move |(_, entry)| of(entry)).map(|(pair, _)| pair.mac)
    }

    /// A device asks for an SSID, by whatever sign: memory first, then the core.
    pub(crate) fn hear(&mut self, pair: Pair, signal: Option<Rssi>, now: Instant) {
        let known = self.memory.update(pair, &self.settings, |entry| {
            entry.heard = entry.heard.max(now);
            entry.signal = signal.or(entry.signal);
            match &entry.known {
                Knowledge::Nothing => Err(Ignored::Pending),
                Knowledge::Refused { refusal, .. } => Err(Ignored::Refused(refusal.reason)),
                Knowledge::Unreachable { .. } => Err(Ignored::Unreachable),
                Knowledge::Granted { grant, .. } => Ok(grant.network),
            }
        });
        match known {
            Some(Err(why)) => self.ignore(pair, why),
            Some(Ok(network)) => {
                self.counters.memory_hits += 1;
                let Pair { mac, ssid } = pair;
                self.events.push_back(Event::MemoryHit { mac, ssid, network });
                self.place(pair, false, now);
                self.doubt(pair, now);
                // The grant may be older than a served one may be: it is confirmed behind the
                // device's back.
                self.elapse(now);
            }
            None => self.first_asked(pair, signal, now),
        }
    }

    /// Has a grant confirmed that gave no place and is older than a served one may be: the
    /// device may have moved house.
    fn doubt(&mut self, pair: Pair, now: Instant) {
        let refresh = self.settings.refresh;
        self.memory.update(pair, &self.settings, |entry| {
            if let (None, Knowledge::Granted { answered, ask, .. }) = (entry.site, &mut entry.known)
                && *answered + refresh <= now
            {
                ask.get_or_insert(now);
            }
        });
    }

    fn first_asked(&mut self, pair: Pair, signal: Option<Rssi>, now: Instant) {
        let Some(asked) = self.budget.hear(pair, &self.settings, now) else {
            return self.ignore(pair, Ignored::Budget);
        };
        if !self.remember(pair, signal, now) {
            return self.ignore(pair, Ignored::Memory);
        }
        self.ask(pair, asked, now);
    }

    /// Makes an entry in memory for what is to be asked; false if there is no room.
    pub(crate) fn remember(&mut self, pair: Pair, signal: Option<Rssi>, now: Instant) -> bool {
        let Some(others) = self.settings.memory.checked_sub(1) else { return false };
        self.make_room(others);
        if self.memory.len() > others {
            return false;
        }
        let entry = Entry {
            known: Knowledge::Nothing,
            open: None,
            site: None,
            heard: now,
            signal,
            wrong_keys: 0,
        };
        self.memory.put(pair, entry, &self.settings);
        true
    }

    /// Puts the question about an entry to the core.
    pub(crate) fn ask(&mut self, pair: Pair, asked: Asked, now: Instant) {
        let id = LookupId(self.lookups);
        let signal = self.memory.update(pair, &self.settings, |entry| {
            entry.open = Some(Question { id, since: now });
            entry.signal
        });
        let Some(signal) = signal else { return };
        self.lookups += 1;
        self.counters.lookups += 1;
        let Pair { mac, ssid } = pair;
        self.events.push_back(Event::LookupStarted { id, mac, ssid, asked });
        self.actions.push_back(Action::LookUp { id, mac, ssid, signal });
    }

    pub(crate) fn make_room(&mut self, limit: usize) {
        for (Pair { mac, ssid }, entry) in self.memory.make_room(limit) {
            if entry.grant().is_some() {
                let why = Forgotten::Pressure;
                self.events.push_back(Event::GrantForgotten { mac, ssid, why });
            }
        }
    }

    pub(crate) fn ignore(&mut self, Pair { mac, ssid }: Pair, why: Ignored) {
        let counters = &mut self.counters;
        let counter = match why {
            Ignored::Weak => &mut counters.ignored_weak,
            Ignored::Ssid | Ignored::GroupAddress | Ignored::AtHome => &mut counters.ignored_ssid,
            Ignored::Pending => &mut counters.ignored_pending,
            Ignored::Refused(_) => &mut counters.ignored_refused,
            Ignored::Unreachable => &mut counters.ignored_unreachable,
            Ignored::Budget | Ignored::Memory => &mut counters.ignored_budget,
        };
        *counter += 1;
        self.events.push_back(Event::ProbeIgnored { mac, ssid, why });
    }
}
