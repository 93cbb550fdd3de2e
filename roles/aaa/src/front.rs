//! What the workers of both ports do with a datagram before they know what it says.

use std::collections::BTreeMap;
use std::sync::Arc;

use homeward_model::{Entropy, GatewayId};
use homeward_proxy::event::RewriteError;
use homeward_radius::hide::Pads;
use homeward_radius::server::ReplyKind;
use homeward_radius::{
    Code, Opened, Packet, Policy, Port, Received, Server, ServerSettings, Ticket,
};
use homeward_transport::{Asked, Datagram, Path, Replies};

use crate::desk::Desk;
use crate::figures::Figures;
use crate::projection::{Client, Projection};
use crate::realms::relay::{Question, Relay, Relayed};
use crate::server::Shared;

/// The client on a TLS connection: what the doorkeeper said is its gateway.
fn by_tls<'p>(p: &'p Projection, asked: &Asked) -> Option<&'p Arc<Client>> {
    p.client_by(GatewayId(i64::try_from(asked.peer()).ok()?), Some(asked))
}

/// How many datagrams are verified together: as many as that is quickest for.
pub(crate) const TOGETHER: usize = 8;

/// Finds out whose a datagram is, and whether it is a request that is to be answered.
pub(crate) struct Front {
    /// The machine that answers.
    pub(crate) server: Server,
    policy: Policy,
    figures: Figures,
    /// The way to partners, where there are any.
    relay: Option<Relay>,
    /// What is under way there.
    waiting: BTreeMap<u64, Waiting>,
    next: u64,
}

/// A datagram of a client of ours.
pub(crate) struct Arrived<'p, 'd> {
    client: &'p Arc<Client>,
    policy: Policy,
    opened: Opened<'d, 'p>,
}

/// A request of a client of ours, found authentic.
pub(crate) struct Asks<'p, 'd> {
    pub(crate) client: &'p Arc<Client>,
    pub(crate) packet: Packet<'d>,
    pub(crate) ticket: Ticket,
    pub(crate) pads: Pads,
}

/// A request whose answer waits for something else: how to answer it.
pub(crate) struct Waiting {
    pub(crate) ticket: Ticket,
    pub(crate) client: GatewayId,
    pub(crate) path: Path,
}

impl Front {
    pub(crate) fn new(
        port: Port,
        settings: ServerSettings,
        policy: Policy,
        shared: &Shared,
    ) -> Self {
        let (figures, relay) = (shared.figures.clone(), shared.relay.clone());
        let server = Server::new(port, settings);
        Self { server, policy, figures, relay, waiting: BTreeMap::new(), next: 0 }
    }

    /// Signs what was drafted, and puts it where there is a place for it.
    pub(crate) fn finish(&mut self, replies: &mut Replies) {
        self.server.sign(|place, octets| replies.at(place).extend_from_slice(octets));
    }

    /// Whether that request is a partner's to answer.
    pub(crate) fn is_partners(&self, packet: &Packet<'_>) -> bool {
        self.relay.as_ref().is_some_and(|relay| relay.concerns(packet))
    }

    /// Hands a request to the relay, which puts what comes of it on `desk`; [`Self::relayed`]
    /// answers it then.
    pub(crate) fn forward(
        &mut self,
        client: &Client,
        packet: &Packet<'_>,
        waiting: Waiting,
        desk: &Arc<Desk>,
    ) {
        let (source, secret, number) = (waiting.path.source(), &client.secret, self.next);
        let client = client.gateway.id.0.unsigned_abs();
        let question = Question { packet, client, source, secret, desk, number };
        if self.relay.as_ref().is_some_and(|relay| relay.forward(&question)) {
            self.next += 1;
            self.waiting.insert(number, waiting);
        } else {
            self.figures.dropped("relay-full");
            self.server.abandon(&waiting.ticket);
        }
    }

