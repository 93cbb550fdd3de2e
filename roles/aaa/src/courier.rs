//! The way of a revocation: by the control channel to a gateway that has one, and else by RADIUS;
//! or, where the gateway is away and nobody there hears RADIUS, later.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use homeward_daemon::Shutdown;
use homeward_model::{GatewayId, Mac};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use crate::changes::Order;
use crate::figures::Figures;
use crate::grants::Revocation;
use crate::held::Held;

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

    /// Whether log-ins at a gateway ask the core through it: then nobody there hears RADIUS.
    /// `None` where that is not known, for it has had no channel for long.
    async fn carries_logins(&self, gateway: GatewayId) -> Option<bool>;
}

/// What goes by RADIUS.
pub(crate) struct ByRadius {
    pub(crate) revocations: UnboundedSender<Revocation>,
    pub(crate) orders: UnboundedSender<Order>,
}

/// Passes revocations and orders on, until shutdown: each station that is to be put out by
/// `channel` if that is possible, and everything else by RADIUS where somebody hears that. What a
/// gateway that is away is to be told of a log-in is `held` for it.
pub(crate) async fn carry(
    channel: Arc<dyn Channel>,
    mut revocations: UnboundedReceiver<Revocation>,
    mut orders: UnboundedReceiver<Order>,
    by_radius: ByRadius,
    held: Arc<Held>,
    figures: Figures,
    shutdown: Shutdown,
) {
    let mut carrier = Carrier { channel, held, figures, told_of: BTreeSet::new() };
    // The revoker has ended only if the core is ending.
    loop {
        tokio::select! {
            () = shutdown.requested() => return,
            Some(session) = revocations.recv() => {
                if carrier.put_out(&session).await.goes_on() {
                    let _ = by_radius.revocations.send(session);
                }
            }
            Some(order) = orders.recv() => {
                let outcome = match &order {
                    Order::End(session) => carrier.put_out(session).await,
                    // A hostapd behind a gateway of ours takes no change in mid-session.
                    Order::Change(change) if change.session.login.is_some() => {
                        if change.or_end {
                            carrier.put_out(&change.session).await
                        } else {
                            carrier.change(change.session.gateway).await
                        }
                    }
                    Order::Change(_) => Outcome::ByRadius,
                };
                if outcome.goes_on() {
                    let _ = by_radius.orders.send(order);
                }
            }
        }
    }
}

/// What became of what a gateway was to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// It was told, or will be, or need not be.
    Settled,
    /// It is to be told by RADIUS, if it hears that.
    ByRadius,
}

impl Outcome {
    fn goes_on(self) -> bool {
        self == Self::ByRadius
    }
}

struct Carrier {
    channel: Arc<dyn Channel>,
    held: Arc<Held>,
    figures: Figures,
    /// The gateways of which was said that they take no changes.
    told_of: BTreeSet<GatewayId>,
}

impl Carrier {
    /// Has a station put out.
    async fn put_out(&self, session: &Revocation) -> Outcome {
        let Some(station) = session.station else { return Outcome::ByRadius };
        let gateway = session.gateway;
        let told = match session.login {
            None => self.channel.revoke(gateway, station).await,
            Some(_) => {
                // First: a gateway that comes while it is asked for is not to be missed.
                self.held.put(session);
                self.channel.put_out(gateway, station).await
            }
        };
        let carries = if told { None } else { self.channel.carries_logins(gateway).await };
        let by_login = session.login.is_some();
        if by_login && (told || carries == Some(false)) {
            self.held.forget(gateway, station);
        }
        match carries {
            _ if told => {
                self.figures.disconnect("by-channel");
                tracing::info!(%gateway, device = %station, "revoked a grant by the control channel");
                Outcome::Settled
            }
            // The gateway asks of what it holds when it is back, and of each device now and then.
            Some(true) => {
                self.figures.disconnect(if by_login { "held" } else { "not-there" });
                tracing::debug!(%gateway, device = %station, "a grant is revoked once its gateway is back");
                Outcome::Settled
            }
            // One that is not known may be one that has not come back since the core began.
            Some(false) | None => Outcome::ByRadius,
        }
    }

