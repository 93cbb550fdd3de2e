//! What is read out of certificates.
//!
//! A gateway is named by the URI `urn:homeward:gateway:N` in its certificate's subjectAltName, `N`
//! being its number in the datastore; the common name is for people.

use std::fmt;

use homeward_model::{GatewayId, UnixTime};
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::token::Pin;

/// The name in every core's certificate. A fixed one: a gateway knows its core by the authority
/// it was enrolled with, not by the name or address at which it finds it. `.internal` is never
/// delegated, so that no public authority signs for it.
pub const CORE_NAME: &str = "core.homeward.internal";

/// What a gateway's number stands behind.
const GATEWAY_URI: &str = "urn:homeward:gateway:";

/// A certificate's serial number: 16 random octets.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial(pub [u8; 16]);

impl fmt::Display for Serial {
    /// 32 lower-case hex digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Serial({self})")
    }
}

/// What a gateway's certificate says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Presented {
    /// Whose it is.
    pub gateway: GatewayId,
    /// Its serial number.
    pub serial: Serial,
    /// When it begins.
    pub not_before: UnixTime,
    /// When it ends.
    pub not_after: UnixTime,
}

/// Why a certificate is no gateway's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// No X.509.
    #[error("it is no certificate")]
    Malformed,
    /// Another kind of certificate.
    #[error("it names no gateway")]
    NoGateway,
    /// A serial number that is none of ours.
    #[error("its serial number is none of 16 octets")]
    Serial,
}

impl Presented {
    /// Reads a gateway's certificate. Whether it is signed, and by whom, is not looked at.
    ///
    /// # Errors
    ///
    /// [`CertificateError`].
    pub fn read(certificate: &[u8]) -> Result<Self, CertificateError> {
        let parsed = parse(certificate)?;
        let gateway = gateway(&parsed).ok_or(CertificateError::NoGateway)?;
        let serial = serial(parsed.raw_serial()).ok_or(CertificateError::Serial)?;
        let (not_before, not_after) = validity(&parsed);
        Ok(Self { gateway, serial, not_before, not_after })
    }
}

/// The gateway that a certificate names.
fn gateway(certificate: &X509Certificate<'_>) -> Option<GatewayId> {
    let names = certificate.subject_alternative_name().ok()??;
    let mut found = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => uri.strip_prefix(GATEWAY_URI),
        _ => None,
    });
    // Exactly one, in the one spelling that it has.
    let (Some(number), None) = (found.next(), found.next()) else { return None };
    let id: i64 = number.parse().ok()?;
    (id > 0 && id.to_string() == number).then_some(GatewayId(id))
}

/// DER leads with a zero octet where the first bit is set.
fn serial(raw: &[u8]) -> Option<Serial> {
    let significant = match raw {
        [0, rest @ ..] => rest,
        whole => whole,
    };
    let mut octets = [0; 16];
    let start = octets.len().checked_sub(significant.len())?;
    octets.get_mut(start..)?.copy_from_slice(significant);
    Some(Serial(octets))
}

/// When a certificate begins and ends.
pub(crate) fn validity_of(certificate: &[u8]) -> Option<(UnixTime, UnixTime)> {
    parse(certificate).ok().map(|c| validity(&c))
}

/// The pin of a certificate's public key.
pub(crate) fn pin_of(certificate: &[u8]) -> Option<Pin> {
    parse(certificate).ok().map(|c| Pin::of(c.public_key().raw))
}

/// A certificate's public key, as SubjectPublicKeyInfo in DER.
pub(crate) fn public_key_of(certificate: &[u8]) -> Option<Vec<u8>> {
    parse(certificate).ok().map(|c| c.public_key().raw.to_vec())
}

/// A certificate's common name.
pub(crate) fn common_name_of(certificate: &[u8]) -> Option<String> {
    let parsed = parse(certificate).ok()?;
    let name = parsed.subject().iter_common_name().next()?.as_str().ok()?;
    Some(name.to_owned())
}

/// How the number of a gateway is written into a certificate.
pub(crate) fn gateway_uri(gateway: GatewayId) -> String {
    format!("{GATEWAY_URI}{gateway}")
}

fn parse(certificate: &[u8]) -> Result<X509Certificate<'_>, CertificateError> {
    match X509Certificate::from_der(certificate) {
        Ok(([], parsed)) => Ok(parsed),
        _ => Err(CertificateError::Malformed),
    }
}

fn validity(certificate: &X509Certificate<'_>) -> (UnixTime, UnixTime) {
    let ms = |seconds: i64| UnixTime(seconds.saturating_mul(1000));
    let validity = certificate.validity();
    (ms(validity.not_before.timestamp()), ms(validity.not_after.timestamp()))
}

/// A certificate on its own, from octets at hand.
pub(crate) fn der(octets: &[u8]) -> CertificateDer<'static> {
    CertificateDer::from(octets.to_vec())
}
