//! `[aaa.eap]`: the certificate that EAP is spoken with, and what is spoken.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use arc_swap::{ArcSwap, ArcSwapOption};
use homeward_daemon::{Exit, ExitContext, Invalid, Period};
use homeward_eap::pki_types::pem::PemObject;
use homeward_eap::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use homeward_eap::{
    ClientTrust, Context, Method, ServerCredential, SessionSettings, Sessions, Settings,
    TlsVersions,
};
use serde::Deserialize;

/// How EAP is spoken. Without a certificate it is not.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EapConfig {
    /// The server's certificate and its issuers, in PEM.
    pub certificate: Option<PathBuf>,
    /// Its key, in PEM.
    pub key: Option<PathBuf>,
    /// The issuers of clients' certificates, in PEM. Without, there is no EAP-TLS.
    pub client_ca: Option<PathBuf>,
    /// Their revocation lists, in PEM.
    pub client_crl: Option<PathBuf>,
    /// The methods served: "peap", "ttls", "tls". The first is proposed to whoever is anonymous;
    /// a peer that wants another says so, which takes a round.
    pub methods: Vec<String>,
    /// The lowest version of TLS: "1.2" or "1.3".
    pub min_tls: String,
    /// The most octets of an EAP packet.
    pub fragment: usize,
    /// How long a device may resume what it once authenticated.
    pub resume: Period,
    /// How many devices may.
    pub sessions: usize,
    /// How long one log-in may take.
    pub timeout: Period,
    /// EAP conversations at a time, of each worker.
    pub conversations: usize,
}

impl Default for EapConfig {
    fn default() -> Self {
        let (settings, sessions) = (Settings::default(), SessionSettings::default());
        Self {
            certificate: None,
            key: None,
            client_ca: None,
            client_crl: None,
            // The first is what a policy names that names none.
            methods: ["peap", "ttls", "tls"].map(str::to_owned).into(),
            min_tls: "1.2".to_owned(),
            fragment: settings.fragment,
            resume: Period(sessions.lifetime),
            sessions: sessions.capacity,
            timeout: Period(settings.timeout),
            conversations: 16_384,
        }
    }
}

impl EapConfig {
    fn new_sessions(&self) -> Sessions {
        Sessions::new(SessionSettings { capacity: self.sessions, lifetime: self.resume.0 })
    }

    pub(crate) fn check(&self) -> Result<(), Invalid> {
        if self.certificate.is_some() != self.key.is_some() {
            return Err(Invalid::new("aaa.eap", "certificate and key go together"));
        }
        let methods = self.methods.iter().map(|word| Method::from_label(word));
        if self.methods.is_empty() || methods.clone().any(|method| method.is_none()) {
            return Err(Invalid::new("aaa.eap.methods", "use \"peap\", \"ttls\", \"tls\""));
        }
        if methods.collect::<BTreeSet<_>>().len() != self.methods.len() {
            return Err(Invalid::new("aaa.eap.methods", "name each once"));
        }
        if self.methods == ["tls"] && self.client_ca.is_none() {
            let help = "\"tls\" needs aaa.eap.client_ca: who vouches for devices' certificates";
            return Err(Invalid::new("aaa.eap.methods", help));
        }
        if !["1.2", "1.3"].contains(&self.min_tls.as_str()) {
            return Err(Invalid::new("aaa.eap.min_tls", "use \"1.2\" or \"1.3\""));
        }
        if !(128..=3000).contains(&self.fragment) {
            return Err(Invalid::new("aaa.eap.fragment", "use 128 to 3000 octets"));
        }
        if self.conversations < 4 {
            return Err(Invalid::new("aaa.eap.conversations", "use at least 4"));
        }
        Ok(())
    }

