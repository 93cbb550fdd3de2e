//! TLS sessions that can be resumed, held back until the method within the tunnel succeeded.
//!
//! The TLS library hands a session over when the handshake ends: before a password was seen, with
//! EAP-TTLS and PEAP. To offer it for resumption then is how CVE-2017-9148 let anyone in. Here
//! each conversation has a gate of its own that keeps what the library hands over to itself;
//! only a commit moves it to the [`Sessions`] that others can resume from.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use homeward_model::Instant;
use rustls::server::StoresServerSessions;
use zeroize::Zeroizing;

use crate::{Identity, InnerMethod, Method};

/// Sessions that one conversation may leave behind; TLS 1.3 peers can ask for several tickets.
const MAX_HELD: usize = 4;

/// The most sessions, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionSettings {
    /// The most sessions; the oldest go first. About 500 octets each, and the certificates of
    /// the peer with EAP-TLS. 100,000 unless set; 0 turns resumption off.
    pub capacity: usize,
    /// How long after the full authentication, however often it was resumed since. 8 hours
    /// unless set; TLS tells peers a day.
    pub lifetime: Duration,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self { capacity: 100_000, lifetime: Duration::from_secs(8 * 3600) }
    }
}

/// What a session is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Binding {
    pub(crate) method: Method,
    /// The inner identity.
    pub(crate) identity: Identity,
    pub(crate) inner: Option<InnerMethod>,
    /// The credential's stamp when it was proven.
    pub(crate) stamp: [u8; 16],
    pub(crate) expires: Instant,
}

struct Entry {
    value: Zeroizing<Vec<u8>>,
    binding: Arc<Binding>,
    /// Its place in [`Store::order`].
    serial: u64,
}

#[derive(Default)]
struct Store {
    entries: BTreeMap<Vec<u8>, Entry>,
    /// The keys of the entries, oldest first.
    order: BTreeMap<u64, Vec<u8>>,
    serial: u64,
}

impl Store {
    fn remove(&mut self, key: &[u8]) {
        if let Some(entry) = self.entries.remove(key) {
            self.order.remove(&entry.serial);
        }
    }

    /// Removes the oldest entry, if `more` holds of how many there are and of that one.
    fn shrink(&mut self, more: impl Fn(usize, &Entry) -> bool) -> bool {
        let Some((_, key)) = self.order.first_key_value() else { return false };
        let key = key.clone();
        let goes = self.entries.get(&key).is_none_or(|entry| more(self.entries.len(), entry));
        if goes {
            self.order.pop_first();
            self.entries.remove(&key);
        }
        goes
    }
}

/// The sessions that can be resumed. Outlives a [`Context`](crate::Context), so that a new
/// certificate costs nobody a session.
pub struct Sessions {
    settings: SessionSettings,
    store: Mutex<Store>,
}

impl Sessions {
    /// No sessions yet.
    pub fn new(settings: SessionSettings) -> Self {
        Self { settings, store: Mutex::default() }
    }

