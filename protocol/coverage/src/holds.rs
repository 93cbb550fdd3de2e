//! Gateways that were left soon after they had been gone back to, and how long that is not done again.

use std::collections::BTreeMap;

use homeward_model::{Instant, Mac};

use crate::settings::HoldDown;

/// A gateway that did not last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hold {
    pub(crate) failures: u32,
    pub(crate) until: Instant,
}

/// All of them. `None` is Wi-Fi as such, gone back to by no gateway's signal.
#[derive(Debug, Clone, Default)]
pub(crate) struct Holds {
    of: BTreeMap<Option<Mac>, Hold>,
}

impl Holds {
    /// A gateway was left after too short a time: the wait doubles each time in a row.
    pub(crate) fn fail(&mut self, bssid: Option<Mac>, now: Instant, by: &HoldDown, most: usize) {
        self.forget(now, by);
        let failures = self.of.get(&bssid).map_or(0, |hold| hold.failures);
        let wait = by.first.saturating_mul(1 << failures.min(16)).min(by.most);
        let failures = failures.saturating_add(1);
        self.of.insert(bssid, Hold { failures, until: now + wait });
        while self.of.len() > most
            && let Some(first) = self.of.iter().min_by_key(|(_, hold)| hold.until)
        {
            let first = *first.0;
            self.of.remove(&first);
        }
    }

    /// A gateway lasted.
    pub(crate) fn pardon(&mut self, bssid: Option<Mac>) {
        self.of.remove(&bssid);
    }

    /// That of a gateway which is still held down.
    pub(crate) fn of(&self, bssid: Option<Mac>, now: Instant) -> Option<Hold> {
        self.of.get(&bssid).filter(|hold| hold.until > now).copied()
    }

    /// All that are held down.
    pub(crate) fn all(&self, now: Instant) -> impl Iterator<Item = (Option<Mac>, Hold)> {
        let held = self.of.iter().filter(move |(_, hold)| hold.until > now);
        held.map(|(bssid, hold)| (*bssid, *hold))
    }

    fn forget(&mut self, now: Instant, by: &HoldDown) {
        self.of.retain(|_, hold| now - hold.until < by.most);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Settings;

    #[test]
    fn a_hold_doubles_up_to_the_longest_and_is_forgotten_after_as_long_again() {
        let by = Settings::default().hold_down;
        let (mut holds, bssid) = (Holds::default(), Some(Mac::new([2, 0, 0, 0, 0, 1])));
        let mut now = Instant::ORIGIN;
        let mut fail = |now: &mut Instant| {
            holds.fail(bssid, *now, &by, 4);
            let hold = holds.of(bssid, *now).unwrap();
            let wait = hold.until - *now;
            *now = hold.until;
            assert_eq!(holds.of(bssid, *now), None);
            wait.as_secs()
        };
        let waits: Vec<_> = (0..7).map(|_| fail(&mut now)).collect();
        assert_eq!(waits, [20, 40, 80, 160, 320, 600, 600]);
        now = now + by.most;
        assert_eq!(fail(&mut now), 20);
        holds.fail(bssid, now, &by, 4);
        holds.pardon(bssid);
        assert_eq!(holds.all(now).count(), 0);
        for n in 0..9 {
            holds.fail(
                Some(Mac::new([2, 0, 0, 0, 1, n])),
                now + Duration::from_secs(n.into()),
                &by,
                4,
            );
        }
        assert_eq!(holds.all(now).count(), 4);
    }
}
