//! The core's side of Disconnect-Request and CoA-Request.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use homeward_model::{Entropy, Instant};

use super::ErrorCause;
use crate::client::AnswerDrop;
use crate::dictionary::standard::ERROR_CAUSE;
use crate::packet::{Authenticator, Packet, integer};
use crate::retransmit::{Retransmission, Schedule};
use crate::{AttributeList, Builder, Code, EncodeError, SharedSecret};

/// How a [`Sender`] behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SenderSettings {
    /// When to send again and when to give up: 200 ms, at most 1 s apart, 5 s in all, unless set.
    pub retransmission: Retransmission,
    /// The most requests outstanding. 4,096 unless set; 256 of them per gateway.
    pub outstanding: usize,
}

impl Default for SenderSettings {
    fn default() -> Self {
        Self {
            retransmission: Retransmission {
                first: Duration::from_millis(200),
                longest: Duration::from_secs(1),
                give_up: Duration::from_secs(5),
            },
            outstanding: 4096,
        }
    }
}

/// Names a request of one [`Sender`]; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DisconnectId(u64);

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SenderEvent {
    /// The gateway ended the session, or changed what it is allowed.
    Done {
        /// Which request.
        id: DisconnectId,
    },
    /// The gateway refused. Of a session that was to end,
    /// [`ErrorCause::SESSION_CONTEXT_NOT_FOUND`] is as good as done.
    Refused {
        /// Which request.
        id: DisconnectId,
        /// Why, if it said so.
        cause: Option<ErrorCause>,
    },
    /// The gateway did not answer.
    TimedOut {
        /// Which request.
        id: DisconnectId,
    },
    /// A datagram was dropped, and changed nothing.
    Dropped {
        /// Where it came from.
        source: SocketAddr,
        /// Why.
        reason: AnswerDrop,
    },
}

/// Why a request is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// As many requests are outstanding as may be, in all or to this gateway.
    #[error("{0} requests are outstanding already: try again later")]
    Full(usize),
    /// The request cannot be encoded.
    #[error("the request cannot be encoded")]
    Encode(#[from] EncodeError),
}

/// The machine. It sends from one source socket to any number of gateways.
#[derive(Debug)]
pub struct Sender {
    settings: SenderSettings,
    requests: BTreeMap<DisconnectId, Outstanding>,
    /// Which of `requests` an answer is to.
    identifiers: BTreeMap<(SocketAddr, u8), DisconnectId>,
    /// How many of `requests` are to each gateway.
    to: BTreeMap<SocketAddr, usize>,
    timers: BTreeSet<(Instant, DisconnectId)>,
    next_id: u64,
    transmits: VecDeque<(SocketAddr, Vec<u8>)>,
    events: VecDeque<SenderEvent>,
}

#[derive(Debug)]
struct Outstanding {
    code: Code,
    gateway: SocketAddr,
    identifier: u8,
    authenticator: Authenticator,
    secret: SharedSecret,
    payload: Vec<u8>,
    schedule: Schedule,
}

