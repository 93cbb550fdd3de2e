//! Log-ins that have ended, and of which the gateway could not be told: it has no channel. They are
//! held until it is back, a few at most.
//!
//! What the records say of a log-in is found anew when the gateway names its stations
//! ([`crate::review`]). What they do not say (a log-in that was deleted, a password that was
//! changed) is known only to who noticed.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use homeward_model::{GatewayId, Mac};

use crate::grants::Revocation;

/// Those that are held, for all gateways together.
#[derive(Debug)]
pub(crate) struct Held {
    most: usize,
    all: Mutex<All>,
}

#[derive(Debug, Default)]
struct All {
    by_gateway: BTreeMap<GatewayId, BTreeMap<Mac, (u64, Revocation)>>,
    /// The same in the order in which they came.
    in_order: BTreeMap<u64, (GatewayId, Mac)>,
    next: u64,
    /// Whether it was said that there is no room.
    complained: bool,
}

impl Held {
    /// At most `most` at a time; beyond that the oldest go.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, all: Mutex::default() }
    }

    /// Holds one, in place of an older one of the same station there. One without a station is
    /// nothing to a gateway.
    pub(crate) fn put(&self, ended: &Revocation) {
        let Some(station) = ended.station.filter(|_| self.most > 0) else { return };
        let mut all = self.all();
        all.remove(ended.gateway, station);
        if all.in_order.len() >= self.most {
            if !std::mem::replace(&mut all.complained, true) {
                tracing::warn!(
                    most = self.most,
                    "more log-ins have ended at gateways that are away than are held \
                     (aaa.held_put_outs): the oldest may go on until they expire"
                );
            }
            if let Some((_, (gateway, station))) = all.in_order.first_key_value() {
                let (gateway, station) = (*gateway, *station);
                all.remove(gateway, station);
            }
        }
        let number = all.next;
        all.next += 1;
        all.in_order.insert(number, (ended.gateway, station));
        let of_gateway = all.by_gateway.entry(ended.gateway).or_default();
        of_gateway.insert(station, (number, ended.clone()));
    }

    /// Holds that one no longer: the gateway was told, or others are.
    pub(crate) fn forget(&self, gateway: GatewayId, station: Mac) {
        self.all().remove(gateway, station);
    }

    /// Takes those of a gateway.
    pub(crate) fn take(&self, gateway: GatewayId) -> Vec<Revocation> {
        let mut all = self.all();
        let of_gateway = all.by_gateway.remove(&gateway).unwrap_or_default();
        for (number, _) in of_gateway.values() {
            all.in_order.remove(number);
        }
        if all.in_order.is_empty() {
            all.complained = false;
        }
        of_gateway.into_values().map(|(_, ended)| ended).collect()
    }

    /// How many are held.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.all().in_order.len()
    }

    fn all(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl All {
    fn remove(&mut self, gateway: GatewayId, station: Mac) {
        let Some(of_gateway) = self.by_gateway.get_mut(&gateway) else { return };
        if let Some((number, _)) = of_gateway.remove(&station) {
            self.in_order.remove(&number);
        }
        if of_gateway.is_empty() {
            self.by_gateway.remove(&gateway);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grants::LoginSession;
    use crate::testing;

    fn ended(gateway: i64, station: u8, name: &str) -> Revocation {
        let name = name.parse().unwrap();
        let login = LoginSession { name, nas_identifier: None, session_id: None };
        let station = Some(Mac::new([2, 0, 0, 0, 0, station]));
        let (gateway, host) = (GatewayId(gateway), testing::host());
        Revocation { gateway, host, station, login: Some(login) }
    }

    #[test]
    fn each_station_is_held_once_for_its_gateway_until_that_is_back_or_it_was_told() {
        let held = Held::new(10);
        for one in [ended(1, 1, "a"), ended(1, 1, "b"), ended(1, 2, "c"), ended(2, 1, "d")] {
            held.put(&one);
        }
        held.put(&Revocation { station: None, ..ended(1, 9, "e") });
        assert_eq!(held.len(), 3);
        held.forget(GatewayId(1), Mac::new([2, 0, 0, 0, 0, 2]));
        held.forget(GatewayId(9), Mac::new([2, 0, 0, 0, 0, 2]));
        assert_eq!(held.take(GatewayId(1)), [ended(1, 1, "b")]);
        assert_eq!((held.take(GatewayId(1)), held.len()), (vec![], 1));
        assert_eq!((held.take(GatewayId(2)), held.len()), (vec![ended(2, 1, "d")], 0));
    }

    #[test]
    fn beyond_its_room_the_oldest_go() {
        let held = Held::new(2);
        for one in [ended(1, 1, "a"), ended(2, 1, "b"), ended(1, 1, "c"), ended(1, 2, "d")] {
            held.put(&one);
        }
        assert_eq!(held.len(), 2);
        assert_eq!(held.take(GatewayId(2)), [], "the oldest, for the first was replaced");
        assert_eq!(held.take(GatewayId(1)), [ended(1, 1, "c"), ended(1, 2, "d")]);
        let none = Held::new(0);
        none.put(&ended(1, 1, "a"));
        assert_eq!(none.len(), 0);
    }
}
