//! The addresses of data planes inside tunnels.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use homeward_model::GatewayId;

/// A prefix, and who has which of its addresses.
#[derive(Debug)]
pub(super) struct Pool {
    first: u32,
    /// How many addresses can be given out: not the prefix's first and last.
    size: u32,
    taken: BTreeMap<u32, GatewayId>,
}

impl Pool {
    /// The pool of a prefix of 8 to 30 bits.
    pub(super) fn new((network, bits): (Ipv4Addr, u8)) -> Self {
        let hosts = u32::MAX >> bits.clamp(8, 30);
        let first = (u32::from(network) & !hosts) + 1;
        Self { first, size: hosts - 1, taken: BTreeMap::new() }
    }

    /// An address for a gateway: the one it has, else the one it had if nobody else has it, else
    /// the one that its number leads to, or the next that is free. So gateways find their address
    /// again after a restart of the controller. `None`: all are taken.
    pub(super) fn take(&mut self, gateway: GatewayId, had: Option<Ipv4Addr>) -> Option<Ipv4Addr> {
        let at = had.and_then(|address| self.position(address));
        if let Some(at) = at.filter(|at| self.taken.get(at).is_none_or(|g| *g == gateway)) {
            return Some(self.give(at, gateway));
        }
        if self.taken.len() >= usize::try_from(self.size).unwrap_or(usize::MAX) {
            return None;
        }
        let number = gateway.0.saturating_sub(1).rem_euclid(i64::from(self.size));
        let start = u32::try_from(number).unwrap_or(0);
        let free = |at: &u32| !self.taken.contains_key(at);
        let at = (start..self.size).chain(0..start).find(free)?;
        Some(self.give(at, gateway))
    }

    /// Takes an address back, if it is the gateway's.
    pub(super) fn release(&mut self, gateway: GatewayId, address: Ipv4Addr) {
        if let Some(at) = self.position(address)
            && self.taken.get(&at) == Some(&gateway)
        {
            self.taken.remove(&at);
        }
    }

    fn give(&mut self, at: u32, gateway: GatewayId) -> Ipv4Addr {
        self.taken.insert(at, gateway);
        Ipv4Addr::from(self.first + at)
    }

    fn position(&self, address: Ipv4Addr) -> Option<u32> {
        u32::from(address).checked_sub(self.first).filter(|at| *at < self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateways_get_the_address_of_their_number_and_never_the_same() {
        let mut pool = Pool::new((Ipv4Addr::new(10, 0, 0, 77), 29));
        let address = |last| Some(Ipv4Addr::new(10, 0, 0, last));
        assert_eq!(pool.take(GatewayId(1), None), address(73));
        assert_eq!(pool.take(GatewayId(7), None), address(74), "7 leads where 1 is");
        assert_eq!(pool.take(GatewayId(6), None), address(78));
        assert_eq!(pool.take(GatewayId(2), address(78)), address(75), "what it had is 6's");
        assert_eq!(pool.take(GatewayId(3), address(77)), address(77), "what it had is free");
        assert_eq!(pool.take(GatewayId(4), address(79)), address(76), "79 is the broadcast");
        assert_eq!(pool.take(GatewayId(5), None), None, "six addresses, six gateways");
        pool.release(GatewayId(5), Ipv4Addr::new(10, 0, 0, 73));
        pool.release(GatewayId(6), Ipv4Addr::new(10, 0, 0, 78));
        assert_eq!(pool.take(GatewayId(5), None), address(78));
    }
}
