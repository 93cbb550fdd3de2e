//! The answers to challenges: by TLS on the portal's own port, or by HTTP on a listener that knows
//! nothing else.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use async_trait::async_trait;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use instant_acme::KeyAuthorization;
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;

use super::config::Challenge;
use homeward_http::{Answer, Certificates, Handler, Peer, provider};

/// Where a token is asked for (RFC 8555, section 8.3).
const PATH: &str = "/.well-known/acme-challenge/";

/// Tokens that an ACME server has put, and what they are answered. Clones are one and the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Tokens(Arc<Mutex<BTreeMap<String, String>>>);

impl Tokens {
    fn set(&self, tokens: BTreeMap<String, String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = tokens;
    }

    fn get(&self, path: &str) -> Option<String> {
        let tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.get(path.strip_prefix(PATH)?).cloned()
    }
}

#[async_trait]
impl Handler for Tokens {
    fn admit(&self, _: &Peer, head: &Parts) -> Result<(), Box<Answer>> {
        match head.method {
            Method::GET | Method::HEAD => Ok(()),
            _ => {
                let mut answer = empty(StatusCode::METHOD_NOT_ALLOWED);
                answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
                Err(Box::new(answer))
            }
        }
    }

    async fn answer(&self, _: &Peer, head: Parts, _: Bytes) -> Answer {
        let Some(text) = self.get(head.uri.path()) else { return empty(StatusCode::NOT_FOUND) };
        let mut answer = Response::new(Full::new(Bytes::from(text)));
        let kind = HeaderValue::from_static("application/octet-stream");
        answer.headers_mut().insert(CONTENT_TYPE, kind);
        answer
    }
}

fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::new()));
    *answer.status_mut() = status;
    answer
}

/// Answers challenges until it is dropped.
pub(super) struct Answering<'a> {
    challenge: Challenge,
    certificates: &'a Certificates,
    tokens: &'a Tokens,
    shown: BTreeMap<String, Arc<CertifiedKey>>,
    said: BTreeMap<String, String>,
}

impl<'a> Answering<'a> {
    pub(super) fn new(
        challenge: Challenge,
        certificates: &'a Certificates,
        tokens: &'a Tokens,
    ) -> Self {
        let (shown, said) = Default::default();
        Self { challenge, certificates, tokens, shown, said }
    }

    /// Answers one more.
    pub(super) fn add(
        &mut self,
        name: &str,
        token: &str,
        key: &KeyAuthorization,
    ) -> anyhow::Result<()> {
        match self.challenge {
            Challenge::TlsAlpn => {
                self.shown.insert(asked_for(name), Arc::new(certificate(name, key)?));
                self.certificates.answer(self.shown.clone())
            }
            Challenge::Http => {
                self.said.insert(token.to_owned(), key.as_str().to_owned());
                self.tokens.set(self.said.clone());
                Ok(())
            }
        }
    }
}

impl Drop for Answering<'_> {
    fn drop(&mut self) {
        self.tokens.set(BTreeMap::new());
        if let Err(error) = self.certificates.answer(BTreeMap::new()) {
            tracing::error!(error = format!("{error:#}"), "answers to challenges stay");
        }
    }
}

/// The certificate that shows who asked for one (RFC 8737, section 3).
fn certificate(name: &str, key: &KeyAuthorization) -> anyhow::Result<CertifiedKey> {
    let mut of = CertificateParams::new([name.to_owned()]).context("a challenge's certificate")?;
    let digest = key.digest();
    of.custom_extensions = vec![CustomExtension::new_acme_identifier(digest.as_ref())];
    let pair = KeyPair::generate()?;
    let signed = of.self_signed(&pair)?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(pair.serialize_der()));
    // rustls would compare the two, and does not take a critical extension that it does not know.
    let key = provider().key_provider.load_private_key(key)?;
    Ok(CertifiedKey::new(vec![signed.der().clone()], key))
}

/// The server name by which a name is asked for: an address has one in the reverse zones (RFC
/// 8738, section 6).
fn asked_for(name: &str) -> String {
    match name.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        Ok(IpAddr::V6(address)) => {
            let octets = address.octets();
            let nibbles = octets.iter().rev().flat_map(|octet| [octet & 15, octet >> 4]);
            nibbles.map(|nibble| format!("{nibble:x}.")).collect::<String>() + "ip6.arpa"
        }
        Err(_) => name.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_asked_for_by_its_name_in_the_reverse_zones() {
        assert_eq!(asked_for("Portal.example.net"), "portal.example.net");
        assert_eq!(asked_for("192.0.2.1"), "1.2.0.192.in-addr.arpa");
        // RFC 3596, section 2.5.
        assert_eq!(
            asked_for("4321:0:1:2:3:4:567:89ab"),
            "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.0.0.0.0.1.2.3.4.ip6.arpa"
        );
    }

    #[test]
    fn a_token_is_found_at_its_path_and_nowhere_else() {
        let tokens = Tokens::default();
        tokens.set([("abc".to_owned(), "abc.def".to_owned())].into());
        assert_eq!(tokens.get("/.well-known/acme-challenge/abc").as_deref(), Some("abc.def"));
        for path in ["/abc", "/.well-known/acme-challenge/", "/.well-known/acme-challenge/abd"] {
            assert_eq!(tokens.get(path), None, "{path}");
        }
    }
}
