//! The `[portal]` section of the core's configuration.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use homeward_daemon::{Invalid, Period, Size};
use homeward_model::{Apn, Name};
use homeward_offload::issuing::Realm;
use ipnet::IpNet;
use serde::Deserialize;

use crate::{acme, bearers, handoff, sms, upkeep};
use homeward_http::{Files, Limits};

/// `[portal]`: where devices get their Wi-Fi credentials, over the cellular network.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where devices come to (TCP, TLS). Empty: no portal.
    pub listen: Vec<SocketAddr>,
    /// The access point name whose devices come to that address, where APNs use the same addresses.
    pub apn: BTreeMap<SocketAddr, Apn>,
    /// The server's certificate and its issuers, in PEM.
    pub certificate: Option<PathBuf>,
    /// Its key, in PEM.
    pub key: Option<PathBuf>,
    /// Proxies that say by PROXY protocol, version 2, whom a connection is from. They have to, and
    /// nobody else may.
    pub proxies: Vec<IpNet>,
    /// The realm of the names that are issued.
    pub realm: String,
    /// The account that pays for a subscriber without a record; `None`: such a one is refused.
    pub unknown_subscribers: Option<Name>,
    /// How many requests a bearer may make a minute, all at once if it likes. 0: any number.
    pub requests_per_minute: u32,

    /// The most connections at a time.
    pub connections: usize,
    /// The most connections of one bearer.
    pub connections_per_bearer: usize,
    /// How long TLS may take, and before it the PROXY header.
    pub handshake_timeout: Period,
    /// How long the head of a request may take.
    pub header_timeout: Period,
    /// How long its body may take.
    pub body_timeout: Period,
    /// How long it may be.
    pub body: Size,
    /// How long a client may not take its answer.
    pub write_timeout: Period,
    /// How long a connection may be silent between requests.
    pub idle_timeout: Period,

    /// A certificate by ACME, instead of one in files.
    pub acme: Option<acme::Config>,
    /// Which address is whose.
    pub bearers: bearers::Config,
    /// Credentials by short message.
    pub sms: sms::Config,
    /// Hand-off keys for devices that ask for them.
    pub handoff: Option<handoff::Config>,
    /// The administrators' API.
    pub api: ApiConfig,
    /// For how long things are kept.
    pub upkeep: upkeep::Config,
}

/// `[portal.api]`: the administrators' API.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApiConfig {
    /// Where it is (TCP, TLS). Empty: there is none.
    pub listen: Vec<SocketAddr>,
    /// The server's certificate and its issuers, in PEM; unset: the portal's.
    pub certificate: Option<PathBuf>,
    /// Its key, in PEM.
    pub key: Option<PathBuf>,
    /// Who may use it: see [`tokens`](crate::api::tokens).
    pub tokens: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            listen: Vec::new(),
            apn: BTreeMap::new(),
            certificate: None,
            key: None,
            proxies: Vec::new(),
            realm: String::new(),
            unknown_subscribers: None,
            requests_per_minute: 30,
            connections: limits.connections,
            connections_per_bearer: limits.connections_per_client,
            handshake_timeout: Period(limits.handshake),
            header_timeout: Period(limits.head),
            body_timeout: Period(limits.body),
            body: Size(limits.body_octets),
            write_timeout: Period(limits.write),
            idle_timeout: Period(limits.idle),
            acme: None,
            bearers: bearers::Config::default(),
            sms: sms::Config::default(),
            handoff: None,
            api: ApiConfig::default(),
            upkeep: upkeep::Config::default(),
        }
    }
}

impl Config {
    /// Whether there is a portal at all.
    pub fn is_on(&self) -> bool {
        !self.listen.is_empty()
    }

    /// Checks what the types cannot say.
    ///
    /// # Errors
    ///
    /// The first value that is not allowed.
    pub fn check(&self) -> Result<(), Invalid> {
        if self.certificate.is_some() != self.key.is_some() {
            return Err(Invalid::new("portal", "certificate and key go together"));
        }
        if (self.is_on() || !self.realm.is_empty()) && self.realm.parse::<Realm>().is_err() {
            let why = "name the realm of what is issued, such as \"wlan.example.net\"";
            return Err(Invalid::new("portal.realm", why));
        }
        if let Some(acme) = &self.acme {
            if self.certificate.is_some() {
                let why = "portal.certificate and portal.key are set as well: it is one or the other, so take out either";
                return Err(Invalid::new("portal.acme", why));
            }
            if !self.is_on() {
                let why = "it is a part of the portal: set portal.listen";
                return Err(Invalid::new("portal.acme", why));
            }
            acme.check()?;
        } else if self.is_on() && self.certificate.is_none() {
            let why = "name a certificate and its key, or have one issued: [portal.acme]";
            return Err(Invalid::new("portal.certificate", why));
        }
        if let Some(other) = self.apn.keys().find(|address| !self.listen.contains(address)) {
            let why = format!("{other} is none of the addresses of portal.listen");
            return Err(Invalid::new("portal.apn", why));
        }
        self.limits().check("portal", "connections_per_bearer")?;
        self.bearers.check()?;
        self.sms.check()?;
        if self.sms.is_on() && !self.is_on() {
            return Err(Invalid::new(
                "portal.sms.smsc",
                "it is a part of the portal: set portal.listen",
            ));
        }
        if let Some(handoff) = &self.handoff {
            if !self.is_on() {
                let why = "it is a part of the portal: set portal.listen";
                return Err(Invalid::new("portal.handoff", why));
            }
            handoff.check()?;
        }
        self.upkeep.check()?;
        if self.api.certificate.is_some() != self.api.key.is_some() {
            return Err(Invalid::new("portal.api", "certificate and key go together"));
        }
        if self.api.is_on() && !self.is_on() {
            return Err(Invalid::new(
                "portal.api.listen",
                "it is a part of the portal: set portal.listen",
            ));
        }
        if self.api.is_on() && self.api.tokens.is_none() {
            return Err(Invalid::new(
                "portal.api.tokens",
                "name the file that says who may use it",
            ));
        }
        Ok(())
    }

