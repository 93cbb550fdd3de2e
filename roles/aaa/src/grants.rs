//! Grants that are out: who was told to serve whom, so that they can be told to stop.
//!
//! A grant is remembered without its key: only a fingerprint under a process-private hash key,
//! enough to see that the key is another one now.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};
use std::net::IpAddr;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use homeward_ledger::User;
use homeward_model::{GatewayId, Instant, Login, LoginId, Mac, Nai, Ssid, Verifier};

use crate::admission::admit;
use crate::decision::{Granted, Known, decide};

/// What was granted, for whom and where. Ordered by device, so that what one has is together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The device; `None` where a NAS did not say which one it lets in.
    station: Option<Mac>,
    gateway: GatewayId,
    what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    /// To let in a log-in.
    Login(LoginId),
    /// To serve a home network.
    Network(Ssid),
}

/// A grant that has become wrong.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Revocation {
    /// The gateway that was told.
    pub gateway: GatewayId,
    /// Where its question came from; the Disconnect-Request goes to that host.
    pub host: IpAddr,
    /// The device, where that is known.
    pub station: Option<Mac>,
    /// The session, where it was let in by a log-in.
    pub login: Option<LoginSession>,
}

/// How a NAS knows a session that a log-in was let into.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LoginSession {
    /// The name.
    pub name: Nai,
    /// What the NAS calls itself.
    pub nas_identifier: Option<String>,
    /// What it calls the session (Acct-Session-Id).
    pub session_id: Option<String>,
}

/// A log-in that was let in.
#[derive(Debug, Clone)]
pub struct LetIn {
    /// The log-in.
    pub login: Arc<Login>,
    /// The device, where the NAS says which one it is.
    pub station: Option<Mac>,
    /// What the NAS calls itself.
    pub nas_identifier: Option<String>,
    /// What it calls the session.
    pub session_id: Option<String>,
}

/// The grants given by one worker, bounded in number and age.
#[derive(Debug)]
pub struct Grants {
    out: BTreeMap<Key, Out>,
    most: usize,
    keep: Duration,
    hash: RandomState,
}

#[derive(Debug)]
struct Out {
    host: IpAddr,
    user: User,
    fingerprint: u64,
    at: Instant,
    login: Option<Box<LoginSession>>,
}

impl Grants {
    /// Remembers at most `most` grants, each for at most `keep` after it was last given.
    pub fn new(most: usize, keep: Duration) -> Self {
        Self { out: BTreeMap::new(), most: most.max(16), keep, hash: RandomState::new() }
    }

    /// How many grants are out.
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether none is out.
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// Remembers that `gateway`, asking from `host`, was granted that for `mac`.
    pub fn record(
        &mut self,
        gateway: GatewayId,
        host: IpAddr,
        mac: Mac,
        granted: &Granted,
        now: Instant,
    ) {
        let key = Key { station: Some(mac), gateway, what: What::Network(granted.grant.ssid) };
        let fingerprint = fingerprint(&self.hash, granted);
        let user = User::Device(granted.device);
        self.put(key, Out { host, user, fingerprint, at: now, login: None });
    }

    /// Remembers that `gateway`, asking from `host`, has let in a log-in.
    pub fn record_login(&mut self, gateway: GatewayId, host: IpAddr, let_in: LetIn, now: Instant) {
        let LetIn { login, station, nas_identifier, session_id } = let_in;
        let key = Key { station, gateway, what: What::Login(login.id) };
        let fingerprint = login_fingerprint(&self.hash, &login);
        let user = User::Login(login.id);
        let session = LoginSession { name: login.name.clone(), nas_identifier, session_id };
        let login = Some(Box::new(session));
        self.put(key, Out { host, user, fingerprint, at: now, login });
    }

    /// Who was last let in as that device by that gateway, not too long ago: for a NAS that does
    /// not return Class.
    pub fn user_of(
        &self,
        station: Mac,
        gateway: GatewayId,
        now: Instant,
    ) -> Option<(Instant, User)> {
        let station = Some(station);
        let first = Key { station, gateway, what: What::Login(LoginId(i64::MIN)) };
        let of_both = self.out.range(first..);
        let of_both = of_both.take_while(|(k, _)| (k.station, k.gateway) == (station, gateway));
        let of_both = of_both.filter(|(_, out)| now.since(out.at) < self.keep);
        of_both.map(|(_, out)| (out.at, out.user)).max()
    }

