//! Why a conversation ended in a refusal: precise for the operator, nothing for the peer.

use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};

use crate::avp::AvpError;
use crate::directory::Denied;
use crate::fragment::FragmentError;
use crate::identity::IdentityError;

/// Why a conversation ended in a refusal. `Display` is for operators; the peer is told none of
/// it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The outer or inner identity is malformed.
    #[error("the peer's identity is malformed: {0}")]
    Identity(IdentityError),
    /// Nobody has the identity claimed, or the certificate's names.
    #[error("nobody has this identity")]
    UnknownIdentity,
    /// A wrong password.
    #[error("wrong password")]
    WrongPassword,
    /// The credential's password cannot be checked by the method that the peer uses.
    #[error(
        "the credential cannot be checked with the peer's inner method: a password stored as a \
         slow hash needs PAP or GTC"
    )]
    WrongCredentialKind,
    /// Proven, and not allowed.
    #[error("{0}")]
    Denied(Denied),
    /// The peer wants methods that are not served.
    #[error("the peer wants EAP types {wanted:?}, none of which is served here")]
    NoCommonMethod {
        /// The types it asked for, in its order, at most 16.
        wanted: Vec<u8>,
    },
    /// The peer wants something inside the tunnel that is not served.
    #[error("the peer's inner method is not served here: use PAP, MSCHAPv2, EAP-MSCHAPv2 or GTC")]
    NoCommonInner,
    /// The peer ended TLS with an alert.
    #[error("{}", alert_text(*.description, *.code))]
    Alert {
        /// The alert's number (RFC 8446 6).
        code: u8,
        /// The alert, as the TLS library names it.
        description: AlertDescription,
    },
    /// The peer speaks TLS 1.0 or 1.1 only, or a version that is turned off.
    #[error(
        "the peer offers no TLS version that is served: it speaks only TLS 1.0/1.1, or one that is turned off here"
    )]
    OldTls,
    /// No cipher suite, group or signature scheme in common.
    #[error(
        "the peer's TLS has no {0} in common with ours: RSA key exchange and CBC are not served"
    )]
    NoCommonCipher(&'static str),
    /// The peer sent no certificate.
    #[error("the peer sent no certificate")]
    NoCertificate,
    /// The peer's certificate does not pass.
    #[error("the peer's certificate does not pass: {0}")]
    Certificate(CertificateFault),
    /// The TLS handshake failed otherwise.
    #[error("the TLS handshake failed: {0}")]
    Handshake(String),
    /// The peer's fragments are wrong.
    #[error("{0}")]
    Fragment(FragmentError),
    /// The AVPs of TTLS are wrong.
    #[error("{0}")]
    Avp(AvpError),
    /// A mandatory AVP that is not known here (RFC 5281 10.1).
    #[error("the peer insists on AVP {code} of vendor {vendor}, which is not known here")]
    UnknownAvp {
        /// The vendor; 0 for RADIUS's own.
        vendor: u32,
        /// The code.
        code: u32,
    },
    /// Something in the tunnel is out of order.
    #[error("the peer's message in the tunnel is out of order: {0}")]
    Inner(&'static str),
    /// The MSCHAPv2 challenge is not the tunnel's (RFC 5281 11.2.4): somebody's in between.
    #[error("the MSCHAPv2 challenge is not this tunnel's: the peer is speaking to somebody else")]
    ForeignChallenge,
    /// The peer's crypto-binding is missing though required, or wrong: somebody's in between.
    #[error("the PEAP crypto-binding is {}", if *.missing { "missing" } else { "wrong: somebody may stand between" })]
    CryptoBinding {
        /// Missing, not wrong.
        missing: bool,
    },
    /// The peer said no, after we had said yes.
    #[error("the peer refused the result: it may not trust our proof of the password")]
    PeerRefused,
    /// A resumed session's credential has changed since.
    #[error("the session to resume was begun with another password or certificate")]
    CredentialChanged,
    /// More messages than are allowed.
    #[error("more than {0} rounds")]
    TooManyRounds(u32),
    /// The conversation took too long.
    #[error("the conversation took longer than {seconds} s; the peer fell silent {stage}")]
    TimedOut {
        /// The limit.
        seconds: u64,
        /// Where the peer was last.
        stage: Stage,
    },
    /// The machine failed itself.
    #[error("the server failed: {0}")]
    Internal(String),
}

/// How far a conversation has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stage {
    /// The peer has not said who it is.
    #[error("before it said who it is")]
    Identity,
    /// A method was proposed.
    #[error("when a method was proposed")]
    Method,
    /// TLS is being negotiated: the peer has seen our certificate, or is to.
    #[error(
        "in the TLS handshake: it may not trust our certificate, or be waiting for its user to"
    )]
    Handshake,
    /// The tunnel stands, and the peer is to prove who it is.
    #[error("inside the tunnel, before it proved who it is")]
    Inner,
    /// The result was told, and the peer is to confirm it.
    #[error("before it confirmed the result")]
    Result,
}

impl Stage {
    /// A word for metrics: where a peer timed out.
    const fn label(self) -> &'static str {
        match self {
            Self::Identity => "timed_out_identity",
            Self::Method => "timed_out_method",
            Self::Handshake => "timed_out_handshake",
            Self::Inner => "timed_out_inner",
            Self::Result => "timed_out_result",
        }
    }
}

