//! The hosts of the LAN, as far as what they send to the stranger tells of their addresses.

use std::time::Duration;

use homeward_model::Instant;

use crate::MAX_NEIGHBOURS;
use crate::address::Address;

/// How long an address is a host's after it last said so. DHCP may give it to somebody else
/// sooner; that is heard.
const REMEMBERED: Duration = Duration::from_secs(4 * 3600);
/// How long a host may take from its first probe to using the address: RFC 5227 1.1 allows 7 s.
const PROBING: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy)]
struct Entry {
    address: Address,
    until: Instant,
    /// Asked for only: to be kept from answers, not yet the host's.
    probed: bool,
}

/// At most [`MAX_NEIGHBOURS`], by address; what ends soonest goes first.
#[derive(Debug, Default)]
pub(crate) struct Neighbours(Vec<Entry>);

impl Neighbours {
    /// A host has the address.
    pub(crate) fn has(&mut self, address: Address, now: Instant) {
        self.put(Entry { address, until: now + REMEMBERED, probed: false }, now);
    }

    /// A host asks whether it may have the address.
    pub(crate) fn probes(&mut self, address: Address, now: Instant) {
        if !self.is_owned(address, now) {
            self.put(Entry { address, until: now + PROBING, probed: true }, now);
        }
    }

    /// Whether a host has the address.
    pub(crate) fn is_owned(&self, address: Address, now: Instant) -> bool {
        self.get(address, now).is_some_and(|entry| !entry.probed)
    }

    /// Whether a host is asking whether it may have the address.
    pub(crate) fn is_probed(&self, address: Address, now: Instant) -> bool {
        self.get(address, now).is_some_and(|entry| entry.probed)
    }

    /// Whether a host has or wants the address.
    pub(crate) fn is_taken(&self, address: Address, now: Instant) -> bool {
        self.get(address, now).is_some()
    }

    pub(crate) fn forget(&mut self, address: Address) {
        if let Ok(at) = self.find(address) {
            self.0.remove(at);
        }
    }

    fn get(&self, address: Address, now: Instant) -> Option<&Entry> {
        self.0.get(self.find(address).ok()?).filter(|entry| entry.until > now)
    }

    fn find(&self, address: Address) -> Result<usize, usize> {
        self.0.binary_search_by_key(&address, |entry| entry.address)
    }

    fn put(&mut self, new: Entry, now: Instant) {
        match self.find(new.address) {
            Ok(at) => {
                if let Some(entry) = self.0.get_mut(at) {
                    *entry = new;
                }
            }
            Err(mut at) => {
                if self.0.len() >= MAX_NEIGHBOURS {
                    self.0.retain(|entry| entry.until > now);
                    self.drop_first_to_end();
                    at = self.find(new.address).unwrap_or_else(|at| at);
                }
                self.0.insert(at, new);
            }
        }
    }

    fn drop_first_to_end(&mut self) {
        if self.0.len() < MAX_NEIGHBOURS {
            return;
        }
        let first = self.0.iter().enumerate().min_by_key(|(_, entry)| entry.until);
        if let Some(at) = first.map(|(at, _)| at) {
            self.0.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u16) -> Address {
        let [a, b] = n.to_be_bytes();
        Address::v4([10, 0, a, b])
    }

    fn at(s: u64) -> Instant {
        Instant::ORIGIN + Duration::from_secs(s)
    }

    #[test]
    fn no_more_hosts_are_remembered_than_there_is_room_for_and_the_oldest_go_first() {
        let mut neighbours = Neighbours::default();
        for n in 0..1000 {
            neighbours.has(address(n), at(n.into()));
        }
        assert_eq!(neighbours.0.len(), MAX_NEIGHBOURS);
        let known = (0..1000).filter(|n| neighbours.is_owned(address(*n), at(1000)));
        assert!(known.eq(744..1000));
    }

    #[test]
    fn a_probe_is_forgotten_soon_and_takes_no_hosts_address_away() {
        let mut neighbours = Neighbours::default();
        neighbours.probes(address(1), at(0));
        assert!(neighbours.is_probed(address(1), at(9)) && !neighbours.is_owned(address(1), at(9)));
        assert!(!neighbours.is_taken(address(1), at(10)));
        neighbours.has(address(2), at(0));
        neighbours.probes(address(2), at(1));
        assert!(neighbours.is_owned(address(2), at(3600)));
        assert!(!neighbours.is_owned(address(2), at(4 * 3600)));
    }
}
