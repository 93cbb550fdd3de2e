//! A worker: look-ups and log-ins in, answers out; nothing is awaited, and nothing shared but the
//! records, what was used, and those who check slow passwords.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use homeward_daemon::{SystemClock, SystemEntropy};
use homeward_ledger::User;
use homeward_model::{Clock, Grant, Instant, Login, Mac, Refusal, RefusalReason, UnixTime, Uses};
use homeward_radius::dictionary::standard;
use homeward_radius::login::{is_login, write_accept, write_challenge, write_reject};
use homeward_radius::lookup::{write_grant, write_refusal};
use homeward_radius::packet::text;
use homeward_radius::{
    Code, LoginError, LoginRequest, LookupError, LookupRequest, Packet, Policy, Port,
    ServerSettings, Ticket,
};
use homeward_transport::{Datagram, Replies, Waker, server::Service};

use crate::class::Signer;
use crate::decision::{Known, decide};
use crate::desk::{Desk, Done};
use crate::figures::Figures;
use crate::front::{Arrived, Asks, Front, TOGETHER, Waiting};
use crate::grants::{Grants, LetIn};
use crate::login::{Accept, Logins, Scene, Verdict};
use crate::projection::{Client, Projection};
use crate::realms::relay::Relay;
use crate::spender::Spender;
use crate::tries::Tries;
use crate::usage::Usage;

/// What all workers share.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    /// The records.
    pub(crate) projection: Arc<RwLock<Projection>>,
    /// What everybody has used.
    pub(crate) usage: Usage,
    /// Who signs Classes.
    pub(crate) signer: Arc<Signer>,
    /// How often passwords may be tried.
    pub(crate) tries: Arc<Tries>,
    /// The way to partners, where there are any.
    pub(crate) relay: Option<Relay>,
    /// Who spends log-ins that are good for one log-on.
    pub(crate) spender: Spender,
    /// Metrics.
    pub(crate) figures: Figures,
}

/// One worker of the RADIUS server. The kernel hands a client's datagrams always to the same one,
/// so duplicates are a worker's own matter.
pub struct Worker {
    front: Front,
    shared: Shared,
    grants: Arc<Mutex<Grants>>,
    entropy: SystemEntropy,
    logins: Logins,
    desk: Option<Arc<Desk>>,
    waiting: BTreeMap<u64, (Waiting, Session)>,
    /// Who is let in as soon as the log-in is spent.
    spending: BTreeMap<u64, (Waiting, Session, Box<Accept>)>,
    next: u64,
}

/// What the NAS says of the session that is to be let in.
#[derive(Debug, Clone, Copy)]
struct Said<'a> {
    station: Option<Mac>,
    nas_identifier: Option<&'a str>,
    session_id: Option<&'a str>,
}

/// The same, for as long as a password is checked.
#[derive(Debug)]
struct Session {
    station: Option<Mac>,
    nas_identifier: Option<String>,
    session_id: Option<String>,
}

impl<'a> Said<'a> {
    fn of(packet: &Packet<'a>, station: Option<Mac>) -> Self {
        let find = |kind| packet.find(kind).and_then(text);
        Self {
            station,
            nas_identifier: find(standard::NAS_IDENTIFIER),
            session_id: find(standard::ACCT_SESSION_ID),
        }
    }

    fn keep(&self) -> Session {
        Session {
            station: self.station,
            nas_identifier: self.nas_identifier.map(str::to_owned),
            session_id: self.session_id.map(str::to_owned),
        }
    }
}

impl Session {
    fn said(&self) -> Said<'_> {
        Said {
            station: self.station,
            nas_identifier: self.nas_identifier.as_deref(),
            session_id: self.session_id.as_deref(),
        }
    }
}

impl Worker {
    /// A worker that remembers what it granted in `grants`.
    pub(crate) fn new(
        settings: ServerSettings,
        policy: Policy,
        shared: Shared,
        grants: Arc<Mutex<Grants>>,
        logins: Logins,
    ) -> Self {
        Self {
            front: Front::new(Port::Authentication, settings, policy, &shared),
            shared,
            grants,
            entropy: SystemEntropy::new(),
            logins,
            desk: None,
            waiting: BTreeMap::new(),
            spending: BTreeMap::new(),
            next: 0,
        }
    }

