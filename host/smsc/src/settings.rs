//! What a session is told once.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use homeward_model::Secret;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use crate::error::Error;

/// TLS to the SMSC.
#[derive(Clone)]
pub struct Tls {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) name: ServerName<'static>,
}

impl Tls {
    /// TLS that takes only certificates for `name` by an authority in that PEM file.
    ///
    /// # Errors
    ///
    /// The file that cannot be read, or a name that is none.
    pub fn new(authority: &Path, name: &str) -> Result<Self, Error> {
        let wrong = |reason: String| Error::Authority { path: authority.to_owned(), reason };
        let read = CertificateDer::pem_file_iter(authority);
        let certificates = read.and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let certificates = certificates.map_err(|error| wrong(error.to_string()))?;
        let mut roots = RootCertStore::empty();
        for certificate in certificates {
            roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(wrong("it has none".to_owned()));
        }
        let no_name = |_| Error::Setting { setting: "tls name", reason: "give a DNS name" };
        let name = ServerName::try_from(name.to_owned()).map_err(no_name)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { config: Arc::new(config), name })
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What a session is told once. The defaults are for the times; whom to bind to is to be said.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The SMSC: a host or an address, and a port.
    pub smsc: String,
    /// TLS; `None`: in the clear.
    pub tls: Option<Tls>,
    /// As whom we bind: at most 15 octets.
    pub system_id: String,
    /// The password: at most 8 octets.
    pub password: Secret,
    /// The kind of system, where the SMSC wants one: at most 12 octets.
    pub system_type: String,
    /// Which addresses are ours, where the SMSC wants to be told: at most 40 octets.
    pub address_range: String,
    /// How long connecting and TLS may take, together with the bind.
    pub connect_timeout: Duration,
    /// How long the SMSC may take for an answer.
    pub response_timeout: Duration,
    /// After how much silence it is asked whether it is there.
    pub enquire_after: Duration,
    /// How many messages may be submitted and unanswered.
    pub window: usize,
    /// How many messages may wait to be sent; and how many that came may be unanswered: the SMSC
    /// keeps those beyond.
    pub queue: usize,
    /// How long a message may wait to be sent.
    pub patience: Duration,
    /// The first pause after a failure, and after a throttling; each further one is twice as long.
    pub pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            smsc: String::new(),
            tls: None,
            system_id: String::new(),
            password: Secret::new(Vec::new()),
            system_type: String::new(),
            address_range: String::new(),
            connect_timeout: Duration::from_secs(10),
            response_timeout: Duration::from_secs(10),
            enquire_after: Duration::from_secs(30),
            window: 10,
            queue: 1000,
            patience: Duration::from_secs(120),
            pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(60),
        }
    }
}

impl Settings {
    /// Checks what SMPP has room for.
    ///
    /// # Errors
    ///
    /// The first setting that is not allowed.
    pub fn check(&self) -> Result<(), Error> {
        let wrong = |setting, reason| Err(Error::Setting { setting, reason });
        let plain = |octets: &[u8], most| octets.len() <= most && !octets.contains(&0);
        if !self.smsc.contains(':') {
            return wrong("smsc", "give host:port, such as \"smsc.example.net:2775\"");
        }
        if self.system_id.is_empty() || !plain(self.system_id.as_bytes(), 15) {
            return wrong("system_id", "give 1 to 15 octets");
        }
        if !plain(self.password.expose(), 8) || !self.password.expose().is_ascii() {
            return wrong("password", "SMPP has room for 8 octets of ASCII");
        }
        if !plain(self.system_type.as_bytes(), 12) {
            return wrong("system_type", "give at most 12 octets");
        }
        if !plain(self.address_range.as_bytes(), 40) {
            return wrong("address_range", "give at most 40 octets");
        }
        if self.window == 0 || self.queue == 0 {
            return wrong("window and queue", "give at least 1");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_smpp_has_no_room_for_is_named_and_the_password_does_not_print() {
        let good = Settings {
            smsc: "smsc:2775".to_owned(),
            system_id: "homeward".to_owned(),
            password: Secret::new(b"hush-hus".to_vec()),
            ..Settings::default()
        };
        good.check().unwrap();
        assert!(!format!("{good:?}").contains("hush"));
        let error = |change: fn(&mut Settings)| {
            let mut settings = good.clone();
            change(&mut settings);
            settings.check().unwrap_err().to_string()
        };
        assert!(error(|s| s.smsc = "smsc".to_owned()).starts_with("smsc:"));
        assert!(error(|s| s.system_id.clear()).starts_with("system_id:"));
        assert!(error(|s| s.system_type = "x".repeat(13)).starts_with("system_type:"));
        assert!(error(|s| s.address_range = "1\0".to_owned()).starts_with("address_range:"));
        assert!(error(|s| s.window = 0).starts_with("window"));
        let long = error(|s| s.password = Secret::new(b"123456789".to_vec()));
        assert!(long.starts_with("password:") && !long.contains("12345"), "{long}");
    }
}
