//! Sessions that began before the core did: found again in the ledger, so that a suspension ends
//! them as it ends those that were let in since.
//!
//! What was granted is in memory only, and whom it was granted to is in the ledger with every
//! session that is accounted for. Of each that goes on, what it was granted is decided anew: it is
//! remembered as if it had just been given, or taken back if it would not be. What a grant of then
//! was made of (the key, the password) nobody wrote down: whether that has changed while no core
//! ran, is not noticed.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use homeward_daemon::{Shutdown, SystemClock};
use homeward_ledger::{Ledger, Running, User};
use homeward_model::{Clock, Gateway, GatewayId, Instant, Login, Mac, Nai, UnixTime};
use tokio::sync::mpsc::UnboundedSender;

use super::worker::client_of;
use crate::decision::{self, Known, decide};
use crate::grants::{Grants, LetIn, LoginSession, Revocation};
use crate::projection::Projection;
use crate::usage::Usage;

/// Sessions that are read at a time.
const READ: u32 = 2048;

/// Sessions that are decided at a time: a change of the records waits for no more of them.
const SLICE: usize = 256;

/// Finds the sessions again that began before the core did.
pub(crate) struct Recovery {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) memory: Memory,
}

/// What sessions are decided by, and where what comes of it goes.
pub(crate) struct Memory {
    pub(crate) projection: Arc<RwLock<Projection>>,
    pub(crate) usage: Usage,
    /// Where they are remembered.
    pub(crate) grants: Arc<Mutex<Grants>>,
    /// Where it is told what is not granted any more.
    pub(crate) revocations: UnboundedSender<Revocation>,
}

impl Recovery {
    /// Does so, beside everything else.
    pub(crate) async fn run(self, shutdown: Shutdown) {
        let (mut after, mut found, mut ended) = (None, 0, 0);
        loop {
            let slice = tokio::select! {
                () = shutdown.requested() => return,
                slice = self.ledger.reader().running(after, READ) => slice,
            };
            let (sessions, next) = match slice {
                Ok(slice) => slice,
                Err(error) => {
                    tracing::error!(
                        %error, found,
                        "sessions from before the start were not all found again: a suspension \
                         may not end them"
                    );
                    return;
                }
            };
            for sessions in sessions.chunks(SLICE) {
                let (kept, gone) = self.memory.remember(sessions);
                found += kept;
                ended += gone;
                tokio::task::yield_now().await;
            }
            after = next;
            if after.is_none() {
                break;
            }
        }
        tracing::info!(found, ended, "sessions from before the start found again");
    }
}

impl Memory {
    /// Decides some of them anew; how many are remembered, and how many are not granted any more.
    fn remember(&self, sessions: &[Running]) -> (u64, u64) {
        let (now, wall) = (SystemClock.now(), SystemClock.unix());
        // Held for both: a change that comes between deciding and remembering would be missed.
        let p = self.projection.read().unwrap_or_else(PoisonError::into_inner);
        let mut grants = self.grants.lock().unwrap_or_else(PoisonError::into_inner);
        let known = Known { records: &p, usage: &self.usage, now: wall };
        let (mut kept, mut gone) = (0, 0);
        for session in sessions {
            match again(&known, session) {
                Some(Again::Granted(gateway, host, what)) => {
                    let at = earlier(now, wall, session.heard);
                    match what {
                        Granted::Device(granted, station) => {
                            grants.record(gateway, host, station, &granted, at);
                        }
                        Granted::Login(login) => {
                            let let_in = LetIn {
                                login,
                                station: session.station,
                                nas_identifier: identifier(session),
                                session_id: Some(&session.session_id),
                            };
                            grants.record_login(gateway, host, let_in, at);
                        }
                    }
                    kept += 1;
                }
                Some(Again::Revoked(revocation)) => {
                    // The revoker has ended only if the core is ending.
                    let _ = self.revocations.send(revocation);
                    gone += 1;
                }
                None => {}
            }
        }
        (kept, gone)
    }
}

