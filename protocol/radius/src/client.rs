//! The asking machine: requests out, answers in, to an ordered list of servers.
//!
//! Feed it with [`Client::request`], [`Client::handle_datagram`] and [`Client::handle_timeout`];
//! after each, send what [`Client::poll_transmit`] gives, look at [`Client::poll_event`] until it
//! is empty, and call again at [`Client::poll_timeout`].

mod servers;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use homeward_model::{Entropy, Instant};

use crate::auth::Signature;
use crate::lookup::{Decision, LookupError, read_answer};
use crate::packet::{Authenticator, Packet};
use crate::retransmit::{Retransmission, Schedule};
use crate::{AttributeList, AuthError, Builder, Code, DecodeError, EncodeError, SharedSecret};
use servers::{Owner, Servers};

/// How a [`Client`] behaves. The defaults suit look-ups: the second server is tried after 300 ms
/// and nothing is waited for longer than 2 s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientSettings {
    /// When to ask again and when to give up.
    pub retransmission: Retransmission,
    /// How often a server is asked before the next one is. 2 unless set.
    pub tries_per_server: u32,
    /// Source sockets, each with 256 identifiers per server; at least 1. 4 unless set.
    pub sockets: u16,
    /// The most requests outstanding. 1,024 unless set.
    pub outstanding: usize,
    /// A server is down after so many transmissions in a row without an answer… 4 unless set.
    pub down_after: u32,
    /// …that span at least this long. 500 ms unless set.
    pub down_silence: Duration,
    /// Whether servers that are down are asked by Status-Server (RFC 5997). Yes unless set; if
    /// not, they count as up again after `probe_longest`.
    pub status_server: bool,
    /// From going down to the first Status-Server; doubles from one to the next. 1 s unless set.
    pub probe_first: Duration,
    /// The longest time from one Status-Server to the next. 15 s unless set.
    pub probe_longest: Duration,
    /// Whether answers must have a Message-Authenticator (CVE-2024-3596). Yes unless set.
    /// Accounting-Response never has one, and an answer to Status-Server, which grants nothing,
    /// need not.
    pub require_message_authenticator: bool,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            retransmission: Retransmission::default(),
            tries_per_server: 2,
            sockets: 4,
            outstanding: 1024,
            down_after: 4,
            down_silence: Duration::from_millis(500),
            status_server: true,
            probe_first: Duration::from_secs(1),
            probe_longest: Duration::from_secs(15),
            require_message_authenticator: true,
        }
    }
}

/// Names a request of one [`Client`]; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(u64);

/// A datagram to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// To which server: its place in the list.
    pub server: usize,
    /// From which source socket, 0 to [`ClientSettings::sockets`] - 1. Answers count only on the
    /// socket that the question left from.
    pub socket: u16,
    /// The datagram.
    pub payload: Vec<u8>,
}

/// What happened.
#[derive(Debug)]
pub enum ClientEvent {
    /// A request was answered.
    Answered {
        /// Which one.
        id: RequestId,
        /// By what.
        answer: Answer,
    },
    /// A request went unanswered for [`Retransmission::give_up`].
    TimedOut {
        /// Which one.
        id: RequestId,
    },
    /// A server stopped answering; requests go to the others first.
    ServerDown {
        /// Its place in the list.
        server: usize,
    },
    /// A server that was down answers again.
    ServerUp {
        /// Its place in the list.
        server: usize,
    },
    /// A datagram was dropped, and changed nothing.
    Dropped {
        /// Where it came from: the server's place in the list.
        server: usize,
        /// Why.
        reason: AnswerDrop,
    },
}

/// Why a datagram from a server is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AnswerDrop {
    /// From a server or on a socket that the client does not have.
    #[error("the datagram came from a server or on a socket that is none of this client's")]
    Stranger,
    /// No RADIUS packet.
    #[error("malformed answer")]
    Malformed(#[source] DecodeError),
    /// Nothing with that identifier is outstanding there: late, repeated, or made up.
    #[error("an answer to nothing that is outstanding")]
    Unexpected,
    /// A code that does not answer the request's.
    #[error("{answer} does not answer {request}")]
    WrongCode {
        /// What came.
        answer: Code,
        /// What was asked.
        request: Code,
    },
    /// Not from who holds the secret.
    #[error("an answer that is not authentic")]
    NotAuthentic(#[source] AuthError),
    /// No Message-Authenticator, which the settings demand.
    #[error("the answer has no Message-Authenticator: have the server send it (CVE-2024-3596)")]
    NoMessageAuthenticator,
}

impl AnswerDrop {
    /// The word for metrics.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Stranger => "stranger",
            Self::Malformed(_) => "malformed",
            Self::Unexpected => "unexpected",
            Self::WrongCode { .. } => "wrong-code",
            Self::NotAuthentic(AuthError::ResponseAuthenticator) => "bad-response-authenticator",
            Self::NotAuthentic(_) => "bad-message-authenticator",
            Self::NoMessageAuthenticator => "no-message-authenticator",
        }
    }
}

