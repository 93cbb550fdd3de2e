//! The EAP server, pure: EAP packets, times and a directory in; EAP packets and keys out.
//!
//! | module | what it holds |
//! |---|---|
//! | [`conversation`] | one log-in from identity to result: [`Conversation`], [`Step`] |
//! | [`settings`] | [`Settings`], and the [`Context`] that conversations share |
//! | [`directory`] | the trait through which credentials are found and checked: [`Directory`] |
//! | [`reason`] | why a conversation was refused: [`Reason`] |
//! | [`session`] | TLS sessions that can be resumed: [`Sessions`] |
//! | [`packet`] | EAP packets (RFC 3748) |
//! | [`identity`] | [`Identity`] and its realm (RFC 7542) |
//! | [`fragment`] | TLS in fragments (RFC 5216) |
//! | [`avp`] | what EAP-TTLS says in its tunnel (RFC 5281) |
//! | [`tlv`] | what PEAPv0 says at its end ([MS-PEAP]) |
//! | [`mschapv2`] | MSCHAPv2 (RFC 2759) and its hash |
//! | [`keys`] | [`Msk`] |
//!
//! EAP-TLS (RFC 5216, 9190), EAP-TTLSv0 (RFC 5281) with PAP, MSCHAPv2, EAP-MSCHAPv2 and EAP-GTC,
//! PEAPv0 with EAP-MSCHAPv2 and EAP-GTC; TLS 1.2 and 1.3 (RFC 9427); full and resumed.
//!
//! A log-in through it all: [`Conversation::new`], then [`Conversation::handle`] with each
//! EAP-Response. A [`Step::Challenge`] goes out in an Access-Challenge; a [`Step::Check`] is
//! answered with [`Conversation::checked`] once the password was checked, elsewhere and at
//! leisure; [`Step::Accept`] and [`Step::Reject`] end it; a [`Step::Ignore`] is answered by
//! silence.
//!
//! A peer whose password is wrong, whose name nobody has or who may not come in gets the same
//! messages, and costs the same work.
//!
//! No clock and no randomness of its own, with one exception: the TLS library draws what
//! handshakes need from its provider. Certificates are checked as of the wall-clock time given
//! when the conversation began. Not here: RADIUS, threads, files.
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing, clippy::cast_possible_truncation)]

pub mod avp;
pub mod conversation;
pub mod directory;
pub mod fragment;
pub mod identity;
pub mod keys;
mod method;
pub mod mschapv2;
pub mod packet;
pub mod reason;
pub mod session;
pub mod settings;
#[doc(hidden)]
pub mod testing;
mod tls;
pub mod tlv;

pub use conversation::{Accepted, Conversation, Ignored, Origin, Rejected, Step};
pub use directory::{Attempt, CheckedBy, Claim, Decoy, Denied, Directory, PasswordCheck};
pub use identity::Identity;
pub use keys::Msk;
pub use reason::Reason;
pub use rustls::crypto::CryptoProvider;
pub use rustls::pki_types;
pub use session::{SessionSettings, Sessions};
pub use settings::{
    ClientTrust, Context, ContextError, CryptoBinding, ServerCredential, Settings, TlsVersions,
};

/// An EAP method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// EAP-TLS: a certificate on either side.
    Tls,
    /// EAP-TTLSv0.
    Ttls,
    /// PEAPv0.
    Peap,
}

impl Method {
    /// Its EAP type.
    pub const fn kind(self) -> u8 {
        match self {
            Self::Tls => packet::kind::TLS,
            Self::Ttls => packet::kind::TTLS,
            Self::Peap => packet::kind::PEAP,
        }
    }

    /// The method of an EAP type.
    pub const fn from_kind(kind: u8) -> Option<Self> {
        match kind {
            packet::kind::TLS => Some(Self::Tls),
            packet::kind::TTLS => Some(Self::Ttls),
            packet::kind::PEAP => Some(Self::Peap),
            _ => None,
        }
    }

    /// The method of that word.
    pub fn from_label(label: &str) -> Option<Self> {
        [Self::Tls, Self::Ttls, Self::Peap].into_iter().find(|method| method.label() == label)
    }

    /// A word for settings, logs and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::Ttls => "ttls",
            Self::Peap => "peap",
        }
    }
}

/// A method within the tunnel of EAP-TTLS or PEAP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InnerMethod {
    /// PAP, EAP-TTLS only (RFC 5281 11.2.5).
    Pap,
    /// MSCHAPv2, EAP-TTLS only (RFC 5281 11.2.4).
    MsChapV2,
    /// EAP-MSCHAPv2.
    EapMsChapV2,
    /// EAP-GTC (RFC 3748 5.6), with a password.
    EapGtc,
}

impl InnerMethod {
    /// A word for logs and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Pap => "pap",
            Self::MsChapV2 => "mschapv2",
            Self::EapMsChapV2 => "eap_mschapv2",
            Self::EapGtc => "eap_gtc",
        }
    }
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TlsVersion {
    /// 1.2 (RFC 5246).
    Tls12,
    /// 1.3 (RFC 8446).
    Tls13,
}

impl TlsVersion {
    /// `1.2` or `1.3`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Tls12 => "1.2",
            Self::Tls13 => "1.3",
        }
    }
}
