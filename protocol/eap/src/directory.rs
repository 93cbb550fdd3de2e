//! What the machine asks of whoever knows the subscribers.

use std::fmt;

use homeward_model::{Mac, NtHash, Secret, UnixTime};

use crate::{Identity, InnerMethod, Method};

/// Whoever knows the subscribers: asked by [`Conversation::handle`](crate::Conversation::handle)
/// while it runs, so answers come from memory, at once.
pub trait Directory {
    /// A credential with its owner, as the directory names it; handed back in
    /// [`Accepted::subject`](crate::Accepted::subject).
    type Subject: Clone;

    /// The method to propose to who gives this outer identity: that of its credential, which
    /// spares a Nak. `None` (the default) proposes the first of
    /// [`Settings::methods`](crate::Settings::methods).
    fn propose(&self, outer: &Identity) -> Option<Method> {
        let _ = outer;
        None
    }

    /// The credential that is claimed; `None` if there is none. Suspended and expired ones are
    /// found too: [`may`](Self::may) refuses them, with a reason.
    fn find(&self, claim: &Claim<'_>) -> Option<Self::Subject>;

    /// How passwords of this credential are checked. Not asked for certificates.
    fn checked_by(&self, subject: &Self::Subject) -> CheckedBy;

    /// How the password of this identity, which nobody has, is checked for appearance's sake: as
    /// those of most are, in order that it takes the same messages and the same time as a wrong
    /// password. A directory with both kinds in it chooses by a keyed hash of the identity, so
    /// that the same name looks the same each time.
    fn decoy(&self, identity: &Identity) -> Decoy {
        let _ = identity;
        Decoy::NtHash
    }

    /// Sixteen octets that change whenever the credential does: a new password, a new
    /// certificate, a revocation. A session can be resumed only while they are the same.
    fn stamp(&self, subject: &Self::Subject) -> [u8; 16];

    /// Whether this subject, whose credential was proven, may come in now.
    ///
    /// # Errors
    /// Why it may not.
    fn may(&self, subject: &Self::Subject, attempt: &Attempt) -> Result<(), Denied>;
}

/// A claim to a credential.
#[derive(Debug, Clone, Copy)]
pub enum Claim<'a> {
    /// By name, to be proven by a password.
    Password {
        /// The inner identity.
        identity: &'a Identity,
        /// The outer identity; perhaps anonymous.
        outer: &'a Identity,
    },
    /// By a certificate, proven already. Asked for each name in the certificate in turn:
    /// subject alternative names (e-mail address, Microsoft's UPN, DNS name, URI), and the
    /// common name if it has none of these.
    Certificate {
        /// The name.
        identity: &'a Identity,
        /// The outer identity.
        outer: &'a Identity,
        /// The certificate itself, in DER.
        certificate: &'a [u8],
    },
}

impl<'a> Claim<'a> {
    /// The name claimed.
    pub fn identity(&self) -> &'a Identity {
        match self {
            Self::Password { identity, .. } | Self::Certificate { identity, .. } => identity,
        }
    }
}

/// By what a password is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckedBy {
    /// By this NT hash: MSCHAPv2, PAP and GTC, at once.
    NtHash(NtHash),
    /// By the caller, who is handed the password: PAP and GTC only. For hashes that take long.
    Caller,
    /// By nothing: the credential has no password.
    Nothing,
}

/// How the password of a name that nobody has is checked for appearance's sake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Decoy {
    /// Against a hash of nothing.
    #[default]
    NtHash,
    /// By the caller, handed a [`PasswordCheck`] without a subject.
    Caller,
}

/// A log-in whose credential was proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// The device (Calling-Station-Id), if the NAS said.
    pub station: Option<Mac>,
    /// The method.
    pub method: Method,
    /// The method within it; of a resumed session, the one that began it.
    pub inner: Option<InnerMethod>,
    /// Whether a session is resumed.
    pub resumed: bool,
    /// Wall-clock time, as given when the conversation began.
    pub wall: UnixTime,
}

/// Why a subject may not come in, though it proved who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The account or credential is suspended.
    #[error("the account or credential is suspended")]
    Suspended,
    /// The account or credential has expired.
    #[error("the account or credential has expired")]
    Expired,
    /// The credential is bound to another device.
    #[error("the credential is bound to another device than this one")]
    WrongStation,
    /// The credential is bound to a device and the NAS did not say which one this is.
    #[error("the credential is bound to a device and the NAS sent no Calling-Station-Id")]
    NoStation,
    /// The class of service does not reach here.
    #[error("the class of service does not include this place")]
    NotHere,
    /// Nothing is left of the quota.
    #[error("the quota is used up")]
    Quota,
    /// The credential was good for one log-on, which there was.
    #[error("the credential was good for one log-on, which there was")]
    Spent,
    /// As many sessions as are allowed.
    #[error("as many sessions as the class of service allows are open")]
    TooMany,
}

impl Denied {
    /// A word for metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Suspended => "suspended",
            Self::Expired => "expired",
            Self::WrongStation => "wrong_station",
            Self::NoStation => "no_station",
            Self::NotHere => "not_here",
            Self::Quota => "quota",
            Self::Spent => "spent",
            Self::TooMany => "too_many_sessions",
        }
    }
}

/// A password for the caller to check, at leisure; the answer goes to
/// [`Conversation::checked`](crate::Conversation::checked).
#[derive(Clone)]
pub struct PasswordCheck<S> {
    /// Whose password it would be. `None`: nobody's; check it against a hash of nothing, so
    /// that it takes as long, and answer what came out.
    pub subject: Option<S>,
    /// The password as it came.
    pub password: Secret,
}

impl<S> fmt::Debug for PasswordCheck<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordCheck").finish_non_exhaustive()
    }
}
