//! How often a password may be tried, and how often a NAS may ask: leaky buckets, shared by all
//! workers.
//!
//! A name that has been tried wrongly too often by one device is refused to that device for a
//! while, and one that has been tried wrongly by many is refused to all, whatever the password:
//! the answer is that to a wrong one, so that nobody learns whether it would have been right.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use homeward_model::{GatewayId, Instant, Mac};

/// The most buckets; where there are more, those that are nearly empty go first.
const MOST: usize = 262_144;

/// How much is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Wrong passwords in a row for a name by one device; 0 is any number.
    pub(crate) by_device: u32,
    /// The same by all devices together.
    pub(crate) by_all: u32,
    /// After how long one more is allowed.
    pub(crate) again: Duration,
    /// Log-ins a second that a NAS may begin, ten seconds of them at once; 0 is any number.
    pub(crate) logins: u32,
}

/// The buckets.
#[derive(Debug)]
pub(crate) struct Tries {
    limits: Limits,
    hash: RandomState,
    buckets: Mutex<HashMap<u64, Bucket>>,
    /// What was done, in order.
    #[cfg(test)]
    done: Mutex<Vec<&'static str>>,
}

/// What is in a bucket at some time; it leaks.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    level: f64,
    at: Instant,
    /// How much leaks a second.
    leak: f64,
}

impl Bucket {
    fn level(&self, now: Instant) -> f64 {
        (self.level - now.since(self.at).as_secs_f64() * self.leak).max(0.0)
    }
}

impl Tries {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            hash: RandomState::new(),
            buckets: Mutex::default(),
            #[cfg(test)]
            done: Mutex::default(),
        }
    }

    /// Whether a password for that name is to be looked at.
    pub(crate) fn may(&self, name: &str, device: Option<Mac>, now: Instant) -> bool {
        #[cfg(test)]
        self.note("may");
        let buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        self.of(name, device).into_iter().all(|(key, most)| {
            let level = buckets.get(&key).map_or(0.0, |bucket| bucket.level(now));
            most == 0 || level + 1.0 <= f64::from(most)
        })
    }

    /// A password for that name was wrong.
    pub(crate) fn wrong(&self, name: &str, device: Option<Mac>, now: Instant) {
        #[cfg(test)]
        self.note("wrong");
        let leak = 1.0 / self.limits.again.as_secs_f64().max(0.001);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, most) in self.of(name, device) {
            if most != 0 {
                fill(&mut buckets, key, leak, now);
            }
        }
    }

    /// A password that was counted as wrong while it was being checked is so no more.
    pub(crate) fn take_back(&self, name: &str, device: Option<Mac>, now: Instant) {
        #[cfg(test)]
        self.note("take_back");
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, _) in self.of(name, device) {
            if let Some(bucket) = buckets.get_mut(&key) {
                let level = (bucket.level(now) - 1.0).max(0.0);
                *bucket = Bucket { level, at: now, ..*bucket };
            }
        }
    }

    /// Whether a NAS may begin another log-in; if so, it is counted.
    pub(crate) fn may_begin(&self, client: GatewayId, now: Instant) -> bool {
        let limit = f64::from(self.limits.logins);
        if self.limits.logins == 0 {
            return true;
        }
        let key = self.hash.hash_one(("client", client));
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let level = buckets.get(&key).map_or(0.0, |bucket| bucket.level(now));
        let may = level + 1.0 <= limit * 10.0;
        if may {
            fill(&mut buckets, key, limit, now);
        }
        may
    }

    #[cfg(test)]
    fn note(&self, what: &'static str) {
        self.done.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }

    /// What was done about names, in order: of which names somebody has, it is to tell nothing.
    #[cfg(test)]
    pub(crate) fn done(&self) -> Vec<&'static str> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The buckets of a name, and how much each takes.
    fn of(&self, name: &str, device: Option<Mac>) -> [(u64, u32); 2] {
        // As RFC 7542 has it, no letter of a realm tells names apart; of a user none needs to here.
        let name = name.to_ascii_lowercase();
        let by_device = self.hash.hash_one(("device", &name, device));
        let by_all = self.hash.hash_one(("all", &name));
        [(by_device, self.limits.by_device), (by_all, self.limits.by_all)]
    }
}