/// What is wrong with a client's certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateFault {
    /// Past its time.
    #[error("it has expired")]
    Expired,
    /// Before its time.
    #[error("it is not valid yet")]
    NotYet,
    /// On a revocation list.
    #[error("it is revoked")]
    Revoked,
    /// Of an issuer that is not trusted.
    #[error("its issuer is not trusted here")]
    UnknownIssuer,
    /// Not for client authentication.
    #[error("it is not meant for clients (extended key usage)")]
    Purpose,
    /// It names nobody: no usable name in it.
    #[error("it has no name in it that could be an identity")]
    NoName,
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl Reason {
    /// A word for metrics; few of them, so that it is fit for a label.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Identity(_) => "malformed_identity",
            Self::UnknownIdentity => "unknown_identity",
            Self::WrongPassword => "wrong_password",
            Self::WrongCredentialKind => "wrong_credential_kind",
            Self::Denied(denied) => denied.label(),
            Self::NoCommonMethod { .. } => "no_common_method",
            Self::NoCommonInner => "no_common_inner_method",
            Self::Alert { .. } => "tls_alert",
            Self::OldTls => "old_tls",
            Self::NoCommonCipher(_) => "no_common_cipher",
            Self::NoCertificate => "no_certificate",
            Self::Certificate(_) => "certificate",
            Self::Handshake(_) => "tls_handshake",
            Self::Fragment(_) => "fragment",
            Self::Avp(_) | Self::UnknownAvp { .. } => "avp",
            Self::Inner(_) => "inner_protocol",
            Self::ForeignChallenge => "foreign_challenge",
            Self::CryptoBinding { .. } => "crypto_binding",
            Self::PeerRefused => "peer_refused",
            Self::CredentialChanged => "credential_changed",
            Self::TooManyRounds(_) => "too_many_rounds",
            Self::TimedOut { stage, .. } => stage.label(),
            Self::Internal(_) => "internal",
        }
    }

    /// Whether the subscriber, rather than a device or a network, is the cause.
    pub const fn is_credential(&self) -> bool {
        matches!(
            self,
            Self::UnknownIdentity
                | Self::WrongPassword
                | Self::WrongCredentialKind
                | Self::Denied(_)
                | Self::Certificate(_)
                | Self::CredentialChanged
        )
    }
}

/// Alerts that tell what to repair.
fn alert_text(description: AlertDescription, code: u8) -> String {
    let hint = match description {
        AlertDescription::UnknownCA => {
            "the device does not trust the issuer of our certificate: install the CA on it"
        }
        AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnsupportedCertificate => {
            "the device does not accept our certificate: check the CA and the server name set on it"
        }
        AlertDescription::CertificateExpired => {
            "the device holds our certificate to be expired: renew it, or set the device's clock"
        }
        AlertDescription::CertificateRevoked => "the device holds our certificate to be revoked",
        AlertDescription::ProtocolVersion => "the device speaks no TLS version that is served",
        AlertDescription::AccessDenied | AlertDescription::UserCanceled => {
            "somebody at the device declined our certificate"
        }
        _ => "the device gave up",
    };
    format!("TLS alert {code} ({description:?}) from the peer: {hint}")
}

impl From<Error> for Reason {
    fn from(error: Error) -> Self {
        match error {
            Error::AlertReceived(description) => {
                Self::Alert { code: u8::from(description), description }
            }
            Error::PeerIncompatible(what) => match what {
                PeerIncompatible::Tls12NotOffered
                | PeerIncompatible::Tls12NotOfferedOrEnabled
                | PeerIncompatible::SupportedVersionsExtensionRequired
                | PeerIncompatible::ServerDoesNotSupportTls12Or13
                | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig => Self::OldTls,
                PeerIncompatible::NoCipherSuitesInCommon => Self::NoCommonCipher("cipher suite"),
                PeerIncompatible::NoKxGroupsInCommon
                | PeerIncompatible::NamedGroupsExtensionRequired
                | PeerIncompatible::NoEcPointFormatsInCommon => {
                    Self::NoCommonCipher("key-exchange group")
                }
                PeerIncompatible::NoSignatureSchemesInCommon
                | PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon => {
                    Self::NoCommonCipher("signature scheme")
                }
                other => Self::Handshake(format!("the peer's TLS does not fit: {other:?}")),
            },
            Error::NoCertificatesPresented => Self::NoCertificate,
            Error::InvalidCertificate(fault) => Self::Certificate(fault.into()),
            other => Self::Handshake(other.to_string()),
        }
    }
}

impl From<CertificateError> for CertificateFault {
    fn from(error: CertificateError) -> Self {
        match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Self::NotYet
            }
            CertificateError::Revoked => Self::Revoked,
            CertificateError::UnknownIssuer => Self::UnknownIssuer,
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                Self::Purpose
            }
            other => Self::Other(other.to_string()),
        }
    }
}

impl From<FragmentError> for Reason {
    fn from(error: FragmentError) -> Self {
        Self::Fragment(error)
    }
}

impl From<AvpError> for Reason {
    fn from(error: AvpError) -> Self {
        Self::Avp(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_tells_the_operator_what_to_repair() {
        let reason = Reason::from(Error::AlertReceived(AlertDescription::UnknownCA));
        assert_eq!(
            reason.to_string(),
            "TLS alert 48 (UnknownCA) from the peer: the device does not trust the issuer of our \
             certificate: install the CA on it"
        );
        assert_eq!(reason.label(), "tls_alert");
    }

    #[test]
    fn a_peer_of_old_tls_is_told_from_one_without_a_common_cipher() {
        let reason = |what| Reason::from(Error::PeerIncompatible(what));
        assert_eq!(reason(PeerIncompatible::Tls12NotOffered), Reason::OldTls);
        assert_eq!(
            reason(PeerIncompatible::NoCipherSuitesInCommon),
            Reason::NoCommonCipher("cipher suite")
        );
    }
}
