//! The certificate that clients are shown, and its exchange while they are connected.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use arc_swap::ArcSwap;
use homeward_daemon::{Exit, ExitContext};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// Where a certificate is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The section of the configuration that names them, for errors.
    pub section: &'static str,
    /// The certificate and its issuers, in PEM.
    pub certificate: PathBuf,
    /// Its key, in PEM.
    pub key: PathBuf,
}

/// What clients are shown. Clones are one and the same: what is shown instead holds for every
/// connection that is made from then on, and those that are open stay.
#[derive(Clone)]
pub struct Certificates(Arc<Inner>);

struct Inner {
    config: ArcSwap<ServerConfig>,
    shown: Mutex<Shown>,
}

/// The protocol by which a challenge is put (RFC 8737, section 6.2).
const CHALLENGE: &[u8] = b"acme-tls/1";

/// Whether a connection was made to see the answer to a challenge, and for nothing else.
pub(super) fn is_challenge(protocol: Option<&[u8]>) -> bool {
    protocol == Some(CHALLENGE)
}

/// Which certificate is for whom.
#[derive(Debug, Clone, Default)]
struct Shown {
    own: Option<Arc<CertifiedKey>>,
    /// The answers to challenges that an ACME server has put, by the name that it asks for.
    challenges: BTreeMap<String, Arc<CertifiedKey>>,
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let mut protocols = hello.alpn().into_iter().flatten();
        if protocols.next() == Some(CHALLENGE) && protocols.next().is_none() {
            let name = hello.server_name()?.to_ascii_lowercase();
            return self.challenges.get(&name).cloned();
        }
        self.own.clone()
    }
}

impl Certificates {
    /// No certificate, as long as there is none: no client is answered.
    ///
    /// # Errors
    ///
    /// None that a machine could help.
    pub fn none() -> anyhow::Result<Self> {
        let shown = Shown::default();
        let config = ArcSwap::from_pointee(config(shown.clone())?);
        Ok(Self(Arc::new(Inner { config, shown: Mutex::new(shown) })))
    }

    /// Reads the files.
    ///
    /// # Errors
    ///
    /// The file that cannot be read, or what is wrong with the certificate.
    pub fn load(files: &Files) -> anyhow::Result<Self> {
        let this = Self::none()?;
        this.reload(files)?;
        Ok(this)
    }

    /// Reads them again.
    ///
    /// # Errors
    ///
    /// As [`Self::load`]; what was loaded before stays.
    pub fn reload(&self, files: &Files) -> anyhow::Result<()> {
        self.show(read(files)?)
    }

    /// Shows that one from now on.
    ///
    /// # Errors
    /// TLS cannot be set up with it; what was shown before is.
    pub fn show(&self, own: CertifiedKey) -> anyhow::Result<()> {
        self.change(|shown| shown.own = Some(Arc::new(own)))
    }

    /// Answers these challenges from now on (RFC 8737), and no others.
    ///
    /// # Errors
    /// TLS cannot be set up with them; what was answered before is.
    pub fn answer(&self, challenges: BTreeMap<String, Arc<CertifiedKey>>) -> anyhow::Result<()> {
        self.change(|shown| shown.challenges = challenges)
    }

    fn change(&self, change: impl FnOnce(&mut Shown)) -> anyhow::Result<()> {
        let mut shown = self.0.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = shown.clone();
        change(&mut changed);
        self.0.config.store(Arc::new(config(changed.clone())?));
        *shown = changed;
        Ok(())
    }

    pub(crate) fn now(&self) -> Arc<ServerConfig> {
        self.0.config.load_full()
    }
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Certificates")
    }
}

/// What makes handshakes: the listeners', and what keys and certificates are read for.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn config(shown: Shown) -> anyhow::Result<ServerConfig> {
    let mut protocols = vec![b"http/1.1".to_vec()];
    if !shown.challenges.is_empty() {
        protocols.push(CHALLENGE.to_vec());
    }
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .context("TLS")
        .exit(Exit::Software)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(shown));
    config.alpn_protocols = protocols;
    // A device comes once in days: what would be kept for its return is kept for nothing.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

fn read(files: &Files) -> anyhow::Result<CertifiedKey> {
    let chain = certificates(files.section, &files.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .with_context(|| {
            format!("{}.key: no private key in {}", files.section, files.key.display())
        })
        .exit(Exit::Config)?;
    CertifiedKey::from_der(chain, key, &provider())
        .with_context(|| format!("{}: the certificate cannot be used with its key", files.section))
        .exit(Exit::Config)
}

fn certificates(section: &str, path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = read
        .with_context(|| format!("{section}.certificate: cannot read {}", path.display()))
        .exit(Exit::Config)?;
    if chain.is_empty() {
        let none = anyhow::anyhow!("{section}.certificate: no certificate in {}", path.display());
        return Err(none).exit(Exit::Config);
    }
    Ok(chain)
}
