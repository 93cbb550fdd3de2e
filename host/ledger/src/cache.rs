//! The sessions in memory, bounded.

use std::collections::HashMap;

use crate::row::Row;

/// A NAS and an Acct-Session-Id.
pub(crate) type Key = (i64, String);

/// The sessions heard of last, by NAS and Acct-Session-Id, the oldest of each first.
///
/// Two generations: what is used moves into the young one; when that is full it becomes the old
/// one, and what was in the old one is forgotten. No list to keep in order.
#[derive(Debug)]
pub(crate) struct Cache {
    young: HashMap<Key, Vec<Row>>,
    old: HashMap<Key, Vec<Row>>,
    /// The most keys in one generation.
    most: usize,
}

impl Cache {
    /// A cache of at most so many sessions' keys.
    pub(crate) fn new(most: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), most: most.div_ceil(2).max(1) }
    }

    /// What is known of those sessions; `None` if nothing is.
    pub(crate) fn get(&self, key: &Key) -> Option<&Vec<Row>> {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    /// Remembers all sessions of that key.
    pub(crate) fn put(&mut self, key: Key, rows: Vec<Row>) {
        if self.young.len() >= self.most {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, rows);
    }

    /// Forgets the sessions of that key.
    pub(crate) fn forget(&mut self, key: &Key) {
        self.young.remove(key);
        self.old.remove(key);
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
    }
}
