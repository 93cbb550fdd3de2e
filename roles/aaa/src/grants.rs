//! Grants that are out: who was told to serve whom, so that they can be told to stop.
//!
//! A grant is remembered without its key: only a fingerprint under a process-private hash key,
//! enough to see that the key is another one now.

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher};
use std::net::IpAddr;
use std::time::Duration;

use homeward_ledger::User;
use homeward_model::{GatewayId, Instant, Login, LoginId, Mac, Nai, Ssid, Verifier};

use crate::admission::admit;
use crate::decision::{Granted, Known, decide};

/// What was granted, for whom and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    /// The device; `None` where a NAS did not say which one it lets in.
    station: Option<Mac>,
    gateway: GatewayId,
    what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum What {
    /// To let in a log-in: to the session of that hash, where the NAS did not say which device it
    /// is, for then there may be several.
    Login(LoginId, u64),
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
#[derive(Debug, Clone, Copy)]
pub struct LetIn<'a> {
    /// The log-in.
    pub login: &'a Login,
    /// The device, where the NAS says which one it is.
    pub station: Option<Mac>,
    /// What the NAS calls itself.
    pub nas_identifier: Option<&'a str>,
    /// What it calls the session.
    pub session_id: Option<&'a str>,
}

impl LetIn<'_> {
    /// How the NAS knows it; often as it did `before`, whose texts are kept then.
    fn session(&self, before: Option<Box<LoginSession>>) -> Box<LoginSession> {
        let mut session = before.unwrap_or_else(|| {
            let name = self.login.name.clone();
            Box::new(LoginSession { name, nas_identifier: None, session_id: None })
        });
        if session.name != self.login.name {
            session.name = self.login.name.clone();
        }
        for (text, now) in [
            (&mut session.nas_identifier, self.nas_identifier),
            (&mut session.session_id, self.session_id),
        ] {
            if text.as_deref() != now {
                *text = now.map(str::to_owned);
            }
        }
        session
    }
}

/// The grants given by one worker, bounded in number and age.
#[derive(Debug)]
pub struct Grants {
    /// What is out; places that are free have none.
    places: Vec<Option<Out>>,
    free: Vec<usize>,
    /// Where each grant is, by the hash of its key. Of two that share one, the older is only
    /// found in its turn.
    by_key: HashMap<u64, usize, Hashed>,
    /// Where the grant is that a device had last at a gateway, by the hash of both.
    latest: HashMap<u64, usize, Hashed>,
    most: usize,
    keep: Duration,
    hash: RandomState,
}

#[derive(Debug)]
struct Out {
    key: Key,
    host: IpAddr,
    user: User,
    fingerprint: u64,
    at: Instant,
    login: Option<Box<LoginSession>>,
}

/// For keys that are hashes already, under a key of this process's.
type Hashed = BuildHasherDefault<AsIs>;

