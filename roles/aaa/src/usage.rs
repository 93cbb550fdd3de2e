//! What everybody has used in the periods that go on, in memory: how a user stands against a
//! quota is asked at every look-up.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use homeward_accounting::{Day, Figures, Standing, Used};
use homeward_ledger::{LedgerReader, User};
use homeward_model::{Quota, UnixTime};

/// What everybody has used. Clones are one and the same.
#[derive(Debug, Clone, Default)]
pub struct Usage(Arc<RwLock<HashMap<User, Used>>>);

impl Usage {
    /// What a ledger has of the periods that go on.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub async fn load(reader: &LedgerReader, now: UnixTime) -> homeward_ledger::Result<Self> {
        let mut all: HashMap<User, Used> = HashMap::new();
        let each = |day: homeward_ledger::DayUsage| {
            all.entry(day.user).or_default().add(octets(&day.figures), day.day);
        };
        reader.each_usage_since(Used::since(now), each).await?;
        Ok(Self(Arc::new(RwLock::new(all))))
    }

    /// Adds what was used on a day.
    pub fn add(&self, user: User, figures: &Figures, day: Day) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        all.entry(user).or_default().add(octets(figures), day);
    }

    /// How a user stands against that quota now.
    pub fn standing(&self, user: User, quota: &Quota, now: UnixTime) -> Standing {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let used = all.get(&user).map_or(0, |used| used.octets(quota.period, now));
        Standing::of(quota, used, now)
    }

    /// How many users have used anything.
    pub fn len(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether nobody has used anything.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn octets(figures: &Figures) -> u64 {
    figures.input.saturating_add(figures.output)
}
