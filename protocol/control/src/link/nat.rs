//! Why two gateways do not reach each other, as far as their endpoints tell.

use super::Link;
use crate::endpoint::Translation;
use crate::{OpenTunnel, TunnelId, TunnelState};

impl Link {
    /// Why a tunnel's other end does not answer, for people: what is known of the NATs in front of
    /// the two gateways.
    pub fn why_unreachable(&self, tunnel: TunnelId) -> String {
        let nothing = "the other gateway answers on none of its addresses";
        let open = self.tunnels.get(&tunnel);
        let between = open.and_then(|open| self.between(open));
        between.map_or_else(|| nothing.to_owned(), |why| format!("{nothing}: {why}"))
    }

    /// What the NATs do that keeps the two apart; `None` if not both are known to be behind one.
    fn between(&self, open: &OpenTunnel) -> Option<&'static str> {
        use Translation::{PerDestination, SameForAll, Unknown};
        let nats = (Translation::of(&self.endpoints), Translation::of(&open.peer.endpoints));
        Some(match nats {
            (Unknown, _) | (_, Unknown) => return None,
            (PerDestination, PerDestination) => {
                "both are behind NATs that show each whom they send to another port, so neither can \
                 be told where to send"
            }
            (PerDestination, SameForAll) => {
                "this gateway's NAT shows each whom it sends to another port, and the other's lets \
                 nobody in from a port that it has not sent to"
            }
            (SameForAll, PerDestination) => {
                "the other gateway's NAT shows each whom it sends to another port, and this one's \
                 lets nobody in from a port that it has not sent to"
            }
            (SameForAll, SameForAll) => {
                "both are behind NATs, and what each sends to where the other is seen does not arrive"
            }
        })
    }

    /// What somebody has to do about a tunnel in that state, where nothing will happen by itself.
    pub(super) fn repair(&self, open: &OpenTunnel, state: TunnelState) -> Option<String> {
        if state != TunnelState::Unreachable {
            return None;
        }
        let port = self.endpoints.first().map_or(1701, |endpoint| endpoint.address.port());
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
