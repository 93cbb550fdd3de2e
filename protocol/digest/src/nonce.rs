//! Nonces: nothing is remembered of one before it was used.

use std::collections::BTreeMap;
use std::time::Duration;

use homeward_model::{Entropy, UnixTime};
use ring::hmac;

use crate::hex;

/// Octets of a nonce: when it was issued, what is random, and a tag of both.
const TIME: usize = 8;
const RANDOM: usize = 8;
const TAG: usize = 16;
const BODY: usize = TIME + RANDOM;

/// What a server asks with, and takes back.
#[derive(Debug)]
pub struct Nonces {
    key: hmac::Key,
    lifetime: Duration,
    most: usize,
    /// By when they were issued: how often each was used.
    used: BTreeMap<[u8; BODY], u32>,
    /// What was issued up to then is taken no more: of these some may be forgotten.
    floor: Option<[u8; TIME]>,
}

impl Nonces {
    /// Nonces that are good for `lifetime` each. Up to `most` are remembered that were used; with
    /// more, the oldest are good no longer.
    pub fn new(key: [u8; 32], lifetime: Duration, most: usize) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        Self { key, lifetime, most: most.max(1), used: BTreeMap::new(), floor: None }
    }

    /// A new one.
    pub fn issue(&self, now: UnixTime, entropy: &mut impl Entropy) -> String {
        let random: [u8; RANDOM] = entropy.octets();
        let mut octets = now.0.to_be_bytes().to_vec();
        octets.extend_from_slice(&random);
        let tag = hmac::sign(&self.key, &octets);
        octets.extend(tag.as_ref().iter().take(TAG));
        hex::digits(&octets)
    }

    /// Takes one for the `count`th time, from a client whose answer is right. `false` where it is
    /// none of ours, too old, or was used as often before.
    pub fn take(&mut self, nonce: &str, count: u32, now: UnixTime) -> bool {
        self.forget(now);
        let Some(octets) = hex::octets::<{ BODY + TAG }>(nonce) else { return false };
        let (Some(body), Some(tag)) = (octets.first_chunk::<BODY>(), octets.last_chunk::<TAG>())
        else {
            return false;
        };
        let own = hmac::sign(&self.key, body);
        let own = own.as_ref().first_chunk::<TAG>().copied().unwrap_or_default();
        if !bool::from(subtle::ConstantTimeEq::ct_eq(&own[..], &tag[..])) {
            return false;
        }
        let Some(time) = body.first_chunk::<TIME>() else { return false };
        let issued = UnixTime(i64::from_be_bytes(*time));
        let late = issued > now || self.over(issued, now);
        if late || count == 0 || self.floor.is_some_and(|floor| *time <= floor) {
            return false;
        }
        let before = self.used.entry(*body).or_insert(0);
        if *before >= count {
            return false;
        }
        *before = count;
        if self.used.len() > self.most
            && let Some((oldest, _)) = self.used.pop_first()
        {
            self.floor = oldest.first_chunk().copied();
        }
        true
    }

    /// How many are remembered.
    pub fn used(&self) -> usize {
        self.used.len()
    }

    fn over(&self, issued: UnixTime, now: UnixTime) -> bool {
        let lifetime = i64::try_from(self.lifetime.as_millis()).unwrap_or(i64::MAX);
        issued.0.saturating_add(lifetime) <= now.0
    }

    fn forget(&mut self, now: UnixTime) {
        while let Some(first) = self.used.first_entry() {
            let time = first.key().first_chunk().copied().unwrap_or_default();
            let issued = UnixTime(i64::from_be_bytes(time));
            let lifetime = i64::try_from(self.lifetime.as_millis()).unwrap_or(i64::MAX);
            if issued.0.saturating_add(lifetime) > now.0 {
                break;
            }
            first.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Counted;

    const SECOND: i64 = 1000;

    fn nonces(most: usize) -> (Nonces, Counted) {
        (Nonces::new([7; 32], Duration::from_secs(30), most), Counted::default())
    }

    #[test]
    fn a_nonce_is_good_once_for_each_count_and_no_longer_than_its_time() {
        let (mut nonces, mut entropy) = nonces(10);
        let start = UnixTime(1_800_000_000_000);
        let at = |seconds: i64| UnixTime(start.0 + seconds * SECOND);
        let one = nonces.issue(start, &mut entropy);
        assert!(nonces.take(&one, 1, at(0)));
        assert!(!nonces.take(&one, 1, at(0)), "it was recorded");
        assert!(nonces.take(&one, 3, at(1)));
        assert!(!nonces.take(&one, 2, at(1)));
        assert!(nonces.take(&one, 4, at(29)));
        assert!(!nonces.take(&one, 5, at(30)));
        assert_eq!(nonces.used(), 0, "it is forgotten");
        assert!(!nonces.take(&one, 5, at(30)));
        let later = nonces.issue(at(60), &mut entropy);
        assert!(!nonces.take(&later, 1, at(59)), "of a time that is still to come");
        assert!(!nonces.take(&later, 0, at(60)));
    }

    #[test]
    fn a_nonce_of_somebody_else_or_altered_is_none() {
        let (mut nonces, mut entropy) = nonces(10);
        let now = UnixTime(1_800_000_000_000);
        let other = Nonces::new([8; 32], Duration::from_secs(30), 10).issue(now, &mut entropy);
        assert!(!nonces.take(&other, 1, now));
        let own = nonces.issue(now, &mut entropy);
        for at in 0..own.len() {
            let mut altered = own.clone().into_bytes();
            altered[at] = if altered[at] == b'0' { b'1' } else { b'0' };
            assert!(!nonces.take(std::str::from_utf8(&altered).unwrap(), 1, now), "{at}");
        }
        for bad in ["", "00", &own[1..], &format!("{own}00"), &"é".repeat(32)] {
            assert!(!nonces.take(bad, 1, now));
        }
        assert_eq!(nonces.used(), 0);
        assert!(nonces.take(&own.to_uppercase(), 1, now));
        assert!(!nonces.take(&own, 1, now), "it is one and the same");
    }

    #[test]
    fn where_too_many_are_in_use_the_oldest_are_good_no_longer_and_none_is_good_twice() {
        let (mut nonces, mut entropy) = nonces(3);
        let at = |n: i64| UnixTime(1_800_000_000_000 + n);
        let all: Vec<String> = (0..6).map(|n| nonces.issue(at(n), &mut entropy)).collect();
        for nonce in &all {
            assert!(nonces.take(nonce, 1, at(10)));
        }
        assert_eq!(nonces.used(), 3);
        for nonce in &all {
            assert!(!nonces.take(nonce, 1, at(10)));
        }
        assert!(!nonces.take(&all[2], 2, at(10)), "it is forgotten how often it was used");
        assert!(nonces.take(&all[3], 2, at(10)));
    }
}
