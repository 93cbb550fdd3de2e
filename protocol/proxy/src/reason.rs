//! Why a request is not answered by a home server, and what the NAS is told.

use homeward_radius::dictionary::standard::{EAP_MESSAGE, REPLY_MESSAGE};
use homeward_radius::{Builder, EncodeError};

use crate::NameError;

/// Why a request gets no answer of a home server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The User-Name is no network access identifier.
    #[error("a malformed User-Name")]
    Malformed(#[source] NameError),
    /// No route has that realm, and there is no default one.
    #[error("no route for this realm: add one, or a DEFAULT")]
    Unroutable,
    /// The table refuses the realm.
    #[error("the realm is refused by the table")]
    Refused,
    /// The request has a Proxy-State of ours: it was here before.
    #[error(
        "the request was forwarded by us before: a partner sends it back, so one of both has the realm's route wrong"
    )]
    Loop,
    /// As many Proxy-States as hops are allowed, or more.
    #[error(
        "the request has been through {0} proxies: they send it in a circle, or raise hop_limit"
    )]
    TooManyHops(usize),
    /// No server of the pool answers.
    #[error("no home server of the pool answers")]
    NoServer,
    /// The request was forwarded, and nobody answered in time.
    #[error("no home server answered in time")]
    NoAnswer,
    /// A hidden attribute of the request does not open, or of the answer.
    #[error("{0} does not open: the shared secrets of that hop differ")]
    Unopenable(&'static str),
    /// The packet would be longer than a RADIUS packet may be.
    #[error("the packet does not fit once it is rewritten")]
    TooLong,
    /// The NAS uses the identifier for another request: it has given this one up.
    #[error("the NAS has given the request up")]
    Superseded,
    /// As many requests are outstanding as may be at all.
    #[error(
        "too many requests are outstanding at home servers: raise the limit, or see why they are slow"
    )]
    Overload,
    /// As many requests of this client are outstanding as one may have.
    #[error("too many requests of this client are outstanding at home servers")]
    ClientShare,
    /// The home servers that could be asked have as many requests outstanding as they may.
    #[error(
        "too many requests are outstanding at the home server: it is slow, or needs more sockets"
    )]
    ServerShare,
}

impl Reason {
    /// The word for metrics.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed-name",
            Self::Unroutable => "unroutable",
            Self::Refused => "refused",
            Self::Loop => "loop",
            Self::TooManyHops(_) => "too-many-hops",
            Self::NoServer => "no-server",
            Self::NoAnswer => "no-answer",
            Self::Unopenable(_) => "unopenable",
            Self::TooLong => "too-long",
            Self::Superseded => "superseded",
            Self::Overload => "overload",
            Self::ClientShare => "client-share",
            Self::ServerShare => "server-share",
        }
    }

    /// Whether the request was shed because there was too much of something.
    pub const fn is_shed(&self) -> bool {
        matches!(self, Self::Overload | Self::ClientShare | Self::ServerShare)
    }

    /// What a NAS may show: enough for whoever runs it to find the fault, nothing about servers.
    const fn public(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed user name",
            Self::Unroutable | Self::Refused => "unknown realm",
            Self::Loop | Self::TooManyHops(_) => "routing loop",
            _ => "the home network does not answer",
        }
    }
}

/// An Access-Reject of the proxy's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rejection {
    /// Why.
    pub reason: Reason,
    /// The Identifier of the EAP packet that is answered by EAP-Failure, if EAP was spoken.
    pub eap: Option<u8>,
}

impl Rejection {
    /// Writes what the Access-Reject says: EAP-Failure where EAP is spoken (RFC 3579 2.2), a
    /// Reply-Message otherwise (both together are forbidden by RFC 3579 2.6.5).
    ///
    /// # Errors
    /// If it does not fit the packet.
    pub fn write_to(&self, answer: &mut Builder<'_>) -> Result<(), EncodeError> {
        match self.eap {
            Some(identifier) => answer.octets(EAP_MESSAGE, &[4, identifier, 0, 4]),
            None => answer.text(REPLY_MESSAGE, self.reason.public()),
        }
    }
}
