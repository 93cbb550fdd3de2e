//! `[home]`: the device's own tunnel home.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use homeward_channel::ChannelConfig;
use homeward_coverage::{Settings, Terms};
use homeward_daemon::config::Invalid;
use homeward_daemon::{Period, Rate, Size};
use homeward_model::{Rssi, Ssid};
use homeward_multipath::{PathSettings, Standing};
use homeward_supplicant::InterfaceName;
use serde::{Deserialize, Serialize};

/// The device's own tunnel to its home gateway, by Wi-Fi and by cellular: one address of the home
/// LAN, wherever the device is.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Home {
    /// The operator's control channel, first choice first: `HOST:PORT` each.
    pub core: Vec<String>,
    /// Where the credential for it is kept.
    #[serde(default = "directory")]
    pub directory: PathBuf,
    /// A file with an enrolment token, for a device that has no credential yet.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// The name of the home network, as the supplicant has it: while the station is on it, at home
    /// or at a foreign gateway, the tunnel goes by Wi-Fi.
    #[serde(default)]
    pub ssid: Option<Ssid>,
    /// The interface that has the address of the home LAN, whatever way leads there.
    #[serde(default = "interface")]
    pub interface: String,
    /// Where the tunnel's datagrams arrive.
    #[serde(default = "listen")]
    pub listen: Vec<SocketAddr>,
    /// The DiffServ code point of what the tunnel sends.
    #[serde(default)]
    pub dscp: u8,
    /// After how long a silence something is sent that keeps a NAT's mapping open.
    #[serde(default = "keepalive")]
    pub keepalive: Period,
    /// How often the core is asked how the Internet sees each access, where it answers that.
    #[serde(default = "stun_interval")]
    pub stun_interval: Period,
    /// How both ways are used until `homeward device bond` says otherwise.
    #[serde(default)]
    pub bond: Bond,
    /// When the tunnel by cellular is held.
    #[serde(default)]
    pub hold: Hold,
    /// What cellular may be used for.
    #[serde(default)]
    pub cellular: Metered,
    /// Leaving coverage and entering it, foreseen.
    #[serde(default)]
    pub coverage: Coverage,
}

/// Leaving Wi-Fi coverage and entering it, foreseen by all signals in range and by the position.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Coverage {
    /// Whether the tunnel goes by what is foreseen; false: by cellular when Wi-Fi has gone.
    pub enabled: bool,
    /// How often is listened for the home network.
    pub scan: Period,
    /// The same where Wi-Fi's edge may be near, or is behind.
    pub scan_near: Period,
    /// The signal below which Wi-Fi is left, in dBm, where the class of service names none.
    pub threshold: i8,
    /// How far above that a gateway must be to be gone back to, in dB.
    pub hysteresis: u8,
    /// How long it must have been above.
    pub dwell: Period,
    /// How far ahead is looked: the time that a tunnel by cellular takes, and as much again.
    pub ahead: Period,
    /// Where gpsd says where the device is, `HOST:PORT`; none: it is not known.
    pub gpsd: Option<String>,
    /// How much of the operator's map of gateways is fetched.
    pub map: Extent,
}

/// How much of the operator's map of gateways a device fetches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Extent {
    /// All of it: the operator learns nothing of where the device is.
    #[default]
    Whole,
    /// The region that the device is in, 100 to 156 km wide, and the eight around it.
    Region,
    /// None.
    Off,
}

impl Default for Coverage {
    fn default() -> Self {
        let (terms, settings) = (Terms::default(), Settings::default());
        Self {
            enabled: true,
            scan: Period(Duration::from_secs(10)),
            scan_near: Period(Duration::from_secs(3)),
            threshold: terms.threshold.0,
            hysteresis: terms.hysteresis_db,
            dwell: Period(terms.dwell),
            ahead: Period(settings.ahead),
            gpsd: None,
            map: Extent::default(),
        }
    }
}

impl Coverage {
    /// What is decided by where the class of service decides nothing.
    pub(crate) const fn terms(&self) -> Terms {
        Terms {
            threshold: Rssi(self.threshold),
            hysteresis_db: self.hysteresis,
            dwell: self.dwell.0,
        }
    }

