//! The security module's configuration file.

use std::path::Path;
use std::time::Duration;

use homeward_daemon::Period;
use homeward_daemon::config::{self, ConfigError, Invalid};
use homeward_daemon::log::LogConfig;
use homeward_daemon::process::{ControlConfig, MetricsConfig};
use homeward_handoff::HandoffConfig;
use serde::Deserialize;

/// `/etc/homeward/security-module.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Who this is, where it listens, and whom it deals with.
    pub handoff: HandoffConfig,
    /// What it lets pass.
    #[serde(default)]
    pub policy: Policy,
    /// The status socket.
    #[serde(default)]
    pub control: ControlConfig,
    /// Metrics over HTTP.
    #[serde(default)]
    pub metrics: MetricsConfig,
    /// Logs.
    #[serde(default)]
    pub log: LogConfig,
}

/// A module that is part of another process: `[security_module]` of the core.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Embedded {
    /// Who this is, where it listens, and whom it deals with.
    pub handoff: HandoffConfig,
    /// What it lets pass.
    #[serde(default)]
    pub policy: Policy,
}

impl Embedded {
    /// Checks what its types do not say.
    ///
    /// # Errors
    /// Names the first key that is wrong.
    pub fn check(&self) -> Result<(), Invalid> {
        self.handoff
            .check()
            .and_then(|()| self.policy.check())
            .map_err(|e| e.within("security_module"))
    }
}

/// What a module lets pass, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// For how long a hop is good.
    pub lifetime: Period,
    /// How far clocks may be apart.
    pub skew: Period,
    /// How long a device has for its answer to a challenge.
    pub challenge: Period,
    /// Whether to go on, and say so, where neither the network before nor the server can be
    /// reached. The server and the device have to want it, too.
    pub broken: bool,
    /// Whether the server is asked where the network before does not answer (H4).
    pub ask_server: bool,
    /// After how long it is, while the network before still may.
    pub ask_server_after: Period,
    /// How often one address may fail to be authorised before it has to wait.
    pub attempts: u32,
    /// For how long.
    pub attempts_period: Period,
    /// The most hops that are held; more are refused.
    pub visits: usize,
}

impl Default for Policy {
    fn default() -> Self {
        let seconds = |n| Period(Duration::from_secs(n));
        Self {
            lifetime: seconds(12 * 3600),
            skew: seconds(5),
            challenge: seconds(10),
            broken: false,
            ask_server: true,
            ask_server_after: Period(Duration::from_millis(250)),
            attempts: 20,
            attempts_period: seconds(60),
            visits: 100_000,
        }
    }
}

impl Config {
    /// Reads and checks a configuration file.
    ///
    /// # Errors
    /// Names file, line, column and key.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        config::load_with(path, Self::check)
    }

    /// Checks what its types do not say.
    ///
    /// # Errors
    /// Names the first key that is wrong.
    pub fn check(&self) -> Result<(), Invalid> {
        self.handoff.check()?;
        self.policy.check()
    }
}

impl Policy {
    fn check(&self) -> Result<(), Invalid> {
        let Policy { lifetime, skew, challenge, ask_server_after, .. } = *self;
        let Policy { attempts, attempts_period, visits, .. } = *self;
        let between = |key: &str, period: Period, least: u64, most: u64, say: &str| {
            if (least..=most).contains(&period.0.as_secs()) {
                return Ok(());
            }
            Err(Invalid::new(format!("policy.{key}"), format!("give {say}")))
        };
        between("lifetime", lifetime, 60, 30 * 86_400, "1m to 30d")?;
        if ask_server_after.0 > Duration::from_secs(60) {
            return Err(Invalid::new("policy.ask_server_after", "give 0s to 60s"));
        }
        between("skew", skew, 0, 600, "0s to 10m")?;
        between("challenge", challenge, 1, 60, "1s to 60s")?;
        between("attempts_period", attempts_period, 1, 86_400, "1s to 1d")?;
        for (key, number) in [("attempts", attempts as usize), ("visits", visits)] {
            if number == 0 {
                return Err(Invalid::new(format!("policy.{key}"), "give 1 or more"));
            }
        }
        Ok(())
    }
}
