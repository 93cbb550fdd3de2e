//! The device's configuration file.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use homeward_daemon::config::{self, ConfigError, Invalid};
use homeward_daemon::log::LogConfig;
use homeward_daemon::process::MetricsConfig;
use homeward_daemon::{Period, control};
use homeward_model::{Imei, Imsi, Ssid};
use homeward_supplicant::{Choice, InterfaceName, Place, Settings, manager};
use serde::Deserialize;

use crate::dial::Target;

mod handoff;
mod home;
mod limits;
mod sms;
mod tunnel;

pub use handoff::{Handoff, Network, Server};
pub use home::{Bond, Coverage, Extent, Hold, Home, Metered};
pub use limits::Limits;
pub use sms::Sms;
pub use tunnel::Tunnel;

/// `/etc/homeward/device.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The operator's portal.
    pub portal: Portal,
    /// Wi-Fi, and the supplicant that runs it.
    #[serde(default)]
    pub wlan: Wlan,
    /// The modem.
    #[serde(default)]
    pub modem: Modem,
    /// How it is seen whether Wi-Fi leads to the Internet.
    pub check: Check,
    /// Who sends new connections by Wi-Fi or by cellular.
    #[serde(default)]
    pub steer: Steer,
    /// What is kept.
    #[serde(default)]
    pub state: State,
    /// Limits and times of the offload.
    #[serde(default)]
    pub limits: Limits,
    /// Who is told.
    #[serde(default)]
    pub notify: Notify,
    /// Hand-off keys, where the operator has them.
    #[serde(default)]
    pub handoff: Option<Handoff>,
    /// The device's own tunnel to its home gateway, where the operator has that.
    #[serde(default)]
    pub home: Option<Home>,
    /// The status socket.
    #[serde(default)]
    pub control: Control,
    /// Metrics over HTTP.
    #[serde(default)]
    pub metrics: MetricsConfig,
    /// Logs.
    #[serde(default)]
    pub log: LogConfig,
}

/// The operator's portal.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Portal {
    /// Where credentials are asked for: `https://portal.example.net/offload/v1/credentials`.
    pub url: String,
    /// Its addresses, where its name is not to be looked up: names are looked up by whichever
    /// line the machine prefers, and the operator's may be known by cellular only.
    #[serde(default)]
    pub addresses: Vec<SocketAddr>,
    /// The authorities that its certificate must be of, in PEM.
    #[serde(default = "authorities")]
    pub ca: PathBuf,
    /// How long one request may take.
    #[serde(default = "portal_timeout")]
    pub timeout: Period,
    /// Asking it by short message where it cannot be reached.
    #[serde(default)]
    pub sms: Sms,
}

/// Wi-Fi, and the supplicant that runs it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Wlan {
    /// The station's interface. It is this daemon's: networks that others have the supplicant
    /// join there are left.
    pub interface: String,
    /// Who runs the station.
    pub by: Choice,
    /// Where wpa_supplicant has its control sockets (`ctrl_interface`), where it is not
    /// NetworkManager's.
    pub supplicant: PathBuf,
    /// The bus that NetworkManager is on, if it is not the system's.
    pub bus: Option<String>,
    /// The metric of the routes that NetworkManager makes for the operator's networks: above those
    /// of others, so that they win before they were looked at.
    pub metric: u32,
    /// A directory for sockets and certificates of ours. On a tmpfs.
    pub run_directory: PathBuf,
    /// The authorities that servers' certificates must be of where the operator's policy names
    /// none, in PEM.
    pub ca: PathBuf,
}

impl Default for Wlan {
    fn default() -> Self {
        Self {
            interface: "wlan0".to_owned(),
            by: Choice::Auto,
            supplicant: "/run/wpa_supplicant".into(),
            bus: None,
            metric: 32_000,
            run_directory: "/run/homeward/device".into(),
            ca: authorities(),
        }
    }
}

