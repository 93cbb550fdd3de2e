//! How the server behaves, and what its conversations share.

use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion, version};

use crate::{InnerMethod, Method, Sessions};

/// Which versions of TLS are spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsVersions {
    /// 1.2 and 1.3; the newer if the peer can.
    #[default]
    Both,
    /// 1.2 only.
    Tls12,
    /// 1.3 only.
    Tls13,
}

/// Whether PEAP's tunnel is bound to what was proven in it ([MS-PEAP] 3.1.5.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CryptoBinding {
    /// Not offered.
    Off,
    /// Offered; a peer that does not answer it is let in, one that answers wrongly is not.
    #[default]
    Optional,
    /// Peers have to answer it.
    Required,
}

/// How the server behaves. [`Settings::default`] is fit for use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The methods served; the first is proposed to whom [`Directory`](crate::Directory) knows
    /// nothing of.
    pub methods: Vec<Method>,
    /// The methods served within EAP-TTLS and PEAP.
    pub inner: Vec<InnerMethod>,
    /// Versions of TLS.
    pub tls: TlsVersions,
    /// The most octets of an EAP packet that is sent; the NAS's Framed-MTU lowers it. 1,024
    /// unless set, so that RADIUS over Ethernet needs no IP fragments.
    pub fragment: usize,
    /// The most octets of one TLS message from the peer, all fragments together.
    pub max_message: usize,
    /// The most requests of one conversation. Access points give up after about 50.
    pub max_rounds: u32,
    /// The longest that a conversation takes.
    pub timeout: Duration,
    /// How many tickets a TLS 1.3 peer gets; each is good for one resumption.
    pub tickets: usize,
    /// PEAP's crypto-binding.
    pub crypto_binding: CryptoBinding,
    /// What the server calls itself in MSCHAPv2 challenges.
    pub name: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            methods: vec![Method::Ttls, Method::Peap, Method::Tls],
            inner: vec![
                InnerMethod::EapMsChapV2,
                InnerMethod::MsChapV2,
                InnerMethod::Pap,
                InnerMethod::EapGtc,
            ],
            tls: TlsVersions::Both,
            fragment: 1024,
            max_message: 64 * 1024,
            max_rounds: 50,
            timeout: Duration::from_secs(60),
            tickets: 1,
            crypto_binding: CryptoBinding::Optional,
            name: "homeward".to_owned(),
        }
    }
}

/// The server's certificate, its issuers behind it (the root may be left out), and its key.
#[derive(Debug)]
pub struct ServerCredential {
    /// The chain, in DER, the server's own first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key.
    pub key: PrivateKeyDer<'static>,
}

/// Who vouches for clients' certificates, for EAP-TLS.
#[derive(Debug, Clone, Default)]
pub struct ClientTrust {
    /// The issuers.
    pub roots: Vec<CertificateDer<'static>>,
    /// Their revocation lists. A certificate whose issuer has none here passes.
    pub revoked: Vec<CertificateRevocationListDer<'static>>,
}

/// What is wrong with what a [`Context`] is made of.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// The certificate and key, or the versions of TLS.
    #[error("the EAP server's certificate and key cannot be used")]
    Server(#[source] rustls::Error),
    /// One of the roots.
    #[error("root certificate {at} for EAP-TLS clients cannot be used")]
    Root {
        /// Which, from 1.
        at: usize,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// The roots together, or a revocation list.
    #[error("the roots and revocation lists for EAP-TLS clients cannot be used")]
    Trust(#[source] rustls::server::VerifierBuilderError),
    /// No method left: none is set, or only EAP-TLS without roots.
    #[error(
        "no EAP method is served: set one; EAP-TLS needs roots that vouch for clients' certificates"
    )]
    NoMethod,
}

