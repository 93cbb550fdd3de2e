//! What time it is, where the clock on the wall may be wrong.
//!
//! Three clocks are held beside each other: the one that never goes back (it stands still while
//! the machine sleeps), the one on the wall (anybody may set it), and what the portal said when
//! it answered. From these follow two answers:
//!
//! - what is **proven**: the portal's time, plus what has passed on the clock that never goes
//!   back. It is never ahead of the true time. Only by it are credentials discarded.
//! - what is **likely**: the wall's time where it agrees with the portal or did when the portal
//!   last spoke, and what is proven where it did not. By it new credentials are asked for, and
//!   windows of the week judged.
//!
//! So a clock that is years ahead costs a request and not the credentials; one that is years
//! behind keeps them only until the portal is next asked, or the network refuses them.

use std::time::Duration;

use homeward_model::{Instant, UnixTime, Weekday};

/// How far two clocks may differ and still agree, milliseconds.
const AGREED: i64 = 60_000;

/// What the machine's clock on the wall shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WallClock {
    /// The time.
    pub unix: UnixTime,
    /// How far local time is ahead of UTC, minutes; negative in the west.
    pub offset: i32,
}

#[derive(Debug, Clone, Copy)]
struct Spoken {
    portal: UnixTime,
    /// What the wall showed then.
    wall: Option<UnixTime>,
    at: Instant,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Clocks {
    wall: Option<(WallClock, Instant)>,
    spoken: Option<Spoken>,
    /// The latest time that a portal ever said, from before the machine began.
    floor: Option<(UnixTime, Instant)>,
}

impl Clocks {
    /// It cannot be earlier than this.
    pub(crate) fn not_before(&mut self, time: UnixTime, now: Instant) {
        self.floor = self.floor.max(Some((time, now)));
    }

    pub(crate) fn set_wall(&mut self, wall: WallClock, now: Instant) {
        self.wall = Some((wall, now));
    }

    /// The portal said what time it is.
    pub(crate) fn hear(&mut self, portal: UnixTime, now: Instant) {
        self.spoken = Some(Spoken { portal, wall: self.wall(now), at: now });
        self.not_before(portal, now);
    }

    /// What the clock on the wall shows.
    pub(crate) fn wall(&self, now: Instant) -> Option<UnixTime> {
        self.wall.map(|(wall, at)| plus(wall.unix, now - at))
    }

    /// What it is at the least, as the portal said since the machine began.
    pub(crate) fn proven(&self, now: Instant) -> Option<UnixTime> {
        self.spoken.map(|spoken| plus(spoken.portal, now - spoken.at))
    }

    /// What it probably is.
    pub(crate) fn likely(&self, now: Instant) -> Option<UnixTime> {
        let least = self.floor.map(|(time, at)| plus(time, now - at));
        let Some(wall) = self.wall(now) else { return self.proven(now).max(least) };
        let Some((spoken, proven)) = self.spoken.zip(self.proven(now)) else {
            return Some(wall).max(least);
        };
        let was_right = spoken.wall.is_some_and(|then| agree(then, spoken.portal));
        // It is right now, or was, and has moved on since: the machine slept.
        let trusted = agree(wall, proven) || was_right && wall > proven;
        Some(if trusted { wall.max(proven) } else { proven })
    }

    /// Whether the clock on the wall shows what cannot be.
    pub(crate) fn is_behind(&self, now: Instant) -> bool {
        let least = self.floor.map(|(time, at)| plus(time, now - at));
        self.spoken.is_none() && self.wall(now) < least
    }

    /// How far the wall's clock is ahead of the portal's, milliseconds.
    pub(crate) fn skew(&self, now: Instant) -> Option<i64> {
        self.wall(now).zip(self.proven(now)).map(|(wall, proven)| wall.0.saturating_sub(proven.0))
    }

    /// The day of the week and the minute of the day, local time.
    pub(crate) fn local(&self, now: Instant) -> Option<(Weekday, u16)> {
        let (wall, _) = self.wall?;
        let minutes = self.likely(now)?.seconds().div_euclid(60) + i64::from(wall.offset);
        let minute = u16::try_from(minutes.rem_euclid(1440)).unwrap_or_default();
        Some((weekday(minutes.div_euclid(1440)), minute))
    }

    /// When the next minute of the day begins that is one of `minutes`.
    pub(crate) fn next_of(
        &self,
        minutes: impl Iterator<Item = u16>,
        now: Instant,
    ) -> Option<Instant> {
        let (_, minute) = self.local(now)?;
        let into = self.likely(now)?.0.rem_euclid(60_000);
        let ahead = minutes.map(|at| match (at % 1440 + 1440 - minute) % 1440 {
            0 => 1440,
            ahead => i64::from(ahead),
        });
        let ms = ahead.min()? * 60_000 - into;
        Some(now + Duration::from_millis(u64::try_from(ms).unwrap_or_default()))
    }

