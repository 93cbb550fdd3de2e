//! Periods, and whether a quota is spent in one.

use std::fmt;
use std::str::FromStr;

use homeward_model::{Quota, QuotaPeriod, UnixTime};

const DAY_MS: i64 = 86_400_000;

/// A day in UTC, as the number of days since 1970-01-01. Usage is kept by the day: every
/// [`QuotaPeriod`] is made of whole days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub i64);

impl Day {
    /// The day of that time.
    pub const fn of(time: UnixTime) -> Self {
        Self(time.0.div_euclid(DAY_MS))
    }

    /// Its first millisecond.
    pub const fn start(self) -> UnixTime {
        UnixTime(self.0.saturating_mul(DAY_MS))
    }

    /// The day so many days later.
    pub const fn plus(self, days: i64) -> Self {
        Self(self.0.saturating_add(days))
    }

    /// Year, month (1 to 12) and day of the month (1 to 31).
    fn civil(self) -> (i64, i64, i64) {
        // Years counted from March, in eras of 400 years: leap days come last in both.
        let shifted = self.0.saturating_add(719_468);
        let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
        let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let march = (5 * of_year + 2) / 153;
        let month = if march < 10 { march + 3 } else { march - 9 };
        (year + era * 400 + i64::from(month <= 2), month, of_year - (153 * march + 2) / 5 + 1)
    }

    /// How many days that month has.
    fn days_in(year: i64, month: i64) -> i64 {
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        match month {
            2 => 28 + i64::from(leap),
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        }
    }
}

impl fmt::Display for Day {
    /// As RFC 3339 has it: `2026-01-31`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.civil();
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

/// A text that is no day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a day is written as 2026-01-31")]
pub struct DayError;

impl FromStr for Day {
    type Err = DayError;

    fn from_str(text: &str) -> Result<Self, DayError> {
        let mut parts = text.splitn(3, '-');
        let mut next = || parts.next().and_then(|part| part.parse::<i64>().ok()).ok_or(DayError);
        let (year, month, of_month) = (next()?, next()?, next()?);
        if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) {
            return Err(DayError);
        }
        // Months counted from March; see `civil`.
        let (year, from_march) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
        let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let of_year = (153 * from_march + 2) / 5 + of_month - 1;
        let days = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
        let day = Self(era * 146_097 + days - 719_468);
        // The 31st of February is some day in March.
        if day.to_string() == text { Ok(day) } else { Err(DayError) }
    }
}

/// Whole days in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period {
    /// The first day.
    pub first: Day,
    /// The day after the last.
    pub end: Day,
}

impl Period {
    /// The period of that kind which `at` is in.
    pub fn of(kind: QuotaPeriod, at: UnixTime) -> Self {
        let day = Day::of(at);
        let (first, days) = match kind {
            QuotaPeriod::Day => (day, 1),
            // 1970-01-01 was a Thursday.
            QuotaPeriod::Week => (day.plus(-(day.0.saturating_add(3)).rem_euclid(7)), 7),
            QuotaPeriod::Month => {
                let (year, month, of_month) = day.civil();
                (day.plus(1 - of_month), Day::days_in(year, month))
            }
        };
        Self { first, end: first.plus(days) }
    }

    /// Whether that day is in it.
    pub fn contains(&self, day: Day) -> bool {
        (self.first..self.end).contains(&day)
    }
}

/// How a device stands against its quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Octets used in the period.
    pub used: u64,
    /// Octets left in it.
    pub left: u64,
    /// Whether nothing is left.
    pub spent: bool,
    /// When the count starts anew.
    pub renews: UnixTime,
}

impl Standing {
    /// How a device that has used so many octets in the period of `at` stands at that time.
    pub fn of(quota: &Quota, used: u64, at: UnixTime) -> Self {
        let left = quota.octets.saturating_sub(used);
        let renews = Period::of(quota.period, at).end.start();
        Self { used, left, spent: left == 0, renews }
    }
}

/// What one user has used, in the periods that go on: enough to stand against any quota without
/// asking a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Used([Count; 3]);

/// The octets of a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Count {
    first: Day,
    octets: u64,
}

impl Default for Count {
    fn default() -> Self {
        Self { first: Day(i64::MIN), octets: 0 }
    }
}

impl Used {
    /// Adds what was used on a day. What was used in a period that is over is of no account any
    /// more.
    pub fn add(&mut self, octets: u64, day: Day) {
        for (kind, count) in KINDS.into_iter().zip(&mut self.0) {
            let first = Period::of(kind, day.start()).first;
            if first > count.first {
                *count = Count { first, octets: 0 };
            }
            if first == count.first {
                count.octets = count.octets.saturating_add(octets);
            }
        }
    }

    /// Octets used in the period of that kind which `at` is in.
    pub fn octets(&self, kind: QuotaPeriod, at: UnixTime) -> u64 {
        let first = Period::of(kind, at).first;
        let counts = KINDS.into_iter().zip(self.0);
        let found = counts.filter(|(k, count)| *k == kind && count.first == first);
        found.map(|(_, count)| count.octets).sum()
    }

    /// The first day whose usage matters at that time: what was used before is of no quota.
    pub fn since(at: UnixTime) -> Day {
        let firsts = KINDS.map(|kind| Period::of(kind, at).first);
        firsts.into_iter().min().unwrap_or(Day::of(at))
    }
}

