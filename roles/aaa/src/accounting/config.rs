//! `[aaa.accounting]`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use homeward_daemon::{Invalid, Period};
use homeward_ledger::Settings;
use serde::Deserialize;

/// `[aaa.accounting]`: what becomes of the records of NASes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AccountingConfig {
    /// Where records arrive. Unset: one port above each of `aaa.listen`, which is 1813 above
    /// 1812. Empty: nowhere.
    pub listen: Option<Vec<SocketAddr>>,
    /// The ledger. Unset: `ledger.db` beside the datastore.
    pub ledger: Option<PathBuf>,
    /// How many records may wait to be written; more are not answered.
    pub queue: usize,
    /// After how many intervals (`aaa.interim`) without a word a session is closed.
    pub silent_after: u32,
    /// For how long sessions are kept after their end, where their class of service does not say.
    pub keep_sessions: Period,
    /// The same, where they are of nobody known.
    pub keep_unknown: Period,
    /// For how long usage by day is kept.
    pub keep_usage: Period,
    /// Where exports for billing keep their cursors (`homeward admin usage export --cursor-file`).
    /// What not all of them have taken is kept, however old. Empty: age alone counts.
    pub exports: Vec<PathBuf>,
}

impl Default for AccountingConfig {
    fn default() -> Self {
        let days = |days: u64| Period(Duration::from_secs(days * 86_400));
        Self {
            listen: None,
            ledger: None,
            queue: Settings::default().queue,
            silent_after: 3,
            keep_sessions: days(400),
            keep_unknown: days(90),
            keep_usage: days(800),
            exports: Vec::new(),
        }
    }
}

impl AccountingConfig {
    /// Checks what the types cannot say.
    ///
    /// # Errors
    ///
    /// The first value that is not allowed.
    pub fn check(&self) -> Result<(), Invalid> {
        if self.queue < 16 {
            return Err(Invalid::new("aaa.accounting.queue", "use at least 16"));
        }
        if !(2..=100).contains(&self.silent_after) {
            return Err(Invalid::new("aaa.accounting.silent_after", "use 2 to 100 intervals"));
        }
        // Quotas are counted from it.
        if self.keep_usage.0 < Duration::from_secs(32 * 86_400) {
            return Err(Invalid::new("aaa.accounting.keep_usage", "use at least 32d"));
        }
        let day = Duration::from_secs(86_400);
        let named = [("keep_sessions", self.keep_sessions), ("keep_unknown", self.keep_unknown)];
        if let Some((key, _)) = named.iter().find(|(_, keep)| keep.0 < day) {
            return Err(Invalid::new(format!("aaa.accounting.{key}"), "use at least 1d"));
        }
        Ok(())
    }

    /// Where to listen, beside a server that listens at those addresses.
    pub fn listen(&self, aaa: &[SocketAddr]) -> Vec<SocketAddr> {
        let beside = |address: &SocketAddr| {
            let mut beside = *address;
            if address.port() != 0 {
                beside.set_port(address.port().saturating_add(1));
            }
            beside
        };
        self.listen.clone().unwrap_or_else(|| aaa.iter().map(beside).collect())
    }

    /// How the ledger behaves, where a NAS is to report that often.
    pub fn settings(&self, interim: Period) -> Settings {
        let accounting = homeward_accounting::Settings {
            interim: interim.0,
            silent_after: self.silent_after,
            ..homeward_accounting::Settings::default()
        };
        Settings { accounting, queue: self.queue, ..Settings::default() }
    }
}