    /// When `likely` reaches `time`, if the clocks go on as they do; `None` if it has.
    pub(crate) fn reaches(&self, time: UnixTime, now: Instant) -> Option<Instant> {
        ahead(self.likely(now)?, time, now)
    }

    /// The same of `proven`.
    pub(crate) fn proves(&self, time: UnixTime, now: Instant) -> Option<Instant> {
        ahead(self.proven(now)?, time, now)
    }
}

fn ahead(from: UnixTime, to: UnixTime, now: Instant) -> Option<Instant> {
    let ms = u64::try_from(to.0.saturating_sub(from.0)).ok().filter(|ms| *ms > 0)?;
    Some(now + Duration::from_millis(ms))
}

fn plus(time: UnixTime, span: Duration) -> UnixTime {
    UnixTime(time.0.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
}

fn agree(one: UnixTime, other: UnixTime) -> bool {
    one.0.abs_diff(other.0) <= AGREED.unsigned_abs()
}

/// The day of the week of a day since 1970-01-01, a Thursday.
fn weekday(days: i64) -> Weekday {
    match days.rem_euclid(7) {
        0 => Weekday::Thu,
        1 => Weekday::Fri,
        2 => Weekday::Sat,
        3 => Weekday::Sun,
        4 => Weekday::Mon,
        5 => Weekday::Tue,
        _ => Weekday::Wed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRUE: i64 = 1_769_860_800_000;
    const DAY: i64 = 86_400_000;

    fn at(ms: i64) -> Instant {
        Instant::ORIGIN + Duration::from_millis(u64::try_from(ms).unwrap())
    }

    fn wall(ms: i64) -> WallClock {
        WallClock { unix: UnixTime(ms), offset: 0 }
    }

    #[test]
    fn a_wall_clock_that_is_wrong_gives_way_to_what_the_portal_said() {
        for wrong in [0, TRUE + 3650 * DAY] {
            let mut clocks = Clocks::default();
            clocks.set_wall(wall(wrong), at(0));
            assert_eq!(clocks.likely(at(0)), Some(UnixTime(wrong)));
            clocks.hear(UnixTime(TRUE), at(10));
            assert_eq!(clocks.likely(at(1010)), Some(UnixTime(TRUE + 1000)));
            // Set right afterwards.
            clocks.set_wall(wall(TRUE + 2000), at(2010));
            assert_eq!(clocks.likely(at(2010)), Some(UnixTime(TRUE + 2000)));
        }
    }

    #[test]
    fn a_sleep_shows_on_the_wall_and_proves_nothing() {
        let mut clocks = Clocks::default();
        clocks.set_wall(wall(TRUE), at(0));
        clocks.hear(UnixTime(TRUE), at(0));
        clocks.set_wall(wall(TRUE + DAY), at(5));
        assert_eq!(clocks.likely(at(5)), Some(UnixTime(TRUE + DAY)));
        assert_eq!(clocks.proven(at(5)), Some(UnixTime(TRUE + 5)));
    }

    #[test]
    fn it_is_never_earlier_than_what_a_portal_said_before_the_start() {
        let mut clocks = Clocks::default();
        clocks.not_before(UnixTime(TRUE), at(0));
        clocks.set_wall(wall(0), at(0));
        assert!(clocks.is_behind(at(7)));
        assert_eq!(clocks.likely(at(7)), Some(UnixTime(TRUE + 7)));
        assert_eq!(clocks.proven(at(7)), None, "nor does that prove anything");
        clocks.set_wall(wall(TRUE + 5000), at(7));
        assert!(!clocks.is_behind(at(7)));
    }

    #[test]
    fn local_time_is_of_the_right_day_and_minute() {
        let mut clocks = Clocks::default();
        // 2026-01-31 12:00 UTC, a Saturday.
        clocks.set_wall(WallClock { unix: UnixTime(TRUE), offset: 13 * 60 }, at(0));
        assert_eq!(clocks.local(at(60_000)), Some((Weekday::Sun, 61)));
        clocks.set_wall(WallClock { unix: UnixTime(TRUE), offset: -13 * 60 }, at(0));
        assert_eq!(clocks.local(at(0)), Some((Weekday::Fri, 23 * 60)));
        let next = clocks.next_of([0, 22 * 60, 1440].into_iter(), at(30_000));
        assert_eq!(next, Some(at(3_600_000)), "midnight");
        assert_eq!(clocks.next_of([23 * 60].into_iter(), at(0)), Some(at(DAY)), "tomorrow");
    }
}
