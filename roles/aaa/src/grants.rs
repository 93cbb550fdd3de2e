//! Grants that are out: who was told to serve whom, so that they can be told to stop.
//!
//! A grant is remembered without its key: only a fingerprint under a process-private hash key,
//! enough to see that the key is another one now.

use std::collections::hash_map::{Entry, RandomState};
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::time::Duration;

use homeward_ledger::User;
use homeward_model::{GatewayId, Instant, Login, LoginId, Mac, Nai, Ssid, Verifier};

use crate::admission::stay;
use crate::decision::{Granted, Known, decide};
use crate::hashing::{ByHash, Quick};

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
    /// How the NAS knows it.
    fn session(&self) -> LoginSession {
        LoginSession {
            name: self.login.name.clone(),
            nas_identifier: self.nas_identifier.map(str::to_owned),
            session_id: self.session_id.map(str::to_owned),
        }
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
    by_key: ByHash<usize>,
    /// Where the grant is that a device had last at a gateway, by the hash of both.
    latest: ByHash<usize>,
    most: usize,
    keep: Duration,
    hash: Quick,
    /// Of keys and passwords.
    secret: RandomState,
}

#[derive(Debug)]
struct Out {
    key: Key,
    host: IpAddr,
    user: User,
    fingerprint: u64,
    at: Instant,
    /// Whether it is the last that its device had at its gateway.
    is_latest: bool,
    login: Option<Texts>,
}

/// How a NAS knows a session, and the hash of that, by which it is seen that nothing changed
/// without a look at texts that are elsewhere in memory.
#[derive(Debug)]
struct Texts {
    hash: u64,
    session: Box<LoginSession>,
}

impl Grants {
    /// Remembers at most `most` grants, each for at most `keep` after it was last given.
    pub fn new(most: usize, keep: Duration) -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
            by_key: ByHash::default(),
            latest: ByHash::default(),
            most: most.max(16),
            keep,
            hash: Quick::default(),
            secret: RandomState::new(),
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
        let fingerprint = fingerprint(&self.secret, granted);
        let user = User::Device(granted.device);
        self.put(Out { key, host, user, fingerprint, at: now, is_latest: false, login: None });
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
        let fingerprint = login_fingerprint(&self.secret, login);
        let user = User::Login(login.id);
        let hash = self.hash.hash_one((&login.name, nas_identifier, session_id));
        let out = Out { key, host, user, fingerprint, at: now, is_latest: false, login: None };
        let Some(at) = self.put(out) else { return };
        if let Some(Some(out)) = self.places.get_mut(at)
            && out.login.as_ref().is_none_or(|texts| texts.hash != hash)
        {
            out.login = Some(Texts { hash, session: Box::new(let_in.session()) });
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
            login: out.login.map(|texts| *texts.session),
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
                .is_some_and(|granted| fingerprint(&self.secret, &granted) == out.fingerprint),
            (What::Login(id, _), Some(texts)) => {
                let login = known.records.login(&texts.session.name).filter(|login| login.id == id);
                login.is_some_and(|login| {
                    stay(known, gateway, login, station).is_ok()
                        && login_fingerprint(&self.secret, login) == out.fingerprint
                })
            }
            (What::Login(..), None) => false,
        }
    }

    /// Remembers a grant, with the session that it may have had before; where, unless the same was
    /// given later than this, which is heard of only now.
    fn put(&mut self, mut out: Out) -> Option<usize> {
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
                if place.as_ref().is_some_and(|before| before.at > now) {
                    return None;
                }
                if let Some(before) = place.take() {
                    (out.login, out.is_latest) = (before.login, before.is_latest);
                }
                *place = Some(out);
            }
            None => self.places.push(Some(out)),
        }
        if let Some(station) = station {
            self.note_latest(at, station, gateway, now);
        }
        Some(at)
    }

    /// Notes that the grant there is the last that a device had at a gateway, unless there is a
    /// later one.
    fn note_latest(&mut self, at: usize, station: Mac, gateway: GatewayId, now: Instant) {
        fn out(places: &mut [Option<Out>], at: usize) -> Option<&mut Out> {
            places.get_mut(at)?.as_mut()
        }
        if out(&mut self.places, at).is_some_and(|out| out.is_latest) {
            return;
        }
        match self.latest.entry(self.hash.hash_one((station, gateway))) {
            Entry::Vacant(none) => drop(none.insert(at)),
            Entry::Occupied(mut latest) => {
                if let Some(there) = out(&mut self.places, *latest.get()) {
                    if there.at > now {
                        return;
                    }
                    there.is_latest = false;
                }
                latest.insert(at);
            }
        }
        if let Some(out) = out(&mut self.places, at) {
            out.is_latest = true;
        }
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
            let login = out.login.as_ref().map(|texts| LoginSession::clone(&texts.session));
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
mod tests;