    /// Has a session of a log-in told that it is allowed something else.
    async fn change(&mut self, gateway: GatewayId) -> Outcome {
        if self.channel.carries_logins(gateway).await != Some(true) {
            return Outcome::ByRadius;
        }
        self.figures.told("not-heard");
        if self.told_of.insert(gateway) {
            tracing::info!(
                %gateway,
                "log-ins at this gateway keep what they were let in with until they log in again: \
                 hostapd takes no change in mid-session"
            );
        }
        Outcome::Settled
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
    const UNKNOWN: GatewayId = GatewayId(3);

    /// One gateway of which log-ins come through it, and that knows no roamer; one of which they
    /// do not; and one that is not known. The first may be away.
    #[derive(Default)]
    struct OneGateway {
        told: Mutex<Vec<Mac>>,
        away: bool,
    }

    #[async_trait]
    impl Channel for OneGateway {
        async fn revoke(&self, _: GatewayId, _: Mac) -> bool {
            false
        }

        async fn put_out(&self, gateway: GatewayId, station: Mac) -> bool {
            let told = gateway == OURS && !self.away;
            self.told.lock().unwrap().extend(told.then_some(station));
            told
        }

        async fn carries_logins(&self, gateway: GatewayId) -> Option<bool> {
            (gateway != UNKNOWN).then_some(gateway == OURS)
        }
    }

    fn session(gateway: GatewayId, by_login: bool) -> Revocation {
        let name: Nai = "phone@example.net".parse().unwrap();
        let login = LoginSession { name, nas_identifier: None, session_id: None };
        let login = Some(login).filter(|_| by_login);
        Revocation { gateway, host: testing::host(), station: Some(PHONE), login }
    }

    fn change(gateway: GatewayId, by_login: bool, or_end: bool) -> Order {
        let session = session(gateway, by_login);
        Order::Change(Box::new(Change { session, allowed: Allowed::default(), or_end }))
    }

    /// What goes by RADIUS of all that: ends, and orders as gateway and whether it may end.
    struct Radius {
        ends: Vec<Revocation>,
        orders: Vec<(GatewayId, Option<bool>)>,
    }

    /// Carries these, and then one of each kind that goes by RADIUS and is not counted.
    async fn carried(
        channel: &Arc<OneGateway>,
        held: &Arc<Held>,
        all: Vec<Revocation>,
        ordered: Vec<Order>,
    ) -> Radius {
        let (revocations, revoked) = tokio::sync::mpsc::unbounded_channel();
        let (orders, taken) = tokio::sync::mpsc::unbounded_channel();
        let (revocations_out, mut by_disconnect) = tokio::sync::mpsc::unbounded_channel();
        let (orders_out, mut by_change) = tokio::sync::mpsc::unbounded_channel();
        let by_radius = ByRadius { revocations: revocations_out, orders: orders_out };
        let last = Revocation { station: None, ..session(UNKNOWN, true) };
        for session in all.into_iter().chain([last.clone()]) {
            revocations.send(session).unwrap();
        }
        for order in ordered.into_iter().chain([Order::End(last.clone())]) {
            orders.send(order).unwrap();
        }
        let figures = Figures::new(&mut Metrics::new("core", "0"));
        let (held, channel) = (Arc::clone(held), Arc::clone(channel));
        let work = carry(channel, revoked, taken, by_radius, held, figures, Shutdown::new());
        let look = async {
            let mut seen = Radius { ends: Vec::new(), orders: Vec::new() };
            while let Some(end) = by_disconnect.recv().await.filter(|end| *end != last) {
                seen.ends.push(end);
            }
            while let Some(order) = by_change.recv().await {
                match order {
                    Order::End(end) if end == last => break,
                    Order::End(end) => seen.orders.push((end.gateway, None)),
                    Order::Change(c) => seen.orders.push((c.session.gateway, Some(c.or_end))),
                }
            }
            seen
        };
        tokio::select! {
            () = work => panic!("it ended"),
            seen = look => seen,
        }
    }

    #[tokio::test]
    async fn a_log_in_is_put_out_by_the_channel_where_it_came_through_the_gateway_and_else_by_radius()
     {
        let (channel, held) = (Arc::new(OneGateway::default()), Arc::new(Held::new(10)));
        let sessions =
            vec![session(OURS, true), session(ELSEWHERE, true), session(ELSEWHERE, false)];
        let orders = vec![
            Order::End(session(OURS, true)),
            Order::End(session(ELSEWHERE, true)),
            change(OURS, true, true),
            change(ELSEWHERE, true, true),
            change(ELSEWHERE, true, false),
            change(OURS, false, true),
        ];
        let seen = carried(&channel, &held, sessions, orders).await;
        assert_eq!(seen.ends, [session(ELSEWHERE, true), session(ELSEWHERE, false)]);
        let by_change = [
            (ELSEWHERE, None),
            (ELSEWHERE, Some(true)),
            (ELSEWHERE, Some(false)),
            (OURS, Some(true)),
        ];
        assert_eq!(
            seen.orders, by_change,
            "a device that hostapd looked up has a hostapd of its own"
        );
        assert_eq!(*channel.told.lock().unwrap(), [PHONE; 3]);
        assert_eq!(held.len(), 0, "all were told, or will be by RADIUS");
    }

    #[tokio::test]
    async fn what_nobody_hears_is_not_sent_by_radius() {
        let (channel, held) = (Arc::new(OneGateway::default()), Arc::new(Held::new(10)));
        let seen = carried(
            &channel,
            &held,
            vec![session(OURS, false)],
            vec![change(OURS, true, false), change(OURS, true, false)],
        );
        let seen = seen.await;
        assert_eq!((&seen.ends[..], &seen.orders[..]), (&[][..], &[][..]));
        assert!(channel.told.lock().unwrap().is_empty() && held.len() == 0);
    }

    #[tokio::test]
    async fn a_log_in_that_ended_at_a_gateway_that_is_away_is_held_for_it() {
        let channel = Arc::new(OneGateway { away: true, ..OneGateway::default() });
        let held = Arc::new(Held::new(10));
        let sessions = vec![session(OURS, true), session(UNKNOWN, true), session(UNKNOWN, false)];
        let orders = vec![change(OURS, true, true)];
        let seen = carried(&channel, &held, sessions, orders).await;
        // Of one that is not known nobody knows whether it hears RADIUS.
        assert_eq!(seen.ends, [session(UNKNOWN, true), session(UNKNOWN, false)]);
        assert!(seen.orders.is_empty());
        assert_eq!(held.take(OURS), [session(OURS, true)]);
        assert_eq!(held.take(UNKNOWN), [session(UNKNOWN, true)]);
        assert_eq!(held.take(ELSEWHERE), []);
    }
}
