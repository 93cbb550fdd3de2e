//! What a ledger has done.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// What a ledger has done since it was opened.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[$doc])* pub $name: Counter,)+
        }

        impl Counters {
            /// Every counter with its name, in order, for metrics.
            pub fn all(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.get()),)+]
            }
        }
    };
}

counters! {
    /// Entries with a receipt.
    durable,
    /// Of those, records that the ledger had already.
    repeated,
    /// Of those, records that began a session.
    began,
    /// Sessions closed by their Stop.
    stopped,
    /// Sessions closed because their NAS restarted.
    restarted,
    /// Sessions closed because their NAS fell silent.
    lost,
    /// Sessions closed because their identifier was used anew.
    reused,
    /// Corrections of a session that had ended.
    corrected,
    /// Records with a counter lower than before.
    backwards,
    /// Transactions that were committed.
    commits,
    /// Entries refused because too many were waiting.
    refused,
    /// Transactions that failed for another process's lock.
    failed_locked,
    /// Transactions that failed for a full file system.
    failed_full,
    /// Transactions that failed for a failing disk.
    failed_io,
    /// Transactions that failed because the file was removed or replaced.
    failed_gone,
    /// Transactions that failed for another reason.
    failed_database,
    /// Entries in transactions that failed.
    unacknowledged,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// What it is at.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }
}
