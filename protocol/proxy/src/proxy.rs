//! The machine: requests in, requests out, and one outcome each.
//!
//! Feed it with [`Proxy::request`], [`Proxy::repeat`], [`Proxy::handle_answer`],
//! [`Proxy::handle_timeout`] and, for connections, [`Proxy::lane_up`] and [`Proxy::lane_down`];
//! after each, send what [`Proxy::poll_transmit`] gives, look at [`Proxy::poll_event`] until it is
//! empty, and call again at [`Proxy::poll_timeout`].

mod forward;
mod servers;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use homeward_model::{Entropy, Instant};
use homeward_radius::auth::Signature;
use homeward_radius::client::AnswerDrop;
use homeward_radius::dictionary::standard::{EAP_MESSAGE, PROXY_STATE, STATE};
use homeward_radius::{Authenticator, Builder, Code, Packet, SharedSecret};
use zeroize::Zeroizing;

use crate::conversations::Conversations;
use crate::home::Home;
use crate::table::Way;
use crate::{
    Answer, Event, Health, Key, Octets, PoolId, Reason, Rejection, Route, Routed, ServerId,
    Settings, Table, Transmit, Unanswered, mark,
};

/// Names a request; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RequestId(u64);

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub struct Asker<'a> {
    /// The RADIUS client, by a number of the caller's: what its share is counted by.
    pub client: u64,
    /// Where the request came from: with its code and identifier, what a repetition is known by.
    pub source: SocketAddr,
    /// The secret shared with the client.
    pub secret: &'a SharedSecret,
}

/// The machine. `T` is the caller's: what he needs to answer a request, such as
/// [`homeward_radius::Ticket`].
#[derive(Debug)]
pub struct Proxy<T> {
    settings: Settings,
    salted: Arc<BTreeSet<(u32, u8)>>,
    key: Key,
    seed: u64,
    table: Table,
    homes: Vec<Home>,
    requests: BTreeMap<RequestId, Pending<T>>,
    /// When each of `requests` is due.
    timers: BTreeSet<(Instant, RequestId)>,
    /// Where each came from, with code and identifier or Token.
    sources: BTreeMap<(SocketAddr, Code, u32), RequestId>,
    /// How many each client has.
    clients: BTreeMap<u64, usize>,
    conversations: Conversations,
    next: u64,
    transmits: VecDeque<Transmit>,
    events: VecDeque<Event<T>>,
}

/// A request that was forwarded and not answered yet.
struct Pending<T> {
    ticket: T,
    client: u64,
    source: SocketAddr,
    secret: SharedSecret,
    packet: Octets,
    code: Code,
    /// Its Identifier, or Token.
    place: u32,
    authenticator: Authenticator,
    /// The Identifier of the EAP packet in it.
    eap: Option<u8>,
    /// The realm it is forwarded for.
    realm: Option<String>,
    /// The User-Name it is forwarded under, if that is another one.
    user_name: Option<String>,
    route: Arc<Route>,
    pool: PoolId,
    /// What the identity hashes to.
    identity: u64,
    /// What its State is known by.
    conversation: Option<u64>,
    mark: [u8; mark::LEN],
    came: Instant,
    deadline: Instant,
    /// When the server that was asked last is late; none once that has been seen to.
    late: Option<Instant>,
    /// In order of time.
    attempts: Vec<Attempt>,
}

/// A request as one server is asked it, under one number.
#[derive(Debug)]
struct Attempt {
    server: ServerId,
    lane: u16,
    /// Its Identifier, or the lower half of its Token.
    number: u16,
    authenticator: Authenticator,
    payload: Octets,
    /// When it was sent first, and last.
    first: Instant,
    last: Instant,
}

/// Without who it is about.
impl<T> fmt::Debug for Pending<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending")
            .field("code", &self.code)
            .field("client", &self.client)
            .field("came", &self.came)
            .field("attempts", &self.attempts)
            .finish_non_exhaustive()
    }
}

impl<T> Pending<T> {
    fn due(&self) -> Instant {
        self.late.map_or(self.deadline, |late| late.min(self.deadline))
    }

