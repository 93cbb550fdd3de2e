//! `[home]`: the device's own tunnel home.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use homeward_channel::ChannelConfig;
use homeward_daemon::config::Invalid;
use homeward_daemon::{Period, Rate, Size};
use homeward_model::Ssid;
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
    /// How both ways are used until `homeward device bond` says otherwise.
    #[serde(default)]
    pub bond: Bond,
    /// When the tunnel by cellular is held.
    #[serde(default)]
    pub hold: Hold,
    /// What cellular may be used for.
    #[serde(default)]
    pub cellular: Metered,
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
        Ok(())
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

const fn keepalive() -> Period {
    Period(Duration::from_secs(20))
}