    /// Decides each grant again by what is known now; takes out and returns those that would not
    /// be given, or not with the same key and security. A slice at a time: at most `limit` after
    /// `after`; the second value is where the next slice begins, if there is one.
    pub fn revoked(
        &mut self,
        known: &Known<'_>,
        after: Option<Key>,
        limit: usize,
    ) -> (Vec<Revocation>, Option<Key>) {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut last = None;
        let slice = self.out.range((from, Bound::Unbounded)).take(limit);
        let slice = slice.inspect(|(key, _)| last = Some(**key));
        let wrong: Vec<Key> =
            slice.filter(|(key, out)| !self.still(known, key, out)).map(|(key, _)| *key).collect();
        let next = last.filter(|last| {
            self.out.range((Bound::Excluded(*last), Bound::Unbounded)).next().is_some()
        });
        (self.take(wrong), next)
    }

    /// The same for the grants of one user.
    pub fn revoked_of(&mut self, known: &Known<'_>, user: User) -> Vec<Revocation> {
        let of_user = self.out.iter().filter(|(_, out)| out.user == user);
        let wrong: Vec<Key> =
            of_user.filter(|(key, out)| !self.still(known, key, out)).map(|(k, _)| *k).collect();
        self.take(wrong)
    }

    fn take(&mut self, keys: Vec<Key>) -> Vec<Revocation> {
        let out = keys.into_iter().filter_map(|key| Some((key, self.out.remove(&key)?)));
        let revocations = out.map(|(key, out)| Revocation {
            gateway: key.gateway,
            host: out.host,
            station: key.station,
            login: out.login.map(|login| *login),
        });
        revocations.collect()
    }

    /// Whether a grant would be given again.
    fn still(&self, known: &Known<'_>, key: &Key, out: &Out) -> bool {
        let Some(gateway) = known.records.gateway(key.gateway) else { return false };
        match (key.what, &out.login) {
            (What::Network(ssid), _) => key
                .station
                .and_then(|mac| decide(known, gateway, mac, &ssid).ok())
                .is_some_and(|granted| fingerprint(&self.hash, &granted) == out.fingerprint),
            (What::Login(id), Some(session)) => {
                let login = known.records.login(&session.name).filter(|login| login.id == id);
                login.is_some_and(|login| {
                    admit(known, gateway, login, key.station).is_ok()
                        && login_fingerprint(&self.hash, login) == out.fingerprint
                })
            }
            (What::Login(_), None) => false,
        }
    }

    fn put(&mut self, key: Key, out: Out) {
        if self.out.len() >= self.most && !self.out.contains_key(&key) {
            self.make_room(out.at);
        }
        self.out.insert(key, out);
    }

    /// Drops what is too old; if that was nothing, the oldest sixteenth.
    fn make_room(&mut self, now: Instant) {
        let keep = self.keep;
        self.out.retain(|_, out| now.since(out.at) < keep);
        if self.out.len() < self.most {
            return;
        }
        let mut ages: Vec<_> = self.out.iter().map(|(key, out)| (out.at, *key)).collect();
        ages.sort_unstable();
        for (_, key) in ages.iter().take(self.most / 16 + 1) {
            self.out.remove(key);
        }
    }

    /// What is out to users that `concerns` picks, a slice at a time: at most `limit` from `from`
    /// on; the second value is where the next slice begins, if there is one.
    pub fn those(
        &self,
        from: Option<Key>,
        limit: usize,
        concerns: impl Fn(User) -> bool,
    ) -> (Vec<(User, Revocation)>, Option<Key>) {
        let rest =
            self.out.range((from.map_or(Bound::Unbounded, Bound::Included), Bound::Unbounded));
        let next = rest.clone().nth(limit).map(|(key, _)| *key);
        let those = rest.take(limit).filter(|(_, out)| concerns(out.user)).map(|(key, out)| {
            let Key { station, gateway, .. } = *key;
            let login = out.login.as_deref().cloned();
            (out.user, Revocation { gateway, host: out.host, station, login })
        });
        (those.collect(), next)
    }
}

