//! The TLS side of a conversation: messages in, messages out, no sockets.

use std::io::Read as _;
use std::io::Write as _;
use std::sync::Arc;

use homeward_model::Instant;
use homeward_model::UnixTime;
use rustls::server::danger::ClientCertVerifier;
use rustls::time_provider::TimeProvider;
use rustls::{HandshakeKind, ProtocolVersion, ServerConfig, ServerConnection};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};
use zeroize::Zeroizing;

use crate::keys::Msk;
use crate::reason::CertificateFault;
use crate::session::{Binding, Gate};
use crate::{Context, Identity, Method, Reason, TlsVersion};

/// The most plaintext of one message: an AVP or an inner EAP packet needs far less.
const MAX_PLAIN: usize = 16 * 1024;
/// The most names of a certificate that are tried.
const MAX_NAMES: usize = 8;

/// The time at which a conversation began: what certificates are checked against.
#[derive(Debug)]
struct Fixed(UnixTime);

impl TimeProvider for Fixed {
    fn current_time(&self) -> Option<rustls::pki_types::UnixTime> {
        Some(unix(self.0))
    }
}

fn unix(time: UnixTime) -> rustls::pki_types::UnixTime {
    let seconds = u64::try_from(time.seconds()).unwrap_or_default();
    rustls::pki_types::UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds))
}

/// One TLS connection within EAP.
#[derive(Debug)]
pub(crate) struct Tunnel {
    connection: ServerConnection,
    gate: Arc<Gate>,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    method: Method,
    wall: UnixTime,
    /// Whether the peer's first message is a ClientHello of a version before TLS 1.2.
    old: bool,
}

impl Tunnel {
    pub(crate) fn new(
        context: &Context,
        method: Method,
        now: Instant,
        wall: UnixTime,
    ) -> Result<Self, Reason> {
        let (config, verifier) = match (method, &context.mutual) {
            (Method::Tls, Some((config, verifier))) => (config, Some(Arc::clone(verifier))),
            (Method::Tls, None) => return Err(Reason::Internal("no trust for EAP-TLS".to_owned())),
            (Method::Ttls | Method::Peap, _) => (&context.anonymous, None),
        };
        let gate = Arc::new(Gate::new(Arc::clone(&context.sessions), method, now));
        let mut config = ServerConfig::clone(config);
        config.session_storage = Arc::clone(&gate) as Arc<_>;
        config.time_provider = Arc::new(Fixed(wall));
        let mut connection = ServerConnection::new(Arc::new(config))
            .map_err(|error| Reason::Internal(error.to_string()))?;
        connection.set_buffer_limit(Some(MAX_PLAIN));
        Ok(Self { connection, gate, verifier, method, wall, old: false })
    }

    /// Takes a message of the peer; what it says inside the tunnel comes back, decrypted.
    pub(crate) fn feed(&mut self, mut message: &[u8]) -> Result<Zeroizing<Vec<u8>>, Reason> {
        if self.connection.protocol_version().is_none() {
            self.old |= is_old(message);
        }
        self.read(&mut message).map_err(|reason| match reason {
            // What the library finds missing first in such a ClientHello is not the point.
            Reason::Handshake(_) | Reason::NoCommonCipher(_) if self.old => Reason::OldTls,
            other => other,
        })
    }

    fn read(&mut self, message: &mut &[u8]) -> Result<Zeroizing<Vec<u8>>, Reason> {
        let mut plain = Zeroizing::new(Vec::new());
        while !message.is_empty() {
            let before = message.len();
            self.connection
                .read_tls(message)
                .map_err(|error| Reason::Handshake(error.to_string()))?;
            let state = self.connection.process_new_packets()?;
            let length = state.plaintext_bytes_to_read();
            if plain.len() + length > MAX_PLAIN {
                return Err(Reason::Inner("it is too long"));
            }
            let at = plain.len();
            plain.resize(at + length, 0);
            if let Some(room) = plain.get_mut(at..) {
                self.connection
                    .reader()
                    .read_exact(room)
                    .map_err(|error| Reason::Internal(error.to_string()))?;
            }
            if message.len() == before {
                return Err(Reason::Handshake("the peer's TLS message is too long".to_owned()));
            }
        }
        Ok(plain)
    }

    /// Encrypts what is to be said inside the tunnel; it goes out with [`output`](Self::output).
    pub(crate) fn say(&mut self, plain: &[u8]) -> Result<(), Reason> {
        self.connection
            .writer()
            .write_all(plain)
            .map_err(|error| Reason::Internal(error.to_string()))
    }

    /// What TLS has to send.
    pub(crate) fn output(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        while self.connection.wants_write() {
            // Writing to a vector does not fail.
            if !matches!(self.connection.write_tls(&mut out), Ok(1..)) {
                break;
            }
        }
        out
    }