    fn known<'a>(&'a self, records: &'a Projection, now: UnixTime) -> Known<'a> {
        Known { records, usage: &self.shared.usage, now }
    }

    /// Decides, and writes down a grant.
    fn decide(
        &self,
        p: &Projection,
        client: &Client,
        datagram: &Datagram<'_>,
        question: &LookupRequest<'_>,
    ) -> Result<Grant, Refusal> {
        let known = self.known(p, SystemClock.unix());
        match decide(&known, &client.gateway, question.mac, &question.ssid) {
            Ok(granted) => {
                self.shared.figures.granted();
                let mut grants = self.grants.lock().unwrap_or_else(PoisonError::into_inner);
                let host = datagram.source.ip().to_canonical();
                grants.record(client.gateway.id, host, question.mac, &granted, datagram.received);
                let user = User::Device(granted.device);
                let class = self.shared.signer.sign(client.gateway.id, user);
                Ok(Grant { class, ..granted.grant })
            }
            Err(refusal) => {
                self.shared.figures.refused(refusal.reason);
                tracing::debug!(
                    gateway = %client.gateway.name, mac = %question.mac.full(), ssid = %question.ssid,
                    reason = %refusal.reason, "refused"
                );
                Err(refusal)
            }
        }
    }

    fn answer(
        &mut self,
        p: &Projection,
        datagram: &Datagram<'_>,
        asks: &Asks<'_, '_>,
        place: usize,
    ) -> Result<(), LookupError> {
        let Asks { client, packet, ticket, pads } = asks;
        let form = client.gateway.lookup;
        let answer = match LookupRequest::decode(packet, pads.with(&client.secret), form) {
            Ok(question) => self.decide(p, client, datagram, &question),
            Err(error) => {
                self.shared.figures.refused(RefusalReason::BadRequest);
                tracing::warn!(gateway = %client.gateway.name, %error, "a request that is no look-up");
                Err(Refusal { reason: RefusalReason::BadRequest, message: error.to_string() })
            }
        };
        let (server, entropy) = (&mut self.front.server, &mut self.entropy);
        let secret = &client.secret;
        match &answer {
            Ok(grant) => server.draft(ticket, secret, (Code::AccessAccept, place), entropy, |b| {
                write_grant(b, form, grant)
            }),
            Err(refusal) => {
                server.draft(ticket, secret, (Code::AccessReject, place), entropy, |b| {
                    write_refusal(b, form, refusal)
                })
            }
        }
    }
}

