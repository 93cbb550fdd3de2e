//! TLS with certificates at both ends.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// The names of the versions in ALPN (RFC 9765 3.1), the one preferred first.
const ALPN: [&[u8]; 2] = [V1_1, b"radius/1.0"];

/// The name of RADIUS/1.1.
pub(super) const V1_1: &[u8] = b"radius/1.1";

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A certificate that is no authority's.
    #[error("a certificate of the peers' authorities cannot be used")]
    Authority(#[source] rustls::Error),
    /// No authorities, or revocation lists that cannot be read.
    #[error("the peers' authorities and revocation lists cannot be used together")]
    Verifier(#[source] rustls::client::VerifierBuilderError),
    /// A name that no certificate can have.
    #[error("{0:?} is no name that a certificate can have: use a DNS name or an address")]
    Name(String),
    /// A certificate and a key that do not go together.
    #[error("the certificate cannot be used with its key")]
    Credential(#[source] rustls::Error),
}

/// Whose certificates are believed.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// The authorities that sign the peers' certificates.
    pub authorities: Vec<CertificateDer<'static>>,
    /// What they have revoked.
    pub revoked: Vec<CertificateRevocationListDer<'static>>,
}

/// What a server shows and whom it believes. Clones are one and the same: [`Self::replace`] holds
/// for every connection that is made from then on, and those that are open stay.
#[derive(Clone)]
pub struct ServerTls(Arc<ArcSwap<ServerConfig>>);

impl ServerTls {
    /// Shows that certificate, with its issuers behind it.
    ///
    /// # Errors
    ///
    /// [`TlsError`].
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        trust: Trust,
    ) -> Result<Self, TlsError> {
        Ok(Self(Arc::new(ArcSwap::from_pointee(config(chain, key, trust)?))))
    }

    /// Shows and believes others from now on.
    ///
    /// # Errors
    ///
    /// As [`Self::new`]; what was before stays.
    pub fn replace(
        &self,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        trust: Trust,
    ) -> Result<(), TlsError> {
        self.0.store(Arc::new(config(chain, key, trust)?));
        Ok(())
    }

    /// What it is now.
    pub(super) fn now(&self) -> Arc<ServerConfig> {
        self.0.load_full()
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerTls")
    }
}

fn config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    trust: Trust,
) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let roots = roots(trust.authorities)?;
    // An authority without a list has revoked nothing; one's own gateways' has none.
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider.clone())
        .with_crls(trust.revoked)
        .only_check_end_entity_revocation()
        .allow_unknown_revocation_status()
        .build()
        .map_err(TlsError::Verifier)?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Credential)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(TlsError::Credential)?;
    config.alpn_protocols = ALPN.map(<[u8]>::to_vec).to_vec();
    // A session that is resumed would not show certificates again, revoked ones included.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

fn roots(authorities: Vec<CertificateDer<'static>>) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority).map_err(TlsError::Authority)?;
    }
    Ok(Arc::new(roots))
}

/// What a client shows to a server, and which one it believes.
#[derive(Clone)]
pub struct ClientTls {
    pub(super) config: Arc<ClientConfig>,
    pub(super) name: ServerName<'static>,
}

impl ClientTls {
    /// Shows that certificate, with its issuers behind it, to a server whose certificate is for
    /// `name`.
    ///
    /// # Errors
    ///
    /// [`TlsError`].
    pub fn new(
        name: &str,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        trust: Trust,
    ) -> Result<Self, TlsError> {
        let wrong = || TlsError::Name(name.to_owned());
        let name = ServerName::try_from(name.to_owned()).map_err(|_| wrong())?;
        let provider = Arc::new(ring::default_provider());
        let roots = roots(trust.authorities)?;
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider.clone())
            .with_crls(trust.revoked)
            .only_check_end_entity_revocation()
            .allow_unknown_revocation_status()
            .build()
            .map_err(TlsError::Verifier)?;
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Credential)?
            .with_webpki_verifier(verifier)
            .with_client_auth_cert(chain, key)
            .map_err(TlsError::Credential)?;
        config.alpn_protocols = ALPN.map(<[u8]>::to_vec).to_vec();
        // A session that is resumed would not show certificates again.
        config.resumption = Resumption::disabled();
        Ok(Self { config: Arc::new(config), name })
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClientTls").field(&self.name).finish()
    }
}
