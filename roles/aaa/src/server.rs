//! A worker: look-ups and log-ins in, answers out; nothing is awaited, and nothing shared but the
//! projection and those who check slow passwords.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use homeward_daemon::{SystemClock, SystemEntropy};
use homeward_model::{Clock, Grant, Instant, Refusal, RefusalReason};
use homeward_radius::login::{is_login, write_accept, write_challenge, write_reject};
use homeward_radius::lookup::{write_grant, write_refusal};
use homeward_radius::server::ReplyKind;
use homeward_radius::{
    Code, LoginError, LoginRequest, LookupError, LookupRequest, Packet, Policy, Port, Received,
    Server, ServerSettings, Ticket,
};
use homeward_transport::{Datagram, Replies, Waker, server::Service};

use crate::checker::Desk;
use crate::decision::decide;
use crate::figures::Figures;
use crate::grants::Grants;
use crate::login::{Logins, Scene, Verdict};
use crate::projection::{Client, Projection};

/// One worker of the RADIUS server. The kernel hands a client's datagrams always to the same one,
/// so duplicates are a worker's own matter.
pub struct Worker {
    server: Server,
    policy: Policy,
    projection: Arc<RwLock<Projection>>,
    grants: Arc<Mutex<Grants>>,
    figures: Figures,
    entropy: SystemEntropy,
    logins: Logins,
    desk: Option<Arc<Desk>>,
    waiting: BTreeMap<u64, Waiting>,
}

/// A log-in whose password is being checked: how to answer it.
struct Waiting {
    ticket: Ticket,
    client: Arc<Client>,
    to: SocketAddr,
    from: IpAddr,
}

impl Worker {
    /// A worker that answers from `projection` and remembers what it granted in `grants`.
    pub(crate) fn new(
        settings: ServerSettings,
        policy: Policy,
        projection: Arc<RwLock<Projection>>,
        grants: Arc<Mutex<Grants>>,
        logins: Logins,
        figures: Figures,
    ) -> Self {
        Self {
            server: Server::new(Port::Authentication, settings),
            policy,
            projection,
            grants,
            figures,
            entropy: SystemEntropy::new(),
            logins,
            desk: None,
            waiting: BTreeMap::new(),
        }
    }

    /// Decides, and writes down a grant.
    fn decide(
        &self,
        p: &Projection,
        client: &Client,
        datagram: &Datagram<'_>,
        question: &LookupRequest<'_>,
    ) -> Result<Grant, Refusal> {
        let answer = decide(p, &client.gateway, question.mac, &question.ssid);
        match &answer {
            Ok(grant) => {
                self.figures.granted();
                let mut grants = self.grants.lock().unwrap_or_else(PoisonError::into_inner);
                let host = datagram.source.ip().to_canonical();
                grants.record(client.gateway.id, host, question.mac, grant, datagram.received);
            }
            Err(refusal) => {
                self.figures.refused(refusal.reason);
                tracing::debug!(
                    gateway = %client.gateway.name, mac = %question.mac.full(), ssid = %question.ssid,
                    reason = %refusal.reason, "refused"
                );
            }
        }
        answer
    }

    fn answer(
        &mut self,
        p: &Projection,
        client: &Client,
        datagram: &Datagram<'_>,
        packet: &Packet<'_>,
        ticket: &Ticket,
        out: &mut Vec<u8>,
    ) -> Result<(), LookupError> {
        let form = client.gateway.lookup;
        let answer = match LookupRequest::decode(packet, &client.secret, form) {
            Ok(question) => self.decide(p, client, datagram, &question),
            Err(error) => {
                self.figures.refused(RefusalReason::BadRequest);
                tracing::warn!(gateway = %client.gateway.name, %error, "a request that is no look-up");
                Err(Refusal { reason: RefusalReason::BadRequest, message: error.to_string() })
            }
        };
        let (server, entropy) = (&mut self.server, &mut self.entropy);
        let octets = match &answer {
            Ok(grant) => {
                server.respond(ticket, &client.secret, Code::AccessAccept, entropy, |b| {
                    write_grant(b, form, grant)
                })?
            }
            Err(refusal) => {
                server.respond(ticket, &client.secret, Code::AccessReject, entropy, |b| {
                    write_refusal(b, form, refusal)
                })?
            }
        };
        out.extend_from_slice(octets);
        Ok(())
    }
}

impl Worker {
    /// Handles a log-in; the answer goes into `replies`, unless it has to wait.
    fn login(
        &mut self,
        p: &Projection,
        client: &Arc<Client>,
        datagram: &Datagram<'_>,
        packet: &Packet<'_>,
        ticket: Ticket,
        replies: &mut Replies,
    ) {
        let request = match LoginRequest::decode(packet, &client.secret) {
            Ok(request) => request,
            Err(error) => {
                self.figures.dropped("bad-login");
                tracing::warn!(gateway = %client.gateway.name, %error, "a log-in that cannot be read");
                return self.server.abandon(&ticket);
            }
        };
        let (now, wall) = (datagram.received, SystemClock.unix());
        let scene = Scene { projection: p, client, now, wall };
        let verdict = self.logins.handle(&scene, &request, &mut self.entropy);
        if let Verdict::Later(number) = verdict {
            let (to, from) = (datagram.source, datagram.local);
            let waiting = Waiting { ticket, client: Arc::clone(client), to, from };
            self.waiting.insert(number, waiting);
            return;
        }
        self.conclude(client, &ticket, &verdict, replies.to(datagram));
    }