    /// Whether the handshake is over.
    pub(crate) fn established(&self) -> bool {
        !self.connection.is_handshaking()
    }

    pub(crate) fn is_resumed(&self) -> bool {
        self.connection.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// What the session being resumed is bound to.
    pub(crate) fn binding(&self) -> Option<Arc<Binding>> {
        if self.is_resumed() { self.gate.offered() } else { None }
    }

    pub(crate) fn gate(&self) -> &Gate {
        &self.gate
    }

    pub(crate) fn version(&self) -> TlsVersion {
        match self.connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => TlsVersion::Tls13,
            _ => TlsVersion::Tls12,
        }
    }

    /// The master session key (RFC 5216 2.3, RFC 5281 8, RFC 9190 2.3, RFC 9427 2.1).
    pub(crate) fn msk(&self) -> Result<Msk, Reason> {
        let (label, kind) = match (self.version(), self.method) {
            (TlsVersion::Tls13, method) => ("EXPORTER_EAP_TLS_Key_Material", Some([method.kind()])),
            (TlsVersion::Tls12, Method::Ttls) => ("ttls keying material", None),
            (TlsVersion::Tls12, Method::Tls | Method::Peap) => ("client EAP encryption", None),
        };
        // With TLS 1.3 the length is part of what is derived: MSK and EMSK are 128 octets.
        let both = Zeroizing::new(self.export::<128>(label, kind.as_ref().map(|k| &k[..]))?);
        Ok(Msk::new(*both.first_chunk().unwrap_or(&[0; 64])))
    }

    /// The challenge and identifier that MSCHAPv2 within EAP-TTLS has to use (RFC 5281 11.1,
    /// RFC 9427 2.3).
    pub(crate) fn ttls_challenge(&self) -> Result<([u8; 16], u8), Reason> {
        let octets = self.export::<17>("ttls challenge", None)?;
        let [challenge @ .., id] = octets;
        Ok((challenge, id))
    }

    fn export<const N: usize>(
        &self,
        label: &str,
        context: Option<&[u8]>,
    ) -> Result<[u8; N], Reason> {
        self.connection
            .export_keying_material([0; N], label.as_bytes(), context)
            .map_err(|error| Reason::Internal(error.to_string()))
    }

    /// The peer's certificate in DER, with the names in it. Of a resumed session it is checked
    /// again, for TLS does not, and it may have expired or been revoked since.
    pub(crate) fn certificate(&self) -> Result<(Vec<u8>, Vec<Identity>), Reason> {
        let (leaf, issuers) = self
            .connection
            .peer_certificates()
            .and_then(|chain| chain.split_first())
            .ok_or(Reason::NoCertificate)?;
        if self.is_resumed()
            && let Some(verifier) = &self.verifier
        {
            verifier.verify_client_cert(leaf, issuers, unix(self.wall))?;
        }
        let names = names(leaf);
        if names.is_empty() {
            return Err(Reason::Certificate(CertificateFault::NoName));
        }
        Ok((leaf.to_vec(), names))
    }
}

/// Whether this is the beginning of a ClientHello that offers no more than TLS 1.1: behind the
/// record's header and the message's, a version that RFC 8446 4.1.2 has stay at 1.2.
fn is_old(message: &[u8]) -> bool {
    matches!(message, &[22, 3, _, _, _, 1, _, _, _, 3, minor, ..] if minor < 3)
}

/// The names in a certificate that can be identities (RFC 5216 5.2): alternative names of the
/// subject, or for lack of them its common name.
fn names(der: &[u8]) -> Vec<Identity> {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else { return Vec::new() };
    let mut names: Vec<&str> = Vec::new();
    if let Ok(Some(alternative)) = certificate.subject_alternative_name() {
        names.extend(alternative.value.general_names.iter().filter_map(|name| match name {
            GeneralName::RFC822Name(text) | GeneralName::DNSName(text) | GeneralName::URI(text) => {
                Some(*text)
            }
            GeneralName::OtherName(oid, value) if oid.to_id_string() == UPN => upn(value),
            _ => None,
        }));
    }
    if names.is_empty() {
        let common = certificate.subject().iter_common_name();
        names.extend(common.filter_map(|name| name.as_str().ok()));
    }
    let names = names.into_iter().filter(|name| !name.is_empty()).take(MAX_NAMES);
    names.filter_map(|name| Identity::decode(name.as_bytes()).ok()).collect()
}

/// Microsoft's user principal name.
const UPN: &str = "1.3.6.1.4.1.311.20.2.3";

/// The text of a user principal name: `[0] EXPLICIT UTF8String`, shorter than 128 octets.
fn upn(value: &[u8]) -> Option<&str> {
    let (&[0xa0, _, 0x0c, length], text) = value.split_first_chunk::<4>()? else { return None };
    std::str::from_utf8(text.get(..usize::from(length))?).ok()
}
