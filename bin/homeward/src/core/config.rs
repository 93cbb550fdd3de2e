//! The core's configuration file: a section for each of its roles, and what they share.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use homeward_daemon::config::{self, ConfigError, Invalid};
use homeward_daemon::log::LogConfig;
use homeward_daemon::process::{ControlConfig, MetricsConfig};
use homeward_daemon::{Exit, ExitContext, SystemClock, SystemEntropy};
use homeward_seal::KeyRing;
use homeward_store::{SqliteOptions, SqliteStore};
use serde::Deserialize;

/// `/etc/homeward/core.toml`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// The roaming datastore.
    pub(crate) store: StoreConfig,
    /// The RADIUS server.
    pub(crate) aaa: homeward_aaa::Config,
    /// The control channel.
    pub(crate) controller: homeward_controller::Config,
    /// The credential portal.
    pub(crate) portal: homeward_portal::Config,
    /// The network's security module, where it has one.
    pub(crate) security_module: Option<homeward_security_module::Embedded>,
    /// The status socket.
    pub(crate) control: ControlConfig,
    /// Metrics over HTTP.
    pub(crate) metrics: MetricsConfig,
    /// Logs.
    pub(crate) log: LogConfig,
}

/// The roaming datastore.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct StoreConfig {
    /// The SQLite database.
    pub(crate) path: PathBuf,
    /// The key ring that opens the keys in it.
    pub(crate) key_file: PathBuf,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            path: "/var/lib/homeward/core.db".into(),
            key_file: "/etc/homeward/core.keys".into(),
        }
    }
}

impl Config {
    /// The ledger beside the datastore, unless it is named.
    pub(crate) const LEDGER: &str = "ledger.db";

    /// Reads and checks the file.
    pub(crate) fn load(path: &Path) -> Result<Self, ConfigError> {
        config::load_with(path, Self::check)
    }

    fn check(&self) -> Result<(), Invalid> {
        self.aaa.check()?;
        self.controller.check()?;
        self.portal.check()?;
        self.security_module.as_ref().map_or(Ok(()), |module| module.check())?;
        match &self.portal.handoff {
            Some(handoff) => super::enrolling::check(handoff, self.security_module.as_ref()),
            None => Ok(()),
        }
    }

    /// Where the status socket is.
    pub(crate) fn socket(&self) -> PathBuf {
        self.control.path("core")
    }

    /// The key ring.
    pub(crate) fn keys(&self) -> anyhow::Result<KeyRing> {
        KeyRing::load(&self.store.key_file).exit(Exit::Config)
    }

    /// The accounting ledger.
    pub(crate) fn ledger(&self) -> PathBuf {
        let named = self.aaa.accounting.ledger.clone();
        named.unwrap_or_else(|| self.store.path.with_file_name(Self::LEDGER))
    }

    /// Opens the database; it must be there.
    pub(crate) async fn open_store(&self) -> anyhow::Result<SqliteStore> {
        let ring = self.keys()?;
        let options = SqliteOptions::new(&self.store.path).create(false);
        let store = options.open(ring, Arc::new(SystemClock), Box::new(SystemEntropy::new())).await;
        store.exit(Exit::Config)
    }
}
