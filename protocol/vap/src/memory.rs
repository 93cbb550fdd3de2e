//! What the core said about (MAC, SSID) pairs: bounded, and in no other place than memory.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use homeward_model::{Grant, Instant, Mac, NetworkId, Refusal, Rssi, Ssid};

use crate::{LookupId, Settings};

/// How long a question may stay open before it is given up as unanswered. The RADIUS client
/// gives up long before; this is for an answer that got lost on the way here.
pub(crate) const LOOKUP_LOST: Duration = Duration::from_secs(60);

/// Who asked for what: the memory's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Pair {
    pub(crate) mac: Mac,
    pub(crate) ssid: Ssid,
}

/// Where a granted device has its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Site {
    Home,
    Vap(NetworkId),
}

/// What is known of a pair.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) known: Knowledge,
    pub(crate) open: Option<Question>,
    /// Where the device has its place; only a granted one has.
    pub(crate) site: Option<Site>,
    /// When the device was last heard.
    pub(crate) heard: Instant,
    pub(crate) signal: Option<Rssi>,
    pub(crate) wrong_keys: u32,
}

#[derive(Debug)]
pub(crate) enum Knowledge {
    /// Nothing yet; a question is open.
    Nothing,
    Granted {
        grant: Box<Grant>,
        answered: Instant,
        /// When to ask again, if that is planned.
        ask: Option<Instant>,
    },
    Refused {
        refusal: Refusal,
        answered: Instant,
    },
    Unreachable {
        answered: Instant,
    },
}

/// A question put to the core.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question {
    pub(crate) id: LookupId,
    pub(crate) since: Instant,
}

/// What time brings for an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// The open question is given up.
    QuestionLost,
    /// A refresh is due.
    Ask,
    /// The core has been silent too long.
    Stale,
    /// A grant that nobody used.
    Unused,
    /// A refusal or a pause that is over.
    Over,
}

impl Entry {
    pub(crate) fn grant(&self) -> Option<&Grant> {
        match &self.known {
            Knowledge::Granted { grant, .. } => Some(grant),
            _ => None,
        }
    }

    /// The next thing that time brings, and when.
    pub(crate) fn due(&self, settings: &Settings) -> (Instant, Due) {
        let lost = self.open.map(|q| (q.since + LOOKUP_LOST, Due::QuestionLost));
        let known = match &self.known {
            Knowledge::Nothing => (self.heard, Due::Over),
            Knowledge::Refused { answered, .. } => (*answered + settings.negative, Due::Over),
            Knowledge::Unreachable { answered } => (*answered + settings.unreachable, Due::Over),
            Knowledge::Granted { answered, ask, .. } => {
                let stale = (*answered + settings.stale, Due::Stale);
                let ask = ask.filter(|_| self.open.is_none()).map(|at| (at, Due::Ask));
                let unused = (self.heard + settings.forget, Due::Unused);
                let unused = Some(unused).filter(|_| !matches!(self.site, Some(Site::Vap(_))));
                [ask, unused].into_iter().flatten().fold(stale, sooner)
            }
        };
        match (&self.known, lost) {
            // Nothing else is known, so the question is what the entry lives for.
            (Knowledge::Nothing, Some(lost)) => lost,
            (_, Some(lost)) => sooner(known, lost),
            (_, None) => known,
        }
    }

    /// When the entry is dropped unless it is used or confirmed.
    pub(crate) fn expires(&self, settings: &Settings) -> Option<Instant> {
        match &self.known {
            Knowledge::Nothing => None,
            Knowledge::Refused { answered, .. } => Some(*answered + settings.negative),
            Knowledge::Unreachable { answered } => Some(*answered + settings.unreachable),
            Knowledge::Granted { answered, .. } => match self.site {
                Some(Site::Vap(_)) => Some(*answered + settings.stale),
                _ => Some((*answered + settings.stale).min(self.heard + settings.forget)),
            },
        }
    }