    fn rejection(&self, reason: Reason) -> Rejection {
        Rejection { reason, eap: self.eap }
    }
}

impl<T> Proxy<T> {
    /// A machine that routes by that table.
    pub fn new(settings: Settings, key: Key, table: Table) -> Self {
        let homes = table.servers.iter().cloned().enumerate();
        Self {
            salted: Arc::new(settings.salted.clone()),
            conversations: Conversations::new(settings.conversations, settings.conversation),
            settings,
            seed: key.seed(),
            key,
            homes: homes.map(|(at, spec)| Home::new(ServerId(at), spec)).collect(),
            table,
            requests: BTreeMap::new(),
            timers: BTreeSet::new(),
            sources: BTreeMap::new(),
            clients: BTreeMap::new(),
            next: 0,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Takes over what another machine knows of servers of the same name. For a table that
    /// changed: the new machine gets new requests, the old one goes on until nothing is
    /// [`Self::outstanding`] there.
    pub fn remember<U>(&mut self, other: &Proxy<U>) {
        for home in &mut self.homes {
            let known = other.homes.iter().find(|known| known.spec.name == home.spec.name);
            if let Some(known) = known {
                home.remember(known);
            }
        }
    }

    /// Takes an Access-Request or Accounting-Request that was verified and is no repetition of
    /// an answered one; says what becomes of it. Other requests are [`Routed::Local`].
    pub fn request(
        &mut self,
        now: Instant,
        entropy: &mut impl Entropy,
        asker: &Asker<'_>,
        packet: &Packet<'_>,
        ticket: T,
    ) -> Routed<T> {
        let code = packet.code();
        if !matches!(code, Code::AccessRequest | Code::AccountingRequest) {
            return Routed::Local(ticket);
        }
        let place = (asker.source, code, place(packet, asker.secret));
        if self.repeat_at(now, entropy, place, packet) {
            return Routed::Duplicate(ticket);
        }
        // The NAS uses an identifier anew: it does not wait for the old request's answer.
        if let Some(id) = self.sources.get(&place).copied() {
            self.conclude(id, Reason::Superseded);
        }
        let eap = packet.find(EAP_MESSAGE).and_then(|eap| eap.get(1)).copied();
        match self.route(packet) {
            Err(reason) if code == Code::AccessRequest => {
                Routed::Rejected(ticket, Rejection { reason, eap })
            }
            Err(reason) => Routed::Silent(ticket, reason),
            Ok(Way::Local) => Routed::Local(ticket),
            Ok(Way::Onward { route, pool, realm, user_name }) => {
                let onward = Onward { route, pool, realm, user_name, eap };
                self.forward(now, entropy, asker, packet, onward, ticket)
            }
        }
    }

    /// Notes that a NAS repeats a request, octet for octet; `false` if it is not under way. If
    /// the server asked last is alive it is asked again, under the same identifier, so that it
    /// knows the repetition for one; if not, another one is.
    ///
    /// For a caller whose [`homeward_radius::Server`] says that the request is in progress.
    pub fn repeat(
        &mut self,
        now: Instant,
        entropy: &mut impl Entropy,
        source: SocketAddr,
        packet: &Packet<'_>,
    ) -> bool {
        let place = (source, packet.code(), u32::from(packet.identifier()));
        self.repeat_at(now, entropy, place, packet)
    }

    fn repeat_at(
        &mut self,
        now: Instant,
        entropy: &mut impl Entropy,
        place: (SocketAddr, Code, u32),
        packet: &Packet<'_>,
    ) -> bool {
        let Some(id) = self.sources.get(&place).copied() else { return false };
        let same = |p: &Pending<T>| p.authenticator == *packet.authenticator();
        if !self.requests.get(&id).is_some_and(same) {
            return false;
        }
        self.send_again(id, now, entropy);
        true
    }

    /// Takes octets that came from a server, on that socket or connection.
    pub fn handle_answer(&mut self, now: Instant, server: ServerId, lane: u16, octets: &[u8]) {
        if let Err(reason) = self.receive(now, server, lane, octets) {
            self.events.push_back(Event::Dropped { server, reason });
        }
    }

    /// Does what is due: asks other servers, gives up, watches over servers.
    pub fn handle_timeout(&mut self, now: Instant, entropy: &mut impl Entropy) {
        while let Some(&(due, id)) = self.timers.first()
            && due <= now
        {
            self.expire(id, now, entropy);
        }
        for at in 0..self.homes.len() {
            let Some(home) = self.homes.get_mut(at) else { break };
            let step = home.handle_timeout(now, entropy);
            self.carry_out(ServerId(at), step, now, entropy);
        }
    }

    /// When to call [`Self::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        let request = self.timers.first().map(|(due, _)| *due);
        self.homes.iter().filter_map(Home::due).chain(request).min()
    }

    /// The next octets to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<Event<T>> {
        self.events.pop_front()
    }

