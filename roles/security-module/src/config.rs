//! The security module's configuration file.

use std::path::{Path, PathBuf};
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
    /// The ePDG of this network, if it has one that is to demand the key of the network before.
    pub epdg: Option<EpdgConfig>,
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
    /// The ePDG of this network, if it has one that is to demand the key of the network before.
    pub epdg: Option<EpdgConfig>,
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
            .and_then(|()| self.epdg.as_ref().map_or(Ok(()), EpdgConfig::check))
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

/// The network's ePDG: strongSwan's charon, told by its VICI socket.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpdgConfig {
    /// That socket: `charon.plugins.vici.socket` of `strongswan.conf`, without `unix://`.
    pub vici: PathBuf,
    /// How long charon has for a command.
    #[serde(default = "epdg_timeout")]
    pub timeout: Period,
    /// Whether a device is turned away, to come again, whose key charon does not take. Without, it is let
    /// in, and has no tunnel until charon does.
    #[serde(default = "yes")]
    pub required: bool,
    /// How often charon is asked whether it still knows what it was told.
    #[serde(default = "epdg_check")]
    pub check: Period,
}

const fn epdg_timeout() -> Period {
    Period(Duration::from_secs(2))
}

const fn epdg_check() -> Period {
    Period(Duration::from_secs(5))
}

const fn yes() -> bool {
    true
}

impl EpdgConfig {
    fn check(&self) -> Result<(), Invalid> {
        if !self.vici.is_absolute() {
            return Err(Invalid::new("epdg.vici", "give the whole path, such as /run/charon.vici"));
        }
        if !(100..=60_000).contains(&self.timeout.0.as_millis()) {
            return Err(Invalid::new("epdg.timeout", "give 100ms to 60s"));
        }
        if !(100..=3_600_000).contains(&self.check.0.as_millis()) {
            return Err(Invalid::new("epdg.check", "give 100ms to 1h"));
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
        self.epdg.as_ref().map_or(Ok(()), EpdgConfig::check)
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

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = "[handoff]\nname = \"n1.example\"\nkey_file = \"/k\"\nstate = \"/s\"\n\
                         state_key_file = \"/sk\"\n";

    fn read(epdg: &str) -> Result<Config, String> {
        let text = format!("{PLAIN}{epdg}");
        config::parse("module.toml".as_ref(), &text, Config::check).map_err(|e| e.to_string())
    }

    #[test]
    fn an_epdg_is_told_by_its_socket_alone_and_there_is_none_by_default() {
        assert!(read("").unwrap().epdg.is_none());
        let epdg = read("[epdg]\nvici = \"/run/charon.vici\"\n").unwrap().epdg.unwrap();
        assert!(epdg.required && epdg.timeout.0.as_secs() == 2 && epdg.check.0.as_secs() == 5);
    }

    #[test]
    fn what_is_wrong_with_it_is_named() {
        for (text, says) in [
            ("vici = \"charon.vici\"", "epdg.vici: give the whole path"),
            ("vici = \"/v\"\ntimeout = \"1ms\"", "epdg.timeout: give 100ms to 60s"),
            ("vici = \"/v\"\ncheck = \"2h\"", "epdg.check: give 100ms to 1h"),
            ("vici = \"/v\"\nowner = \"all\"", "owner"),
            ("required = true", "vici"),
        ] {
            let said = read(&format!("[epdg]\n{text}\n")).unwrap_err();
            assert!(said.contains(says), "{says}: {said}");
        }
        let part: Embedded = toml_of(&format!("{PLAIN}[epdg]\nvici = \"v\"\n"));
        assert!(part.check().unwrap_err().to_string().contains("security_module.epdg.vici"));
    }

    fn toml_of(text: &str) -> Embedded {
        config::parse("core.toml".as_ref(), text, |_| Ok(())).unwrap()
    }
}