    /// How early the entry goes under pressure; `None` never.
    fn rank(&self) -> Option<u8> {
        match (&self.known, self.site) {
            (_, Some(_)) => None,
            (Knowledge::Refused { .. } | Knowledge::Unreachable { .. }, None) => Some(0),
            (Knowledge::Nothing, None) => Some(1),
            (Knowledge::Granted { .. }, None) => Some(2),
        }
    }
}

fn sooner(a: (Instant, Due), b: (Instant, Due)) -> (Instant, Due) {
    if b.0 < a.0 { b } else { a }
}

/// All entries, indexed by what is due and by what goes first.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    entries: BTreeMap<Pair, Kept>,
    due: BTreeSet<(Instant, Pair)>,
    order: BTreeSet<(u8, Instant, Pair)>,
    questions: BTreeMap<LookupId, Pair>,
}

/// An entry with the places it has in the indexes.
#[derive(Debug)]
struct Kept {
    entry: Entry,
    due: Instant,
    rank: Option<(u8, Instant)>,
}

impl Memory {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn get(&self, pair: &Pair) -> Option<&Entry> {
        self.entries.get(pair).map(|kept| &kept.entry)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Pair, &Entry)> {
        self.entries.iter().map(|(pair, kept)| (pair, &kept.entry))
    }

    /// The pairs of which `test` is true, by MAC and SSID.
    pub(crate) fn pairs(&self, test: impl Fn(&Pair, &Entry) -> bool) -> Vec<Pair> {
        self.iter().filter(|(pair, entry)| test(pair, entry)).map(|(pair, _)| *pair).collect()
    }

    /// The pair that an open question is about.
    pub(crate) fn asked(&self, id: LookupId) -> Option<Pair> {
        self.questions.get(&id).copied()
    }

    /// Changes an entry; `None` if there is none.
    pub(crate) fn update<T>(
        &mut self,
        pair: Pair,
        settings: &Settings,
        change: impl FnOnce(&mut Entry) -> T,
    ) -> Option<T> {
        let mut entry = self.remove(&pair)?;
        let result = change(&mut entry);
        self.put(pair, entry, settings);
        Some(result)
    }

    /// Adds or replaces an entry, whatever the limit; see [`Memory::make_room`].
    pub(crate) fn put(&mut self, pair: Pair, entry: Entry, settings: &Settings) {
        self.remove(&pair);
        let (due, rank) = (entry.due(settings).0, entry.rank().map(|rank| (rank, entry.heard)));
        self.due.insert((due, pair));
        if let Some((rank, heard)) = rank {
            self.order.insert((rank, heard, pair));
        }
        if let Some(question) = entry.open {
            self.questions.insert(question.id, pair);
        }
        self.entries.insert(pair, Kept { entry, due, rank });
    }

    pub(crate) fn remove(&mut self, pair: &Pair) -> Option<Entry> {
        let Kept { entry, due, rank } = self.entries.remove(pair)?;
        self.due.remove(&(due, *pair));
        if let Some((rank, heard)) = rank {
            self.order.remove(&(rank, heard, *pair));
        }
        if let Some(question) = entry.open {
            self.questions.remove(&question.id);
        }
        Some(entry)
    }

    /// Drops entries until at most `limit` are left, and says which. Refusals and pauses go
    /// first, then open questions, then unused grants, each least recently heard first; a device
    /// with a place is never dropped, so more than `limit` may be left.
    pub(crate) fn make_room(&mut self, limit: usize) -> Vec<(Pair, Entry)> {
        let mut dropped = Vec::new();
        while self.entries.len() > limit
            && let Some((_, _, pair)) = self.order.first().copied()
            && let Some(entry) = self.remove(&pair)
        {
            dropped.push((pair, entry));
        }
        dropped
    }