    /// Reads the files and prepares to speak, with what was authenticated before; `None` without
    /// a certificate.
    fn context(&self, sessions: Arc<Sessions>) -> anyhow::Result<Option<Arc<Context>>> {
        let (Some(certificate), Some(key)) = (&self.certificate, &self.key) else {
            return Ok(None);
        };
        let server = ServerCredential {
            chain: read::<CertificateDer<'static>>("aaa.eap.certificate", certificate)?,
            key: read_key("aaa.eap.key", key)?,
        };
        let trust = match &self.client_ca {
            None => None,
            Some(path) => Some(ClientTrust {
                roots: read("aaa.eap.client_ca", path)?,
                revoked: match &self.client_crl {
                    Some(path) => {
                        read::<CertificateRevocationListDer<'static>>("aaa.eap.client_crl", path)?
                    }
                    None => Vec::new(),
                },
            }),
        };
        let settings = Settings {
            methods: self.methods.iter().filter_map(|word| Method::from_label(word)).collect(),
            tls: if self.min_tls == "1.3" { TlsVersions::Tls13 } else { TlsVersions::Both },
            fragment: self.fragment,
            timeout: self.timeout.0,
            ..Settings::default()
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let context = Context::new(settings, &provider, server, trust, sessions);
        Ok(Some(Arc::new(context.context("aaa.eap").exit(Exit::Config)?)))
    }
}

/// What EAP is spoken with now. Clones are one and the same; conversations that have begun go on
/// with what they began with.
#[derive(Clone)]
pub struct Speech {
    now: Arc<ArcSwapOption<Context>>,
    sessions: Arc<ArcSwap<Sessions>>,
}

impl Speech {
    /// Reads the files that the configuration names.
    ///
    /// # Errors
    ///
    /// The file that cannot be read, or what is wrong with the certificate.
    pub fn load(config: &EapConfig) -> anyhow::Result<Self> {
        let sessions = Arc::new(config.new_sessions());
        let now = ArcSwapOption::new(config.context(Arc::clone(&sessions))?);
        Ok(Self { now: Arc::new(now), sessions: Arc::new(ArcSwap::new(sessions)) })
    }

    /// Reads them again. Devices may go on resuming what they authenticated before, but for those
    /// with certificates: theirs may be revoked now.
    ///
    /// # Errors
    ///
    /// As [`Self::load`]; what was loaded before stays.
    pub fn reload(&self, config: &EapConfig) -> anyhow::Result<()> {
        let sessions = match config.client_ca {
            Some(_) => Arc::new(config.new_sessions()),
            None => self.sessions.load_full(),
        };
        let context = config.context(Arc::clone(&sessions))?;
        self.sessions.store(sessions);
        self.now.store(context);
        Ok(())
    }

    /// What a conversation is begun with; `None` without a certificate.
    pub(crate) fn now(&self) -> Option<Arc<Context>> {
        self.now.load_full()
    }
}

/// The private key in a PEM file.
pub(crate) fn read_key(key: &str, path: &Path) -> anyhow::Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_file(path)
        .with_context(|| format!("{key}: no private key in {}", path.display()))
        .exit(Exit::Config)
}

/// All items of a kind in a PEM file; at least one.
pub(crate) fn read<T: PemObject>(key: &str, path: &Path) -> anyhow::Result<Vec<T>> {
    let items = T::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<T>, _>>);
    let items = items
        .with_context(|| format!("{key}: cannot read {}", path.display()))
        .exit(Exit::Config)?;
    if items.is_empty() {
        return Err(anyhow::anyhow!("{key}: nothing of the kind in {}", path.display()))
            .exit(Exit::Config);
    }
    Ok(items)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn methods(words: &[&str]) -> Result<(), Invalid> {
        let methods = words.iter().map(|word| (*word).to_owned()).collect();
        EapConfig { methods, ..EapConfig::default() }.check()
    }

    #[test]
    fn the_methods_that_are_served_are_named_once_each() {
        for words in [&["peap"][..], &["ttls", "peap"], &["tls", "peap", "ttls"]] {
            assert!(methods(words).is_ok(), "{words:?}");
        }
        for words in [&[][..], &["peap", "md5"], &["PEAP"], &["peap", "ttls", "peap"], &["tls"]] {
            let error = methods(words).unwrap_err().to_string();
            assert!(error.contains("aaa.eap.methods"), "{words:?}: {error}");
        }
        assert!(EapConfig::default().check().is_ok());
    }

    #[test]
    fn what_is_proposed_to_who_is_anonymous_is_what_policies_name_by_themselves() {
        let policy: homeward_model::WlanPolicy =
            serde_json::from_str(r#"{"networks":[{"ssid":"Town"}],"server_name":"a.example"}"#)
                .unwrap();
        assert_eq!(EapConfig::default().methods.first(), Some(&policy.eap.to_string()));
    }
}
