//! Why two gateways do not reach each other, as far as their endpoints tell.

use super::Link;
use crate::endpoint::{Endpoint, Translation};
use crate::{OpenTunnel, TunnelId, TunnelState};

impl Link {
    /// Why a tunnel's other end does not answer, for people: what is known of the NATs in front of
    /// the two gateways.
    pub fn why_unreachable(&self, tunnel: TunnelId) -> String {
        let (_, other) = self.names();
        let nothing = format!("{other} answers on none of its addresses");
        let open = self.tunnels.get(&tunnel);
        match open.and_then(|open| self.between(open)) {
            Some(why) => format!("{nothing}: {why}"),
            None => nothing,
        }
    }

    /// A hybrid device is known by its accesses.
    fn is_device(&self) -> bool {
        !self.identity.path_keys.is_empty()
    }

    /// What this end is, and the other.
    fn names(&self) -> (&'static str, &'static str) {
        match self.is_device() {
            false => ("this gateway", "the other gateway"),
            true => ("this device", "the home gateway"),
        }
    }

    /// What the NATs do that keeps the two apart; `None` if not both are known to be behind one.
    fn between(&self, open: &OpenTunnel) -> Option<String> {
        use Translation::{PerDestination, SameForAll, Unknown};
        let nats = (Translation::of(&self.endpoints), Translation::of(&open.peer.endpoints));
        let each_another = |shows: &str, strict: &str| {
            format!(
                "{shows}'s NAT shows each whom it sends to another port, and that of {strict} lets \
                 nobody in from a port that it has not sent to"
            )
        };
        let (this, other) = self.names();
        Some(match nats {
            (Unknown, _) | (_, Unknown) => return None,
            (PerDestination, PerDestination) => {
                "both are behind NATs that show each whom they send to another port, so neither can \
                 be told where to send"
                    .to_owned()
            }
            (PerDestination, SameForAll) => each_another(this, other),
            (SameForAll, PerDestination) => each_another(other, this),
            (SameForAll, SameForAll) => {
                "both are behind NATs, and what each sends to where the other is seen does not arrive"
                    .to_owned()
            }
        })
    }

    /// What somebody has to do about a tunnel in that state, where nothing will happen by itself.
    pub(super) fn repair(&self, open: &OpenTunnel, state: TunnelState) -> Option<String> {
        if state != TunnelState::Unreachable {
            return None;
        }
        let port = |endpoints: &[Endpoint]| endpoints.first().map_or(1701, |e| e.address.port());
        if self.is_device() {
            // The controller sees its channel first, with the port that it listens on.
            let port = port(&open.peer.endpoints);
            return Some(format!(
                "see that the home gateway is up; if it is behind a NAT, forward UDP port {port} to it"
            ));
        }
        let port = port(&self.endpoints);
        let known = match self.between(open) {
            Some(_) => "",
            None => {
                "if the other gateway is up, both are behind NATs and neither lets the other in: "
            }
        };
        Some(format!(
            "{known}forward UDP port {port} to this gateway, or that of the other gateway to it; or, \
             where the contract allows it, have the operator set the class of service to local \
             breakout (`homeward admin class set NAME --anchor local`)"
        ))
    }
}