    /// Answers a request that was relayed.
    pub(crate) fn relayed(
        &mut self,
        p: &Projection,
        number: u64,
        relayed: &Relayed,
        entropy: &mut impl Entropy,
        replies: &mut Replies,
    ) {
        let Some(Waiting { ticket, client, path }) = self.waiting.remove(&number) else { return };
        let ticket = &ticket;
        // A gateway that was deleted meanwhile has no secret to be answered with.
        let Some(client) = p.client_by(client, path.tls()) else { return };
        let (server, secret) = (&mut self.server, &client.secret);
        let written = match relayed {
            Relayed::Answered(answer) => {
                server.respond(ticket, secret, answer.code(), entropy, |b| answer.write_to(b))
            }
            Relayed::Rejected(rejection) => {
                server.respond(ticket, secret, Code::AccessReject, entropy, |b| {
                    rejection.write_to(b).map_err(RewriteError::from)
                })
            }
            Relayed::Silent(reason) => {
                tracing::debug!(gateway = %client.gateway.name, %reason, "a partner's request is not answered");
                return server.abandon(ticket);
            }
            // The first one's answer is the one that counts.
            Relayed::Repeated => return,
        };
        match written {
            Ok(octets) => replies.late(&path).extend_from_slice(octets),
            Err(error) => {
                self.figures.dropped("unanswerable");
                tracing::error!(gateway = %client.gateway.name, %error, "a partner's answer could not be passed on");
                server.abandon(ticket);
            }
        }
    }

    /// Finds out whose these are, and reads them, in their order; `None` in the place of a
    /// stranger's.
    pub(crate) fn open<'p, 'd>(
        &self,
        p: &'p Projection,
        batch: &[Datagram<'d>],
    ) -> Vec<Option<Arrived<'p, 'd>>> {
        let mut opened = Vec::with_capacity(batch.len());
        let clients = batch.iter().map(|datagram| {
            let (client, policy) = self.client_of(p, datagram)?;
            opened.push(Opened::new(&client.secret, datagram.bytes));
            Some((client, policy))
        });
        let clients: Vec<_> = clients.collect();
        homeward_radius::prepare(&mut opened);
        let mut opened = opened.into_iter();
        let arrived = clients.into_iter().map(|client| {
            let (client, policy) = client?;
            Some(Arrived { client, policy, opened: opened.next()? })
        });
        arrived.collect()
    }

    /// A certificate says who asks, wherever from; else the address does.
    fn client_of<'p>(
        &self,
        p: &'p Projection,
        datagram: &Datagram<'_>,
    ) -> Option<(&'p Arc<Client>, Policy)> {
        let (found, policy) = match datagram.tls {
            Some(asked) => (by_tls(p, asked), Policy::Secured),
            None => (p.client_at(datagram.source.ip()), self.policy),
        };
        if found.is_none() {
            // RFC 2865 3: silently, or the answer would tell strangers that somebody is here.
            self.figures.dropped("unknown-client");
            tracing::debug!(source = %datagram.source.ip(), "a datagram from no gateway of ours");
        }
        Some((found?, policy))
    }

    /// A request of a client of ours, if that is what it is. What can be answered by itself is.
    pub(crate) fn request<'p, 'd>(
        &mut self,
        arrived: Arrived<'p, 'd>,
        datagram: &Datagram<'d>,
        replies: &mut Replies,
    ) -> Option<Asks<'p, 'd>> {
        let Arrived { client, policy, opened } = arrived;
        let (source, now) = (datagram.source, datagram.received);
        match self.server.handle_opened(source, policy, opened, now) {
            Received::Request { packet, ticket, pads, .. } => {
                return Some(Asks { client, packet, ticket, pads });
            }
            Received::Reply { octets, kind } => {
                match kind {
                    ReplyKind::Duplicate => self.figures.duplicate(),
                    ReplyKind::Status => self.figures.status_server(),
                }
                replies.to(datagram).extend_from_slice(octets);
            }
            Received::InProgress => {
                self.figures.dropped("in-progress");
                let packet = Packet::decode(datagram.bytes);
                if let Some(relay) = &self.relay
                    && packet.is_ok_and(|packet| relay.concerns(&packet))
                {
                    relay.repeat(source, datagram.bytes);
                }
            }
            Received::Dropped(reason) => {
                self.figures.dropped(reason.label());
                tracing::debug!(gateway = %client.gateway.name, %reason, "datagram dropped");
            }
        }
        None
    }
}
