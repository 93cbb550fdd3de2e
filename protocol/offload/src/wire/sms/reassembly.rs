//! Messages out of segments that come in any order, late, twice, or never.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use homeward_model::Instant;
use zeroize::Zeroizing;

use super::segment::{self, Part, Reference};
use crate::wire::Invalid;

/// Limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How long after the first segment of a message the last one may come.
    pub timeout: Duration,
    /// The most segments of a message.
    pub parts: u8,
    /// The most messages of a sender's that are not whole; its oldest gives way.
    pub per_sender: usize,
    /// The most messages altogether that are not whole; the oldest gives way.
    pub messages: usize,
}

impl Default for Settings {
    /// Five minutes, 16 segments, 2 a sender, 4096 altogether: 17 MB at the worst.
    fn default() -> Self {
        Self { timeout: Duration::from_secs(300), parts: 16, per_sender: 2, messages: 4096 }
    }
}

/// A message that is whole. Prints without its text.
#[derive(Clone, PartialEq, Eq)]
pub struct Full {
    /// Its data_coding.
    pub coding: u8,
    /// Its octets.
    pub octets: Zeroizing<Vec<u8>>,
}

impl Full {
    /// Its text.
    ///
    /// # Errors
    ///
    /// If it is in no coding that is known, or has characters that differ between them.
    pub fn text(&self) -> Result<Zeroizing<String>, Invalid> {
        segment::decode(self.coding, &self.octets)
    }
}

impl fmt::Debug for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let octets = self.octets.len();
        f.debug_struct("Full").field("coding", &self.coding).field("octets", &octets).finish()
    }
}

/// A message that is not whole yet.
struct Open {
    /// When its first segment came; the deadline counts from then on, whatever else comes.
    since: Instant,
    /// Its place in the order of arrival.
    serial: u64,
    coding: u8,
    parts: Vec<Option<Zeroizing<Vec<u8>>>>,
}

/// The machine. `K` is what a sender is known by.
pub struct Reassembly<K> {
    settings: Settings,
    open: BTreeMap<(K, Reference), Open>,
    /// The keys in the order in which their first segments came.
    order: BTreeMap<u64, (K, Reference)>,
    next: u64,
}

impl<K: Ord + Clone> Reassembly<K> {
    /// Nothing has come yet.
    pub fn new(settings: Settings) -> Self {
        Self { settings, open: BTreeMap::new(), order: BTreeMap::new(), next: 0 }
    }

    /// Takes a segment; gives the message that it makes whole.
    ///
    /// A segment that is there already is dropped. One that contradicts what is there begins the
    /// message anew: its reference is another message's now.
    ///
    /// # Errors
    ///
    /// If the message would have more segments than it may.
    pub fn handle_part(
        &mut self,
        now: Instant,
        sender: &K,
        part: Part,
    ) -> Result<Option<Full>, Invalid> {
        self.handle_timeout(now);
        let Part { concatenation, coding, octets } = part;
        let Some(place) = concatenation.filter(|place| place.total > 1) else {
            return Ok(Some(Full { coding, octets }));
        };
        let (total, most) = (place.total, self.settings.parts);
        if total > most {
            return Err(Invalid::new("the message", format!("{total} segments; {most} at most")));
        }
        let key = (sender.clone(), place.reference);
        let at = usize::from(place.number) - 1;
        if self.open.get(&key).is_some_and(|open| open.contradicts(total, coding, at, &octets)) {
            self.remove(&key);
        }
        if !self.open.contains_key(&key) {
            self.make_room(sender);
            let serial = self.next;
            self.next += 1;
            self.order.insert(serial, key.clone());
            let parts = vec![None; usize::from(total)];
            self.open.insert(key.clone(), Open { since: now, serial, coding, parts });
        }
        let Some(open) = self.open.get_mut(&key) else { return Ok(None) };
        if let Some(room) = open.parts.get_mut(at) {
            *room = Some(octets);
        }
        if open.parts.iter().any(Option::is_none) {
            return Ok(None);
        }
        let whole = self.remove(&key);
        let parts = whole.into_iter().flat_map(|open| open.parts).flatten();
        let parts: Vec<_> = parts.collect();
        let mut octets = Zeroizing::new(Vec::with_capacity(parts.iter().map(|p| p.len()).sum()));
        parts.iter().for_each(|part| octets.extend_from_slice(part));
        Ok(Some(Full { coding, octets }))
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let oldest = self.order.values().next();
        oldest.and_then(|key| self.open.get(key)).map(|open| open.since + self.settings.timeout)
    }

    /// Drops what has waited too long; gives how many messages that were.
    pub fn handle_timeout(&mut self, now: Instant) -> usize {
        let mut dropped = 0;
        while self.poll_timeout().is_some_and(|deadline| deadline <= now) {
            self.drop_oldest();
            dropped += 1;
        }
        dropped
    }

    /// How many messages are not whole.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// Makes room for one more of a sender's.
    fn make_room(&mut self, sender: &K) {
        let first = (sender.clone(), Reference::Short(0));
        let last = (sender.clone(), Reference::Long(u16::MAX));
        let own = self.open.range(first..=last).map(|(key, open)| (open.serial, key.clone()));
        let own: BTreeMap<_, _> = own.collect();
        if own.len() >= self.settings.per_sender.max(1) {
            if let Some(key) = own.values().next() {
                self.remove(key);
            }
        } else if self.open.len() >= self.settings.messages.max(1) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some((_, key)) = self.order.pop_first() {
            self.open.remove(&key);
        }
    }

    fn remove(&mut self, key: &(K, Reference)) -> Option<Open> {
        let open = self.open.remove(key)?;
        self.order.remove(&open.serial);
        Some(open)
    }
}

impl Open {
    /// Whether a segment is of another message.
    fn contradicts(&self, total: u8, coding: u8, at: usize, octets: &[u8]) -> bool {
        let there = self.parts.get(at).and_then(Option::as_ref);
        self.parts.len() != usize::from(total)
            || self.coding != coding
            || there.is_some_and(|there| there.as_slice() != octets)
    }
}

impl<K> fmt::Debug for Reassembly<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reassembly").field("open", &self.open.len()).finish_non_exhaustive()
    }
}