    /// The files of the portal's certificate.
    pub(crate) fn files(&self) -> Option<Files> {
        let (certificate, key) = (self.certificate.clone()?, self.key.clone()?);
        Some(Files { section: "portal", certificate, key })
    }

    /// The files of the API's certificate, if it has one of its own.
    pub(crate) fn api_files(&self) -> Option<Files> {
        let (certificate, key) = (self.api.certificate.clone()?, self.api.key.clone()?);
        Some(Files { section: "portal.api", certificate, key })
    }

    /// How connections are served.
    pub fn limits(&self) -> Limits {
        Limits {
            connections: self.connections,
            connections_per_client: self.connections_per_bearer,
            handshake: self.handshake_timeout.0,
            head: self.header_timeout.0,
            body: self.body_timeout.0,
            body_octets: self.body.0,
            write: self.write_timeout.0,
            idle: self.idle_timeout.0,
        }
    }
}

impl ApiConfig {
    /// Whether there is one.
    pub fn is_on(&self) -> bool {
        !self.listen.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on() -> Config {
        Config {
            listen: vec!["127.0.0.1:443".parse().unwrap()],
            certificate: Some("portal.pem".into()),
            key: Some("portal.key".into()),
            realm: "wlan.example.net".to_owned(),
            ..Config::default()
        }
    }

    fn by_acme() -> acme::Config {
        let names = vec!["portal.example.net".to_owned()];
        acme::Config { names, terms_agreed: true, ..acme::Config::default() }
    }

    #[test]
    fn a_certificate_comes_from_files_or_by_acme() {
        on().check().unwrap();
        let config = Config { certificate: None, key: None, acme: Some(by_acme()), ..on() };
        config.check().unwrap();
        assert!(config.files().is_none());
    }

    #[test]
    fn the_defaults_are_allowed_and_open_nothing() {
        let config = Config::default();
        config.check().unwrap();
        assert!(!config.is_on());
        on().check().unwrap();
    }

    #[test]
    fn what_is_not_allowed_is_named() {
        let wrong = |change: fn(&mut Config)| {
            let mut config = on();
            change(&mut config);
            config.check().unwrap_err().to_string()
        };
        assert!(wrong(|c| c.key = None).starts_with("portal"));
        assert!(wrong(|c| (c.certificate, c.key) = (None, None)).starts_with("portal.certificate"));
        let both = wrong(|c| c.acme = Some(by_acme()));
        assert!(
            both.starts_with("portal.acme: portal.certificate and portal.key are set"),
            "{both}"
        );
        let unused = wrong(|c| {
            (c.listen, c.certificate, c.key, c.acme) = (Vec::new(), None, None, Some(by_acme()))
        });
        assert!(unused.starts_with("portal.acme: it is a part"), "{unused}");
        let within =
            wrong(|c| (c.certificate, c.key, c.acme) = (None, None, Some(acme::Config::default())));
        assert!(within.starts_with("portal.acme.terms_agreed"), "{within}");
        for realm in ["", "a..b", "a b", "x@y", "net"] {
            let config = Config { realm: realm.to_owned(), ..on() };
            let error = config.check().unwrap_err().to_string();
            assert!(error.starts_with("portal.realm"), "{realm:?}: {error}");
        }
        let stray = |c: &mut Config| {
            c.apn.insert("127.0.0.1:444".parse().unwrap(), "internet".parse().unwrap());
        };
        let mut config = on();
        stray(&mut config);
        assert!(config.check().unwrap_err().to_string().starts_with("portal.apn"));
        assert!(wrong(|c| c.connections = 0).starts_with("portal.connections:"));
        assert!(
            wrong(|c| c.connections_per_bearer = 0).starts_with("portal.connections_per_bearer")
        );
        assert!(wrong(|c| c.body = Size(1)).starts_with("portal.body"));
        assert!(wrong(|c| c.idle_timeout = Period::default()).starts_with("portal.idle_timeout"));
    }
}
