//! How many unknown devices may be asked about.
//!
//! Two token buckets of the same size: one for pairs heard for the first time, one for pairs
//! heard before and for refreshes. A flood of invented MACs empties the first; a real device
//! probes again and is paid for from the second.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use homeward_model::Instant;

use crate::Settings;
use crate::event::Asked;
use crate::memory::Pair;

/// The budget of look-ups.
#[derive(Debug)]
pub(crate) struct Budget {
    first: Bucket,
    again: Bucket,
    sightings: Sightings,
}

impl Budget {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            first: Bucket::full(settings),
            again: Bucket::full(settings),
            sightings: Sightings { first: BTreeMap::new(), order: VecDeque::new() },
        }
    }

    /// Takes over new limits; what was spent stays spent.
    pub(crate) fn reconfigure(&mut self, settings: &Settings) {
        self.first.resize(settings);
        self.again.resize(settings);
        self.sightings.shrink(settings.sightings);
    }

    /// Notes that the pair was heard, and pays for a look-up if that is affordable.
    pub(crate) fn hear(&mut self, pair: Pair, settings: &Settings, now: Instant) -> Option<Asked> {
        if self.sightings.heard_before(pair, settings, now) && self.again.take(now) {
            return Some(Asked::HeardAgain);
        }
        self.first.take(now).then_some(Asked::FirstHeard)
    }

    /// Pays for a refresh, into debt if need be: refreshes are few (one for each device served
    /// and interval), and a flood must not keep a revoked device in.
    pub(crate) fn refresh(&mut self, now: Instant) {
        self.again.owe(now);
    }

    #[cfg(test)]
    pub(crate) fn sightings(&self) -> usize {
        self.sightings.first.len()
    }
}

/// One token, in billionths, so that nanoseconds times a rate need no division.
const TOKEN: i128 = 1_000_000_000;

#[derive(Debug)]
struct Bucket {
    rate: u32,
    burst: u32,
    /// Billionths of tokens; below zero after [`Bucket::owe`].
    level: i128,
    at: Option<Instant>,
}

impl Bucket {
    fn full(settings: &Settings) -> Self {
        let (rate, burst) = (settings.lookups_per_second, settings.lookup_burst);
        Self { rate, burst, level: i128::from(burst) * TOKEN, at: None }
    }

    fn resize(&mut self, settings: &Settings) {
        (self.rate, self.burst) = (settings.lookups_per_second, settings.lookup_burst);
        self.level = self.level.min(i128::from(self.burst) * TOKEN);
    }

    fn refill(&mut self, now: Instant) {
        let elapsed = self.at.map_or(0, |at| now.since(at).as_nanos());
        self.at = self.at.max(Some(now));
        let gained = i128::try_from(elapsed).unwrap_or(i128::MAX).saturating_mul(self.rate.into());
        self.level = self.level.saturating_add(gained).min(i128::from(self.burst) * TOKEN);
    }

    fn take(&mut self, now: Instant) -> bool {
        self.refill(now);
        let enough = self.level >= TOKEN;
        if enough {
            self.level -= TOKEN;
        }
        enough
    }

    fn owe(&mut self, now: Instant) {
        self.refill(now);
        self.level = (self.level - TOKEN).max(i128::from(self.burst) * -TOKEN);
    }
}

/// When pairs were first heard, the oldest going first. Kept as 64-bit digests: two pairs that
/// share one only mean that a first sighting counts as a second.
#[derive(Debug)]
struct Sightings {
    first: BTreeMap<u64, Instant>,
    order: VecDeque<u64>,
}

impl Sightings {
    fn heard_before(&mut self, pair: Pair, settings: &Settings, now: Instant) -> bool {
        let mut hasher = DefaultHasher::new();
        pair.hash(&mut hasher);
        let digest = hasher.finish();
        if let Some(first) = self.first.get(&digest) {
            return now.since(*first) >= settings.sighting_gap;
        }
        self.first.insert(digest, now);
        self.order.push_back(digest);
        self.shrink(settings.sightings);
        false
    }

    fn shrink(&mut self, limit: usize) {
        while self.first.len() > limit
            && let Some(oldest) = self.order.pop_front()
        {
            self.first.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use homeward_model::Mac;

    use super::*;

    fn pair(n: u32) -> Pair {
        let [a, b, c, d] = n.to_be_bytes();
        Pair { mac: Mac::new([2, 0, a, b, c, d]), ssid: "home".parse().unwrap() }
    }

    fn at(ms: u64) -> Instant {
        Instant::ORIGIN + Duration::from_millis(ms)
    }

    fn small() -> Settings {
        Settings { lookups_per_second: 10, lookup_burst: 2, sightings: 100, ..Settings::default() }
    }

    #[test]
    fn first_sightings_are_paid_for_until_the_burst_is_spent_and_then_at_the_rate() {
        let (settings, mut paid) = (small(), 0);
        let mut budget = Budget::new(&settings);
        for n in 0..1000 {
            paid += u32::from(budget.hear(pair(n), &settings, at(u64::from(n))).is_some());
        }
        assert_eq!(paid, 2 + 9, "burst of 2, then 10 a second for 999 ms");
    }

    #[test]
    fn a_pair_heard_again_after_the_gap_is_paid_for_from_the_other_bucket() {
        let settings = small();
        let mut budget = Budget::new(&settings);
        for n in 0..50 {
            budget.hear(pair(n), &settings, at(0));
        }
        assert_eq!(budget.hear(pair(7), &settings, at(19)), None, "a copy in the same burst");
        assert_eq!(budget.hear(pair(7), &settings, at(20)), Some(Asked::HeardAgain));
    }

    #[test]
    fn refreshes_go_into_debt_and_no_deeper_than_the_burst() {
        let settings = small();
        let mut budget = Budget::new(&settings);
        for n in 0..2 {
            budget.hear(pair(n), &settings, at(0));
        }
        for _ in 0..100 {
            budget.refresh(at(0));
        }
        budget.hear(pair(9), &settings, at(0));
        assert_eq!(budget.hear(pair(9), &settings, at(50)), None);
        budget.first.level = 0;
        assert_eq!(budget.hear(pair(9), &settings, at(299)), Some(Asked::FirstHeard));
        assert_eq!(budget.hear(pair(9), &settings, at(300)), Some(Asked::HeardAgain));
    }

    #[test]
    fn the_table_of_sightings_is_bounded_and_the_oldest_go_first() {
        let settings = small();
        let mut budget = Budget::new(&settings);
        for n in 0..150 {
            budget.hear(pair(n), &settings, at(0));
        }
        assert_eq!(budget.sightings(), 100);
        assert!(!budget.sightings.heard_before(pair(49), &settings, at(100)), "went");
        assert!(budget.sightings.heard_before(pair(149), &settings, at(100)), "stayed");
    }

    #[test]
    fn a_rate_of_zero_and_a_clock_that_stands_still_or_leaps_are_survived() {
        let settings = Settings { lookups_per_second: u32::MAX, ..small() };
        let mut budget = Budget::new(&settings);
        assert!(budget.hear(pair(0), &settings, Instant::from_nanos(u64::MAX)).is_some());
        budget.reconfigure(&Settings { lookups_per_second: 0, lookup_burst: 0, ..small() });
        assert_eq!(budget.hear(pair(1), &settings, at(0)), None);
    }
}
