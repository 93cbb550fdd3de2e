//! The `[portal.bearers]` section of the configuration.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use homeward_bearer::{Settings, Source};
use homeward_daemon::{Invalid, Period, SecretSource};
use homeward_model::{Apn, Name};
use ipnet::IpNet;
use serde::Deserialize;

/// `[portal.bearers]`: which address is whose, as packet gateways account for it (RADIUS, 3GPP TS
/// 29.061 16.4).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where accounting comes to (UDP). Unset: nowhere, and nobody's address is known.
    pub listen: Option<SocketAddr>,
    /// How long a gateway may say nothing of a bearer before it is nobody's: more than twice the
    /// interval between its Interims.
    pub silence: Period,
    /// The most bearers.
    pub most: usize,
    /// Who reports.
    pub gateways: Vec<Gateway>,
}

/// `[[portal.bearers.gateways]]`: a packet gateway.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gateway {
    /// What it is called; unique. When it says that it restarts, all its bearers end.
    pub name: Name,
    /// From which address its accounting comes, or from within which prefix.
    pub address: Peers,
    /// The secret that it shares with us.
    pub secret: SecretSource,
    /// Its access point names that are of interest; all, if there are none.
    #[serde(default)]
    pub apns: Vec<Apn>,
    /// Whether it puts the IMSI in User-Name, where it sends no 3GPP-IMSI. By the standard, what
    /// is there is what the device sent.
    #[serde(default)]
    pub imsi_in_user_name: bool,
}

/// An address, or a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Peers(pub IpNet);

impl TryFrom<String> for Peers {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let net = text.parse::<IpAddr>().map(IpNet::from).or_else(|_| text.parse::<IpNet>());
        net.map(|net| Self(net.trunc()))
            .map_err(|_| format!("{text:?} is no address and no prefix, such as 192.0.2.0/28"))
    }
}

impl Default for Config {
    fn default() -> Self {
        let settings = Settings::default();
        Self {
            listen: None,
            silence: Period(settings.silence),
            most: settings.bearers,
            gateways: Vec::new(),
        }
    }
}

impl Config {
    /// Checks what the types cannot say.
    ///
    /// # Errors
    ///
    /// The first value that is not allowed.
    pub fn check(&self) -> Result<(), Invalid> {
        if self.silence.0 < Duration::from_secs(60) {
            return Err(Invalid::new("portal.bearers.silence", "use at least 60s"));
        }
        if !(1..=1 << 26).contains(&self.most) {
            return Err(Invalid::new("portal.bearers.most", "use 1 to 67108864"));
        }
        if self.listen.is_some() && self.gateways.is_empty() {
            let why = "name who reports: without one, nobody's address is known";
            return Err(Invalid::new("portal.bearers.gateways", why));
        }
        let (mut names, mut nets) = (BTreeSet::new(), BTreeSet::new());
        for (n, gateway) in self.gateways.iter().enumerate() {
            let key = |field: &str| format!("portal.bearers.gateways[{n}].{field}");
            if !names.insert(gateway.name.as_str()) {
                let why = format!("there are two that are called {}", gateway.name);
                return Err(Invalid::new(key("name"), why));
            }
            if !nets.insert(gateway.address.0) {
                let why = format!("there are two at {}", gateway.address.0);
                return Err(Invalid::new(key("address"), why));
            }
        }
        Ok(())
    }

    pub(super) fn settings(&self) -> Settings {
        Settings { silence: self.silence.0, bearers: self.most, ..Settings::default() }
    }
}

impl Gateway {
    pub(super) fn source(&self) -> Source {
        Source {
            gateway: self.name.clone(),
            apns: self.apns.clone(),
            imsi_in_user_name: self.imsi_in_user_name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gateway(name: &str, address: &str) -> Gateway {
        Gateway {
            name: name.parse().unwrap(),
            address: address.to_owned().try_into().unwrap(),
            secret: SecretSource::Env("SECRET".to_owned()),
            apns: Vec::new(),
            imsi_in_user_name: false,
        }
    }

    #[test]
    fn what_is_not_allowed_is_named() {
        Config::default().check().unwrap();
        let on = Config {
            listen: Some("127.0.0.1:1813".parse().unwrap()),
            gateways: vec![gateway("a", "192.0.2.1"), gateway("b", "192.0.2.0/28")],
            ..Config::default()
        };
        on.check().unwrap();
        let wrong = |change: fn(&mut Config)| {
            let mut config = on.clone();
            change(&mut config);
            config.check().unwrap_err().to_string()
        };
        assert!(wrong(|c| c.silence = Period::default()).starts_with("portal.bearers.silence"));
        assert!(wrong(|c| c.most = 0).starts_with("portal.bearers.most"));
        assert!(wrong(|c| c.gateways.clear()).starts_with("portal.bearers.gateways"));
        let twice = wrong(|c| c.gateways[1].name = c.gateways[0].name.clone());
        assert!(twice.starts_with("portal.bearers.gateways[1].name"), "{twice}");
        let twice = wrong(|c| c.gateways[1].address = c.gateways[0].address);
        assert!(twice.starts_with("portal.bearers.gateways[1].address"), "{twice}");
        assert!(Peers::try_from("somewhere".to_owned()).is_err());
    }
}
