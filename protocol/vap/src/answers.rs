//! Look-ups, their answers, revocations, and what time brings to the memory.

use std::time::Duration;

use homeward_model::{Grant, Instant, Mac, Refusal, RefusalReason, Security, Ssid};

use crate::event::{Asked, Forgotten, Unprepared, Withdrawn};
use crate::memory::{Due, Knowledge, Pair, Site};
use crate::{Action, Answer, Bss, Event, LookupId, Radio, Revoked};

impl Radio {
    /// What became of an [`Action::LookUp`].
    pub fn handle_answer(&mut self, id: LookupId, answer: Answer, now: Instant) {
        match self.memory.asked(id) {
            Some(pair) => self.answered(pair, answer, now),
            None => self.events.push_back(Event::AnswerDropped { id }),
        }
        self.elapse(now);
        self.reconcile(now);
    }

    /// The core revoked a device, for one SSID or for all: it is forgotten, its keys go, and it
    /// is put out at once. Its next probe asks the core.
    pub fn handle_revoked(&mut self, mac: Mac, ssid: Option<Ssid>, now: Instant) -> Revoked {
        self.counters.revocations += 1;
        let hit = |found: Ssid| ssid.is_none_or(|ssid| ssid == found);
        let mut revoked = Revoked::default();
        let strangers = self.strangers(mac, hit);
        for pair in self.memory.pairs(|pair, _| pair.mac == mac && hit(pair.ssid)) {
            revoked.sessions += usize::from(self.withdraw(pair, Withdrawn::Revoked, now));
            revoked.entries += 1;
            // With the entry goes an open question: its answer may be older than the revocation.
            self.memory.remove(&pair);
        }
        // Stations that had no place any more: on their way out, or on a BSS that is.
        for bss in strangers {
            revoked.sessions += 1;
            self.put_out(bss, mac);
        }
        let Revoked { entries, sessions } = revoked;
        self.events.push_back(Event::Revoked { mac, ssid, entries, sessions });
        self.reconcile(now);
        revoked
    }

    /// The core answers again after a silence: every grant is asked for anew, those in use
    /// first, at half the rate of look-ups; pauses end.
    pub fn handle_core_back(&mut self, now: Instant) {
        for pair in self.memory.pairs(|_, e| matches!(e.known, Knowledge::Unreachable { .. })) {
            self.memory.remove(&pair);
        }
        let mut grants = self.memory.pairs(|_, entry| entry.site.is_some());
        grants.extend(self.memory.pairs(|_, e| e.grant().is_some() && e.site.is_none()));
        let step = Duration::from_secs(1) / (self.settings.lookups_per_second / 2).max(1);
        let mut at = now;
        for pair in &grants {
            self.memory.update(*pair, &self.settings, |entry| {
                if let Knowledge::Granted { ask, .. } = &mut entry.known {
                    *ask = Some(ask.map_or(at, |planned| planned.min(at)));
                }
            });
            at = at + step;
        }
        self.events.push_back(Event::CoreBack { grants: grants.len() });
        self.elapse(now);
        self.reconcile(now);
    }

    /// Does what is due in the memory.
    pub(crate) fn elapse(&mut self, now: Instant) {
        while let Some((pair, due)) = self.memory.due(&self.settings, now) {
            match due {
                Due::QuestionLost => self.answered(pair, Answer::Unreachable, now),
                Due::Ask => {
                    self.budget.refresh(now);
                    self.ask(pair, Asked::Refresh, now);
                }
                Due::Stale => self.forget(pair, Withdrawn::Stale, Forgotten::Stale, now),
                Due::Unused if self.connected_at_home(pair) => {
                    self.memory.update(pair, &self.settings, |entry| entry.heard = now);
                }
                Due::Unused => self.forget(pair, Withdrawn::Idle, Forgotten::Unused, now),
                Due::Over => {
                    self.memory.remove(&pair);
                }
            }
        }
    }

    /// Drops a grant and the place that rests on it.
    pub(crate) fn forget(
        &mut self,
        pair: Pair,
        why: Withdrawn,
        forgotten: Forgotten,
        now: Instant,
    ) {
        self.withdraw(pair, why, now);
        self.end_preparation(pair, Unprepared::Lost(why));
        if self.memory.remove(&pair).is_some_and(|entry| entry.grant().is_some()) {
            let Pair { mac, ssid } = pair;
            self.events.push_back(Event::GrantForgotten { mac, ssid, why: forgotten });
        }
    }

    /// Puts a station out, whether or not it may come back.
    pub(crate) fn put_out(&mut self, bss: Bss, mac: Mac) {
        self.counters.put_out += 1;
        self.actions.push_back(Action::Deauthenticate { bss, mac });
    }

