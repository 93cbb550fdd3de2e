//! A worker: look-ups in, answers out, nothing awaited and nothing shared but the projection.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use homeward_daemon::SystemEntropy;
use homeward_model::{Grant, Refusal, RefusalReason};
use homeward_radius::lookup::{write_grant, write_refusal};
use homeward_radius::server::ReplyKind;
use homeward_radius::{
    Code, LookupError, LookupRequest, Packet, Policy, Port, Received, Server, ServerSettings,
    Ticket,
};
use homeward_transport::{Datagram, Replies, server::Service};

use crate::decision::decide;
use crate::figures::Figures;
use crate::grants::Grants;
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
}

impl Worker {
    /// A worker that answers from `projection` and remembers what it granted in `grants`.
    pub fn new(
        settings: ServerSettings,
        policy: Policy,
        projection: Arc<RwLock<Projection>>,
        grants: Arc<Mutex<Grants>>,
        figures: Figures,
    ) -> Self {
        Self {
            server: Server::new(Port::Authentication, settings),
            policy,
            projection,
            grants,
            figures,
            entropy: SystemEntropy::new(),
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

impl Service for Worker {
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
