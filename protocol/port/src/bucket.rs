//! Token buckets, kept as the time at which the bucket would be full again.
//!
//! One word of state, one multiplication a frame, no division (the "virtual scheduling"
//! algorithm of ITU-T I.371). Frames pass as long as there is one of them in the bucket; octets as
//! long as there is any at all, so that a super-frame larger than the bucket overdraws it instead
//! of never passing.

use homeward_model::Instant;

use crate::settings::{FrameRate, Rate};

/// Binary places behind the point of a cost.
const PLACES: u32 = 20;
/// Octets on a wire's frame.
const FULL_FRAME: usize = 1514;

#[derive(Debug, Clone)]
pub(crate) struct Bucket {
    /// When it will be full, in nanoseconds on the caller's clock.
    full_at: u64,
    /// Nanoseconds that a unit costs, times 2^20.
    cost: u64,
    /// Nanoseconds from empty to full; 0 lets nothing pass.
    depth: u64,
    /// Nanoseconds' worth that must be in it for anything to pass.
    least: u64,
}

impl Bucket {
    /// A full bucket of octets.
    pub(crate) fn of_octets(rate: Rate) -> Self {
        Self::full(rate.bits_per_second, 8_000_000_000, rate.burst, |_| 1)
    }

    /// A full bucket of frames.
    pub(crate) fn of_frames(rate: FrameRate) -> Self {
        Self::full(rate.frames_per_second.into(), 1_000_000_000, rate.burst, |cost| span(cost, 1))
    }

    fn full(rate: u64, per: u64, burst: u32, least: impl FnOnce(u64) -> u64) -> Self {
        let Some(cost) = (u128::from(per) << PLACES).checked_div(rate.into()) else {
            return Self { full_at: 0, cost: 0, depth: 0, least: 1 };
        };
        let cost = u64::try_from(cost).unwrap_or(u64::MAX);
        let least = least(cost).max(1);
        Self { full_at: 0, cost, depth: span(cost, burst.into()).max(least), least }
    }

    /// The same bucket under another rate: what it lacks it still lacks, as far as it can.
    pub(crate) fn resized(&self, mut to: Self, now: Instant) -> Self {
        to.full_at = self.full_at.min(now.as_nanos().saturating_add(to.depth));
        to
    }

    /// Takes octets out, if there are any in it.
    #[inline]
    pub(crate) fn take_octets(&mut self, octets: usize, now: Instant) -> bool {
        self.take(octets as u64, now)
    }

    /// Takes a frame out, if there is one in it; a long one counts as what it would be on a wire.
    #[inline]
    pub(crate) fn take_frame(&mut self, octets: usize, now: Instant) -> bool {
        self.take(if octets <= FULL_FRAME { 1 } else { octets.div_ceil(FULL_FRAME) as u64 }, now)
    }

    #[inline]
    fn take(&mut self, units: u64, now: Instant) -> bool {
        let now = now.as_nanos();
        let missing = self.full_at.saturating_sub(now);
        if missing.saturating_add(self.least) > self.depth {
            return false;
        }
        self.full_at = self.full_at.max(now).saturating_add(span(self.cost, units));
        true
    }
}

#[inline]
fn span(cost: u64, units: u64) -> u64 {
    u64::try_from((u128::from(cost) * u128::from(units)) >> PLACES).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn the_burst_passes_at_once_and_the_rest_at_the_rate() {
        let mut bucket = Bucket::of_frames(FrameRate::new(10, 5));
        let passed = (0..1000).filter(|ms| bucket.take_frame(60, at(*ms))).count();
        assert_eq!(passed, 5 + 9, "a burst of 5, then 10 a second for 999 ms");
    }

    #[test]
    fn octets_pass_at_the_rate_even_in_frames_larger_than_the_burst() {
        let mut bucket = Bucket::of_octets(Rate { bits_per_second: 8_000_000, burst: 10_000 });
        let octets: usize =
            (0..10_000).filter(|ms| bucket.take_octets(60_000, at(*ms))).count() * 60_000;
        assert!((9_940_000..=10_130_000).contains(&octets), "{octets} in 10 s at 1 MB/s");
    }

    #[test]
    fn a_long_frame_costs_what_it_would_on_a_wire() {
        let mut bucket = Bucket::of_frames(FrameRate::new(1, 4));
        assert!(bucket.take_frame(3 * 1514, at(0)));
        assert!(bucket.take_frame(60, at(0)));
        assert!(!bucket.take_frame(60, at(0)));
    }

    #[test]
    fn a_rate_of_zero_lets_nothing_pass_and_a_burst_of_zero_something() {
        for burst in [0, 1, u32::MAX] {
            let mut bucket = Bucket::of_octets(Rate { bits_per_second: 0, burst });
            assert!((0..9).all(|s| !bucket.take_octets(60, at(s * 1_000_000))), "{burst}");
        }
        let mut bucket = Bucket::of_frames(FrameRate::new(1, 0));
        assert!(bucket.take_frame(60, at(0)));
        assert!(!bucket.take_frame(60, at(0)));
        assert!(bucket.take_frame(60, at(1000)));
    }

    #[test]
    fn what_a_bucket_lacks_outlives_a_change_of_the_rate() {
        let slow = Rate { bits_per_second: 8_000, burst: 1_000 };
        let mut bucket = Bucket::of_octets(slow);
        assert!(bucket.take_octets(1_000, at(0)));
        let mut same = bucket.resized(Bucket::of_octets(slow), at(1));
        assert!(!same.take_octets(1, at(0)), "empty as it was");
        let fast = Rate { bits_per_second: 8_000_000_000, burst: 1_000 };
        let mut faster = bucket.resized(Bucket::of_octets(fast), at(1));
        assert!(!faster.take_octets(1, at(1)));
        assert!(faster.take_octets(1, at(2)), "a microsecond fills it now");
    }

    proptest! {
        /// The rate holds in the long run: never more than burst, one overdraft, and what the
        /// time is worth.
        #[test]
        fn no_traffic_gets_more_than_its_rate(
            bits in 1_000u64..10_000_000_000,
            burst in 1u32..1_000_000,
            frames in proptest::collection::vec((1usize..65_536, 0u64..5_000_000), 1..200),
        ) {
            let mut bucket = Bucket::of_octets(Rate { bits_per_second: bits, burst });
            let (mut now, mut passed) = (Instant::ORIGIN, 0u128);
            for (octets, gap) in frames {
                now = now + Duration::from_nanos(gap);
                if bucket.take_octets(octets, now) {
                    passed += octets as u128;
                }
            }
            let worth = u128::from(now.as_nanos()) * u128::from(bits) / 8_000_000_000;
            // Costs are rounded down to 2^-20 ns: a part in 800,000 at 10 Gbit/s.
            let slack = 2 + (passed >> 19);
            prop_assert!(passed <= worth + u128::from(burst) + 65_536 + slack);
        }
    }
}
