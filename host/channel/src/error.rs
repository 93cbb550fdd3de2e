//! What can go wrong between a gateway and its core, whose fault it is, and the repair.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use homeward_daemon::private::PrivateError;
use homeward_model::UnixTime;

/// The metadata key under which a server says why it refuses.
pub(crate) const REFUSAL: &str = "homeward-refusal";

/// Why the core refuses a gateway. What both ends know, by a word on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// `homeward admin gateway revoke` took the certificate back.
    Revoked,
    /// The gateway is suspended; it may come back once it is resumed.
    Suspended,
    /// The core does not know the certificate, or the gateway was deleted.
    Unknown,
    /// The gateway has used a newer certificate since, so that this one ended.
    Superseded,
    /// The certificate ran out; it may be renewed.
    Expired,
    /// The certificate ran out too long ago to be renewed.
    Lapsed,
    /// The certificate is of another authority, or none.
    Certificate,
    /// The call needs a certificate, and there was none.
    NoCertificate,
    /// The enrolment token is none of the core's.
    TokenUnknown,
    /// The enrolment token was used already.
    TokenUsed,
    /// The enrolment token ran out.
    TokenExpired,
    /// What was sent cannot be understood.
    BadRequest,
    /// The core has as many channels as it may.
    Full,
}

impl Refusal {
    /// All of them, with the word that each has on the wire.
    pub const ALL: [(Self, &'static str); 13] = [
        (Self::Revoked, "revoked"),
        (Self::Suspended, "suspended"),
        (Self::Unknown, "unknown"),
        (Self::Superseded, "superseded"),
        (Self::Expired, "expired"),
        (Self::Lapsed, "lapsed"),
        (Self::Certificate, "certificate"),
        (Self::NoCertificate, "no-certificate"),
        (Self::TokenUnknown, "token-unknown"),
        (Self::TokenUsed, "token-used"),
        (Self::TokenExpired, "token-expired"),
        (Self::BadRequest, "bad-request"),
        (Self::Full, "full"),
    ];

    /// The word on the wire, in logs and in status.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(r, _)| *r == self).map_or("", |(_, word)| word)
    }

    /// The refusal with that word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, w)| *w == word).map(|(r, _)| *r)
    }

    /// What it means, and what to do about it.
    pub const fn repair(self) -> &'static str {
        match self {
            Self::Revoked => {
                "the gateway's certificate was revoked; `homeward admin gateway enrol NAME` at the core prints a token to enrol it anew"
            }
            Self::Suspended => {
                "the gateway is suspended; `homeward admin gateway resume NAME` at the core lifts it"
            }
            Self::Unknown => {
                "the core knows no such certificate: the gateway was deleted, or the datastore replaced; enrol it anew"
            }
            Self::Superseded => {
                "this gateway has used a newer certificate since: is an old copy of its directory in use, or a copy of the gateway? Enrol the right one anew"
            }
            Self::Expired => "the gateway's certificate ran out, and is to be renewed",
            Self::Lapsed => {
                "the gateway's certificate ran out too long ago to be renewed; enrol the gateway anew"
            }
            Self::Certificate => {
                "the core does not accept the gateway's certificate: it is another operator's, or the core's datastore was replaced; enrol the gateway anew"
            }
            Self::NoCertificate => "the call needs a certificate; enrol the gateway first",
            Self::TokenUnknown => {
                "the core does not know this token: a newer one was printed for the gateway, or it is another core's"
            }
            Self::TokenUsed => {
                "the token was used already; if it was not by this gateway, run `homeward admin gateway revoke NAME` at the core now, and print another token"
            }
            Self::TokenExpired => {
                "the token ran out; `homeward admin gateway enrol NAME` at the core prints another"
            }
            Self::BadRequest => "the core does not understand what was sent",
            Self::Full => "the core has as many channels as it may; later again",
        }
    }

    /// Whether asking again later may help without anybody's doing.
    pub const fn is_temporary(self) -> bool {
        matches!(self, Self::Full | Self::Expired | Self::Suspended)
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.repair())
    }
}

/// Why a gateway has no channel.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No address to connect to.
    #[error("no core is configured: name at least one as HOST:PORT")]
    NoCore,
    /// A name without an address.
    #[error("cannot find the address of the core {core}")]
    Resolve {
        /// As configured.
        core: String,
        /// Why.
        source: io::Error,
    },
    /// Nobody answers there.
    #[error("cannot connect to the core at {core}")]
    Connect {
        /// Where.
        core: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// It takes too long.
    #[error("the core at {core} did not {what} within {after:?}")]
    Timeout {
        /// Where.
        core: SocketAddr,
        /// What was waited for.
        what: &'static str,
        /// For how long.
        after: Duration,
    },
    /// Somebody else answers.
    #[error(
        "what answers at {core} is not the core that this gateway was enrolled with: its \
         certificate is of another authority. Is the address right, or is somebody in the middle?"
    )]
    NotOurCore {
        /// Where.
        core: SocketAddr,
    },
    /// One of the two clocks is wrong.
    #[error(
        "the certificate of the core at {core} {what} at {at}, and by this gateway's clock it is \
         {now}: set the clock (NTP), or look at the core's"
    )]
    Clock {
        /// Where.
        core: SocketAddr,
        /// Whether the certificate "begins" or "ended" then.
        what: &'static str,
        /// When.
        at: UnixTime,
        /// Now, as this machine sees it.
        now: UnixTime,
    },
    /// Whatever answers does not speak our TLS.
    #[error("no secure connection to {core}: {reason}")]
    Tls {
        /// Where.
        core: SocketAddr,
        /// Why, in the library's words.
        reason: String,
    },
    /// The core says no.
    #[error("the core at {core} refuses: {refusal}{}", tail(message))]
    Refused {
        /// Where.
        core: SocketAddr,
        /// Why.
        refusal: Refusal,
        /// The core's own words; may be empty.
        message: String,
    },
    /// The core failed, or the connection was lost before it answered.
    #[error("the core at {core} did not answer: {reason}")]
    Failed {
        /// Where.
        core: SocketAddr,
        /// Why.
        reason: String,
    },
    /// What the core sent cannot be used.
    #[error("the core at {core} sent a credential that cannot be used: {reason}")]
    BadCredential {
        /// Where.
        core: SocketAddr,
        /// Why.
        reason: String,
    },
    /// There is no credential yet.
    #[error(
        "this gateway is not enrolled: {0} has no credential. `homeward admin gateway enrol NAME` \
         at the core prints a token, `homeward gateway enrol` uses it"
    )]
    NotEnrolled(PathBuf),
    /// The credential on disk is damaged.
    #[error("the credential {path} cannot be used: {reason}; enrol the gateway anew")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The credential cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The credential cannot be kept.
    #[error(transparent)]
    Private(#[from] PrivateError),
    /// The token file cannot be used.
    #[error("the token in {path} cannot be used: {reason}")]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A key or a certificate could not be made.
    #[error("cannot make a {what}: {reason}")]
    Make {
        /// What.
        what: &'static str,
        /// Why.
        reason: String,
    },
}

impl Error {
    /// The core's refusal, if it is one.
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Refused { refusal, .. } => Some(*refusal),
            _ => None,
        }
    }
}

fn tail(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(" ({message})") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_a_word_of_its_own() {
        for (refusal, word) in Refusal::ALL {
            assert_eq!(refusal.as_str(), word);
            assert_eq!(Refusal::from_word(word), Some(refusal));
        }
        assert_eq!(Refusal::from_word("to come"), None);
    }
}