impl Sender {
    /// A sender with nothing outstanding.
    pub fn new(settings: SenderSettings) -> Self {
        Self {
            settings,
            requests: BTreeMap::new(),
            identifiers: BTreeMap::new(),
            to: BTreeMap::new(),
            timers: BTreeSet::new(),
            next_id: 0,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Tells the gateway at that address to end a session, which the attributes name: those of a
    /// [`Disconnect`](super::Disconnect) or a [`LoginDisconnect`](super::LoginDisconnect).
    ///
    /// # Errors
    /// If there is no room.
    pub fn disconnect(
        &mut self,
        now: Instant,
        entropy: &mut impl Entropy,
        gateway: SocketAddr,
        secret: &SharedSecret,
        attributes: &AttributeList,
    ) -> Result<DisconnectId, SendError> {
        self.send(now, entropy, Code::DisconnectRequest, gateway, secret, attributes)
    }

    /// Tells the gateway at that address to change what a session is allowed (RFC 5176 2.2): the
    /// attributes name the session as above, and say what is to be another.
    ///
    /// # Errors
    /// If there is no room.
    pub fn change(
        &mut self,
        now: Instant,
        entropy: &mut impl Entropy,
        gateway: SocketAddr,
        secret: &SharedSecret,
        attributes: &AttributeList,
    ) -> Result<DisconnectId, SendError> {
        self.send(now, entropy, Code::CoaRequest, gateway, secret, attributes)
    }

    /// Whether there is room for a request to anybody.
    pub fn has_room(&self) -> bool {
        self.requests.len() < self.settings.outstanding
    }

    /// Whether there is room for a request to that gateway.
    pub fn has_room_for(&self, gateway: SocketAddr) -> bool {
        self.has_room() && self.to.get(&gateway).is_none_or(|count| *count <= usize::from(u8::MAX))
    }

    fn send(
        &mut self,
        now: Instant,
        entropy: &mut impl Entropy,
        code: Code,
        gateway: SocketAddr,
        secret: &SharedSecret,
        attributes: &AttributeList,
    ) -> Result<DisconnectId, SendError> {
        let full = SendError::Full(self.requests.len());
        if self.requests.len() >= self.settings.outstanding {
            return Err(full);
        }
        let [first] = entropy.octets();
        let mut free = (0..=u8::MAX).map(|step| first.wrapping_add(step));
        let identifier = free.find(|id| !self.identifiers.contains_key(&(gateway, *id)));
        let identifier = identifier.ok_or(full)?;
        let mut payload = Vec::with_capacity(128);
        let mut packet = Builder::request(&mut payload, secret, code, identifier, [0; 16]);
        attributes.write_to(&mut packet)?;
        packet.finish();
        let id = DisconnectId(self.next_id);
        self.next_id += 1;
        let request = Outstanding {
            code,
            gateway,
            identifier,
            authenticator: Packet::decode(&payload).map_or([0; 16], |p| *p.authenticator()),
            secret: secret.clone(),
            payload,
            schedule: Schedule::start(self.settings.retransmission, now, entropy),
        };
        self.transmits.push_back((gateway, request.payload.clone()));
        self.identifiers.insert((gateway, identifier), id);
        *self.to.entry(gateway).or_default() += 1;
        self.timers.insert((request.schedule.due(), id));
        self.requests.insert(id, request);
        Ok(id)
    }

    /// Takes a datagram.
    pub fn handle_datagram(&mut self, source: SocketAddr, datagram: &[u8]) {
        let event = match self.receive(source, datagram) {
            Ok(event) => event,
            Err(reason) => SenderEvent::Dropped { source, reason },
        };
        self.events.push_back(event);
    }

    /// Sends again what is due, or gives it up.
    pub fn handle_timeout(&mut self, now: Instant, entropy: &mut impl Entropy) {
        while let Some(&(due, id)) = self.timers.first()
            && due <= now
        {
            self.timers.pop_first();
            match self.requests.get_mut(&id) {
                Some(request) if now < request.schedule.deadline() => {
                    self.transmits.push_back((request.gateway, request.payload.clone()));
                    request.schedule.advance(now, entropy);
                    self.timers.insert((request.schedule.due(), id));
                }
                _ => {
                    self.forget(id);
                    self.events.push_back(SenderEvent::TimedOut { id });
                }
            }
        }
    }

    /// When to call [`Self::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|(due, _)| *due)
    }

    /// The next datagram to send, and to whom.
    pub fn poll_transmit(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        self.transmits.pop_front()
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<SenderEvent> {
        self.events.pop_front()
    }

    fn receive(&mut self, source: SocketAddr, datagram: &[u8]) -> Result<SenderEvent, AnswerDrop> {
        let answer = Packet::decode(datagram).map_err(AnswerDrop::Malformed)?;
        let id = self.identifiers.get(&(source, answer.identifier()));
        let id = *id.ok_or(AnswerDrop::Unexpected)?;
        let request = self.requests.get(&id).ok_or(AnswerDrop::Unexpected)?;
        if !answer.code().answers(request.code) {
            let (answer, request) = (answer.code(), request.code);
            return Err(AnswerDrop::WrongCode { answer, request });
        }
        // Its own authenticator is enough, for many NASes put no Message-Authenticator into answers
        // of this kind: between them and us nobody can add to a request, which is signed as a
        // whole, what a forged answer would take (CVE-2024-3596).
        let signature = request.secret.verify_answer(&answer, &request.authenticator);
        signature.map_err(AnswerDrop::NotAuthentic)?;
        self.forget(id);
        Ok(match answer.code() {
            Code::DisconnectAck | Code::CoaAck => SenderEvent::Done { id },
            _ => {
                let cause = answer.find(ERROR_CAUSE).and_then(integer).map(ErrorCause);
                SenderEvent::Refused { id, cause }
            }
        })
    }

    fn forget(&mut self, id: DisconnectId) {
        if let Some(request) = self.requests.remove(&id) {
            self.identifiers.remove(&(request.gateway, request.identifier));
            self.timers.remove(&(request.schedule.due(), id));
            if let Some(count) = self.to.get_mut(&request.gateway) {
                *count -= 1;
                if *count == 0 {
                    self.to.remove(&request.gateway);
                }
            }
        }
    }
}
