//! The guard's configuration file.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use homeward_daemon::Period;
use homeward_daemon::config::{self, ConfigError, Invalid};
use homeward_daemon::log::LogConfig;
use homeward_daemon::process::{ControlConfig, MetricsConfig};
use homeward_handoff::HandoffConfig;
use homeward_keychain::message::MAX_HOPS;
use homeward_keychain::server;
use homeward_model::Name;
use serde::Deserialize;

/// `/etc/homeward/guard.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Who this is, where it listens, and whom it deals with.
    pub handoff: HandoffConfig,
    /// What it lets pass.
    #[serde(default)]
    pub policy: Policy,
    /// Who asks it.
    #[serde(default)]
    pub verify: VerifyConfig,
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

/// What the guard lets pass, and for how long.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Networks in which a chain may begin; unset: in all that are peers. The first network knows
    /// all keys that there are then: best it is the server's own.
    pub first: Option<BTreeSet<Name>>,
    /// Whether chains are admitted, and marked, in which the key of a hop before is missing because
    /// nobody could be reached.
    pub broken: bool,
    /// The most hops of a chain.
    pub hops: u16,
    /// How far clocks may be apart.
    pub skew: Period,
    /// For how long a flow is admitted without another proof.
    pub admitted: Period,
    /// How long a device has for its proof.
    pub proof: Period,
    /// The most sessions that are followed; more are refused.
    pub sessions: usize,
    /// The most flows of one session.
    pub flows: usize,
}

impl Default for Policy {
    fn default() -> Self {
        let seconds = |n| Period(Duration::from_secs(n));
        Self {
            first: None,
            broken: false,
            hops: MAX_HOPS,
            skew: seconds(5),
            admitted: seconds(3600),
            proof: seconds(10),
            sessions: 100_000,
            flows: 16,
        }
    }
}

/// `[verify]`: who asks whether a flow is admitted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VerifyConfig {
    /// Where: for programs of this machine or of one network, in the clear.
    pub listen: Vec<SocketAddr>,
}

impl Policy {
    /// As the chain is told.
    pub fn chain(&self) -> server::Policy {
        let Self { first, broken, hops, skew, .. } = self;
        server::Policy { skew: skew.0, broken: *broken, hops: *hops, first: first.clone() }
    }

    fn check(&self) -> Result<(), Invalid> {
        let wrong = |key: &str, say: String| Err(Invalid::new(format!("policy.{key}"), say));
        if !(1..=MAX_HOPS).contains(&self.hops) {
            return wrong("hops", format!("give 1 to {MAX_HOPS}"));
        }
        if self.first.as_ref().is_some_and(BTreeSet::is_empty) {
            return wrong("first", "is empty: no chain could begin. Leave it out for all".into());
        }
        for (key, number) in [("sessions", self.sessions), ("flows", self.flows)] {
            if number == 0 {
                return wrong(key, "give 1 or more".into());
            }
        }
        for (key, period, least, most, say) in [
            ("skew", self.skew, 0, 600, "0s to 10m"),
            ("admitted", self.admitted, 10, 86_400, "10s to 1d"),
            ("proof", self.proof, 1, 60, "1s to 60s"),
        ] {
            if !(least..=most).contains(&period.0.as_secs()) {
                return wrong(key, format!("give {say}"));
            }
        }
        Ok(())
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
        self.policy.check()?;
        let known = |name: &Name| {
            *name == self.handoff.name || self.handoff.peers.iter().any(|peer| peer.name == *name)
        };
        let unknown = self.policy.first.iter().flatten().find(|name| !known(name));
        match unknown {
            Some(name) => Err(Invalid::new(
                "policy.first",
                format!("{name} is no peer: no chain begins there"),
            )),
            None => Ok(()),
        }
    }
}
