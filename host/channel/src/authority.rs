//! The core's certificate authority: it signs the core's own certificates and its gateways'.
//!
//! All keys are ECDSA on P-256. An authority stands for twenty years; the core's certificates are
//! made anew by every process and never written down; a gateway's live as long as the core's
//! configuration says.

use std::time::Duration;

use homeward_model::{Entropy, GatewayId, Secret, UnixTime};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SerialNumber, date_time_ymd,
};
use rustls::pki_types::{
    CertificateDer, CertificateSigningRequestDer, PrivateKeyDer, PrivatePkcs8KeyDer,
};

use crate::certificate::{self, CORE_NAME, Serial};
use crate::error::Error;
use crate::token::Pin;

/// How long an authority stands.
const AUTHORITY_LIFETIME: Duration = Duration::from_secs(20 * 365 * 86_400);

/// How much earlier than now a certificate begins, for clocks that are behind a little.
const BACKDATED: Duration = Duration::from_secs(3600);

/// Larger signing requests are not looked at: one with a P-256 key has about 250 octets.
const MAX_SIGNING_REQUEST: usize = 4096;

/// The certificate authority, with its key.
pub struct Authority {
    certificate: CertificateDer<'static>,
    pin: Pin,
    issuer: Issuer<'static, KeyPair>,
}

/// An authority as it is kept: its certificate, and its key to be sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorityParts {
    /// The certificate in DER.
    pub certificate: Vec<u8>,
    /// The private key, as PKCS#8 in DER.
    pub key: Secret,
}

/// A signing request whose signature is good.
pub struct SigningRequest(CertificateSigningRequestParams);

/// Why a signing request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SigningRequestError {
    /// It is none, or too large.
    #[error("it is no PKCS#10 request of a supported kind")]
    Malformed,
    /// Whoever sent it does not hold the key.
    #[error("it is not signed with the key in it")]
    Signature,
    /// Another kind of key.
    #[error("its key is not ECDSA on P-256")]
    Key,
}

impl SigningRequest {
    /// Reads a request and checks that it is signed with the key in it. The names in it are
    /// ignored.
    ///
    /// # Errors
    ///
    /// [`SigningRequestError`].
    pub fn read(der: &[u8]) -> Result<Self, SigningRequestError> {
        if der.len() > MAX_SIGNING_REQUEST {
            return Err(SigningRequestError::Malformed);
        }
        let request = CertificateSigningRequestDer::from(der);
        let request = CertificateSigningRequestParams::from_der(&request).map_err(|e| match e {
            rcgen::Error::InvalidCertificationRequestSignature => SigningRequestError::Signature,
            _ => SigningRequestError::Malformed,
        })?;
        if request.public_key.algorithm() != &PKCS_ECDSA_P256_SHA256 {
            return Err(SigningRequestError::Key);
        }
        Ok(Self(request))
    }
}

impl Authority {
    /// Makes a new authority.
    ///
    /// # Errors
    ///
    /// [`Error::Make`], which does not happen with a working random generator.
    pub fn generate(now: UnixTime, entropy: &mut impl Entropy) -> Result<AuthorityParts, Error> {
        let key = new_key()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = name("Homeward core authority");
        params.serial_number = Some(SerialNumber::from(random_serial(entropy).0.to_vec()));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        set_validity(&mut params, now, later(now, AUTHORITY_LIFETIME));
        let certificate = params.self_signed(&key).map_err(|e| made("certificate", e))?;
        Ok(AuthorityParts {
            certificate: certificate.der().to_vec(),
            key: Secret::new(key.serialize_der()),
        })
    }

    /// An authority out of what was kept of it.
    ///
    /// # Errors
    ///
    /// [`Error::Make`] if the two are no authority, or do not belong together.
    pub fn load(parts: &AuthorityParts) -> Result<Self, Error> {
        let wrong = |reason: &str| Error::Make {
            what: "certificate authority out of what the datastore holds",
            reason: reason.to_owned(),
        };
        let key = key_pair(parts.key.expose())?;
        let certificate = certificate::der(&parts.certificate);
        let public = certificate::public_key_of(&certificate);
        let public = public.ok_or_else(|| wrong("its certificate cannot be read"))?;
        if public != key.subject_public_key_info() {
            return Err(wrong("its key belongs to another certificate"));
        }
        let pin = Pin::of(&public);
        let issuer = Issuer::from_ca_cert_der(&certificate, key);
        let issuer = issuer.map_err(|e| made("certificate authority", e))?;
        Ok(Self { certificate, pin, issuer })
    }