impl Worker {
    /// Handles a datagram of a client of ours.
    fn take<'d>(
        &mut self,
        p: &Projection,
        datagram: &Datagram<'d>,
        arrived: Arrived<'_, 'd>,
        replies: &mut Replies,
    ) {
        let Some(asks) = self.front.request(arrived, datagram, replies) else { return };
        if self.front.is_partners(&asks.packet) {
            let Some(desk) = &self.desk else { return };
            let Asks { client, packet, ticket, .. } = asks;
            let waiting = Waiting { ticket, client: client.gateway.id, path: datagram.path() };
            return self.front.forward(client, &packet, waiting, desk);
        }
        if is_login(&asks.packet) {
            return self.login(p, datagram, asks, replies);
        }
        let place = replies.reserve(datagram);
        if let Err(error) = self.answer(p, datagram, &asks, place) {
            let gateway = &asks.client.gateway.name;
            self.shared.figures.dropped("unanswerable");
            tracing::error!(%gateway, %error, "a look-up could not be answered");
            self.front.server.abandon(&asks.ticket);
        }
    }

    /// Handles a log-in; the answer goes into `replies`, unless it has to wait.
    fn login(
        &mut self,
        p: &Projection,
        datagram: &Datagram<'_>,
        asks: Asks<'_, '_>,
        replies: &mut Replies,
    ) {
        let Asks { client, packet, ticket, pads } = asks;
        let request = match LoginRequest::decode(&packet, pads.with(&client.secret)) {
            Ok(request) => request,
            Err(error) => {
                self.shared.figures.dropped("bad-login");
                tracing::warn!(gateway = %client.gateway.name, %error, "a log-in that cannot be read");
                return self.front.server.abandon(&ticket);
            }
        };
        let known = Known { records: p, usage: &self.shared.usage, now: SystemClock.unix() };
        let (signer, tries) = (&*self.shared.signer, &*self.shared.tries);
        let now = datagram.received;
        let scene = Scene { known, signer, tries, client, now };
        let verdict = self.logins.handle(&scene, &request, &mut self.entropy);
        if let Verdict::Later(number) = verdict {
            let (client, path) = (client.gateway.id, datagram.path());
            let session = Said::of(&packet, request.station).keep();
            self.waiting.insert(number, (Waiting { ticket, client, path }, session));
            return;
        }
        match verdict {
            Verdict::Accept(accept) if accept.login().uses != Uses::Any => {
                let (client, path) = (client.gateway.id, datagram.path());
                let session = Said::of(&packet, request.station).keep();
                self.spend(Waiting { ticket, client, path }, session, accept);
            }
            Verdict::Accept(ref accept) => {
                let said = Said::of(&packet, request.station);
                self.remember(client, datagram.source.ip(), said, accept.login(), now);
                self.conclude(client, &ticket, &verdict, replies.reserve(datagram));
            }
            _ => self.conclude(client, &ticket, &verdict, replies.reserve(datagram)),
        }
    }

    /// Goes on with a log-in whose password was checked.
    fn checked(&mut self, p: &Projection, number: u64, right: bool, replies: &mut Replies) {
        let Some((waiting, session)) = self.waiting.remove(&number) else { return };
        let Waiting { ticket, client, path } = waiting;
        // As its record is now: it may be gone, or suspended.
        let Some(client) = p.client_by(client, path.tls()) else {
            return self.logins.forget(number);
        };
        let known = Known { records: p, usage: &self.shared.usage, now: SystemClock.unix() };
        let now = SystemClock.now();
        let (signer, tries) = (&*self.shared.signer, &*self.shared.tries);
        let scene = Scene { known, signer, tries, client, now };
        let Some(verdict) = self.logins.checked(&scene, number, right) else { return };
        match verdict {
            Verdict::Accept(accept) if accept.login().uses != Uses::Any => {
                let client = client.gateway.id;
                self.spend(Waiting { ticket, client, path }, session, accept);
            }
            Verdict::Accept(ref accept) => {
                self.remember(client, path.source().ip(), session.said(), accept.login(), now);
                self.conclude(client, &ticket, &verdict, replies.reserve_late(&path));
            }
            _ => self.conclude(client, &ticket, &verdict, replies.reserve_late(&path)),
        }
    }

    /// Has a log-in that is good for one log-on spent, before anybody is let in by it.
    fn spend(&mut self, waiting: Waiting, session: Session, accept: Box<Accept>) {
        let Some(desk) = &self.desk else { return };
        let number = self.next;
        if self.shared.spender.spend(accept.login().id, number, desk) {
            self.next += 1;
            self.spending.insert(number, (waiting, session, accept));
        } else {
            self.shared.figures.dropped("spending-full");
            self.front.server.abandon(&waiting.ticket);
        }
    }

    /// Lets in who spent a log-in, and nobody else.
    fn spent(
        &mut self,
        p: &Projection,
        number: u64,
        spent: Result<bool, homeward_store::Error>,
        replies: &mut Replies,
    ) {
        let Some((waiting, session, accept)) = self.spending.remove(&number) else { return };
        let Waiting { ticket, client, path } = waiting;
        let Some(client) = p.client_by(client, path.tls()) else { return };
        let verdict = match spent {
            Ok(true) => {
                let now = SystemClock.now();
                self.remember(client, path.source().ip(), session.said(), accept.login(), now);
                Verdict::Accept(accept)
            }
            Ok(false) => accept.spent(),
            Err(error) => {
                tracing::error!(%error, "a log-in for one log-on could not be spent: nobody is let in by it");
                Verdict::Silence("store-failed")
            }
        };
        self.conclude(client, &ticket, &verdict, replies.reserve_late(&path));
    }

    /// Remembers who is let in, to be able to end it.
    fn remember(&self, client: &Client, host: IpAddr, said: Said<'_>, login: &Login, now: Instant) {
        let Said { station, nas_identifier, session_id } = said;
        let let_in = LetIn { login, station, nas_identifier, session_id };
        let mut grants = self.grants.lock().unwrap_or_else(PoisonError::into_inner);
        grants.record_login(client.gateway.id, host.to_canonical(), let_in, now);
    }

    /// Writes the answer to a log-in, and says what came of it.
    fn conclude(&mut self, client: &Client, ticket: &Ticket, verdict: &Verdict, place: usize) {
        let (server, entropy) = (&mut self.front.server, &mut self.entropy);
        let (secret, gateway) = (&client.secret, &client.gateway.name);
        let figures = &self.shared.figures;
        let written = match verdict {
            Verdict::Challenge { eap, state } => {
                figures.challenged();
                server.draft(ticket, secret, (Code::AccessChallenge, place), entropy, |b| {
                    write_challenge(b, eap, state)
                })
            }
            Verdict::Accept(accept) => {
                let (method, resumed) = (accept.method, accept.resumed);
                figures.let_in(method, resumed);
                tracing::info!(%gateway, login = %accept.login().id, method, resumed, "let in");
                server.draft(ticket, secret, (Code::AccessAccept, place), entropy, |b| {
                    write_accept(b, &accept.words())
                })
            }
            Verdict::Reject { eap, why } => {
                figures.rejected(why.label());
                tracing::info!(%gateway, reason = why.label(), %why, "not let in");
                server.draft(ticket, secret, (Code::AccessReject, place), entropy, |b| {
                    write_reject(b, eap.as_deref())
                })
            }
            Verdict::Later(_) => return,
            Verdict::Silence(reason) => {
                figures.dropped(reason);
                return server.abandon(ticket);
            }
        };
        let written: Result<(), LoginError> = written;
        if let Err(error) = written {
            figures.dropped("unanswerable");
            tracing::error!(%gateway, %error, "a log-in could not be answered");
            server.abandon(ticket);
        }
    }
}