    /// How many there are, expired ones not yet noticed included.
    pub fn len(&self) -> usize {
        self.lock().entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets the sessions of the inner identities for which `gone` says so. Not needed for
    /// safety, as who resumes is authorised anew; it spares a refused attempt.
    pub fn forget(&self, mut gone: impl FnMut(&Identity) -> bool) {
        let mut store = self.lock();
        let Store { entries, order, .. } = &mut *store;
        entries.retain(|_, entry| {
            let goes = gone(&entry.binding.identity);
            if goes {
                order.remove(&entry.serial);
            }
            !goes
        });
    }

    /// How long a session lives.
    pub(crate) fn lifetime(&self) -> Duration {
        self.settings.lifetime
    }

    fn lock(&self) -> MutexGuard<'_, Store> {
        // No code that holds the lock panics half-way through a change.
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn insert(&self, key: Vec<u8>, value: Zeroizing<Vec<u8>>, binding: Arc<Binding>, now: Instant) {
        let mut store = self.lock();
        store.remove(&key);
        store.serial += 1;
        let serial = store.serial;
        store.order.insert(serial, key.clone());
        store.entries.insert(key, Entry { value, binding, serial });
        let capacity = self.settings.capacity;
        while store.shrink(|length, entry| length > capacity || entry.binding.expires <= now) {}
    }

    /// The session of this key, if it is of this method and still good.
    fn find(
        &self,
        key: &[u8],
        method: Method,
        now: Instant,
        take: bool,
    ) -> Option<(Vec<u8>, Arc<Binding>)> {
        let mut store = self.lock();
        let entry = store.entries.get(key)?;
        if entry.binding.method != method {
            return None;
        }
        let good = now < entry.binding.expires;
        let found = (entry.value.to_vec(), Arc::clone(&entry.binding));
        if take || !good {
            store.remove(key);
        }
        good.then_some(found)
    }

    fn remove(&self, key: &[u8]) {
        self.lock().remove(key);
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").field("len", &self.len()).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Held {
    /// What the library handed over, for nobody to see yet.
    fresh: Vec<(Vec<u8>, Zeroizing<Vec<u8>>)>,
    /// The session that the peer last offered and that was found.
    offered: Option<(Vec<u8>, Arc<Binding>)>,
}

/// One conversation's view of the sessions.
pub(crate) struct Gate {
    sessions: Arc<Sessions>,
    method: Method,
    /// When the conversation began: sessions are looked for as of then.
    now: Instant,
    held: Mutex<Held>,
}

impl Gate {
    pub(crate) fn new(sessions: Arc<Sessions>, method: Method, now: Instant) -> Self {
        Self { sessions, method, now, held: Mutex::default() }
    }

    /// What the session that the peer offered last is bound to. It is the one being resumed, if
    /// the TLS library says that one is: it takes the first that it can use.
    pub(crate) fn offered(&self) -> Option<Arc<Binding>> {
        self.lock().offered.as_ref().map(|(_, binding)| Arc::clone(binding))
    }

    /// When a session that begins now ends.
    pub(crate) fn expiry(&self) -> Instant {
        self.now + self.sessions.lifetime()
    }

    /// The method within succeeded: from now on the conversation's sessions can be resumed.
    pub(crate) fn commit(&self, binding: Binding) {
        let fresh = std::mem::take(&mut self.lock().fresh);
        let binding = Arc::new(binding);
        for (key, value) in fresh {
            self.sessions.insert(key, value, Arc::clone(&binding), self.now);
        }
    }

    /// The session that was offered is good for nothing any more.
    pub(crate) fn forget_offered(&self) {
        if let Some((key, _)) = self.lock().offered.take() {
            self.sessions.remove(&key);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look(&self, key: &[u8], take: bool) -> Option<Vec<u8>> {
        let (value, binding) = self.sessions.find(key, self.method, self.now, take)?;
        self.lock().offered = Some((key.to_vec(), binding));
        Some(value)
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("method", &self.method).finish_non_exhaustive()
    }
}

impl StoresServerSessions for Gate {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        let value = Zeroizing::new(value);
        let mut held = self.lock();
        let room = self.can_cache() && held.fresh.len() < MAX_HELD;
        if room {
            held.fresh.push((key, value));
        }
        room
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.look(key, false)
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.look(key, true)
    }

    fn can_cache(&self) -> bool {
        self.sessions.settings.capacity > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(identity: &[u8], expires: u64) -> Binding {
        Binding {
            method: Method::Peap,
            identity: Identity::decode(identity).unwrap(),
            inner: None,
            stamp: [0; 16],
            expires: Instant::from_nanos(expires),
        }
    }

    fn gate(sessions: &Arc<Sessions>, method: Method, now: u64) -> Gate {
        Gate::new(Arc::clone(sessions), method, Instant::from_nanos(now))
    }

    fn sessions(capacity: usize) -> Arc<Sessions> {
        Arc::new(Sessions::new(SessionSettings { capacity, ..SessionSettings::default() }))
    }

    #[test]
    fn nothing_is_found_before_it_is_committed() {
        let sessions = sessions(10);
        let first = gate(&sessions, Method::Peap, 0);
        assert!(first.put(vec![1], vec![9]));
        assert_eq!(gate(&sessions, Method::Peap, 1).get(&[1]), None);
        assert_eq!(first.get(&[1]), None, "not even by the same conversation");
        first.commit(binding(b"alice", 100));
        let second = gate(&sessions, Method::Peap, 1);
        assert_eq!(second.get(&[1]), Some(vec![9]));
        assert_eq!(second.offered().unwrap().identity.as_str(), "alice");
    }

    #[test]
    fn a_session_of_another_method_or_past_its_time_is_not_found() {
        let sessions = sessions(10);
        let first = gate(&sessions, Method::Peap, 0);
        first.put(vec![1], vec![9]);
        first.commit(binding(b"alice", 100));
        assert_eq!(gate(&sessions, Method::Ttls, 1).take(&[1]), None);
        assert_eq!(gate(&sessions, Method::Peap, 99).get(&[1]), Some(vec![9]));
        assert_eq!(gate(&sessions, Method::Peap, 100).get(&[1]), None);
        assert!(sessions.is_empty());
    }

    #[test]
    fn what_was_taken_or_forgotten_is_gone() {
        let sessions = sessions(10);
        for key in 1..=3 {
            let gate = gate(&sessions, Method::Peap, 0);
            gate.put(vec![key], vec![9]);
            gate.commit(binding(&[b'a', key + b'0'], 100));
        }
        let later = gate(&sessions, Method::Peap, 1);
        assert!(later.take(&[1]).is_some() && later.take(&[1]).is_none());
        assert!(later.get(&[2]).is_some());
        later.forget_offered();
        assert_eq!(later.get(&[2]), None);
        sessions.forget(|identity| identity.as_str() == "a3");
        assert!(sessions.is_empty());
        assert!(sessions.lock().order.is_empty());
    }

    #[test]
    fn the_oldest_make_room_and_one_conversation_leaves_few() {
        let sessions = sessions(2);
        for key in 0..5 {
            let gate = gate(&sessions, Method::Peap, 0);
            gate.put(vec![key], vec![9]);
            gate.commit(binding(b"alice", 100));
        }
        assert_eq!(sessions.len(), 2);
        let later = gate(&sessions, Method::Peap, 1);
        assert!(
            later.get(&[2]).is_none() && later.get(&[3]).is_some() && later.get(&[4]).is_some()
        );
        let store = sessions.lock();
        assert_eq!(store.entries.len(), store.order.len());
        drop(store);
        let stored = (0..9).filter(|key| later.put(vec![*key], vec![0])).count();
        assert_eq!(stored, MAX_HELD);
    }

    #[test]
    fn expired_sessions_make_room_when_others_come() {
        let sessions = sessions(10);
        for (key, at) in [(1, 0), (2, 0), (3, 100)] {
            let gate = gate(&sessions, Method::Peap, at);
            gate.put(vec![key], vec![9]);
            gate.commit(binding(b"alice", at + 100));
        }
        assert_eq!((sessions.len(), sessions.lock().order.len()), (1, 1));
    }

    #[test]
    fn without_capacity_nothing_is_kept() {
        let none = gate(&sessions(0), Method::Peap, 0);
        assert!(!none.can_cache() && !none.put(vec![1], vec![1]));
    }
}
