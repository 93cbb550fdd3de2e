//! Waiting for a condition, and the clock it is done by.

use std::time::Duration;

use anyhow::{Result, bail};
use homeward_model::Instant;
use nix::time::{ClockId, clock_gettime};

/// How soon a condition is looked at again, at first and at last. In between, after a fiftieth of
/// the time already waited: what is looked at, an emulated machine say, needs its CPU itself.
const SOONEST: Duration = Duration::from_millis(2);
const LATEST: Duration = Duration::from_millis(50);

/// Now, on this machine's CLOCK_MONOTONIC.
///
/// All processes of a machine share its origin, so marks taken by several can stand on one
/// timeline. Zero on a kernel without the clock, of which there is none.
pub fn now() -> Instant {
    nanos(ClockId::CLOCK_MONOTONIC)
}

/// Nanoseconds from 1970 to the origin of [`now`]: what to take off a wall-clock stamp.
pub fn wall_offset() -> u64 {
    nanos(ClockId::CLOCK_REALTIME).as_nanos().saturating_sub(now().as_nanos())
}

/// Waits until `check` gives a value.
///
/// # Errors
/// What `check` fails with, at once; and, once `limit` is over, that `what` did not come.
pub async fn wait_for<T>(
    what: &str,
    limit: Duration,
    mut check: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let began = now();
    loop {
        if let Some(value) = check().await? {
            return Ok(value);
        }
        let waited = now() - began;
        if waited >= limit {
            bail!("waited {limit:?} for {what}, in vain");
        }
        turn((waited / 50).clamp(SOONEST, LATEST)).await;
    }
}

/// Lets time pass where the passing of time is itself what is tried, as in "does not connect
/// within 5 s". To wait for something use [`wait_for`].
pub async fn elapse(span: Duration) {
    turn(span).await;
}

/// [`elapse`] for a thread of its own, such as one that sends at a fixed rate.
#[expect(clippy::disallowed_methods, reason = "the lab's one blocking pause")]
pub fn pause(span: Duration) {
    std::thread::sleep(span);
}

#[expect(clippy::disallowed_methods, reason = "the lab's one pause between two looks")]
async fn turn(span: Duration) {
    tokio::time::sleep(span).await;
}

fn nanos(clock: ClockId) -> Instant {
    clock_gettime(clock).map_or(Instant::ORIGIN, |t| Instant::ORIGIN + Duration::from(t))
}