#[derive(Debug, Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, octets: &[u8]) {
        for octet in octets {
            self.0 = self.0.rotate_left(8) ^ u64::from(*octet);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

impl Grants {
    /// Remembers at most `most` grants, each for at most `keep` after it was last given.
    pub fn new(most: usize, keep: Duration) -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
            by_key: HashMap::default(),
            latest: HashMap::default(),
            most: most.max(16),
            keep,
            hash: RandomState::new(),
        }
    }

    /// How many grants are out.
    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Whether none is out.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
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
        self.put(Out { key, host, user, fingerprint, at: now, login: None });
    }

    /// Remembers that `gateway`, asking from `host`, has let in a log-in.
    pub fn record_login(
        &mut self,
        gateway: GatewayId,
        host: IpAddr,
        let_in: LetIn<'_>,
        now: Instant,
    ) {
        let LetIn { login, station, nas_identifier, session_id } = let_in;
        let session = || self.hash.hash_one((nas_identifier, session_id));
        let what = What::Login(login.id, if station.is_some() { 0 } else { session() });
        let key = Key { station, gateway, what };
        let fingerprint = login_fingerprint(&self.hash, login);
        let user = User::Login(login.id);
        let at = self.put(Out { key, host, user, fingerprint, at: now, login: None });
        if let Some(Some(out)) = self.places.get_mut(at) {
            out.login = Some(let_in.session(out.login.take()));
        }
    }

    /// Who was last let in as that device by that gateway, not too long ago: for a NAS that does
    /// not return Class.
    pub fn user_of(
        &self,
        station: Mac,
        gateway: GatewayId,
        now: Instant,
    ) -> Option<(Instant, User)> {
        let latest = *self.latest.get(&self.hash.hash_one((station, gateway)))?;
        let out = self.places.get(latest)?.as_ref()?;
        let same = (out.key.station, out.key.gateway) == (Some(station), gateway);
        (same && now.since(out.at) < self.keep).then_some((out.at, out.user))
    }

    /// Decides each grant again by what is known now; takes out and returns those that would not
    /// be given, or not with the same key and security. A slice at a time: at most `limit` from
    /// `from` on; the second value is where the next slice begins, if there is one.
    pub fn revoked(
        &mut self,
        known: &Known<'_>,
        from: usize,
        limit: usize,
    ) -> (Vec<Revocation>, Option<usize>) {
        let slice = self.places.iter().enumerate().skip(from).take(limit);
        let wrong = slice.filter(|(_, out)| out.as_ref().is_some_and(|o| !self.still(known, o)));
        let wrong: Vec<usize> = wrong.map(|(at, _)| at).collect();
        let next = from.saturating_add(limit);
        (self.take(wrong), (next < self.places.len()).then_some(next))
    }

    /// The same for the grants of one user.
    pub fn revoked_of(&mut self, known: &Known<'_>, user: User) -> Vec<Revocation> {
        let of_user = self.places.iter().enumerate();
        let wrong = of_user.filter(|(_, out)| {
            out.as_ref().is_some_and(|out| out.user == user && !self.still(known, out))
        });
        let wrong = wrong.map(|(at, _)| at).collect();
        self.take(wrong)
    }

    fn take(&mut self, places: Vec<usize>) -> Vec<Revocation> {
        let out = places.into_iter().filter_map(|at| self.remove(at));
        let revocations = out.map(|out| Revocation {
            gateway: out.key.gateway,
            host: out.host,
            station: out.key.station,
            login: out.login.map(|login| *login),
        });
        revocations.collect()
    }

    fn remove(&mut self, at: usize) -> Option<Out> {
        let out = self.places.get_mut(at)?.take()?;
        self.free.push(at);
        let hash = self.hash.hash_one(out.key);
        if self.by_key.get(&hash) == Some(&at) {
            self.by_key.remove(&hash);
        }
        if let Some(station) = out.key.station {
            let hash = self.hash.hash_one((station, out.key.gateway));
            if self.latest.get(&hash) == Some(&at) {
                self.latest.remove(&hash);
            }
        }
        Some(out)
    }

    /// Whether a grant would be given again.
    fn still(&self, known: &Known<'_>, out: &Out) -> bool {
        let Key { station, gateway, what } = out.key;
        let Some(gateway) = known.records.gateway(gateway) else { return false };
        match (what, &out.login) {
            (What::Network(ssid), _) => station
                .and_then(|mac| decide(known, gateway, mac, &ssid).ok())
                .is_some_and(|granted| fingerprint(&self.hash, &granted) == out.fingerprint),
            (What::Login(id, _), Some(session)) => {
                let login = known.records.login(&session.name).filter(|login| login.id == id);
                login.is_some_and(|login| {
                    admit(known, gateway, login, station).is_ok()
                        && login_fingerprint(&self.hash, login) == out.fingerprint
                })
            }
            (What::Login(..), None) => false,
        }
    }

    /// Remembers a grant, with the session that it may have had before; where.
    fn put(&mut self, mut out: Out) -> usize {
        let Key { station, gateway, .. } = out.key;
        let (now, hash) = (out.at, self.hash.hash_one(out.key));
        let same = self.by_key.get(&hash).copied().filter(|at| {
            let there = self.places.get(*at).and_then(Option::as_ref);
            there.is_some_and(|there| there.key == out.key)
        });
        let at = match same {
            Some(at) => at,
            None => {
                if self.len() >= self.most {
                    self.make_room(now);
                }
                let at = self.free.pop().unwrap_or(self.places.len());
                self.by_key.insert(hash, at);
                at
            }
        };
        match self.places.get_mut(at) {
            Some(place) => {
                out.login = place.take().and_then(|before| before.login);
                *place = Some(out);
            }
            None => self.places.push(Some(out)),
        }
        let Some(station) = station else { return at };
        match self.latest.entry(self.hash.hash_one((station, gateway))) {
            Entry::Vacant(none) => drop(none.insert(at)),
            Entry::Occupied(mut latest) => {
                let there = self.places.get(*latest.get()).and_then(Option::as_ref);
                if there.is_none_or(|there| there.at <= now) {
                    latest.insert(at);
                }
            }
        }
        at
    }

    /// Drops what is too old; if that was nothing, the oldest sixteenth.
    fn make_room(&mut self, now: Instant) {
        let out = self.places.iter().enumerate();
        let out = out.filter_map(|(at, out)| Some((out.as_ref()?.at, at)));
        let mut ages: Vec<_> = out.collect();
        ages.sort_unstable();
        let old = ages.iter().filter(|(at, _)| now.since(*at) >= self.keep).count();
        let goes = if old > 0 { old } else { self.most / 16 + 1 };
        for (_, at) in ages.into_iter().take(goes) {
            self.remove(at);
        }
    }

    /// What is out to users that `concerns` picks, a slice at a time: at most `limit` from `from`
    /// on; the second value is where the next slice begins, if there is one.
    pub fn those(
        &self,
        from: usize,
        limit: usize,
        concerns: impl Fn(User) -> bool,
    ) -> (Vec<(User, Revocation)>, Option<usize>) {
        let slice = self.places.iter().skip(from).take(limit).flatten();
        let those = slice.filter(|out| concerns(out.user)).map(|out| {
            let Key { station, gateway, .. } = out.key;
            let login = out.login.as_deref().cloned();
            (out.user, Revocation { gateway, host: out.host, station, login })
        });
        let next = from.saturating_add(limit);
        (those.collect(), (next < self.places.len()).then_some(next))
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
        let (gone, next) = grants.revoked(&known(p, &usage), 0, usize::MAX);
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
        let_in_as(grants, station, "5F");
    }

    fn let_in_as(grants: &mut Grants, station: Option<Mac>, session_id: &str) {
        let (nas_identifier, session_id) = (Some("ap-7"), Some(session_id));
        let let_in = LetIn { login: &testing::login(), station, nas_identifier, session_id };
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
    fn sessions_whose_device_the_nas_does_not_name_are_told_apart_by_what_it_calls_them() {
        let mut p = testing::projection();
        p.put_login(testing::login());
        let mut grants = grants();
        for (station, session_id) in
            [(None, "5F"), (None, "60"), (None, "5F"), (Some(MAC), "61"), (Some(MAC), "62")]
        {
            let_in_as(&mut grants, station, session_id);
        }
        // A device has one session at a time, whatever it is called.
        assert_eq!(grants.len(), 3);
        p.put_account(testing::suspended_account());
        let gone = revoked(&mut grants, &p);
        let ids = gone.iter().map(|r| r.login.as_ref().unwrap().session_id.clone().unwrap());
        let mut ids: Vec<String> = ids.collect();
        ids.sort_unstable();
        assert_eq!(ids, ["5F", "60", "62"]);
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
        let (mut from, mut slices) = (Some(0), Vec::new());
        while let Some(at) = from {
            let (gone, next) = grants.revoked(&known(&p, &usage), at, 4);
            slices.push(gone.len());
            from = next;
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
        let user_of = |last| {
            grants.user_of(Mac::new([2, 0, 0, 0, 0, last]), GATEWAY, Instant::from_nanos(200))
        };
        assert!(user_of(199).is_some() && user_of(0).is_none());
        assert!(grants.by_key.len() == grants.len() && grants.latest.len() == grants.len());
        assert!(grants.places.len() <= 32, "places are used again");
    }
}