/// What becomes of a session that is found again.
enum Again<'p> {
    Granted(GatewayId, IpAddr, Granted<'p>),
    Revoked(Revocation),
}

enum Granted<'p> {
    Device(Box<decision::Granted>, Mac),
    Login(&'p Login),
}

/// Decides a session anew; `None` where it could not be ended anyway, for nobody knows how.
fn again<'p>(known: &Known<'p>, session: &Running) -> Option<Again<'p>> {
    let p = known.records;
    // Of a gateway that was deleted nobody has the secret.
    let gateway = p.gateway(client_of(&session.nas.client)?)?;
    let host = session.host.or_else(|| address_of(gateway))?;
    let id = gateway.id;
    let revoked = |station, login| Again::Revoked(Revocation { gateway: id, host, station, login });
    match session.user {
        User::Device(device) => {
            let device = p.device(device);
            let station = session.station.or_else(|| Some(device?.mac))?;
            let network = device.and_then(|device| p.network(device.network));
            let granted = network.and_then(|n| decide(known, gateway, station, &n.ssid).ok());
            Some(match granted {
                Some(granted) => {
                    Again::Granted(id, host, Granted::Device(Box::new(granted), station))
                }
                None => revoked(Some(station), None),
            })
        }
        User::Login(login) => {
            let (station, login) = (session.station, p.login_by(login));
            let admitted = login
                .filter(|login| crate::admission::stay(known, gateway, login, station).is_ok());
            if let Some(login) = admitted {
                return Some(Again::Granted(id, host, Granted::Login(login)));
            }
            let name = login.map(|login| login.name.clone()).or_else(|| reported(session))?;
            let nas_identifier = identifier(session).map(str::to_owned);
            let session_id = Some(session.session_id.clone());
            Some(revoked(station, Some(LoginSession { name, nas_identifier, session_id })))
        }
    }
}

/// What the NAS calls itself.
fn identifier(session: &Running) -> Option<&str> {
    Some(session.nas.identifier.as_str()).filter(|name| !name.is_empty())
}

/// The name that the NAS knows the session by.
fn reported(session: &Running) -> Option<Nai> {
    std::str::from_utf8(&session.user_name.as_ref()?.0).ok()?.parse().ok()
}

/// Where a gateway is, if its record says so.
fn address_of(gateway: &Gateway) -> Option<IpAddr> {
    gateway.address.as_deref()?.parse().ok()
}

