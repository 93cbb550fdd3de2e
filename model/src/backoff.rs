//! Waits that double, and the chance that spreads them; time and chance are given.

use std::time::Duration;

use crate::time::{Entropy, Instant};

/// A generator that spreads waits (SplitMix64). It is seeded by the machine's entropy once, and
/// keeps no secret: nobody gains by foreseeing a wait.
#[derive(Debug, Clone)]
pub struct Jitter(u64);

impl Jitter {
    /// One that starts where that entropy says.
    pub fn new(entropy: &mut impl Entropy) -> Self {
        Self(u64::from_le_bytes(entropy.octets()))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// From nothing up to `span`, evenly.
    pub fn below(&mut self, span: Duration) -> Duration {
        span.mul_f64(f64::from(self.share()) / f64::from(u32::MAX))
    }

    /// From 0 up to the largest, evenly: a share of that.
    pub fn share(&mut self) -> u32 {
        (self.next() >> 32) as u32
    }
}

/// A wait after failures in a row.
#[derive(Debug, Clone, Default)]
pub struct Backoff {
    failures: u32,
    until: Option<Instant>,
}

impl Backoff {
    /// One more failure: the next try is after `first`, doubled for each failure before, `most`
    /// at the longest. Half of it is chance, so that devices that failed together do not come
    /// back together, and none comes back at once.
    pub fn fail(&mut self, first: Duration, most: Duration, now: Instant, by: &mut Jitter) {
        let doubled = first.saturating_mul(1 << self.failures.min(20));
        self.failures = self.failures.saturating_add(1);
        let half = doubled.min(most) / 2;
        self.until = Some(now + half + by.below(half));
    }

    /// Waits until `at` at the least: what a server asked for.
    pub fn not_before(&mut self, at: Instant) {
        self.until = self.until.max(Some(at));
    }

    /// The next try may be made at once, though what failed before still counts.
    pub fn hurry(&mut self) {
        self.until = None;
    }

    /// What failed before counts no more, though the wait goes on.
    pub fn forgive(&mut self) {
        self.failures = 0;
    }

    /// As if nothing had failed.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// How many failures in a row.
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// Until when, if that is still ahead.
    pub fn until(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|until| *until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(u8);

    impl Entropy for Fixed {
        fn fill(&mut self, room: &mut [u8]) {
            room.fill(self.0);
        }
    }

    #[test]
    fn a_wait_doubles_up_to_the_longest_and_half_of_it_is_chance() {
        let (first, most) = (Duration::from_secs(2), Duration::from_secs(300));
        let mut waits = Vec::new();
        for seed in 0..50 {
            let (mut by, mut backoff) = (Jitter::new(&mut Fixed(seed)), Backoff::default());
            for n in 0..40u32 {
                let span = Duration::from_secs(2u64.saturating_pow(n + 1).min(300));
                backoff.fail(first, most, Instant::ORIGIN, &mut by);
                let wait = backoff.until(Instant::ORIGIN).unwrap() - Instant::ORIGIN;
                assert!((span / 2..=span).contains(&wait), "{n}: {wait:?}");
                waits.push(wait);
            }
        }
        waits.sort();
        waits.dedup();
        assert!(waits.len() > 1000, "chance spreads them: {}", waits.len());
    }
}
