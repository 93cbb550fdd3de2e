//! The core's configuration file.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use homeward_daemon::config::{self, ConfigError, Invalid};
use homeward_daemon::log::LogConfig;
use homeward_daemon::{Period, control};
use serde::Deserialize;

/// `/etc/homeward/core.toml`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The roaming datastore.
    pub store: Store,
    /// The RADIUS server.
    pub aaa: Aaa,
    /// The status socket.
    pub control: Control,
    /// Metrics over HTTP.
    pub metrics: Metrics,
    /// Logs.
    pub log: LogConfig,
}

/// The roaming datastore.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    /// The SQLite database.
    pub path: PathBuf,
    /// The key ring that opens the keys in it.
    pub key_file: PathBuf,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            path: "/var/lib/homeward/core.db".into(),
            key_file: "/etc/homeward/core.keys".into(),
        }
    }
}

/// The RADIUS server. Its clients are the gateways of the datastore.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Aaa {
    /// Where look-ups arrive.
    pub listen: Vec<SocketAddr>,
    /// Threads; 0 is one a core.
    pub workers: usize,
    /// How long an answer is repeated to a repeated question (RFC 5080 2.2.2).
    pub duplicate_window: Period,
    /// How many answers a worker keeps for that.
    pub duplicates: usize,
    /// Whether requests must carry a Message-Authenticator.
    pub require_message_authenticator: bool,
    /// The port of gateways for Disconnect-Requests (RFC 5176).
    pub disconnect_port: u16,
    /// How many grants a worker remembers, to revoke them.
    pub grants: usize,
    /// For how long, counted from when each was last given.
    pub grant_memory: Period,
    /// How old outbox entries become before they are pruned.
    pub outbox_retention: Period,
}

impl Default for Aaa {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1812)],
            workers: 0,
            duplicate_window: Period(Duration::from_secs(5)),
            duplicates: 65_536,
            require_message_authenticator: true,
            disconnect_port: 3799,
            grants: 262_144,
            grant_memory: Period(Duration::from_secs(24 * 3600)),
            outbox_retention: Period(Duration::from_secs(7 * 24 * 3600)),
        }
    }
}

/// The status socket.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Control {
    /// Its path.
    pub socket: PathBuf,
}

impl Default for Control {
    fn default() -> Self {
        Self { socket: control::default_path("core") }
    }
}

/// Metrics over HTTP.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Metrics {
    /// Where; unset: through the status socket only.
    pub listen: Option<SocketAddr>,
}

impl Config {
    /// Reads and checks the file.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], naming file, line, column and key.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        config::load_with(path, Self::check)
    }

    /// Checks what the types cannot say.
    ///
    /// # Errors
    ///
    /// The first value that is not allowed.
    pub fn check(&self) -> Result<(), Invalid> {
        if self.aaa.listen.is_empty() {
            return Err(Invalid::new(
                "aaa.listen",
                "name at least one address, such as \"127.0.0.1:1812\"",
            ));
        }
        if self.aaa.workers > 256 {
            return Err(Invalid::new("aaa.workers", "use at most 256; 0 is one a core"));
        }
        if self.aaa.grants < 16 {
            return Err(Invalid::new("aaa.grants", "use at least 16"));
        }
        Ok(())
    }
}
