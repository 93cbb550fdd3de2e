//! The gateway's side of Disconnect-Request.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use homeward_model::{Entropy, Instant, Mac, UnixTime};

use super::{Disconnect, DisconnectError, ErrorCause, event_timestamp};
use crate::dictionary::standard::ERROR_CAUSE;
use crate::packet::{Authenticator, Packet};
use crate::server::{DropReason, Policy, Port, Received, Server, ServerSettings, Ticket};
use crate::{Code, EncodeError, SharedSecret};

/// How a [`Receiver`] behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceiverSettings {
    /// How far Event-Timestamp may be from now, either way. 300 s unless set (RFC 5176 6.3).
    pub window: Duration,
    /// The most requests remembered against replay; the oldest go first. 4,096 unless set.
    pub remembered: usize,
}

impl Default for ReceiverSettings {
    fn default() -> Self {
        Self { window: Duration::from_secs(300), remembered: 4096 }
    }
}

/// Retransmissions go on for longer than those of look-ups, and there are few of them.
const DUPLICATES: ServerSettings =
    ServerSettings { remember: Duration::from_secs(30), remembered: 1024 };

/// What a datagram turned out to be.
#[derive(Debug)]
pub enum DisconnectReceived {
    /// End this device's session, then [`Receiver::respond`].
    Disconnect {
        /// The device.
        mac: Mac,
        /// What [`Receiver::respond`] needs.
        ticket: Ticket,
    },
    /// Nothing to do: send these octets back.
    Reply(Vec<u8>),
    /// A duplicate of a request that is being worked on.
    InProgress,
    /// Nothing to answer.
    Dropped(DisconnectDrop),
}

/// Why a datagram is dropped silently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DisconnectDrop {
    /// For a reason that all requests have in common.
    #[error(transparent)]
    Server(#[from] DropReason),
    /// No Event-Timestamp.
    #[error(transparent)]
    Request(#[from] DisconnectError),
    /// An Event-Timestamp too far from now (RFC 5176 6.3).
    #[error("Event-Timestamp is {0} s off: replayed, or the clocks differ")]
    Stale(i64),
    /// The same request again, and not as a retransmission.
    #[error("the request came before: replayed")]
    Replayed,
    /// A refusal that could not be encoded.
    #[error("the refusal does not fit a packet")]
    Encode(#[from] EncodeError),
}

impl DisconnectDrop {
    /// The word for metrics.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Server(reason) => reason.label(),
            Self::Request(_) => "no-timestamp",
            Self::Stale(_) => "stale",
            Self::Replayed => "replayed",
            Self::Encode(_) => "no-room",
        }
    }
}

/// The machine.
#[derive(Debug)]
pub struct Receiver {
    name: String,
    settings: ReceiverSettings,
    server: Server,
    /// The authenticators of requests whose Event-Timestamp may still be current. They are
    /// digests over the whole request, so a replay has the same one wherever it comes from.
    seen: BTreeSet<Authenticator>,
    /// The same, in the order in which they came, with the time after which they are stale.
    order: VecDeque<(UnixTime, Authenticator)>,
}

impl Receiver {
    /// The receiver of the gateway with that name.
    pub fn new(name: impl Into<String>, settings: ReceiverSettings) -> Self {
        Self {
            name: name.into(),
            settings,
            server: Server::new(Port::DynamicAuthorization, DUPLICATES),
            seen: BTreeSet::new(),
            order: VecDeque::new(),
        }
    }

    /// Takes a datagram from the core whose secret is this.
    pub fn handle(
        &mut self,
        source: SocketAddr,
        secret: &SharedSecret,
        datagram: &[u8],
        now: Instant,
        unix: UnixTime,
        entropy: &mut impl Entropy,
    ) -> DisconnectReceived {
        let received = self.server.handle(source, secret, Policy::Required, datagram, now);
        let (packet, ticket) = match received {
            Received::Request { packet, ticket, .. } => (packet, ticket),
            Received::Reply { octets, .. } => return DisconnectReceived::Reply(octets.to_vec()),
            Received::InProgress => return DisconnectReceived::InProgress,
            Received::Dropped(reason) => return DisconnectReceived::Dropped(reason.into()),
        };
        // Before anything else: what is stale or replayed gets no answer, not even a refusal.
        if let Err(reason) = self.admit(&packet, unix) {
            self.server.abandon(&ticket);
            return DisconnectReceived::Dropped(reason);
        }
        let cause = match Disconnect::decode(&packet) {
            _ if packet.code() == Code::CoaRequest => ErrorCause::UNSUPPORTED_EXTENSION,
            Ok(disconnect) if disconnect.nas_identifier == self.name => {
                return DisconnectReceived::Disconnect { mac: disconnect.mac, ticket };
            }
            Ok(_) => ErrorCause::NAS_IDENTIFICATION_MISMATCH,
            Err(error) => match error.cause() {
                Some(cause) => cause,
                None => return DisconnectReceived::Dropped(error.into()),
            },
        };
        match self.respond(&ticket, secret, Err(cause), entropy) {
            Ok(octets) => DisconnectReceived::Reply(octets.to_vec()),
            Err(error) => DisconnectReceived::Dropped(error.into()),
        }
    }

    /// Answers: the session ended, or why not. Gives the datagram for [`Ticket::source`].
    ///
    /// # Errors
    /// If the answer does not fit a packet, for all its Proxy-States.
    pub fn respond(
        &mut self,
        ticket: &Ticket,
        secret: &SharedSecret,
        outcome: Result<(), ErrorCause>,
        entropy: &mut impl Entropy,
    ) -> Result<&[u8], EncodeError> {
        let code = match (ticket.code(), outcome) {
            (Code::CoaRequest, Ok(())) => Code::CoaAck,
            (Code::CoaRequest, Err(_)) => Code::CoaNak,
            (_, Ok(())) => Code::DisconnectAck,
            (_, Err(_)) => Code::DisconnectNak,
        };
        self.server.respond(ticket, secret, code, entropy, |packet| match outcome {
            Ok(()) => Ok(()),
            Err(ErrorCause(number)) => packet.integer(ERROR_CAUSE, number),
        })
    }

    /// Checks Event-Timestamp and that the request did not come before.
    fn admit(&mut self, request: &Packet<'_>, unix: UnixTime) -> Result<(), DisconnectDrop> {
        let at = event_timestamp(request)?;
        let off = unix.seconds().saturating_sub(at.seconds());
        let window = i64::try_from(self.settings.window.as_secs()).unwrap_or(i64::MAX);
        if off.unsigned_abs() > window.unsigned_abs() {
            return Err(DisconnectDrop::Stale(off));
        }
        if self.seen.contains(request.authenticator()) {
            return Err(DisconnectDrop::Replayed);
        }
        while let Some((until, authenticator)) = self.order.front()
            && (*until < unix || self.order.len() >= self.settings.remembered.max(1))
        {
            self.seen.remove(authenticator);
            self.order.pop_front();
        }
        let until = UnixTime(at.0.saturating_add(window.saturating_add(1).saturating_mul(1000)));
        self.seen.insert(*request.authenticator());
        self.order.push_back((until, *request.authenticator()));
        Ok(())
    }
}