impl Wlan {
    /// Where the station is to be found, which `home` is left to.
    ///
    /// # Errors
    ///
    /// The interface's name is none.
    pub(crate) fn place(&self, home: Option<Ssid>, patience: Duration) -> anyhow::Result<Place> {
        let interface: InterfaceName = self.interface.parse()?;
        let socket = self.supplicant.join(&self.interface);
        Ok(Place {
            choice: self.by,
            control: Settings { socket, run_dir: self.run_directory.clone(), patience, keep: home },
            manager: manager::Settings {
                bus: self.bus.clone(),
                interface,
                run_dir: self.run_directory.clone(),
                metric: self.metric,
                patience,
            },
        })
    }
}

/// The modem: ModemManager's, or one of which nobody knows more than is written here.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Modem {
    /// Who the SIM is, where there is no ModemManager.
    pub imsi: Option<Imsi>,
    /// Which equipment it is: with `imsi`, what is said of it; without, which of ModemManager's
    /// modems is meant.
    pub imei: Option<Imei>,
    /// The interface that the bearer is on: needed with `imsi`, and where ModemManager knows a
    /// serial port only.
    pub interface: Option<String>,
    /// The bus that ModemManager is on, if it is not the system's.
    pub bus: Option<String>,
}

/// How it is seen whether Wi-Fi leads to the Internet.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// A page that answers 204 and nothing else: `http://check.example.net/generate_204`. Plain
    /// HTTP, so that a captive portal shows.
    pub url: String,
    /// Its addresses, where its name is not to be looked up.
    #[serde(default)]
    pub addresses: Vec<SocketAddr>,
}

/// Who sends new connections by Wi-Fi or by cellular.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Steer {
    /// Whether this daemon does, by routing rules; false: somebody else does, by the hook.
    pub enabled: bool,
    /// The rules' first priority; four are used.
    pub priority: u32,
    /// The first of three routing tables.
    pub table: u32,
}

impl Default for Steer {
    fn default() -> Self {
        Self { enabled: true, priority: 20_000, table: 20_000 }
    }
}

/// What is kept.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct State {
    /// Where credentials are, sealed, and what the user has switched.
    pub directory: PathBuf,
    /// The key that seals them; made when it is not there.
    pub key_file: PathBuf,
}

impl Default for State {
    fn default() -> Self {
        Self {
            directory: "/var/lib/homeward/device".into(),
            key_file: "/var/lib/homeward/device/device.keys".into(),
        }
    }
}

/// Who is told what happens.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Notify {
    /// A program and its arguments; what happened is in its environment, as `HOMEWARD_NOTICE`
    /// and others.
    pub command: Vec<String>,
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
        Self { socket: control::default_path("device") }
    }
}

fn authorities() -> PathBuf {
    "/etc/ssl/certs/ca-certificates.crt".into()
}

const fn portal_timeout() -> Period {
    Period(Duration::from_secs(15))
}

