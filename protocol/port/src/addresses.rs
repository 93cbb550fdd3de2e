//! The addresses of one device.

use std::time::Duration;

use homeward_model::Instant;

use crate::address::Address;
use crate::settings::Origin;
use crate::{MAX_IPV4, MAX_IPV6};

/// After how long without use an address makes room for another of the device, or for a host of
/// the LAN that says it has it.
pub(crate) const IDLE: Duration = Duration::from_secs(300);

#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) address: Address,
    pub(crate) origin: Origin,
    pub(crate) expires: Option<Instant>,
    used: Instant,
}

impl Entry {
    fn is_over(&self, now: Instant) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

/// At most [`MAX_IPV4`] and [`MAX_IPV6`] addresses.
#[derive(Debug, Clone, Default)]
pub(crate) struct Addresses(Vec<Entry>);

impl Addresses {
    /// Whether the address is the device's; if so, it was used now.
    #[inline]
    pub(crate) fn touch(&mut self, address: Address, now: Instant) -> bool {
        match self.0.iter_mut().find(|entry| entry.address == address && !entry.is_over(now)) {
            Some(entry) => {
                entry.used = now;
                true
            }
            None => false,
        }
    }

    /// Whether the address is the device's.
    pub(crate) fn has(&self, address: Address, now: Instant) -> bool {
        self.0.iter().any(|entry| entry.address == address && !entry.is_over(now))
    }

    /// Whether DHCP gave it an IPv4 address, so that it needs no other.
    pub(crate) fn has_lease(&self, now: Instant) -> bool {
        self.0.iter().any(|entry| {
            entry.address.is_v4() && entry.origin == Origin::Dhcp && !entry.is_over(now)
        })
    }

    /// Adds an address that the device uses first; false if it has too many in use.
    pub(crate) fn add_seen(&mut self, address: Address, now: Instant) -> bool {
        let room = self.make_room(address, now, |entry| {
            entry.origin == Origin::Seen && now.since(entry.used) >= IDLE
        });
        if room {
            self.0.push(Entry { address, origin: Origin::Seen, expires: None, used: now });
        }
        room
    }

    /// Adds an address that is known to be the device's, in place of the one unused longest if
    /// there is no room.
    pub(crate) fn add_known(
        &mut self,
        address: Address,
        origin: Origin,
        expires: Option<Instant>,
        now: Instant,
    ) {
        self.remove(address);
        // What it used before it had a lease is over with the lease.
        if address.is_v4() && origin == Origin::Dhcp {
            self.0.retain(|entry| !(entry.address.is_v4() && entry.origin == Origin::Seen));
        }
        if self.make_room(address, now, |_| true) {
            self.0.push(Entry { address, origin, expires, used: now });
        }
    }

    /// Drops what is over and, if that is not enough for another address of that family, the
    /// longest unused entry that `may_go`.
    fn make_room(
        &mut self,
        address: Address,
        now: Instant,
        may_go: impl Fn(&Entry) -> bool,
    ) -> bool {
        self.0.retain(|entry| !entry.is_over(now));
        let family = |entry: &Entry| entry.address.is_v4() == address.is_v4();
        let most = if address.is_v4() { MAX_IPV4 } else { MAX_IPV6 };
        if self.0.iter().filter(|entry| family(entry)).count() < most {
            return true;
        }
        let oldest = self
            .0
            .iter()
            .enumerate()
            .filter(|(_, entry)| family(entry) && may_go(entry))
            .min_by_key(|(_, entry)| (entry.origin == Origin::Dhcp, entry.used));
        match oldest.map(|(at, _)| at) {
            Some(at) => {
                self.0.remove(at);
                true
            }
            None => false,
        }
    }

    /// Drops an address.
    pub(crate) fn remove(&mut self, address: Address) {
        self.0.retain(|entry| entry.address != address);
    }

    /// Drops the IPv4 addresses that DHCP gave: the server has told the device to stop.
    pub(crate) fn revoke_leases(&mut self) {
        self.0.retain(|entry| !(entry.address.is_v4() && entry.origin == Origin::Dhcp));
    }

    /// Drops an address that the device only used first, and that another claims, if it is idle.
    pub(crate) fn yield_idle(&mut self, address: Address, now: Instant) {
        self.0.retain(|entry| {
            entry.address != address || entry.origin == Origin::Dhcp || now.since(entry.used) < IDLE
        });
    }

    /// Drops first-used addresses that turn out to be another's.
    pub(crate) fn drop_seen(&mut self, anothers: impl Fn(Address) -> bool) {
        self.0.retain(|entry| entry.origin == Origin::Dhcp || !anothers(entry.address));
    }

    /// Leases may have changed where this port does not see it: from now on they are addresses
    /// that the device is known to have used, and exclude no others.
    pub(crate) fn doubt_leases(&mut self) {
        for entry in &mut self.0 {
            entry.origin = Origin::Seen;
        }
    }

    pub(crate) fn iter(&self, now: Instant) -> impl Iterator<Item = &Entry> {
        self.0.iter().filter(move |entry| !entry.is_over(now))
    }
}