    fn connected_at_home(&self, pair: Pair) -> bool {
        let at_home = self.memory.get(&pair).is_some_and(|entry| entry.site == Some(Site::Home));
        at_home && self.home.stations.contains_key(&pair.mac)
    }

    /// The VAPs, kept or going, where a station without a place is connected.
    fn strangers(&self, mac: Mac, hit: impl Fn(Ssid) -> bool) -> Vec<Bss> {
        let on_vaps = self.vaps.values().filter_map(|vap| {
            let on_air = vap.on_air()?;
            let there = vap.roster.stations.contains_key(&mac)
                && !vap.roster.members.contains_key(&mac)
                && hit(on_air.profile.ssid);
            there.then_some(Bss::Vap(on_air.id))
        });
        // Where the device has a place with the same network, its withdrawal sees to this.
        let has_place = |network| {
            let site = Some(Site::Vap(network));
            self.memory.iter().any(|(pair, e)| pair.mac == mac && hit(pair.ssid) && e.site == site)
        };
        let going = self.slots.removals().filter_map(|removal| {
            let there = removal.stations.contains_key(&mac)
                && !removal.network.is_some_and(has_place)
                && removal.profile.is_none_or(|profile| hit(profile.ssid));
            there.then_some(Bss::Vap(removal.id))
        });
        on_vaps.chain(going).collect()
    }

    fn answered(&mut self, pair: Pair, answer: Answer, now: Instant) {
        let question = self.memory.update(pair, &self.settings, |entry| entry.open.take());
        let Some(question) = question.flatten() else { return };
        let (id, took) = (question.id, now.since(question.since));
        let Pair { mac, ssid } = pair;
        match checked(pair, answer) {
            Answer::Granted(grant) => {
                self.counters.granted += 1;
                let (network, at_home) = (grant.network, grant.at_home);
                let (changed, wanted) = self.learn(pair, grant, now);
                self.events.push_back(Event::LookupGranted {
                    id,
                    mac,
                    ssid,
                    network,
                    at_home,
                    changed,
                    took,
                });
                if wanted {
                    self.place(pair, true, now);
                }
            }
            Answer::Refused(refusal) => {
                self.counters.refused += 1;
                let why = Withdrawn::Refused(refusal.reason);
                self.withdraw(pair, why, now);
                self.end_preparation(pair, Unprepared::Lost(why));
                self.memory.update(pair, &self.settings, |entry| {
                    entry.known = Knowledge::Refused { refusal: refusal.clone(), answered: now };
                });
                self.events.push_back(Event::LookupRefused { id, mac, ssid, refusal, took });
            }
            Answer::Unreachable => {
                self.counters.unreachable += 1;
                let again = now + self.settings.unreachable;
                let granted = self.memory.update(pair, &self.settings, |entry| {
                    let served = entry.site.is_some();
                    match &mut entry.known {
                        Knowledge::Granted { ask, .. } => *ask = served.then_some(again),
                        known => *known = Knowledge::Unreachable { answered: now },
                    }
                    entry.grant().is_some()
                });
                let granted = granted.unwrap_or_default();
                if !granted {
                    self.end_preparation(pair, Unprepared::Unreachable);
                }
                self.events.push_back(Event::LookupUnreachable { id, mac, ssid, granted, took });
            }
        }
    }

    /// Writes a grant into memory: whether it is news, and whether the device should have a
    /// place (it has one, or its probe was what asked).
    fn learn(&mut self, pair: Pair, grant: Grant, now: Instant) -> (bool, bool) {
        let learnt = self.memory.update(pair, &self.settings, |entry| {
            let before = entry.grant();
            let changed = before != Some(&grant);
            let wanted = before.is_none() || entry.site.is_some();
            entry.known = Knowledge::Granted { grant: Box::new(grant), answered: now, ask: None };
            (changed, wanted)
        });
        learnt.unwrap_or_default()
    }
}

/// The answer, or a refusal where a grant cannot be served.
fn checked(pair: Pair, answer: Answer) -> Answer {
    let Answer::Granted(grant) = answer else { return answer };
    let refuse =
        |reason, message: &str| Answer::Refused(Refusal { reason, message: message.to_owned() });
    if grant.ssid != pair.ssid {
        return refuse(
            RefusalReason::Other,
            "the core granted another SSID than was asked for: check its look-up",
        );
    }
    match grant.security {
        Security::Enterprise => refuse(
            RefusalReason::UnsupportedSecurity,
            "the core granted an 802.1X network, which has no key to serve it with",
        ),
        Security::Wpa3Sae if grant.key.passphrase().is_none() => refuse(
            RefusalReason::UnsupportedSecurity,
            "the core granted a WPA3-SAE network with a raw key: SAE needs a passphrase",
        ),
        _ => Answer::Granted(grant),
    }
}