fn fingerprint(hash: &RandomState, granted: &Granted) -> u64 {
    let grant = &granted.grant;
    let passphrase = grant.key.passphrase().map(homeward_model::Passphrase::expose);
    hash.hash_one((
        grant.network,
        grant.security,
        grant.at_home,
        grant.key.psk().expose(),
        passphrase,
    ))
}

fn login_fingerprint(hash: &RandomState, login: &Login) -> u64 {
    let (kind, octets) = match &login.verifier {
        Verifier::NtHash(hash) => (0u8, &hash.expose()[..]),
        Verifier::Argon2id(hash) => (1, hash.expose()),
        Verifier::Password(password) => (2, password.expose()),
    };
    hash.hash_one((login.id.0, kind, octets))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::projection::Projection;
    use crate::testing::{self, GATEWAY, HOME, MAC};
    use crate::usage::Usage;
    use homeward_accounting::{Day, Figures};
    use homeward_model::{Coverage, NtHash, Quota, QuotaPeriod, Status, UnixTime};

    const NOW: UnixTime = UnixTime(1_800_000_000_000);

    fn known<'a>(p: &'a Projection, usage: &'a Usage) -> Known<'a> {
        Known { records: p, usage, now: NOW }
    }

    fn revoked(grants: &mut Grants, p: &Projection) -> Vec<Revocation> {
        let usage = Usage::default();
        let (gone, next) = grants.revoked(&known(p, &usage), None, usize::MAX);
        assert_eq!(next, None);
        gone
    }

    fn granted(p: &Projection, gateway: GatewayId) -> Granted {
        let usage = Usage::default();
        decide(&known(p, &usage), p.gateway(gateway).unwrap(), MAC, &testing::ssid()).unwrap()
    }

    fn give(grants: &mut Grants, p: &Projection, now: u64) {
        let now = Instant::from_nanos(now);
        grants.record(GATEWAY, testing::host(), MAC, &granted(p, GATEWAY), now);
    }

    fn let_in(grants: &mut Grants, station: Option<Mac>) {
        let login = Arc::new(testing::login());
        let (nas_identifier, session_id) = (Some("ap-7".to_owned()), Some("5F".to_owned()));
        let let_in = LetIn { login, station, nas_identifier, session_id };
        grants.record_login(HOME, testing::host(), let_in, Instant::ORIGIN);
    }

    fn grants() -> Grants {
        Grants::new(100, Duration::from_secs(60))
    }

    #[test]
    fn a_grant_is_revoked_when_the_account_is_suspended_and_only_once() {
        let mut p = testing::projection();
        let mut grants = grants();
        give(&mut grants, &p, 0);
        assert_eq!(revoked(&mut grants, &p), []);
        p.put_account(testing::suspended_account());
        let gone = revoked(&mut grants, &p);
        let brief: Vec<_> = gone.iter().map(|r| (r.gateway, r.station, &r.login)).collect();
        assert_eq!(brief, [(GATEWAY, Some(MAC), &None)]);
        assert_eq!(revoked(&mut grants, &p), []);
    }

    #[test]
    fn a_log_in_is_revoked_when_it_is_suspended_gone_or_has_another_password() {
        let changes: [fn(&mut Projection); 4] = [
            |p| p.put_account(testing::suspended_account()),
            |p| p.put_login(Login { status: Status::Suspended, ..testing::login() }),
            |p| p.remove_login(testing::login().id),
            |p| {
                let verifier = Verifier::NtHash(NtHash::new([9; 16]));
                p.put_login(Login { verifier, ..testing::login() });
            },
        ];
        for (change, station) in changes.into_iter().zip([Some(MAC), None].into_iter().cycle()) {
            let mut p = testing::projection();
            p.put_login(testing::login());
            let mut grants = grants();
            let_in(&mut grants, station);
            assert_eq!(revoked(&mut grants, &p), []);
            change(&mut p);
            let gone = revoked(&mut grants, &p);
            let session = gone[0].login.as_ref().unwrap();
            assert_eq!((gone[0].gateway, gone[0].station), (HOME, station));
            assert_eq!(session.name, testing::login().name);
            assert_eq!(
                (&*session.nas_identifier.clone().unwrap(), session.session_id.as_deref()),
                ("ap-7", Some("5F"))
            );
            assert_eq!(revoked(&mut grants, &p), []);
        }
    }

    #[test]
    fn a_user_whose_quota_is_spent_loses_what_is_out_and_nobody_else_does() {
        let mut p = testing::projection();
        let mut class = testing::class(Coverage::Local);
        class.terms.quota = Some(Quota { octets: 1000, period: QuotaPeriod::Day });
        p.put_class(class);
        p.put_login(testing::login());
        let (mut grants, usage) = (grants(), Usage::default());
        give(&mut grants, &p, 0);
        grants.record(HOME, testing::host(), MAC, &granted(&p, HOME), Instant::ORIGIN);
        let_in(&mut grants, Some(MAC));
        let (device, login) =
            (User::Device(testing::device().id), User::Login(testing::login().id));
        for user in [device, login] {
            usage.add(user, &Figures { input: 1000, ..Figures::ZERO }, Day::of(NOW));
            let gone = grants.revoked_of(&known(&p, &usage), user);
            assert_eq!(gone.iter().map(|r| r.login.is_some()).collect::<Vec<_>>(), [user == login]);
        }
        assert_eq!(grants.len(), 1, "at home the device stays");
    }

    #[test]
    fn a_session_without_a_class_is_who_was_let_in_there_last() {
        let p = testing::projection();
        let (mut grants, now) = (grants(), Instant::from_nanos(9));
        assert_eq!(grants.user_of(MAC, GATEWAY, now), None);
        give(&mut grants, &p, 5);
        let_in(&mut grants, Some(MAC));
        let device = User::Device(testing::device().id);
        assert_eq!(grants.user_of(MAC, GATEWAY, now), Some((Instant::from_nanos(5), device)));
        let login = User::Login(testing::login().id);
        assert_eq!(grants.user_of(MAC, HOME, now), Some((Instant::ORIGIN, login)));
        assert_eq!(grants.user_of(Mac::new([2; 6]), HOME, now), None);
        let late = Instant::from_nanos(61_000_000_000);
        assert_eq!(grants.user_of(MAC, HOME, late), None, "that was too long ago");
    }

    #[test]
    fn grants_are_decided_again_a_slice_at_a_time() {
        let mut p = testing::projection();
        let mut grants = grants();
        let granted = granted(&p, GATEWAY);
        for i in 0..10 {
            let mac = Mac::new([2, 0, 0, 0, 0, i]);
            grants.record(GATEWAY, testing::host(), mac, &granted, Instant::ORIGIN);
        }
        p.put_account(testing::suspended_account());
        let usage = Usage::default();
        let (mut after, mut slices) = (None, Vec::new());
        loop {
            let (gone, next) = grants.revoked(&known(&p, &usage), after, 4);
            slices.push(gone.len());
            after = next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!((slices, grants.len()), (vec![4, 4, 2], 0));
    }

    #[test]
    fn a_grant_is_revoked_when_the_device_has_another_key() {
        let mut p = testing::projection();
        let mut grants = grants();
        give(&mut grants, &p, 0);
        let mut device = p.devices(MAC)[0].clone();
        device.key = Some(homeward_model::DeviceKey::Psk(homeward_model::Psk::new([9; 32])));
        p.put_device(device);
        assert_eq!(revoked(&mut grants, &p).len(), 1);
    }

    #[test]
    fn a_change_that_does_not_concern_a_grant_leaves_it() {
        let mut p = testing::projection();
        let mut grants = grants();
        give(&mut grants, &p, 0);
        let mut device = p.devices(MAC)[0].clone();
        device.label = "renamed".into();
        p.put_device(device);
        assert_eq!(revoked(&mut grants, &p), []);
    }

    #[test]
    fn the_number_of_grants_is_bounded_and_the_oldest_go_first() {
        let p = testing::projection();
        let granted = granted(&p, GATEWAY);
        let mut grants = Grants::new(32, Duration::from_secs(3600));
        for i in 0..200u8 {
            let mac = Mac::new([2, 0, 0, 0, 0, i]);
            grants.record(GATEWAY, testing::host(), mac, &granted, Instant::from_nanos(i.into()));
            assert!(grants.len() <= 32);
        }
        assert!(grants.out.keys().any(|k| k.station.unwrap().octets()[5] == 199));
        assert!(!grants.out.keys().any(|k| k.station.unwrap().octets()[5] == 0));
    }
}
