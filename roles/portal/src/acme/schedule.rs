//! When a certificate is asked for. Pure: what time it is comes in, how long to wait comes out.

use std::time::Duration;

use homeward_model::{Instant, UnixTime};

/// From when to when a certificate is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// Its first moment.
    pub from: UnixTime,
    /// Its end.
    pub until: UnixTime,
}

impl Validity {
    /// When it is to be renewed: after two thirds of its life.
    pub fn renewal(self) -> UnixTime {
        let life = self.until.0.saturating_sub(self.from.0).max(0);
        UnixTime(self.from.0.saturating_add(life - life / 3))
    }

    /// For how long it is still good; zero: it is not.
    pub fn left(self, now: UnixTime) -> Duration {
        ahead(self.until, now)
    }
}

/// How long after a failure it is tried again: twice as long each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// After the first one.
    pub first: Duration,
    /// At most.
    pub most: Duration,
}

/// When the next certificate is due.
#[derive(Debug, Clone)]
pub struct Schedule {
    retry: Retry,
    holds: Option<Validity>,
    /// Until when nothing is tried, whatever is due.
    pause: Option<Instant>,
    failures: u32,
}

impl Schedule {
    /// One without a certificate: it is due at once.
    pub fn new(retry: Retry) -> Self {
        Self { retry, holds: None, pause: None, failures: 0 }
    }

    /// There was one already.
    pub fn found(&mut self, certificate: Validity) {
        self.holds = Some(certificate);
    }

    /// There is a new one. Should it be due at once, by a wrong clock or for its short life, the
    /// next is not asked for before the pause after a failure has passed.
    pub fn obtained(&mut self, certificate: Validity, now: Instant) {
        self.holds = Some(certificate);
        self.failures = 0;
        self.pause = Some(now + self.retry.first);
    }

    /// There is none. What is asked for too often is refused for longer, so the pauses grow; while
    /// there is a certificate that is good, none is longer than half of what is left of it. `dice`
    /// takes up to a quarter off, so that those who failed together do not come again together.
    pub fn failed(&mut self, now: Instant, unix: UnixTime, dice: u8) {
        let doubled = self.retry.first.saturating_mul(1 << self.failures.min(24));
        self.failures = self.failures.saturating_add(1);
        let mut pause = doubled.min(self.retry.most);
        let left = self.holds.map_or(Duration::ZERO, |certificate| certificate.left(unix));
        if !left.is_zero() {
            pause = pause.min(left / 2);
        }
        let pause = (pause - pause / 1024 * u32::from(dice)).max(self.retry.first);
        self.pause = Some(now + pause);
    }

    /// The operator has set something right: the pause after a failure is over.
    pub fn hurry(&mut self) {
        if self.failures > 0 {
            self.pause = None;
        }
    }

    /// How often in a row it has failed.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// The certificate that there is.
    pub fn holds(&self) -> Option<Validity> {
        self.holds
    }

    /// How long to wait until one is to be asked for; zero: now. What is shown on the wall may
    /// change: ask again from time to time.
    pub fn wait(&self, now: Instant, unix: UnixTime) -> Duration {
        let due = self.holds.map_or(Duration::ZERO, |holds| ahead(holds.renewal(), unix));
        due.max(self.pause.map_or(Duration::ZERO, |until| until.since(now)))
    }
}

fn ahead(moment: UnixTime, now: UnixTime) -> Duration {
    Duration::from_millis(u64::try_from(moment.0.saturating_sub(now.0)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RETRY: Retry = Retry { first: Duration::from_secs(60), most: Duration::from_secs(3600) };
    const DAY: i64 = 86_400_000;
    const LIFE: Validity = Validity { from: UnixTime(0), until: UnixTime(90 * DAY) };

    fn at(seconds: u64) -> Instant {
        Instant::ORIGIN + Duration::from_secs(seconds)
    }

    #[test]
    fn without_a_certificate_one_is_due_at_once() {
        assert_eq!(Schedule::new(RETRY).wait(at(0), UnixTime(0)), Duration::ZERO);
    }

    #[test]
    fn a_certificate_is_renewed_after_two_thirds_of_its_life() {
        let mut schedule = Schedule::new(RETRY);
        schedule.found(LIFE);
        assert_eq!(LIFE.renewal(), UnixTime(60 * DAY));
        let wait = schedule.wait(at(0), UnixTime(59 * DAY));
        assert_eq!(wait, Duration::from_secs(86_400));
        assert_eq!(schedule.wait(at(0), UnixTime(60 * DAY)), Duration::ZERO);
        // A clock that was wrong: it is due when that is known.
        assert_eq!(schedule.wait(at(0), UnixTime(400 * DAY)), Duration::ZERO);
    }

    #[test]
    fn each_failure_doubles_the_pause_up_to_the_longest_and_success_forgets_them() {
        let mut schedule = Schedule::new(RETRY);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            schedule.failed(at(100), UnixTime(0), 0);
            pauses.push(schedule.wait(at(100), UnixTime(0)).as_secs());
        }
        assert_eq!(pauses, [60, 120, 240, 480, 960, 1920, 3600, 3600]);
        assert_eq!(schedule.failures(), 8);
        assert_eq!(schedule.wait(at(3700), UnixTime(0)), Duration::ZERO);
        schedule.obtained(LIFE, at(3700));
        schedule.failed(at(3700), UnixTime(0), 0);
        assert_eq!((schedule.failures(), schedule.pause), (1, Some(at(3760))));
    }

    #[test]
    fn no_pause_is_longer_than_half_of_what_is_left_of_a_good_certificate() {
        let mut schedule = Schedule::new(RETRY);
        schedule.found(LIFE);
        let ten_minutes_left = UnixTime(90 * DAY - 600_000);
        for _ in 0..6 {
            schedule.failed(at(0), ten_minutes_left, 0);
        }
        assert_eq!(schedule.wait(at(0), ten_minutes_left), Duration::from_secs(300));
        // It has run out: nothing is saved by asking more often.
        schedule.failed(at(0), UnixTime(91 * DAY), 0);
        assert_eq!(schedule.wait(at(0), UnixTime(91 * DAY)), Duration::from_secs(3600));
    }

    #[test]
    fn a_new_certificate_that_is_due_already_is_not_replaced_at_once() {
        let mut schedule = Schedule::new(RETRY);
        schedule.obtained(LIFE, at(10));
        assert_eq!(schedule.wait(at(10), UnixTime(80 * DAY)), RETRY.first);
        schedule.hurry();
        assert_eq!(schedule.wait(at(10), UnixTime(80 * DAY)), RETRY.first);
    }

    #[test]
    fn an_operator_ends_the_pause_after_a_failure() {
        let mut schedule = Schedule::new(RETRY);
        schedule.failed(at(0), UnixTime(0), 0);
        schedule.hurry();
        assert_eq!(schedule.wait(at(0), UnixTime(0)), Duration::ZERO);
        assert_eq!(schedule.failures(), 1);
    }

    proptest! {
        #[test]
        fn every_pause_lies_between_the_first_and_the_longest(
            failures in 1u32..100, dice: u8, left in 0i64..200 * DAY
        ) {
            let mut schedule = Schedule::new(RETRY);
            schedule.found(LIFE);
            let unix = UnixTime(LIFE.until.0 - left);
            for _ in 0..failures {
                schedule.failed(at(5), unix, dice);
            }
            let pause = schedule.pause.unwrap().since(at(5));
            prop_assert!(pause >= RETRY.first && pause <= RETRY.most, "{pause:?}");
        }
    }
}
