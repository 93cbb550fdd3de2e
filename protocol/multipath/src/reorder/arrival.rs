//! What a path's packets say by when they come: how far it is, and how late it may be.

use std::time::Duration;

use homeward_l2tp::Sequence;
use homeward_model::Instant;

/// The most packets that [`path_reorder`](crate::ReorderSettings::path_reorder) may be.
pub(super) const MAX_REORDER: usize = 7;

/// Half of what was measured is forgotten in this time, if nothing is late any more.
const HALF_LIFE: Duration = Duration::from_secs(1);

/// A path, as its packets show it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Arrival {
    /// Its highest numbers, descending.
    recent: [Sequence; MAX_REORDER + 1],
    count: usize,
    /// When it last delivered something.
    last: Instant,
    lateness: Option<Lateness>,
    /// Its round-trip time, if that was told.
    pub(super) rtt: Option<Duration>,
}

/// How late packets were, of those that came after one of a higher number: mean and deviation as
/// RFC 6298 2 has them for round trips, in microseconds.
#[derive(Debug, Clone, Copy)]
struct Lateness {
    mean: u32,
    deviation: u32,
    at: Instant,
}

impl Arrival {
    /// Whether it has delivered something within `idle`.
    #[inline]
    pub(super) fn is_active(&self, idle: Duration, now: Instant) -> bool {
        self.count > 0 && now.since(self.last) <= idle
    }

    /// Notes a number; `keep` is how many of the highest are of interest.
    #[inline]
    pub(super) fn note(&mut self, number: Sequence, keep: usize, idle: Duration, now: Instant) {
        if !self.is_active(idle, now) {
            self.count = 0; // What it delivered last may be anywhere by now.
        }
        self.last = now;
        let keep = keep.min(self.recent.len());
        let known = self.recent.get(..self.count).unwrap_or_default();
        let place = known.iter().position(|known| number.ahead_of(*known) > 0);
        let place = place.unwrap_or(self.count);
        if place >= keep {
            return;
        }
        self.count = (self.count + 1).min(keep);
        if let Some(room) = self.recent.get_mut(place..self.count) {
            room.rotate_right(1);
            if let Some(first) = room.first_mut() {
                *first = number;
            }
        }
    }

    /// A number below which it delivers nothing any more: all of the `keep` highest are above.
    #[inline]
    pub(super) fn bound(&self, keep: usize) -> Option<Sequence> {
        (self.count >= keep).then(|| self.recent.get(keep.checked_sub(1)?).copied()).flatten()
    }

    /// Notes how late a packet came; zero for one in order, which says that not all are.
    #[inline]
    pub(super) fn late_by(&mut self, micros: u32, now: Instant) {
        if micros == 0 && self.lateness.is_some() {
            return;
        }
        let at = now;
        self.lateness = Some(match self.lateness {
            None => Lateness { mean: micros, deviation: micros / 2, at },
            Some(before) => {
                let off = before.mean.abs_diff(micros);
                Lateness {
                    mean: before.mean - before.mean / 8 + micros / 8,
                    deviation: before.deviation - before.deviation / 4 + off / 4,
                    at,
                }
            }
        });
    }

    /// How late its packets may be; `None` if it has shown nothing yet.
    #[inline]
    pub(super) fn lateness(&self, now: Instant) -> Option<Duration> {
        let Lateness { mean, deviation, at } = self.lateness?;
        let most = mean.saturating_add(deviation.saturating_mul(4));
        let halvings = now.since(at).as_millis() / HALF_LIFE.as_millis();
        let most = u32::try_from(halvings).ok().and_then(|halvings| most.checked_shr(halvings));
        Some(Duration::from_micros(most.unwrap_or_default().into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_millis(500);

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn the_bound_is_behind_as_many_packets_as_may_change_places() {
        for (keep, bounds) in
            [(1, [Some(5), Some(7), Some(7), Some(9)]), (3, [None, None, Some(5), Some(6)])]
        {
            let mut path = Arrival::default();
            for (number, bound) in [5, 7, 6, 9].into_iter().zip(bounds) {
                path.note(Sequence::new(number), keep, IDLE, at(0));
                assert_eq!(path.bound(keep), bound.map(Sequence::new), "{number} of {keep}");
            }
        }
    }

    #[test]
    fn a_path_that_was_silent_begins_anew() {
        let mut path = Arrival::default();
        path.note(Sequence::new(5), 1, IDLE, at(0));
        assert!(path.is_active(IDLE, at(500)) && !path.is_active(IDLE, at(501)));
        path.note(Sequence::new(0x90_0000), 1, IDLE, at(9000));
        assert_eq!(path.bound(1), Some(Sequence::new(0x90_0000)), "more than half the space on");
    }

    #[test]
    fn lateness_is_mean_and_four_deviations_and_fades() {
        let mut path = Arrival::default();
        assert_eq!(path.lateness(at(0)), None);
        path.late_by(0, at(0));
        assert_eq!(path.lateness(at(0)), Some(Duration::ZERO));
        path.late_by(24_000, at(10));
        assert_eq!(path.lateness(at(10)), Some(Duration::from_millis(3 + 4 * 6)));
        path.late_by(0, at(20));
        assert_eq!(path.lateness(at(1009)), Some(Duration::from_millis(27)));
        assert_eq!(path.lateness(at(1010)), Some(Duration::from_micros(13_500)));
        assert_eq!(path.lateness(at(1_000_000)), Some(Duration::ZERO));
    }
}