    /// What gateways know it by.
    pub fn pin(&self) -> Pin {
        self.pin
    }

    /// Its certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// When it begins and ends.
    pub fn validity(&self) -> (UnixTime, UnixTime) {
        certificate::validity_of(&self.certificate).unwrap_or((UnixTime(0), UnixTime(0)))
    }

    /// Signs a gateway's certificate: for its number, whatever the request says.
    ///
    /// # Errors
    ///
    /// [`Error::Make`], which does not happen for a [`SigningRequest`].
    pub fn sign_gateway(
        &self,
        request: SigningRequest,
        gateway: GatewayId,
        common_name: &str,
        serial: Serial,
        (now, not_after): (UnixTime, UnixTime),
    ) -> Result<Vec<u8>, Error> {
        let uri = Ia5String::try_from(certificate::gateway_uri(gateway));
        let uri = uri.map_err(|e| made("certificate", e))?;
        let mut params = CertificateParams::default();
        params.distinguished_name = name(common_name);
        params.serial_number = Some(SerialNumber::from(serial.0.to_vec()));
        params.subject_alt_names = vec![SanType::URI(uri)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params, now, not_after);
        let request = CertificateSigningRequestParams { params, ..request.0 };
        let signed = request.signed_by(&self.issuer).map_err(|e| made("certificate", e))?;
        Ok(signed.der().to_vec())
    }

    /// Makes a certificate for the core itself, with a key of its own.
    ///
    /// # Errors
    ///
    /// [`Error::Make`], which does not happen with a working random generator.
    pub fn sign_core(
        &self,
        now: UnixTime,
        lifetime: Duration,
        entropy: &mut impl Entropy,
    ) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), Error> {
        let key = new_key()?;
        let mut params =
            CertificateParams::new([CORE_NAME.to_owned()]).map_err(|e| made("certificate", e))?;
        params.distinguished_name = name(CORE_NAME);
        params.serial_number = Some(SerialNumber::from(random_serial(entropy).0.to_vec()));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params, now, later(now, lifetime));
        let signed = params.signed_by(&key, &self.issuer).map_err(|e| made("certificate", e))?;
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        Ok((signed.der().clone(), key.into()))
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Authority({})", self.pin)
    }
}

/// A serial number for a certificate to be signed. Its first bit is clear, so that it is positive
/// and 16 octets long in DER; the next is set, so that it stays 16.
pub fn random_serial(entropy: &mut impl Entropy) -> Serial {
    let mut octets: [u8; 16] = entropy.octets();
    let [first, ..] = &mut octets;
    *first = *first & 0x7f | 0x40;
    Serial(octets)
}

/// A new key.
pub(crate) fn new_key() -> Result<KeyPair, Error> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|e| made("key", e))
}

/// A key that was kept as PKCS#8 in DER.
pub(crate) fn key_pair(pkcs8: &[u8]) -> Result<KeyPair, Error> {
    let pkcs8 = PrivatePkcs8KeyDer::from(pkcs8);
    KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8, &PKCS_ECDSA_P256_SHA256)
        .map_err(|e| made("key out of what was kept", e))
}

/// A signing request for a key. It names nothing: the core knows who asks.
pub(crate) fn signing_request(key: &KeyPair) -> Result<Vec<u8>, Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(key).map_err(|e| made("signing request", e))?;
    Ok(request.der().to_vec())
}

fn name(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

/// From a little before `now` to `until`, in whole seconds; times before 1970 are 1970.
fn set_validity(params: &mut CertificateParams, now: UnixTime, until: UnixTime) {
    let since_1970 =
        |time: UnixTime| Duration::from_secs(u64::try_from(time.seconds()).unwrap_or(0));
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + since_1970(now).saturating_sub(BACKDATED);
    params.not_after = epoch + since_1970(until);
}

fn later(time: UnixTime, span: Duration) -> UnixTime {
    UnixTime(time.0.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
}

fn made(what: &'static str, error: impl std::fmt::Display) -> Error {
    Error::Make { what, reason: error.to_string() }
}
