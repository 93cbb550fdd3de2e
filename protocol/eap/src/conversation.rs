//! One log-in: from the peer's identity to EAP-Success or EAP-Failure.

use std::fmt;
use std::sync::Arc;

use homeward_model::{Entropy, Instant, Mac, UnixTime};

use crate::fragment;
use crate::method::{Env, Flow, Out, Proven};
use crate::packet::{self, Code, DecodeError, HEADER_LEN, Packet, kind};
use crate::reason::Stage;
use crate::{
    Context, Directory, Identity, InnerMethod, Method, Msk, PasswordCheck, Reason, TlsVersion,
};

/// Octets of the EAPOL header, which a NAS's Framed-MTU has to hold too.
const EAPOL_HEADER: usize = 4;
/// The least that a packet is cut to, however small an MTU a NAS claims.
const MIN_PACKET: usize = 128;
/// The most: an EAP packet has to fit a RADIUS packet of 4,096 octets with all else in it.
const MAX_PACKET: usize = 3000;

/// Where a log-in comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The device (Calling-Station-Id), if the NAS said.
    pub station: Option<Mac>,
    /// The NAS's Framed-MTU, if it said (RFC 3579 2.4).
    pub framed_mtu: Option<u32>,
    /// Wall-clock time: what certificates are checked against.
    pub wall: UnixTime,
}

/// One log-in. `S` is the directory's [`Subject`](Directory::Subject).
pub struct Conversation<S> {
    context: Arc<Context>,
    origin: Origin,
    began: Instant,
    /// Requests sent.
    rounds: u32,
    /// Requests sent again.
    repeats: u32,
    /// The last request, and the identifier of the response before it.
    last: Option<(Vec<u8>, Option<u8>)>,
    /// The identifier of the response that is being handled, or was last.
    current: u8,
    outer: Identity,
    tried: Vec<Method>,
    state: State<S>,
}

enum State<S> {
    /// The peer has not said who it is.
    Identity,
    Method(Box<Flow<S>>),
    /// As [`Method`](Self::Method); a password is being checked.
    Checking(Box<Flow<S>>),
    Over,
}

/// What to do next.
#[derive(Debug)]
pub enum Step<S> {
    /// Send this EAP-Request to the peer (in an Access-Challenge).
    Challenge(Vec<u8>),
    /// Check a password, and tell [`Conversation::checked`].
    Check(PasswordCheck<S>),
    /// Let the peer in.
    Accept(Box<Accepted<S>>),
    /// Turn the peer away.
    Reject(Box<Rejected>),
    /// Say nothing (RFC 3748 4.1).
    Ignore(Ignored),
}

/// Who was let in, and how.
#[derive(Clone, PartialEq, Eq)]
pub struct Accepted<S> {
    /// EAP-Success.
    pub packet: Vec<u8>,
    /// The keys.
    pub msk: Msk,
    /// The identity that was proven: the User-Name of the Access-Accept and of accounting.
    pub identity: Identity,
    /// The outer identity, by which the request was routed; perhaps anonymous.
    pub outer: Identity,
    /// The credential.
    pub subject: S,
    /// The method.
    pub method: Method,
    /// The method within; of a resumed session, the one that began it. `None` for EAP-TLS.
    pub inner: Option<InnerMethod>,
    /// Whether a session was resumed.
    pub resumed: bool,
    /// The version of TLS.
    pub tls: TlsVersion,
    /// Whether PEAP's crypto-binding was confirmed by the peer.
    pub bound: bool,
    /// Requests that it took.
    pub rounds: u32,
}

impl<S: fmt::Debug> fmt::Debug for Accepted<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accepted")
            .field("identity", &self.identity)
            .field("outer", &self.outer)
            .field("method", &self.method)
            .field("inner", &self.inner)
            .field("resumed", &self.resumed)
            .field("tls", &self.tls)
            .field("bound", &self.bound)
            .field("rounds", &self.rounds)
            .finish_non_exhaustive()
    }
}

