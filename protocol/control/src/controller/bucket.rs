//! How much a gateway may say.

use homeward_model::Instant;

/// One message, in billionths, so that nanoseconds times a rate need no division.
const TOKEN: u128 = 1_000_000_000;

/// A token bucket, full at first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    level: u128,
    at: Instant,
}

impl Bucket {
    pub(super) fn full(burst: u32, now: Instant) -> Self {
        Self { level: u128::from(burst) * TOKEN, at: now }
    }

    /// Pays for `cost` messages; `false` where that is too much. What costs more than all that
    /// fits is paid with all that fits.
    pub(super) fn take(&mut self, cost: usize, rate: u32, burst: u32, now: Instant) -> bool {
        let most = u128::from(burst) * TOKEN;
        let gained = now.since(self.at).as_nanos() * u128::from(rate);
        self.level = (self.level + gained).min(most);
        self.at = self.at.max(now);
        let cost = u128::try_from(cost).unwrap_or(u128::MAX).saturating_mul(TOKEN).min(most);
        match self.level.checked_sub(cost) {
            Some(left) => {
                self.level = left;
                true
            }
            None => false,
        }
    }
}
