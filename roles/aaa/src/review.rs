//! What a gateway holds when its channel is back, looked at by what is known now: of what ended
//! meanwhile it could not be told. So nothing has to be written down, and it does not matter which
//! of the two was away, or has begun anew.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use homeward_daemon::SystemClock;
use homeward_model::{Clock, GatewayId, Mac, Nai, NetworkId};
use tokio::sync::mpsc::UnboundedSender;

use crate::admission::stay;
use crate::decision::{Known, decide};
use crate::figures::Figures;
use crate::grants::{Grants, LetIn, Revocation};
use crate::held::Held;
use crate::projection::Projection;
use crate::usage::Usage;

/// Looks at what gateways hold.
#[derive(Clone)]
pub struct Review {
    pub(crate) projection: Arc<RwLock<Projection>>,
    pub(crate) usage: Usage,
    /// Where sessions are remembered that a core before this one let in.
    pub(crate) grants: Arc<Mutex<Grants>>,
    pub(crate) held: Arc<Held>,
    /// Where it goes what is held for a gateway that is back.
    pub(crate) revocations: UnboundedSender<Revocation>,
    pub(crate) figures: Figures,
}

impl Review {
    /// A gateway is back: what was held for it is told anew. Of the devices that it serves or
    /// holds the keys of, those that it would not be granted are returned.
    pub fn devices(
        &self,
        gateway: GatewayId,
        held: Vec<(NetworkId, Mac)>,
    ) -> Vec<(NetworkId, Mac)> {
        for ended in self.held.take(gateway) {
            // The courier has ended only if the core is ending.
            let _ = self.revocations.send(ended);
        }
        let p = self.projection.read().unwrap_or_else(PoisonError::into_inner);
        // The records of a gateway that was made a moment ago may be on their way.
        let Some(record) = p.gateway(gateway) else { return Vec::new() };
        let known = Known { records: &p, usage: &self.usage, now: SystemClock.unix() };
        let ended = held.into_iter().filter(|(network, mac)| {
            let network = p.network(*network);
            network.is_none_or(|network| decide(&known, record, *mac, &network.ssid).is_err())
        });
        let ended: Vec<_> = ended.collect();
        if !ended.is_empty() {
            self.figures.disconnects("by-review", ended.len());
            tracing::info!(gateway = %record.name, ended = ended.len(), "a gateway serves devices that it may not any more");
        }
        ended
    }