/// Why a request is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// There is no server to ask.
    #[error("no RADIUS server is configured")]
    NoServer,
    /// Not a request.
    #[error("{0} is not a request")]
    NotARequest(Code),
    /// As many requests are outstanding as may be.
    #[error("{0} requests are outstanding already: ask again later, or raise the limit")]
    Full(usize),
    /// The attributes do not fit a packet.
    #[error("the request cannot be encoded")]
    Encode(#[from] EncodeError),
}

/// An authentic answer, with what opens its hidden attributes.
#[derive(Debug, Clone)]
pub struct Answer {
    server: usize,
    elapsed: Duration,
    octets: Vec<u8>,
    code: Code,
    request: Authenticator,
    secret: SharedSecret,
}

impl Answer {
    /// The server that answered: its place in the list.
    pub const fn server(&self) -> usize {
        self.server
    }

    /// From the first transmission to the answer.
    pub const fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// What the answer is.
    pub const fn code(&self) -> Code {
        self.code
    }

    /// The answer's packet.
    ///
    /// # Errors
    /// None that occurs: the octets were decoded once.
    pub fn packet(&self) -> Result<Packet<'_>, DecodeError> {
        Packet::decode(&self.octets)
    }

    /// The Request Authenticator that it answers; opens hidden attributes.
    pub const fn request_authenticator(&self) -> &Authenticator {
        &self.request
    }

    /// The secret shared with the server; opens hidden attributes.
    pub const fn secret(&self) -> &SharedSecret {
        &self.secret
    }

    /// What a look-up came to, for answers in form Homeward.
    ///
    /// # Errors
    /// If the answer is not one to a look-up, or cannot be read.
    pub fn decision(&self) -> Result<Decision, LookupError> {
        read_answer(&self.packet()?, &self.secret, &self.request)
    }
}

/// The machine.
#[derive(Debug)]
pub struct Client {
    settings: ClientSettings,
    servers: Servers,
    requests: BTreeMap<RequestId, Outstanding>,
    /// When each of `requests` is due.
    timers: BTreeSet<(Instant, RequestId)>,
    /// How many of `requests` wait for an answer.
    waiting: usize,
    next_id: u64,
    transmits: VecDeque<Transmit>,
    events: VecDeque<ClientEvent>,
}

/// A request, from its first transmission until it is answered and nothing more can come of it.
#[derive(Debug)]
struct Outstanding {
    code: Code,
    attributes: AttributeList,
    attempts: Vec<Attempt>,
    /// Transmissions so far.
    sent: u32,
    /// The server of the last one.
    last: Option<usize>,
    schedule: Schedule,
    /// Set once the request is answered. Until its deadline it then only waits for other
    /// servers' answers, so that a server that is slow is not taken for one that is dead.
    answered: bool,
}

/// A request as one server is asked it. Retransmissions are the same octets (RFC 5080 2.2.1).
#[derive(Debug)]
struct Attempt {
    server: usize,
    slot: usize,
    authenticator: Authenticator,
    payload: Vec<u8>,
}

