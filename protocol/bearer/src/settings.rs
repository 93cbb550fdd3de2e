//! The times and limits of bearers.

use std::time::Duration;

/// The times and limits of bearers. [`Settings::default`] is fit for use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How long a gateway may say nothing of a bearer before it is nobody's. An hour unless set:
    /// more than twice as long as the interval between a gateway's Interims.
    pub silence: Duration,
    /// How long a session that has ended is remembered by its name, so that nothing from before
    /// its end brings it back. After that, whatever is older than what was forgotten is not
    /// believed of any session. 10 minutes unless set.
    pub remember: Duration,
    /// The most sessions remembered so; the oldest go first. 262,144 unless set.
    pub remembered: usize,
    /// The most bearers; further ones are nobody's. 4,194,304 unless set.
    pub bearers: usize,
    /// How far ahead a gateway's clock may run for its Event-Timestamp to count. 300 s unless set.
    pub ahead: Duration,
    /// How far back an Event-Timestamp may lie to count; a gateway that has not set its clock yet
    /// says 1970. What does not count is dated by when it came, less Acct-Delay-Time. 7 days
    /// unless set.
    pub behind: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            silence: Duration::from_secs(3600),
            remember: Duration::from_secs(600),
            remembered: 1 << 18,
            bearers: 1 << 22,
            ahead: Duration::from_secs(300),
            behind: Duration::from_secs(7 * 86_400),
        }
    }
}

/// A span in the unit of [`homeward_model::UnixTime`].
pub(crate) fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}
