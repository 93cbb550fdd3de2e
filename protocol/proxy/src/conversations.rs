//! Which server an EAP conversation is with.
//!
//! A new conversation goes where the pool's policy says. One that is under way stays with the
//! server that knows it, even if another one, preferred, has come back to life meanwhile: a server
//! answers a State that it did not give with a Reject. The State of a challenge is what joins the
//! two, so a bounded table of States is kept. What falls out of it goes by the policy again, which
//! as long as no server changed its state is the same server.

use std::collections::{BTreeMap, VecDeque};
use std::hash::Hasher;
use std::time::Duration;

use homeward_model::Instant;

use crate::{PoolId, ServerId};

#[derive(Debug)]
pub(crate) struct Conversations {
    limit: usize,
    keep: Duration,
    /// By [`Conversations::key`]; with the number of the entry in `order`.
    servers: BTreeMap<u64, (ServerId, u64)>,
    order: VecDeque<(u64, u64, Instant)>,
    next: u64,
}

impl Conversations {
    pub(crate) fn new(limit: usize, keep: Duration) -> Self {
        let (servers, order) = (BTreeMap::new(), VecDeque::new());
        Self { limit, keep, servers, order, next: 0 }
    }

    /// What a State is known by. Two that share it would share a server: no harm, for both are
    /// the pool's.
    pub(crate) fn key(seed: u64, pool: PoolId, state: &[u8]) -> u64 {
        hash(seed, [&pool.number().to_be_bytes()[..], state])
    }

    pub(crate) fn server(&self, key: u64) -> Option<ServerId> {
        self.servers.get(&key).map(|(server, _)| *server)
    }

    /// Notes that a server gave that State.
    pub(crate) fn learn(&mut self, key: u64, server: ServerId, now: Instant) {
        self.expire(now);
        while self.order.len() >= self.limit.max(1) {
            self.drop_oldest();
        }
        self.servers.insert(key, (server, self.next));
        self.order.push_back((key, self.next, now + self.keep));
        self.next += 1;
    }

    /// Notes that a State has been answered: there will be another, or the conversation is over.
    pub(crate) fn forget(&mut self, key: u64) {
        self.servers.remove(&key);
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    fn expire(&mut self, now: Instant) {
        while self.order.front().is_some_and(|(_, _, until)| *until <= now) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let Some((key, number, _)) = self.order.pop_front() else { return };
        if self.servers.get(&key).is_some_and(|(_, latest)| *latest == number) {
            self.servers.remove(&key);
        }
    }
}

/// A hash over `parts`, each with its length.
pub(crate) fn hash<const N: usize>(seed: u64, parts: [&[u8]; N]) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    hasher.write_u64(seed);
    for part in parts {
        hasher.write_usize(part.len());
        hasher.write(part);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Instant = Instant::from_nanos(1_000_000_000);

    #[test]
    fn a_state_leads_to_its_server_until_it_is_answered_or_old() {
        let mut all = Conversations::new(10, Duration::from_secs(60));
        all.learn(1, ServerId(7), T0);
        all.learn(2, ServerId(8), T0 + Duration::from_secs(30));
        assert_eq!(
            (all.server(1), all.server(2), all.server(3)),
            (Some(ServerId(7)), Some(ServerId(8)), None)
        );
        all.forget(2);
        assert_eq!(all.server(2), None);
        all.learn(4, ServerId(9), T0 + Duration::from_secs(60));
        assert_eq!((all.server(1), all.server(4)), (None, Some(ServerId(9))));
    }

    #[test]
    fn there_are_never_more_than_the_limit_and_the_oldest_goes_first() {
        let mut all = Conversations::new(3, Duration::from_secs(60));
        for key in 0..100 {
            all.learn(key, ServerId(0), T0);
            assert!(all.len() <= 3 && all.servers.len() <= 3);
        }
        assert_eq!((all.server(96), all.server(97)), (None, Some(ServerId(0))));
        // Learned again, it is not lost with its older self.
        all.learn(97, ServerId(1), T0);
        all.learn(100, ServerId(0), T0);
        assert_eq!(all.server(97), Some(ServerId(1)));
    }
}
