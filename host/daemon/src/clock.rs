//! The machine's clocks.

use std::sync::OnceLock;
use std::time::Duration;

use homeward_model::{Clock, Instant, UnixTime};
use nix::time::{ClockId, clock_gettime};

/// What lies between the origin and a process's first look at the clock: what happened before the
/// process began, a session found again after a restart, has an instant of its own as well.
const BEFORE: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

/// The machine's clocks. Every `SystemClock` of a process has the same origin (some ten years
/// before its first use), so instants may pass between tasks and threads.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl SystemClock {
    /// Waits until `deadline`; for ever where there is none, or where it is too far ahead to name.
    ///
    /// Made for `select!` beside a machine's `poll_timeout`: cancelling it loses nothing.
    pub async fn until(&self, deadline: Option<Instant>) {
        let at = deadline
            .and_then(|d| {
                let ahead = Duration::from_nanos(d.as_nanos()).saturating_sub(BEFORE);
                first_use().checked_add(ahead)
            })
            .map(tokio::time::Instant::from_std);
        match at {
            Some(at) => tokio::time::sleep_until(at).await,
            None => std::future::pending().await,
        }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        // The first use first: on the very first call it must not lie after the reading.
        let first_use = first_use();
        Instant::ORIGIN + BEFORE + machine_now().saturating_duration_since(first_use)
    }

    #[expect(clippy::disallowed_methods, reason = "this is the clock that others are handed")]
    fn unix(&self) -> UnixTime {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        // A wall clock before 1970 is a machine without a battery: zero is as good.
        let millis = since.map_or(0, |s| i64::try_from(s.as_millis()).unwrap_or(i64::MAX));
        UnixTime(millis)
    }
}

/// CPU time that the calling thread has used, user and system together.
pub fn thread_cpu_time() -> Duration {
    cpu_time(ClockId::CLOCK_THREAD_CPUTIME_ID)
}

/// CPU time that the process has used, user and system, all threads together.
pub fn process_cpu_time() -> Duration {
    cpu_time(ClockId::CLOCK_PROCESS_CPUTIME_ID)
}

fn cpu_time(clock: ClockId) -> Duration {
    clock_gettime(clock).map_or(Duration::ZERO, Duration::from)
}

fn first_use() -> std::time::Instant {
    static FIRST_USE: OnceLock<std::time::Instant> = OnceLock::new();
    *FIRST_USE.get_or_init(machine_now)
}

#[expect(clippy::disallowed_methods, reason = "this is the clock that others are handed")]
fn machine_now() -> std::time::Instant {
    std::time::Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_clocks_of_a_process_share_an_origin_and_never_go_back() {
        let first = SystemClock.now();
        let second = std::thread::spawn(|| SystemClock.now()).join().unwrap();
        let third = SystemClock.now();
        assert!(first <= second && second <= third);
    }

    #[test]
    fn what_was_before_the_process_began_has_instants_in_order() {
        let now = SystemClock.now();
        let hours =
            |n: u64| Instant::from_nanos(now.as_nanos().saturating_sub(n * 3_600_000_000_000));
        assert_eq!(now - hours(2), Duration::from_secs(7200));
        assert!(hours(24 * 365) < hours(24 * 364));
    }

    #[tokio::test]
    async fn a_deadline_is_waited_for() {
        let deadline = SystemClock.now() + Duration::from_millis(20);
        SystemClock.until(Some(deadline)).await;
        assert!(SystemClock.now() >= deadline);
    }

    #[tokio::test]
    async fn a_deadline_in_the_past_is_due_at_once() {
        SystemClock.until(Some(Instant::ORIGIN)).await;
    }

    #[tokio::test]
    async fn no_deadline_is_never_due() {
        for never in [None, Some(Instant::from_nanos(u64::MAX))] {
            let waited =
                tokio::time::timeout(Duration::from_millis(5), SystemClock.until(never)).await;
            assert!(waited.is_err(), "{never:?}");
        }
    }

    #[test]
    fn the_wall_clock_is_past_2025() {
        assert!(SystemClock.unix().seconds() > 1_735_689_600);
    }

    #[test]
    fn cpu_time_of_a_thread_grows_with_its_work_and_is_part_of_the_process() {
        let before = thread_cpu_time();
        while thread_cpu_time() == before {
            std::hint::spin_loop();
        }
        assert!(process_cpu_time() >= thread_cpu_time() - before);
    }
}