impl Service for Worker {
    fn begin(&mut self, waker: Waker) {
        let desk = Arc::new(Desk::new(waker));
        self.logins.at(Arc::clone(&desk));
        self.desk = Some(desk);
    }

    fn woken(&mut self, replies: &mut Replies) {
        let done = self.desk.as_ref().map(|desk| desk.take()).unwrap_or_default();
        let projection = Arc::clone(&self.shared.projection);
        let p = projection.read().unwrap_or_else(PoisonError::into_inner);
        for (number, done) in done {
            match done {
                Done::Checked(right) => self.checked(&p, number, right, replies),
                Done::Relayed(relayed) => {
                    self.front.relayed(&p, number, &relayed, &mut self.entropy, replies);
                }
                Done::Spent(spent) => self.spent(&p, number, spent, replies),
                Done::Kept(_) => {}
            }
        }
    }

    fn finish(&mut self, replies: &mut Replies) {
        self.front.finish(replies);
    }

    fn idle(&mut self, now: Instant) {
        for (gateway, reason) in self.logins.expire(now) {
            self.shared.figures.expired();
            self.shared.figures.rejected(reason.label());
            tracing::info!(%gateway, reason = reason.label(), why = %reason, "a log-in came to no end");
        }
    }

    fn handle(&mut self, datagram: &Datagram<'_>, replies: &mut Replies) {
        self.handle_all(std::slice::from_ref(datagram), replies);
    }

    fn handle_all(&mut self, batch: &[Datagram<'_>], replies: &mut Replies) {
        let projection = Arc::clone(&self.shared.projection);
        // A change of the records waits for no more than these.
        for batch in batch.chunks(TOGETHER) {
            let p = projection.read().unwrap_or_else(PoisonError::into_inner);
            for (datagram, arrived) in batch.iter().zip(self.front.open(&p, batch)) {
                if let Some(arrived) = arrived {
                    self.take(&p, datagram, arrived, replies);
                }
            }
        }
    }
}