/// Who was turned away, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// EAP-Failure.
    pub packet: Vec<u8>,
    /// Why.
    pub reason: Reason,
    /// The outer identity; empty if the peer gave none.
    pub outer: Identity,
    /// The identity within, as claimed, if it came to that.
    pub identity: Option<Identity>,
    /// The method, if one was begun.
    pub method: Option<Method>,
    /// The method within, if one was begun.
    pub inner: Option<InnerMethod>,
    /// The version of TLS, if the handshake came to its end.
    pub tls: Option<TlsVersion>,
    /// Whether a session was being resumed.
    pub resumed: bool,
    /// Requests that it took.
    pub rounds: u32,
}

/// Why a packet is answered by silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Ignored {
    /// It is no EAP packet.
    #[error("{0}")]
    Malformed(DecodeError),
    /// It is no response.
    #[error("the peer sent an EAP packet that is no response")]
    NotAResponse,
    /// It answers no request of ours.
    #[error("the response has identifier {has}, not {due}")]
    Identifier {
        /// The response's.
        has: u8,
        /// The last request's.
        due: u8,
    },
    /// Its type is not the one that is due.
    #[error("a response of EAP type {0} was not due")]
    Type(u8),
    /// Repeated, while a password is being checked.
    #[error("the password is being checked")]
    Checking,
    /// Repeated too often.
    #[error("the response was repeated too often")]
    Repeated,
    /// The conversation is over.
    #[error("the conversation is over")]
    Over,
}

impl<S: Clone> Conversation<S> {
    /// A log-in that begins now.
    pub fn new(context: &Arc<Context>, origin: Origin, now: Instant) -> Self {
        Self {
            context: Arc::clone(context),
            origin,
            began: now,
            rounds: 0,
            repeats: 0,
            last: None,
            current: 0,
            outer: Identity::default(),
            tried: Vec::new(),
            state: State::Identity,
        }
    }

    /// The request for the peer's identity, for a NAS that has not asked itself (EAP-Start, RFC
    /// 3579 2.1).
    pub fn ask_identity(&mut self, entropy: &mut impl Entropy) -> Vec<u8> {
        let [identifier] = entropy.octets();
        let request = packet::request(identifier, kind::IDENTITY, &[]);
        self.rounds += 1;
        self.last = Some((request.clone(), None));
        request
    }

