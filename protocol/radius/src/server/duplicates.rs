//! Requests seen of late, and what was answered (RFC 5080 2.2.2).

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;

use homeward_model::Instant;

use super::ServerSettings;
use crate::packet::Authenticator;

/// How many buffers of forgotten answers are kept for new ones.
const SPARE: usize = 256;

/// What is known of a request.
#[derive(Debug)]
pub(super) enum Seen<'a> {
    /// Nothing; from now on it is in progress, under this number.
    New(u64),
    /// It came before and is not answered.
    InProgress,
    /// It came before and this was the answer.
    Answered(&'a [u8]),
}

/// The requests, in the order in which they came.
///
/// A request is a duplicate if source address, source port, identifier and authenticator are the
/// same. A new authenticator under the same (source, identifier) takes the older one's place.
#[derive(Debug)]
pub(super) struct Duplicates {
    settings: ServerSettings,
    /// The number, counted from the first request ever, of the latest with that key.
    /// A quick hash will do: whoever asks is a client that the operator knows.
    latest: HashMap<Key, u64, foldhash::fast::RandomState>,
    requests: VecDeque<Request>,
    /// The number of the first of `requests`.
    first: u64,
    spare: Vec<Vec<u8>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Key {
    source: SocketAddr,
    identifier: u8,
}

impl Hash for Key {
    /// One word of most keys: each is hashed twice for every request there is.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let of_port = u64::from(self.source.port()) << 8 | u64::from(self.identifier);
        match self.source {
            SocketAddr::V4(v4) => state.write_u64(u64::from(v4.ip().to_bits()) << 24 | of_port),
            SocketAddr::V6(v6) => {
                state.write_u128(v6.ip().to_bits());
                state.write_u64(of_port);
            }
        }
    }
}

#[derive(Debug)]
struct Request {
    key: Key,
    authenticator: Authenticator,
    came: Instant,
    /// Empty while the request is in progress.
    answer: Vec<u8>,
}

impl Duplicates {
    pub(super) fn new(settings: ServerSettings) -> Self {
        Self {
            settings,
            latest: HashMap::default(),
            requests: VecDeque::new(),
            first: 0,
            spare: Vec::new(),
        }
    }

    /// Looks a request up, and remembers it if it is new.
    pub(super) fn see(
        &mut self,
        source: SocketAddr,
        identifier: u8,
        authenticator: &Authenticator,
        now: Instant,
    ) -> Seen<'_> {
        self.expire(now);
        let key = Key { source, identifier };
        let number = self.first + self.requests.len() as u64;
        match self.latest.entry(key) {
            Entry::Vacant(none) => drop(none.insert(number)),
            Entry::Occupied(mut latest) => {
                let at = place(self.first, *latest.get()).filter(|at| {
                    let there = self.requests.get(*at);
                    there.is_some_and(|there| there.authenticator == *authenticator)
                });
                match at {
                    Some(at) => {
                        return match self.requests.get(at) {
                            Some(there) if !there.answer.is_empty() => {
                                Seen::Answered(&there.answer)
                            }
                            _ => Seen::InProgress,
                        };
                    }
                    None => drop(latest.insert(number)),
                }
            }
        }
        while self.requests.len() >= self.settings.remembered.max(1) {
            self.drop_oldest();
        }
        let answer = self.spare.pop().unwrap_or_default();
        let authenticator = *authenticator;
        self.requests.push_back(Request { key, authenticator, came: now, answer });
        Seen::New(number)
    }

    /// Remembers the answer, by exchanging buffers, if the request is still remembered. Gives the
    /// answer either way.
    pub(super) fn answer<'a>(
        &'a mut self,
        number: u64,
        authenticator: &Authenticator,
        answer: &'a mut Vec<u8>,
    ) -> &'a [u8] {
        let at = place(self.first, number);
        let request = at.and_then(|at| self.requests.get_mut(at));
        match request.filter(|request| request.authenticator == *authenticator) {
            Some(request) => {
                std::mem::swap(&mut request.answer, answer);
                &request.answer
            }
            None => answer,
        }
    }

    /// Forgets that a request came.
    pub(super) fn forget(
        &mut self,
        source: SocketAddr,
        identifier: u8,
        authenticator: &Authenticator,
    ) {
        if let Entry::Occupied(latest) = self.latest.entry(Key { source, identifier }) {
            let there = place(self.first, *latest.get()).and_then(|at| self.requests.get(at));
            if there.is_some_and(|there| there.authenticator == *authenticator) {
                latest.remove();
            }
        }
    }

    fn expire(&mut self, now: Instant) {
        while let Some(oldest) = self.requests.front()
            && oldest.came + self.settings.remember <= now
        {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let Some(mut oldest) = self.requests.pop_front() else { return };
        if let Entry::Occupied(latest) = self.latest.entry(oldest.key)
            && *latest.get() == self.first
        {
            latest.remove();
        }
        self.first += 1;
        if self.spare.len() < SPARE {
            oldest.answer.clear();
            self.spare.push(oldest.answer);
        }
    }
}

/// Where the request of that number is among those that begin with the number `first`.
fn place(first: u64, number: u64) -> Option<usize> {
    usize::try_from(number.checked_sub(first)?).ok()
}
