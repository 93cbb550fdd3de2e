//! The times and limits of accounting.

use std::time::Duration;

/// The times and limits of accounting. [`Settings::default`] is fit for use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How often a NAS reports an open session: the Acct-Interim-Interval it was given (RFC 2869
    /// 5.16). 600 s unless set.
    pub interim: Duration,
    /// After how many intervals without a word a session counts as lost. 3 unless set.
    pub silent_after: u32,
    /// How far a session has to begin after the last word of an earlier one with the same
    /// Acct-Session-Id to be another session. 60 s unless set: repetitions of a Start by a NAS
    /// that dates nothing come within it.
    pub reuse: Duration,
    /// How far ahead a NAS's clock may run for its Event-Timestamp to be believed. 300 s unless
    /// set.
    pub ahead: Duration,
    /// How old an Event-Timestamp may be to be believed. A NAS that has not set its clock yet
    /// says 1970. 7 days unless set.
    pub behind: Duration,
    /// Whether a counter that falls from its upper half into its lower one, in a session whose
    /// NAS never sends Gigawords (RFC 2869 5.1), has passed 2³². True unless set; where it is
    /// false, it counts as one that ran backwards.
    pub wraps: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            interim: Duration::from_secs(600),
            silent_after: 3,
            reuse: Duration::from_secs(60),
            ahead: Duration::from_secs(300),
            behind: Duration::from_secs(7 * 86_400),
            wraps: true,
        }
    }
}

impl Settings {
    /// How long a session may be silent before it counts as lost.
    pub fn silence(&self) -> Duration {
        self.interim.saturating_mul(self.silent_after.max(1))
    }
}

/// A span in the unit of [`homeward_model::UnixTime`].
pub(crate) fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}
