//! For tests only: a clock that is set by hand.

use std::sync::atomic::{AtomicI64, Ordering};

use homeward_model::{Clock, Instant, UnixTime};

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
