//! The way of a revocation: by the control channel to a gateway that has one, and else by RADIUS.

use std::sync::Arc;

use async_trait::async_trait;
use homeward_daemon::Shutdown;
use homeward_model::{GatewayId, Mac};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use crate::changes::Order;
use crate::figures::Figures;
use crate::grants::Revocation;

/// The control channel to gateways, as far as revocations go.
#[async_trait]
pub trait Channel: Send + Sync {
    /// Has a gateway put a device out. Whether it was told: not where it has no channel, or has
    /// not said that the device is there.
    async fn revoke(&self, gateway: GatewayId, device: Mac) -> bool;

    /// Has a gateway put a station out whose log-in has ended. Whether it was told: not where it
    /// has no channel, or log-ins there ask the core past it, so that the access point is to be
    /// told by RADIUS.
    async fn put_out(&self, gateway: GatewayId, station: Mac) -> bool;
}

/// What goes by RADIUS.
pub(crate) struct ByRadius {
    pub(crate) revocations: UnboundedSender<Revocation>,
    pub(crate) orders: UnboundedSender<Order>,
}

/// Passes revocations and orders on, until shutdown: each station that is to be put out by
/// `channel` if that is possible, and everything else by RADIUS.
pub(crate) async fn carry(
    channel: Arc<dyn Channel>,
    mut revocations: UnboundedReceiver<Revocation>,
    mut orders: UnboundedReceiver<Order>,
    by_radius: ByRadius,
    figures: Figures,
    shutdown: Shutdown,
) {
    let carrier = Carrier { channel, figures };
    // The revoker has ended only if the core is ending.
    loop {
        tokio::select! {
            () = shutdown.requested() => return,
            Some(session) = revocations.recv() => {
                if !carrier.put_out(&session).await {
                    let _ = by_radius.revocations.send(session);
                }
            }
            Some(order) = orders.recv() => {
                let done = match &order {
                    Order::End(session) => carrier.put_out(session).await,
                    // A hostapd behind a gateway of ours takes no change in mid-session.
                    Order::Change(change) => {
                        let ends = change.or_end && change.session.login.is_some();
                        ends && carrier.put_out(&change.session).await
                    }
                };
                if !done {
                    let _ = by_radius.orders.send(order);
                }
            }
        }
    }
}

struct Carrier {
    channel: Arc<dyn Channel>,
    figures: Figures,
}

impl Carrier {
    /// Has a station put out; whether its gateway was told.
    async fn put_out(&self, session: &Revocation) -> bool {
        let Some(station) = session.station else { return false };
        let told = match session.login {
            None => self.channel.revoke(session.gateway, station).await,
            Some(_) => self.channel.put_out(session.gateway, station).await,
        };
        if told {
            self.figures.disconnect("by-channel");
            tracing::info!(gateway = %session.gateway, device = %station, "revoked a grant by the control channel");
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use homeward_daemon::Metrics;
    use homeward_model::Nai;

    use super::*;
    use crate::changes::Change;
    use crate::grants::LoginSession;
    use crate::testing;
    use homeward_radius::Allowed;

    const PHONE: Mac = Mac::new([2, 0, 0x5e, 0, 0, 1]);
    const OURS: GatewayId = GatewayId(1);
    const ELSEWHERE: GatewayId = GatewayId(2);

    /// One gateway of which log-ins come through it, and that knows no roamer.
    #[derive(Default)]
    struct OneGateway(Mutex<Vec<Mac>>);

    #[async_trait]
    impl Channel for OneGateway {
        async fn revoke(&self, _: GatewayId, _: Mac) -> bool {
            false
        }

        async fn put_out(&self, gateway: GatewayId, station: Mac) -> bool {
            let told = gateway == OURS;
            self.0.lock().unwrap().extend(told.then_some(station));
            told
        }
    }

    fn session(gateway: GatewayId, by_login: bool) -> Revocation {
        let name: Nai = "phone@example.net".parse().unwrap();
        let login = LoginSession { name, nas_identifier: None, session_id: None };
        let login = Some(login).filter(|_| by_login);
        Revocation { gateway, host: testing::host(), station: Some(PHONE), login }
    }

    #[tokio::test]
    async fn a_log_in_is_put_out_by_the_channel_where_it_came_through_the_gateway_and_else_by_radius()
     {
        let channel = Arc::new(OneGateway::default());
        let (revocations, revoked) = tokio::sync::mpsc::unbounded_channel();
        let (orders, ordered) = tokio::sync::mpsc::unbounded_channel();
        let (revocations_out, mut by_disconnect) = tokio::sync::mpsc::unbounded_channel();
        let (orders_out, mut by_change) = tokio::sync::mpsc::unbounded_channel();
        let by_radius = ByRadius { revocations: revocations_out, orders: orders_out };
        let change = |gateway, or_end| {
            let session = session(gateway, true);
            Order::Change(Box::new(Change { session, allowed: Allowed::default(), or_end }))
        };
        for session in [session(OURS, true), session(ELSEWHERE, true), session(OURS, false)] {
            revocations.send(session).unwrap();
        }
        for order in [
            Order::End(session(OURS, true)),
            Order::End(session(ELSEWHERE, true)),
            change(OURS, true),
            change(OURS, false),
            change(ELSEWHERE, true),
        ] {
            orders.send(order).unwrap();
        }
        let figures = Figures::new(&mut Metrics::new("core", "0"));
        let work = carry(channel.clone(), revoked, ordered, by_radius, figures, Shutdown::new());
        let look = async {
            let first = by_disconnect.recv().await;
            assert_eq!(first, Some(session(ELSEWHERE, true)));
            assert_eq!(by_disconnect.recv().await, Some(session(OURS, false)));
            assert!(
                matches!(by_change.recv().await, Some(Order::End(s)) if s.gateway == ELSEWHERE)
            );
            assert!(matches!(by_change.recv().await, Some(Order::Change(c)) if !c.or_end));
            let last = by_change.recv().await;
            assert!(matches!(last, Some(Order::Change(c)) if c.session.gateway == ELSEWHERE));
        };
        tokio::select! {
            () = work => panic!("it ended"),
            () = look => {}
        }
        assert_eq!(*channel.0.lock().unwrap(), [PHONE; 3]);
    }
}