/// That time of day as it was by the other clock, or its beginning.
fn earlier(now: Instant, wall: UnixTime, then: UnixTime) -> Instant {
    let ago = u64::try_from(wall.0.saturating_sub(then.0)).unwrap_or_default();
    let ago = u64::try_from(Duration::from_millis(ago).as_nanos()).unwrap_or(u64::MAX);
    Instant::from_nanos(now.as_nanos().saturating_sub(ago))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, GATEWAY, MAC};
    use homeward_accounting::{Nas, Private};
    use homeward_model::{DeviceId, LoginId, Status};
    use tokio::sync::mpsc;

    fn session(user: User) -> Running {
        Running {
            nas: Nas {
                client: super::super::worker::known_as(GATEWAY),
                identifier: "ap-7".to_owned(),
            },
            session_id: "5F".to_owned(),
            user,
            heard: SystemClock.unix(),
            host: Some(testing::host()),
            station: Some(MAC),
            user_name: Some(Private(b"phone@example.net".to_vec())),
        }
    }

    fn device() -> Running {
        session(User::Device(testing::device().id))
    }

    fn login() -> Running {
        session(User::Login(testing::login().id))
    }

    /// How many of those sessions are remembered, in what, and what is revoked at once.
    fn recovered(p: &Arc<RwLock<Projection>>, sessions: &[Running]) -> (Grants, Vec<Revocation>) {
        let grants = Arc::new(Mutex::new(Grants::new(100, Duration::from_secs(3600))));
        let (revocations, mut revoked) = mpsc::unbounded_channel();
        let memory = Memory {
            projection: Arc::clone(p),
            usage: Usage::default(),
            grants: Arc::clone(&grants),
            revocations,
        };
        let counted = memory.remember(sessions);
        drop(memory);
        let grants = Arc::into_inner(grants).unwrap().into_inner().unwrap();
        let gone: Vec<_> = std::iter::from_fn(|| revoked.try_recv().ok()).collect();
        assert_eq!(counted, (grants.len() as u64, gone.len() as u64));
        (grants, gone)
    }

    fn projection() -> Arc<RwLock<Projection>> {
        let mut p = testing::projection();
        p.put_login(testing::login());
        Arc::new(RwLock::new(p))
    }

    /// What is revoked of what was remembered, as the records are now.
    fn revoked(grants: &mut Grants, p: &Projection) -> Vec<Revocation> {
        let usage = Usage::default();
        let known = Known { records: p, usage: &usage, now: SystemClock.unix() };
        grants.revoked(&known, 0, usize::MAX).0
    }

    fn of_login() -> Option<LoginSession> {
        Some(LoginSession {
            name: testing::login().name,
            nas_identifier: Some("ap-7".to_owned()),
            session_id: Some("5F".to_owned()),
        })
    }

    #[test]
    fn what_goes_on_is_remembered_and_revoked_when_the_account_is_suspended() {
        for (session, login) in [(device(), None), (login(), of_login())] {
            let p = projection();
            let (mut grants, gone) = recovered(&p, &[session]);
            assert_eq!((grants.len(), gone), (1, vec![]));
            let mut p = p.write().unwrap();
            assert_eq!(revoked(&mut grants, &p), []);
            p.put_account(testing::suspended_account());
            let (host, station) = (testing::host(), Some(MAC));
            let expected = Revocation { gateway: GATEWAY, host, station, login };
            assert_eq!(revoked(&mut grants, &p), [expected]);
        }
    }

    #[test]
    fn what_was_suspended_or_deleted_while_no_core_ran_is_revoked_at_once() {
        let changes: [fn(&mut Projection); 3] = [
            |p| p.put_account(testing::suspended_account()),
            |p| {
                p.put_login(Login { status: Status::Suspended, ..testing::login() });
                p.remove_network(testing::network().id);
            },
            |p| {
                p.remove_login(LoginId(1));
                p.remove_device(DeviceId(1));
            },
        ];
        for change in changes {
            let p = projection();
            change(&mut p.write().unwrap());
            let (grants, gone) = recovered(&p, &[device(), login()]);
            assert!(grants.is_empty());
            let of = gone.iter().map(|r| (r.station, r.login.clone())).collect::<Vec<_>>();
            assert_eq!(of, [(Some(MAC), None), (Some(MAC), of_login())]);
        }
    }

    #[test]
    fn a_nas_is_where_its_records_came_from_and_else_where_its_record_says() {
        let p = projection();
        p.write().unwrap().put_account(testing::suspended_account());
        let (_, gone) = recovered(&p, &[Running { host: None, ..device() }]);
        assert_eq!(gone[0].host, "127.0.0.2".parse::<IpAddr>().unwrap());
        p.write().unwrap().put_gateway(Gateway {
            address: Some("10.0.0.0/8".to_owned()),
            ..testing::gateway(GATEWAY, "gb/london/n7")
        });
        let (_, gone) = recovered(&p, &[Running { host: None, ..device() }]);
        assert_eq!(gone, [], "there is nowhere to send it");
        p.write().unwrap().remove_gateway(GATEWAY);
        assert_eq!(recovered(&p, &[device(), login()]).1, []);
    }

    #[test]
    fn of_two_sessions_of_a_device_the_one_heard_of_last_is_who_it_is() {
        let p = projection();
        let before = UnixTime(SystemClock.unix().0 - 60_000);
        let older = Running { heard: before, ..login() };
        for sessions in [[older.clone(), device()], [device(), older.clone()]] {
            let (grants, _) = recovered(&p, &sessions);
            let (_, user) = grants.user_of(MAC, GATEWAY, SystemClock.now()).unwrap();
            assert_eq!(user, device().user);
        }
    }
}
