//! How a ledger behaves.

use std::time::Duration;

/// How a [`Ledger`](crate::Ledger) behaves. [`Settings::default`] is fit for use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// The times and limits of accounting.
    pub accounting: homeward_accounting::Settings,
    /// The most entries that wait to be written; what is more is refused. 16,384 unless set. An
    /// entry has some 500 octets.
    pub queue: usize,
    /// The most entries that share a transaction. 1,024 unless set. Fewer do where fewer wait:
    /// nothing is held back for company.
    pub batch: usize,
    /// The most sessions kept in memory, so that their next record need not read them. 65,536
    /// unless set, at some 700 octets each.
    pub sessions: usize,
    /// How long to wait for another process's lock before [`WriteError::Locked`]. 5 s unless set.
    ///
    /// [`WriteError::Locked`]: crate::WriteError::Locked
    pub busy_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            accounting: homeward_accounting::Settings::default(),
            queue: 16_384,
            batch: 1024,
            sessions: 65_536,
            busy_timeout: Duration::from_secs(5),
        }
    }
}