fn fill(buckets: &mut HashMap<u64, Bucket>, key: u64, leak: f64, now: Instant) {
    if buckets.len() >= MOST && !buckets.contains_key(&key) {
        make_room(buckets, now);
    }
    let level = buckets.get(&key).map_or(0.0, |bucket| bucket.level(now));
    buckets.insert(key, Bucket { level: level + 1.0, at: now, leak });
}

/// Takes out what has leaked away; if that is little, what is nearly empty.
fn make_room(buckets: &mut HashMap<u64, Bucket>, now: Instant) {
    for enough in [0.0, 1.0, f64::INFINITY] {
        buckets.retain(|_, bucket| bucket.level(now) > enough);
        if buckets.len() < MOST / 8 * 7 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits =
        Limits { by_device: 3, by_all: 5, again: Duration::from_secs(30), logins: 2 };
    const ONE: Option<Mac> = Some(Mac::new([2, 0, 0, 0, 0, 1]));
    const OTHER: Option<Mac> = Some(Mac::new([2, 0, 0, 0, 0, 2]));

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn a_device_that_tries_too_often_waits_and_others_do_not() {
        let tries = Tries::new(LIMITS);
        for _ in 0..3 {
            assert!(tries.may("a@example.net", ONE, at(0)));
            tries.wrong("a@example.net", ONE, at(0));
        }
        assert!(!tries.may("a@example.net", ONE, at(29)));
        assert!(!tries.may("A@Example.NET", ONE, at(29)), "the same name");
        assert!(tries.may("a@example.net", OTHER, at(0)));
        assert!(tries.may("b@example.net", ONE, at(0)));
        assert!(tries.may("a@example.net", ONE, at(30)));
        tries.wrong("a@example.net", ONE, at(30));
        assert!(!tries.may("a@example.net", ONE, at(31)));
        assert!(tries.may("a@example.net", ONE, at(200)));
    }

    #[test]
    fn what_is_taken_back_was_never_tried() {
        let tries = Tries::new(LIMITS);
        for _ in 0..3 {
            tries.wrong("a", ONE, at(0));
        }
        assert!(!tries.may("a", ONE, at(0)));
        tries.take_back("a", ONE, at(0));
        assert!(tries.may("a", ONE, at(0)));
        tries.take_back("nobody", ONE, at(0));
    }

    #[test]
    fn a_name_that_many_try_is_refused_to_all() {
        let tries = Tries::new(LIMITS);
        for device in 0..5 {
            tries.wrong("a", Some(Mac::new([2, 0, 0, 0, 1, device])), at(0));
        }
        assert!(!tries.may("a", ONE, at(0)) && !tries.may("a", None, at(0)));
        assert!(tries.may("a", ONE, at(30)));
    }

    #[test]
    fn a_nas_begins_as_many_log_ins_as_it_may() {
        let tries = Tries::new(LIMITS);
        let begun = |client, now| (0..100).filter(|_| tries.may_begin(client, now)).count();
        assert_eq!(begun(GatewayId(1), at(0)), 20);
        assert_eq!(begun(GatewayId(1), at(1)), 2);
        assert_eq!(begun(GatewayId(2), at(1)), 20, "each by itself");
    }

    #[test]
    fn no_limit_is_none() {
        let none = Limits { by_device: 0, by_all: 0, again: Duration::ZERO, logins: 0 };
        let tries = Tries::new(none);
        for _ in 0..1000 {
            tries.wrong("a", ONE, at(0));
            assert!(tries.may("a", ONE, at(0)) && tries.may_begin(GatewayId(1), at(0)));
        }
    }

    #[test]
    fn the_number_of_buckets_is_bounded_and_the_fullest_stay() {
        let tries = Tries::new(LIMITS);
        for _ in 0..3 {
            tries.wrong("victim", ONE, at(0));
        }
        for i in 0..MOST {
            tries.wrong(&i.to_string(), None, at(0));
        }
        assert!(tries.buckets.lock().unwrap().len() <= MOST);
        assert!(!tries.may("victim", ONE, at(0)));
    }
}