/// What conversations share: settings, certificate, trust, sessions. To change any of it, make a
/// new one with the same [`Sessions`]; conversations under way keep the one that they began with.
#[derive(Debug)]
pub struct Context {
    pub(crate) settings: Settings,
    pub(crate) sessions: Arc<Sessions>,
    /// For EAP-TTLS and PEAP.
    pub(crate) anonymous: Arc<ServerConfig>,
    /// For EAP-TLS, with what checks clients' certificates.
    pub(crate) mutual: Option<(Arc<ServerConfig>, Arc<dyn ClientCertVerifier>)>,
}

impl Context {
    /// Prepares to serve. `provider` does TLS's cryptography and has randomness of its own.
    /// Without `trust` there is no EAP-TLS.
    ///
    /// # Errors
    /// See [`ContextError`].
    pub fn new(
        mut settings: Settings,
        provider: &Arc<CryptoProvider>,
        server: ServerCredential,
        trust: Option<ClientTrust>,
        sessions: Arc<Sessions>,
    ) -> Result<Self, ContextError> {
        let provider = &quick_first(provider);
        let verifier = trust.map(|trust| verifier(provider, trust)).transpose()?;
        if verifier.is_none() {
            settings.methods.retain(|method| *method != Method::Tls);
        }
        if settings.methods.is_empty() {
            return Err(ContextError::NoMethod);
        }
        let certified = rustls::sign::CertifiedKey::from_der(server.chain, server.key, provider)
            .map_err(ContextError::Server)?;
        let certified = Arc::new(rustls::sign::SingleCertAndKey::from(certified));
        let config = |verifier: Option<Arc<dyn ClientCertVerifier>>| {
            let builder = ServerConfig::builder_with_provider(Arc::clone(provider))
                .with_protocol_versions(versions(settings.tls))
                .map_err(ContextError::Server)?;
            let builder = match verifier {
                Some(verifier) => builder.with_client_cert_verifier(verifier),
                None => builder.with_no_client_auth(),
            };
            let mut config = builder.with_cert_resolver(Arc::clone(&certified) as Arc<_>);
            config.send_tls13_tickets = settings.tickets;
            config.max_early_data_size = 0;
            config.ignore_client_order = true;
            Ok::<_, ContextError>(Arc::new(config))
        };
        let anonymous = config(None)?;
        let mutual = match verifier {
            Some(verifier) => Some((config(Some(Arc::clone(&verifier)))?, verifier)),
            None => None,
        };
        Ok(Self { settings, sessions, anonymous, mutual })
    }

    /// The settings. EAP-TLS is not among the methods if there is no trust for it.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The sessions that can be resumed.
    pub fn sessions(&self) -> &Arc<Sessions> {
        &self.sessions
    }
}

/// The same, with cipher suites first whose hash is SHA-256. The handshake is nearly all that EAP
/// has TLS do: the hash weighs more than the cipher, and processors have instructions for SHA-256
/// but seldom for SHA-384, which most peers would choose.
fn quick_first(provider: &CryptoProvider) -> Arc<CryptoProvider> {
    let mut provider = provider.clone();
    provider.cipher_suites.sort_by_key(|suite| {
        let name = suite.suite();
        name.as_str().is_some_and(|name| name.ends_with("SHA384"))
    });
    Arc::new(provider)
}

fn verifier(
    provider: &Arc<CryptoProvider>,
    trust: ClientTrust,
) -> Result<Arc<dyn ClientCertVerifier>, ContextError> {
    let mut roots = RootCertStore::empty();
    for (at, root) in (1..).zip(trust.roots) {
        roots.add(root).map_err(|source| ContextError::Root { at, source })?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .with_crls(trust.revoked)
        .allow_unknown_revocation_status()
        .build()
        .map_err(ContextError::Trust)
}

static TLS12: [&SupportedProtocolVersion; 1] = [&version::TLS12];
static TLS13: [&SupportedProtocolVersion; 1] = [&version::TLS13];
static BOTH: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];

fn versions(tls: TlsVersions) -> &'static [&'static SupportedProtocolVersion] {
    match tls {
        TlsVersions::Both => &BOTH,
        TlsVersions::Tls12 => &TLS12,
        TlsVersions::Tls13 => &TLS13,
    }
}