    fn check(&self) -> Result<(), Invalid> {
        let scans = Duration::from_secs(1)..=Duration::from_secs(20);
        for (key, scan) in [("scan", &self.scan), ("scan_near", &self.scan_near)] {
            if !scans.contains(&scan.0) {
                return Err(Invalid::new(format!("home.coverage.{key}"), "give 1s to 20s"));
            }
        }
        if !(-95..=-30).contains(&self.threshold) {
            return Err(Invalid::new("home.coverage.threshold", "is in dBm: give -95 to -30"));
        }
        if !(3..=30).contains(&self.hysteresis) {
            return Err(Invalid::new("home.coverage.hysteresis", "is in dB: give 3 to 30"));
        }
        if self.dwell.0 > Duration::from_secs(60) {
            return Err(Invalid::new("home.coverage.dwell", "give 60s at most"));
        }
        let aheads = Duration::from_secs(1)..=Duration::from_secs(60);
        if !aheads.contains(&self.ahead.0) {
            return Err(Invalid::new("home.coverage.ahead", "give 1s to 60s"));
        }
        Ok(())
    }
}

/// How both ways home are used, as far as the class of service allows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bond {
    /// One at a time.
    #[default]
    Off,
    /// Everything by both.
    Mirrored,
    /// Each packet by whichever it arrives by first.
    Striped,
    /// What is small and urgent by both, the rest striped.
    Auto,
}

/// When the tunnel by cellular is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hold {
    /// Always: it is there before it is needed.
    #[default]
    Always,
    /// While coverage may end soon, or is not known: see [`Coverage`].
    Predicted,
    /// While traffic goes by cellular only: a move begins with making it.
    Needed,
}

/// What an access that costs may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Metered {
    /// The most that is sent on it.
    pub rate: Option<Rate>,
    /// Octets that may be sent on it until the daemon starts anew or the file is read again.
    pub quota: Option<Size>,
    /// Used only while the other does not work, whatever `bond` says.
    pub reserve: bool,
}

impl Home {
    /// What the control channel is told.
    pub(crate) fn channel(&self) -> ChannelConfig {
        ChannelConfig {
            core: self.core.clone(),
            directory: self.directory.clone(),
            token_file: self.token_file.clone(),
            ..ChannelConfig::default()
        }
    }

    pub(super) fn check(&self) -> Result<(), Invalid> {
        if self.core.is_empty() {
            return Err(Invalid::new(
                "home.core",
                "name the operator's control channel: HOST:PORT",
            ));
        }
        if let Err(error) = self.interface.parse::<InterfaceName>() {
            return Err(Invalid::new("home.interface", error.to_string()));
        }
        if self.listen.is_empty() {
            return Err(Invalid::new("home.listen", "give an address, such as \"[::]:1701\""));
        }
        if self.dscp > 63 {
            return Err(Invalid::new("home.dscp", "is 0 to 63"));
        }
        if self.keepalive.0 < Duration::from_secs(1) {
            return Err(Invalid::new("home.keepalive", "give at least 1s"));
        }
        if self.stun_interval.0 < Duration::from_secs(1) {
            return Err(Invalid::new("home.stun_interval", "use at least 1s"));
        }
        if self.hold == Hold::Predicted && !self.coverage.enabled {
            let what = "is \"predicted\", but home.coverage.enabled is false: nothing is foreseen";
            return Err(Invalid::new("home.hold", what));
        }
        self.coverage.check()
    }
}

impl Metered {
    /// The same for the bond.
    pub(crate) fn path(&self) -> PathSettings {
        PathSettings {
            standing: if self.reserve { Standing::Reserve } else { Standing::Full },
            rate: self.rate.map(|rate| rate.0),
            quota: self.quota.map(|size| size.0),
        }
    }
}

fn directory() -> PathBuf {
    "/var/lib/homeward/device/home".into()
}

fn interface() -> String {
    "home0".to_owned()
}

fn listen() -> Vec<SocketAddr> {
    vec![SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, homeward_dataplane::config::PORT))]
}

const fn stun_interval() -> Period {
    Period(Duration::from_secs(30))
}

const fn keepalive() -> Period {
    Period(Duration::from_secs(20))
}