    /// Of the stations at a gateway that log-ins let in, by name, those that may not stay. The
    /// others are remembered as if they had just been let in, so that they are put out once that
    /// is so. A name that nobody has may be that of another server's user: it is let be.
    pub fn logins<'a>(
        &self,
        gateway: GatewayId,
        host: IpAddr,
        held: impl IntoIterator<Item = (Mac, &'a Nai)>,
    ) -> Vec<Mac> {
        // Held for both: a change that comes between deciding and remembering would be missed.
        let p = self.projection.read().unwrap_or_else(PoisonError::into_inner);
        let Some(record) = p.gateway(gateway) else { return Vec::new() };
        let mut grants = self.grants.lock().unwrap_or_else(PoisonError::into_inner);
        let known = Known { records: &p, usage: &self.usage, now: SystemClock.unix() };
        let (now, mut kept, mut ended) = (SystemClock.now(), 0usize, Vec::new());
        for (station, name) in held {
            let Some(login) = p.login(name) else { continue };
            let station_of = Some(station);
            if let Err(denied) = stay(&known, record, login, station_of) {
                tracing::debug!(%station, %denied, "a log-in has ended at a gateway that was away");
                ended.push(station);
                continue;
            }
            kept += 1;
            let let_in =
                LetIn { login, station: station_of, nas_identifier: None, session_id: None };
            grants.record_login(gateway, host, let_in, now);
        }
        self.figures.disconnects("by-review", ended.len());
        let gateway = &record.name;
        tracing::info!(%gateway, kept, ended = ended.len(), "log-ins at a gateway looked at");
        ended
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use homeward_daemon::Metrics;
    use homeward_model::{DeviceId, Login, LoginId, Status, Uses};
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    use super::*;
    use crate::grants::LoginSession;
    use crate::testing::{self, FAR, GATEWAY, MAC};

    const OTHER: Mac = Mac::new([2, 0, 0x5e, 0, 0, 2]);

    fn review() -> (Review, UnboundedReceiver<Revocation>) {
        let mut p = testing::projection();
        p.put_login(testing::login());
        let (revocations, told) = unbounded_channel();
        let review = Review {
            projection: Arc::new(RwLock::new(p)),
            usage: Usage::default(),
            grants: Arc::new(Mutex::new(Grants::new(100, Duration::from_secs(3600)))),
            held: Arc::new(Held::new(10)),
            revocations,
            figures: Figures::new(&mut Metrics::new("core", "0")),
        };
        (review, told)
    }

    fn change(review: &Review, change: impl FnOnce(&mut Projection)) {
        change(&mut review.projection.write().unwrap());
    }

    /// The stations that may not stay of one there is, by that name.
    fn logins(review: &Review, gateway: GatewayId, name: &str) -> Vec<Mac> {
        review.logins(gateway, testing::host(), [(MAC, &name.parse().unwrap())])
    }

    #[test]
    fn whose_log_in_has_ended_may_not_stay_and_who_is_somebody_elses_may() {
        let name = "phone@example.net";
        let (review, _told) = review();
        assert_eq!(logins(&review, GATEWAY, name), []);
        assert_eq!(logins(&review, FAR, name), [MAC], "it is not let in there");
        assert_eq!(logins(&review, GatewayId(99), name), [], "nothing is known of that gateway");
        assert_eq!(logins(&review, GATEWAY, "fred@elsewhere.example"), []);
        let spent = Login { uses: Uses::Spent, ..testing::login() };
        change(&review, |p| p.put_login(spent));
        assert_eq!(logins(&review, GATEWAY, name), [], "it was good for this one log-on");
        let suspended = Login { status: Status::Suspended, ..testing::login() };
        change(&review, |p| p.put_login(suspended));
        assert_eq!(logins(&review, GATEWAY, name), [MAC]);
        change(&review, |p| p.remove_login(LoginId(1)));
        assert_eq!(logins(&review, GATEWAY, name), []);
    }

    #[test]
    fn who_may_stay_is_put_out_by_what_changes_later() {
        let (review, _told) = review();
        logins(&review, GATEWAY, "phone@example.net");
        change(&review, |p| p.put_account(testing::suspended_account()));
        let p = review.projection.read().unwrap();
        let known = Known { records: &p, usage: &review.usage, now: SystemClock.unix() };
        let (revoked, _) = review.grants.lock().unwrap().revoked(&known, 0, usize::MAX);
        let name = testing::login().name;
        let login = LoginSession { name, nas_identifier: None, session_id: None };
        let (host, station) = (testing::host(), Some(MAC));
        assert_eq!(revoked, [Revocation { gateway: GATEWAY, host, station, login: Some(login) }]);
    }

    #[test]
    fn a_device_that_would_not_be_granted_may_not_go_on() {
        let (review, _told) = review();
        let network = testing::network().id;
        let held = vec![(network, MAC), (network, OTHER), (NetworkId(9), MAC)];
        let unknown = [(network, OTHER), (NetworkId(9), MAC)];
        assert_eq!(review.devices(GATEWAY, held.clone()), unknown);
        assert_eq!(review.devices(FAR, held.clone()), held, "its class does not reach there");
        assert_eq!(review.devices(GatewayId(99), held.clone()), []);
        change(&review, |p| p.remove_device(DeviceId(1)));
        assert_eq!(review.devices(GATEWAY, held.clone()), held);
    }

    #[test]
    fn what_was_held_for_a_gateway_that_is_back_is_told_anew() {
        let (review, mut told) = review();
        let name = testing::login().name;
        let login = Some(LoginSession { name, nas_identifier: None, session_id: None });
        let (host, station) = (testing::host(), Some(MAC));
        let ended = |gateway| Revocation { gateway, host, station, login: login.clone() };
        for gateway in [GATEWAY, FAR] {
            review.held.put(&ended(gateway));
        }
        assert_eq!(review.devices(GATEWAY, Vec::new()), []);
        assert_eq!(told.try_recv(), Ok(ended(GATEWAY)));
        assert!(told.try_recv().is_err(), "another gateway is away still");
        assert_eq!(review.held.len(), 1);
    }
}
