//! TLS 1.3 between gateways and their core.
//!
//! Both ends are ours, so there is one version, one provider (ring), no resumption, and names are
//! fixed. A gateway believes the authorities of its credential, or, while it enrols, the one whose
//! public key the token pins.

use std::fmt;
use std::sync::Arc;

use homeward_model::{Clock, UnixTime};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime as TlsTime};
use rustls::server::ParsedCertificate;
use rustls::time_provider::TimeProvider;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme, version,
};

use crate::certificate::{self, CORE_NAME};
use crate::credential::{Credential, MAX_AUTHORITIES};
use crate::token::Pin;

/// The application protocol: HTTP/2, which gRPC is made of.
pub(crate) const ALPN: &[u8] = b"h2";

/// The one provider of cryptography.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// The house's clock, as the library asks for it.
pub(crate) struct HouseTime(pub(crate) Arc<dyn Clock>);

impl TimeProvider for HouseTime {
    fn current_time(&self) -> Option<TlsTime> {
        Some(tls_time(self.0.unix()))
    }
}

impl fmt::Debug for HouseTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HouseTime")
    }
}

/// Times before 1970 are 1970.
pub(crate) fn tls_time(time: UnixTime) -> TlsTime {
    let seconds = u64::try_from(time.seconds()).unwrap_or(0);
    TlsTime::since_unix_epoch(std::time::Duration::from_secs(seconds))
}

/// Whom a gateway believes.
#[derive(Debug, Clone)]
pub(crate) enum Trust {
    /// The authorities of its credential.
    Authorities(Vec<CertificateDer<'static>>),
    /// The authority with that public key, whichever certificate it shows.
    Pinned(Pin),
}

/// The client's side: believes `trust`, and shows the credential if there is one.
pub(crate) fn client(
    trust: Trust,
    credential: Option<&Credential>,
    clock: Arc<dyn Clock>,
) -> Result<ClientConfig, rustls::Error> {
    let provider = provider();
    let verifier = CoreVerifier { trust, algorithms: provider.signature_verification_algorithms };
    let builder = ClientConfig::builder_with_details(provider, Arc::new(HouseTime(clock)))
        .with_protocol_versions(&[&version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match credential {
        None => builder.with_no_client_auth(),
        Some(credential) => {
            let (chain, key) = credential.to_show();
            builder.with_client_auth_cert(chain, key)?
        }
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    // A resumed session would not show certificates again.
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// The name that a core's certificate must have.
pub(crate) fn core_name() -> ServerName<'static> {
    // The constant is a name; a test says so.
    ServerName::try_from(CORE_NAME)
        .unwrap_or(ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into()))
}

/// Checks a core's certificate: signed by who is trusted, for a server, with the core's name, and
/// good now.
#[derive(Debug)]
struct CoreVerifier {
    trust: Trust,
    algorithms: WebPkiSupportedAlgorithms,
}

impl CoreVerifier {
    /// The authorities that this chain may lead to.
    fn roots(&self, chain: &[CertificateDer<'_>]) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        match &self.trust {
            Trust::Authorities(authorities) => {
                roots.add_parsable_certificates(authorities.iter().cloned());
            }
            Trust::Pinned(pin) => {
                let pinned = chain
                    .iter()
                    .take(MAX_AUTHORITIES)
                    .filter(|c| certificate::pin_of(c) == Some(*pin))
                    .map(|c| c.clone().into_owned());
                roots.add_parsable_certificates(pinned);
            }
        }
        roots
    }
}

impl ServerCertVerifier for CoreVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: TlsTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let roots = self.roots(intermediates);
        if roots.is_empty() {
            return Err(CertificateError::UnknownIssuer.into());
        }
        let certificate = ParsedCertificate::try_from(end_entity)?;
        // The authority signs directly: no intermediates are looked at.
        rustls::client::verify_server_cert_signed_by_trust_anchor(
            &certificate,
            &roots,
            &[],
            now,
            self.algorithms.all,
        )?;
        rustls::client::verify_server_name(&certificate, server_name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cores_name_is_a_name() {
        assert_eq!(core_name(), ServerName::try_from(CORE_NAME).unwrap());
    }
}