impl Config {
    /// Reads and checks a configuration file.
    ///
    /// # Errors
    ///
    /// Names file, line, column and key.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        config::load_with(path, Self::check)
    }

    /// Checks what its types do not say.
    ///
    /// # Errors
    ///
    /// Names the first key that is wrong.
    pub fn check(&self) -> Result<(), Invalid> {
        let interface = |key: &str, name: &str| {
            name.parse::<InterfaceName>().map(drop).map_err(|e| Invalid::new(key, e.to_string()))
        };
        interface("wlan.interface", &self.wlan.interface)?;
        if self.wlan.by == Choice::WpaSupplicant && self.wlan.bus.is_some() {
            let message = "names a NetworkManager, but wlan.by says wpa-supplicant: give one";
            return Err(Invalid::new("wlan.bus", message));
        }
        if let Some(name) = &self.modem.interface {
            interface("modem.interface", name)?;
            if *name == self.wlan.interface {
                return Err(Invalid::new("modem.interface", "is Wi-Fi's, too: give cellular's"));
            }
        } else if self.modem.imsi.is_some() {
            let message = "is needed with modem.imsi: on which interface is the bearer?";
            return Err(Invalid::new("modem.interface", message));
        }
        if self.modem.imsi.is_some() && self.modem.bus.is_some() {
            let message = "names a ModemManager, but modem.imsi says that there is none: give one";
            return Err(Invalid::new("modem.bus", message));
        }
        self.portal.target().map_err(|what| Invalid::new("portal.url", what))?;
        self.portal.sms.check(&self.modem)?;
        self.check.target().map_err(|what| Invalid::new("check.url", what))?;
        if !(1..=60).contains(&self.portal.timeout.0.as_secs()) {
            return Err(Invalid::new("portal.timeout", "give 1s to 60s"));
        }
        // 0 and what comes from 32,766 on are the kernel's own rules.
        if !(1..=32_000).contains(&self.steer.priority) {
            return Err(Invalid::new("steer.priority", "give 1 to 32000"));
        }
        // The tables 253 to 255 are the kernel's own.
        if !(256..=u32::MAX - 2).contains(&self.steer.table) {
            return Err(Invalid::new("steer.table", "give 256 or more"));
        }
        self.limits.check()?;
        self.handoff.as_ref().map_or(Ok(()), Handoff::check)?;
        self.home.as_ref().map_or(Ok(()), Home::check)?;
        if let Some(program) = self.notify.command.first()
            && !Path::new(program).is_absolute()
        {
            return Err(Invalid::new("notify.command", "give the program's absolute path"));
        }
        Ok(())
    }
}

impl Portal {
    /// Whom to ask for what.
    ///
    /// # Errors
    ///
    /// The URL is none that can be asked.
    pub(crate) fn target(&self) -> Result<Target, String> {
        Target::parse(&self.url, "https", 443, &self.addresses)
    }
}

impl Check {
    /// Whom to ask for what.
    ///
    /// # Errors
    ///
    /// The URL is none that can be asked.
    pub(crate) fn target(&self) -> Result<Target, String> {
        Target::parse(&self.url, "http", 80, &self.addresses)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = r#"
[portal]
url = "https://portal.example.net/offload/v1/credentials"
[check]
url = "http://check.example.net/generate_204"
"#;

    fn fault(text: &str) -> Option<String> {
        let text = format!("{PLAIN}{text}");
        let parsed = config::parse("device.toml".as_ref(), &text, Config::check);
        parsed.err().map(|error| error.to_string())
    }

    #[test]
    fn a_portal_and_a_page_to_check_by_are_enough() {
        assert_eq!(fault(""), None);
        let modem = "[modem]\nimsi = \"999700123456789\"\ninterface = \"wwan0\"\n";
        assert_eq!(fault(modem), None);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, key) in [
            ("[wlan]\ninterface = \"a b\"\n", "wlan.interface"),
            ("[wlan]\nby = \"iwd\"\n", "wlan.by"),
            ("[wlan]\nby = \"wpa-supplicant\"\nbus = \"unix:path=/run/bus\"\n", "wlan.bus"),
            ("[modem]\nimsi = \"999700123456789\"\n", "modem.interface"),
            ("[modem]\nimsi = \"99\"\n", "modem.imsi"),
            ("[modem]\ninterface = \"wlan0\"\n", "modem.interface"),
            ("[steer]\ntable = 254\n", "steer.table"),
            ("[steer]\npriority = 0\n", "steer.priority"),
            ("[limits]\nverify = \"10ms\"\n", "limits.verify"),
            ("[limits]\npatience = \"1s\"\n", "limits.patience"),
            ("[notify]\ncommand = [\"notify-send\"]\n", "notify.command"),
            ("[notify]\nprogram = \"x\"\n", "notify.program"),
        ] {
            let said = fault(text).unwrap_or_default();
            assert!(said.contains(key), "{key}: {said}");
        }
        for url in ["", "http://portal.example.net/", "https://", "https://a b/", "https://a:0x/"] {
            let text = PLAIN.replace("https://portal.example.net/offload/v1/credentials", url);
            let parsed = config::parse("device.toml".as_ref(), &text, Config::check);
            let said = parsed.unwrap_err().to_string();
            assert!(said.contains("portal.url"), "{url}: {said}");
        }
    }
}
