//! What can go wrong between peers, and whose fault it is.

use std::io;
use std::time::Duration;

use homeward_keychain::Refusal;
use homeward_model::Name;

/// Why a role does not do what a peer asks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The chain says no.
    #[error("{0}")]
    Chain(#[from] Refusal),
    /// What was sent cannot be read.
    #[error("{0}")]
    Malformed(#[from] homeward_keychain::message::Malformed),
    /// It is not what is asked here: a module follows no chains, a server has no devices.
    #[error("that is not asked here")]
    NotHere,
    /// Later again: there is no room, or nothing can be kept.
    #[error("not now: {0}")]
    Later(&'static str),
    /// Who asks may not enrol devices.
    #[error(
        "{0} may not enrol devices here: say enrols = true in its [[handoff.peers]] if it is to"
    )]
    MayNot(Name),
    /// What is there is newer.
    #[error("{0}")]
    Older(String),
}

/// Why a peer did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody of that name is known.
    #[error("no peer is called {0}: the directory has none")]
    Unknown(Name),
    /// It is trusted no more.
    #[error("{0} is revoked")]
    Revoked(Name),
    /// Where it answers is not known.
    #[error("the directory has no address of {0}")]
    NoAddress(Name),
    /// Nobody answers there.
    #[error("cannot connect to {peer} at {address}")]
    Connect {
        /// Who.
        peer: Name,
        /// Where.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// Somebody else answers, or does not take us for who we are.
    #[error("no secure connection to {peer} at {address}: {reason}")]
    Tls {
        /// Who.
        peer: Name,
        /// Where.
        address: String,
        /// Why, in the library's words.
        reason: String,
    },
    /// The connection was lost.
    #[error("{peer} did not answer: {reason}")]
    Lost {
        /// Who.
        peer: Name,
        /// Why.
        reason: String,
    },
    /// It takes too long.
    #[error("{peer} did not answer within {after:?}")]
    Deadline {
        /// Who.
        peer: Name,
        /// For how long it was waited.
        after: Duration,
    },
    /// It says no.
    #[error("{peer} refuses: {reason}")]
    Refused {
        /// Who.
        peer: Name,
        /// Why, in its words.
        reason: String,
        /// Whether it says to ask again.
        later: bool,
    },
    /// It has something newer than what it was told.
    #[error("{peer} has something newer: {reason}")]
    Newer {
        /// Who.
        peer: Name,
        /// What, in its words.
        reason: String,
    },
    /// It answers what cannot be read.
    #[error("{peer} answers what is no answer: {source}")]
    Malformed {
        /// Who.
        peer: Name,
        /// Why.
        source: homeward_keychain::message::Malformed,
    },
}

impl CallError {
    /// Whether the peer is away, rather than saying no.
    pub fn is_away(&self) -> bool {
        matches!(
            self,
            Self::Connect { .. } | Self::Tls { .. } | Self::Lost { .. } | Self::Deadline { .. }
        ) || matches!(self, Self::Refused { later: true, .. })
    }

    /// Whether it is not known where the peer is.
    pub fn is_nowhere(&self) -> bool {
        matches!(self, Self::Unknown(_) | Self::NoAddress(_))
    }
}
