//! Who holds which address.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::net::IpAddr;

use homeward_model::Msisdn;
use ipnet::{IpNet, Ipv6Net};

/// Sessions by their key; nearly always one.
#[derive(Debug)]
enum Keys {
    One(usize),
    Several(Vec<usize>),
}

impl Keys {
    fn as_slice(&self) -> &[usize] {
        match self {
            Self::One(key) => std::slice::from_ref(key),
            Self::Several(keys) => keys,
        }
    }
}

fn add<K: Hash + Eq>(to: &mut HashMap<K, Keys>, name: K, key: usize) {
    match to.get_mut(&name) {
        None => {
            to.insert(name, Keys::One(key));
        }
        Some(Keys::Several(keys)) => keys.push(key),
        Some(one @ Keys::One(_)) => {
            *one = Keys::Several(one.as_slice().iter().copied().chain([key]).collect());
        }
    }
}

/// Whether nobody is left.
fn remove<K: Hash + Eq>(from: &mut HashMap<K, Keys>, name: &K, key: usize) -> bool {
    match from.get_mut(name) {
        Some(Keys::Several(keys)) => {
            keys.retain(|other| *other != key);
            if let &mut [last] = keys.as_mut_slice() {
                from.insert_one(name, last);
            }
            false
        }
        Some(Keys::One(only)) if *only == key => from.remove(name).is_some(),
        _ => false,
    }
}

/// Replaces what is there.
trait InsertOne<K> {
    fn insert_one(&mut self, name: &K, key: usize);
}

impl<K: Hash + Eq> InsertOne<K> for HashMap<K, Keys> {
    fn insert_one(&mut self, name: &K, key: usize) {
        if let Some(keys) = self.get_mut(name) {
            *keys = Keys::One(key);
        }
    }
}

/// The index: by address or prefix, and by telephone number. An address is found by as many
/// look-ups as there are lengths of prefixes in use, of which there are few.
#[derive(Debug, Default)]
pub(super) struct Index {
    nets: HashMap<IpNet, Keys>,
    numbers: HashMap<Msisdn, Keys>,
    /// How many prefixes of IPv6 there are of each length.
    lengths: BTreeMap<u8, usize>,
    /// The prefixes of IPv6 in their order, to find those within another.
    ordered: BTreeSet<(u128, u8)>,
}

impl Index {
    pub(super) fn add(&mut self, net: IpNet, number: Option<Msisdn>, key: usize) {
        if let IpNet::V6(prefix) = net
            && self.ordered.insert((prefix.network().to_bits(), prefix.prefix_len()))
        {
            *self.lengths.entry(prefix.prefix_len()).or_default() += 1;
        }
        add(&mut self.nets, net, key);
        self.add_number(number, key);
    }

    pub(super) fn remove(&mut self, net: IpNet, number: Option<Msisdn>, key: usize) {
        if remove(&mut self.nets, &net, key)
            && let IpNet::V6(prefix) = net
        {
            self.ordered.remove(&(prefix.network().to_bits(), prefix.prefix_len()));
            if let Some(count) = self.lengths.get_mut(&prefix.prefix_len()) {
                *count -= 1;
                if *count == 0 {
                    self.lengths.remove(&prefix.prefix_len());
                }
            }
        }
        self.remove_number(number, key);
    }

    pub(super) fn add_number(&mut self, number: Option<Msisdn>, key: usize) {
        if let Some(number) = number {
            add(&mut self.numbers, number, key);
        }
    }

    pub(super) fn remove_number(&mut self, number: Option<Msisdn>, key: usize) {
        if let Some(number) = number {
            remove(&mut self.numbers, &number, key);
        }
    }

    /// Who holds that, exactly.
    pub(super) fn at(&self, net: &IpNet) -> &[usize] {
        self.nets.get(net).map_or(&[], Keys::as_slice)
    }

    /// Who has that number; whoever has several addresses, as often.
    pub(super) fn with_number(&self, number: &Msisdn) -> &[usize] {
        self.numbers.get(number).map_or(&[], Keys::as_slice)
    }

    /// What is held and contains that address, the longest prefix first.
    pub(super) fn containing(&self, address: IpAddr) -> impl Iterator<Item = (IpNet, &[usize])> {
        let exact = match address {
            IpAddr::V4(_) => Some(IpNet::from(address)),
            IpAddr::V6(_) => None,
        };
        let prefixes = self.lengths.keys().rev().filter_map(move |length| match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(v6) => Some(IpNet::V6(Ipv6Net::new(v6, *length).ok()?.trunc())),
        });
        exact
            .into_iter()
            .chain(prefixes)
            .filter_map(|net| Some((net, self.nets.get(&net)?.as_slice())))
    }

    /// Who holds something that has an address in common with that, and what.
    pub(super) fn overlapping(&self, net: &IpNet) -> Vec<(IpNet, usize)> {
        let all = |(net, keys): (IpNet, &[usize])| -> Vec<(IpNet, usize)> {
            keys.iter().map(|key| (net, *key)).collect()
        };
        let containing = self.containing(net.network()).filter(|(other, _)| other.contains(net));
        let mut found: Vec<(IpNet, usize)> = containing.flat_map(all).collect();
        if let IpNet::V6(prefix) = net {
            let (first, last) = (prefix.network().to_bits(), prefix.broadcast().to_bits());
            for (start, length) in self.ordered.range((first, 0)..=(last, 128)) {
                if *length <= prefix.prefix_len() {
                    continue;
                }
                if let Ok(within) = Ipv6Net::new((*start).into(), *length) {
                    let within = IpNet::V6(within);
                    found.extend(self.at(&within).iter().map(|key| (within, *key)));
                }
            }
        }
        found
    }
}