    /// How many requests are under way.
    pub fn outstanding(&self) -> usize {
        self.requests.len()
    }

    /// How many requests are under way at a server.
    pub fn outstanding_at(&self, server: ServerId) -> usize {
        self.homes.get(server.0).map_or(0, Home::outstanding)
    }

    /// Whether a server answers; `None` if there is no such server.
    pub fn health(&self, server: ServerId) -> Option<Health> {
        self.homes.get(server.0).map(Home::health)
    }

    /// The table.
    pub const fn table(&self) -> &Table {
        &self.table
    }

    /// Where a request goes.
    fn route(&self, packet: &Packet<'_>) -> Result<Way, Reason> {
        let way = self.table.way(packet, self.settings.decorated)?;
        let Way::Onward { .. } = way else { return Ok(way) };
        let hops = packet.find_all(PROXY_STATE).count();
        if hops >= self.settings.hop_limit {
            return Err(Reason::TooManyHops(hops));
        }
        if packet.find_all(PROXY_STATE).any(|state| self.key.is_ours(state)) {
            return Err(Reason::Loop);
        }
        Ok(way)
    }

    fn receive(
        &mut self,
        now: Instant,
        server: ServerId,
        lane: u16,
        octets: &[u8],
    ) -> Result<(), AnswerDrop> {
        let home = self.homes.get(server.0).ok_or(AnswerDrop::Stranger)?;
        let secret = home.secret(lane).ok_or(AnswerDrop::Stranger)?;
        let answer = Packet::decode(octets).map_err(AnswerDrop::Malformed)?;
        let number = match secret.is_transport() {
            true => u16::try_from(answer.token() & 0xffff).unwrap_or_default(),
            false => u16::from(answer.identifier()),
        };
        if number == 0 {
            let authenticator = home.check_on(lane).ok_or(AnswerDrop::Unexpected)?;
            answers(&answer, Code::StatusServer)?;
            secret.verify_answer(&answer, &authenticator).map_err(AnswerDrop::NotAuthentic)?;
            self.hear(server, now, true);
            return Ok(());
        }
        let id = home.owner(lane, number).ok_or(AnswerDrop::Unexpected)?;
        let pending = self.requests.get(&id).ok_or(AnswerDrop::Unexpected)?;
        let place = (server, lane, number);
        let attempt = pending.attempts.iter().find(|a| (a.server, a.lane, a.number) == place);
        let authenticator = attempt.ok_or(AnswerDrop::Unexpected)?.authenticator;
        answers(&answer, pending.code)?;
        let signature =
            secret.verify_answer(&answer, &authenticator).map_err(AnswerDrop::NotAuthentic)?;
        let must_be_signed = home.spec.require_message_authenticator && answer.code().is_signed();
        if must_be_signed && signature == Signature::Absent {
            return Err(AnswerDrop::NoMessageAuthenticator);
        }
        let opener = (secret.clone(), authenticator);
        self.hear(server, now, false);
        self.pass_on(id, server, &answer, opener, now);
        Ok(())
    }

