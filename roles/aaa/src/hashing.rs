//! Hashers that are quicker than the one that stands up to whoever may put in what he likes, for
//! maps into which he may not: of keys that the operator or the datastore chose, or his gateways.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use indexmap::IndexMap;

/// A map by hashes that were made under a key of this process's.
pub(crate) type ByHash<V> = HashMap<u64, V, BuildHasherDefault<AsIs>>;

/// A map by numbers of records, which the datastore gives out.
pub(crate) type ById<K, V> = HashMap<K, V, BuildHasherDefault<Number>>;

/// Hashes quickly, and otherwise in every process. Not for what is to stay secret.
pub(crate) type Quick = foldhash::fast::RandomState;

/// A map by what the operator chose, be it a name or an address: whoever asks may only look up.
pub(crate) type ByChoice<K, V> = HashMap<K, V, Quick>;

/// The same, of which any one can be had.
pub(crate) type Listed<K, V> = IndexMap<K, V, Quick>;

/// Takes a hash for what it is.
#[derive(Debug, Default)]
pub(crate) struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, octets: &[u8]) {
        fold(&mut self.0, octets);
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// Spreads a number over all bits: a table looks at the lowest and the highest.
#[derive(Debug, Default)]
pub(crate) struct Number(u64);

impl Hasher for Number {
    fn finish(&self) -> u64 {
        let spread = self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        spread ^ (spread >> 32)
    }

    fn write(&mut self, octets: &[u8]) {
        fold(&mut self.0, octets);
    }

    fn write_i64(&mut self, number: i64) {
        self.0 = number.cast_unsigned();
    }
}

fn fold(hash: &mut u64, octets: &[u8]) {
    for octet in octets {
        *hash = hash.rotate_left(8) ^ u64::from(*octet);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use homeward_model::AccountId;
    use std::collections::HashSet;
    use std::hash::{BuildHasher, BuildHasherDefault};

    #[test]
    fn numbers_in_a_row_differ_in_the_bits_that_a_table_looks_at() {
        let hashes =
            (0..4096).map(|n| BuildHasherDefault::<Number>::default().hash_one(AccountId(n)));
        let hashes: Vec<u64> = hashes.collect();
        let places: HashSet<u64> = hashes.iter().map(|hash| hash & 8191).collect();
        let tags: HashSet<u64> = hashes.iter().map(|hash| hash >> 57).collect();
        assert!(places.len() > 2500, "{} places", places.len());
        assert_eq!(tags.len(), 128);
    }
}
