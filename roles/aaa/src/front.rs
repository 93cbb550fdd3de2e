//! What the workers of both ports do with a datagram before they know what it says.

use std::sync::Arc;

use homeward_radius::server::ReplyKind;
use homeward_radius::{Packet, Policy, Port, Received, Server, ServerSettings, Ticket};
use homeward_transport::{Datagram, Replies};

use crate::figures::Figures;
use crate::projection::{Client, Projection};

/// Finds out whose a datagram is, and whether it is a request that is to be answered.
pub(crate) struct Front {
    /// The machine that answers.
    pub(crate) server: Server,
    policy: Policy,
    figures: Figures,
}

impl Front {
    pub(crate) fn new(
        port: Port,
        settings: ServerSettings,
        policy: Policy,
        figures: Figures,
    ) -> Self {
        Self { server: Server::new(port, settings), policy, figures }
    }

    /// A request of a client of ours, if that is what it is. What can be answered by itself is.
    pub(crate) fn request<'p, 'd>(
        &mut self,
        p: &'p Projection,
        datagram: &Datagram<'d>,
        replies: &mut Replies,
    ) -> Option<(&'p Arc<Client>, Packet<'d>, Ticket)> {
        let Some(client) = p.client_at(datagram.source.ip()) else {
            // RFC 2865 3: silently, or the answer would tell strangers that somebody is here.
            self.figures.dropped("unknown-client");
            tracing::debug!(source = %datagram.source.ip(), "a datagram from no gateway of ours");
            return None;
        };
        let (source, now) = (datagram.source, datagram.received);
        match self.server.handle(source, &client.secret, self.policy, datagram.bytes, now) {
            Received::Request { packet, ticket, .. } => return Some((client, packet, ticket)),
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
        None
    }
}
