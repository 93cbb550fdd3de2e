//! Requests seen of late, and what was answered (RFC 5080 2.2.2).

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

use homeward_model::Instant;

use super::ServerSettings;
use crate::packet::Authenticator;

/// How many buffers of forgotten answers are kept for new ones.
const SPARE: usize = 256;

/// What is known of a request.
#[derive(Debug)]
pub(super) enum Seen<'a> {
    /// Nothing; from now on it is in progress.
    New,
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
    latest: HashMap<Key, u64>,
    requests: VecDeque<Request>,
    /// The number of the first of `requests`.
    first: u64,
    spare: Vec<Vec<u8>>,
}

type Key = (SocketAddr, u8);

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
            latest: HashMap::new(),
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
        let key = (source, identifier);
        if let Some(at) = self.find(key, authenticator) {
            return match self.requests.get(at) {
                Some(request) if !request.answer.is_empty() => Seen::Answered(&request.answer),
                _ => Seen::InProgress,
            };
        }
        while self.requests.len() >= self.settings.remembered.max(1) {
            self.drop_oldest();
        }
        let number = self.first + self.requests.len() as u64;
        self.latest.insert(key, number);
        let answer = self.spare.pop().unwrap_or_default();
        let authenticator = *authenticator;
        self.requests.push_back(Request { key, authenticator, came: now, answer });
        Seen::New
    }

    /// Remembers the answer, by exchanging buffers, if the request is still remembered. Gives the
    /// answer either way.
    pub(super) fn answer<'a>(
        &'a mut self,
        source: SocketAddr,
        identifier: u8,
        authenticator: &Authenticator,
        answer: &'a mut Vec<u8>,
    ) -> &'a [u8] {
        let at = self.find((source, identifier), authenticator);
        match at.and_then(|at| self.requests.get_mut(at)) {
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
        let key = (source, identifier);
        if self.find(key, authenticator).is_some() {
            self.latest.remove(&key);
        }
    }

    /// Where in `requests` it is.
    fn find(&self, key: Key, authenticator: &Authenticator) -> Option<usize> {
        let number = *self.latest.get(&key)?;
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.requests.get(at).filter(|r| r.authenticator == *authenticator).map(|_| at)
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
        if self.latest.get(&oldest.key) == Some(&self.first) {
            self.latest.remove(&oldest.key);
        }
        self.first += 1;
        if self.spare.len() < SPARE {
            oldest.answer.clear();
            self.spare.push(oldest.answer);
        }
    }
}