    /// When the conversation is given up; `None` once it is over.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let over = matches!(self.state, State::Over);
        (!over).then(|| self.began + self.context.settings.timeout)
    }

    /// Why the peer is refused, if that is decided, was told to the peer inside the method (by a
    /// TLS alert, or in the tunnel), and is only to be confirmed. Some peers never do: they stop
    /// at the alert, and the conversation ends with [`handle_timeout`](Self::handle_timeout).
    pub fn refusal(&self) -> Option<&Reason> {
        match &self.state {
            State::Method(flow) => flow.refusal(),
            _ => None,
        }
    }

    /// Gives the conversation up, if its time is over; what comes back is for the record, for
    /// there is no request to answer. The reason is that of [`refusal`](Self::refusal), if it
    /// came to that.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Box<Rejected>> {
        if now < self.poll_timeout()? {
            return None;
        }
        let stage = match &self.state {
            State::Method(flow) | State::Checking(flow) => flow.stage(),
            State::Identity | State::Over => Stage::Identity,
        };
        let seconds = self.context.settings.timeout.as_secs();
        let reason = self.refusal().cloned().unwrap_or(Reason::TimedOut { seconds, stage });
        Some(self.rejected(reason))
    }

    /// The identity that the peer gave, perhaps anonymous; empty before it did.
    pub fn outer(&self) -> &Identity {
        &self.outer
    }

    /// The identity within, as the peer claims it; `None` while it did not, and once it is over.
    pub fn claimed(&self) -> Option<&Identity> {
        match &self.state {
            State::Method(flow) | State::Checking(flow) => flow.identity.as_ref(),
            State::Identity | State::Over => None,
        }
    }

    /// Handles an EAP-Response: all EAP-Message attributes of an Access-Request, joined.
    pub fn handle<D: Directory<Subject = S>>(
        &mut self,
        response: &[u8],
        directory: &D,
        now: Instant,
        entropy: &mut impl Entropy,
    ) -> Step<S> {
        if matches!(self.state, State::Over) {
            return Step::Ignore(Ignored::Over);
        }
        let packet = match Packet::decode(response) {
            Ok(packet) if packet.code == Code::Response => packet,
            Ok(_) => return Step::Ignore(Ignored::NotAResponse),
            Err(error) => return Step::Ignore(Ignored::Malformed(error)),
        };
        if let Some(step) = self.out_of_turn(&packet) {
            return step;
        }
        if let Some(mut rejected) = self.handle_timeout(now) {
            rejected.packet = packet::failure(packet.identifier);
            return Step::Reject(rejected);
        }
        let state = std::mem::replace(&mut self.state, State::Over);
        match state {
            State::Identity if packet.kind == kind::IDENTITY => {
                self.current = packet.identifier;
                self.identified(packet.data, directory, now)
            }
            State::Method(flow) if packet.is_nak() && !flow.has_begun() => {
                self.current = packet.identifier;
                self.negotiate(&packet, now)
            }
            State::Method(mut flow) if packet.kind == flow.method().kind() => {
                self.current = packet.identifier;
                let outer = self.outer.clone();
                let context = Arc::clone(&self.context);
                let mut env = Env {
                    context: &context,
                    directory,
                    entropy,
                    outer: &outer,
                    station: self.origin.station,
                    wall: self.origin.wall,
                    method: flow.method(),
                };
                let out = flow.handle(packet.data, &mut env);
                self.proceed(flow, out)
            }
            state => {
                self.state = state;
                Step::Ignore(Ignored::Type(packet.kind))
            }
        }
    }

    /// Takes the answer to a [`Step::Check`]: whether the password is right. The directory is asked
    /// then whether its owner may come in.
    pub fn checked<D: Directory<Subject = S>>(&mut self, right: bool, directory: &D) -> Step<S> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Checking(mut flow) => {
                let out = flow.checked(right, directory);
                self.proceed(flow, out)
            }
            state => {
                self.state = state;
                Step::Ignore(Ignored::Over)
            }
        }
    }

    /// What to do with a response that is not the one due: the last request again for a
    /// response that was answered already, silence for others.
    fn out_of_turn(&mut self, packet: &Packet<'_>) -> Option<Step<S>> {
        if matches!(self.state, State::Checking(_)) {
            return Some(Step::Ignore(Ignored::Checking));
        }
        let (last, before) = self.last.as_ref()?;
        let due = last.get(1).copied().unwrap_or_default();
        if packet.identifier == due {
            return None;
        }
        if Some(packet.identifier) != *before {
            return Some(Step::Ignore(Ignored::Identifier { has: packet.identifier, due }));
        }
        if self.repeats >= self.context.settings.max_rounds {
            return Some(Step::Ignore(Ignored::Repeated));
        }
        self.repeats += 1;
        Some(Step::Challenge(last.clone()))
    }

    /// The peer said who it is: a method is proposed.
    fn identified<D: Directory<Subject = S>>(
        &mut self,
        data: &[u8],
        directory: &D,
        now: Instant,
    ) -> Step<S> {
        match Identity::decode(data) {
            Ok(outer) => self.outer = outer,
            Err(error) => return self.reject(Reason::Identity(error)),
        }
        let served = &self.context.settings.methods;
        let proposed = directory.propose(&self.outer).filter(|method| served.contains(method));
        match proposed.or_else(|| served.first().copied()) {
            Some(method) => self.propose(method, now),
            None => self.reject(Reason::NoCommonMethod { wanted: Vec::new() }),
        }
    }

    /// The peer wants another method: the best of what both have.
    fn negotiate(&mut self, nak: &Packet<'_>, now: Instant) -> Step<S> {
        let wanted: Vec<u8> = nak.wanted().take(16).collect();
        let mut served = self.context.settings.methods.iter().copied();
        let common =
            served.find(|method| wanted.contains(&method.kind()) && !self.tried.contains(method));
        match common {
            Some(method) => self.propose(method, now),
            None => self.reject(Reason::NoCommonMethod { wanted }),
        }
    }

    fn propose(&mut self, method: Method, now: Instant) -> Step<S> {
        self.tried.push(method);
        // A packet has a header and a type before what is counted here.
        let room = self.packet_size() - HEADER_LEN - 1;
        match Flow::new(&self.context, method, room, now, self.origin.wall) {
            Ok(flow) => self.proceed(Box::new(flow), Out::Send(fragment::start())),
            Err(reason) => self.reject(reason),
        }
    }

    /// The most octets of an EAP packet to the peer.
    fn packet_size(&self) -> usize {
        let mtu = self.origin.framed_mtu.and_then(|mtu| usize::try_from(mtu).ok());
        let mtu = mtu.map_or(MAX_PACKET, |mtu| mtu.saturating_sub(EAPOL_HEADER));
        self.context.settings.fragment.min(mtu).clamp(MIN_PACKET, MAX_PACKET)
    }

    fn proceed(&mut self, flow: Box<Flow<S>>, out: Out<S>) -> Step<S> {
        match out {
            Out::Send(data) => {
                if self.rounds >= self.context.settings.max_rounds {
                    self.state = State::Method(flow);
                    return self.reject(Reason::TooManyRounds(self.rounds));
                }
                self.rounds += 1;
                let identifier = self.current.wrapping_add(1);
                let request = packet::request(identifier, flow.method().kind(), &data);
                self.last = Some((request.clone(), Some(self.current)));
                self.state = State::Method(flow);
                Step::Challenge(request)
            }
            Out::Check(check) => {
                self.state = State::Checking(flow);
                Step::Check(check)
            }
            Out::Done(Ok(proven)) => match flow.finish(&proven) {
                Ok(msk) => self.accept(&flow, proven, msk),
                Err(reason) => {
                    self.state = State::Method(flow);
                    self.reject(reason)
                }
            },
            Out::Done(Err(reason)) => {
                self.state = State::Method(flow);
                self.reject(reason)
            }
        }
    }

    fn accept(&mut self, flow: &Flow<S>, proven: Proven<S>, msk: Msk) -> Step<S> {
        self.state = State::Over;
        let bound = proven.msk.is_some();
        Step::Accept(Box::new(Accepted {
            packet: packet::success(self.current),
            msk,
            identity: proven.identity,
            outer: self.outer.clone(),
            subject: proven.subject,
            method: flow.method(),
            inner: proven.inner,
            resumed: flow.is_resumed(),
            tls: flow.version().unwrap_or(TlsVersion::Tls12),
            bound,
            rounds: self.rounds,
        }))
    }

    fn reject(&mut self, reason: Reason) -> Step<S> {
        Step::Reject(self.rejected(reason))
    }

    /// Ends the conversation.
    fn rejected(&mut self, reason: Reason) -> Box<Rejected> {
        let flow = match std::mem::replace(&mut self.state, State::Over) {
            State::Method(flow) | State::Checking(flow) => Some(flow),
            State::Identity | State::Over => None,
        };
        let flow = flow.as_ref();
        Box::new(Rejected {
            packet: packet::failure(self.current),
            reason,
            outer: self.outer.clone(),
            identity: flow.and_then(|flow| flow.identity.clone()),
            method: flow.map(|flow| flow.method()),
            inner: flow.and_then(|flow| flow.inner),
            tls: flow.and_then(|flow| flow.version()),
            resumed: flow.is_some_and(|flow| flow.is_resumed()),
            rounds: self.rounds,
        })
    }
}

impl<S> fmt::Debug for Conversation<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conversation")
            .field("outer", &self.outer)
            .field("rounds", &self.rounds)
            .finish_non_exhaustive()
    }
}
