//! For tests only: a clock that is set by hand and octets that anybody can foretell.

use std::sync::atomic::{AtomicI64, Ordering};

use homeward_model::{Clock, Entropy, Instant, UnixTime};

/// Octets out of a xorshift generator (Marsaglia 2003, 64 bit): the same after the same seed, and
/// no secret at all.
#[derive(Debug, Clone)]
pub struct XorshiftEntropy(u64);

impl XorshiftEntropy {
    /// The generator with that seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed ^ 0x9e37_79b9_7f4a_7c15 | 1)
    }
}

impl Entropy for XorshiftEntropy {
    fn fill(&mut self, room: &mut [u8]) {
        for octet in room {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            *octet = (self.0 >> 32) as u8;
        }
    }
}

/// A clock that stands until it is set.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// The clock at that many milliseconds since 1970.
    pub const fn at(ms: i64) -> Self {
        Self(AtomicI64::new(ms))
    }

    /// Sets it to that many milliseconds since 1970.
    pub fn set(&self, ms: i64) {
        self.0.store(ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        Instant::from_nanos(u64::try_from(self.0.load(Ordering::SeqCst)).unwrap_or(0) * 1_000_000)
    }

    fn unix(&self) -> UnixTime {
        UnixTime(self.0.load(Ordering::SeqCst))
    }
}
