//! The `[portal.acme]` section of the configuration.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use homeward_daemon::{Invalid, Period, SecretSource};
use hyper::Uri;
use rustls::pki_types::ServerName;
use serde::Deserialize;

use super::schedule::Retry;

/// `[portal.acme]`: a certificate that an ACME server issues and renews (RFC 8555).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The server's directory, an `https:` URL.
    pub directory: String,
    /// Who vouches for that server, in PEM.
    pub ca: PathBuf,
    /// What the certificate is for: host names, and addresses where the server does those.
    pub names: Vec<String>,
    /// Where the server's operator may write to: addresses of electronic mail.
    pub contact: Vec<String>,
    /// Whether the operator agrees to the server's terms of service.
    pub terms_agreed: bool,
    /// How it is shown that the names are ours.
    pub challenge: Challenge,
    /// For http-01: where the server asks (TCP, HTTP in the clear).
    pub listen: Vec<SocketAddr>,
    /// The most connections there; more end the one that has been silent longest.
    pub connections: usize,
    /// What ties the account to one that the operator has with the server already (RFC 8555,
    /// section 7.3.4).
    pub external_account: Option<ExternalAccount>,
    /// Which of the server's profiles is asked for; unset: its own choice.
    pub profile: Option<String>,
    /// Where account and certificate are kept.
    pub folder: PathBuf,
    /// How long an answer of the server's may take.
    pub timeout: Period,
    /// How long it may take to look at the names, and to issue.
    pub issue_timeout: Period,
    /// How long after a failure it is tried again; twice as long each time.
    pub retry: Period,
    /// The longest that this becomes.
    pub longest_retry: Period,
}

/// `challenge`: how it is shown that names are ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Challenge {
    /// By TLS on the portal's own port (RFC 8737).
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn,
    /// By HTTP on port 80 (RFC 8555, section 8.3), of which `listen` gets what comes.
    #[serde(rename = "http-01")]
    Http,
}

impl Challenge {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TlsAlpn => "tls-alpn-01",
            Self::Http => "http-01",
        }
    }

    /// The port that the server asks on.
    pub fn port(self) -> u16 {
        match self {
            Self::TlsAlpn => 443,
            Self::Http => 80,
        }
    }
}

/// `external_account`: what the server's operator has handed out.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExternalAccount {
    /// The key's identifier.
    pub id: String,
    /// The key, in base64url.
    pub key: SecretSource,
}