const KINDS: [QuotaPeriod; 3] = [QuotaPeriod::Day, QuotaPeriod::Week, QuotaPeriod::Month];

#[cfg(test)]
mod tests {
    use super::*;

    fn period(kind: QuotaPeriod, day: Day) -> String {
        let period = Period::of(kind, UnixTime(day.start().0 + 12 * 3_600_000));
        format!("{} {}", period.first, period.end)
    }

    #[test]
    fn a_period_begins_and_ends_at_midnight_utc() {
        // 2026-11-28 was a Saturday, 2024-02-29 a Thursday, 2027-01-01 a Friday.
        let (saturday, leap, new_year) = (Day(20_785), Day(19_782), Day(20_819));
        assert_eq!(period(QuotaPeriod::Day, saturday), "2026-11-28 2026-11-29");
        assert_eq!(period(QuotaPeriod::Week, saturday), "2026-11-23 2026-11-30");
        assert_eq!(period(QuotaPeriod::Month, saturday), "2026-11-01 2026-12-01");
        assert_eq!(period(QuotaPeriod::Week, leap), "2024-02-26 2024-03-04");
        assert_eq!(period(QuotaPeriod::Month, leap), "2024-02-01 2024-03-01");
        assert_eq!(period(QuotaPeriod::Week, new_year), "2026-12-28 2027-01-04");
        assert_eq!(period(QuotaPeriod::Month, new_year), "2027-01-01 2027-02-01");
        assert_eq!(period(QuotaPeriod::Month, Day(-1)), "1969-12-01 1970-01-01");
        for edge in [0, DAY_MS - 1] {
            let at = UnixTime(saturday.start().0 + edge);
            assert_eq!(Period::of(QuotaPeriod::Day, at).first, saturday);
        }
    }

    #[test]
    fn a_day_prints_as_the_models_time_does() {
        for day in (-800..60_000).step_by(13) {
            let day = Day(day);
            assert!(day.start().to_string().starts_with(&format!("{day}T00:00:00.000Z")), "{day}");
        }
    }

    #[test]
    fn a_day_reads_as_it_prints_and_what_is_none_is_refused() {
        for day in (0..2_900_000).step_by(17).map(Day) {
            assert_eq!(day.to_string().parse(), Ok(day));
        }
        for text in [
            "",
            "2026",
            "2026-11",
            "2026-2-01",
            "2026-02-30",
            "2026-13-01",
            "2026-01-00",
            "02026-01-01",
            "2026-01-01-01",
            "x-y-z",
            "1969-12-31",
            "99999999999-01-01",
        ] {
            assert_eq!(text.parse::<Day>(), Err(DayError), "{text}");
        }
    }

    #[test]
    fn every_day_is_in_exactly_one_period_of_each_kind() {
        for kind in [QuotaPeriod::Day, QuotaPeriod::Week, QuotaPeriod::Month] {
            let mut last = Period::of(kind, Day(0).start());
            for day in (0..40_000).map(Day) {
                let period = Period::of(kind, day.start());
                assert!(period.contains(day));
                assert!(period == last || period.first == last.end, "{kind} {day}");
                last = period;
            }
        }
    }

    #[test]
    fn usage_counts_for_the_day_the_week_and_the_month_it_was_in() {
        // 2026-11-28 was a Saturday; the week had begun on the 23rd.
        let saturday = Day(20_785);
        let mut used = Used::default();
        for (day, octets) in [(0, 1), (-1, 10), (-5, 100), (-6, 1000), (-28, 10_000)] {
            used.add(octets, saturday.plus(day));
        }
        let at = |day: Day| UnixTime(day.start().0 + DAY_MS / 2);
        let of = |used: &Used, day| KINDS.map(|kind| used.octets(kind, at(day)));
        // What came late and out of order counts where it belongs, as long as that goes on.
        assert_eq!(of(&used, saturday), [1, 111, 1111]);
        used.add(5, saturday.plus(2));
        assert_eq!(of(&used, saturday.plus(2)), [5, 5, 1116]);
        used.add(7, saturday.plus(1));
        assert_eq!(of(&used, saturday.plus(2)), [5, 5, 1123]);
        assert_eq!(of(&used, saturday.plus(3)), [0, 5, 0], "the first of December");
        used.add(u64::MAX, saturday.plus(3));
        used.add(u64::MAX, saturday.plus(3));
        assert_eq!(of(&used, saturday.plus(3)), [u64::MAX; 3]);
        assert_eq!(Used::since(at(saturday)).to_string(), "2026-11-01");
        assert_eq!(
            Used::since(at(Day(20_789))).to_string(),
            "2026-11-30",
            "of a week that began before"
        );
    }

    #[test]
    fn a_quota_is_spent_when_nothing_is_left() {
        let quota = Quota { octets: 1000, period: QuotaPeriod::Month };
        let at = Day(20_785).start();
        for (used, left, spent) in
            [(0, 1000, false), (999, 1, false), (1000, 0, true), (5000, 0, true)]
        {
            let standing = Standing::of(&quota, used, at);
            assert_eq!((standing.left, standing.spent), (left, spent), "{used}");
            assert_eq!(standing.renews.to_string(), "2026-12-01T00:00:00.000Z");
        }
    }
}
