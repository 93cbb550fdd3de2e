//! What the machine says.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use homeward_radius::client::AnswerDrop;
use homeward_radius::{Authenticator, Builder, Code, DecodeError, Packet, SharedSecret};
use zeroize::Zeroizing;

use crate::rewrite::{self, Back, Opened};
use crate::{Reason, Rejection, Route, ServerId};

pub use crate::rewrite::RewriteError;

/// What a request turned out to be. The ticket comes back with what the caller answers himself.
#[derive(Debug)]
pub enum Routed<T> {
    /// The realm is ours, or there is none: it is answered here.
    Local(T),
    /// It is answered with an Access-Reject that [`Rejection::write_to`] fills.
    Rejected(T, Rejection),
    /// It is not answered, and why; see [`Reason::is_shed`]. Its next repetition is a new
    /// request.
    Silent(T, Reason),
    /// It is under way; an [`Event`] will say what came of it.
    Forwarded,
    /// It is a repetition of one that is under way, which was passed on if that makes sense. The
    /// first one's ticket is the one that counts.
    Duplicate(T),
}

/// Octets to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// To which server.
    pub server: ServerId,
    /// From which of its sockets, or over which of its connections, counted from 0. An answer
    /// counts only where the question left from.
    pub lane: u16,
    /// A packet.
    pub payload: Octets,
}

/// A packet's octets: wiped when dropped, and not printed, for on RADIUS/1.1 nothing in them is
/// hidden.
#[derive(Clone, PartialEq, Eq)]
pub struct Octets(Zeroizing<Vec<u8>>);

impl From<Zeroizing<Vec<u8>>> for Octets {
    fn from(octets: Zeroizing<Vec<u8>>) -> Self {
        Self(octets)
    }
}

impl From<&[u8]> for Octets {
    fn from(octets: &[u8]) -> Self {
        Self(Zeroizing::new(octets.to_vec()))
    }
}

impl Deref for Octets {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Octets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} octets", self.0.len())
    }
}

/// Whether a server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It does, as far as is known.
    Alive,
    /// It owes an answer.
    Zombie,
    /// It does not.
    Dead,
}

impl Health {
    /// The word for metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Zombie => "zombie",
            Self::Dead => "dead",
        }
    }
}

/// What happened.
#[derive(Debug)]
pub enum Event<T> {
    /// A home server answered. `Server::respond` with [`Answer::code`] and [`Answer::write_to`].
    Answered {
        /// Who asked.
        ticket: T,
        /// What is answered.
        answer: Answer,
    },
    /// Nobody answered, or not in a way that can be passed on: an Access-Reject that
    /// [`Rejection::write_to`] fills.
    Rejected {
        /// Who asked.
        ticket: T,
        /// What is answered.
        rejection: Rejection,
    },
    /// Nobody answered, and nobody shall: `Server::abandon`.
    Abandoned {
        /// Who asked.
        ticket: T,
        /// Why.
        reason: Reason,
    },
    /// A request was sent to another server because one did not answer.
    FailedOver {
        /// That one.
        from: ServerId,
        /// The other.
        to: ServerId,
    },
    /// A server began or ceased to answer.
    Health {
        /// Which one.
        server: ServerId,
        /// What it was.
        was: Health,
        /// What it is.
        is: Health,
    },
    /// A connection is up and silent: close it and open another (RFC 6613 2.6.3).
    Stalled {
        /// Whose.
        server: ServerId,
        /// Which one.
        lane: u16,
    },
    /// Octets from a server were dropped, and changed nothing.
    Dropped {
        /// From whom.
        server: ServerId,
        /// Why.
        reason: AnswerDrop,
    },
}

/// An authentic answer of a home server, on its way to the NAS.
pub struct Answer {
    pub(crate) server: ServerId,
    pub(crate) elapsed: Duration,
    pub(crate) code: Code,
    pub(crate) octets: Octets,
    /// What opens it: the secret shared with the server, and the Request Authenticator of what
    /// was sent there.
    pub(crate) opener: (SharedSecret, Authenticator),
    /// What hides it anew.
    pub(crate) asker: (SharedSecret, Authenticator),
    /// The realm that was asked about.
    pub(crate) realm: Option<String>,
    pub(crate) route: Arc<Route>,
    pub(crate) salted: Arc<BTreeSet<(u32, u8)>>,
}

impl Answer {
    /// Who answered.
    pub const fn server(&self) -> ServerId {
        self.server
    }

    /// From the request's arrival to the answer's.
    pub const fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// What the answer is.
    pub const fn code(&self) -> Code {
        self.code
    }

    /// The packet as it came, before it is filtered; its hidden attributes are the server's.
    ///
    /// # Errors
    /// None that occurs: the octets were decoded once.
    pub fn packet(&self) -> Result<Packet<'_>, DecodeError> {
        Packet::decode(&self.octets)
    }

    /// Writes its attributes, filtered, and hidden anew with what `answer` signs with. No
    /// Proxy-State is among them: whoever signs puts the NAS's own back.
    ///
    /// # Errors
    /// None that occurs, unless the NAS's secret changed meanwhile: it was tried when the answer
    /// came.
    pub fn write_to(&self, answer: &mut Builder<'_>) -> Result<(), RewriteError> {
        let packet = self.packet().map_err(|_| RewriteError::Unopenable("the answer"))?;
        let (secret, authenticator) = (&self.opener.0, &self.opener.1);
        let from = Opened { packet: &packet, secret, authenticator };
        let back = Back {
            asker: (&self.asker.0, &self.asker.1),
            filter: &self.route.answers,
            realm: self.realm.as_deref(),
            salted: &self.salted,
        };
        rewrite::answer(answer, &from, &back)
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("server", &self.server)
            .field("code", &self.code)
            .field("octets", &self.octets)
            .finish_non_exhaustive()
    }
}