impl Default for Config {
    fn default() -> Self {
        let seconds = |n| Period(Duration::from_secs(n));
        Self {
            directory: "https://acme-v02.api.letsencrypt.org/directory".to_owned(),
            ca: "/etc/ssl/certs/ca-certificates.crt".into(),
            names: Vec::new(),
            contact: Vec::new(),
            terms_agreed: false,
            challenge: Challenge::TlsAlpn,
            listen: Vec::new(),
            connections: 256,
            external_account: None,
            profile: None,
            folder: "/var/lib/homeward/acme".into(),
            timeout: seconds(30),
            issue_timeout: seconds(120),
            retry: seconds(60),
            longest_retry: seconds(6 * 3600),
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
        let wrong = |key: &str, why: String| Err(Invalid::new(format!("portal.acme.{key}"), why));
        let url = self.directory.parse::<Uri>();
        if !url.is_ok_and(|url| url.scheme_str() == Some("https") && url.host().is_some()) {
            let why = format!("{:?} is no https: URL of an ACME directory", self.directory);
            return wrong("directory", why);
        }
        if !self.terms_agreed {
            let why = format!(
                "read the terms of service of {}, and say true if you agree to them",
                self.directory
            );
            return wrong("terms_agreed", why);
        }
        if self.names.is_empty() {
            return wrong("names", "name what devices call the portal".to_owned());
        }
        let mut seen = BTreeSet::new();
        for name in &self.names {
            if name.starts_with("*.") {
                let why = format!(
                    "{name:?}: only DNS could show that it is ours, which is not done here; name the hosts"
                );
                return wrong("names", why);
            }
            if ServerName::try_from(name.as_str()).is_err() {
                return wrong("names", format!("{name:?} is no host name and no address"));
            }
            if !seen.insert(canonical(name)) {
                return wrong("names", format!("{name:?} is there twice"));
            }
        }
        if let Some(contact) = self.contact.iter().find(|contact| !is_mail(contact)) {
            return wrong("contact", format!("{contact:?} is no address of electronic mail"));
        }
        match (self.challenge, self.listen.is_empty()) {
            (Challenge::Http, true) => {
                let why = "http-01 needs an address to which port 80 of the names leads";
                return wrong("listen", why.to_owned());
            }
            (Challenge::TlsAlpn, false) => {
                let why = "tls-alpn-01 is answered on portal.listen: leave this out, or set challenge = \"http-01\"";
                return wrong("listen", why.to_owned());
            }
            _ => {}
        }
        if !(1..=1 << 20).contains(&self.connections) {
            return wrong("connections", "use 1 to 1048576".to_owned());
        }
        for (key, period) in [
            ("timeout", self.timeout),
            ("issue_timeout", self.issue_timeout),
            ("retry", self.retry),
        ] {
            if period.0 < Duration::from_secs(1) {
                return wrong(key, "use at least 1s".to_owned());
            }
        }
        if self.longest_retry.0 < self.retry.0 {
            return wrong("longest_retry", "use at least what retry is".to_owned());
        }
        Ok(())
    }

    /// The names, spelled as in a certificate.
    pub(super) fn wanted(&self) -> BTreeSet<String> {
        self.names.iter().map(|name| canonical(name)).collect()
    }

    pub(super) fn retry(&self) -> Retry {
        Retry { first: self.retry.0, most: self.longest_retry.0 }
    }
}

/// A name as it is compared: lower case, an address as it is printed.
pub(super) fn canonical(name: &str) -> String {
    match name.parse::<IpAddr>() {
        Ok(address) => address.to_string(),
        Err(_) => name.to_ascii_lowercase(),
    }
}

fn is_mail(text: &str) -> bool {
    let sound = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_graphic());
    text.split_once('@').is_some_and(|(user, host)| sound(user) && sound(host))
        && !text.contains(['?', ',', ':', '<'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Config {
        Config {
            names: vec!["portal.example.net".to_owned()],
            terms_agreed: true,
            ..Config::default()
        }
    }

    #[test]
    fn names_and_consent_are_all_that_has_to_be_said() {
        good().check().unwrap();
        let more = Config {
            names: vec!["Portal.Example.net".to_owned(), "192.0.2.1".to_owned()],
            contact: vec!["noc@example.net".to_owned()],
            challenge: Challenge::Http,
            listen: vec!["192.0.2.1:80".parse().unwrap()],
            ..good()
        };
        more.check().unwrap();
        let wanted = ["192.0.2.1", "portal.example.net"].map(str::to_owned);
        assert_eq!(more.wanted(), wanted.into());
    }

    #[test]
    fn what_is_not_allowed_is_named_with_its_repair() {
        let wrong = |change: fn(&mut Config)| {
            let mut config = good();
            change(&mut config);
            config.check().unwrap_err().to_string()
        };
        let terms = wrong(|c| c.terms_agreed = false);
        assert!(terms.starts_with("portal.acme.terms_agreed: read the terms"), "{terms}");
        assert!(terms.contains("https://acme-v02.api.letsencrypt.org/directory"), "{terms}");
        assert!(wrong(|c| c.names.clear()).starts_with("portal.acme.names"));
        for name in ["*.example.net", "a b", "", "portal.example.NET"] {
            let mut config = good();
            config.names.push(name.to_owned());
            let error = config.check().unwrap_err().to_string();
            assert!(error.starts_with(&format!("portal.acme.names: {name:?}")), "{error}");
        }
        for directory in ["http://acme.example.net/", "acme.example.net", "https:///", ""] {
            let config = Config { directory: directory.to_owned(), ..good() };
            let error = config.check().unwrap_err().to_string();
            assert!(error.starts_with("portal.acme.directory"), "{error}");
        }
        for contact in ["noc", "@example.net", "noc@", "a@b,c@d", "mailto:a@b", "a b@c"] {
            let config = Config { contact: vec![contact.to_owned()], ..good() };
            let error = config.check().unwrap_err().to_string();
            assert!(error.starts_with("portal.acme.contact"), "{error}");
        }
        assert!(wrong(|c| c.challenge = Challenge::Http).starts_with("portal.acme.listen"));
        assert!(wrong(|c| c.listen.push("0.0.0.0:80".parse().unwrap())).contains("leave this out"));
        assert!(wrong(|c| c.connections = 0).starts_with("portal.acme.connections"));
        assert!(wrong(|c| c.retry = Period::default()).starts_with("portal.acme.retry"));
        assert!(wrong(|c| c.timeout = Period::default()).starts_with("portal.acme.timeout"));
        let longest = wrong(|c| c.longest_retry = Period(Duration::from_secs(59)));
        assert!(longest.starts_with("portal.acme.longest_retry"), "{longest}");
    }
}
