//! Named moments of a run, from several sources, on one clock.

use std::sync::{Arc, Mutex, PoisonError};

use homeward_model::{Instant, UnixTime};
use serde::{Serialize, Serializer};

use crate::wait::{now, wall_offset};

/// Marks in milliseconds since the timeline's origin. Clones share their marks.
#[derive(Debug, Clone)]
pub struct Timeline {
    origin: Instant,
    marks: Arc<Mutex<Vec<Mark>>>,
}

/// A moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Mark {
    /// When, in milliseconds since the origin.
    pub ms: f64,
    /// Who saw it: `air`, `station`, `gateway`, …
    pub source: String,
    /// What it was: `probe`, `connected`, …
    pub name: String,
}

impl Timeline {
    /// A timeline whose origin is now.
    pub fn start() -> Self {
        Self::from_origin(now())
    }

    /// A timeline whose origin is `origin`, such as the first probe.
    pub fn from_origin(origin: Instant) -> Self {
        Self { origin, marks: Arc::default() }
    }

    /// Marks this moment.
    pub fn mark(&self, source: &str, name: &str) {
        self.mark_at(source, name, now());
    }

    /// Marks the moment `at`, which may lie before the origin.
    pub fn mark_at(&self, source: &str, name: &str, at: Instant) {
        let mark = Mark { ms: self.ms(at), source: source.to_owned(), name: name.to_owned() };
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        let place = marks.partition_point(|earlier| earlier.ms <= mark.ms);
        marks.insert(place, mark);
    }

    /// Marks a moment that another process stamped with the wall's time.
    pub fn mark_unix(&self, source: &str, name: &str, at: UnixTime) {
        let nanos = u64::try_from(at.0).unwrap_or(0).saturating_mul(1_000_000);
        let since_boot = nanos.saturating_sub(wall_offset());
        self.mark_at(source, name, Instant::from_nanos(since_boot));
    }

    /// The moment in milliseconds since the origin; less than zero if it lies before.
    pub fn ms(&self, at: Instant) -> f64 {
        at.since(self.origin).as_secs_f64() * 1e3 - self.origin.since(at).as_secs_f64() * 1e3
    }

    /// All marks, in the order of time.
    pub fn marks(&self) -> Vec<Mark> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Serialize for Timeline {
    /// A list of marks.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.marks().serialize(serializer)
    }
}

/// Least, middle and greatest of some figures.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// The least.
    pub min: f64,
    /// The middle one; of an even number, the mean of the two in the middle.
    pub median: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// The spread of these figures; `None` if there are none.
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = figures.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let upper = *sorted.get(sorted.len() / 2)?;
        let lower = *sorted.get((sorted.len() - 1) / 2)?;
        Some(Self { min, median: f64::midpoint(lower, upper), max })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn marks_stand_in_the_order_of_time_whoever_reports_first() {
        let origin = Instant::from_nanos(5_000_000_000);
        let timeline = Timeline::from_origin(origin);
        timeline.mark_at("station", "connected", origin + Duration::from_micros(150_500));
        timeline.mark_at("air", "probe", origin);
        timeline.mark_at("station", "scan", Instant::from_nanos(4_999_000_000));
        let told: Vec<_> = timeline.marks().into_iter().map(|m| (m.name, m.ms)).collect();
        let expected = [("scan", -1.0), ("probe", 0.0), ("connected", 150.5)];
        assert_eq!(told, expected.map(|(name, ms)| (name.to_owned(), ms)));
    }

    #[test]
    fn a_spread_has_the_middle_of_odd_and_even_counts() {
        assert_eq!(Spread::of([]), None);
        assert_eq!(Spread::of([3.0, 1.0, 9.0]).unwrap().median, 3.0);
        assert_eq!(Spread::of([3.0, 1.0, 9.0, 4.0]).unwrap().median, 3.5);
    }
}
