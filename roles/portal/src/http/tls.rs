//! The certificate that clients are shown, and its exchange while they are connected.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use homeward_daemon::{Exit, ExitContext};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;

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

/// What clients are shown. Clones are one and the same: [`Self::reload`] holds for every connection
/// that is made from then on, and those that are open stay.
#[derive(Clone)]
pub struct Certificates(Arc<ArcSwap<ServerConfig>>);

impl Certificates {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// The file that cannot be read, or what is wrong with the certificate.
    pub fn load(files: &Files) -> anyhow::Result<Self> {
        Ok(Self(Arc::new(ArcSwap::from_pointee(config(files)?))))
    }

    /// Reads them again.
    ///
    /// # Errors
    ///
    /// As [`Self::load`]; what was loaded before stays.
    pub fn reload(&self, files: &Files) -> anyhow::Result<()> {
        self.0.store(Arc::new(config(files)?));
        Ok(())
    }

    pub(super) fn now(&self) -> Arc<ServerConfig> {
        self.0.load_full()
    }
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Certificates")
    }
}

fn config(files: &Files) -> anyhow::Result<ServerConfig> {
    let chain = certificates(files.section, &files.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .with_context(|| {
            format!("{}.key: no private key in {}", files.section, files.key.display())
        })
        .exit(Exit::Config)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("TLS")
        .exit(Exit::Software)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .with_context(|| format!("{}: the certificate cannot be used with its key", files.section))
        .exit(Exit::Config)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A device comes once in days: what would be kept for its return is kept for nothing.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
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