    /// Gives an answer to who asked.
    fn pass_on(
        &mut self,
        id: RequestId,
        server: ServerId,
        packet: &Packet<'_>,
        opener: (SharedSecret, Authenticator),
        now: Instant,
    ) {
        let Some(pending) = self.take(id) else { return };
        if let Some(state) = pending.conversation {
            self.conversations.forget(state);
        }
        if packet.code() == Code::AccessChallenge
            && let Some(state) = packet.find(STATE)
        {
            let state = Conversations::key(self.seed, pending.pool, state);
            self.conversations.learn(state, server, now);
        }
        let answer = Answer {
            server,
            elapsed: now.since(pending.came),
            code: packet.code(),
            octets: packet.as_bytes().into(),
            opener,
            asker: (pending.secret.clone(), pending.authenticator),
            realm: pending.realm.clone(),
            route: Arc::clone(&pending.route),
            salted: Arc::clone(&self.salted),
        };
        match trial(&answer, &pending.packet) {
            Ok(()) => self.events.push_back(Event::Answered { ticket: pending.ticket, answer }),
            Err(reason) => self.end(pending, reason),
        }
    }

    /// Removes a request, and gives back all that it holds.
    fn take(&mut self, id: RequestId) -> Option<Pending<T>> {
        let pending = self.requests.remove(&id)?;
        self.timers.remove(&(pending.due(), id));
        self.release(id, &pending);
        Some(pending)
    }

    /// Gives back what a request holds.
    fn release(&mut self, id: RequestId, pending: &Pending<T>) {
        for attempt in &pending.attempts {
            if let Some(home) = self.homes.get_mut(attempt.server.0) {
                home.free(attempt.lane, attempt.number);
            }
        }
        let place = (pending.source, pending.code, pending.place);
        if self.sources.get(&place) == Some(&id) {
            self.sources.remove(&place);
        }
        if let Some(count) = self.clients.get_mut(&pending.client) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.clients.remove(&pending.client);
            }
        }
    }

    /// Ends a request that is under way.
    fn conclude(&mut self, id: RequestId, reason: Reason) {
        if let Some(pending) = self.take(id) {
            self.end(pending, reason);
        }
    }

    /// Says what came of a request that was not answered.
    fn end(&mut self, pending: Pending<T>, reason: Reason) {
        let silent = match reason {
            Reason::Superseded => true,
            Reason::NoAnswer | Reason::NoServer => self.is_silent(pending.pool),
            _ => false,
        };
        let rejection = pending.rejection(reason);
        let ticket = pending.ticket;
        self.events.push_back(if silent || pending.code != Code::AccessRequest {
            Event::Abandoned { ticket, reason }
        } else {
            Event::Rejected { ticket, rejection }
        });
    }

    /// Whether silence is what a NAS hears if nobody of the pool answers.
    fn is_silent(&self, pool: PoolId) -> bool {
        self.table.get(pool).is_some_and(|pool| pool.unanswered == Unanswered::Silence)
    }
}

/// A request that is to be forwarded.
struct Onward {
    route: Arc<Route>,
    pool: PoolId,
    realm: Option<String>,
    user_name: Option<String>,
    eap: Option<u8>,
}

/// What joins an answer to its request at a NAS: the Identifier, or the Token of RADIUS/1.1.
fn place(packet: &Packet<'_>, secret: &SharedSecret) -> u32 {
    if secret.is_transport() { packet.token() } else { u32::from(packet.identifier()) }
}

fn answers(answer: &Packet<'_>, request: Code) -> Result<(), AnswerDrop> {
    let answer = answer.code();
    if answer.answers(request) { Ok(()) } else { Err(AnswerDrop::WrongCode { answer, request }) }
}

/// Whether an answer can be written for who asked, with his Proxy-States behind it.
fn trial(answer: &Answer, request: &[u8]) -> Result<(), Reason> {
    let mut scratch = Zeroizing::new(Vec::with_capacity(answer.octets.len() + 64));
    let (secret, authenticator) = (&answer.asker.0, &answer.asker.1);
    let mut builder = Builder::answer(&mut scratch, secret, answer.code, 0, authenticator, 0);
    answer.write_to(&mut builder)?;
    if let Ok(request) = Packet::decode(request) {
        for state in request.find_all(PROXY_STATE).filter(|state| !state.is_empty()) {
            builder.octets(PROXY_STATE, state).map_err(|_| Reason::TooLong)?;
        }
    }
    Ok(())
}