    /// Writes the answer to a log-in, and says what came of it.
    fn conclude(&mut self, client: &Client, ticket: &Ticket, verdict: &Verdict, out: &mut Vec<u8>) {
        let (server, entropy, secret) = (&mut self.server, &mut self.entropy, &client.secret);
        let gateway = &client.gateway.name;
        let written = match verdict {
            Verdict::Challenge { eap, state } => {
                self.figures.challenged();
                server.respond(ticket, secret, Code::AccessChallenge, entropy, |b| {
                    write_challenge(b, eap, state)
                })
            }
            Verdict::Accept(accept) => {
                let (method, resumed) = (accept.method, accept.resumed);
                self.figures.let_in(method, resumed);
                tracing::info!(%gateway, login = %accept.login().id, method, resumed, "let in");
                server.respond(ticket, secret, Code::AccessAccept, entropy, |b| {
                    write_accept(b, &accept.words())
                })
            }
            Verdict::Reject { eap, why } => {
                self.figures.rejected(why.label());
                tracing::info!(%gateway, reason = why.label(), %why, "not let in");
                server.respond(ticket, secret, Code::AccessReject, entropy, |b| {
                    write_reject(b, eap.as_deref())
                })
            }
            Verdict::Later(_) => return,
            Verdict::Silence(reason) => {
                self.figures.dropped(reason);
                return self.server.abandon(ticket);
            }
        };
        match written {
            Ok(octets) => out.extend_from_slice(octets),
            Err(error) => {
                let error: LoginError = error;
                self.figures.dropped("unanswerable");
                tracing::error!(%gateway, %error, "a log-in could not be answered");
                self.server.abandon(ticket);
            }
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
        let answers = self.desk.as_ref().map(|desk| desk.take()).unwrap_or_default();
        let projection = Arc::clone(&self.projection);
        let p = projection.read().unwrap_or_else(PoisonError::into_inner);
        for (number, right) in answers {
            let Some(Waiting { ticket, client, to, from }) = self.waiting.remove(&number) else {
                continue;
            };
            // As its record is now: it may be gone, or suspended.
            let Some(client) = p.client(client.gateway.id).cloned() else { continue };
            let (now, wall) = (SystemClock.now(), SystemClock.unix());
            let scene = Scene { projection: &p, client: &client, now, wall };
            if let Some(verdict) = self.logins.checked(&scene, number, right) {
                self.conclude(&client, &ticket, &verdict, replies.late(to, from));
            }
        }
    }

    fn idle(&mut self, now: Instant) {
        for (gateway, reason) in self.logins.expire(now) {
            self.figures.expired();
            self.figures.rejected(reason.label());
            tracing::info!(%gateway, reason = reason.label(), why = %reason, "a log-in came to no end");
        }
    }

    fn handle(&mut self, datagram: &Datagram<'_>, replies: &mut Replies) {
        let projection = Arc::clone(&self.projection);
        let p = projection.read().unwrap_or_else(PoisonError::into_inner);
        let Some(client) = p.client_at(datagram.source.ip()) else {
            // RFC 2865 3: silently, or the answer would tell strangers that somebody is here.
            self.figures.dropped("unknown-client");
            tracing::debug!(source = %datagram.source.ip(), "a datagram from no gateway of ours");
            return;
        };
        let received = self.server.handle(
            datagram.source,
            &client.secret,
            self.policy,
            datagram.bytes,
            datagram.received,
        );
        match received {
            Received::Request { packet, ticket, .. } if is_login(&packet) => {
                let client = Arc::clone(client);
                self.login(&p, &client, datagram, &packet, ticket, replies);
            }
            Received::Request { packet, ticket, .. } => {
                let out = replies.to(datagram);
                if let Err(error) = self.answer(&p, client, datagram, &packet, &ticket, out) {
                    self.figures.dropped("unanswerable");
                    tracing::error!(gateway = %client.gateway.name, %error, "a look-up could not be answered");
                    self.server.abandon(&ticket);
                }
            }
            Received::Reply { octets, kind } => {
                match kind {
                    ReplyKind::Duplicate => self.figures.duplicate(),
                    ReplyKind::Status => self.figures.status_server(),
                }
                replies.to(datagram).extend_from_slice(octets);
            }
            Received::InProgress => {}
            Received::Dropped(reason) => {
                self.figures.dropped(reason.label());
                tracing::debug!(gateway = %client.gateway.name, %reason, "datagram dropped");
            }
        }
    }
}