impl Client {
    /// A client of these servers, in order of preference.
    pub fn new(settings: ClientSettings, servers: impl IntoIterator<Item = SharedSecret>) -> Self {
        Self {
            settings,
            servers: Servers::new(&settings, servers),
            requests: BTreeMap::new(),
            timers: BTreeSet::new(),
            waiting: 0,
            next_id: 0,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Asks. The answer comes as [`ClientEvent::Answered`], its absence as
    /// [`ClientEvent::TimedOut`].
    ///
    /// # Errors
    /// If there is no server, no room, or the attributes do not fit a packet.
    pub fn request(
        &mut self,
        now: Instant,
        entropy: &mut impl Entropy,
        code: Code,
        attributes: AttributeList,
    ) -> Result<RequestId, ClientError> {
        if !code.is_request() {
            return Err(ClientError::NotARequest(code));
        }
        if self.servers.is_empty() {
            return Err(ClientError::NoServer);
        }
        if self.waiting >= self.settings.outstanding {
            return Err(ClientError::Full(self.waiting));
        }
        let id = RequestId(self.next_id);
        let mut request = Outstanding {
            code,
            attributes,
            attempts: Vec::with_capacity(1),
            sent: 0,
            last: None,
            schedule: Schedule::start(self.settings.retransmission, now, entropy),
            answered: false,
        };
        if !self.transmit(id, &mut request, now, entropy)? {
            return Err(ClientError::Full(self.waiting));
        }
        self.next_id += 1;
        self.waiting += 1;
        self.timers.insert((request.schedule.due(), id));
        self.requests.insert(id, request);
        Ok(id)
    }

    /// Forgets a request; no event will come of it.
    pub fn cancel(&mut self, id: RequestId) {
        if let Some(request) = self.requests.remove(&id) {
            self.timers.remove(&(timer(&request), id));
            self.forget(&request);
        }
    }

    /// Takes a datagram that came from a server on a source socket.
    pub fn handle_datagram(&mut self, server: usize, socket: u16, datagram: &[u8], now: Instant) {
        if let Err(reason) = self.receive(server, socket, datagram, now) {
            self.events.push_back(ClientEvent::Dropped { server, reason });
        }
    }

    /// Does what is due: sends again, moves on to the next server, gives up, probes.
    pub fn handle_timeout(&mut self, now: Instant, entropy: &mut impl Entropy) {
        while let Some(&(due, id)) = self.timers.first()
            && due <= now
        {
            self.timers.pop_first();
            if let Some(mut request) = self.requests.remove(&id)
                && self.expire(id, &mut request, now, entropy)
            {
                self.timers.insert((timer(&request), id));
                self.requests.insert(id, request);
            }
        }
        self.servers.probe(now, entropy, &mut self.transmits, &mut self.events);
    }

    /// When to call [`Self::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        let request = self.timers.first().map(|(due, _)| *due);
        [request, self.servers.next_probe()].into_iter().flatten().min()
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<ClientEvent> {
        self.events.pop_front()
    }

    /// How many requests wait for an answer.
    pub const fn outstanding(&self) -> usize {
        self.waiting
    }

    /// Whether a server is thought to answer; `None` if there is no such server.
    pub fn is_up(&self, server: usize) -> Option<bool> {
        self.servers.is_up(server)
    }

    /// Handles the timer of a request; says whether to keep it.
    fn expire(
        &mut self,
        id: RequestId,
        request: &mut Outstanding,
        now: Instant,
        entropy: &mut impl Entropy,
    ) -> bool {
        if request.answered {
            self.forget(request);
            return false;
        }
        // The server that was asked last is the one that has not answered in time.
        if let Some(last) = request.last {
            self.servers.missed(last, now, entropy, &mut self.events);
        }
        // No identifier free is no reason to give up: the next time there may be one. An encoding
        // error cannot come up here, for the same attributes were encoded before.
        let sent =
            now < request.schedule.deadline() && self.transmit(id, request, now, entropy).is_ok();
        if !sent {
            self.forget(request);
            self.events.push_back(ClientEvent::TimedOut { id });
            return false;
        }
        request.schedule.advance(now, entropy);
        true
    }

    /// Sends a request once more, or for the first time. `Ok(false)`: no server has an identifier
    /// left.
    fn transmit(
        &mut self,
        id: RequestId,
        request: &mut Outstanding,
        now: Instant,
        entropy: &mut impl Entropy,
    ) -> Result<bool, EncodeError> {
        let rank = request.sent / self.settings.tries_per_server.max(1);
        for next in 0..self.servers.len() {
            let Some(server) = self.servers.choose(rank.saturating_add(next)) else { break };
            let known = request.attempts.iter().position(|a| a.server == server);
            let index = match known {
                Some(index) => index,
                None => match self.attempt(id, request, server, entropy)? {
                    Some(attempt) => {
                        request.attempts.push(attempt);
                        request.attempts.len() - 1
                    }
                    None => continue,
                },
            };
            if let Some(attempt) = request.attempts.get(index) {
                self.transmits.push_back(Transmit {
                    server,
                    socket: self.servers.socket(attempt.slot),
                    payload: attempt.payload.clone(),
                });
                self.servers.sent(server, now);
            }
            request.last = Some(server);
            request.sent = request.sent.saturating_add(1);
            return Ok(true);
        }
        Ok(false)
    }

    fn attempt(
        &mut self,
        id: RequestId,
        request: &Outstanding,
        server: usize,
        entropy: &mut impl Entropy,
    ) -> Result<Option<Attempt>, EncodeError> {
        let authenticator = entropy.octets();
        let Some(slot) = self.servers.take(server, Owner::Request(id)) else { return Ok(None) };
        let mut payload = Vec::with_capacity(256);
        let encoded = self.servers.secret(server).map(|secret| {
            let identifier = self.servers.identifier(slot);
            let mut packet =
                Builder::request(&mut payload, secret, request.code, identifier, authenticator);
            request.attributes.write_to(&mut packet)?;
            packet.finish();
            Ok(())
        });
        if let Some(Err(error)) = encoded {
            self.servers.free(server, slot);
            return Err(error);
        }
        // Where the authenticator is a digest, it is the one that was computed.
        let authenticator = Packet::decode(&payload).map_or(authenticator, |p| *p.authenticator());
        Ok(Some(Attempt { server, slot, authenticator, payload }))
    }

    fn receive(
        &mut self,
        server: usize,
        socket: u16,
        datagram: &[u8],
        now: Instant,
    ) -> Result<(), AnswerDrop> {
        let secret = self.servers.secret(server).ok_or(AnswerDrop::Stranger)?;
        let answer = Packet::decode(datagram).map_err(AnswerDrop::Malformed)?;
        let slot = self.servers.slot(socket, answer.identifier()).ok_or(AnswerDrop::Stranger)?;
        let owner = self.servers.owner(server, slot).ok_or(AnswerDrop::Unexpected)?;
        let (request_code, authenticator) = match owner {
            Owner::Probe(authenticator) => (Code::StatusServer, authenticator),
            Owner::Request(id) => {
                let request = self.requests.get(&id).ok_or(AnswerDrop::Unexpected)?;
                let attempt =
                    request.attempts.iter().find(|a| (a.server, a.slot) == (server, slot));
                (request.code, attempt.ok_or(AnswerDrop::Unexpected)?.authenticator)
            }
        };
        if !answer.code().answers(request_code) {
            let (answer, request) = (answer.code(), request_code);
            return Err(AnswerDrop::WrongCode { answer, request });
        }
        let signature =
            secret.verify_answer(&answer, &authenticator).map_err(AnswerDrop::NotAuthentic)?;
        let must_be_signed = self.settings.require_message_authenticator
            && answer.code().is_signed()
            && request_code != Code::StatusServer;
        if must_be_signed && signature == Signature::Absent {
            return Err(AnswerDrop::NoMessageAuthenticator);
        }
        let secret = secret.clone();
        self.servers.heard(server, &mut self.events);
        match owner {
            Owner::Probe(_) => self.servers.free(server, slot),
            Owner::Request(id) => self.complete(id, server, slot, now, |elapsed| Answer {
                server,
                elapsed,
                octets: answer.as_bytes().to_vec(),
                code: answer.code(),
                request: authenticator,
                secret,
            }),
        }
        Ok(())
    }

    /// Takes the answer to one attempt of a request.
    fn complete(
        &mut self,
        id: RequestId,
        server: usize,
        slot: usize,
        now: Instant,
        answer: impl FnOnce(Duration) -> Answer,
    ) {
        let Some(mut request) = self.requests.remove(&id) else { return };
        self.timers.remove(&(timer(&request), id));
        self.servers.free(server, slot);
        request.attempts.retain(|a| (a.server, a.slot) != (server, slot));
        if !request.answered {
            request.answered = true;
            self.waiting = self.waiting.saturating_sub(1);
            let answer = answer(now.since(request.schedule.started()));
            self.events.push_back(ClientEvent::Answered { id, answer });
        }
        if !request.attempts.is_empty() {
            self.timers.insert((timer(&request), id));
            self.requests.insert(id, request);
        }
    }

    /// Gives a request's identifiers back.
    fn forget(&mut self, request: &Outstanding) {
        for attempt in &request.attempts {
            self.servers.free(attempt.server, attempt.slot);
        }
        if !request.answered {
            self.waiting = self.waiting.saturating_sub(1);
        }
    }
}

/// When a request is due.
fn timer(request: &Outstanding) -> Instant {
    if request.answered { request.schedule.deadline() } else { request.schedule.due() }
}