    /// Puts every entry where the new settings want it.
    pub(crate) fn reindex(&mut self, settings: &Settings) {
        for pair in self.pairs(|_, _| true) {
            self.update(pair, settings, |_| ());
        }
    }

    /// When time next brings something.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The first thing that time has brought by now.
    pub(crate) fn due(&self, settings: &Settings, now: Instant) -> Option<(Pair, Due)> {
        let (_, pair) = self.due.first().filter(|(at, _)| *at <= now)?;
        Some((*pair, self.get(pair)?.due(settings).1))
    }
}

#[cfg(test)]
mod tests {
    use homeward_model::RefusalReason;

    use super::*;

    fn pair(n: u8) -> Pair {
        Pair { mac: Mac::new([2, 0, 0, 0, 0, n]), ssid: "home".parse().unwrap() }
    }

    fn at(s: u64) -> Instant {
        Instant::ORIGIN + Duration::from_secs(s)
    }

    fn entry(known: Knowledge, heard: Instant) -> Entry {
        Entry { known, open: None, site: None, heard, signal: None, wrong_keys: 0 }
    }

    fn refused(s: u64) -> Entry {
        let refusal =
            Refusal { reason: RefusalReason::UnknownDevice, message: String::from("unknown") };
        entry(Knowledge::Refused { refusal, answered: at(s) }, at(s))
    }

    fn granted(s: u64) -> Entry {
        entry(
            Knowledge::Granted {
                grant: Box::new(crate::roster::tests::grant(1)),
                answered: at(s),
                ask: None,
            },
            at(s),
        )
    }

    #[test]
    fn under_pressure_refusals_go_before_questions_before_grants_and_served_ones_never() {
        let (settings, mut memory) = (Settings::default(), Memory::default());
        memory.put(pair(1), granted(5), &settings);
        memory.put(pair(2), Entry { site: Some(Site::Home), ..granted(0) }, &settings);
        memory.put(pair(3), refused(9), &settings);
        memory.put(pair(4), refused(7), &settings);
        let open = Some(Question { id: LookupId(1), since: at(0) });
        memory.put(pair(5), Entry { open, ..entry(Knowledge::Nothing, at(0)) }, &settings);
        memory.put(pair(6), granted(4), &settings);

        let dropped: Vec<Pair> = memory.make_room(0).into_iter().map(|(pair, _)| pair).collect();
        assert_eq!(dropped, [4, 3, 5, 6, 1].map(pair));
        assert_eq!((memory.len(), memory.asked(LookupId(1))), (1, None));
    }

    #[test]
    fn an_entry_is_due_when_the_first_of_its_times_comes() {
        let settings = Settings::default();
        assert_eq!(refused(10).due(&settings), (at(40), Due::Over));
        assert_eq!(granted(10).due(&settings), (at(3610), Due::Unused));
        let mut served = Entry { site: Some(Site::Vap(NetworkId(1))), ..granted(10) };
        assert_eq!(served.due(&settings), (at(4 * 3600 + 10), Due::Stale));
        if let Knowledge::Granted { ask, .. } = &mut served.known {
            *ask = Some(at(70));
        }
        assert_eq!(served.due(&settings), (at(70), Due::Ask));
        served.open = Some(Question { id: LookupId(1), since: at(70) });
        assert_eq!(served.due(&settings), (at(130), Due::QuestionLost));
    }

    #[test]
    fn the_indexes_follow_every_change() {
        let (settings, mut memory) = (Settings::default(), Memory::default());
        memory.put(pair(1), refused(0), &settings);
        memory.update(pair(1), &settings, |e| *e = granted(20));
        assert_eq!(memory.next_due(), Some(at(3620)));
        memory.reindex(&Settings { forget: Duration::from_secs(1), ..settings.clone() });
        assert_eq!(memory.next_due(), Some(at(21)));
        memory.remove(&pair(1));
        assert_eq!((memory.due.len(), memory.order.len(), memory.next_due()), (0, 0, None));
    }
}
