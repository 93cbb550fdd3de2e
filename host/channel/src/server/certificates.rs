//! The core's own certificate, and what it makes of its gateways'.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use homeward_daemon::SystemEntropy;
use homeward_model::{Clock, UnixTime};
use rustls::pki_types::{CertificateDer, UnixTime as TlsTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{
    ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig,
    SignatureScheme, client::danger::HandshakeSignatureValid, version,
};

use crate::authority::Authority;
use crate::certificate::Presented;
use crate::error::Error;
use crate::tls;

/// The core's certificate, made anew once two thirds of its life are over. Its key is never
/// written down.
pub(super) struct Certificates {
    authority: Arc<Authority>,
    lifetime: Duration,
    clock: Arc<dyn Clock>,
    current: RwLock<Dated>,
}

/// A certificate, and when to make another.
#[derive(Clone)]
struct Dated {
    key: Arc<CertifiedKey>,
    renew_at: UnixTime,
}

impl Certificates {
    pub(super) fn new(
        authority: Arc<Authority>,
        lifetime: Duration,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        let now = clock.unix();
        let (not_before, not_after) = authority.validity();
        if now < not_before || now >= not_after {
            let reason = format!(
                "the core's authority is good from {not_before} to {not_after}, and by this clock \
                 it is {now}: set the clock (NTP)"
            );
            return Err(Error::Make { what: "certificate", reason });
        }
        let current = RwLock::new(make(&authority, lifetime, now)?);
        Ok(Self { authority, lifetime, clock, current })
    }

    /// TLS as the core speaks it.
    pub(super) fn config(self: &Arc<Self>, grace: Duration) -> Result<ServerConfig, rustls::Error> {
        let provider = tls::provider();
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.certificate().clone())?;
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .allow_unauthenticated()
                .build()
                .map_err(|e| rustls::Error::General(e.to_string()))?;
        let time = Arc::new(tls::HouseTime(Arc::clone(&self.clock)));
        let mut config = ServerConfig::builder_with_details(provider, time)
            .with_protocol_versions(&[&version::TLS13])?
            .with_client_cert_verifier(Arc::new(Lenient { verifier, grace }))
            .with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![tls::ALPN.to_vec()];
        // A resumed session would not show certificates again.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }

    /// The certificate for a handshake now.
    fn current(&self) -> Arc<CertifiedKey> {
        let now = self.clock.unix();
        let found = self.current.read().unwrap_or_else(PoisonError::into_inner).clone();
        if now < found.renew_at {
            return found.key;
        }
        match make(&self.authority, self.lifetime, now) {
            Ok(fresh) => {
                let key = Arc::clone(&fresh.key);
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = fresh;
                key
            }
            Err(error) => {
                tracing::error!(%error, "the core's certificate is not renewed");
                found.key
            }
        }
    }
}

fn make(authority: &Authority, lifetime: Duration, now: UnixTime) -> Result<Dated, Error> {
    let (certificate, key) = authority.sign_core(now, lifetime, &mut SystemEntropy::new())?;
    // A gateway that enrols finds the authority that its token pins in the chain.
    let chain = vec![certificate, authority.certificate().clone()];
    let made = CertifiedKey::from_der(chain, key, &tls::provider());
    let made = made.map_err(|e| Error::Make { what: "certificate", reason: e.to_string() })?;
    let life = i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX);
    Ok(Dated { key: Arc::new(made), renew_at: UnixTime(now.0.saturating_add(life / 3 * 2)) })
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificates")
    }
}

/// Checks gateways' certificates. One that has expired is let through for a while, for it may be
/// renewed: the calls look at the time once more.
#[derive(Debug)]
struct Lenient {
    verifier: Arc<dyn ClientCertVerifier>,
    grace: Duration,
}

impl ClientCertVerifier for Lenient {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.verifier.root_hint_subjects()
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: TlsTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let outcome = self.verifier.verify_client_cert(end_entity, intermediates, now);
        let Err(rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { .. })) =
            outcome
        else {
            return outcome;
        };
        let Ok(presented) = Presented::read(end_entity) else { return outcome };
        let end = tls::tls_time(presented.not_after);
        if now.as_secs().saturating_sub(end.as_secs()) > self.grace.as_secs() {
            return outcome;
        }
        self.verifier.verify_client_cert(end_entity, intermediates, end)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
